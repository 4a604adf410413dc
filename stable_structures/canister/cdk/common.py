# SPDX-License-Identifier: Apache-2.0
"""What Basilisk and Kybra have in common: type names, decorators, and `ic` with the names and results of those packages.

Names and results are those that their canisters see (docs/platform.md#kybras-builtins); the code is this library's own.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, NoReturn, TypeVar, get_args, get_origin

from ...errors import Unsupported
from ...principal import Principal
from .. import message as messages
from .. import system
from ..calls import Call
from ..errors import RejectCode, called_trap
from ..installed import Method
from ..message import Reply
from ..program import CdkAdapter, mark
from .candid import decode_arguments, decode_values, encode_answer
from .kinds import CdkPrincipal, FuncTuple, Marked, Signature

if TYPE_CHECKING:
    from ..message import Message

F = TypeVar("F", bound=Callable[..., Any])

_CODE_NAMES: Final = ("NoError", "SysFatal", "SysTransient", "DestinationInvalid", "CanisterReject", "CanisterError", "Unknown")
_EMPTY_ARGS: Final = b"DIDL\x00\x00"


class CallResult:
    """The result of a call to another canister: `Ok` or `Err`."""

    def __init__(self, Ok: Any = None, Err: str | None = None) -> None:  # noqa: N803 - the CDKs' words
        self.Ok = Ok
        self.Err = Err


def result_of(reply: Reply) -> CallResult:
    """Return a reply as the CDKs give it to the waiting generator."""
    return CallResult(None, f"Rejection code {int(reply.code)}, {reply.message}") if reply.rejected else CallResult(reply.value, None)


class AsyncInfo:
    """A call for a generator to yield."""

    def __init__(self, name: str, args: list[Any]) -> None:
        self.name = name
        self.args = args

    def with_cycles(self, cycles: int) -> AsyncInfo:
        """Return the same call with cycles."""
        return AsyncInfo("call_with_payment", [*self.args, cycles])

    def with_cycles128(self, cycles: int) -> AsyncInfo:
        """Return the same call with cycles."""
        return AsyncInfo("call_with_payment128", [*self.args, cycles])

    def notify(self) -> dict[str, Any]:
        """Send the call without waiting for a reply."""
        call = as_call(self)
        if call is not None:
            system.notify(call)
        return {"Ok": None}


def to_principal(value: Any) -> Principal:
    """Return a principal of the CDK, or its text, as a `Principal` of this library."""
    if isinstance(value, str):
        return Principal.from_text(value)
    return value if isinstance(value, Principal) else Principal(value.bytes)


def as_call(given: Any) -> Call | None:
    """Return the value that a generator yielded, as a call; None if it is not a call."""
    if not isinstance(given, AsyncInfo):
        return None
    principal, method = to_principal(given.args[0]), str(given.args[1]).rpartition(".")[2]
    if given.name in ("call_raw", "call_raw128"):
        return Call(principal, method, (bytes(given.args[2]),), int(given.args[3]), raw=True, finish=result_of)
    if given.name == "call":
        return Call(principal, method, tuple(given.args[2:]), finish=result_of)
    if given.name in ("call_with_payment", "call_with_payment128"):
        return Call(principal, method, tuple(given.args[2:-1]), int(given.args[-1]), finish=result_of)
    raise SystemError(f"async operation '{given.name}' not supported")


class Service:
    """A canister whose methods are declared in a subclass with `@service_query` and `@service_update`."""

    def __init__(self, canister_id: Any = None) -> None:
        self.canister_id = canister_id


class AnyService(Service):
    """A canister that accepts calls to any method, for a generator to yield: a `Canister`, or what the test registers for it."""

    def __getattr__(self, method: str) -> Callable[..., AsyncInfo]:
        if method.startswith("_"):
            raise AttributeError(method)
        return lambda *args: AsyncInfo("call", [self.canister_id, method, *args])


class ManagementCanister(AnyService):
    """The management canister. The test registers the replies (`Canister.register`)."""

    def __init__(self, canister_id: Any = None) -> None:
        super().__init__(CdkPrincipal() if canister_id is None else canister_id)


def _names(**services: Any) -> dict[str, Any]:
    """Return the names of a module of a CDK's `canisters`: services, and its types as plain dicts."""

    def other(name: str) -> Any:
        if name[:1].isupper():
            return dict
        raise AttributeError(f"{name} is not part of the harness, which has {', '.join(services) or 'no services'}, and the types as dict")

    return {**services, "__getattr__": other}


