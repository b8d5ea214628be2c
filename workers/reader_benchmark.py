"""The command `python -m workers.reader_benchmark`; what it does stands in workers/benchmarks/reading_speed.py."""

from storage.commands import run_command
from workers.benchmarks.reading_speed import main

if __name__ == "__main__":
    run_command(main)
