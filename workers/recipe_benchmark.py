"""The command `python -m workers.recipe_benchmark`; what it does stands in workers/benchmarks/recipes.py."""

import sys

from workers.benchmarks.recipes import main

if __name__ == "__main__":
    sys.exit(main())
