# SPDX-License-Identifier: Apache-2.0
"""Looking into a memory: what it is, what is in it, whether it is sound. Nothing here changes what it looks at.

source.py   bytes of files, gzips, running memories     snapshot.py   folders of dfx, icp-cli and Juno
recognise.py   what a memory is                         image.py      it and the memories in it
managed.py nodes.py shape.py maps.py rows.py   the manager and the structures, read without being believed
basilisk.py candid.py values.py                encoded values as something to read
report.py   inspect, check      dump.py   dump, get, load, export, import      diff.py   diff
build.py    compact images      repair.py  repair, shrink                       picture.py page.py   map
"""

from .image import Image, Part, open_image
from .layout import Finding
from .report import Contents, Report, check, inspect
from .source import Unreadable

__all__ = ["Contents", "Finding", "Image", "Part", "Report", "Unreadable", "check", "inspect", "open_image"]
