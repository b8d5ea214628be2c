"""The command `python -m fpga.finn_environment`; what it does stands in fpga/toolchain/finn_environment.py."""

from fpga.toolchain.finn_environment import main
from storage.commands import run_command

if __name__ == "__main__":
    run_command(main)
