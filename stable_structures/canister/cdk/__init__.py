# SPDX-License-Identifier: Apache-2.0
"""The modules of the CDKs as a canister under test imports them: there, `import basilisk` and `import kybra` load this library's versions.

They are found only while a program runs, and before installed packages; outside canisters the real packages are
unchanged.
"""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.machinery
import importlib.util
from types import ModuleType
from typing import TYPE_CHECKING, Final

from ...errors import Unsupported

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..program import Program

_CDKS: Final = {"basilisk": "basilisk", "bsk": "basilisk", "_basilisk_ic": "basilisk", "kybra": "kybra", "_kybra_ic": "kybra"}


class UnsupportedModule(Unsupported, ImportError):
    """A module of a CDK that the harness does not support; the message names it."""


class Finder(importlib.abc.MetaPathFinder):
    """Finds the CDKs' modules for one program."""

    def __init__(self, program: Program) -> None:
        self._program = program

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> importlib.machinery.ModuleSpec | None:
        """Return the spec of a CDK's module; None for all others."""
        del path, target
        if name.partition(".")[0] not in _CDKS:
            return None
        return importlib.util.spec_from_loader(name, _Loader(self._program), origin="stable_structures.canister", is_package=True)


class _Loader(importlib.abc.Loader):
    def __init__(self, program: Program) -> None:
        self._program = program

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType:
        cdk = importlib.import_module(f".{_CDKS[spec.name.partition('.')[0]]}", __name__)
        self._program.use_adapter(cdk.ADAPTER)
        top = "basilisk" if spec.name.partition(".")[0] == "bsk" else spec.name.partition(".")[0]
        name = ".".join([top, *spec.name.split(".")[1:]])
        names = cdk.modules().get(name)
        if names is None:
            raise UnsupportedModule(f"{spec.name} is not part of the harness, which has {', '.join(sorted(cdk.modules()))}")
        module = ModuleType(spec.name, cdk.__doc__)
        vars(module).update(names)
        return module

    def exec_module(self, module: ModuleType) -> None:
        """Do nothing: the module is complete already."""
