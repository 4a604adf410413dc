"""What the canister keeps."""

from kybra import Principal, Record, StableBTreeMap, Vec, blob, nat64


class User(Record):
    id: Principal
    created_at: nat64
    recording_ids: Vec[nat64]
    username: str


class Recording(Record):
    id: nat64
    audio: blob
    name: str
    user_id: Principal


users = StableBTreeMap[Principal, User](memory_id=0, max_key_size=38, max_value_size=500)
recordings = StableBTreeMap[nat64, Recording](memory_id=1, max_key_size=15, max_value_size=5_000)
counters = {}


def count_of(table):
    counters[id(table)] = counters.get(id(table), table.len()) + 1
    return counters[id(table)]
