# SPDX-License-Identifier: Apache-2.0
"""`python -m benches`: measures everything and writes the tables and plots."""

import sys
from pathlib import Path

# The package that is installed is measured, not the sources beside this directory.
ROOT = Path(__file__).resolve().parent.parent
sys.path[:] = [path for path in sys.path if Path(path or ".").resolve() != ROOT]

from benches.runner import main  # noqa: E402 - after the path is right

if __name__ == "__main__":
    sys.exit(main())
