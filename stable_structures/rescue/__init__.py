# SPDX-License-Identifier: Apache-2.0
"""Images of the other crate, ic-stable-memory 0.4: read, checked, and migrated. That format is never written (docs/rescue.md).

- blocks.py, saved.py: what every image has; findings.py: what can be wrong with it
- encodings.py, zwohash.py, containers.py, trees.py: values and structures; annotations.py: how they are spelled
- ownership.py, carve.py: every block has one owner; structures without one
- image.py: `open_ism`; schema.py, migrate.py, command.py: types as TOML, into a fresh image, the verb; summary.py: for the inspector
"""

from .annotations import (
    ArrayOf,
    Candid,
    Int,
    Nat,
    SBox,
    SBTreeMap,
    SBTreeSet,
    SCertifiedBTreeMap,
    SCertifiedBTreeSet,
    SHashMap,
    SHashSet,
    SLog,
    SVec,
    char,
    isize,
    usize,
)
from .carve import Found
from .encodings import Custom
from .findings import Fault, Finding, NotOwned
from .image import IsmImage, open_ism
from .migrate import Migrated, migrate
from .schema import Root, Schema, SchemaError, parse_schema, read_schema

__all__ = [
    "ArrayOf",
    "Candid",
    "Custom",
    "Fault",
    "Finding",
    "Found",
    "Int",
    "IsmImage",
    "Migrated",
    "Nat",
    "NotOwned",
    "Root",
    "SBTreeMap",
    "SBTreeSet",
    "SBox",
    "SCertifiedBTreeMap",
    "SCertifiedBTreeSet",
    "SHashMap",
    "SHashSet",
    "SLog",
    "SVec",
    "Schema",
    "SchemaError",
    "char",
    "isize",
    "migrate",
    "open_ism",
    "parse_schema",
    "read_schema",
    "usize",
]
