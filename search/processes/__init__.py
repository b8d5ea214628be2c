"""The processes of a run: where it may run, what it starts beside itself, how it ends."""
