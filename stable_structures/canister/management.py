# SPDX-License-Identifier: Apache-2.0
"""The management canister, as much of it as tests need."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .calls import Call
    from .canister import Canister
    from .routing import Respond


def offers(call: Call) -> bool:
    """Whether the harness answers this call."""
    return False


def receive(sender: Canister, call: Call, respond: Respond) -> None:
    """Answers a call."""
