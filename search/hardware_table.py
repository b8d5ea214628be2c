"""The command `python -m search.hardware_table`; what it does stands in search/benchmarks/hardware_table.py."""

import sys

from search.benchmarks.hardware_table import main

if __name__ == "__main__":
    sys.exit(main())
