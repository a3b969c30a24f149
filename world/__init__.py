"""One bench's home: its settings, clock, randomness, key source, storage and paths. The only seam to time, chance and
disk: nothing above the chip asks the operating system for any of them.
"""
