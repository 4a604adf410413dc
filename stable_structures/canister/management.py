# SPDX-License-Identifier: Apache-2.0
"""The management canister, the part that tests need: random bytes, and canisters that create and manage canisters.

It answers calls in Candid. For methods that it lacks (signatures, HTTP, Bitcoin), a test registers replies.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from ..encodings.candid.codec import CandidError, decode, encode
from ..encodings.candid.types import Interface, parse_interface
from ..errors import SourceError
from . import calls
from .errors import ErrorCode, Rejected, Trapped
from .message import Reply

if TYPE_CHECKING:
    from .calls import Call
    from .canister import Canister
    from .routing import Respond

_DID: Final = """
type settings = record {
  controllers : opt vec principal;
  environment_variables : opt vec record { name : text; value : text };
  wasm_memory_limit : opt nat;
};
type mode = variant {
  install;
  reinstall;
  upgrade : opt record { skip_pre_upgrade : opt bool; wasm_memory_persistence : opt variant { keep; replace } };
};
type target = record { canister_id : principal };
type made = record { settings : opt settings; amount : opt nat; specified_id : opt principal };
service : {
  raw_rand : () -> (blob);
  create_canister : (record { settings : opt settings }) -> (target);
  provisional_create_canister_with_cycles : (made) -> (target);
  provisional_top_up_canister : (record { canister_id : principal; amount : nat }) -> ();
  install_code : (record { mode : mode; canister_id : principal; wasm_module : blob; arg : blob }) -> ();
  uninstall_code : (target) -> ();
  start_canister : (target) -> ();
  stop_canister : (target) -> ();
  delete_canister : (target) -> ();
  deposit_cycles : (target) -> ();
  update_settings : (record { canister_id : principal; settings : settings }) -> ();
  canister_status : (target) -> (record {
    status : variant { running; stopping; stopped };
    settings : record { controllers : vec principal };
    module_hash : opt blob;
    memory_size : nat;
    cycles : nat;
    version : nat64;
  });
  canister_info : (record { canister_id : principal; num_requested_changes : opt nat64 }) -> (record {
    total_num_changes : nat64;
    recent_changes : vec record {};
    module_hash : opt blob;
    controllers : vec principal;
  });
}
"""
_DEFAULT_CYCLES: Final = 100_000_000_000_000


@functools.cache
def interface() -> Interface:
    """Return the methods that the harness supports, and their types."""
    return parse_interface(_DID)


def offers(call: Call) -> bool:
    """Return whether the harness answers this call."""
    return call.raw and call.method in _METHODS


def receive(sender: Canister, call: Call, respond: Respond) -> None:
    """Answer a call; refund cycles that nobody accepted."""
    method = interface().methods[call.method]
    request = _Request(sender, call.cycles)
    try:
        values = _METHODS[call.method](request, *decode(call.args[0], method.args))
        respond(Reply(encode(values, method.results)), request.cycles)
    except CandidError as error:
        problem = Rejected(ErrorCode.CONTRACT_VIOLATION, f"Error decoding candid: {error}")
        respond(calls.rejection_of(problem), call.cycles)
    except Rejected as error:
        respond(calls.rejection_of(error), call.cycles)


class _Request:
    """The sender of a request, and its cycles."""

    def __init__(self, sender: Canister, cycles: int) -> None:
        self.sender = sender
        self.cycles = cycles

    def take(self) -> int:
        """Take all the cycles; return how many."""
        taken, self.cycles = self.cycles, 0
        return taken

    def target(self, given: dict[str, Any]) -> Canister:
        """Return the canister of a request. Raises `Rejected` if it does not exist or the sender may not manage it."""
        target = self.any_target(given)
        if self.sender.id not in target.controllers and target is not self.sender:
            raise Rejected(ErrorCode.INVALID_CONTROLLER, f"Only the controllers of the canister {target.id} can control it.")
        return target

    def any_target(self, given: dict[str, Any]) -> Canister:
        """Return the canister of a request that everybody may make."""
        principal = given["canister_id"]
        target = self.sender.find(principal) or self.sender.children.get(principal)
        if target is None:
            raise Rejected(ErrorCode.CANISTER_NOT_FOUND, f"Canister {principal} not found")
        return target


_random: list[bytes] = [b"seed of the test"]


def seed(value: bytes) -> None:
    """Restart the random bytes."""
    _random[0] = value


def _raw_rand(request: _Request) -> tuple[Any, ...]:
    del request
    _random[0] = hashlib.sha256(_random[0]).digest()
    return (_random[0],)


def _make(request: _Request, settings: dict[str, Any] | None, cycles: int, principal: Any = None) -> tuple[Any, ...]:
    made = type(request.sender)(id=principal, controllers=[request.sender.id])
    made.cycles = cycles
    request.sender.children[made.id] = made  # a canister lives as long as somebody refers to it
    _apply(made, settings or {})
    return ({"canister_id": made.id},)


def _create(request: _Request, given: dict[str, Any]) -> tuple[Any, ...]:
    return _make(request, given["settings"], request.take())


def _provisional_create(request: _Request, given: dict[str, Any]) -> tuple[Any, ...]:
    amount = _DEFAULT_CYCLES if given["amount"] is None else given["amount"]
    return _make(request, given["settings"], amount, given["specified_id"])


def _top_up(request: _Request, given: dict[str, Any]) -> tuple[Any, ...]:
    request.any_target(given).cycles += given["amount"]
    return ()


def _apply(target: Canister, settings: dict[str, Any]) -> None:
    if settings.get("controllers") is not None:
        target.controllers = list(settings["controllers"])
    if settings.get("environment_variables") is not None:
        target.env = {one["name"]: one["value"] for one in settings["environment_variables"]}


def _update_settings(request: _Request, given: dict[str, Any]) -> tuple[Any, ...]:
    target = request.target(given)
    _apply(target, given["settings"])
    target.count_version()
    return ()


def _install(request: _Request, given: dict[str, Any]) -> tuple[Any, ...]:
    target = request.target(given)
    ((mode, options),) = given["mode"].items()
    from .wasm.service import Raw  # noqa: PLC0415 - for those who use Wasm

    module, arg = given["wasm_module"], Raw(given["arg"])
    by = request.sender.id if request.sender.id in target.controllers else None
    try:
        if mode == "upgrade":
            options = options or {}
            persistence = options.get("wasm_memory_persistence")
            skip, kept = bool(options.get("skip_pre_upgrade")), None if persistence is None else next(iter(persistence))
            target.upgrade(module, arg, skip_pre_upgrade=skip, wasm_memory_persistence=kept, caller=by)
        elif mode == "reinstall":
            target.reinstall(module, arg, caller=by)
        else:
            target.install_code(module, arg, caller=by)
    except Trapped as error:
        raise Rejected(error.error_code, f"Error from Canister {target.id}: {error.message}") from None
    except SourceError as error:  # of bytes that are no module
        raise Rejected(ErrorCode.INVALID_WASM, f"Error from Canister {target.id}: Canister's Wasm module is not valid: {error}") from None
    return ()


def _on_target(action: Callable[[Canister], None]) -> Callable[..., tuple[Any, ...]]:
    def run(request: _Request, given: dict[str, Any]) -> tuple[Any, ...]:
        action(request.target(given))
        return ()

    return run


def _delete(request: _Request, given: dict[str, Any]) -> tuple[Any, ...]:
    target = request.target(given)
    if target.status != "stopped":
        raise Rejected(ErrorCode.NOT_STOPPED, f"Canister {target.id} must be stopped before it is deleted.")
    request.sender.children.pop(target.id, None)
    target.forget()
    return ()


def _deposit(request: _Request, given: dict[str, Any]) -> tuple[Any, ...]:
    request.any_target(given).cycles += request.take()
    return ()


def _status(request: _Request, given: dict[str, Any]) -> tuple[Any, ...]:
    target = request.target(given)
    facts = {
        "status": {target.status: None},
        "settings": {"controllers": target.controllers},
        "module_hash": target.module_hash,
        "memory_size": target.memory.nbytes + target.heap_size,
        "cycles": target.cycles,
        "version": target.version,
    }
    return (facts,)


def _info(request: _Request, given: dict[str, Any]) -> tuple[Any, ...]:
    target = request.any_target(given)
    facts = {"total_num_changes": 0, "recent_changes": [], "module_hash": target.module_hash, "controllers": target.controllers}
    return (facts,)


def _uninstall(target: Canister) -> None:
    target.uninstall()


def _start(target: Canister) -> None:
    target.start()


def _stop(target: Canister) -> None:
    target.stop()


_METHODS: Final[dict[str, Callable[..., tuple[Any, ...]]]] = {
    "raw_rand": _raw_rand,
    "create_canister": _create,
    "provisional_create_canister_with_cycles": _provisional_create,
    "provisional_top_up_canister": _top_up,
    "install_code": _install,
    "uninstall_code": _on_target(_uninstall),
    "start_canister": _on_target(_start),
    "stop_canister": _on_target(_stop),
    "delete_canister": _delete,
    "deposit_cycles": _deposit,
    "update_settings": _update_settings,
    "canister_status": _status,
    "canister_info": _info,
}
