"""What the tests of the inspector share."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest


@pytest.fixture(scope="module")
def without_fsync() -> Iterator[None]:
    """Files that are written are not waited for until they are on the disk: for tests of what is in them.

    That no name ever leads to half a file is held by test_outputs.py, which waits as users do.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda _: None)
        yield
