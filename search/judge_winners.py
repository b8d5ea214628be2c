"""The command `python -m search.judge_winners`; what it does stands in search/benchmarks/winners.py."""

from search.benchmarks.winners import main
from storage.commands import run_command

if __name__ == "__main__":
    run_command(main)
