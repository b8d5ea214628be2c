"""The command `python -m workers.gpu_benchmark`; what it does stands in workers/benchmarks/gpu_speed.py."""

import sys

from workers.benchmarks.gpu_speed import main

if __name__ == "__main__":
    sys.exit(main())
