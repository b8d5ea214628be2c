"""Measurements of hardware, and of the time until it is known. Nothing else imports these."""
