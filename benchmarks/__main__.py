"""`python -m benchmarks SUITE`, `python -m benchmarks --list`, `python -m benchmarks docs [--check]`."""

import sys

from .harness import main

sys.exit(main(sys.argv[1:]))
