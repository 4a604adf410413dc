# SPDX-License-Identifier: Apache-2.0
"""`inspect` and `check` on the command line."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from typing import Any, Final

from ..fit import Misfit
from ..formats.layout import Finding
from ..formats.recognise import STRUCTURES
from ..image import Image
from ..jobs import usual
from ..opening import all_images_in
from ..report import Report, check, inspect, soundness, unchecked
from ..source import Unreadable
from ..steady import CHANGED_TEXT, Look, state_of, steady
from ..writing import output
from . import show
from .fleet import inspect_fleet
from .given import files_of
from .guard import CHANGED, DAMAGED, SOUND, TROUBLE, complain
from .opened import each, given_types, is_nothing, keep_only, opened
from .text import Printer, ProgressBar

_KNOWN: Final = (*STRUCTURES, "manager", "sqlite", "empty", "zeros", "ic-stable-memory")


def inspect_files(arguments: argparse.Namespace) -> int:
    """Run `inspect`."""
    if arguments.out is not None and len(arguments.file) > 1:
        raise Unreadable("--write-schema is for one FILE; give one, or leave it out")
    detailed = arguments.deep or arguments.memory is not None or arguments.out is not None
    if arguments.summary or not detailed:
        names = all_images_in(arguments.file)
        if arguments.summary or names != arguments.file:
            return inspect_fleet(names, files_of(arguments), as_json=arguments.json)
    return each(arguments, _inspect_one)


def _inspect_one(arguments: argparse.Namespace, heading: bool) -> tuple[int, Any]:
    (code, report), is_changing = steady(lambda: _inspected(arguments))
    if is_changing:
        code, report.damage = CHANGED, [CHANGED_TEXT]
    if not arguments.json:
        printer = Printer()
        if heading:
            printer.line()
        show.report(report, printer, details=arguments.deep or arguments.memory is not None)
    return code, report.to_dict()


def _inspected(arguments: argparse.Namespace) -> Look[tuple[int, Report]]:
    with opened(arguments) as (image, bar):
        keep_only(image, arguments.memory)
        if arguments.out is not None:
            from ..guessed import first_schema  # noqa: PLC0415 - inspect starts quickly without

            with output(arguments.out) as out:
                out.write(first_schema(image).encode())
        report = inspect(image, deep=arguments.deep or None, types=given_types(arguments, image), progress=bar)
        wrong = report.wrong()
        state = state_of(image, wrong) if arguments.out is None else None
    code = DAMAGED if report.damaged else TROUBLE if report.kind == "unknown" or is_nothing(image) else SOUND
    return Look((code, report), wrong, state)


def check_files(arguments: argparse.Namespace) -> int:
    """Run `check`."""
    return each(arguments, lambda one, _: _check_one(one))


def _check_one(arguments: argparse.Namespace) -> tuple[int, Any]:
    (image, title, findings), is_changing = steady(lambda: _checked(arguments))
    known = image.recognition.kind in _KNOWN and not is_nothing(image)
    code = CHANGED if is_changing else DAMAGED if findings else SOUND if known else TROUBLE
    notes = image.notes
    unseen = unchecked(image, integrity=arguments.integrity) if known else []
    if not arguments.json:
        _show_findings(arguments, findings, f"{image.name}: {title}", notes, (code, soundness(unseen)))
    result = {SOUND: "sound", DAMAGED: "damaged", TROUBLE: "not recognised", CHANGED: "changed while it was read"}[code]
    shown = [] if is_changing else [asdict(one) for one in findings[: arguments.limit]]
    found = {"file": image.name, "result": result, "what": title, "count": len(findings), "notes": notes}
    return code, {**found, "unchecked": unseen, "violations": shown}


def _checked(arguments: argparse.Namespace) -> Look[tuple[Image, str, list[Finding]]]:
    with opened(arguments) as (image, bar):
        keep_only(image, arguments.memory)
        findings = _findings(arguments, image, bar)
        if arguments.integrity:
            from .. import sqlite  # noqa: PLC0415 - check starts quickly without

            for part in image.parts.values():
                sqlite.check_integrity(part, lambda damage, part=part: findings.append(part.finding(damage)))  # type: ignore[misc]
        wrong = [str(one) for one in findings]
        return Look((image, image.title, findings), wrong, state_of(image, wrong))


def _findings(arguments: argparse.Namespace, image: Image, bar: ProgressBar) -> list[Finding]:
    """Return the broken rules; if the types do not fit, those broken whatever the types are. Raises `Misfit` if there are none of these."""
    try:
        return check(image, types=given_types(arguments, image), progress=bar, jobs=arguments.jobs or usual())
    except Misfit as error:
        findings = check(image, progress=bar, jobs=arguments.jobs or usual())
        if not findings:
            raise
        complain(str(error))
        return findings


def _show_findings(arguments: argparse.Namespace, findings: list[Finding], title: str, notes: list[str], verdict: tuple[int, str]) -> None:
    printer, (code, sound) = Printer(), verdict
    for text in notes:
        printer.folded(f"note: {text}", style="yellow")
    if code == TROUBLE:
        printer.folded(f"{title}: there are no rules to check")
    elif code == CHANGED:
        printer.folded(f"{title}: {CHANGED_TEXT}", style="yellow")
    elif code == SOUND:
        printer.folded(f"{title}: {sound}", style="green" if sound == "sound" else "yellow")
    else:
        show.findings(findings[: arguments.limit], printer)
        printer.folded(f"{title}: damaged, {len(findings)} broken rules", style="red")
