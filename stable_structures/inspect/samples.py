# SPDX-License-Identifier: Apache-2.0
"""Some encoded keys, values and elements of a structure, for guesses at their types."""

from __future__ import annotations

import contextlib
from typing import Final

from .formats.layout import Damage
from .formats.maps import MapReader
from .formats.sequences import SequenceReader

_SAMPLES: Final = 64
LARGEST_SAMPLE: Final = 1 << 16
"""Larger ones are not decoded for a guess, or for a line of a table."""
_LARGEST_ALONE: Final = 1 << 24
"""What is decoded for a guess if there is no smaller one. A single element may have 4 GiB."""


def sample_elements(reader: SequenceReader) -> list[bytes]:
    """Return some elements, spread over the whole sequence, or far away the first ones; without large ones."""
    count = min(reader.readable(), _SAMPLES) if reader.source.is_far else reader.readable()
    step = max(1, count // _SAMPLES)
    samples: list[bytes] = []
    for index in range(0, count, step):
        with contextlib.suppress(Damage):
            if reader.size(index) <= (LARGEST_SAMPLE if samples else _LARGEST_ALONE):
                samples.append(reader.element(index))
    return samples


def sample_entries(reader: MapReader) -> tuple[list[bytes], list[bytes]]:
    """Keys and values of some nodes, in no order."""
    keys: list[bytes] = []
    values: list[bytes] = []
    for address in reversed(reader.sample):
        try:
            node = reader.space.node(address, reader.layout)
            pairs = [(key, node.value(i)) for i, key in enumerate(node.keys) if node.values[i][1] <= LARGEST_SAMPLE]
        except Damage:
            continue
        keys += [key for key, _ in pairs]
        values += [value for _, value in pairs]
        if len(keys) >= _SAMPLES:
            break
    return keys, values
