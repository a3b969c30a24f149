"""The file in which an insurer tells the joint body of new, changed and ended entitlements. docs/medical-desk.md
describes it; the form is ours, because the real one is not public.

    H,1,架空健康保険組合,7,2026-11-24         version, insurer, number of the file, day
    N,0123456789,06-1234,2026-04-01,          new: address number, insured number, first day, last day (or nothing)
    C,0123456789,06-1234,2026-04-01,2027-03-31     changed
    E,0123456789,06-1234,2026-04-01,2026-11-30     ended
    T,1,1,1                                   how many lines are new, changed and ended
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from enum import Enum
from typing import Self

from kazashi.medical_insurance.entitlement import INSURED_NUMBER
from kazashi.provision_network.terms import NetworkRejected, text_of

FORM = "1"
"""The version of the form."""

MOST_LINES = 10_000
"""The maximum number of entitlements in one file."""

_LARGEST_NUMBER = 10**9


class FeedRejected(NetworkRejected):
    """A file of an insurer is refused as a whole, for the reason code `denial`. Nothing of it was stored but the
    refusal."""

    def __init__(self, denial: str, words: str) -> None:
        super().__init__(denial, f"{words} ({denial})")


class ChangeType(Enum):
    """What a line tells of an entitlement."""

    NEW = "N"
    CHANGED = "C"
    ENDED = "E"


@dataclass(frozen=True, slots=True)
class FeedLine:
    """A line: the insurer's address number of the person, the insured number, and the days from which and to which the
    entitlement is valid. `place` is the number of the line in the file."""

    change: ChangeType
    address_number: str
    insured_number: str
    begins: date
    ends: date | None
    place: int

    def written(self) -> str:
        """Return the line as text."""
        ends = self.ends.isoformat() if self.ends else ""
        return f"{self.change.value},{self.address_number},{self.insured_number},{self.begins},{ends}"


@dataclass(frozen=True, slots=True)
class InsurerFeed:
    """A file: the insurer, its number in the order of the insurer's files (1, 2, ...), the day on which it was made,
    and its lines. `digest` is the SHA-256 of its bytes, by which a file is recognised that comes again."""

    insurer: str
    number: int
    day: date
    lines: tuple[FeedLine, ...]
    digest: str

    @classmethod
    def parse(cls, content: bytes) -> Self:
        """Parse a file. Raises FeedRejected: `feed-malformed`, `feed-truncated`, `feed-counts` or `feed-duplicate`."""
        try:
            text = content.decode("utf-8").removeprefix("\ufeff")
        except UnicodeDecodeError as error:
            raise _malformed(f"the file is not UTF-8 (byte {error.start})") from None
        rows = [(place, line.split(",")) for place, line in enumerate(text.splitlines(), 1) if line]
        if not rows:
            raise FeedRejected("feed-truncated", "the file is empty")
        (_, head), (_, last) = rows[0], rows[-1]
        insurer, number, day = _header(head)
        if last[0] != "T" or not text.endswith("\n"):
            raise FeedRejected("feed-truncated", "the file has no last line T with the counts; it is not complete")
        if len(rows) - 2 > MOST_LINES:
            raise _malformed(f"a file has at most {MOST_LINES:,} entitlements")
        lines = tuple(_line(place, values) for place, values in rows[1:-1])
        _check_counts(lines, last)
        _check_once(lines)
        return cls(insurer, number, day, lines, hashlib.sha256(content).hexdigest())

    @property
    def counts(self) -> dict[ChangeType, int]:
        """How many lines are new, changed and ended."""
        return _counted(self.lines)


def written(insurer: str, number: int, day: date, lines: Sequence[FeedLine]) -> str:
    """Return the text of a file."""
    counts = ",".join(str(count) for count in _counted(lines).values())
    return "".join(f"{line}\n" for line in (
        f"H,{FORM},{insurer},{number},{day}", *(line.written() for line in lines), f"T,{counts}"
    ))  # fmt: skip


def _header(values: list[str]) -> tuple[str, int, date]:
    if values[0] != "H" or len(values) != 5 or values[1] != FORM:
        raise _malformed(f"line 1 must be H,{FORM},INSURER,NUMBER,DAY")
    try:
        return text_of(values[2]), _count(values[3]), date.fromisoformat(values[4])
    except ValueError as error:
        raise _malformed(f"line 1: {error}") from None


def _line(place: int, values: list[str]) -> FeedLine:
    try:
        change = ChangeType(values[0])
        _, address, insured, begins, ends = values
        line = FeedLine(change, text_of(address), insured, date.fromisoformat(begins),
                        date.fromisoformat(ends) if ends else None, place)  # fmt: skip
    except ValueError:
        raise _malformed(f"line {place} must be N, C or E, ADDRESS NUMBER,INSURED NUMBER,FIRST DAY,LAST DAY") from None
    if not INSURED_NUMBER.fullmatch(insured):
        raise _malformed(f"line {place}: {insured[:40]!r} is not an insured number")
    if line.ends is not None and line.ends < line.begins:
        raise _malformed(f"line {place}: the last day is before the first")
    if change is ChangeType.ENDED and line.ends is None:
        raise _malformed(f"line {place}: an ended entitlement has a last day")
    return line


def _check_counts(lines: Sequence[FeedLine], last: list[str]) -> None:
    try:
        stated = tuple(map(_count, last[1:]))
    except ValueError as error:
        raise _malformed(f"the last line: {error}") from None
    found = tuple(_counted(lines).values())
    if stated != found:
        raise FeedRejected(
            "feed-counts", f"the last line counts {','.join(map(str, stated))}, and the file has {_listed(found)}"
        )


def _check_once(lines: Sequence[FeedLine]) -> None:
    first: dict[str, int] = {}
    for line in lines:
        if line.insured_number in first:
            words = f"lines {first[line.insured_number]} and {line.place} are both about {line.insured_number}"
            raise FeedRejected("feed-duplicate", words)
        first[line.insured_number] = line.place


def _counted(lines: Sequence[FeedLine]) -> dict[ChangeType, int]:
    counts = Counter(line.change for line in lines)
    return {change: counts[change] for change in ChangeType}


def _listed(counts: Sequence[int]) -> str:
    return ",".join(map(str, counts))


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text) < _LARGEST_NUMBER):
        raise ValueError(f"{text[:20]!r} is not a whole number")
    return int(text)


def _malformed(words: str) -> FeedRejected:
    return FeedRejected("feed-malformed", words)
