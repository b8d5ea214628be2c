"""How one architecture becomes a measured network."""

import warnings

# Brevitas warns when it is imported; nothing here uses the transform that it misses.
warnings.filterwarnings("ignore", message="fast_hadamard_transform package not found")
