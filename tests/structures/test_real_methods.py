# SPDX-License-Identifier: Apache-2.0
"""The methods of structures are code that can be read: by people, by `inspect`, in tracebacks."""

from __future__ import annotations

import inspect
import re
import traceback
from pathlib import Path

import pytest

import stable_structures
from stable_structures import (
    IncompatibleType,
    StableBTreeMap,
    StableBTreeSet,
    StableCell,
    StableLog,
    StableMemory,
    StableMinHeap,
    StableVec,
    i64,
    u64,
)

PACKAGE = Path(stable_structures.__file__).parent
CLASSES = [
    *(StableBTreeMap[key, value] for key in (u64, i64, str, bytes) for value in (u64, i64, str, bytes)),
    *(kind[of] for kind in (StableBTreeSet, StableCell) for of in (u64, i64, str)),
    *(kind[of] for kind in (StableVec, StableMinHeap) for of in (u64, i64, bool)),
    StableLog[u64],
]


@pytest.mark.parametrize("of", CLASSES, ids=lambda of: of.__name__)
def test_the_source_of_each_method_is_what_runs(of):
    for name in of._hot:
        method = getattr(of, name)
        source = inspect.getsource(method)
        assert source.lstrip().startswith(("def ", "@overload", "@"))
        assert method.__code__.co_filename.startswith(str(PACKAGE))
        assert method.__doc__ == getattr(of.__mro__[1], name).__doc__
        assert method.__name__ == getattr(of.__mro__[1], name).__name__
        assert method.__qualname__.split(".")[0] in {base.__name__ for base in of.__mro__}
    assert "short_forms" in inspect.getsourcefile(StableBTreeMap[u64, u64].get)
    assert "number_forms" in inspect.getsourcefile(StableBTreeMap[u64, i64].get)
    assert "ss_btree_get_u64_u64" in Path(inspect.getsourcefile(StableBTreeMap[u64, u64].get)).read_text(encoding="utf-8")


def test_a_traceback_shows_the_line():
    with pytest.raises(KeyError) as raised:
        StableBTreeMap[u64, u64](StableMemory())[5]
    last = traceback.extract_tb(raised.value.__traceback__)[-1]
    assert (Path(last.filename).name, last.line) == ("short_forms.py", "raise KeyError(key)")


def test_nothing_is_compiled_from_text_but_canisters():
    found = [
        path.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("*.py") if re.search(r"\bexec\(", path.read_text(encoding="utf-8"))
    ]
    assert all(path.startswith("canister/") for path in found), found


@pytest.mark.parametrize("of", [StableBTreeMap, StableBTreeSet, StableVec, StableMinHeap])
def test_a_class_without_types_asks_for_them(of):
    with pytest.raises(IncompatibleType, match=rf"{of.__name__} needs its types: write {of.__name__}\["):
        of(StableMemory())


def test_what_a_class_of_the_user_overrides_is_kept():
    class Loud(StableBTreeMap):
        def get(self, key, default=None):
            return ("loud", super().get(key, default))

    tree = Loud[u64, u64](StableMemory())
    tree[1] = 2
    assert tree.get(1) == ("loud", 2)
