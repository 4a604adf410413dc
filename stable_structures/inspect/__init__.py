# SPDX-License-Identifier: Apache-2.0
"""Looking into a memory: what it is, what is in it, whether it is sound. Nothing here changes what it looks at.

- source.py, image.py, opening.py: the bytes, the memories in them, and how a name becomes both; missing.py: what is cut off
- formats/: readers of everything that a memory can hold
- report.py, space.py: `inspect` and `check`; compare.py, merge.py: `diff`; steady.py: a file that is being written; fleet.py: many files
- schema.py, guessed.py: the types that a memory has; fit.py: whether given ones are those of the content
- values.py: encoded bytes as values, by a type or a guess; budget.py: how much a guess may cost; basilisk.py: one of them
- encoding.py: whether encoded bytes are what a type writes; samples.py: the bytes that are guessed at
- dump.py: entries as rows; cells.py: how a row says a value; columns.py: many rows at once; and parquet.py, sqlite.py, parts.py
- writing.py, beside.py: whole files or none
- rewrite/: `shrink`, `load`, `import_part`; repair/: `repair`; picture/: `draw`; cli/: the verbs
- jobs.py, allowance.py: several processes, and the memory that they share
"""

from importlib import import_module as _import_module
from typing import TYPE_CHECKING as _TYPE_CHECKING
from typing import Any as _Any
from typing import Final as _Final

if _TYPE_CHECKING:
    from .compare import Change, PartDiff, diff
    from .dump import Table, export, get, table, write
    from .fit import Misfit, open_image
    from .formats.layout import Finding
    from .image import Image, Part, SchemaFiles
    from .picture.picture import draw
    from .repair.losses import Salvage
    from .repair.salvage import repair
    from .report import Contents, Report, check, inspect
    from .rewrite.rewrite import Moved, Rewritten, import_part, load, shrink
    from .source import NotWhole, Unreadable

_import_module(f"{__name__}.repair")
del globals()["repair"]  # the name is that of the function: a package is bound to its name only once, when it is imported

_NAMES: _Final = {
    "compare": ("Change", "PartDiff", "diff"),
    "dump": ("Table", "export", "get", "table", "write"),
    "fit": ("Misfit", "open_image"),
    "formats.layout": ("Finding",),
    "image": ("Image", "Part", "SchemaFiles"),
    "picture.picture": ("draw",),
    "repair.losses": ("Salvage",),
    "repair.salvage": ("repair",),
    "report": ("Contents", "Report", "check", "inspect"),
    "rewrite.rewrite": ("Moved", "Rewritten", "import_part", "load", "shrink"),
    "source": ("NotWhole", "Unreadable"),
}
_MODULES: _Final = {name: module for module, names in _NAMES.items() for name in names}


def __getattr__(name: str) -> _Any:
    """Import what is asked for: all of it takes as long as half of what the command line needs."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = globals()[name] = getattr(_import_module(f".{_MODULES[name]}", __name__), name)
    return found


__all__ = [
    "Change",
    "Contents",
    "Finding",
    "Image",
    "Misfit",
    "Moved",
    "NotWhole",
    "Part",
    "PartDiff",
    "Report",
    "Rewritten",
    "Salvage",
    "SchemaFiles",
    "Table",
    "Unreadable",
    "check",
    "diff",
    "draw",
    "export",
    "get",
    "import_part",
    "inspect",
    "load",
    "open_image",
    "repair",
    "shrink",
    "table",
    "write",
]
