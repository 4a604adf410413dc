# SPDX-License-Identifier: Apache-2.0
"""The structures, one public module each, and what they share.

- btreemap.py, btreeset.py, vec.py, minheap.py, log.py, cell.py: public
- structure.py: how a structure is opened, checked, measured and released; tree.py: map and set; sequence.py and slots.py: vec, heap and log
- number_forms.py, bulk.py: how keys and values cross to the core, singly and as arrays; iterators.py, entry.py
"""
