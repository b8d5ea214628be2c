"""How one architecture becomes a measured network."""
