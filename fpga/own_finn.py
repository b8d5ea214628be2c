"""The command `python -m fpga.own_finn`, the name by which `python -m fpga.external_finn` was known."""

import sys

from fpga.toolchain.external_finn import main

if __name__ == "__main__":
    sys.exit(main(command="fpga.own_finn"))
