"""The till: it sells, grants points, makes receipts, and keeps every record until the centre has it.

A receipt is on disk before it is printed. A record's number is assigned in the transaction that writes the record. A
till that starts again with an empty disk is a new *installation*, with its own key and numbers, so that no number is
ever used twice.
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
from kazashi.world.reasoned import ReasonedError
from kazashi.world.storage import open_store


class SaleReason(Enum):
    """Why a till refuses a sale, a later card, a return or an enrolment."""

    NOT_ENROLLED = "not-enrolled"
    """The till has no enrolment from the centre yet."""
    ALREADY_ENROLLED = "already-enrolled"
    OTHER_ENROLMENT = "other-enrolment"
    """The enrolment is not for the key that the till generated last."""
    NO_CODE = "no-code"
    """The card gives no points, or has no code under the centre's policy."""
    NO_RECEIPT = "no-receipt"
    """The till has not printed a receipt with that name."""
    POINTS_GRANTED = "points-granted"
    """The receipt has its points already."""
    NOTHING_ELIGIBLE = "nothing-eligible"
    """No line that is left on the receipt earns points."""
    NO_LINES = "no-lines"
    """A return names no lines."""
    LINE_NOT_RETURNABLE = "line-not-returnable"
    """The receipt has no such line, or it was returned already."""
    INVALID_RECORD = "invalid-record"
    """The record of the sale would be invalid, so it was not signed."""


class SaleRejected(ReasonedError[SaleReason]):
    """The till refuses the request for `reason`; the message explains it. Nothing was changed."""


class RecordState(Enum):
    """The state of a record on its way to the centre."""

    WAITING = "waiting"
    """The centre has not replied yet."""
    ACKNOWLEDGED = "acknowledged"
    REFUSED = "refused"
    """The centre refused it and gave a reason. The record is kept for investigation."""
    DAMAGED = "damaged"
    """Its bytes no longer match its signature: somebody, or the disk, has changed them."""


@dataclass(frozen=True, slots=True)
class Receipt:
    """A printed receipt. `points` is None if no card was shown or it gave no points; `note` then says why it gave
    none."""

    name: str
    shop: str
    at: int
    """The time in seconds since 1970."""
    lines: tuple[tuple[str, int, int, bool], ...]
    """The name of the goods, the quantity, the yen, and whether they earn points."""
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
    """An enrolled installation: the enrolment from the centre, its own key, and its policy."""

    enrolment: Enrolment
    key: TillKey
    policy: CodePolicy


def store_name(shop: str, name: str) -> str:
    """Return the name of a till's store."""
    return f"till-{shop}-{name}"


