# SPDX-License-Identifier: Apache-2.0
"""The canister under test: real stable memory, the platform's lifecycle and rollback, and the CDKs' modules, in the test process.

    canister.py             Canister: install, call, upgrade, stop, snapshot
    execution.py            a message: all or nothing, step by step
    message.py              which system call is allowed in which message
    system.py               `ic`, the system calls
    actor.py                this library's own form: Actor and decorators
    variables.py            stable variables
    calls.py                calls between canisters
    queue.py routing.py     what is under way, and where a call goes
    management.py           the management canister
    source.py modules.py    code and its modules
    installed.py            what both kinds of program share
    program.py              a program in Python
    heap.py                 Python's objects, restored after a trap
    annotations.py          annotations as Candid types
    cdk/                    Basilisk and Kybra
    wasm/                   Rust, Motoko, TypeScript: Wasm modules
    snapshot.py folder.py   snapshots, in this process and in folders
    core.py                 what only the harness asks of the core
    given.py                users' arguments: principals, images, options
    errors.py               codes and texts of the platform, as exceptions
    tracebacks.py           tracebacks without the harness's own lines
    plugin.py               fixtures for pytest

Interfaces and values of Candid are in ../encodings/.

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
