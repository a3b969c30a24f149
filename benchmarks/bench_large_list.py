"""The part of `kazashi bench relying-party` that measures memory. It runs in a separate process with few imports."""

from __future__ import annotations

import time
from pathlib import Path

from benchmarks.measure import peak_megabytes
from kazashi.relying_party.verify.anchors import read_anchor
from kazashi.relying_party.verify.revocation_list import read_revocation_list

FIRST_SERIAL = 0x70000000


def looked_up(path: Path, root: bytes, entries: int) -> tuple[float, float, float]:
    """Return the seconds to read a list, the microseconds per lookup, and the peak size of the process in megabytes.

    The entries' serial numbers count up from FIRST_SERIAL. Raises RuntimeError if all lookups hit or all miss.
    """
    begun = time.perf_counter()
    with path.open("rb") as file:
        revocation_list = read_revocation_list(file, read_anchor(root))
    read = time.perf_counter() - begun
    serials = [FIRST_SERIAL + number * 7919 % (2 * entries) for number in range(20_000)]
    begun = time.perf_counter()
    hits = sum(revocation_list.find(serial) is not None for serial in serials)
    lookup = (time.perf_counter() - begun) / len(serials) * 1e6
    if not 0 < hits < len(serials):
        raise RuntimeError(f"{hits} of {len(serials)} serial numbers were found; about half of them should be")
    return read, lookup, peak_megabytes()
