"""The driver that gives pcscd readers which this program hosts: its source in C, its build, and the host's side."""
