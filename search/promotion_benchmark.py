"""The command `python -m search.promotion_benchmark`; what it does stands in search/benchmarks/promotion.py."""

from search.benchmarks.promotion import main
from storage.commands import run_command

if __name__ == "__main__":
    run_command(main)
