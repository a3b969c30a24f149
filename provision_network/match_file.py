"""Files in which a body hands in its records for the first matching: CSV in UTF-8, with a header and a trailer.

    header,1,架空年金基金,2026-11-24
    number,name,kana,birth,sex,address
    000000001,番号　花子,バンゴウ　ハナコ,19880417,2,東京都渋谷区架空町９丁目９９番９９号
    trailer,1

The header has the version of the form, the body and the day. The trailer counts the records, so that a file that was
cut off is noticed. A file is taken whole or not at all.
"""

from __future__ import annotations

import csv
import hashlib
import io
from collections.abc import Iterable, Sequence
from dataclasses import astuple, dataclass
from datetime import date
from enum import Enum

from kazashi.provision_network.matching import Attributes, MatchRecord
from kazashi.provision_network.terms import NetworkRejected, text_of
from kazashi.resident_registry.birth_date import BirthDate
from kazashi.resident_registry.resident import Sex

COLUMNS = ("number", "name", "kana", "birth", "sex", "address")
VERSION = "1"
MOST_RECORDS = 1_000_000
"""The maximum number of records in one file."""

LONGEST_NUMBER = 40
"""The maximum length of a body's own number of a record, in characters."""

_HEADER, _TRAILER = "header", "trailer"


class MatchFileRule(Enum):
    """A rule for files of records."""

    UTF_8 = "the file must be CSV in UTF-8"
    HEADER = "the first line must be: header,1,BODY,DAY"
    BODY = "the header must name the body that hands the file in"
    COLUMNS = f"the second line must be: {','.join(COLUMNS)}"
    RECORD = "each record must have a number, a name, a kana reading or none, a date of birth, a sex and an address"
    TRAILER = "the last line must be: trailer,COUNT"
    COUNT = "the trailer must have the number of the records"
    ONCE = "each number must occur once, and not in an earlier file of the body"
    MOST = f"a file must have 1 to {MOST_RECORDS:,} records"


class MatchFileRejected(NetworkRejected):
    """A file of records breaks a rule. The message says where. Nothing of it was stored."""

    def __init__(self, rule: MatchFileRule, where: str) -> None:
        super().__init__("match-file", f"{where}: {rule.value}; nothing of the file was taken")
        self.rule = rule


@dataclass(frozen=True, slots=True)
class MatchFile:
    """A file of records: the body, the day in the header, the records, and the SHA-256 of the file in hexadecimal."""

    body: str
    day: date
    records: tuple[MatchRecord, ...]
    digest: str


def digest_of(content: bytes) -> str:
    """Return the SHA-256 of a file in hexadecimal."""
    return hashlib.sha256(content).hexdigest()


def read(content: bytes, body: str) -> MatchFile:
    """Parse a file that a body hands in. Raises MatchFileRejected."""
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise MatchFileRejected(MatchFileRule.UTF_8, f"byte {error.start}") from error
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    lines: list[tuple[int, list[str]]] = []
    try:
        lines += ((reader.line_num, values) for values in reader if values)
    except csv.Error as error:
        raise MatchFileRejected(MatchFileRule.UTF_8, f"line {reader.line_num} ({error})") from error
    return MatchFile(body, _day(lines, body), _records(lines), digest_of(content))


def written(body: str, day: date, records: Iterable[MatchRecord]) -> str:
    """Return records as a file."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    rows = [(one.number, *astuple(one.attributes)) for one in records]
    writer.writerows([(_HEADER, VERSION, body, day.isoformat()), COLUMNS, *rows, (_TRAILER, len(rows))])
    return text.getvalue()


def _day(lines: Sequence[tuple[int, list[str]]], body: str) -> date:
    """Check the first two lines, and return the day in the header."""
    header = lines[0][1] if lines else []
    if len(header) != 4 or header[:2] != [_HEADER, VERSION]:
        raise MatchFileRejected(MatchFileRule.HEADER, "line 1")
    try:
        day = date.fromisoformat(header[3])
    except ValueError as error:
        raise MatchFileRejected(MatchFileRule.HEADER, f"line 1 ({header[3][:40]!r} is not a day)") from error
    if header[2] != body:
        raise MatchFileRejected(MatchFileRule.BODY, f"line 1 (the file is of {header[2][:64]!r}, not of {body})")
    if len(lines) < 2 or tuple(lines[1][1]) != COLUMNS:
        raise MatchFileRejected(MatchFileRule.COLUMNS, "line 2")
    return day


def _records(lines: Sequence[tuple[int, list[str]]]) -> tuple[MatchRecord, ...]:
    """Check everything after the first two lines, and return the records."""
    number, trailer = lines[-1]
    if len(lines) < 3 or trailer[0] != _TRAILER or len(trailer) != 2:
        raise MatchFileRejected(MatchFileRule.TRAILER, f"line {number} (the file was cut off)")
    rows = lines[2:-1]
    if not 1 <= len(rows) <= MOST_RECORDS:
        raise MatchFileRejected(MatchFileRule.MOST, f"line {number} ({len(rows):,} records)")
    if trailer[1] != str(len(rows)):
        words = f"line {number} (the trailer says {trailer[1][:20]!r}, and there are {len(rows)})"
        raise MatchFileRejected(MatchFileRule.COUNT, words)
    first: dict[str, int] = {}
    records = []
    for number, values in rows:
        record = _record(number, values)
        if record.number in first:
            words = f"line {number} (number {record.number} is that of line {first[record.number]} too)"
            raise MatchFileRejected(MatchFileRule.ONCE, words)
        first[record.number] = number
        records.append(record)
    return tuple(records)


def _record(line: int, values: list[str]) -> MatchRecord:
    def refused(why: str) -> MatchFileRejected:
        return MatchFileRejected(MatchFileRule.RECORD, f"line {line} ({why})")

    if len(values) != len(COLUMNS):
        raise refused(f"{len(values)} values for {len(COLUMNS)} columns")
    number, name, kana, birth, sex, address = values
    try:
        for text in values:
            text_of(text)
        born = str(BirthDate.parse(birth))
    except ValueError as error:
        raise refused(str(error)) from error
    if sex not in {one.value for one in Sex}:
        raise refused(f"the sex is {sex!r}")
    if not number.strip() or len(number) > LONGEST_NUMBER or not name.strip() or not address.strip():
        raise refused("the number, the name or the address is empty, or the number too long")
    return MatchRecord(number, Attributes(name, kana, born, sex, address))
