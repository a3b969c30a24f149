"""Records of health checks (特定健康診査) from a person's former insurer to the new one, outside the network
(高齢者の医療の確保に関する法律27条).

The new insurer asks the former one, which gives a file on a medium with the records of those who have consented. The
receiver finds its people by individual number alone. The file's kind is `health-checks` and its period the day of the
hand-over; a record has the individual number and the content.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from random import Random
from typing import Any

import sqlalchemy as sa

from kazashi.provision_network.file_receptions import FileReceptions, reception_table
from kazashi.provision_network.law.provisions import HEALTH_CHECK, HEALTH_CHECK_PURPOSE, Party, Provision
from kazashi.provision_network.law.tables import kinds_of
from kazashi.provision_network.law.versions import ProvisionItem
from kazashi.provision_network.terms import NetworkRejected
from kazashi.provision_network.transfer_files import FileHeader, FileRejected, TransferFile, written
from kazashi.world.event_log import event_table
from kazashi.world.home import World
from kazashi.world.storage import Position

ACTOR = "insurers"
"""The name of the store."""

KIND = "health-checks"
INSURERS = "医療保険者"
"""The term of the tables for the kinds of bodies that are insurers."""

ASKED, HANDED_OVER, WITHOUT_CONSENT, NOT_HERE = "asked", "handed over", "without consent", "no longer here"
"""The states of a request at the former insurer."""

METADATA = sa.MetaData()
RECEIVED_FILE = reception_table(METADATA)

REQUEST = sa.Table(
    "health_check_request", METADATA,
    sa.Column("number", Position, primary_key=True),
    sa.Column("body", sa.Text, nullable=False, index=True),
    sa.Column("address_number", sa.Text, nullable=False),
    sa.Column("asked_by", sa.Text, nullable=False),
    sa.Column("asked", sa.Text, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("file", sa.Text, nullable=False),
)  # fmt: skip
"""Requests, at the former insurer (`body`)."""

AWAITED = sa.Table(
    "awaited_health_check", METADATA,
    sa.Column("number", Position, primary_key=True),
    sa.Column("body", sa.Text, nullable=False, index=True),
    sa.Column("address_number", sa.Text, nullable=False),
    sa.Column("asked_of", sa.Text, nullable=False),
    sa.Column("file", sa.BigInteger),
    sa.Column("content", sa.Text),
)  # fmt: skip
"""Requests, at the new insurer (`body`), with the content once it has been received."""

_, _log = event_table(METADATA)
_request, _awaited = REQUEST.c, AWAITED.c


@dataclass(frozen=True, slots=True)
class HealthCheckRequest:
    """A request at a former insurer, about a person by its own number, and what became of it. `file` is the SHA-256 of
    the file in which the record was handed over."""

    number: int
    body: str
    address_number: str
    asked_by: str
    asked: date
    state: str
    file: str


@dataclass(frozen=True, slots=True)
class ReceivedHealthCheck:
    """A record at the new insurer, about a person by its own number; `content` is None until it was received."""

    body: str
    address_number: str
    asked_of: str
    content: str | None


def is_insurer(kind: str) -> bool:
    """Return whether bodies of a kind are insurers (医療保険者, or the union for people of 75 and older)."""
    return kind in (*kinds_of(INSURERS), "後期高齢者医療広域連合")


def provision_of(*, consent: bool) -> Provision:
    """Return the provision of a record by one insurer, which acts for the other's affair, to that other one."""
    return Provision(
        ProvisionItem.RELATED_AFFAIR, Party.RELATED, Party.IMPLEMENTER, HEALTH_CHECK_PURPOSE, information=HEALTH_CHECK,
        law="高齢者の医療の確保に関する法律", consent=consent,
    )  # fmt: skip


def made_up_check(chance: Random) -> str:
    """Return the content of a made-up record."""
    pressure, waist = chance.randrange(100, 160), chance.randrange(650, 1_050) / 10
    return f"腹囲 {waist:.1f}cm 血圧 {pressure}/{pressure * 5 // 8} HbA1c {chance.randrange(48, 75) / 10:.1f}%"


