# SPDX-License-Identifier: Apache-2.0
"""Looking into a memory: what it is, what is in it, whether it is sound. Nothing here changes what it looks at.

- source.py: bytes of files and running memories; gzipped.py: of gzips; wal.py: of a file with its log
- snapshot.py: folders of dfx, icp-cli and Juno
- recognise.py: what a memory is; image.py: it, and the memories in it; missing.py: what is missing of it; fit.py: types that are other ones
- managed.py, nodes.py, shape.py, maps.py, rows.py: the manager and the structures, read without being believed
- basilisk.py, candid.py, values.py: encoded values as something to read; encoding.py: as a type has them
- report.py: `inspect` and `check`; dump.py: entries; compare.py: `diff`
- build.py: fresh images; rewrite.py: `shrink`, `load`, `import_part`; salvage.py, salvage_rows.py, salvage_tables.py, losses.py: `repair`
- scene.py, picture.py, page.html: `draw`; cli.py, show.py, text.py, completion.py: the verbs
"""

from .compare import Change, PartDiff, diff
from .dump import Table, export, get, table, write
from .fit import Misfit
from .formats.layout import Finding
from .image import Image, Part, open_image
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
