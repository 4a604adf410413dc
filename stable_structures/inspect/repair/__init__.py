# SPDX-License-Identifier: Apache-2.0
"""`repair`: save what can be read of a damaged memory into a fresh image, and say what was lost."""
