"""What hardware takes, and how long until it is known; nothing else imports these."""
