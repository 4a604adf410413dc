# SPDX-License-Identifier: Apache-2.0
"""The log of a memory file read by its picture in native/storage/wal.c alone, so that the picture is what the files are."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass

BLOCK, PAGE = 4096, 65536
HEADER = struct.Struct("<8sIIQQQQQQ")
RECORD = struct.Struct("<IHHQQQQIIQQ")
MASK = 2**64 - 1
PRIMES = (0x9E3779B185EBCA87, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9, 0x85EBCA77C2B2AE63, 0x27D4EB2F165667C5)


def rotate(x: int, bits: int) -> int:
    return (x << bits | x >> (64 - bits)) & MASK


def lane(value: int, words: Iterable[int]) -> int:
    """One of the four lanes, through all its words; written out, since most of the time goes here."""
    p1, p2, *_ = PRIMES
    for word in words:
        value = (value + word * p2) & MASK
        value = (value << 31 | value >> 33) * p1 & MASK  # rotated
    return value


def xxh64(data: bytes, seed: int) -> int:
    p1, p2, p3, p4, p5 = PRIMES
    at = len(data) & ~31
    if at:
        words = struct.unpack_from(f"<{at // 8}Q", data)
        starts = [(seed + p1 + p2) & MASK, (seed + p2) & MASK, seed, (seed - p1) & MASK]
        lanes = [lane(start, words[i::4]) for i, start in enumerate(starts)]
        result = sum(map(rotate, lanes, (1, 7, 12, 18))) & MASK
        for value in lanes:
            result = ((result ^ lane(0, [value])) * p1 + p4) & MASK
    else:
        result = (seed + p5) & MASK
    result = (result + len(data)) & MASK
    while at + 8 <= len(data):
        result = (rotate(result ^ lane(0, struct.unpack_from("<Q", data, at)), 27) * p1 + p4) & MASK
        at += 8
    if at + 4 <= len(data):
        result = (rotate(result ^ struct.unpack_from("<I", data, at)[0] * p1 & MASK, 23) * p2 + p3) & MASK
        at += 4
    for byte in data[at:]:
        result = rotate(result ^ byte * p5 & MASK, 11) * p1 & MASK
    for shift, prime in ((33, p2), (29, p3)):
        result = (result ^ result >> shift) * prime & MASK
    return result ^ result >> 32


@dataclass
class Log:
    """The generation that counts, its complete records (pages afterwards, and what lies at which offset), and where the last one ends."""

    generation: int
    base_pages: int
    inode: int
    records: list[tuple[int, dict[int, bytes]]]
    end: int = 2 * BLOCK


def header(block: bytes) -> tuple[int, ...] | None:
    magic, version, size, *rest = HEADER.unpack_from(block)
    good = magic == b"SMWALv01" and version == 1 and size == BLOCK and rest[-1] == xxh64(block[:56], 0)
    return tuple(rest) if good else None


def record(log: bytes, at: int, salt: int, sequence: int, previous: int) -> tuple[int, dict[int, bytes], int, int] | None:
    """Pages, contents, sum and end of the record there, or None if there is no complete one."""
    if at + RECORD.size > len(log):
        return None
    magic, version, flags, its_salt, its_sequence, its_previous, pages, pieces, zero, length, its_sum = RECORD.unpack_from(log, at)
    if (magic, version, its_salt, its_sequence, its_previous, zero) != (0x43524D53, 1, salt, sequence, previous, 0):
        return None
    assert flags & 2
    table = 64 + 16 * pieces
    whole = log[at : at + table + length]
    if len(whole) != table + length or xxh64(whole[:56] + bytes(8) + whole[64:], previous) != its_sum:
        return None
    contents, data = {}, table
    for offset, count in struct.iter_unpack("<QQ", whole[64 : 64 + 16 * pieces]):
        contents[offset] = whole[data : data + count]
        data += count
    assert data == len(whole)
    return pages, contents, its_sum, at + -(-len(whole) // 64) * 64


def read_log(log: bytes) -> Log:
    generation, salt, base_pages, inode, zero, previous = max(h for h in (header(log), header(log[BLOCK:])) if h)
    assert zero == 0
    found = Log(generation, base_pages, inode, [])
    while True:
        candidates = (record(log, place, salt, len(found.records) + 1, previous) for place in (found.end, -(-found.end // BLOCK) * BLOCK))
        this = next(filter(None, candidates), None)
        if this is None:
            return found
        pages, contents, previous, found.end = this
        found.records.append((pages, contents))


def replay(image: bytes, log: Log) -> bytes:
    """The committed image: what is in the file with what the log holds in its place."""
    result = bytearray(image)
    for pages, contents in log.records:
        result.extend(bytes(max(0, pages * PAGE - len(result))))
        for offset, data in contents.items():
            result[offset : offset + len(data)] = data
    return bytes(result)