def canister_modules(cdk: str) -> dict[str, dict[str, Any]]:
    """Return the modules of a CDK's package `canisters`, with their names."""
    found = {f"management.{part}": _names() for part in ("basic", "bitcoin", "http", "tecdsa")}
    found["management"] = _names(management_canister=ManagementCanister(), ManagementCanister=ManagementCanister)
    found["ledger"] = _names(Ledger=AnyService)
    return {f"{cdk}.canisters": {}, **{f"{cdk}.canisters.{name}": names for name, names in found.items()}}


class Query:
    """`Query[[args], result]` in a reference to a method."""

    def __class_getitem__(cls, item: Any) -> Signature:
        args, result = item
        return Signature(cls.__name__.lower(), tuple(args), result)


class Update(Query):
    """`Update[[args], result]` in a reference to a method."""


class Oneway(Query):
    """`Oneway[[args]]` in a reference to a method."""

    def __class_getitem__(cls, item: Any) -> Signature:
        return Signature("oneway", tuple(item))


def Func(signature: Any) -> type[FuncTuple]:  # noqa: N802 - the CDKs' word
    """Return the type of references to methods with this signature."""
    return type("Func", (FuncTuple,), {"signature": signature})


def service_method(function: Callable[..., Any]) -> Callable[..., AsyncInfo]:
    """Return a method of a `Service`; calling it returns a value for a generator to yield."""

    def make(self: Service, *args: Any) -> AsyncInfo:
        return AsyncInfo("call", [self.canister_id, function.__qualname__, *args])

    return make


class Manual:
    """`Manual[T]`: the method replies by `ic.reply`."""

    def __class_getitem__(cls, item: Any) -> Any:
        return Marked("Manual", item)


class Async:
    """`Async[T]`: the method is a generator."""

    def __class_getitem__(cls, item: Any) -> Any:
        return Marked("Async", item)


def decorator(role: str) -> Callable[..., Any]:
    """Return the decorator `@role` or `@role(guard=...)`."""

    def decorate(_func: Any = None, *, guard: Callable[[], Any] | None = None) -> Any:
        if _func is None:
            return lambda function: mark(function, role, guard)
        return mark(_func, role, guard)

    return decorate


def match(variant: Any, matcher: dict[str, Callable[[Any], Any]]) -> Any:
    """Call the function for the member that a variant, or a call result, has."""
    if isinstance(variant, dict):
        for key, function in matcher.items():
            if key in variant:
                return function(variant[key])
            if key == "_":
                return function(None)
        raise Exception("No matching case found")  # noqa: TRY002 - what the CDKs raise
    error = getattr(variant, "Err", None)
    return matcher["Err"](error) if error is not None else matcher["Ok"](variant.Ok)


class CommonCdkAdapter(CdkAdapter):
    """The behaviour that both CDKs share."""

    overwrites = True
    principal: type[CdkPrincipal] = CdkPrincipal

    def as_call(self, given: Any) -> Call | None:
        """Return a yielded `AsyncInfo` as a call."""
        return as_call(given)

    def inward(self, value: Any) -> Any:
        """Convert principals of this library to those of the CDK, also in lists, tuples and dicts."""
        return _converted(value, Principal, lambda principal: self.principal(principal.bytes))

    def outward(self, value: Any) -> Any:
        """Convert principals of the CDK, and services, to principals of this library."""
        return _converted(_converted(value, Service, lambda service: service.canister_id), CdkPrincipal, to_principal)

    def arguments(self, method: Method, args: tuple[Any, ...]) -> tuple[Any, ...]:
        """Convert principals to services if the method's annotations say so."""
        hints = getattr(method.function, "__annotations__", {})
        names = getattr(method.function, "__globals__", {})
        given = zip(inspect.signature(method.function).parameters, args, strict=False)
        served = tuple(_as_service(value, hints.get(name), names) for name, value in given)
        return served + args[len(served) :]

    def from_raw(self, method: Method, data: bytes) -> tuple[Any, ...]:
        """Return the arguments of a message, typed by the annotations of the method."""
        values: tuple[Any, ...] = self.inward(decode_arguments(method.function, data))
        return values

    def to_raw(self, method: Method, value: Any) -> bytes:
        """Return the message of a reply, typed by the annotation of the method."""
        return encode_answer(method.function, self.inward(value))

    def replies_by_itself(self, method: Method) -> bool:
        """Return whether the method is annotated as returning Manual[...], so that it replies by `ic.reply`."""
        return "Manual[" in _annotation_text(method.function)


