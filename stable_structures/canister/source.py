# SPDX-License-Identifier: Apache-2.0
"""Where a canister's code comes from: a file, a package folder, a module object or a string of source."""

from __future__ import annotations

import ast
import difflib
import importlib
import importlib.util
import io
import itertools
import linecache
import os
import sys
import weakref
from dataclasses import dataclass, field
from pathlib import Path
from types import CodeType, ModuleType
from typing import Final, TypeAlias

from ..errors import SourceError
from .modules import TEXT_MODULE, is_shared

Source: TypeAlias = str | os.PathLike[str] | ModuleType | bytes
"""The argument of `install` and `upgrade`: Python source, or a Wasm module as a file or as bytes."""

WASM_ENDINGS: Final = (".wasm", ".wasm.gz")

_PROJECT_FILES: Final = ("dfx.json", "icp.yaml")
_NEAR: Final = 3
_LONGEST: Final = 200
_BYTE_ORDER_MARK: Final = "\ufeff"
_numbers: Final = itertools.count(1)


def is_wasm(data: bytes) -> bool:
    """Return whether bytes begin as a Wasm module does, plain or gzipped."""
    return data.startswith((b"\0asm", b"\x1f\x8b"))


def decoded(source: bytes, place: str | Path) -> str:
    """Return Python source as Python decodes it: byte order mark, coding cookie, ends of lines. Raises `SourceError`."""
    try:
        return importlib.util.decode_source(source)
    except (SyntaxError, ValueError, LookupError) as error:
        raise SourceError(f"{place}: this is not Python source: {error}") from None


def wasm_of(source: Source) -> tuple[bytes, Path | None] | None:
    """Return the bytes of a Wasm module, and its file; None for Python source. Raises `SourceError` if the file does not exist."""
    if isinstance(source, (bytes, bytearray, memoryview)):
        return bytes(source), None
    if not isinstance(source, (str, os.PathLike)) or not os.fspath(source).endswith(WASM_ENDINGS) or "\n" in os.fspath(source):
        return None
    path = Path(source)
    try:
        return path.read_bytes(), path.resolve()
    except FileNotFoundError:
        raise SourceError(f"{_short(str(path))}: file not found; build the canister first, or pass the path of its .wasm") from None
    except (OSError, ValueError) as error:  # also a null character, or one that no name can have
        raise SourceError(f"{_short(str(path))}: cannot read it: {getattr(error, 'strerror', None) or error}") from None


@dataclass(frozen=True)
class Code:
    """Source that is ready to run: its module name, its text, and the folder of its own files.

    The text of a file is kept as bytes, so that Python detects the encoding, as in an import.
    """

    name: str
    text: str | bytes = field(repr=False)
    filename: str
    search: list[str] = field(default_factory=list)
    package: list[str] | None = None

    def run(self) -> ModuleType:
        """Run it as a new module. The program's modules must be active. Raises what the code raises."""
        importlib.invalidate_caches()
        spec = importlib.util.spec_from_loader(self.name, None, origin=self.filename, is_package=self.package is not None)
        if spec is None:
            raise SourceError(f"{self.filename}: {self.name!r} is not a valid module name; rename the file")
        if self.package is not None:
            spec.submodule_search_locations = list(self.package)
        spec.loader_state = self  # the traceback of a text can show its lines as long as the module exists
        module = importlib.util.module_from_spec(spec)
        module.__file__ = self.filename
        sys.modules[self.name] = module
        exec(self._compiled(), vars(module))  # noqa: S102 - the user's own code, as an import runs it
        return module

    def _compiled(self) -> CodeType:
        try:
            return compile(self.text, self.filename, "exec", dont_inherit=True)
        except SyntaxError as error:
            where = self.filename if error.lineno is None else f"{self.filename}, line {error.lineno}"
            raise SourceError(f"{where}: {error.msg}") from error
        except (ValueError, OverflowError, RecursionError, MemoryError) as error:  # null bytes, lone surrogates, too deep
            raise SourceError(f"{self.filename}: Python cannot compile it: {str(error) or type(error).__name__}") from error


def read_source(source: Source) -> Code:
    """Return the code of a source. O(size). Raises `SourceError`, with the accepted kinds of source."""
    if isinstance(source, ModuleType):
        return _of_module(source)
    if isinstance(source, str) and not is_path(source):
        return _of_text(source)
    if isinstance(source, (str, os.PathLike)):
        return _of_path(Path(os.fsdecode(source)))
    raise SourceError(f"a canister is installed from source that can run again, got {source!r}; pass a path, a module or source text")


