"""Reading the HDF5 layout of RadioML 2018.01A: checked, split, held once for all processes."""
