"""The command `python -m fpga.own_finn`, the name by which `python -m fpga.external_finn` was known."""

from fpga.toolchain.external_finn import main
from storage.commands import run_command

if __name__ == "__main__":
    run_command(lambda: main(command="fpga.own_finn"))
