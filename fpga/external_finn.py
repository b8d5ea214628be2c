"""The command `python -m fpga.external_finn`; what it does stands in fpga/toolchain/external_finn.py."""

from fpga.toolchain.external_finn import main
from storage.commands import run_command

if __name__ == "__main__":
    run_command(main)
