"""The accumulation centre (還付ポイント蓄積センター): it enrols tills, takes records in once, and keeps the ledger."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import Any

import sqlalchemy as sa
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from kazashi.refund_points.codes import (
    POLICIES,
    AuthenticationSerial,
    CodeByCentre,
    CodePolicy,
    CodeRejected,
    KeyedByShop,
    MyKeyId,
)
from kazashi.refund_points.enrolment import Detail, Enrolment
from kazashi.refund_points.ledger import FIRST, GRANTED, Ledger
from kazashi.refund_points.record import (
    PointRecord,
    PointRecordRejected,
    SignedRecord,
    TillName,
    key_from_pem,
    public_pem,
)
from kazashi.relying_party.mykey.mykey import MyKeyPlatform
from kazashi.web.mutual_tls import Credentials, ServiceAuthority
from kazashi.world.clock import JST, epoch
from kazashi.world.event_log import event_table
from kazashi.world.home import World
from kazashi.world.rng import secure_random
from kazashi.world.secret import Secrets
from kazashi.world.storage import Position

ACTOR = "refund_centre"
"""The name of this actor's store."""

MOST_RECORDS = 2_000
"""In one batch."""

LATE = timedelta(days=400)
AHEAD = timedelta(days=1)
"""A till's clock is believed within these bounds of the centre's: so long may a till be cut off, so far may it be
ahead."""

_NAME = "Kazashi refund points"
_LONGEST_NAME = 64
"""Of a common name (X.520)."""


class EnrolmentRejected(Exception):
    """The centre does not enrol that till; the message says why."""


class PolicySettled(Exception):
    """The centre was begun with another policy, or no policy has that name; the ledger's codes are of one alone."""


class RecordOutcome(Enum):
    """What became of a record."""

    ACCEPTED = "accepted"
    AGAIN = "again"
    """It was there already, the same to the last byte."""
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class RecordResult:
    """The centre's answer to one record; `number` is what the batch called it."""

    answer: RecordOutcome
    reason: str = ""
    words: str = ""

    def as_dict(self) -> dict[str, str]:
        """As JSON has it."""
        return {"answer": self.answer.value, "reason": self.reason, "words": self.words}


@dataclass(frozen=True, slots=True)
class TillEntry:
    """A till installation as the centre knows it. `state` is active, replaced (by a newer installation) or revoked."""

    id: int
    name: str
    shop: str
    key: bytes
    state: str


@dataclass(frozen=True, slots=True)
class _Admitted:
    """A record that its till has signed, the account code that it counts for, and the SHA-256 of its bytes."""

    record: PointRecord
    code: str
    digest: str


