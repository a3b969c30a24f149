"""The `kazashi` command line."""
