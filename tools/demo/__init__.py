"""`kazashi demo` and its steps."""
