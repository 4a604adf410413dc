# SPDX-License-Identifier: Apache-2.0
"""What is wrong with an image: findings, the known faults of the crate, and the errors for both (docs/format-ism.md#faults)."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Final

from ..errors import CorruptMemory

MOST: Final = 1000
"""Findings that are kept, of those that make the ownership check fail and of the others; more are counted only, so that a hostile
image does not fill the memory."""


class Fault(enum.Enum):
    """The known faults of ic-stable-memory, as they show in images.

    >>> Fault.STALE_STACK.value
    'stale-stack'
    """

    STALE_STACK = "stale-stack"
    VEC_CAPACITY = "vec-capacity"
    STALE_PREVIOUS = "stale-previous"
    BROKEN_CHAINS = "broken-chains"
    LOG_CAPACITIES = "log-capacities"
    DEAD_TABLE = "dead-table"
    LEAKED_BLOCK = "leaked-block"
    WIPED = "wiped"

    @property
    def explanation(self) -> str:
        """Return what the crate did, in one sentence. O(1)."""
        return _EXPLANATIONS[self]


_EXPLANATIONS: Final = {
    Fault.STALE_STACK: "a remove of an absent key, or an insert without memory, left a stale path, and a later split or merge followed it",
    Fault.VEC_CAPACITY: "a push without memory doubled the capacity but not the block, so later pushes wrote past its end",
    Fault.STALE_PREVIOUS: "a split does not set the next leaf's link back, so backward iteration skips entries; nothing is lost",
    Fault.BROKEN_CHAINS: "retain does not close the gaps it makes, so lookups miss keys that are there, and can insert them twice",
    Fault.LOG_CAPACITIES: "sectors that were made without enough memory are smaller than rev_iter assumes; nothing is lost",
    Fault.DEAD_TABLE: "a table of capacity 1 can never grow: the first insert does not return",
    Fault.LEAKED_BLOCK: "a block that nothing owns: a second box under the same key, or a type or key that was not given",
    Fault.WIPED: "stable_memory_init ran on a memory that held data, and made it all free",
}


@dataclass(frozen=True, slots=True)
class Finding:
    """One broken rule: the structure (`""` is the memory itself), the address, and the known fault if it is one."""

    structure: str
    text: str
    address: int
    fault: Fault | None = None
    ownership: bool = True
    """Whether it makes the ownership check fail; False for what can be read all the same."""

    def __str__(self) -> str:
        known = f" [{self.fault.value}: {self.fault.explanation}]" if self.fault else ""
        return f"{self.structure or 'memory'}, byte {self.address}: {self.text}{known}"


class NotOwned(CorruptMemory):
    """The ownership check of an image failed: its types or pointer width are other ones, or it is damaged."""


class Broken(CorruptMemory):
    """Something at an address is not what its type says."""

    def __init__(self, text: str, address: int = 0, fault: Fault | None = None) -> None:
        super().__init__(f"byte {address}: {text}")
        self.rule, self.address, self.fault = text, address, fault


class Findings(list[Finding]):
    """The first findings, and how many there were: so many harmless ones hide none that is not."""

    def __init__(self) -> None:
        super().__init__()
        self.ownership = self.others = 0
        """How many there were that make the ownership check fail, and that do not."""

    def note(self, finding: Finding) -> None:
        """Add a finding."""
        self.ownership += finding.ownership
        self.others += not finding.ownership
        if (self.ownership if finding.ownership else self.others) <= MOST:
            self.append(finding)
