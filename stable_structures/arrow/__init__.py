# SPDX-License-Identifier: Apache-2.0
"""Columns of encoded keys and values as Arrow arrays, and back (docs/data-out.md#types). Needs the extra `arrow`.

    columns.py   encodings one behind the other, as the core gives and takes them
    forms.py     of each type, which Arrow type it is, and how its encodings become an array and back
    shapes.py    the same for values that say their own shape: Candid, CBOR
    tables.py    batches of a structure, streams, and tables on their way back

The other modules of the library import these when Arrow is asked for, and nothing else here imports pyarrow.
"""
