"""What a study has found, as values, for programs and for people."""
