# SPDX-License-Identifier: Apache-2.0
"""A zstd file as a source: unpacked to a temporary file, as far as it can be, with what is wrong with it.

    file       frames, one behind the other; skippable frames among them are left out; zeros may follow
    frame      28 b5 2f fd | header | blocks of up to 128 KiB | checksum, if the header says so
    skippable  50..5f 2a 4d 18 | length (4) | anything

A few bytes of a block can unpack to 128 KiB, so little is fed at once; and a window larger than 128 MiB is refused.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

from ..source import FileSource, Progress, Source, Unreadable, no_progress
from .unnamed import Packed, unpack

MAGIC: Final = b"\x28\xb5\x2f\xfd"
_SKIPPED: Final = b"\x2a\x4d\x18"
_SKIPPED_HEADER: Final = 8
_FED: Final = 1 << 10
_MOST_WINDOW_LOG: Final = 27
_CUT_OFF: Final = "a zstd file is not cut off"
_ZSTD_IN_PYTHON: Final = (3, 14)


def is_zstd(head: bytes) -> bool:
    """Return whether a file begins as one of zstd does. O(1)."""
    return head[:4] == MAGIC or (len(head) >= len(MAGIC) and head[0] >> 4 == 5 and head[1:4] == _SKIPPED)  # noqa: PLR2004 - said by the format


def unzstd(what: str | Path | Source, progress: Progress = no_progress, name: str = "") -> FileSource:
    """Unpack a zstd file as `unpack` does. O(size). Raises `Unreadable`, also without the extra `zstd`."""
    return unpack(_Zstd, what, progress, name)


def _library() -> tuple[Any, type[Exception]]:
    """Return what makes a decompressor of one frame, and its error."""
    if sys.version_info >= _ZSTD_IN_PYTHON:
        from compression import zstd  # noqa: PLC0415 - only this Python has it

        options = {zstd.DecompressionParameter.window_log_max: _MOST_WINDOW_LOG}
        return lambda: zstd.ZstdDecompressor(options=options), zstd.ZstdError
    try:
        import zstandard  # noqa: PLC0415 - an extra
    except ImportError:
        raise Unreadable("a zstd file needs zstandard: pip install 'stable-structures[zstd]'") from None
    return lambda: zstandard.ZstdDecompressor(max_window_size=1 << _MOST_WINDOW_LOG).decompressobj(), zstandard.ZstdError


class _Zstd(Packed):
    """The frames, in order, up to the first that is not whole."""

    word, format, cut_off, most_ratio = "zstd file", "zstd", _CUT_OFF, 1000  # it packs repetitions better than gzip does

    def __init__(self, packed: Source, tell: Callable[[int], None]) -> None:
        super().__init__(packed, tell)
        self._new, self._error = _library()

    def parts(self) -> Iterator[bytes]:
        while self._follows():
            head = self.packed.read(self.at, min(_SKIPPED_HEADER, self.packed.nbytes - self.at))
            if head[:4] == MAGIC:
                yield from self._frame()
            else:
                self._skip(head)

    def _follows(self) -> bool:
        """Return whether another frame begins here. Zeros up to the end are padding."""
        left = self.packed.nbytes - self.at
        if left == 0 or (self.at and self.packed.is_zero(self.at)):
            return False
        head = self.packed.read(self.at, min(left, 4))
        if self.at and not is_zstd(head) and MAGIC.startswith(head):
            self.fail(f"{_CUT_OFF} (it ends inside a header)", f"{left} bytes", "a frame")
        if not is_zstd(head):
            self.fail("nothing follows the last frame of a zstd file", f"{left:,} bytes: {head.hex()}...", "the end, or another frame")
        return True

    def _skip(self, head: bytes) -> None:
        if len(head) < _SKIPPED_HEADER or self.at + _SKIPPED_HEADER + int.from_bytes(head[4:], "little") > self.packed.nbytes:
            self.fail(f"{_CUT_OFF} (it ends inside a skippable frame)", f"{self.packed.nbytes} bytes", "more")
        self.at += _SKIPPED_HEADER + int.from_bytes(head[4:], "little")

    def _frame(self) -> Iterator[bytes]:
        stream = self._new()
        while not stream.eof:
            fed = self.packed.read(self.at, min(_FED, self.packed.nbytes - self.at))
            if not fed:
                self.fail(f"{_CUT_OFF} (it ends inside its data)", f"{self.at} bytes", "more")
            try:
                data = stream.decompress(fed)
            except self._error as error:
                self.fail(f"the data of a zstd file can be unpacked ({error})", self.at, "")
            self.at += len(fed) - len(stream.unused_data)
            self.some = self.some or bool(data)
            yield data
            self.tell(self.at)