def _annotation_text(function: Callable[..., Any]) -> str:
    returned = getattr(function, "__annotations__", {}).get("return")
    return returned if isinstance(returned, str) else repr(returned)


def _as_service(value: Any, hint: Any, names: dict[str, Any]) -> Any:
    """Return a principal as the service that an annotation names; principals in a list too."""
    hint = names.get(hint) if isinstance(hint, str) else hint
    if isinstance(value, CdkPrincipal) and isinstance(hint, type) and issubclass(hint, Service):
        return hint(value)
    if isinstance(value, list) and get_origin(hint) is list:
        return [_as_service(item, get_args(hint)[0], names) for item in value]
    return value


def _converted(value: Any, kind: type, convert: Callable[[Any], Any]) -> Any:
    if isinstance(value, kind):
        return convert(value)
    if type(value) in (list, tuple):
        return type(value)(_converted(item, kind, convert) for item in value)
    if type(value) is dict:
        return {_converted(key, kind, convert): _converted(item, kind, convert) for key, item in value.items()}
    return value


class CdkIc:
    """`ic` as the CDKs have it. A call that the harness does not support raises `Unsupported`, which names it."""

    Principal: type[CdkPrincipal] = CdkPrincipal

    accept_message = staticmethod(system.accept_message)
    canister_balance = staticmethod(system.canister_balance)
    canister_balance128 = staticmethod(system.canister_balance)
    clear_timer = staticmethod(system.clear_timer)
    data_certificate = staticmethod(system.data_certificate)
    method_name = staticmethod(system.method_name)
    msg_cycles_accept = staticmethod(system.msg_cycles_accept)
    msg_cycles_accept128 = staticmethod(system.msg_cycles_accept)
    msg_cycles_available = staticmethod(system.msg_cycles_available)
    msg_cycles_available128 = staticmethod(system.msg_cycles_available)
    msg_cycles_refunded = staticmethod(system.msg_cycles_refunded)
    msg_cycles_refunded128 = staticmethod(system.msg_cycles_refunded)
    performance_counter = staticmethod(system.performance_counter)
    print = staticmethod(system.debug_print)
    reject = staticmethod(system.reject)
    reject_message = staticmethod(system.reject_message)
    reply = staticmethod(system.reply)
    set_certified_data = staticmethod(system.set_certified_data)
    stable64_read = staticmethod(system.stable64_read)
    stable64_size = staticmethod(system.stable64_size)
    stable64_write = staticmethod(system.stable64_write)
    stable_read = staticmethod(system.stable_read)
    stable_size = staticmethod(system.stable_size)
    stable_write = staticmethod(system.stable_write)
    time = staticmethod(system.time)

    @classmethod
    def caller(cls) -> CdkPrincipal:
        """Return the sender of the message."""
        return cls.Principal(system.caller().bytes)

    @classmethod
    def id(cls) -> CdkPrincipal:
        """Return the canister's own principal."""
        return cls.Principal(system.id().bytes)

    @staticmethod
    def trap(message: str) -> NoReturn:
        """End the message and undo it."""
        system.trap(message)

    @staticmethod
    def stable_bytes() -> bytes:
        """Return all of the stable memory."""
        return system.stable_bytes()

    @staticmethod
    def stable_grow(new_pages: int) -> dict[str, Any]:
        """Add pages: `{"Ok": size before}` or `{"Err": {"OutOfMemory": None}}`."""
        return _grown(system.stable_grow(new_pages))

    @staticmethod
    def stable64_grow(new_pages: int) -> dict[str, Any]:
        """Add pages: `{"Ok": size before}` or `{"Err": {"OutOfMemory": None}}`."""
        return _grown(system.stable64_grow(new_pages))

    @staticmethod
    def set_timer(delay: int, func: Callable[[], Any]) -> int:
        """Run a function once, `delay` seconds from now."""
        return system.set_timer(_seconds(delay), func)

    @staticmethod
    def set_timer_interval(interval: int, func: Callable[[], Any]) -> int:
        """Run a function every `interval` seconds."""
        return system.set_timer_interval(_seconds(interval), func)

    @staticmethod
    def reject_code() -> dict[str, None]:
        """Return why a call was rejected, as a variant."""
        code = system.reject_code()
        return {_CODE_NAMES[code if code < int(RejectCode.SYS_UNKNOWN) else -1]: None}

    @staticmethod
    def is_controller(principal: Any) -> bool:
        """Return whether the principal controls the canister."""
        return system.is_controller(to_principal(principal))

    @staticmethod
    def call_raw(canister_id: Any, method: str, args_raw: bytes, payment: int = 0) -> AsyncInfo:
        """Return a call with Candid bytes, for a generator to yield; the result's Ok are bytes."""
        return AsyncInfo("call_raw", [canister_id, method, args_raw, payment])

    call_raw128 = call_raw

    @staticmethod
    def notify_raw(canister_id: Any, method: str, args_raw: bytes, payment: int = 0) -> dict[str, Any]:
        """Return the result of sending a call with Candid bytes without waiting for a reply."""
        return AsyncInfo("call_raw", [canister_id, method, args_raw, payment]).notify()

    @staticmethod
    def arg_data_raw() -> bytes:
        """Raise `Unsupported`: arguments reach the method as Python values."""
        raise Unsupported("ic.arg_data_raw: the harness passes arguments as Python values, there are no Candid bytes")

    @staticmethod
    def arg_data_raw_size() -> int:
        """Raise `Unsupported`: arguments reach the method as Python values."""
        raise Unsupported("ic.arg_data_raw_size: the harness passes arguments as Python values, there are no Candid bytes")

    @staticmethod
    def reply_raw(x: bytes) -> None:
        """Reply with Candid bytes; `Canister.call` returns the decoded values."""
        values = decode_values(x)
        system.reply(values[0] if len(values) == 1 else tuple(values) or None)

    @staticmethod
    def candid_encode(candid_string: str) -> bytes:
        """Encode the empty tuple, or raise `Unsupported`: the harness has no parser for Candid text here."""
        if candid_string.replace(" ", "") == "()":
            return _EMPTY_ARGS
        raise Unsupported("ic.candid_encode: the harness has no parser of Candid text; encode with icp_candid.encode")

    @staticmethod
    def candid_decode(candid_encoded: bytes) -> str:
        """Raise `Unsupported`: the harness writes no Candid text here."""
        raise Unsupported(f"ic.candid_decode of {len(candid_encoded)} bytes: the harness writes no Candid text; use icp_candid.decode")


def _grown(old: int) -> dict[str, Any]:
    return {"Err": {"OutOfMemory": None}} if old < 0 else {"Ok": old}


def _seconds(delay: Any) -> int:
    if isinstance(delay, bool) or not isinstance(delay, int):
        raise TypeError(f"a timer's delay must be an int of seconds, got {type(delay).__name__}")
    if delay < 0:
        raise OverflowError(f"a timer's delay must not be negative, got {delay}")
    return delay


def panic(message: Message, text: str, place: str) -> NoReturn:
    """Raise as a Rust panic in the CDK's own code."""
    trap = called_trap(f"Panicked at '{text}', {place}")
    message.raise_trap(trap)
    raise trap


def running() -> Message:
    """Return the message that runs."""
    return messages.current("a structure of a CDK")
