"""The counter as a Kybra canister."""

from kybra import StableBTreeMap, nat8, nat64, query, update

STEP = 1
values = StableBTreeMap[nat8, nat64](memory_id=0, max_key_size=16, max_value_size=16)
hits = 0


@update
def inc() -> nat64:
    global hits  # noqa: PLW0603 - as such canisters are written
    hits += 1
    value = (values.get(0) or 0) + STEP
    values.insert(0, value)
    return value


@query
def seen() -> nat64:
    return hits
