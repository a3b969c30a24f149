"""Measurements, each beside a named peer in the same run. `python -m benchmarks AREA` runs one area."""
