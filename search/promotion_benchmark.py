"""The command `python -m search.promotion_benchmark`; what it does stands in search/benchmarks/promotion.py."""

import sys

from search.benchmarks.promotion import main

if __name__ == "__main__":
    sys.exit(main())
