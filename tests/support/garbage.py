# SPDX-License-Identifier: Apache-2.0
"""Things that are garbage together with an object whose `__del__` uses them: a program for another process."""

from __future__ import annotations

import os
from pathlib import Path

from . import command

_START = """
import gc, sys
from pathlib import Path
from stable_structures import *
from stable_structures import Closed, open_image, u64

path, seen, kept = Path(sys.argv[1]), [], []

class Bag: pass
class User:
    def __del__(self):
        use(self, self.number % 4)
        if self.number % 4 < 2: kept.append(self)
"""
_END = """
gc.disable()
for number in range(8):
    user = User() if number % 2 else None
    bag = Bag()
    fill(bag)
    user = user or User()
    user.number, user.me = number, user
    user.__dict__.update(bag.__dict__)
    tie(user)
    del user, bag
    gc.collect()
    if kept: use(kept.pop(), 4)
assert len(seen) == 12, seen
print("sound")
"""


def survives(program: str, path: Path, **env: str) -> None:
    """Run a program that defines `fill(bag)`, `tie(user)`, which makes them one piece of garbage, and `use(user, turn)`, which
    appends to `seen`.
    """
    done = command.python(_START + program + _END, path, env={**os.environ, **env})
    assert done.stdout == "sound\n"
    assert done.stderr == ""
