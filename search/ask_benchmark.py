"""The command `python -m search.ask_benchmark`; what it does stands in search/benchmarks/asking.py."""

import sys

from search.benchmarks.asking import main

if __name__ == "__main__":
    sys.exit(main())
