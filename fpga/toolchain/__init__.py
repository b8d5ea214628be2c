"""The programs that builds call: FINN in its environment or elsewhere, Vivado, and processes that end in time."""
