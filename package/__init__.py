"""Kazashi: an Individual Number Card test bench. The subpackages hold everything; this one holds the version."""

__version__ = "0.1.0"
