"""A canister that cannot be upgraded: its pre_upgrade hook always fails."""

from stable_structures import StableBTreeMap, u64
from stable_structures.canister import ic, pre_upgrade, query, update

values = StableBTreeMap[u64, u64](ic.manager().get(0))


@pre_upgrade
def before():
    values.clear()
    raise RuntimeError("too much to save in one message")


@update
def put(key, value):
    values[key] = value


@query
def total():
    return sum(values.values())
