# SPDX-License-Identifier: Apache-2.0
"""What a decoder raises because of the bytes, and what it raises because of the moment.

A time-out, a full memory or a deep stack can strike in the midst of a decoder, and says nothing about the bytes: it is
raised as it is, and never told as damage. Users' decoders are asked for one of the exceptions below.
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
    """Whether bytes that are no value explain it. An `assert` does, but not what derives from its exception, as time-outs do."""
    if isinstance(error, StableError):
        return isinstance(error, _OURS_OF_BYTES)
    return isinstance(error, _OF_BYTES) or type(error) is AssertionError


def raise_of_moment(error: BaseException) -> None:
    """Raises what a decoder raised, or what it wrapped as the cause of that, where bytes do not explain it."""
    if not is_of_bytes(error):
        raise error
    raise_of_cause(error)


def raise_of_cause(error: BaseException) -> None:
    """The same of its causes only: an encoder says of a value that it has no form by exceptions of its own."""
    link = error.__cause__
    while link is not None:
        if not is_of_bytes(link):
            raise link
        link = link.__cause__
