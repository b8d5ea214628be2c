"""The network in integers alone, as the FPGA computes it."""
