"""Version 2 keeps the names in a stable map, which version 1's backup fills once."""

from stable_structures import StableBTreeMap, UpgradeHooks, u64
from stable_structures.canister import ic, post_upgrade, query, update

names = StableBTreeMap[u64, str](ic.manager().get(1))
hooks = UpgradeHooks(ic.manager().get(0))


@hooks.post_upgrade
def load(saved):
    names.update(saved)


@post_upgrade
def after():
    if names.is_empty():
        hooks.run_post_upgrade()


@update
def add(number, name):
    names[number] = name


@query
def listed():
    return list(names.items())
