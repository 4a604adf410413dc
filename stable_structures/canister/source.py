# SPDX-License-Identifier: Apache-2.0
"""Where a canister's code comes from: a file, a package folder, a module object or a string of source."""

from __future__ import annotations

import importlib
import importlib.util
import itertools
import linecache
import os
import sys
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Final, TypeAlias

from .errors import SourceError
from .modules import is_shared

Source: TypeAlias = str | os.PathLike[str] | ModuleType | bytes
"""What `install` and `upgrade` take: Python source, or a Wasm module as a file or as bytes."""

_WASM_ENDINGS: Final = (".wasm", ".wasm.gz")

_PROJECT_FILES: Final = ("dfx.json", "icp.yaml")
_numbers: Final = itertools.count(1)


def wasm_of(source: Source) -> tuple[bytes, Path | None] | None:
    """The bytes of a Wasm module, and its file; None for Python source. Raises `SourceError` for a file that is not there."""
    if isinstance(source, (bytes, bytearray, memoryview)):
        return bytes(source), None
    if not isinstance(source, (str, os.PathLike)) or not os.fspath(source).endswith(_WASM_ENDINGS) or "\n" in os.fspath(source):
        return None
    path = Path(source)
    try:
        return path.read_bytes(), path.resolve()
    except FileNotFoundError:
        raise SourceError(f"{path}: there is no such file; build the canister first, or give the path of its .wasm") from None
    except OSError as error:
        raise SourceError(f"{path}: cannot be read: {error.strerror}") from None


@dataclass(frozen=True)
class Code:
    """Source that is ready to run: its module name, its text, and the folder where its own files are."""

    name: str
    text: str
    filename: str
    search: list[str] = field(default_factory=list)
    package: list[str] | None = None

    def run(self) -> ModuleType:
        """Runs it as a new module. The program's modules must be active. Raises what the code raises."""
        importlib.invalidate_caches()
        spec = importlib.util.spec_from_loader(self.name, None, origin=self.filename, is_package=self.package is not None)
        if spec is None:
            raise SourceError(f"{self.filename}: {self.name!r} is no name of a module")
        if self.package is not None:
            spec.submodule_search_locations = list(self.package)
        module = importlib.util.module_from_spec(spec)
        module.__file__ = self.filename
        sys.modules[self.name] = module
        try:
            compiled = compile(self.text, self.filename, "exec", dont_inherit=True)
        except SyntaxError as error:
            raise SourceError(f"{self.filename}, line {error.lineno}: {error.msg}") from error
        exec(compiled, vars(module))  # noqa: S102 - the user's own code, as an import runs it
        return module


def read_source(source: Source) -> Code:
    """The code of a source. O(size). Raises `SourceError`, which says what can be given instead."""
    if isinstance(source, ModuleType):
        return _of_module(source)
    if isinstance(source, str) and ("\n" in source or not (os.path.exists(source) or _looks_like_path(source))):  # noqa: PTH110
        return _of_text(source)
    if isinstance(source, (str, os.PathLike)):
        return _of_path(Path(source))
    raise SourceError(f"a canister is installed from source that can be run anew, got {source!r}: give a path, a module or source text")


def _looks_like_path(text: str) -> bool:
    return text.endswith(".py") or (os.sep in text and " " not in text)


def _of_text(text: str) -> Code:
    name = f"canister_source_{next(_numbers)}"
    filename = f"<{name}>"
    linecache.cache[filename] = (len(text), None, text.splitlines(keepends=True), filename)  # so that tracebacks show the lines
    return Code(name, text, filename)


def _of_path(path: Path) -> Code:
    path = path.resolve()
    if path.is_dir():
        return _of_folder(path)
    if not path.is_file():
        raise SourceError(f"{path}: there is no such file; give the canister's .py file or its package folder")
    return Code(_module_name(path.stem), path.read_text(encoding="utf-8"), str(path), _search(path.parent))


def _search(folder: Path) -> list[str]:
    """Where the imports of a file in this folder are looked for: there, and where the CDKs build it, which is the project's folder."""
    above = (folder, *folder.parents)
    project = next((one for one in above if any((one / name).is_file() for name in _PROJECT_FILES)), None)
    root = project or (Path.cwd() if Path.cwd() in above else folder)
    return list(dict.fromkeys([str(folder), str(root)]))


def _of_folder(folder: Path) -> Code:
    start = folder / "__init__.py"
    if start.is_file():
        return Code(_module_name(folder.name), start.read_text(encoding="utf-8"), str(start), _search(folder.parent), [str(folder)])
    main = folder / "main.py"
    if main.is_file():
        return _of_path(main)
    raise SourceError(f"{folder}: the folder has neither __init__.py nor main.py; give the file that holds the canister")


def _of_module(module: ModuleType) -> Code:
    filename = getattr(module, "__file__", None)
    if not filename or not filename.endswith(".py"):
        raise SourceError(f"the module {module.__name__} has no source file, so it cannot be run anew; give its source text")
    path = Path(filename).resolve()
    package = [str(path.parent)] if path.name == "__init__.py" else None
    depth = module.__name__.count(".") + (package is not None)
    root = path.parents[min(depth, len(path.parents) - 1)]
    return Code(module.__name__, path.read_text(encoding="utf-8"), str(path), [str(root)], package)


def _module_name(stem: str) -> str:
    """A file that is called like a shared module (types.py) runs under a name of its own, or it would take that one's place."""
    return f"canister_{stem}" if stem in sys.modules and is_shared(stem) else stem
