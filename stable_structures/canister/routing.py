# SPDX-License-Identifier: Apache-2.0
"""Decide where a call goes: to a function that the test registered, a canister of this process, the management canister, or nowhere."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias

from ..errors import Unsupported
from ..principal import Principal
from . import calls, management
from .errors import ErrorCode, RejectCode, Rejected
from .message import Reply

if TYPE_CHECKING:
    from .calls import Call
    from .canister import Canister

Respond: TypeAlias = Callable[[Reply, int], None]
"""Takes the reply of a call, and the refunded cycles."""


def private_copy(value: Any) -> Any:
    """Return a copy of a value that leaves a canister, so that nobody shares a heap; the value itself if it cannot be copied."""
    try:
        return copy.deepcopy(value)
    except (TypeError, ValueError, AttributeError, copy.Error):
        return value


def deliver(sender: Canister, call: Call, respond: Respond, *, query: bool) -> None:
    """Deliver a call from a canister."""
    handler = sender.handlers.get((call.principal, call.method)) or sender.handlers.get((call.principal, ""))
    if handler is not None:
        respond(_handled(handler, call), 0)
        return
    target = sender.find(call.principal) or sender.children.get(call.principal)
    if target is not None:
        if target.composite_is_open:
            raise Unsupported(f"{call.method}: a composite query cannot call back into a canister that waits in a composite query")
        target.receive(call, sender.id, respond, query=query)
    elif call.principal == Principal.management_canister() and management.offers(call):
        management.receive(sender, call, respond)
    else:
        respond(_unknown(sender, call), call.cycles)


def _handled(handler: calls.Handler, call: Call) -> Reply:
    """Return the reply of a registered function, which returns the value or raises `Rejected`."""
    try:
        answer = handler(*private_copy(call.values()))
    except Rejected as error:
        return calls.rejection_of(error)
    return Reply(call.packed(handler, private_copy(answer)))


def _unknown(sender: Canister, call: Call) -> Reply:
    if call.principal != Principal.management_canister():
        text = f"{ErrorCode.CANISTER_NOT_FOUND}: Canister {call.principal} not found"
        return Reply(rejected=True, code=RejectCode.DESTINATION_INVALID, message=text)
    missing = f"the management canister's {call.method}: the harness does not have it"
    if sender.is_in_folder:
        text = f"{missing}, and a canister in a folder has no network; answer the call in a test, with Canister.register"
        return Reply(rejected=True, code=RejectCode.SYS_FATAL, message=text)
    raise Unsupported(f"{missing}; register one with canister.register('aaaaa-aa', {call.method!r}, function)")
