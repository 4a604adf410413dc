"""Operations of ic-stable-memory at random, run by the model that the traces hold, with the crate's faults."""

from __future__ import annotations

from .ism_crate import Tree
from .ism_traces import GOLDEN, Replay

NUMBERS = {"u64": 8, "u32": 4, "i32": 4, "u8": 1}
LENGTHS = (0, 1, 4, 12, 30, 90)


def text(rng):
    """A text as the traces write one; the empty one in one way only."""
    length = rng.choice(LENGTHS)
    return f"*{length}.{rng.randrange(26) if length else 0}"


class Storm(Replay):
    """The structure of a trace without its operations; `pages` is the most memory that it may have, 0 for no limit."""

    def __init__(self, name, pages):
        super().__init__(GOLDEN / f"{name}.trace.gz")
        self.a.max_pages = pages
        self.kind, *self.words = (self.head["structure"] if name != "nest" else "nest_u64_boxstr").split("_")
        self.is_list = self.kind in ("vec", "log")
        self.form = {"bs": "_hm", "hs": "_hm", "bt": "_hm", "hm": "_hm", "cm": "_hm"}.get(self.kind, f"_{self.kind}")
        if self.kind == "cm":
            self.words = ["u64", "u64"]
        puts = [line.split() for line in self.lines if line.startswith("p " if self.is_list else "i ")]
        self.steps = 0
        self.seen = [[words[at] for words in puts if len(words) > at] for at in (1, 2)]

    def token(self, rng, at):
        """A value for one part, from a small range, so that keys come again; of a type with rules one that the trace has."""
        word = self.words[min(at, len(self.words) - 1)]
        if word in ("boxstr", "boxbytes"):
            return text(rng)
        if word in NUMBERS:
            return rng.randrange(min(400, 256 ** NUMBERS[word])).to_bytes(NUMBERS[word], "little").hex()
        return rng.choice(self.seen[at])

    def step(self, rng, *, absent):
        """One operation. Raises `OutOfMemory`, and `IndexError`, `KeyError` or `ValueError` where the crate traps."""
        mirror = self.mirrors[""]
        if rng.random() < 0.002:
            self.reload("", ["0"])
        elif self.is_list:
            self._list_step(rng, mirror)
        elif self.kind == "nest":
            self._nest("", *self._nest_step(rng, mirror))
        else:
            self._hm("", *self._map_step(rng, mirror, absent))
        thing = self.things[""]
        if isinstance(thing, Tree) and thing.certified and rng.random() < 0.1:
            thing.commit()

    def _grows(self, rng, mirror):
        """In turns it mostly grows and mostly shrinks."""
        self.steps += 1
        return len(mirror) < 5 or rng.random() < (0.75 if self.steps // 300 % 2 == 0 else 0.3)

    def _map_step(self, rng, mirror, absent):
        if self._grows(rng, mirror):
            key = self.token(rng, 0)
            return "i", ([key, "-"] if self.kind in ("bs", "hs") else [key, self.token(rng, 1), "-"])
        key = rng.choice(list(mirror))
        if absent and rng.random() < 0.5:
            key = self.token(rng, 0)
        return "r", [key, "-"]

    def _nest_step(self, rng, mirror):
        if not mirror or rng.random() < 0.2:
            return "i", [self.token(rng, 0)]
        key = rng.choice(list(mirror))
        op = rng.choice("eeeeqqr")
        return op, [key, text(rng)]

    def _list_step(self, rng, mirror):
        run = getattr(self, self.form)
        if self._grows(rng, mirror):
            run("", "p", [self.token(rng, 0)])
        elif self.kind == "vec" and rng.random() < 0.5:
            run("", "r", [str(rng.randrange(len(mirror)))])
        else:
            run("", "q", [])
