"""The command line, the console and the measurements: they compose all the rest, and decide nothing of their own."""
