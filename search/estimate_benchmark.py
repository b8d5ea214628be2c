"""The command `python -m search.estimate_benchmark`; what it does stands in search/benchmarks/estimates.py."""

from search.benchmarks.estimates import main
from storage.commands import run_command

if __name__ == "__main__":
    run_command(main)
