"""Version 1 keeps everything on the heap and saves it in the hooks."""

from stable_structures import UpgradeHooks
from stable_structures.canister import ic, post_upgrade, pre_upgrade, query, update

names = {}
hooks = UpgradeHooks(ic.manager().get(0))


@hooks.pre_upgrade
def save():
    return names


@hooks.post_upgrade
def load(saved):
    names.update(saved)


@pre_upgrade
def before():
    hooks.run_pre_upgrade()


@post_upgrade
def after():
    hooks.run_post_upgrade()


@update
def add(number, name):
    names[number] = name


@query
def listed():
    return sorted(names.items())
