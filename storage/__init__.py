"""What lies on disk: database rows, artifacts, data sets."""
