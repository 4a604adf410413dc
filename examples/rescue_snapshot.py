# SPDX-License-Identifier: Apache-2.0
"""Rescue a damaged snapshot: say what is broken, save what can be read into a fresh image, show what is gone.

python rescue_snapshot.py stable_memory.bin rescued.bin
"""

import sys
from pathlib import Path

from stable_structures.inspect import check, inspect, repair


def rescue(damaged: Path, rescued: Path) -> int:
    """Write a sound image from a damaged one; return how many things were lost."""
    for memory in inspect(damaged).memories:
        print(f"{'all of it' if memory.memory is None else f'memory {memory.memory}'}: {memory.title}, {memory.length} entries")
    findings = check(damaged)
    print(f"{len(findings)} broken rules")
    lost = 0
    for saved in repair(damaged, rescued):
        print(f"{saved.kind}: {saved.kept} entries saved, {len(saved.lost)} places lost")
        lost += len(saved.lost)
    if check(rescued):
        raise SystemExit("the rescued image is not sound: please report this")
    return lost


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(f"usage: {__doc__.splitlines()[-1]}")
    sys.exit(min(rescue(Path(sys.argv[1]), Path(sys.argv[2])), 1))
