"""The terminal's own machine: it sells, gives points, prints receipts, and keeps every record until the centre has it.

What a customer holds in his hand is on disk before it is printed. A record's number is taken in the transaction that
writes it; a till that is set up anew from nothing is another *installation*, with a key and numbers of its own, so
that no number is ever used twice.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from kazashi.refund_points.codes import CodePolicy, CodeRejected
from kazashi.refund_points.enrolment import Detail, Enrolment
from kazashi.refund_points.goods import Basket, points_of
from kazashi.refund_points.reading import CardReading
from kazashi.refund_points.record import (
    MOST_BYTES,
    PointRecord,
    PointRecordRejected,
    PostingType,
    SignedRecord,
    TillKey,
    public_pem,
)
from kazashi.world.clock import Clock, epoch
from kazashi.world.event_log import event_table
from kazashi.world.storage import open_store


class SaleRejected(Exception):
    """The till does not do that; the message says why, and nothing was changed."""


class RecordState(Enum):
    """Where a record is on its way."""

    WAITING = "waiting"
    ACKNOWLEDGED = "acknowledged"
    REFUSED = "refused"
    """The centre has said why it does not take it; it is kept for whoever looks into that."""
    DAMAGED = "damaged"
    """Its bytes do not fit its own signature any more: somebody, or the disk, has changed them."""


@dataclass(frozen=True, slots=True)
class Receipt:
    """What is printed. `points` None says that no card was shown, or why it gave none in `note`."""

    name: str
    shop: str
    at: int
    lines: tuple[tuple[str, int, int, bool], ...]
    """Goods, quantity, yen, whether they earn points."""
    total: int
    points: int | None
    note: str = ""


@dataclass(frozen=True, slots=True)
class Waiting:
    """A record that the centre has not acknowledged."""

    number: int
    signed: SignedRecord


@dataclass(frozen=True, slots=True)
class _Enrolled:
    """What an installation is: what the centre has handed out, its own key, and the policy that follows."""

    enrolment: Enrolment
    key: TillKey
    policy: CodePolicy


def store_name(shop: str, name: str) -> str:
    """The name of a till's store."""
    return f"till-{shop}-{name}"


