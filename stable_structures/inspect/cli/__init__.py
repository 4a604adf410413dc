# SPDX-License-Identifier: Apache-2.0
"""The verbs of the command line that look into memories: thin, over the package above."""
