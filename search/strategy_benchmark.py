"""The command `python -m search.strategy_benchmark`; what it does stands in search/benchmarks/strategies.py."""

from search.benchmarks.strategies import main
from storage.commands import run_command

if __name__ == "__main__":
    run_command(main)
