"""Images of ic-stable-memory, damaged at random."""

from __future__ import annotations

from functools import cache

from .ism_traces import GOLDEN, Replay, annotation

BASES = (
    "bt_boxbytes_boxstr", "bt_u64_u64", "bs_u32", "cm", "canister", "hm_boxstr_u64", "hm_i64_enum", "hs_boxstr", "log_boxbytes",
    "log_u64", "nest", "sbox", "vec_boxstr", "vec_struct",
)  # fmt: skip
WORDS = (0, 8, 2**64 - 1, 2**63, 2**63 + 16, 2**32, 24, 15, 16, 0x7F, 0xFF)


@cache
def moments(name):
    """Some images of a trace, saved and running, with their types."""
    trace, found = Replay(GOLDEN / f"{name}.trace.gz"), []
    for count, _ in enumerate(trace.play()):
        if count % 20 == 15:
            data, types = trace.saved_image()
            found.append((data, types))
            running = {key: annotation(full) for key, full in enumerate(trace.forms.values())} if name != "sbox" else {}
            found.append((bytes(trace.a.mem), running))
    return found


def damaged(rng):
    """One image, changed in a few places, and the types that it had."""
    data, types = rng.choice(moments(rng.choice(BASES)))
    data = bytearray(data)
    used = max(64, len(data.rstrip(b"\0")))
    for _ in range(rng.choice((1, 1, 2, 5, 40))):
        at = rng.randrange(used) if rng.random() < 0.9 else rng.randrange(len(data))
        kind = rng.randrange(5)
        if kind == 0:
            data[at] ^= 1 << rng.randrange(8)
        elif kind == 1:
            data[at] = rng.randrange(256)
        elif kind == 2:
            at -= at % 8
            data[at : at + 8] = (rng.choice(WORDS) if rng.random() < 0.5 else rng.randrange(used)).to_bytes(8, "little")
        elif kind == 3:
            other, size = rng.randrange(used), rng.choice((8, 64, 300))
            piece = data[other : other + size]
            data[at : at + len(piece)] = piece
            del data[(len(data) // 8) * 8 :]
        else:
            other = rng.randrange(used)
            at, other = at - at % 8, other - other % 8
            data[at : at + 8], data[other : other + 8] = data[other : other + 8], data[at : at + 8]
    if rng.random() < 0.05:
        del data[rng.randrange(len(data)) :]
    return bytes(data), types
