"""The tax offices of municipalities: their rolls of taxpayers, the files that they receive, and whose each record is.

An office knows people by its own numbers. It stores no individual number: those of a file are looked up in the
municipality's address system. A record that was not matched stays on a work list until somebody decides it.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import sqlalchemy as sa

from kazashi.provision_network.file_receptions import FileReceptions, reception_table
from kazashi.provision_network.matching import Attributes
from kazashi.provision_network.name_matching import Found, Roll
from kazashi.provision_network.tax_returns import KIND, TAX_AGENCY, returns_in
from kazashi.provision_network.terms import NetworkRejected
from kazashi.provision_network.transfer_files import FileRejected, TransferFile
from kazashi.world.event_log import event_table
from kazashi.world.home import World
from kazashi.world.storage import Position, insert_many

ACTOR = "tax_offices"
"""The name of the store."""

METADATA = sa.MetaData()
RECEIVED_FILE = reception_table(METADATA)

TAXPAYER = sa.Table(
    "taxpayer", METADATA,
    sa.Column("body", sa.Text, primary_key=True),
    sa.Column("local_number", sa.Text, primary_key=True),
    sa.Column("attributes", sa.Text, nullable=False),
)  # fmt: skip

TAX_RECORD = sa.Table(
    "tax_record", METADATA,
    sa.Column("number", Position, primary_key=True),
    sa.Column("file", sa.BigInteger, nullable=False, index=True),
    sa.Column("body", sa.Text, nullable=False),
    sa.Column("year", sa.Integer, nullable=False),
    sa.Column("reference", sa.Text, nullable=False),
    sa.Column("income", sa.BigInteger, nullable=False),
    sa.Column("attributes", sa.Text, nullable=False),
    sa.Column("local_number", sa.Text, index=True),
    sa.Column("how", sa.Text, nullable=False),
    sa.Column("candidates", sa.Integer, nullable=False),
)  # fmt: skip

_, _log = event_table(METADATA)
_record = TAX_RECORD.c


@dataclass(frozen=True, slots=True)
class TaxReception:
    """A file that an office has taken: its number, and how many records were found in which way."""

    file: int
    year: int
    records: int
    found: dict[Found, int]

    @property
    def unmatched(self) -> int:
        """The number of records on the work list."""
        return self.records - self.found.get(Found.NUMBER, 0) - self.found.get(Found.ATTRIBUTES, 0)


@dataclass(frozen=True, slots=True)
class TaxRecord:
    """A record of a file at an office. `local_number` is None while it is on the work list; `how` says how the person
    was found, or why not."""

    number: int
    file: int
    body: str
    year: int
    reference: str
    income: int
    attributes: Attributes
    local_number: str | None
    how: str
    candidates: int


class TaxOffices:
    """The tax offices of one world's municipalities."""

    def __init__(self, world: World) -> None:
        self._clock = world.clock
        self.store = world.store(ACTOR, METADATA)
        self._receptions = FileReceptions(self.store, RECEIVED_FILE, _log, world.clock)
        self.files = self._receptions.files

    def enrol(self, body: str, people: Mapping[str, Attributes]) -> None:
        """Replace an office's roll of taxpayers: their attributes by the office's own numbers."""
        rows = [(body, number, json.dumps(asdict(one), ensure_ascii=False)) for number, one in people.items()]
        with self.store.alone() as connection:
            connection.execute(sa.delete(TAXPAYER).where(TAXPAYER.c.body == body))
            insert_many(connection, TAXPAYER, ("body", "local_number", "attributes"), rows)

    def roll(self, body: str, numbers: Mapping[str, str]) -> Roll:
        """Return an office's roll for matching. `numbers` are the office's own numbers by individual number."""
        with self.store.reading() as connection:
            return Roll(self._people(connection, body), numbers)

    def _people(self, connection: sa.Connection, body: str) -> dict[str, Attributes]:
        rows = connection.execute(sa.select(TAXPAYER).where(TAXPAYER.c.body == body))
        return {row.local_number: Attributes(**json.loads(row.attributes)) for row in rows}

    def receive(self, body: str, content: bytes, numbers: Mapping[str, str]) -> TaxReception:
        """Take a file of returns, and match its records with the office's taxpayers, all in one transaction.

        `numbers` are as for `roll`. Raises FileRejected as `FileReceptions.receive`, for another sender than the tax
        agency (`wrong-sender`), and for a period that is not a year (`bad-file`).
        """

        def take(connection: sa.Connection, number: int, file: TransferFile) -> TaxReception:
            if file.header.sender != TAX_AGENCY:
                words = f"{file.header.sender[:40]!r} is not {TAX_AGENCY}; no item lets others give returns"
                raise FileRejected("wrong-sender", words)
            if not (file.header.period.isascii() and file.header.period.isdigit() and len(file.header.period) == 4):
                raise FileRejected("bad-file", f"the period {file.header.period[:20]!r} is not a year")
            year, roll = int(file.header.period), Roll(self._people(connection, body), numbers)
            columns = [column.name for column in TAX_RECORD.columns if column.name != "number"]
            rows, found = [], Counter[Found]()
            for one in returns_in(file):
                match = roll.match(one.individual_number, one.attributes)
                found[match.how] += 1
                attributes = json.dumps(asdict(one.attributes), ensure_ascii=False)
                rows.append((number, body, year, one.reference, one.income, attributes, match.person, match.how.value,
                             match.candidates))  # fmt: skip
            insert_many(connection, TAX_RECORD, columns, rows)
            return TaxReception(number, year, len(rows), dict(found))

        return self._receptions.receive(body, content, KIND, take)

    def records(self, body: str, *, local_number: str | None = None) -> list[TaxRecord]:
        """Return the records of an office, oldest first, of one taxpayer or of all."""
        this = _record.body == body
        return self._records(this if local_number is None else this & (_record.local_number == local_number))

    def work_list(self, body: str) -> list[TaxRecord]:
        """Return the records of an office that nobody has matched yet."""
        return self._records((_record.body == body) & _record.local_number.is_(None))

    def assign(self, body: str, number: int, local_number: str) -> TaxRecord:
        """Match a record of the work list by hand. Raises NetworkRejected if it is not on the list, or if no taxpayer
        has that number."""
        with self.store.alone() as connection:
            if local_number not in self._people(connection, body):
                raise NetworkRejected("unknown-taxpayer", f"the tax office of {body} has no taxpayer {local_number}")
            this = (_record.body == body) & (_record.number == number) & _record.local_number.is_(None)
            values = {"local_number": local_number, "how": "by hand"}
            if not connection.execute(sa.update(TAX_RECORD).where(this).values(values)).rowcount:
                raise NetworkRejected("not-on-the-list", f"record {number} is not on the work list of {body}")
            _log(connection, self._clock.now(), "matched by hand", {"body": body, "number": number})
        (found,) = self._records(_record.number == number)
        return found

    def _records(self, which: sa.ColumnElement[bool]) -> list[TaxRecord]:
        with self.store.reading() as connection:
            rows = connection.execute(sa.select(TAX_RECORD).where(which).order_by(_record.number)).all()
        return [_as_record(row) for row in rows]


def _as_record(row: Any) -> TaxRecord:
    return TaxRecord(
        row.number, row.file, row.body, row.year, row.reference, row.income, Attributes(**json.loads(row.attributes)),
        row.local_number, row.how, row.candidates,
    )  # fmt: skip
