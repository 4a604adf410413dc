# SPDX-License-Identifier: Apache-2.0
"""The canister under test: real stable memory, the platform's lifecycle and rollback, and the CDKs' modules, in the test process.

    canister.py    Canister: install, call, upgrade, stop, snapshot         source.py modules.py   code and its modules
    execution.py   a message: all or nothing, step by step                  heap.py                Python's objects, restored after a trap
    message.py     which system call is allowed in which message                       system.py              `ic`, the system calls
    actor.py       this library's own form: Actor and decorators                       variables.py           stable variables
    calls.py       calls between canisters                                  cdk/                   basilisk and kybra
    queue.py routing.py   what is under way, and where a call goes          wasm/                  Rust, Motoko, TypeScript: Wasm modules
    installed.py   what both kinds of program share                           ../encodings/          interfaces and values
    management.py  the management canister                                  folder.py              snapshots in folders
    plugin.py      fixtures for pytest

The rules are those of the interface specification (docs/platform.md#interface-specification). Not simulated: instructions of Python,
candid checks of the arguments of `call` to Python, consensus, several subnets, cycles except as plain numbers.
"""

from ..errors import SourceError, Unsupported
from . import system as ic
from .actor import Actor, composite_query, heartbeat, init, inspect_message, post_upgrade, pre_upgrade, query, update
from .calls import Call, CallRejected
from .canister import Canister
from .errors import ErrorCode, RejectCode, Rejected, Trapped
from .execution import Limits
from .snapshot import Snapshot
from .variables import ChangedType, UpgradeReport, stable

__all__ = [
    "Actor",
    "Call",
    "CallRejected",
    "Canister",
    "ChangedType",
    "ErrorCode",
    "Limits",
    "RejectCode",
    "Rejected",
    "Snapshot",
    "SourceError",
    "Trapped",
    "Unsupported",
    "UpgradeReport",
    "composite_query",
    "heartbeat",
    "ic",
    "init",
    "inspect_message",
    "post_upgrade",
    "pre_upgrade",
    "query",
    "stable",
    "update",
]
