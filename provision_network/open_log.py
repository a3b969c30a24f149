"""The network's log as open data: the core's records to the hour, delayed, and without persons, in the shape in which
X-Road's operators publish theirs (one file of JSON lines a day).

A row has no person, no number and no order: rows of a day are sorted by their content, because the order in which they
were recorded is a handle that joins the requests of one person. A day is published once. The core keeps its bytes, so
that a second, finer form of a day cannot be subtracted from the first.
"""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from enum import Enum
from itertools import groupby
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from kazashi.provision_network.core_store import OPEN_DAY, PROVISION_RECORD, UNDISCLOSED, log
from kazashi.provision_network.terms import OWN_INFORMATION, NetworkRejected, RequestOutcome
from kazashi.world.atomic_file import clear_unfinished, make_directory, write_whole
from kazashi.world.clock import JST, Clock, epoch
from kazashi.world.storage import Store

META = "meta.json"
"""The name of the file that describes the others."""

FORMAT = 1
"""The version of the published form. It changes if a program that reads it has to."""

DELAY_DAYS = 10
"""The delay after which Estonia publishes the log of X-tee, in days."""

_DAY = 86_400
ZONE = 9 * 3_600
"""What Japan's time is ahead of UTC, in seconds."""
_FIRST = date(1970, 1, 1)
_STEP = 1_000
"""The number of rows that are read at once."""


class OpenLogUnusable(Exception):
    """A directory is not an open log, or is that of another network."""


class Precision(Enum):
    """The precision of the published times. Days and hours are those of Japan."""

    SECOND = "second"
    """As the core has it. It is measured, and never published."""
    MINUTE = "minute"
    HOUR = "hour"
    DAY = "day"

    @property
    def seconds(self) -> int:
        """The length of a span, in seconds."""
        return {"second": 1, "minute": 60, "hour": 3_600, "day": _DAY}[self.value]

    def begin(self, moment: int) -> int:
        """The beginning of the span that a moment is in. Both are in seconds since 1970."""
        return moment - (moment + ZONE) % self.seconds


PUBLISHABLE = (Precision.MINUTE, Precision.HOUR, Precision.DAY)

DURATIONS = ((1, "to-1s"), (10, "to-10s"), (60, "to-1min"), (600, "to-10min"), (3_600, "to-1h"), (_DAY, "to-1d"))
"""Classes of the time from a request to its provision: the largest number of seconds, and the name."""
LONGER = "over-1d"

_TEXT = {"type": "string", "minLength": 1}
FIELDS: dict[str, dict[str, Any]] = {
    "requestInTs": {
        "type": "integer",
        "description": "The beginning of the span in which the core received the request, in milliseconds since 1970.",
    },
    "requestInDate": {
        "type": "string", "format": "date",
        "description": "The day of the request in Japan.",
    },
    "clientMemberCode": {**_TEXT, "description": "The body that requested."},
    "clientSubsystemCode": {
        "type": ["string", "null"],
        "description": "The legal basis, with the affair's row in the table. Null if the request was denied.",
    },
    "serviceMemberCode": {**_TEXT, "description": "The body that was asked."},
    "serviceCode": {
        "type": ["string", "null"],
        "description": "The item that was requested. Null if the request was denied, or if people asked for their own"
        " information.",
    },
    "totalDurationClass": {
        "type": ["string", "null"], "enum": [*(name for _, name in DURATIONS), LONGER, None],
        "description": "The time from the request to the provision, as a class. Null if nothing had been provided.",
    },
    "succeeded": {
        "type": "boolean",
        "description": "Whether the provider had provided the item when the day was published.",
    },
}  # fmt: skip
"""The fields of a row, as properties of a JSON Schema. Names are X-Road's where the meaning is."""

LEFT_OUT = {
    "persons": "codes and numbers of persons, and the core's number of a request",
    "order": "rows are sorted by their content, not by time",
    "durations": "exact durations, which are nearly unique",
    "denied items": "the item of a denied request, which is the requester's own text",
    "own information": "the items that people asked for about themselves",
    "protected people": "requests about people whose records must not be shown (不開示該当フラグ)",
}


@dataclass(frozen=True, slots=True)
class OpenDay:
    """A day that was published: the number of its rows, and the file's bytes (JSON lines, gzip)."""

    day: date
    precision: Precision
    rows: int
    content: bytes

    @property
    def file(self) -> str:
        """The name of the day's file."""
        return f"{self.day}.ndjson.gz"

    @property
    def sha256(self) -> str:
        """The SHA-256 digest of the file, in hexadecimal."""
        return hashlib.sha256(self.content).hexdigest()


