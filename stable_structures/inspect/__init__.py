# SPDX-License-Identifier: Apache-2.0
"""Looking into a memory: what it is, what is in it, whether it is sound. Nothing here changes what it looks at.

- source.py, image.py: the bytes, and the memories in them; missing.py, fit.py: what lacks, what does not fit
- formats/: readers of everything that a memory can hold; basilisk.py, values.py, encoding.py, budget.py: encoded values
- report.py: `inspect` and `check`; dump.py, cells.py, parquet.py: entries; compare.py: `diff`; writing.py: whole files or none
- rewrite/: `shrink`, `load`, `import_part`; repair/: `repair`; picture/: `draw`; cli/: the verbs
"""

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
