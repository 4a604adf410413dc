# SPDX-License-Identifier: Apache-2.0
"""Methods made for the lanes of their types, once, when a class gets its types.

A key or value crosses as a number (unsigned, or signed with a bias that keeps the order) or as its encoding. Which one
is known when the class is made, so the method that does `get` on `u64 -> u64` is one Python frame and one call into C.
The methods of one operation differ only in how their arguments go in and how the answer comes back; so they are
written once, as a template with those parts left open, and compiled for the lanes at hand.
"""

from __future__ import annotations

from textwrap import dedent, indent
from typing import TYPE_CHECKING, Any, Final, NoReturn

from .. import _native as native
from ..errors import CorruptMemory
from ..storable import Codec, IntLane, Lane

if TYPE_CHECKING:
    from collections.abc import Callable


class Part:
    """One argument of the methods: its name there, its codec, and the code that sends it to C and brings it back."""

    def __init__(self, name: str, codec: Codec[Any], lane: Lane | None = None) -> None:
        lane = lane or codec.lane
        self.name = name
        self.codec = codec
        self.is_int = isinstance(lane, IntLane)
        self.bias = lane.bias if isinstance(lane, IntLane) else 0
        self.letter = "i" if self.is_int else "b"
        self.suffix = "_int" if self.is_int else ""

    @property
    def prepare(self) -> str:
        """Code that makes ready what `args` names."""
        if self.is_int:
            return f"if type({self.name}) is not int: {self.name} = whole_{self.name}({self.name})"
        encode = f"encode_{self.name}({self.name})"
        if self.codec.as_is:
            encode = f"{self.name} if type({self.name}) is bytes else {encode}"
        return f"{self.name}_bytes = {encode}"

    @property
    def args(self) -> str:
        """Arguments of the C function."""
        if self.is_int:
            return f"{self.name} + {self.bias}" if self.bias else self.name
        return f"{self.name}_bytes, len({self.name}_bytes)"

    @property
    def names(self) -> dict[str, Any]:
        """What the code above refers to."""
        return {
            f"whole_{self.name}": _whole(self.codec),
            f"encode_{self.name}": self.codec.encode,
            f"decode_{self.name}": self.codec.decode,
        }

    def answer(self, operation: str, absent: str, put_back: str = "", failed: str = "fail") -> str:
        """Code that turns `answer` of C into the value, or does `absent` where there is none.

        Where bytes that an operation took out are no value of the type, `put_back` is code that puts them (`old`) back.
        `failed` is what raises for a number's status, and what it is given beside that and the operation.
        """
        if self.is_int:
            value = f"answer - {self.bias}" if self.bias else "answer"
            return dedent(f"""\
                if answer < ASK: return {value}
                if answer == NO_NUMBER: {absent}
                answer = answered_number({operation!r}, {failed})
                return {value}""")
        if self.codec.as_is:
            return dedent(f"""\
                if answer >= 0: return result(answer)
                if answer == NO_VALUE: {absent}
                fail(answer, {operation!r})""")
        if put_back:
            return dedent(f"""\
                if answer >= 0:
                    old = result(answer)
                    try: return decode_{self.name}(old)
                    except BaseException:
                        {put_back}
                        raise
                if answer == NO_VALUE: {absent}
                fail(answer, {operation!r})""")
        return dedent(f"""\
            if answer >= 0: return decode_{self.name}(result(answer))
            if answer == NO_VALUE: {absent}
            fail(answer, {operation!r})""")


def _whole(codec: Codec[Any]) -> Callable[[Any], int]:
    """A number that is no `int` as one (bool, numpy integers); the codec's error for anything else."""

    def whole(value: Any) -> int:
        codec.encode(value)
        return int(value)

    return whole


_COMMON: Final[dict[str, Any]] = {
    "__name__": __name__,  # a traceback tells by it whose code this is
    "NO_NUMBER": native.NO_NUMBER,
    "NO_VALUE": native.NO_VALUE,
    "ASK": native.ASK,
    "SS_ABSENT": native.call.SS_ABSENT,
    "answered_number": native.answered_number,
    "result": native.result,
    "fail": native.fail,
    "CorruptMemory": CorruptMemory,
}


def method(source: str, parts: list[Part], function: str, **names: Any) -> Any:
    """Compiles the source of one method.

    `source` is a `def`, with `{prepare}` for the code that makes the arguments ready (else it comes first), `{args}` for
    the arguments of the C function `call`, and the numbers of a lane out of range turned into the error of their codec.
    `failed(status, operation, *values)` raises what a status stands for, in the words of the codec where a value is out
    of its bound.
    """
    prepare = "\n".join(part.prepare for part in parts)
    head, _, body = dedent(source).strip().partition("\n")
    body = dedent(body)
    body = body.replace("{prepare}", prepare) if "{prepare}" in body else f"{prepare}\n{body}"
    body = body.replace("{args}", ", ".join(part.args for part in parts))
    guarded = [part for part in parts if part.is_int]
    if guarded:
        refusal = f"refuse({', '.join(part.name for part in guarded)})"
        lines = body.split("\n")
        call_at = next(i for i, line in enumerate(lines) if "call(" in line)
        line = lines[call_at]
        pad = line[: -len(line.lstrip())]
        lines[call_at : call_at + 1] = [f"{pad}try:", f"    {line}", f"{pad}except OverflowError:", f"{pad}    {refusal}"]
        body = "\n".join(lines)
    # What cannot be read may be damaged, or of other types.
    body = f"try:\n{indent(body, '    ')}\nexcept CorruptMemory as error:\n    self._tell_apart(error)\n    raise"
    text = f"{head}\n{indent(body, '    ')}\n"
    scope: dict[str, Any] = {**_COMMON, "call": getattr(native.call, function), "refuse": _refuse([p.codec for p in guarded]), **names}
    scope["failed"] = _failed([part.codec for part in parts])
    for part in parts:
        scope.update(part.names)
    exec(compile(text, f"<{function}>", "exec"), scope)  # noqa: S102 - the text above and nothing else
    return scope[head.partition("(")[0].removeprefix("def ").strip()]


def _refuse(codecs: list[Codec[Any]]) -> Callable[..., NoReturn]:
    """Raises the codec's own error for numbers that C could not take."""

    def refuse(*values: Any) -> NoReturn:
        for codec, value in zip(codecs, values, strict=True):
            codec.encode(value)
        raise OverflowError(f"{values} do not fit 64 bits")

    return refuse


def _failed(codecs: list[Codec[Any]]) -> Callable[..., NoReturn]:
    """As `native.fail`, but of a bound the codec speaks."""

    def failed(status: int, operation: str, *values: Any) -> NoReturn:
        if status == native.call.SS_BOUND_EXCEEDED:
            for codec, value in zip(codecs, values, strict=True):
                codec.encode(value)
        native.fail(status, operation)

    return failed


def indented(code: str) -> str:
    """Code for the body of a method of a template."""
    return indent(code, "        ")
