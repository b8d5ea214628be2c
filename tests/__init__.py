"""The tests; folders as in the project."""
