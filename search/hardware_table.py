"""The command `python -m search.hardware_table`; what it does stands in search/benchmarks/hardware_table.py."""

from search.benchmarks.hardware_table import main
from storage.commands import run_command

if __name__ == "__main__":
    run_command(main)
