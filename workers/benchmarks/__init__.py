"""What training and reading cost; nothing else imports these."""
