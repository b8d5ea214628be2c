"""The command `python -m search.judge_winners`; what it does stands in search/benchmarks/winners.py."""

import sys

from search.benchmarks.winners import main

if __name__ == "__main__":
    sys.exit(main())
