"""Training on a CPU: native code, and plain torch."""
