"""Benchmarks, each compared with a named peer in the same run. `python -m benchmarks AREA` runs one area."""

import os
from pathlib import Path

# A benchmark may start modules of this package, which is not installed, as server processes.
os.environ["PYTHONPATH"] = os.pathsep.join(
    [str(Path(__file__).resolve().parent.parent), *filter(None, [os.environ.get("PYTHONPATH")])]
)
