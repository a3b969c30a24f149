"""The measurements, and the faults that tests must find."""
