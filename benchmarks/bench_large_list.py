"""The part of `kazashi bench relying-party` that runs in a process of its own, which imports no more than it must: its
size is what is measured."""

from __future__ import annotations

import time
from pathlib import Path

from benchmarks.measure import peak_megabytes
from kazashi.relying_party.verify.anchors import read_anchor
from kazashi.relying_party.verify.revocation_list import read_revocation_list

FIRST_SERIAL = 0x70000000


def looked_up(path: Path, root: bytes, entries: int) -> tuple[float, float, float]:
    """Seconds to read a list, microseconds to look a number up, and the process's greatest size in megabytes. The
    entries' serial numbers count up from FIRST_SERIAL."""
    begun = time.perf_counter()
    with path.open("rb") as file:
        found = read_revocation_list(file, read_anchor(root))
    read = time.perf_counter() - begun
    asked = [FIRST_SERIAL + number * 7919 % (2 * entries) for number in range(20_000)]
    begun = time.perf_counter()
    hits = sum(found.find(serial) is not None for serial in asked)
    lookup = (time.perf_counter() - begun) / len(asked) * 1e6
    if not 0 < hits < len(asked):
        raise RuntimeError(f"{hits} of {len(asked)} numbers were found")
    return read, lookup, peak_megabytes()
