# SPDX-License-Identifier: Apache-2.0
"""Images on other machines: read in ranges, never written, never copied to the disk (extra `remote`).

- names.py: which names are meant, and how messages show them
- objects.py: one object of any fsspec file system, of which every read is of one version
- http.py: the same over HTTP, with each answer held against the first one
- place.py: what a folder of a snapshot needs: names beside each other
- source.py: an object as a source of bytes, through the cache of the core
"""
