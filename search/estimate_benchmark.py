"""The command `python -m search.estimate_benchmark`; what it does stands in search/benchmarks/estimates.py."""

import sys

from search.benchmarks.estimates import main

if __name__ == "__main__":
    sys.exit(main())
