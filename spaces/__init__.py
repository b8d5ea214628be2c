"""What may be built: the YAML studies, the search space, one fully described network."""
