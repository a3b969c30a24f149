"""T1 (exact joins) over Parquet files by sorting instead of joining: the numbers of the query `linkers.EXACT`, in about
half of its time on DuckDB, because numbers of eight bytes sort faster than a hash table of pairs fills.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow.parquet as pq

_ROW = 40
"""Bytes that a row of the files takes while it is read and sorted."""

_NUMBER = 80
"""Bytes that a handle at a service takes while the pairs of its services are counted."""

_LAGS = 8
"""How many rows back a row is compared with, to leave out repetitions."""


def shared_handles(files: Sequence[Path], room: int, threads: int, spill: Path | None) -> pl.DataFrame | None:
    """The number of handles that each two services share: `one`, `other`, `linked`, in their order.

    The files have columns `service` and `shown` of whole numbers. `room` is how many bytes may be used. None if the
    files do not say their least and greatest numbers, if there are too many services and handles for a pair of them to
    be a number of 63 bits, or too many services to count each two of them within the memory.
    """
    services, shown = _bounds(files, "service"), _bounds(files, "shown")
    if services is None or shown is None or services[0] < 0:
        return None
    bits, low = services[1].bit_length(), shown[0]
    if (shown[1] - low + 1) << bits >= 1 << 63 or 2 * bits > 31 or 1 << 2 * bits + 4 > room:
        return None
    linked = np.zeros(1 << 2 * bits, np.int64)
    rows = sum(pq.read_metadata(file).num_rows for file in files)
    parts = max(threads, -(-rows * _NUMBER // room))
    edges: Any = None
    step = max(100_000, min(1_000_000, room // threads // _ROW))
    with tempfile.TemporaryDirectory(prefix="pairs-", dir=_made(spill)) as name, ThreadPoolExecutor(threads) as pool:
        divided = [Path(name, str(part)) for part in range(parts)]
        for held in pool.map(lambda piece: _held(piece[0], piece[1], step, low, bits), _pieces(files, step)):
            if edges is None:  # the parts hold equally many handles of the first piece
                edges = held[len(held) * np.arange(1, parts) // parts] >> bits << bits
            for part, numbers in zip(divided, np.split(held, np.searchsorted(held, edges)), strict=True):
                with part.open("ab") as file:
                    numbers.tofile(file)
        for begin in range(0, parts, threads):  # the parts that are counted together share the room
            for pairs in pool.map(lambda part: _pairs(part, bits), divided[begin : begin + threads]):
                linked += np.bincount(pairs, minlength=len(linked))
    pairs = np.flatnonzero(linked)
    columns = {"one": pairs >> bits, "other": pairs & (1 << bits) - 1, "linked": linked[pairs]}
    kind = pl.read_parquet_schema(files[0])["service"]
    return pl.DataFrame(columns).cast({"one": kind, "other": kind})


def _bounds(files: Sequence[Path], name: str) -> tuple[int, int] | None:
    """The least and the greatest number of a column, as the files' statistics have them."""
    column = [
        (group.column(place).statistics, group.num_rows)
        for file in files for metadata in (pq.read_metadata(file),)
        for place in (metadata.schema.names.index(name),)
        for group in map(metadata.row_group, range(metadata.num_row_groups))
    ]  # fmt: skip
    known = [one for one, rows in column if rows]
    if not known or any(one is None or not one.has_min_max or one.null_count for one in known):
        return None
    return min(one.min for one in known), max(one.max for one in known)


def _made(directory: Path | None) -> Path | None:
    if directory is not None:
        directory.mkdir(parents=True, exist_ok=True)
    return directory


def _pieces(files: Sequence[Path], step: int) -> Iterator[tuple[Path, int]]:
    """The files in pieces: each file, with the first row of each piece."""
    for file in files:
        yield from ((file, first) for first in range(0, pq.read_metadata(file).num_rows, step))


def _held(file: Path, first: int, step: int, low: int, bits: int) -> Any:
    """The handles at services in a piece of a file, each as one number, sorted."""
    rows = pl.scan_parquet(file).select("service", "shown").slice(first, step).collect()
    numbers = rows["shown"].cast(pl.Int64).to_numpy() - low
    numbers <<= bits
    numbers |= rows["service"].to_numpy()
    # A service often sees the same few handles in a row; the repetitions are left out before they are sorted.
    differs = np.ones(len(numbers), bool)
    for lag in range(1, min(_LAGS + 1, len(numbers))):
        differs[lag:] &= numbers[lag:] != numbers[:-lag]
    return _distinct(numbers[differs])


def _distinct(numbers: Any, kind: Any = "quicksort") -> Any:
    numbers.sort(kind=kind)
    return numbers[_differs(numbers)]


def _differs(numbers: Any) -> Any:
    """Which of the sorted numbers differ from the one before."""
    differs = np.ones(len(numbers), bool)
    np.not_equal(numbers[1:], numbers[:-1], out=differs[1:])
    return differs


def _pairs(part: Path, bits: int) -> Any:
    """The pairs of services of each handle in a part, each as one number."""
    numbers = _distinct(np.fromfile(part, np.int64), "stable")  # merges what is sorted in pieces
    service = (numbers & (1 << bits) - 1).astype(np.int32)
    numbers >>= bits
    begins = np.flatnonzero(_differs(numbers))
    ends = np.append(begins, len(numbers))[1:].astype(np.int32)
    further = np.repeat(ends, np.diff(begins, append=len(numbers))) - np.arange(1, len(numbers) + 1, dtype=np.int32)
    place, pairs = np.flatnonzero(further).astype(np.int32), [np.empty(0, np.int32)]
    for lag in range(1, int(further.max(initial=0)) + 1):
        place = place[further[place] >= lag]
        pairs.append(service[place] << bits | service[place + lag])
    return np.concatenate(pairs)