class OpenLog:
    """What the core has published, in its store."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    def publish(self, precision: Precision, delay_days: int) -> list[OpenDay]:
        """Publish the days that ended at least `delay_days` ago, and return all that were ever published, oldest first.

        They are in the store when this returns. Raises NetworkRejected if another precision was published before.
        """
        now = self._clock.now()
        with self._store.alone() as connection:
            _check_form(connection, precision)
            known = set(connection.scalars(sa.select(OPEN_DAY.c.day)))
            end = Precision.DAY.begin(epoch(now)) - delay_days * _DAY
            for number, records in groupby(_due(connection, end), lambda record: _day_of(record.requested_at)):
                if number not in known:
                    lines = sorted(_line(record, precision) for record in records)
                    content = gzip.compress("".join(lines).encode(), mtime=0)
                    day = OpenDay(_date(number), precision, len(lines), content)
                    connection.execute(sa.insert(OPEN_DAY), {
                        "day": number, "precision": precision.value, "rows": day.rows, "published_at": epoch(now),
                        "content": content,
                    })  # fmt: skip
                    log(connection, now, "day published", {"day": str(day.day), "sha256": day.sha256})
            return [
                OpenDay(_date(row.day), Precision(row.precision), row.rows, row.content)
                for row in connection.execute(sa.select(OPEN_DAY).order_by(OPEN_DAY.c.day))
            ]


def _check_form(connection: sa.Connection, precision: Precision) -> None:
    """Raise NetworkRejected if days were published with another precision."""
    column = OPEN_DAY.c
    query = sa.select(column.precision, sa.func.min(column.day)).where(column.precision != precision.value)
    for former, first in connection.execute(query.group_by(column.precision)):
        raise NetworkRejected(
            "published-otherwise",
            f"the log was published to the {former} from {_date(first)} on; a second form of these days (to the"
            f" {precision.value}) could tell rows apart that look the same in the first",
        )


def _due(connection: sa.Connection, end: int) -> Iterator[Any]:
    """The records before a moment in the order of days, without those of people whose records must not be shown."""
    record = PROVISION_RECORD.c
    query = sa.select(
        record.requested_at, record.requester, record.provider, record.item, record.reason, record.outcome,
        record.provided_at,
    ).where(
        record.requested_at < end, record.record_code.not_in(sa.select(UNDISCLOSED.c.record_code))
    ).order_by(record.requested_at)  # fmt: skip
    yield from connection.execute(query.execution_options(yield_per=_STEP))


def write_open_log(directory: Path, days: Sequence[OpenDay], precision: Precision, delay_days: int) -> None:
    """Write the files of an open log and, last, the file that describes them.

    Each file is complete or absent; files that are there already stay as they are. No other program may be writing
    there. Raises OpenLogUnusable if the directory has another log's files, and OSError.
    """
    make_directory(directory)
    for name in (META, "*.ndjson.gz"):
        clear_unfinished(directory, name)
    present = {day.file for day in days if (directory / day.file).exists()}
    strange = {path.name for path in directory.glob("*.ndjson.gz")} - {day.file for day in days}
    strange |= {day.file for day in days if day.file in present and (directory / day.file).read_bytes() != day.content}
    if strange:
        raise OpenLogUnusable(f"{directory} has files of another log ({min(strange)}); name another directory")
    for day in days:
        if day.file not in present:
            write_whole(directory / day.file, day.content)
    write_whole(directory / META, json.dumps(_meta(days, precision, delay_days), ensure_ascii=False, indent=1) + "\n")


def row_schema(precision: Precision) -> dict[str, Any]:
    """The JSON Schema of a row whose times have a precision."""
    fields = {name: dict(field) for name, field in FIELDS.items()}
    if precision is not Precision.DAY:  # a day in Japan does not begin at a multiple of its length
        fields["requestInTs"]["multipleOf"] = precision.seconds * 1_000
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema", "type": "object", "properties": fields,
        "required": list(fields), "additionalProperties": False,
    }  # fmt: skip


def _meta(days: Sequence[OpenDay], precision: Precision, delay_days: int) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "title": "Requests on an emulated information provision network (Kazashi); no row is about a real person",
        "precision": precision.value,
        "delay_days": delay_days,
        "time_zone": "Asia/Tokyo",
        "left_out": LEFT_OUT,
        "schema": row_schema(precision),
        "days": [
            {"day": str(day.day), "file": day.file, "rows": day.rows, "sha256": day.sha256} for day in days
        ],
    }  # fmt: skip


def _line(record: Any, precision: Precision) -> str:
    denied = record.outcome == RequestOutcome.DENIED.value
    begin = precision.begin(record.requested_at)
    row = {
        "requestInTs": begin * 1_000,
        "requestInDate": str(datetime.fromtimestamp(begin, JST).date()),
        "clientMemberCode": record.requester,
        "clientSubsystemCode": None if denied else record.reason,
        "serviceMemberCode": record.provider,
        "serviceCode": None if denied or record.reason == OWN_INFORMATION else record.item,
        "totalDurationClass": _duration(record.requested_at, record.provided_at),
        "succeeded": record.provided_at is not None,
    }
    return json.dumps(row, ensure_ascii=False) + "\n"


def _duration(begin: int, end: int | None) -> str | None:
    if end is None:
        return None
    return next((name for most, name in DURATIONS if end - begin <= most), LONGER)


def _day_of(moment: int) -> int:
    """The number of a moment's day in Japan, since 1970."""
    return (moment + ZONE) // _DAY


def _date(number: int) -> date:
    return _FIRST + timedelta(number)
