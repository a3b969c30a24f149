"""An authority's store: its generations, issued certificates, revocations and revocation lists."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from kazashi.jpki.profile import CertificateType, Medium
from kazashi.jpki.state import CertificateState, CertificateStatus, Reason
from kazashi.world.clock import epoch, from_epoch
from kazashi.world.event_log import event_row, event_table
from kazashi.world.home import World
from kazashi.world.outbox import Inbox
from kazashi.world.statement import Statement
from kazashi.world.storage import Unsigned64, insert_if_absent

FULL_LIST, AUTHORITY_LIST = "full", "authority"
"""The names of the full revocation list and of the list of the authority's own certificates. Every other list has the
code of its municipality as its name."""


def store_name(kind: CertificateType) -> str:
    """The name of an authority's store."""
    return f"authority_{kind.code}"


class NoSuchCertificate(Exception):
    """No certificate has that serial number. The message names the authority, and the number in hexadecimal."""

    def __init__(self, serial: str, kind: CertificateType | None = None) -> None:
        """`kind` is None if neither authority has issued it."""
        authority = f"the {kind.code} authority has issued no" if kind else "neither authority has issued a"
        super().__init__(f"{authority} certificate {serial}")


@dataclass(frozen=True, slots=True)
class Issued:
    """The record of an issued certificate.

    `holder` is a resident record code, `partition` the code of a municipality. `medium_id` names the card or phone.
    `predecessor` is the serial number of the certificate that this one renewed. `certificate` is DER.
    """

    serial: int
    generation: str
    medium: Medium
    medium_id: str
    holder: str
    partition: str
    not_before: datetime
    not_after: datetime
    predecessor: int | None
    certificate: bytes


