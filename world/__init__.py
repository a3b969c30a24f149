"""The state of one world: its settings, clock, random numbers, key source, storage and paths.

All access to the time, to randomness and to the disk goes through this package. Nothing above the chip asks the
operating system for any of them.
"""
