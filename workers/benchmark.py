"""The command `python -m workers.benchmark`; what it does stands in workers/benchmarks/training_speed.py."""

import sys

from workers.benchmarks.training_speed import main

if __name__ == "__main__":
    sys.exit(main())
