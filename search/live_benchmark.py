"""The command `python -m search.live_benchmark`; what it does stands in search/benchmarks/live.py."""

import sys

from search.benchmarks.live import main

if __name__ == "__main__":
    sys.exit(main())
