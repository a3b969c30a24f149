"""The command line `kazashi`."""
