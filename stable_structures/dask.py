# SPDX-License-Identifier: Apache-2.0
"""A structure at rest as a Dask dataframe: one partition of it for each of `Image.partitions` (extra `dask`)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .errors import MissingExtra
from .image import open_image
from .partitions import By, Partition


def read_map(  # noqa: PLR0913 - keyword-only choices
    source: str | Path,
    memory: int | str | None = None,
    *,
    npartitions: int = 16,
    by: By | None = None,
    schema: str | Path | None = None,
    did: str | Path | None = None,
    storage_options: Mapping[str, Any] | None = None,
) -> Any:
    """Return the structure in a memory as a `dask.dataframe.DataFrame` with the columns `key` and `value`, or `value`.

    Costs as `Image.partitions`, which divides it.

    Workers read the image by its name, each its own part, so the name must lead there from all of them: a shared folder, or
    `s3://...`. The other arguments are those of `open_image` and `Image.partitions`. Raises `MissingExtra` without Dask or pyarrow.

    >>> import tempfile
    >>> from stable_structures import StableBTreeMap, StableMemory, u64
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with StableMemory.open(f"{folder}/users.bin") as stored:
    ...         StableBTreeMap[u64, u64](stored).update({i: i % 7 for i in range(1000)})
    ...     frame = read_map(f"{folder}/users.bin", npartitions=4)
    ...     int(frame["value"].sum().compute(scheduler="synchronous"))
    2997
    """
    try:
        from dask import dataframe  # noqa: PLC0415 - an extra
    except ImportError:
        raise MissingExtra("Dask dataframes need dask and pandas: pip install 'stable-structures[dask]'") from None
    with open_image(source, schema=schema, did=did, storage_options=storage_options) as image:
        parts = image.partitions(memory, npartitions, by=by)
    made: Any = dataframe
    return made.from_map(_frame, parts, meta=_empty(parts[0]), label="stable-structures")


def _frame(part: Partition) -> Any:
    """Return a part as a pandas DataFrame. For Dask, on a worker."""
    return part.to_arrow().to_pandas()


def _empty(part: Partition) -> Any:
    return part.arrow_reader().schema.empty_table().to_pandas()
