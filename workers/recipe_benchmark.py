"""The command `python -m workers.recipe_benchmark`; what it does stands in workers/benchmarks/recipes.py."""

from storage.commands import run_command
from workers.benchmarks.recipes import main

if __name__ == "__main__":
    run_command(main)
