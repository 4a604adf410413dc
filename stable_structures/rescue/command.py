# SPDX-License-Identifier: Apache-2.0
"""The verb `rescue`: an image of ic-stable-memory checked against a schema, and migrated (docs/rescue.md)."""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from dataclasses import asdict
from itertools import islice
from typing import Any, Final

from ..inspect.cli.guard import DAMAGED, SOUND, complain
from ..inspect.cli.text import Printer
from ..inspect.writing import is_standard_output
from .findings import Fault, Finding
from .image import IsmImage, open_ism
from .migrate import Migrated, migrate
from .schema import read_schema

_SHOWN: Final = 20


def rescue(arguments: argparse.Namespace) -> int:
    """Run `rescue`."""
    schema = read_schema(arguments.schema)
    with open_ism(arguments.file, schema.types, width=schema.width) as image:
        findings, notes = image.check(), image.notes
        printer = Printer(sys.stderr if arguments.out and is_standard_output(arguments.out) else sys.stdout)
        if not arguments.json:
            _show_image(image, findings, notes, printer)
        done: list[Migrated] = []
        if arguments.out is not None:
            done = migrate(image, arguments.out, schema.roots, force=arguments.force, bucket_pages=arguments.bucket_pages)
        if arguments.json:
            printer.write(json.dumps(_as_dict(image, findings, notes, done), indent=2, default=_plain) + "\n")
        else:
            _show_migrated(done, printer)
        if arguments.out is not None and not done:
            return complain(f"{arguments.file}: nothing of the schema is in it")
        return DAMAGED if findings or _is_lost(done) else SOUND


def _is_lost(done: list[Migrated]) -> bool:
    return any(one.lost for one in done)


def _show_image(image: IsmImage, findings: list[Finding], notes: list[Finding], printer: Printer) -> None:
    state = "saved by pre_upgrade" if image.saved else "not saved: structures are found by walking the blocks"
    printer.line(f"{len(image.blocks)} blocks, pointer width {image.width}, {state}")
    if not image.saved:
        for key in image.keys():  # noqa: SIM118 - a list
            for found in image.found(key):
                printer.line(f"  key {key}: {found.type.name} at byte {found.pointer}{'; ' + found.text if found.text else ''}")
    _show_findings(findings, printer)
    _show_findings(notes, printer, "note: ", "yellow")
    printer.line("ownership check: succeeds" if image.owned else "ownership check: FAILS", "green" if image.owned else "red")


def _show_findings(findings: list[Finding], printer: Printer, title: str = "", style: str = "red") -> None:
    """Print each finding once, however often it was made."""
    counts = Counter(map(str, findings))
    for text, count in islice(counts.items(), _SHOWN):
        printer.line(f"  {title}{text}{f' ({count} times)' if count > 1 else ''}", style)
    if len(counts) > _SHOWN:
        printer.line(f"  {title}and {len(counts) - _SHOWN} more", style)


def _show_migrated(done: list[Migrated], printer: Printer) -> None:
    for one in done:
        memories = " and ".join(map(str, one.memories))
        lost = f", {len(one.lost)} lost or there twice" if one.lost else ""
        printer.line(f"key {one.key}, {one.source}: {one.entries} entries in {one.structure}, memory {memories}{lost}")
        _show_findings(one.lost, printer)


def _plain(value: Any) -> Any:
    return value.value if isinstance(value, Fault) else asdict(value)


def _as_dict(image: IsmImage, findings: list[Finding], notes: list[Finding], done: list[Migrated]) -> dict[str, Any]:
    return {
        "saved": image.saved,
        "width": image.width,
        "blocks": len(image.blocks),
        "owned": image.owned,
        "faults": image.faults(),
        "findings": findings,
        "notes": notes,
        "migrated": done,
    }
