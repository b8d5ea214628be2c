"""What runs in FINN's own Python; it imports nothing of this project from outside this folder."""
