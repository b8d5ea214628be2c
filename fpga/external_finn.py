"""The command `python -m fpga.external_finn`; what it does stands in fpga/toolchain/external_finn.py."""

import sys

from fpga.toolchain.external_finn import main

if __name__ == "__main__":
    sys.exit(main())
