"""The command `python -m workers.path_comparison`; what it does stands in workers/benchmarks/path_comparison.py."""

import sys

from workers.benchmarks.path_comparison import main

if __name__ == "__main__":
    sys.exit(main())
