"""A synthetic data set as one file."""
