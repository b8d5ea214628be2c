"""The command `python -m workers.gpu_benchmark`; what it does stands in workers/benchmarks/gpu_speed.py."""

from storage.commands import run_command
from workers.benchmarks.gpu_speed import main

if __name__ == "__main__":
    run_command(main)
