"""Measurements, each beside a named peer in the same run. `python -m benchmarks AREA` runs one area."""

import os
from pathlib import Path

# Servers that a measurement starts in processes of their own may be modules of this package, which is not installed.
os.environ["PYTHONPATH"] = os.pathsep.join(
    [str(Path(__file__).resolve().parent.parent), *filter(None, [os.environ.get("PYTHONPATH")])]
)
