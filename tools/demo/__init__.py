"""The demonstration and its steps."""
