"""What to try next, and which winners go to hardware."""
