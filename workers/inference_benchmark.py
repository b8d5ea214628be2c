"""The command `python -m workers.inference_benchmark`; what it does stands in workers/benchmarks/inference_speed.py."""

from storage.commands import run_command
from workers.benchmarks.inference_speed import main

if __name__ == "__main__":
    run_command(main)