class CertificateDatabase:
    """The tables of an authority's store and the queries on them. The rules are in the classes that use it."""

    def __init__(self, world: World, kind: CertificateType) -> None:
        self.kind = kind
        metadata = sa.MetaData()
        self.inbox = Inbox(metadata)
        self.generation = sa.Table(
            "generation", metadata,
            sa.Column("name", sa.Text, primary_key=True),
            sa.Column("serial", Unsigned64, unique=True, nullable=False),
            sa.Column("algorithm", sa.Text, nullable=False),
            sa.Column("keys", sa.Text, nullable=False),
            sa.Column("key", sa.LargeBinary, nullable=False),
            sa.Column("certificate", sa.LargeBinary, nullable=False),
            sa.Column("begins", sa.BigInteger, nullable=False),
            sa.Column("ends", sa.BigInteger, nullable=False),
        )  # fmt: skip
        self.certificate = certificate = sa.Table(
            "certificate", metadata,
            sa.Column("serial", Unsigned64, primary_key=True, autoincrement=False),
            sa.Column("generation", sa.Text, nullable=False),
            sa.Column("medium", sa.Text, nullable=False),
            sa.Column("medium_id", sa.Text, nullable=False, index=True),
            sa.Column("holder", sa.Text, nullable=False, index=True),
            sa.Column("partition", sa.Text, nullable=False),
            sa.Column("not_before", sa.BigInteger, nullable=False),
            sa.Column("not_after", sa.BigInteger, nullable=False),
            sa.Column("predecessor", Unsigned64, index=True),
            sa.Column("request", sa.Text, unique=True, nullable=False),
            sa.Column("request_digest", sa.LargeBinary, nullable=False),
            sa.Column("certificate", sa.LargeBinary, nullable=False),
        )  # fmt: skip
        self.revocation = revocation = sa.Table(
            "revocation", metadata,
            sa.Column("generation", sa.Text, primary_key=True),
            sa.Column("position", sa.BigInteger, primary_key=True, autoincrement=False),
            sa.Column("serial", Unsigned64, nullable=False, index=True),
            sa.Column("partition", sa.Text, nullable=False),
            sa.Column("at", sa.BigInteger, nullable=False),
            sa.Column("reason", sa.Integer, nullable=False),
            sa.Column("expires", sa.BigInteger, nullable=False),
            sa.Column("recorded_at", sa.BigInteger, nullable=False),
            sa.Column("ended_at", sa.BigInteger),
            sa.Column("ended_position", sa.BigInteger),
            # A covering index for a municipality's list, whose rows are scattered over the table.
            sa.Index("revocation_partition", "generation", "partition", "position", "serial", "at", "reason", "expires",
                     "ended_position"),
            sa.Index("revocation_expires", "generation", "expires"),
            sa.Index("revocation_ended", "generation", "ended_position"),
            sqlite_with_rowid=False,
        )  # fmt: skip
        self.revocation_list = sa.Table(
            "revocation_list", metadata,
            sa.Column("generation", sa.Text, primary_key=True),
            sa.Column("name", sa.Text, primary_key=True),
            sa.Column("number", sa.BigInteger, nullable=False),
            sa.Column("written", sa.BigInteger, nullable=False),
            sa.Column("position", sa.BigInteger, nullable=False),
            sa.Column("this_update", sa.BigInteger, nullable=False),
            # The list has the entries of certificates that end at this instant or later.
            sa.Column("expires_from", sa.BigInteger, nullable=False),
        )  # fmt: skip
        self.responder = sa.Table(
            "responder", metadata,
            sa.Column("generation", sa.Text, primary_key=True),
            sa.Column("serial", Unsigned64, nullable=False),
            sa.Column("key", sa.LargeBinary, nullable=False),
            sa.Column("certificate", sa.LargeBinary, nullable=False),
            sa.Column("ends", sa.BigInteger, nullable=False),
        )  # fmt: skip
        self._counter = counter = sa.Table(
            "counter", metadata,
            sa.Column("name", sa.Text, primary_key=True),
            sa.Column("value", sa.BigInteger, nullable=False),
        )  # fmt: skip
        self._begin_count = insert_if_absent(counter)
        self._event, _ = event_table(metadata, sa.Column("serial", Unsigned64))
        self._count = Statement(
            sa.update(counter).where(counter.c.name == sa.bindparam("n"))
            .values(value=counter.c.value + sa.bindparam("by")).returning(counter.c.value)
        )  # fmt: skip
        at: sa.BindParameter[int] = sa.bindparam("at")
        in_force = (revocation.c.recorded_at <= at) & (revocation.c.ended_at.is_(None) | (revocation.c.ended_at > at))
        self._status_query = (
            sa.select(certificate.c.serial, certificate.c.generation, certificate.c.not_after, revocation.c.at,
                      revocation.c.reason)
            .outerjoin(revocation, (revocation.c.serial == certificate.c.serial) & in_force)
            .where(certificate.c.serial == sa.bindparam("serial", type_=Unsigned64))
        )  # fmt: skip
        self._listed: set[tuple[str, str]] = set()
        self.store = world.store(store_name(kind), metadata, [_to_version_2])

    def count(self, connection: sa.Connection, name: str, by: int, first: int) -> int:
        """Take `by` numbers from a counter that starts at `first`; return the first one taken.

        The counter stays locked until the transaction ends. Transactions are therefore committed in the order of their
        numbers, and one that is rolled back leaves no gap.
        """
        value = self._count.scalar(connection, {"n": name, "by": by})
        if value is None:
            connection.execute(self._begin_count, {"name": name, "value": first})
            value = self._count.scalar(connection, {"n": name, "by": by})
            assert value is not None
        return int(value) - by

    def ensure_lists(self, connection: sa.Connection, lists: set[tuple[str, str]]) -> None:
        """Register the revocation lists, by generation and name, that must be published from now on."""
        table = self.revocation_list
        for generation, name in lists - self._listed:
            condition = (table.c.generation == generation) & (table.c.name == name)
            if connection.scalar(sa.select(table.c.number).where(condition)) is None:
                row = {
                    "generation": generation,
                    "name": name,
                    "number": 0,
                    "written": 0,
                    "position": 0,
                    "this_update": 0,
                    "expires_from": 0,
                }
                connection.execute(sa.insert(table), row)
            else:
                self._listed.add((generation, name))

    def log(
        self, connection: sa.Connection, at: datetime, entries: Sequence[tuple[str, int | None, dict[str, Any]]]
    ) -> None:
        """Add entries to the event log: event name, serial number and details."""
        if entries:
            connection.execute(
                sa.insert(self._event), [event_row(at, what, detail, serial=serial) for what, serial, detail in entries]
            )

    def status(self, connection: sa.Connection, serial: int, at: datetime) -> CertificateStatus | None:
        """Return a certificate's status as recorded at an instant, or None if the serial number was never issued."""
        row = connection.execute(self._status_query, {"serial": serial, "at": epoch(at)}).first()
        if row is None:
            return None
        not_after = from_epoch(row.not_after)
        if row.at is None:
            state = CertificateState.EXPIRED if at > not_after else CertificateState.GOOD
            return CertificateStatus(serial, row.generation, state, not_after)
        reason = Reason(row.reason)
        state = CertificateState.HELD if reason is Reason.CERTIFICATE_HOLD else CertificateState.REVOKED
        return CertificateStatus(serial, row.generation, state, not_after, from_epoch(row.at), reason)

    def issued(self, connection: sa.Connection, *conditions: Any) -> list[Issued]:
        """Return the certificates that meet conditions on the certificate table, in the order of notBefore, then of
        serial number."""
        table = self.certificate
        query = sa.select(table).where(*conditions).order_by(table.c.not_before, table.c.serial)
        return [
            Issued(
                row.serial, row.generation, Medium(row.medium), row.medium_id, row.holder, row.partition,
                from_epoch(row.not_before), from_epoch(row.not_after), row.predecessor, row.certificate,
            )
            for row in connection.execute(query)
        ]  # fmt: skip


def _to_version_2(connection: sa.Connection) -> None:
    """Note which entries a list has. Until now they were those of certificates that had not ended when it was made."""
    connection.execute(sa.text("ALTER TABLE revocation_list ADD COLUMN expires_from BIGINT NOT NULL DEFAULT 0"))
    connection.execute(sa.text("UPDATE revocation_list SET expires_from = this_update"))