def is_path(source: str) -> bool:
    """Return whether a source is a path, existing or not, rather than source text. Text of several lines never is."""
    if "\n" in source or "\r" in source:
        return False
    return os.path.exists(source) or _looks_like_path(source)  # noqa: PTH110 - Path raises for a long text


def _looks_like_path(line: str) -> bool:
    """Return whether one line is a path: names with dots, slashes and dashes. One such line cannot be a canister."""
    statement = any(sign in line for sign in "()=;@#\"'")
    try:
        body = ast.parse(line).body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return line.endswith(".py") or (os.sep in line and not statement)
    return bool(body) and all(isinstance(one, ast.Expr) for one in body) and (line.endswith(".py") or not statement)


def _of_text(text: str) -> Code:
    name = f"{TEXT_MODULE}{next(_numbers)}"
    text = text.removeprefix(_BYTE_ORDER_MARK)
    code = Code(name, text, f"memory:{name}")  # pytest hides frames of <...>; coverage ignores memory:
    lines = list(io.StringIO(text, newline=None))  # as Python counts lines: a form feed does not end one
    linecache.cache[code.filename] = (len(text), None, lines, code.filename)  # so that tracebacks show them
    weakref.finalize(code, linecache.cache.pop, code.filename, None).atexit = False
    return code


def _of_path(path: Path) -> Code:
    try:
        path = path.resolve()
        if path.is_dir():
            return _of_folder(path)
        if not path.is_file():
            raise SourceError(_no_such_file(path))
        return Code(_module_name(path.stem), path.read_bytes(), str(path), _search(path.parent))
    except (OSError, ValueError, RuntimeError) as error:  # too long, no permission, a null character, links in a circle
        if isinstance(error, SourceError):
            raise
        problem = error.strerror if isinstance(error, OSError) else error
        raise SourceError(f"{_short(str(path))}: {problem}; pass the canister's .py file, its package folder or its source text") from error


def _no_such_file(path: Path) -> str:
    near = near_names(path)
    help_ = f"did you mean {near}?" if near else "pass the canister's .py file or its package folder"
    return f"{_short(str(path))}: file not found; {help_}"


def near_names(path: Path) -> str:
    """Return the paths with similar names beside a missing one; "" if there are none."""
    try:
        parent = next((one for one in path.parents if one.is_dir()), path.parent)
        names = sorted(os.listdir(parent))  # noqa: PTH208 - the names
    except (OSError, ValueError):
        return ""
    wanted = path.relative_to(parent).parts[0]
    near = difflib.get_close_matches(wanted, names, n=_NEAR)
    near += [name for name in names if name.startswith(f"{wanted}.") and name not in near][:1]
    return " or ".join(str(parent / name) for name in near)


def _short(text: str) -> str:
    """Return a path or text in the length that a message shows."""
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}... ({len(text)} characters)"


def _search(folder: Path) -> list[str]:
    """Return where to look for the imports of a file in this folder: there, and in the project's folder, where the CDKs build it."""
    above = (folder, *folder.parents)
    project = next((one for one in above if any((one / name).is_file() for name in _PROJECT_FILES)), None)
    root = project or (Path.cwd() if Path.cwd() in above else folder)
    return list(dict.fromkeys([str(folder), str(root)]))


def _of_folder(folder: Path) -> Code:
    start = folder / "__init__.py"
    if start.is_file():
        return Code(_module_name(folder.name), start.read_bytes(), str(start), _search(folder.parent), [str(folder)])
    main = folder / "main.py"
    if main.is_file():
        return _of_path(main)
    raise SourceError(f"{folder}: the folder has neither __init__.py nor main.py; pass the file that contains the canister")


def _of_module(module: ModuleType) -> Code:
    filename = getattr(module, "__file__", None)
    if not filename or not filename.endswith(".py"):
        raise SourceError(f"the module {module.__name__} has no source file, so it cannot run again; pass its source text")
    path = Path(filename).resolve()
    package = [str(path.parent)] if path.name == "__init__.py" else None
    depth = module.__name__.count(".") + (package is not None)
    root = path.parents[min(depth, len(path.parents) - 1)]
    try:
        return Code(module.__name__, path.read_bytes(), str(path), [str(root)], package)
    except OSError as error:
        raise SourceError(f"the module {module.__name__} cannot be read again from {path}: {error.strerror}") from error


def _module_name(stem: str) -> str:
    """Return the module name for a file; one like a shared module (types.py) gets another name, so as not to replace it."""
    return f"canister_{stem}" if stem in sys.modules and is_shared(stem) else stem
