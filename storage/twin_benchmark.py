"""The command `python -m storage.twin_benchmark`; what it does stands in storage/twin/benchmark.py."""

from storage.commands import run_command
from storage.twin.benchmark import main

if __name__ == "__main__":
    run_command(main)
