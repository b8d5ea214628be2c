"""The command `python -m search.live_benchmark`; what it does stands in search/benchmarks/live.py."""

from search.benchmarks.live import main
from storage.commands import run_command

if __name__ == "__main__":
    run_command(main)
