"""The command `python -m storage.twin_benchmark`; what it does stands in storage/twin/benchmark.py."""

import sys

from storage.twin.benchmark import main

if __name__ == "__main__":
    sys.exit(main())