class Centre:
    """The centre of one world. Several processes may serve it at once on one database."""

    def __init__(
        self, world: World, policy: str | None = None, detail: Detail | None = None, mykey: MyKeyPlatform | None = None
    ) -> None:
        """`policy` names which code tills read, and `detail` what is kept of a purchase; both are settled when the
        centre begins (None: as they are, or the authentication certificate's serial number and the amount). `mykey` is
        needed for the policy of that name. Raises PolicySettled."""
        self._world = world
        self.clock = world.clock
        metadata = sa.MetaData()
        self.ledger = Ledger(metadata)
        self._till = sa.Table(
            "till", metadata,
            sa.Column("id", Position, primary_key=True),
            sa.Column("shop", sa.Text, nullable=False),
            sa.Column("till", sa.Text, nullable=False),
            sa.Column("installation", sa.Integer, nullable=False),
            sa.Column("key", sa.LargeBinary, nullable=False),
            sa.Column("state", sa.Text, nullable=False),
            sa.UniqueConstraint("shop", "till", "installation"),
        )  # fmt: skip
        self._shop = sa.Table(
            "shop", metadata,
            sa.Column("shop", sa.Text, primary_key=True),
            sa.Column("secret", sa.LargeBinary, nullable=False),
        )  # fmt: skip
        self._secrets = Secrets(metadata)
        self._refused = sa.Table(
            "refused", metadata,
            sa.Column("digest", sa.Text, primary_key=True),
            sa.Column("till", sa.Text, nullable=False),
            sa.Column("reason", sa.Text, nullable=False),
            sa.Column("words", sa.Text, nullable=False),
            sa.Column("body", sa.LargeBinary, nullable=False),
            sa.Column("signature", sa.LargeBinary, nullable=False),
            sa.Column("at", sa.BigInteger, nullable=False),
        )  # fmt: skip
        self._closed = sa.Table(
            "closed_year", metadata, sa.Column("year", sa.Integer, primary_key=True, autoincrement=False)
        )
        _, self.log = event_table(metadata)
        self.store = world.store(ACTOR, metadata)
        self._authority = self._begin(policy, detail)
        self.detail = Detail(self._held["detail"].decode("ascii"))
        self.policy = self._policy(mykey)

    # What the centre is

    def _begin(self, policy: str | None, detail: Detail | None) -> ServiceAuthority:
        """The centre's keys and its policies, settled when it begins."""
        if policy is not None and policy not in POLICIES:
            raise PolicySettled(f"no policy is called {policy!r}; there are {', '.join(POLICIES)}")

        def make() -> dict[str, bytes]:
            self.ledger.begin(connection)
            begun = ServiceAuthority.begin(_NAME, self.clock.now())
            return {
                "authority-key": begun.key,
                "authority": begun.certificate,
                "sealing": X25519PrivateKey.generate().private_bytes_raw(),
                "codes": secure_random(256).to_bytes(32),
                "policy": (policy or AuthenticationSerial.name).encode("ascii"),
                "detail": (detail or Detail.AMOUNT).value.encode("ascii"),
            }

        with self.store.alone() as connection:
            self._held = held = self._secrets.begin(connection, "authority", make)
        for asked, settled in ((policy, held["policy"]), (detail.value if detail else None, held["detail"])):
            if asked is not None and asked != settled.decode("ascii"):
                raise PolicySettled(f"this centre was begun with {settled.decode('ascii')}, and stays with it")
        return ServiceAuthority(_NAME, held["authority-key"], held["authority"])

    def _policy(self, mykey: MyKeyPlatform | None) -> CodePolicy:
        match name := self._held["policy"].decode("ascii"):
            case AuthenticationSerial.name:
                return AuthenticationSerial()
            case KeyedByShop.name:
                return KeyedByShop(self.shop_secret)
            case CodeByCentre.name:
                return CodeByCentre(self._sealing.public_key(), self._sealing, self._held["codes"])
            case MyKeyId.name if mykey is not None:
                return MyKeyId(mykey.find)
        raise PolicySettled(f"this centre reads {name}, and nobody has told it where to ask for that")

    @property
    def _sealing(self) -> X25519PrivateKey:
        return X25519PrivateKey.from_private_bytes(self._held["sealing"])

    def _material(self, shop: str) -> bytes:
        """What a till of a shop needs to read its code."""
        match self.policy:
            case KeyedByShop():
                return self.shop_secret(shop)
            case CodeByCentre():
                return self._sealing.public_key().public_bytes_raw()
        return b""

    @property
    def authority(self) -> bytes:
        """The certificate (PEM) under which tills' certificates stand, and the centre's own."""
        return self._authority.certificate

    def server_credentials(self, host: str = "localhost") -> Credentials:
        """What the centre's TLS server shows, for a new key."""
        return self._authority.credentials(host, self.clock.now(), host=host)

    # Tills

    def enrol(self, shop: str, till: str, key: bytes) -> Enrolment:
        """Enrol an installation of a till with its public key (PEM); an earlier one is replaced: what it recorded is
        still taken, and it is told from the new one by name. Raises EnrolmentRejected."""
        try:
            public = key_from_pem(key)
        except (ValueError, TypeError) as error:
            raise EnrolmentRejected(f"this is no till's key: {error}") from error
        table = self._till
        with self.store.alone() as connection:
            here = (table.c.shop == shop) & (table.c.till == till)
            last = connection.scalar(sa.select(sa.func.max(table.c.installation)).where(here)) or 0
            try:
                name = str(TillName(shop, till, last + 1))
            except ValueError as error:
                raise EnrolmentRejected(str(error)) from error
            if len(name) > _LONGEST_NAME:
                raise EnrolmentRejected(f"{name} is too long for a certificate: {_LONGEST_NAME} letters in all")
            active = here & (table.c.state == "active")
            connection.execute(sa.update(table).where(active).values(state="replaced"))
            row = {"shop": shop, "till": till, "installation": last + 1, "key": public_pem(public), "state": "active"}
            connection.execute(sa.insert(table), row)
            self._shop_secret(connection, shop)
            self.log(connection, self.clock.now(), "till enrolled", {"till": name})
            pem = self._authority.issue(name, public, self.clock.now())
        return Enrolment(name, pem, self.authority, self.policy.name, self.detail, self._material(shop))

    def revoke_till(self, name: str) -> None:
        """Take nothing more from an installation. Raises EnrolmentRejected for one that is not known."""
        found = self.till(name)
        if found is None:
            raise EnrolmentRejected(f"no till is called {name}")
        with self.store.transaction() as connection:
            connection.execute(sa.update(self._till).where(self._till.c.id == found.id).values(state="revoked"))
            self.log(connection, self.clock.now(), "till revoked", {"till": name})

    def till(self, name: str) -> TillEntry | None:
        """An installation by its name, as it is at this moment."""
        try:
            wanted = TillName.parse(name)
        except ValueError:
            return None
        table = self._till.c
        query = sa.select(self._till).where(
            table.shop == wanted.shop, table.till == wanted.till, table.installation == wanted.installation
        )
        with self.store.reading() as connection:
            row = connection.execute(query).one_or_none()
        return None if row is None else TillEntry(row.id, name, row.shop, bytes(row.key), row.state)

    def tills(self) -> list[TillEntry]:
        """All installations."""
        with self.store.reading() as connection:
            rows = connection.execute(sa.select(self._till).order_by(self._till.c.id)).all()
        return [TillEntry(row.id, str(TillName(row.shop, row.till, row.installation)), row.shop, bytes(row.key),
                          row.state) for row in rows]  # fmt: skip

    def shops(self) -> list[str]:
        """The names of all shops."""
        with self.store.reading() as connection:
            return list(connection.scalars(sa.select(self._shop.c.shop)))

    def shop_secret(self, shop: str) -> bytes:
        """A shop's secret. Raises KeyError for a shop without one."""
        with self.store.reading() as connection:
            found = connection.scalar(sa.select(self._shop.c.secret).where(self._shop.c.shop == shop))
        if found is None:
            raise KeyError(shop)
        return bytes(found)

    def _shop_secret(self, connection: sa.Connection, shop: str) -> None:
        sql = "INSERT INTO shop (shop, secret) VALUES (:shop, :secret) ON CONFLICT DO NOTHING"
        connection.execute(sa.text(sql), {"shop": shop, "secret": secure_random(256).to_bytes(32)})

    # Records

    def receive(self, till: str, unverified: Sequence[Mapping[str, Any]]) -> list[RecordResult]:
        """Take a batch in that came over a connection which a till's certificate has opened. Whatever is repeated,
        in any order, or was cut off before, counts once. Answers one result to each record, once all that was
        accepted is on disk.

        Raises StoreFailed; nothing was taken in then. What is refused is kept with the reason.
        """
        if not unverified:
            return []
        entry, now = self.till(till), self.clock.now()
        judged = [self._admitted(till, entry, wire) for wire in unverified]
        admitted = [one for one in judged if isinstance(one, _Admitted)]
        with self.store.transaction() as connection:
            posted = iter(self._post(connection, entry, admitted, now) if entry is not None else ())
            results = [one if isinstance(one, RecordResult) else next(posted) for one in judged]
            self._keep_refused(connection, [
                _refusal(till, wire, result, now)
                for wire, result in zip(unverified, results, strict=True) if result.answer is RecordOutcome.REFUSED
            ])  # fmt: skip
        return results

    def _admitted(self, till: str, entry: TillEntry | None, wire: Mapping[str, Any]) -> _Admitted | RecordResult:
        """A record that may be posted, or the result of one that is refused whatever the ledger holds."""
        try:
            if entry is None or entry.state == "revoked":
                raise PointRecordRejected("revoked-till", f"nothing is taken from the till {till} any more")
            signed = SignedRecord.from_wire(wire)
            record = signed.verified(key_from_pem(entry.key))
            if record.till != till:
                raise PointRecordRejected("other-till", f"the record is of {record.till}, and {till} has brought it")
            if record.policy != self.policy.name:
                raise PointRecordRejected("other-policy", f"this centre reads {self.policy.name}, not {record.policy}")
            code = self.policy.account(record.reading, record.shop)
        except CodeRejected as refused:
            return RecordResult(RecordOutcome.REFUSED, "no-code", str(refused))
        except PointRecordRejected as refused:
            return RecordResult(RecordOutcome.REFUSED, refused.reason, str(refused))
        return _Admitted(record, code, hashlib.sha256(signed.body).hexdigest())

    def _post(
        self, connection: sa.Connection, entry: TillEntry, admitted: Sequence[_Admitted], now: datetime
    ) -> list[RecordResult]:
        """Post records in the ledger that are not there yet. Returns one result to each."""
        if not admitted:
            return []
        closed = set(connection.scalars(sa.select(self._closed.c.year)))
        years = [self._year(one.record, now, closed) for one in admitted]
        accounts = self.ledger.accounts(
            connection, ((one.code, year) for one, (year, _) in zip(admitted, years, strict=True))
        )
        rows, keeps = [], self.detail is Detail.LINES
        for one, (year, doubtful) in zip(admitted, years, strict=True):
            record, person = one.record, accounts[one.code, year]
            gives = record.points >= 0
            rows.append(
                {"debit": GRANTED if gives else person, "credit": person if gives else GRANTED,
                 "points": abs(record.points), "at": epoch(now), "till": entry.id, "number": record.number,
                 "digest": one.digest, "bought": record.at, "eligible": record.eligible, "receipt": record.receipt,
                 "of": record.of, "doubtful": doubtful,
                 "lines": json.dumps(record.lines, ensure_ascii=False) if keeps and record.lines else None}
            )  # fmt: skip
        fresh = self.ledger.record(connection, rows)
        there = self.ledger.digests(connection, {(entry.id, one.record.number) for one in admitted} - fresh)
        results = []
        for one in admitted:
            key = (entry.id, one.record.number)
            if key in fresh and key not in there:
                there[key] = one.digest
                results.append(RecordResult(RecordOutcome.ACCEPTED))
            elif there.get(key) == one.digest:
                results.append(RecordResult(RecordOutcome.AGAIN))
            else:
                words = f"another record has the number {one.record.number} of {entry.name}; set the till up anew"
                results.append(RecordResult(RecordOutcome.REFUSED, "number-used", words))
        return results

    def _year(self, record: PointRecord, now: datetime, closed: set[int]) -> tuple[int, bool]:
        """The year that a record counts for, in Japan's time, and whether its till's clock is not to be believed:
        then the centre's own clock decides. What arrives after its year was closed counts for the year in which it
        arrives."""
        received = epoch(now)
        doubtful = not received - LATE.total_seconds() <= record.at <= received + AHEAD.total_seconds()
        year = datetime.fromtimestamp(received if doubtful else record.at, UTC).astimezone(JST).year
        return (now.astimezone(JST).year if year in closed else year), doubtful

    def close_year(self, year: int) -> None:
        """Take nothing more in for a year that has passed. Raises ValueError for the current one or a later."""
        if year >= self.clock.now().astimezone(JST).year:
            raise ValueError(f"the year {year} has not passed")
        with self.store.transaction() as connection:
            connection.execute(
                sa.text("INSERT INTO closed_year (year) VALUES (:year) ON CONFLICT DO NOTHING"), {"year": year}
            )
            self.log(connection, self.clock.now(), "year closed", {"year": year})

    def taken(self, name: str) -> dict[int, int]:
        """The points of each record that was taken of an installation, by its number."""
        entry = self.till(name)
        if entry is None:
            return {}
        table = self.ledger.posting.c
        signed = sa.case((table.debit == GRANTED, table.points), else_=-table.points)
        with self.store.reading() as connection:
            rows = connection.execute(sa.select(table.number, signed).where(table.till == entry.id)).all()
        return {row[0]: row[1] for row in rows}

    def posting_of(self, name: str, number: int) -> dict[str, Any]:
        """All that is kept of a record, in words; empty where it has not come."""
        entry = self.till(name)
        posting, account = self.ledger.posting.c, self.ledger.account.c
        if entry is None:
            return {}
        query = (
            sa.select(account.code, account.year, posting.points, posting.eligible, posting.bought, posting.receipt,
                      posting.lines)
            .join_from(self.ledger.posting, self.ledger.account, account.id.in_([posting.credit, posting.debit]))
            .where(posting.till == entry.id, posting.number == number, account.id >= FIRST)
        )  # fmt: skip
        with self.store.reading() as connection:
            row = connection.execute(query).one_or_none()
        if row is None:
            return {}
        return {
            "account code": row.code, "year": row.year, "points": row.points, "eligible yen": row.eligible,
            "bought at": row.bought, "shop": entry.shop, "receipt": row.receipt, "lines": row.lines or "not kept",
        }  # fmt: skip

    def accounts(self) -> list[tuple[str, int, int]]:
        """Every account of a person with its code, its year, and the points in it. Asks for the whole ledger."""
        account, posting = self.ledger.account, self.ledger.posting.c
        given = sa.union_all(
            sa.select(posting.credit.label("id"), posting.points.label("points")),
            sa.select(posting.debit, -posting.points),
        ).subquery()
        query = (
            sa.select(account.c.code, account.c.year, sa.func.coalesce(sa.func.sum(given.c.points), 0))
            .join(given, given.c.id == account.c.id, isouter=True)
            .where(account.c.id >= FIRST)
            .group_by(account.c.code, account.c.year)
            .order_by(account.c.code, account.c.year)
        )
        with self.store.reading() as connection:
            return [(code, year, int(points)) for code, year, points in connection.execute(query)]

    def missing(self, name: str) -> list[int]:
        """The numbers that an installation has used and that have not come: below the highest that has."""
        there = self.taken(name)
        return [number for number in range(1, max(there, default=0)) if number not in there]

    def refused(self) -> list[dict[str, Any]]:
        """What was refused, oldest first, and why."""
        table = self._refused
        with self.store.reading() as connection:
            rows = connection.execute(sa.select(table).order_by(table.c.at, table.c.digest)).all()
        return [{"till": row.till, "reason": row.reason, "words": row.words, "at": row.at, "body": bytes(row.body)}
                for row in rows]  # fmt: skip

    def _keep_refused(self, connection: sa.Connection, refusals: Sequence[dict[str, Any]]) -> None:
        if refusals:
            columns = list(refusals[0])
            sql = f"INSERT INTO refused ({', '.join(columns)}) VALUES ({', '.join(f':{name}' for name in columns)})"
            connection.execute(sa.text(sql + " ON CONFLICT DO NOTHING"), list(refusals))


def _refusal(till: str, wire: Mapping[str, Any], result: RecordResult, now: datetime) -> dict[str, Any]:
    given = (str(wire.get(name, "") if isinstance(wire, Mapping) else wire) for name in ("body", "signature"))
    body, signature = (text[:20_000].encode(errors="replace") for text in given)
    digest = hashlib.sha256(b"\0".join((till.encode(), result.reason.encode(), body, signature))).hexdigest()
    return {"digest": digest, "till": till, "reason": result.reason, "words": result.words, "body": body,
            "signature": signature, "at": epoch(now)}  # fmt: skip
