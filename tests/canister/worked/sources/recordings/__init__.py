"""Users and their recordings: a canister of several files, as the Kybra examples have it."""

from kybra import Opt, Principal, Vec, ic, nat64, query, update

from .storage import Recording, User, count_of, recordings, users


@update
def create_user(username: str) -> User:
    user: User = {"id": ic.caller(), "created_at": ic.time(), "recording_ids": [], "username": username}
    users.insert(user["id"], user)
    return user


@update
def create_recording(name: str, audio: bytes) -> Recording:
    user = users.get(ic.caller())
    if user is None:
        raise LookupError(f"{ic.caller().to_str()} is no user")
    recording: Recording = {"id": count_of(recordings), "audio": audio, "name": name, "user_id": user["id"]}
    recordings.insert(recording["id"], recording)
    users.insert(user["id"], {**user, "recording_ids": [*user["recording_ids"], recording["id"]]})
    return recording


@query
def read_users() -> Vec[User]:
    return users.values()


@query
def read_recording(number: nat64) -> Opt[Recording]:
    return recordings.get(number)


@update
def delete_user(user: Principal) -> User:
    found = users.remove(user)
    for number in found["recording_ids"]:
        recordings.remove(number)
    return found
