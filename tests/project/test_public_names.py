"""What the library exports, and that each public operation says what it does, what it costs and how it is used."""

from __future__ import annotations

import inspect
import subprocess
import sys

import pytest

import stable_structures

LIST = """
    MAX_PAGES PAGE_SIZE Image open_image

    Memory StableMemory RestrictedMemory VirtualMemory MemoryManager Transaction Reader Writer UpgradeHooks
    CertifiedMap StableBTreeMap StableBTreeSet StableCell StableLog StableMinHeap StableVec

    Array Basilisk Blob Bounded Candid Cbor Codec Principal Record Reverse Unbounded codec storable
    f32 f64 i8 i16 i32 i64 i128 u8 u16 u32 u64 u128

    BadMagic BoundExceeded Closed CommitUnknown CorruptMemory IncompatibleType Locked MemoryInUse OutOfBounds OutOfMemory ReadOnly
    StableError UnsupportedVersion WalCorrupt
"""
NAMES = LIST.split()

STRUCTURES = [
    "CertifiedMap",
    "MemoryManager",
    "Principal",
    "Reader",
    "RestrictedMemory",
    "StableBTreeMap",
    "StableBTreeSet",
    "StableCell",
    "StableLog",
    "StableMemory",
    "StableMinHeap",
    "StableVec",
    "UpgradeHooks",
    "VirtualMemory",
    "Writer",
    "Codec",
    "Transaction",
]


def test_the_public_names_are_these():
    assert sorted(stable_structures.__all__) == sorted(NAMES)
    assert len(set(NAMES)) == len(NAMES)


def test_a_star_import_gives_them_and_nothing_else():
    namespace: dict[str, object] = {}
    exec("from stable_structures import *", namespace)  # noqa: S102
    assert sorted(set(namespace) - {"__builtins__"}) == sorted(NAMES)


def test_every_error_is_a_stable_error_and_a_builtin_one():
    errors = [getattr(stable_structures, name) for name in NAMES if inspect.isclass(getattr(stable_structures, name))]
    errors = [error for error in errors if issubclass(error, Exception) and error is not stable_structures.StableError]
    assert len(errors) == 13
    for error in errors:
        assert issubclass(error, stable_structures.StableError)
        assert any(base.__module__ == "builtins" and base not in (Exception, BaseException, object) for base in error.__mro__)


def operations(name):
    """The public operations of a class that are ours."""
    cls = getattr(stable_structures, name)
    for attribute in sorted(set(dir(cls))):
        found = inspect.getattr_static(cls, attribute)
        function = getattr(found, "__func__", None) or getattr(found, "fget", None) or found
        ours = inspect.isfunction(function) and function.__module__.startswith("stable_structures")
        # A stream's other direction is there to be refused.
        if ours and not attribute.startswith("_") and function.__doc__ != "Raise `io.UnsupportedOperation`.":
            yield pytest.param(function, id=f"{name}.{attribute}")


@pytest.mark.parametrize("operation", [operation for name in STRUCTURES for operation in operations(name)])
def test_each_operation_tells_its_cost_and_has_an_example(operation):
    text = operation.__doc__
    assert text
    assert "O(" in text
    assert ">>> " in text


def test_methods_made_for_types_are_documented_and_named():
    vec = stable_structures.StableVec[stable_structures.u64]
    assert vec.__name__ == "StableVec[u64]"
    assert vec.push.__doc__ == stable_structures.StableVec.push.__doc__
    assert vec.push.__qualname__ == "StableVec.push"
    assert vec.__doc__ == stable_structures.StableVec.__doc__
    assert vec is stable_structures.StableVec[stable_structures.codec(stable_structures.u64)]


def test_the_import_is_quiet_and_needs_no_optional_package():
    code = "import sys, stable_structures; sys.exit(bool({'matplotlib', 'pyarrow', 'rich'} & set(sys.modules)))"
    found = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False)
    assert (found.returncode, found.stdout, found.stderr) == (0, "", "")
