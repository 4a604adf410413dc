# SPDX-License-Identifier: Apache-2.0
"""The picture of a memory: what lies where, drawn as a page, PNG or SVG."""
