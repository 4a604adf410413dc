# SPDX-License-Identifier: Apache-2.0
"""Makes the golden log anew: a memory file whose writer was killed, the log beside it, and the digest of the image of both."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from stable_structures import StableMemory

GOLDEN = Path(__file__).parent / "golden"


def write(path: Path) -> StableMemory:
    """Leaves a log of four commits over a file of one page."""
    memory = StableMemory.open(path)
    memory.grow(1)
    memory.write(100, b"before the checkpoint")
    memory.checkpoint()
    memory.write(5000, b"over and over" * 500)
    with memory.transaction():
        memory.grow(1)
        memory.write(65536 + 4090, b"two blocks apart")
        memory.write(100, b"after the checkpoint!")
    memory.write(120, b".")
    memory.sync()
    memory.write(130, b"at the next block")
    return memory


def main() -> None:
    GOLDEN.mkdir(exist_ok=True)
    path = GOLDEN / "state.bin"
    log = GOLDEN / "state.bin-wal"
    path.unlink(missing_ok=True)
    log.unlink(missing_ok=True)
    memory = write(path)
    # Without the zeros behind the last record, which stand for nothing.
    log.write_bytes(log.read_bytes().rstrip(b"\0"))
    log.write_bytes(log.read_bytes() + bytes(-log.stat().st_size % 4096))
    (GOLDEN / "digest.txt").write_text(hashlib.sha256(memory.read(0, memory.nbytes)).hexdigest() + "\n")
    os._exit(0)  # without closing


if __name__ == "__main__":
    main()
