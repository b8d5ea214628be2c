"""The command `python -m fpga.finn_environment`; what it does stands in fpga/toolchain/finn_environment.py."""

import sys

from fpga.toolchain.finn_environment import main

if __name__ == "__main__":
    sys.exit(main())
