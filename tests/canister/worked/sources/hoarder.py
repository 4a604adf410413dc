"""A canister that takes more stable memory than it may have."""

from stable_structures import StableVec, u64
from stable_structures.canister import ic, query, update

numbers = StableVec[u64](ic.memory())


@update
def hoard(count):
    for number in range(count):
        numbers.push(number)
    return len(numbers)


@query
def count():
    return len(numbers)
