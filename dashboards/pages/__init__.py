"""Our own pages beside Optuna dashboard: the front of a study, its trials, the builds."""
