"""The command `python -m search.strategy_benchmark`; what it does stands in search/benchmarks/strategies.py."""

import sys

from search.benchmarks.strategies import main

if __name__ == "__main__":
    sys.exit(main())
