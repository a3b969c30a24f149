"""The accumulation centre (還付ポイント蓄積センター): enrols tills, counts each record once, and keeps the ledger."""

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
"""The name of the centre's store."""

MOST_RECORDS = 2_000
"""The maximum number of records in one batch."""

LATE = timedelta(days=400)
AHEAD = timedelta(days=1)
"""A record's time is trusted if it is at most LATE behind the centre's clock (a till may be offline that long) and at
most AHEAD of it."""

_NAME = "Kazashi refund points"
_LONGEST_NAME = 64
"""The maximum length of a common name, in characters (X.520)."""


class EnrolmentRejected(Exception):
    """The centre refuses to enrol or revoke a till; the message says why."""


class PolicySettled(Exception):
    """The centre was created with another policy or detail, cannot use its policy, or no policy has that name.

    The policy cannot change, because all codes in a ledger follow the same one.
    """


class RecordOutcome(Enum):
    """What the centre did with a record."""

    ACCEPTED = "accepted"
    AGAIN = "again"
    """The centre already had the record, byte for byte."""
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class RecordResult:
    """The centre's reply to one record: the outcome and, if the record was refused, a reason code and its text."""

    answer: RecordOutcome
    reason: str = ""
    words: str = ""

    def as_dict(self) -> dict[str, str]:
        """The result as a JSON object with the keys answer, reason and words."""
        return {"answer": self.answer.value, "reason": self.reason, "words": self.words}


@dataclass(frozen=True, slots=True)
class TillEntry:
    """A till installation in the centre's database. `state` is active, replaced (by a newer installation) or
    revoked."""

    id: int
    name: str
    shop: str
    key: bytes
    state: str


@dataclass(frozen=True, slots=True)
class _Admitted:
    """A record with a valid signature, its account code, and the SHA-256 of its bytes."""

    record: PointRecord
    code: str
    digest: str


