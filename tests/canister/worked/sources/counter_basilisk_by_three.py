"""The counter as a Basilisk canister, version 2: it adds 3."""

from basilisk import StableCell, ic, nat64, query, update

STEP = 3
value = StableCell(memory_id=0, default_value=0)
hits = 0


@update
def inc() -> nat64:
    global hits  # noqa: PLW0603 - as such canisters are written
    hits += 1
    value.set(value.get() + STEP)
    ic.print("now", value.get())
    return value.get()


@query
def seen() -> nat64:
    return hits
