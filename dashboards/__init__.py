"""What people look at: plots, notes and pages of studies."""