class Centre:
    """The centre of one world. Several processes may serve it at the same time on one database."""

    def __init__(
        self, world: World, policy: str | None = None, detail: Detail | None = None, mykey: MyKeyPlatform | None = None
    ) -> None:
        """Open the centre, or create it.

        `policy` names the code that tills read from a card, and `detail` says what is kept of a purchase. Both are
        fixed when the centre is created. None means the existing setting or, for a new centre, the authentication
        certificate's serial number and the amount. The mykey policy needs `mykey`. Raises PolicySettled.
        """
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
        self.detail = Detail(self._settings["detail"].decode("ascii"))
        self.policy = self._policy(mykey)

    # Keys and policy

    def _begin(self, policy: str | None, detail: Detail | None) -> ServiceAuthority:
        """Load the centre's keys and policy, or create them."""
        if policy is not None and policy not in POLICIES:
            raise PolicySettled(f"there is no policy {policy!r}; use one of {', '.join(POLICIES)}")

        def make() -> dict[str, bytes]:
            self.ledger.begin(connection)
            authority = ServiceAuthority.begin(_NAME, self.clock.now())
            return {
                "authority-key": authority.key,
                "authority": authority.certificate,
                "sealing": X25519PrivateKey.generate().private_bytes_raw(),
                "codes": secure_random(256).to_bytes(32),
                "policy": (policy or AuthenticationSerial.name).encode("ascii"),
                "detail": (detail or Detail.AMOUNT).value.encode("ascii"),
            }

        with self.store.alone() as connection:
            self._settings = settings = self._secrets.begin(connection, "authority", make)
        for requested, stored in ((policy, settings["policy"]), (detail.value if detail else None, settings["detail"])):
            if requested is not None and requested != stored.decode("ascii"):
                raise PolicySettled(
                    f"this centre was created with {stored.decode('ascii')} and cannot change to {requested}"
                )
        return ServiceAuthority(_NAME, settings["authority-key"], settings["authority"])

    def _policy(self, mykey: MyKeyPlatform | None) -> CodePolicy:
        match name := self._settings["policy"].decode("ascii"):
            case AuthenticationSerial.name:
                return AuthenticationSerial()
            case KeyedByShop.name:
                return KeyedByShop(self.shop_secret)
            case CodeByCentre.name:
                return CodeByCentre(self._sealing.public_key(), self._sealing, self._settings["codes"])
            case MyKeyId.name if mykey is not None:
                return MyKeyId(mykey.find)
        raise PolicySettled(f"this centre uses the policy {name}, which needs a MyKey platform; none was given")

    @property
    def _sealing(self) -> X25519PrivateKey:
        return X25519PrivateKey.from_private_bytes(self._settings["sealing"])

    def _material(self, shop: str) -> bytes:
        """The secret or public key that a shop's tills need to read a card under the policy."""
        match self.policy:
            case KeyedByShop():
                return self.shop_secret(shop)
            case CodeByCentre():
                return self._sealing.public_key().public_bytes_raw()
        return b""

    @property
    def authority(self) -> bytes:
        """The certificate (PEM) of the authority that issues the tills' certificates and the centre's own."""
        return self._authority.certificate

    def server_credentials(self, host: str = "localhost") -> Credentials:
        """Issue a certificate with a new key for the centre's TLS server."""
        return self._authority.credentials(host, self.clock.now(), host=host)

    # Tills

    def enrol(self, shop: str, till: str, key: bytes) -> Enrolment:
        """Enrol a new installation of a till with its public key (PEM).

        It replaces the earlier installation, which has a different name; records of that one are still accepted.
        Raises EnrolmentRejected.
        """
        try:
            public = key_from_pem(key)
        except (ValueError, TypeError) as error:
            raise EnrolmentRejected("this is not a till's public key in PEM") from error
        table = self._till
        with self.store.alone() as connection:
            same_till = (table.c.shop == shop) & (table.c.till == till)
            last = connection.scalar(sa.select(sa.func.max(table.c.installation)).where(same_till)) or 0
            try:
                name = str(TillName(shop, till, last + 1))
            except ValueError as error:
                raise EnrolmentRejected(str(error)) from error
            if len(name) > _LONGEST_NAME:
                raise EnrolmentRejected(
                    f"the name {name} is too long for a certificate; use at most {_LONGEST_NAME} characters"
                )
            active = same_till & (table.c.state == "active")
            connection.execute(sa.update(table).where(active).values(state="replaced"))
            row = {"shop": shop, "till": till, "installation": last + 1, "key": public_pem(public), "state": "active"}
            connection.execute(sa.insert(table), row)
            self._shop_secret(connection, shop)
            self.log(connection, self.clock.now(), "till enrolled", {"till": name})
            pem = self._authority.issue(name, public, self.clock.now())
        return Enrolment(name, pem, self.authority, self.policy.name, self.detail, self._material(shop))

    def revoke_till(self, name: str) -> None:
        """Refuse all further records of an installation. Raises EnrolmentRejected if no installation has that name."""
        entry = self.till(name)
        if entry is None:
            raise EnrolmentRejected(f"there is no till {name}")
        with self.store.transaction() as connection:
            connection.execute(sa.update(self._till).where(self._till.c.id == entry.id).values(state="revoked"))
            self.log(connection, self.clock.now(), "till revoked", {"till": name})

    def till(self, name: str) -> TillEntry | None:
        """Return the current entry of an installation, or None if no installation has that name."""
        try:
            parsed = TillName.parse(name)
        except ValueError:
            return None
        table = self._till.c
        query = sa.select(self._till).where(
            table.shop == parsed.shop, table.till == parsed.till, table.installation == parsed.installation
        )
        with self.store.reading() as connection:
            row = connection.execute(query).one_or_none()
        return None if row is None else TillEntry(row.id, name, row.shop, bytes(row.key), row.state)

    def tills(self) -> list[TillEntry]:
        """Return all installations, in the order of their enrolment."""
        with self.store.reading() as connection:
            rows = connection.execute(sa.select(self._till).order_by(self._till.c.id)).all()
        return [TillEntry(row.id, str(TillName(row.shop, row.till, row.installation)), row.shop, bytes(row.key),
                          row.state) for row in rows]  # fmt: skip

    def shops(self) -> list[str]:
        """Return the names of all shops."""
        with self.store.reading() as connection:
            return list(connection.scalars(sa.select(self._shop.c.shop)))

    def shop_secret(self, shop: str) -> bytes:
        """Return a shop's secret. Raises KeyError if the shop has none."""
        with self.store.reading() as connection:
            secret = connection.scalar(sa.select(self._shop.c.secret).where(self._shop.c.shop == shop))
        if secret is None:
            raise KeyError(shop)
        return bytes(secret)

    def _shop_secret(self, connection: sa.Connection, shop: str) -> None:
        sql = "INSERT INTO shop (shop, secret) VALUES (:shop, :secret) ON CONFLICT DO NOTHING"
        connection.execute(sa.text(sql), {"shop": shop, "secret": secure_random(256).to_bytes(32)})

    # Records

    def receive(self, till: str, unverified: Sequence[Mapping[str, Any]]) -> list[RecordResult]:
        """Post a batch of records that came over a connection with the certificate of `till`.

        A record counts once, even if it is repeated, out of order, or sent again after a broken connection. Refused
        records are kept with the reason. Returns one result per record, after all accepted records are on disk.
        Raises StoreFailed if nothing was posted.
        """
        if not unverified:
            return []
        entry, now = self.till(till), self.clock.now()
        checked = [self._admitted(till, entry, wire) for wire in unverified]
        admitted = [one for one in checked if isinstance(one, _Admitted)]
        with self.store.transaction() as connection:
            posted = iter(self._post(connection, entry, admitted, now) if entry is not None else ())
            results = [one if isinstance(one, RecordResult) else next(posted) for one in checked]
            self._keep_refused(connection, [
                _refusal(till, wire, result, now)
                for wire, result in zip(unverified, results, strict=True) if result.answer is RecordOutcome.REFUSED
            ])  # fmt: skip
        return results

    def _admitted(self, till: str, entry: TillEntry | None, wire: Mapping[str, Any]) -> _Admitted | RecordResult:
        """Return a record that may be posted, or the result for one that is refused regardless of the ledger."""
        try:
            if entry is None or entry.state == "revoked":
                raise PointRecordRejected("revoked-till", f"the till {till} is revoked or unknown")
            signed = SignedRecord.from_wire(wire)
            record = signed.verified(key_from_pem(entry.key))
            if record.till != till:
                raise PointRecordRejected("other-till", f"the record is from {record.till}, but {till} sent it")
            if record.policy != self.policy.name:
                raise PointRecordRejected(
                    "other-policy", f"this centre uses the policy {self.policy.name}, not {record.policy}"
                )
            code = self.policy.account(record.reading, record.shop)
        except CodeRejected as refused:
            return RecordResult(RecordOutcome.REFUSED, "no-code", str(refused))
        except PointRecordRejected as refused:
            return RecordResult(RecordOutcome.REFUSED, refused.reason, str(refused))
        return _Admitted(record, code, hashlib.sha256(signed.body).hexdigest())

    def _post(
        self, connection: sa.Connection, entry: TillEntry, admitted: Sequence[_Admitted], now: datetime
    ) -> list[RecordResult]:
        """Post the records that the ledger does not have yet. Returns one result per record."""
        if not admitted:
            return []
        closed = set(connection.scalars(sa.select(self._closed.c.year)))
        years = [self._year(one.record, now, closed) for one in admitted]
        accounts = self.ledger.accounts(
            connection, ((one.code, year) for one, (year, _) in zip(admitted, years, strict=True))
        )
        rows, keep_lines = [], self.detail is Detail.LINES
        for one, (year, doubtful) in zip(admitted, years, strict=True):
            record, account = one.record, accounts[one.code, year]
            grant = record.points >= 0
            rows.append(
                {"debit": GRANTED if grant else account, "credit": account if grant else GRANTED,
                 "points": abs(record.points), "at": epoch(now), "till": entry.id, "number": record.number,
                 "digest": one.digest, "bought": record.at, "eligible": record.eligible, "receipt": record.receipt,
                 "of": record.of, "doubtful": doubtful,
                 "lines": json.dumps(record.lines, ensure_ascii=False) if keep_lines and record.lines else None}
            )  # fmt: skip
        new = self.ledger.record(connection, rows)
        digests = self.ledger.digests(connection, {(entry.id, one.record.number) for one in admitted} - new)
        results = []
        for one in admitted:
            key = (entry.id, one.record.number)
            if key in new and key not in digests:
                digests[key] = one.digest
                results.append(RecordResult(RecordOutcome.ACCEPTED))
            elif digests.get(key) == one.digest:
                results.append(RecordResult(RecordOutcome.AGAIN))
            else:
                words = f"{entry.name} has already sent another record {one.record.number}; enrol the till anew"
                results.append(RecordResult(RecordOutcome.REFUSED, "number-used", words))
        return results

    def _year(self, record: PointRecord, now: datetime, closed: set[int]) -> tuple[int, bool]:
        """Return the year that a record counts for, in Japan's time, and whether its till's clock is doubtful.

        If it is, the centre's own clock decides. A record that arrives after its year was closed counts for the year
        in which it arrives.
        """
        received = epoch(now)
        doubtful = not received - LATE.total_seconds() <= record.at <= received + AHEAD.total_seconds()
        year = datetime.fromtimestamp(received if doubtful else record.at, UTC).astimezone(JST).year
        return (now.astimezone(JST).year if year in closed else year), doubtful

    def close_year(self, year: int) -> None:
        """Post no further records to a past year. Raises ValueError if the year is not over."""
        if year >= self.clock.now().astimezone(JST).year:
            raise ValueError(f"the year {year} is not over yet")
        with self.store.transaction() as connection:
            connection.execute(
                sa.text("INSERT INTO closed_year (year) VALUES (:year) ON CONFLICT DO NOTHING"), {"year": year}
            )
            self.log(connection, self.clock.now(), "year closed", {"year": year})

    def taken(self, name: str) -> dict[int, int]:
        """Return the points of each posted record of an installation, by record number."""
        entry = self.till(name)
        if entry is None:
            return {}
        table = self.ledger.posting.c
        signed = sa.case((table.debit == GRANTED, table.points), else_=-table.points)
        with self.store.reading() as connection:
            rows = connection.execute(sa.select(table.number, signed).where(table.till == entry.id)).all()
        return {row[0]: row[1] for row in rows}

    def posting_of(self, name: str, number: int) -> dict[str, Any]:
        """Return everything that the ledger holds about a record, by description; empty if it has not arrived."""
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
        """Return the code, year and balance of every personal account. Reads the whole ledger."""
        account, posting = self.ledger.account, self.ledger.posting.c
        changes = sa.union_all(
            sa.select(posting.credit.label("id"), posting.points.label("points")),
            sa.select(posting.debit, -posting.points),
        ).subquery()
        query = (
            sa.select(account.c.code, account.c.year, sa.func.coalesce(sa.func.sum(changes.c.points), 0))
            .join(changes, changes.c.id == account.c.id, isouter=True)
            .where(account.c.id >= FIRST)
            .group_by(account.c.code, account.c.year)
            .order_by(account.c.code, account.c.year)
        )
        with self.store.reading() as connection:
            return [(code, year, int(points)) for code, year, points in connection.execute(query)]

    def missing(self, name: str) -> list[int]:
        """Return the record numbers of an installation that have not arrived, below the highest that has."""
        posted = self.taken(name)
        return [number for number in range(1, max(posted, default=0)) if number not in posted]

    def refused(self) -> list[dict[str, Any]]:
        """Return the refused records with the reasons, oldest first."""
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
    fields = (str(wire.get(name, "") if isinstance(wire, Mapping) else wire) for name in ("body", "signature"))
    body, signature = (text[:20_000].encode(errors="replace") for text in fields)
    digest = hashlib.sha256(b"\0".join((till.encode(), result.reason.encode(), body, signature))).hexdigest()
    return {"digest": digest, "till": till, "reason": result.reason, "words": result.words, "body": body,
            "signature": signature, "at": epoch(now)}  # fmt: skip
