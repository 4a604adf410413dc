# SPDX-License-Identifier: Apache-2.0
"""Distinguish errors that a decoder raises because of the bytes from those it raises because of the moment.

A time-out, exhausted memory or a deep stack can strike in the middle of a decoder, and says nothing about the bytes: it is
raised unchanged, and never reported as damage. User decoders should raise one of the exceptions below.
"""

from __future__ import annotations

import binascii
import lzma
import pickle
import re
import struct
import zlib
from typing import Final

import cbor2

from ..errors import BoundExceeded, CorruptMemory, IncompatibleType, StableError

_OF_BYTES: Final = (
    *(ValueError, TypeError, LookupError, ArithmeticError, AttributeError, EOFError, SyntaxError),
    *(struct.error, re.error, binascii.Error, zlib.error, lzma.LZMAError, pickle.PickleError, cbor2.CBORError),
)
_OURS_OF_BYTES: Final = (CorruptMemory, IncompatibleType, BoundExceeded)


def is_of_bytes(error: BaseException) -> bool:
    """Return whether invalid bytes explain the error. An `assert` does, but not what derives from its exception, such as time-outs."""
    if isinstance(error, StableError):
        return isinstance(error, _OURS_OF_BYTES)
    return isinstance(error, _OF_BYTES) or type(error) is AssertionError


def raise_of_moment(error: BaseException) -> None:
    """Raise a decoder's error, or the cause that it wraps, if invalid bytes do not explain it."""
    if not is_of_bytes(error):
        raise error
    raise_of_cause(error)


def raise_of_cause(error: BaseException) -> None:
    """Do the same for its causes only: an encoder uses its own exceptions to report a value that it cannot encode."""
    link = error.__cause__
    while link is not None:
        if not is_of_bytes(link):
            raise link
        link = link.__cause__
