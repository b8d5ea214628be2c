"""The command `python -m search.ask_benchmark`; what it does stands in search/benchmarks/asking.py."""

from search.benchmarks.asking import main
from storage.commands import run_command

if __name__ == "__main__":
    run_command(main)