def file_of(sender: str, receiver: str, on: date, checks: Sequence[tuple[str, str]]) -> bytes:
    """Return the content of a file, from pairs of individual number and content."""
    return written(FileHeader(KIND, sender, receiver, on.isoformat()), checks)


class HealthChecks:
    """The requests for records, and the received records, of one world's insurers."""

    def __init__(self, world: World) -> None:
        self._clock = world.clock
        self.store = world.store(ACTOR, METADATA)
        self._receptions = FileReceptions(self.store, RECEIVED_FILE, _log, world.clock)
        self.files = self._receptions.files

    def ask(self, body: str, own_number: str, former: str, their_number: str, on: date) -> int:
        """Register a new insurer's request at the former one, and return its number there. Raises NetworkRejected if
        the same request waits already."""
        same = ((_request.body == former) & (_request.address_number == their_number) & (_request.asked_by == body)
                & (_request.state == ASKED))  # fmt: skip
        with self.store.alone() as connection:
            if (known := connection.scalar(sa.select(_request.number).where(same))) is not None:
                raise NetworkRejected("asked-already", f"{body} has asked {former} already, as request {known}")
            awaited = {"body": body, "address_number": own_number, "asked_of": former}
            connection.execute(sa.insert(AWAITED), awaited)
            row = {"body": former, "address_number": their_number, "asked_by": body, "asked": on.isoformat(),
                   "state": ASKED, "file": ""}  # fmt: skip
            number = connection.execute(sa.insert(REQUEST).returning(_request.number), row).scalar_one()
            _log(connection, self._clock.now(), "health check asked for", {"body": former, "number": number})
        return int(number)

    def requests(self, body: str | None = None) -> list[HealthCheckRequest]:
        """Return the requests at one former insurer or at all, oldest first."""
        query = sa.select(REQUEST).order_by(_request.number)
        if body is not None:
            query = query.where(_request.body == body)
        with self.store.reading() as connection:
            return [_as_request(row) for row in connection.execute(query)]

    def settle(self, requests: Collection[HealthCheckRequest], state: str, file: str = "") -> None:
        """Record what became of requests. Settling them again changes nothing."""
        with self.store.alone() as connection:
            for one in requests:
                this = (_request.number == one.number) & (_request.state == ASKED)
                done = connection.execute(sa.update(REQUEST).where(this).values(state=state, file=file)).rowcount
                if done:
                    _log(connection, self._clock.now(), state, {"body": one.body, "number": one.number})

    def receive(self, body: str, content: bytes, numbers: Mapping[str, str]) -> int:
        """Take a file at the new insurer, and return how many records it has.

        `numbers` are the body's own numbers for people by individual number: nothing else finds the person. Raises
        FileRejected as `FileReceptions.receive`, and for a record that is malformed (`bad-record`), or about somebody
        about whom the body has not asked the sender (`not-asked`).
        """

        def take(connection: sa.Connection, number: int, file: TransferFile) -> int:
            for place, fields in enumerate(file.records, 1):
                if len(fields) != 2:
                    raise FileRejected("bad-record", f"record {place} has {len(fields)} fields, and needs 2")
                this = (
                    (_awaited.body == body) & (_awaited.address_number == numbers.get(fields[0], ""))
                    & (_awaited.asked_of == file.header.sender) & _awaited.content.is_(None)
                )  # fmt: skip
                values = {"file": number, "content": fields[1]}
                if not connection.execute(sa.update(AWAITED).where(this).values(values)).rowcount:
                    words = f"record {place} is about somebody about whom {body} has not asked {file.header.sender}"
                    raise FileRejected("not-asked", words)
            return len(file.records)

        return self._receptions.receive(body, content, KIND, take)

    def received(self, body: str) -> list[ReceivedHealthCheck]:
        """Return what a new insurer has asked for, oldest first, with what it has received."""
        query = sa.select(AWAITED).where(_awaited.body == body).order_by(_awaited.number)
        with self.store.reading() as connection:
            return [
                ReceivedHealthCheck(row.body, row.address_number, row.asked_of, row.content)
                for row in connection.execute(query)
            ]


def _as_request(row: Any) -> HealthCheckRequest:
    return HealthCheckRequest(
        row.number, row.body, row.address_number, row.asked_by, date.fromisoformat(row.asked), row.state, row.file
    )  # fmt: skip
