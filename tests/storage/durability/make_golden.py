# SPDX-License-Identifier: Apache-2.0
"""Makes the golden logs again: memory files whose writers were killed, the logs beside them, and the digests of the images of both."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from stable_structures import StableMemory

GOLDEN = Path(__file__).parent / "golden"
MODES: dict[str, dict[str, Any]] = {"normal": {}, "full": {"durability": "full", "exclusive": True}}


def write(path: Path, options: dict[str, Any]) -> StableMemory:
    """Leaves a log of four commits over a file of one page."""
    memory = StableMemory.open(path, **options)
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


def make(name: str) -> None:
    """Ends without closing."""
    folder = GOLDEN / name
    folder.mkdir(parents=True, exist_ok=True)
    path, log = folder / "state.bin", folder / "state.bin-wal"
    path.unlink(missing_ok=True)
    log.unlink(missing_ok=True)
    memory = write(path, MODES[name])
    # Without the zeros behind the last record, which stand for nothing.
    log.write_bytes(log.read_bytes().rstrip(b"\0"))
    log.write_bytes(log.read_bytes() + bytes(-log.stat().st_size % 4096))
    (folder / "digest.txt").write_text(hashlib.sha256(memory.read(0, memory.nbytes)).hexdigest() + "\n")
    os._exit(0)


if __name__ == "__main__":
    for which in sys.argv[1:]:
        make(which)
    for which in MODES:
        subprocess.run([sys.executable, __file__, which], check=True)
