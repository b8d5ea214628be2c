"""The command `python -m workers.path_comparison`; what it does stands in workers/benchmarks/path_comparison.py."""

from storage.commands import run_command
from workers.benchmarks.path_comparison import main

if __name__ == "__main__":
    run_command(main)