class Till:
    """One till of one shop, with its own store."""

    def __init__(
        self, directory: Path, shop: str, name: str, clock: Clock,
        find_mykey: Callable[[int], str | None] | None = None,
    ) -> None:  # fmt: skip
        """Open the till's store, or create it. A new till must be enrolled before it can sell.

        `find_mykey` looks up a MyKey ID at the MyKey platform; the mykey policy needs it. Raises EnrolmentDamaged and
        StoreFailed.
        """
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
        """SHOP/TILL/INSTALLATION. Raises SaleRejected if the till is not enrolled."""
        return self._installed.enrolment.name

    @property
    def enrolled(self) -> bool:
        """Whether the till is enrolled and can sell."""
        return self._enrolled is not None

    @property
    def enrolment(self) -> Enrolment:
        """The enrolment from the centre. Raises SaleRejected if the till is not enrolled."""
        return self._installed.enrolment

    @property
    def _installed(self) -> _Enrolled:
        if self._enrolled is None:
            raise SaleRejected(
                SaleReason.NOT_ENROLLED, f"the till {self.shop}/{self.till} is not enrolled with the centre yet"
            )
        return self._enrolled

    def begin(self) -> bytes:
        """Generate a key for a new installation and return its public key (PEM).

        The private key is on disk when this returns. Raises SaleRejected if the till is enrolled: another installation
        needs a store of its own.
        """
        if self.enrolled:
            raise SaleRejected(SaleReason.ALREADY_ENROLLED, f"the till {self.name} is already enrolled")
        key = TillKey.generate()
        with self.store.transaction() as connection:
            connection.execute(sa.delete(self._installation).where(self._installation.c.name == ""))
            connection.execute(sa.insert(self._installation), {"name": "", "key": key.pem, "enrolment": None})
        return public_pem(key.public)

    def enrol(self, enrolment: Enrolment) -> None:
        """Store the centre's enrolment for the key from `begin`. Raises SaleRejected if it is for another key, and
        EnrolmentDamaged."""
        table = self._installation
        with self.store.transaction() as connection:
            key = connection.scalar(sa.select(table.c.key).where(table.c.name == ""))
            if key is None or not enrolment.is_for(TillKey.from_pem(key).public):
                raise SaleRejected(
                    SaleReason.OTHER_ENROLMENT,
                    f"the enrolment of {enrolment.name} is not for this till's latest key; enrol the till again",
                )
            values = {"name": enrolment.name, "enrolment": enrolment.to_json()}
            connection.execute(sa.update(table).where(table.c.name == "").values(values))
            self._log(connection, self._clock.now(), "enrolled", {"name": enrolment.name})
        self._load()

    def credentials(self) -> tuple[bytes, bytes]:
        """Return the certificate and its private key (PEM) for TLS to the centre. Raises SaleRejected."""
        return self._installed.enrolment.certificate, self._installed.key.pem

    def _load(self) -> None:
        table = self._installation
        with self.store.reading() as connection:
            row = connection.execute(sa.select(table).where(table.c.name != "")).one_or_none()
        if row is not None:
            enrolment = Enrolment.from_json(row.enrolment)
            policy = enrolment.reading_policy(self._find_mykey)
            self._enrolled = _Enrolled(enrolment, TillKey.from_pem(row.key), policy)

    # Sales

    def sell(self, basket: Basket, card: CardReading | None = None) -> Receipt:
        """Sell a basket, with the card that the customer shows, if any.

        A card that gives no points does not stop the sale; the receipt says why. Raises SaleRejected and StoreFailed.
        """
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
                    lines=self._detail(basket),
                    unchecked=card is not None and card.unchecked,
                )  # fmt: skip
            elif reading:
                note = "no item earns points"
            row = {"number": printed, "name": name, "at": at, "lines": json.dumps(lines, ensure_ascii=False),
                   "total": basket.total, "eligible": basket.eligible, "points": points, "reading": reading,
                   "returned": "[]"}  # fmt: skip
            connection.execute(sa.insert(self._receipt), row)
        return Receipt(name, self.shop, at, lines, basket.total, points, note)

    def show_later(self, receipt: str, card: CardReading) -> Receipt:
        """Grant the points for an earlier purchase without a card, once per receipt. Raises SaleRejected."""
        try:
            reading = self._reading(card)
        except CodeRejected as refused:
            raise SaleRejected(SaleReason.NO_CODE, str(refused)) from refused
        at = epoch(self._clock.now())
        with self.store.transaction() as connection:
            row = self._receipt_row(connection, receipt)
            if row.points is not None:
                raise SaleRejected(SaleReason.POINTS_GRANTED, f"the receipt {receipt} has its points already")
            kept = row.eligible - sum(yen for _, yen in json.loads(row.returned))
            if kept <= 0:
                raise SaleRejected(SaleReason.NOTHING_ELIGIBLE, f"no item on the receipt {receipt} earns points")
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
        """Return lines of a receipt, given by their place from 1, each once.

        Points granted for them are taken away. Returns a receipt for the refunded price. Raises SaleRejected.
        """
        at = epoch(self._clock.now())
        with self.store.transaction() as connection:
            original = self._receipt_row(connection, receipt)
            lines, returned = json.loads(original.lines), json.loads(original.returned)
            gone = {place for place, _ in returned}
            wanted = list(dict.fromkeys(places))
            for place in wanted:
                if not 1 <= place <= len(lines) or place in gone:
                    raise SaleRejected(
                        SaleReason.LINE_NOT_RETURNABLE,
                        f"line {place} is not on the receipt {receipt}, or was already returned",
                    )
            if not wanted:
                raise SaleRejected(SaleReason.NO_LINES, f"name the lines of the receipt {receipt} to return")
            before = original.eligible - sum(yen for _, yen in returned)
            now = [[place, lines[place - 1][2] if lines[place - 1][3] else 0] for place in wanted]
            less = sum(yen for _, yen in now)
            printed, name = self._next_receipt(connection)
            back = [lines[place - 1] for place in wanted]
            total = -sum(line[2] for line in back)
            points = None
            if original.points is not None and less:
                points = points_of(before - less) - points_of(before)
                self._write(connection, PostingType.RETURN, at, name, original.reading, -less, points, of=receipt)
            self._update_receipt(connection, receipt, {"returned": json.dumps(returned + now)})
            # All lines of a return's receipt are marked as returned, so that none can be returned again.
            row = {"number": printed, "name": name, "at": at, "lines": json.dumps(back, ensure_ascii=False),
                   "total": total, "eligible": 0, "points": points, "reading": "",
                   "returned": json.dumps([[place, 0] for place in range(1, len(back) + 1)])}  # fmt: skip
            connection.execute(sa.insert(self._receipt), row)
        return replace(self.receipt(name), note=f"return of {receipt}")

    def receipt(self, name: str) -> Receipt:
        """Return a receipt by its name. Raises SaleRejected if the till has not printed it."""
        with self.store.reading() as connection:
            row = self._receipt_row(connection, name)
        lines = tuple(
            (str(item), int(count), int(yen), bool(earns)) for item, count, yen, earns in json.loads(row.lines)
        )
        return Receipt(name, self.shop, row.at, lines, row.total, row.points)

    # Records for the centre

    def waiting(self, most: int = 500) -> list[Waiting]:
        """Return the oldest records that wait for the centre, at most `most`. A record whose signature does not verify
        becomes DAMAGED and is left out."""
        table = self._record.c
        query = sa.select(table.number, table.body, table.signature).where(table.state == RecordState.WAITING.value)
        with self.store.reading() as connection:
            rows = connection.execute(query.order_by(table.number).limit(most)).all()
        key = self._installed.key.public
        waiting = []
        for row in rows:
            try:
                signed = SignedRecord(bytes(row.body), bytes(row.signature))
                if signed.verified(key).number != row.number:
                    raise PointRecordRejected("misplaced", "the record is stored under a number that is not its own")
            except (PointRecordRejected, TypeError) as refused:  # SQLite also stores a text in a bytes column
                self.settle({row.number: (RecordState.DAMAGED, str(refused))})
            else:
                waiting.append(Waiting(row.number, signed))
        return waiting

    def settle(self, results: dict[int, tuple[RecordState, str]]) -> None:
        """Set the state and reason of records, by number. An acknowledged record stays acknowledged."""
        table = self._record
        with self.store.transaction() as connection:
            for number, (state, reason) in results.items():
                connection.execute(
                    sa.update(table)
                    .where(table.c.number == number, table.c.state != RecordState.ACKNOWLEDGED.value)
                    .values(state=state.value, reason=reason)
                )
                if state not in (RecordState.ACKNOWLEDGED, RecordState.WAITING):
                    self._log(connection, self._clock.now(), state.value, {"number": number, "reason": reason})

    def states(self) -> dict[RecordState, int]:
        """Return the number of records in each state."""
        table = self._record.c
        with self.store.reading() as connection:
            rows = connection.execute(sa.select(table.state, sa.func.count()).group_by(table.state))
            counts = {row.state: int(row[1]) for row in rows}
        return {state: counts.get(state.value, 0) for state in RecordState}

    def records(self, *states: RecordState) -> list[tuple[RecordState, str, PointRecord]]:
        """Return the state, the reason and the record of every readable record in these states, or in any state."""
        return [(state, reason, record) for _, state, reason, record in self._kept(*states) if record is not None]

    def unreadable(self) -> list[tuple[int, RecordState, str]]:
        """Return the number, state and reason of every record whose bytes can no longer be read."""
        return [(number, state, reason) for number, state, reason, record in self._kept() if record is None]

    def _kept(self, *states: RecordState) -> list[tuple[int, RecordState, str, PointRecord | None]]:
        table = self._record.c
        query = sa.select(table.number, table.state, table.reason, table.body).order_by(table.number)
        if states:
            query = query.where(table.state.in_([state.value for state in states]))
        with self.store.reading() as connection:
            rows = connection.execute(query).all()
        records: list[tuple[int, RecordState, str, PointRecord | None]] = []
        for number, state, reason, body in rows:
            try:
                record = PointRecord.from_bytes(bytes(body))
            except (PointRecordRejected, TypeError):  # SQLite also stores a text in a bytes column
                record = None
            records.append((number, RecordState(state), reason, record))
        return records

    # Helpers

    def _reading(self, card: CardReading) -> str:
        """Return the reading of a valid card. Raises CodeRejected."""
        if card.refused:
            raise CodeRejected(f"the card gives no points: {card.refused}")
        return self._installed.policy.read(card.serial, self.shop)

    def _detail(self, basket: Basket) -> tuple[tuple[str, int, int], ...]:
        """Return the lines that the centre is to get: code, quantity and yen."""
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
        """Sign the next record and store it."""
        installed = self._installed
        number = int(connection.scalar(sa.select(sa.func.max(self._record.c.number))) or 0) + 1
        record = PointRecord(
            self.name, number, what, at, receipt, installed.enrolment.policy, reading, eligible, points, **more
        )
        try:
            # If the lines do not fit, only the sum is sent, so that the customer still gets the points.
            fits = len(record.to_bytes()) <= MOST_BYTES
            signed = installed.key.sign(record if fits else replace(record, lines=()))
        except PointRecordRejected as refused:
            raise SaleRejected(SaleReason.INVALID_RECORD, str(refused)) from refused
        row = {"number": number, "body": signed.body, "signature": signed.signature,
               "state": RecordState.WAITING.value, "reason": ""}  # fmt: skip
        connection.execute(sa.insert(self._record), row)

    def _receipt_row(self, connection: sa.Connection, receipt: str) -> Any:
        row = connection.execute(sa.select(self._receipt).where(self._receipt.c.name == receipt)).one_or_none()
        if row is None:
            raise SaleRejected(SaleReason.NO_RECEIPT, f"this till has not printed a receipt {receipt}")
        return row

    def _update_receipt(self, connection: sa.Connection, receipt: str, values: dict[str, object]) -> None:
        connection.execute(sa.update(self._receipt).where(self._receipt.c.name == receipt).values(values))
