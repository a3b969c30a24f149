"""Files that go from one body to another outside the network: a header, a line for each person, and a trailer.

A file is CSV in UTF-8 with a line feed after every line. The header is `H`, the kind of the file, the version 1, the
sender, the receiver, the period, the number of records, and the SHA-256 of the records' lines in hexadecimal. A record
is `R`, its place in the file from 1, and the fields of the kind. The trailer is `T` and the number of records. So a
file that was cut off, has lost a line or was changed is recognised before anything in it is used.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256

from kazashi.provision_network.terms import NetworkRejected

VERSION = "1"
MOST_BYTES = 500_000_000
"""The maximum size of a file."""

_HEADER_FIELDS = 8


class FileRejected(NetworkRejected):
    """A file is refused as a whole: `denial` says why, and the message where. Nothing of it was stored but the
    refusal."""


@dataclass(frozen=True, slots=True)
class FileHeader:
    """What the header of a file says. `period` is a year or a day, as the kind of the file has it."""

    kind: str
    sender: str
    receiver: str
    period: str


@dataclass(frozen=True, slots=True)
class TransferFile:
    """A whole file: its header, the fields of each record, and the SHA-256 of its content."""

    header: FileHeader
    records: list[list[str]]
    digest: str


def written(header: FileHeader, records: Sequence[Sequence[str]]) -> bytes:
    """Return the content of a file."""
    body = _lines([["R", str(place), *fields] for place, fields in enumerate(records, 1)])
    count, digest = str(len(records)), sha256(body).hexdigest()
    first = ["H", header.kind, VERSION, header.sender, header.receiver, header.period, count, digest]
    return _lines([first]) + body + _lines([["T", count]])


def parsed_file(content: bytes) -> TransferFile:
    """Parse and check a file.

    Raises FileRejected if it is not such a file (`bad-file`), has no trailer (`truncated`), has not the stated number
    of records (`wrong-count`) or other ones than the sender has written (`wrong-checksum`).
    """
    if len(content) > MOST_BYTES:
        raise FileRejected("bad-file", f"the file has {len(content)} bytes, and may have {MOST_BYTES}")
    header, expected, digest = _header(content.partition(b"\n")[0])
    if not content.endswith(b"\n"):
        raise FileRejected("truncated", "the last line of the file is cut off")
    body, _, last = content[:-1].partition(b"\n")[2].rpartition(b"\n")
    trailer = _rows(last)
    if len(trailer) != 1 or len(trailer[0]) != 2 or trailer[0][0] != "T":
        raise FileRejected("truncated", "the file has no trailer: its end is missing")
    body += b"\n" if body else b""
    count = body.count(b"\n")
    if not expected == trailer[0][1] == str(count):
        words = f"the header says {expected} records, the trailer {trailer[0][1]}, and there are {count}"
        raise FileRejected("wrong-count", words)
    if sha256(body).hexdigest() != digest:
        raise FileRejected("wrong-checksum", "the records are not those that the sender has written")
    records = []
    for place, row in enumerate(_rows(body), 1):
        if row[:2] != ["R", str(place)]:
            raise FileRejected("bad-file", f"record {place} does not begin with R,{place}")
        records.append(row[2:])
    if len(records) != count:
        raise FileRejected("bad-file", f"there are {len(records)} records in {count} lines")
    return TransferFile(header, records, sha256(content).hexdigest())


def _header(line: bytes) -> tuple[FileHeader, str, str]:
    rows = _rows(line)
    if len(rows) != 1 or len(rows[0]) != _HEADER_FIELDS or rows[0][0] != "H":
        raise FileRejected(
            "bad-file", f"the first line is not a header with {_HEADER_FIELDS} fields that begins with H"
        )
    _, kind, version, sender, receiver, period, count, digest = rows[0]
    if version != VERSION:
        raise FileRejected("bad-file", f"the file has version {version[:20]!r}, and only {VERSION} is known")
    return FileHeader(kind, sender, receiver, period), count, digest


def _rows(content: bytes) -> list[list[str]]:
    try:
        return list(csv.reader(io.StringIO(content.decode("utf-8"), newline=""), strict=True))
    except (UnicodeDecodeError, csv.Error) as error:
        raise FileRejected("bad-file", f"the file is not CSV in UTF-8: {error}") from error


def _lines(rows: Sequence[Sequence[str]]) -> bytes:
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue().encode()
