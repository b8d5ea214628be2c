"""The command `python -m workers.benchmark`; what it does stands in workers/benchmarks/training_speed.py."""

from storage.commands import run_command
from workers.benchmarks.training_speed import main

if __name__ == "__main__":
    run_command(main)
