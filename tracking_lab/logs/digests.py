"""Handles that are digests: whether they can be reversed by trying the serial numbers that may exist.

Services that store a digest of a serial number in its place often take the plain digest of one of its texts. There are
so few serial numbers that all of them can be tried.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import polars as pl

from kazashi.jpki.serial_number import serial_text
from kazashi.tracking_lab.laboratory import Laboratory
from kazashi.tracking_lab.logs.imported import about

FIRST_SERIAL, SERIALS = 0x70000001, 5_000_000
"""The authorities' first serial number in a world whose serial numbers are counted, and how many are tried from it."""

_BATCH = 50_000


def _der(serial: int) -> bytes:
    """The content octets of a serial number's DER encoding (X.690, 8.3)."""
    return serial.to_bytes(serial.bit_length() // 8 + 1)


INPUTS: dict[str, Callable[[int], bytes]] = {
    "hexadecimal, upper case": lambda serial: serial_text(serial).encode(),
    "hexadecimal, lower case": lambda serial: serial_text(serial).lower().encode(),
    "decimal": lambda serial: str(serial).encode(),
    "eight octets": lambda serial: serial.to_bytes(8),
    "DER content": _der,
}
"""What a service may have digested, by name."""

DIGESTS: dict[str, Callable[[bytes], str]] = {
    "MD5": lambda content: hashlib.md5(content, usedforsecurity=False).hexdigest(),
    "SHA-1": lambda content: hashlib.sha1(content, usedforsecurity=False).hexdigest(),
    "SHA-256": lambda content: hashlib.sha256(content).hexdigest(),
    "SHA-512": lambda content: hashlib.sha512(content).hexdigest(),
}
_LENGTHS = {"MD5": 32, "SHA-1": 40, "SHA-256": 64, "SHA-512": 128}


@dataclass(frozen=True, slots=True)
class DigestWay:
    """A digest, what it was taken of, and how many handles were reversed by it."""

    digest: str
    input: str
    reversed: int


@dataclass(frozen=True, slots=True)
class DigestSearch:
    """The result of a search: the handles that have a digest's length, those that were reversed, by which ways, and the
    serial numbers that were tried, with how many digests were computed. It names no handle."""

    handles: int
    digests: int
    reversed: int
    ways: list[DigestWay]
    first: int
    last: int
    computed: int


def search_digests(
    laboratory: Laboratory, first: int = FIRST_SERIAL, last: int = FIRST_SERIAL + SERIALS - 1,
    progress: Callable[[int], object] = lambda _: None,
) -> DigestSearch:  # fmt: skip
    """Try each serial number from `first` to `last` on the handles of imported logs. `progress` is called with how many
    were tried. The search ends early if every digest was reversed. Raises PopulationUnusable if no logs were
    imported."""
    about(laboratory)
    handles = pl.read_parquet(laboratory.file("handle"))["handle"].to_list()
    wanted = {handle.lower() for handle in handles}
    lengths = {len(handle) for handle in wanted}
    used = {name: digest for name, digest in DIGESTS.items() if _LENGTHS[name] in lengths}
    digests = sum(len(handle) in _LENGTHS.values() for handle in wanted)
    counted = {(digest, given): 0 for digest in used for given in INPUTS}
    left = {handle for handle in wanted if len(handle) in _LENGTHS.values()}
    computed = 0
    for batch in _batches(first, last if used else first - 1):
        for given, octets in INPUTS.items():
            contents = [octets(serial) for serial in batch]
            for name, digest in used.items():
                found = left.intersection(map(digest, contents))
                counted[name, given] += len(found)
                left -= found
                computed += len(contents)
        progress(batch[-1] - first + 1)
        if not left:
            break
    ways = [DigestWay(digest, given, number) for (digest, given), number in counted.items() if number]
    return DigestSearch(
        len(handles), digests, digests - len(left), sorted(ways, key=lambda way: -way.reversed), first, last, computed
    )


def _batches(first: int, last: int) -> Iterator[range]:
    for begin in range(first, last + 1, _BATCH):
        yield range(begin, min(begin + _BATCH, last + 1))


def handles_look_like_digests(handles: pl.DataFrame) -> bool:
    """Whether more than 95 % of the handles look like hexadecimal digests of 40, 64 or 128 digits."""
    like = handles["handle"].str.contains(r"^(?:[0-9a-fA-F]{40}|[0-9a-fA-F]{64}|[0-9a-fA-F]{128})$").sum()
    return bool(handles.height) and like > 0.95 * handles.height