class Till:
    """One till of one shop, on a disk of its own."""

    def __init__(
        self, directory: Path, shop: str, name: str, clock: Clock,
        find_mykey: Callable[[int], str | None] | None = None,
    ) -> None:  # fmt: skip
        """Open its store, or begin one. A new one has to be enrolled before it can sell. `find_mykey` asks the MyKey
        platform, for a centre that reads its identifiers. Raises EnrolmentDamaged and StoreFailed."""
        self.shop = shop
        self.till = name
        self._find_mykey = find_mykey
        self._clock = clock
        metadata = sa.MetaData()
        self._installation = sa.Table(
            "installation", metadata,
            sa.Column("name", sa.Text, primary_key=True),
            sa.Column("key", sa.LargeBinary, nullable=False),
            sa.Column("enrolment", sa.Text),
        )  # fmt: skip
        self._record = sa.Table(
            "record", metadata,
            sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
            sa.Column("body", sa.LargeBinary, nullable=False),
            sa.Column("signature", sa.LargeBinary, nullable=False),
            sa.Column("state", sa.Text, nullable=False, index=True),
            sa.Column("reason", sa.Text, nullable=False),
        )  # fmt: skip
        self._receipt = sa.Table(
            "receipt", metadata,
            sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
            sa.Column("name", sa.Text, unique=True, nullable=False),
            sa.Column("at", sa.BigInteger, nullable=False),
            sa.Column("lines", sa.Text, nullable=False),
            sa.Column("total", sa.Integer, nullable=False),
            sa.Column("eligible", sa.Integer, nullable=False),
            sa.Column("points", sa.Integer),
            sa.Column("reading", sa.Text, nullable=False),
            sa.Column("returned", sa.Text, nullable=False),
        )  # fmt: skip
        _, self._log = event_table(metadata)
        self.store = open_store(directory, "", store_name(shop, name), metadata)
        self._enrolled: _Enrolled | None = None
        self._load()

    # Enrolment

    @property
    def name(self) -> str:
        """SHOP/TILL/INSTALLATION. Raises SaleRejected for a till that is not enrolled."""
        return self._installed.enrolment.name

    @property
    def enrolled(self) -> bool:
        """Whether it may sell."""
        return self._enrolled is not None

    @property
    def enrolment(self) -> Enrolment:
        """What the centre has handed to it. Raises SaleRejected for a till that is not enrolled."""
        return self._installed.enrolment

    @property
    def _installed(self) -> _Enrolled:
        if self._enrolled is None:
            raise SaleRejected(f"the till {self.shop}/{self.till} is not enrolled with the centre yet")
        return self._enrolled

    def begin(self) -> bytes:
        """The public key (PEM) of an installation that is to be enrolled; its private half is on disk by now. Raises
        SaleRejected where one is enrolled: another begins on a disk of its own."""
        if self.enrolled:
            raise SaleRejected(f"{self.name} is enrolled already")
        key = TillKey.generate()
        with self.store.transaction() as connection:
            connection.execute(sa.delete(self._installation).where(self._installation.c.name == ""))
            connection.execute(sa.insert(self._installation), {"name": "", "key": key.pem, "enrolment": None})
        return public_pem(key.public)

    def enrol(self, enrolment: Enrolment) -> None:
        """Take what the centre has handed out for the key of `begin`. Raises SaleRejected, where that was for another
        key too, and EnrolmentDamaged."""
        table = self._installation
        with self.store.transaction() as connection:
            begun = connection.scalar(sa.select(table.c.key).where(table.c.name == ""))
            if begun is None or not enrolment.is_for(TillKey.from_pem(begun).public):
                raise SaleRejected("no enrolment was begun here, or another one was begun since")
            values = {"name": enrolment.name, "enrolment": enrolment.to_json()}
            connection.execute(sa.update(table).where(table.c.name == "").values(values))
            self._log(connection, self._clock.now(), "enrolled", {"name": enrolment.name})
        self._load()

    def credentials(self) -> tuple[bytes, bytes]:
        """The certificate and its key, as PEM: what TLS shows to the centre. Raises SaleRejected."""
        return self._installed.enrolment.certificate, self._installed.key.pem

    def _load(self) -> None:
        table = self._installation
        with self.store.reading() as connection:
            row = connection.execute(sa.select(table).where(table.c.name != "")).one_or_none()
        if row is not None:
            enrolment = Enrolment.from_json(row.enrolment)
            policy = enrolment.reading_policy(self._find_mykey)
            self._enrolled = _Enrolled(enrolment, TillKey.from_pem(row.key), policy)

    # Selling

    def sell(self, basket: Basket, card: CardReading | None = None) -> Receipt:
        """Sell what is in a basket. `card` is what was held over the register, None where nothing was. A card that
        gives no points does not stop the sale: the receipt says why. Raises SaleRejected and StoreFailed."""
        reading, note = "", ""
        if card is not None:
            try:
                reading = self._reading(card)
            except CodeRejected as refused:
                note = str(refused)
        at = epoch(self._clock.now())
        lines = tuple((line.item.name, line.quantity, line.yen, line.item.category.eligible) for line in basket.lines)
        with self.store.transaction() as connection:
            printed, name = self._next_receipt(connection)
            points = None
            if reading and basket.eligible:
                points = basket.points
                self._write(
                    connection, PostingType.PURCHASE, at, name, reading, basket.eligible, points,
                    lines=self._told(basket),
                    unchecked=card is not None and card.unchecked,
                )  # fmt: skip
            elif reading:
                note = "nothing here earns points"
            row = {"number": printed, "name": name, "at": at, "lines": json.dumps(lines, ensure_ascii=False),
                   "total": basket.total, "eligible": basket.eligible, "points": points, "reading": reading,
                   "returned": "[]"}  # fmt: skip
            connection.execute(sa.insert(self._receipt), row)
        return Receipt(name, self.shop, at, lines, basket.total, points, note)

    def show_later(self, receipt: str, card: CardReading) -> Receipt:
        """Points for a purchase whose card was forgotten. Once to a receipt. Raises SaleRejected."""
        try:
            reading = self._reading(card)
        except CodeRejected as refused:
            raise SaleRejected(str(refused)) from refused
        at = epoch(self._clock.now())
        with self.store.transaction() as connection:
            found = self._found(connection, receipt)
            if found.points is not None:
                raise SaleRejected(f"the receipt {receipt} has had its points already")
            kept = found.eligible - sum(yen for _, yen in json.loads(found.returned))
            if kept <= 0:
                raise SaleRejected(f"nothing on the receipt {receipt} earns points")
            points = points_of(kept)
            self._write(
                connection,
                PostingType.SHOWN_LATER,
                at,
                receipt,
                reading,
                kept,
                points,
                of=receipt,
                unchecked=card.unchecked,
            )
            self._update_receipt(connection, receipt, {"points": points, "reading": reading})
        return self.receipt(receipt)

    def take_back(self, receipt: str, places: Sequence[int]) -> Receipt:
        """Goods that are brought back: lines of a receipt, by their place from 1, each once. Points that were given
        for them are taken away. Answers a receipt of what is paid back. Raises SaleRejected."""
        at = epoch(self._clock.now())
        with self.store.transaction() as connection:
            found = self._found(connection, receipt)
            lines, returned = json.loads(found.lines), json.loads(found.returned)
            gone = {place for place, _ in returned}
            wanted = list(dict.fromkeys(places))
            for place in wanted:
                if not 1 <= place <= len(lines) or place in gone:
                    raise SaleRejected(f"line {place} is not on the receipt {receipt}, or was returned already")
            if not wanted:
                raise SaleRejected("say which lines are returned")
            before = found.eligible - sum(yen for _, yen in returned)
            now = [[place, lines[place - 1][2] if lines[place - 1][3] else 0] for place in wanted]
            less = sum(yen for _, yen in now)
            printed, name = self._next_receipt(connection)
            back = [lines[place - 1] for place in wanted]
            total = -sum(line[2] for line in back)
            points = None
            if found.points is not None and less:
                points = points_of(before - less) - points_of(before)
                self._write(connection, PostingType.RETURN, at, name, found.reading, -less, points, of=receipt)
            self._update_receipt(connection, receipt, {"returned": json.dumps(returned + now)})
            # Nothing can be returned from the receipt of a return.
            row = {"number": printed, "name": name, "at": at, "lines": json.dumps(back, ensure_ascii=False),
                   "total": total, "eligible": 0, "points": points, "reading": "",
                   "returned": json.dumps([[place, 0] for place in range(1, len(back) + 1)])}  # fmt: skip
            connection.execute(sa.insert(self._receipt), row)
        return replace(self.receipt(name), note=f"return of {receipt}")

    def receipt(self, name: str) -> Receipt:
        """A receipt as it was printed. Raises SaleRejected."""
        with self.store.reading() as connection:
            found = self._found(connection, name)
        lines = tuple(
            (str(item), int(count), int(yen), bool(earns)) for item, count, yen, earns in json.loads(found.lines)
        )
        return Receipt(name, self.shop, found.at, lines, found.total, found.points)

    # What waits for the centre

    def waiting(self, most: int = 500) -> list[Waiting]:
        """The oldest records that the centre has not acknowledged. One whose bytes do not fit its signature is put
        aside."""
        table = self._record.c
        query = sa.select(table.number, table.body, table.signature).where(table.state == RecordState.WAITING.value)
        with self.store.reading() as connection:
            rows = connection.execute(query.order_by(table.number).limit(most)).all()
        key = self._installed.key.public
        found = []
        for row in rows:
            try:
                signed = SignedRecord(bytes(row.body), bytes(row.signature))
                if signed.verified(key).number != row.number:
                    raise PointRecordRejected("misplaced", "it stands under another number than its own")
            except (PointRecordRejected, TypeError) as refused:  # SQLite lets anybody put a text where bytes were
                self.settle({row.number: (RecordState.DAMAGED, str(refused))})
            else:
                found.append(Waiting(row.number, signed))
        return found

    def settle(self, answers: dict[int, tuple[RecordState, str]]) -> None:
        """Note what the centre, or a look at the disk, has said of records. An acknowledged one stays so."""
        table = self._record
        with self.store.transaction() as connection:
            for number, (state, reason) in answers.items():
                connection.execute(
                    sa.update(table)
                    .where(table.c.number == number, table.c.state != RecordState.ACKNOWLEDGED.value)
                    .values(state=state.value, reason=reason)
                )
                if state not in (RecordState.ACKNOWLEDGED, RecordState.WAITING):
                    self._log(connection, self._clock.now(), state.value, {"number": number, "reason": reason})

    def states(self) -> dict[RecordState, int]:
        """How many records are where."""
        table = self._record.c
        with self.store.reading() as connection:
            rows = connection.execute(sa.select(table.state, sa.func.count()).group_by(table.state))
            counted = {row.state: int(row[1]) for row in rows}
        return {state: counted.get(state.value, 0) for state in RecordState}

    def records(self, *states: RecordState) -> list[tuple[RecordState, str, PointRecord]]:
        """Records in these states (all), with the reason; those that can be read."""
        return [(state, reason, record) for _, state, reason, record in self._kept(*states) if record is not None]

    def unreadable(self) -> list[tuple[int, RecordState, str]]:
        """The records of which somebody, or the disk, has left nothing that can be read: number, state and reason."""
        return [(number, state, reason) for number, state, reason, record in self._kept() if record is None]

    def _kept(self, *states: RecordState) -> list[tuple[int, RecordState, str, PointRecord | None]]:
        table = self._record.c
        query = sa.select(table.number, table.state, table.reason, table.body).order_by(table.number)
        if states:
            query = query.where(table.state.in_([state.value for state in states]))
        with self.store.reading() as connection:
            rows = connection.execute(query).all()
        found: list[tuple[int, RecordState, str, PointRecord | None]] = []
        for number, state, reason, body in rows:
            try:
                record = PointRecord.from_bytes(bytes(body))
            except (PointRecordRejected, TypeError):  # SQLite lets anybody put a text where bytes were
                record = None
            found.append((number, RecordState(state), reason, record))
        return found

    # Within

    def _reading(self, card: CardReading) -> str:
        """The code of a card that is good. Raises CodeRejected."""
        if card.refused:
            raise CodeRejected(f"the card gives no points: {card.refused}")
        return self._installed.policy.read(card.serial, self.shop)

    def _told(self, basket: Basket) -> tuple[tuple[str, int, int], ...]:
        if self._installed.enrolment.detail is Detail.AMOUNT:
            return ()
        return tuple(
            (line.item.code, line.quantity, line.yen) for line in basket.lines if line.item.category.eligible
        )  # fmt: skip

    def _next_receipt(self, connection: sa.Connection) -> tuple[int, str]:
        number = int(connection.scalar(sa.select(sa.func.max(self._receipt.c.number))) or 0) + 1
        return number, f"{self.name}/{number}"

    def _write(
        self, connection: sa.Connection, what: PostingType, at: int, receipt: str, reading: str, eligible: int,
        points: int,
        **more: Any,
    ) -> None:  # fmt: skip
        """Sign the next record and write it."""
        installed = self._installed
        number = int(connection.scalar(sa.select(sa.func.max(self._record.c.number))) or 0) + 1
        record = PointRecord(
            self.name, number, what, at, receipt, installed.enrolment.policy, reading, eligible, points, **more
        )
        try:
            # So long a list of goods is not worth a customer's points: the sum is told without it.
            fits = len(record.to_bytes()) <= MOST_BYTES
            signed = installed.key.sign(record if fits else replace(record, lines=()))
        except PointRecordRejected as refused:
            raise SaleRejected(str(refused)) from refused
        row = {"number": number, "body": signed.body, "signature": signed.signature,
               "state": RecordState.WAITING.value, "reason": ""}  # fmt: skip
        connection.execute(sa.insert(self._record), row)

    def _found(self, connection: sa.Connection, receipt: str) -> Any:
        found = connection.execute(sa.select(self._receipt).where(self._receipt.c.name == receipt)).one_or_none()
        if found is None:
            raise SaleRejected(f"this till has printed no receipt {receipt}")
        return found

    def _update_receipt(self, connection: sa.Connection, receipt: str, values: dict[str, object]) -> None:
        connection.execute(sa.update(self._receipt).where(self._receipt.c.name == receipt).values(values))
