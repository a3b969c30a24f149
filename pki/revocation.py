"""Revoke certificates, put them on hold and, on phones, release them: manually, by renewal or by registry event."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any

import sqlalchemy as sa

from kazashi.jpki.profile import Medium
from kazashi.jpki.serial_number import serial_text
from kazashi.jpki.state import CertificateState, CertificateStatus, Reason, TransitionRejected, may_follow
from kazashi.pki.certificate import CertificateRequest
from kazashi.pki.certificate_database import CertificateDatabase, Issued, NoSuchCertificate
from kazashi.pki.consequence import consequence
from kazashi.resident_registry.notice import Notice
from kazashi.world.clock import Clock, epoch
from kazashi.world.outbox import Message


@dataclass(frozen=True, slots=True)
class _Change:
    certificate: Issued
    before: CertificateStatus
    reason: Reason | None
    """None to lift a hold."""


class Revocations:
    """Changes the status of an authority's certificates.

    A change is durable when the method returns. OCSP shows it from the next 15-minute mark, the revocation lists from
    the next batch.
    """

    def __init__(self, ledger: CertificateDatabase, clock: Clock) -> None:
        self._ledger = ledger
        self._clock = clock

    def status(self, serial: int, at: datetime | None = None) -> CertificateStatus:
        """Return a certificate's status at `at` (default: now). Raises NoSuchCertificate."""
        with self._ledger.store.reading() as connection:
            status = self._ledger.status(connection, serial, at or self._clock.now())
        if status is None:
            raise NoSuchCertificate(serial_text(serial), self._ledger.kind)
        return status

    def revoke(self, serial: int, reason: Reason, by: str = "") -> CertificateStatus:
        """Revoke a certificate, or put it on hold if the reason is CERTIFICATE_HOLD; return its new status.

        What happens to a card's certificate happens to its holder's phone's, too. `by` is recorded in the event log.
        Raises NoSuchCertificate or TransitionRejected.
        """
        wanted = CertificateState.HELD if reason is Reason.CERTIFICATE_HOLD else CertificateState.REVOKED
        return self._one(serial, wanted, reason, by)

    def release(self, serial: int, by: str = "") -> CertificateStatus:
        """Lift the hold on a phone's authentication certificate; return its new status.

        Raises NoSuchCertificate or TransitionRejected.
        """
        return self._one(serial, CertificateState.GOOD, None, by)

    def compromise(self, generation: str) -> int:
        """Revoke all unexpired certificates of a generation whose key was compromised; return their number."""
        table = self._ledger.certificate.c
        with self._ledger.store.transaction() as connection:
            now = epoch(self._clock.now())
            certificates = self._ledger.issued(connection, (table.generation == generation) & (table.not_after >= now))
            return self._revoke_all(
                connection, certificates, partial(_always, Reason.CA_COMPROMISE), "compromise of the key"
            )

    def receive(self, messages: Sequence[Message]) -> None:
        """Process J-LIS's notices: change the certificates of the resident whom each event concerns."""
        table = self._ledger.certificate
        with self._ledger.store.transaction() as connection:
            for notice in map(Notice.from_message, self._ledger.inbox.fresh(connection, messages)):
                code, former = notice.record_code, notice.former_code
                if code != former:
                    connection.execute(sa.update(table).where(table.c.holder == former).values(holder=code))
                reason = consequence(notice.event, notice.details).of(self._ledger.kind)
                if reason is not None:
                    certificates = self._ledger.issued(connection, table.c.holder == code)
                    self._revoke_all(connection, certificates, partial(_always, reason), notice.event.code)

    def superseded(
        self, connection: sa.Connection, replaced: Sequence[int], phones: Sequence[CertificateRequest]
    ) -> None:
        """Supersede certificates in the transaction that issues their successors.

        These are the replaced certificates, those of the phones of holders whose card certificates are replaced, and
        those of a phone that is replaced by another phone.
        """
        table = self._ledger.certificate.c
        olds = self._ledger.issued(connection, table.serial.in_(replaced)) if replaced else []
        cards = {old.holder for old in olds if old.medium is Medium.CARD}
        followers: dict[str, str] = {request.resident.code: request.medium_id for request in phones}
        if cards or followers:
            olds += [
                phone
                for phone in self._ledger.issued(
                    connection, (table.medium == Medium.PHONE.value) & table.holder.in_(cards | followers.keys())
                )
                if phone.medium_id != followers.get(phone.holder)
            ]
        # A certificate on hold stays on hold: its entry shows this permanently.
        self._revoke_all(
            connection,
            olds,
            lambda before: Reason.SUPERSEDED if before.state is CertificateState.GOOD else None,
            "renewal",
        )

    def juki_cards_returned(self, connection: sa.Connection, holders: Sequence[str]) -> None:
        """Revoke the certificates on Juki cards of these holders, who get an Individual Number Card and return the old
        card for it, in the transaction that issues the new card's certificate."""
        table = self._ledger.certificate.c
        on_juki_cards = (table.medium == Medium.JUKI.value) & table.holder.in_(holders)
        if holders and (certificates := self._ledger.issued(connection, on_juki_cards)):
            self._revoke_all(
                connection, certificates, partial(_always, Reason.CESSATION_OF_OPERATION), "return of the Juki card"
            )

    def _one(self, serial: int, wanted: CertificateState, reason: Reason | None, by: str) -> CertificateStatus:
        ledger = self._ledger
        with ledger.store.transaction() as connection:
            self._one_at_a_time(connection)
            now = self._clock.now()  # not before the lock: a batch made while waiting leaves out what had ended
            certificates = ledger.issued(connection, ledger.certificate.c.serial == serial)
            before = ledger.status(connection, serial, now)
            if not certificates or before is None:
                raise NoSuchCertificate(serial_text(serial), self._ledger.kind)
            if not may_follow(before.state, wanted, self._ledger.kind, certificates[0].medium):
                explanation = "; a hold can be lifted from a phone's authentication certificate only" * (
                    wanted is CertificateState.GOOD
                )
                raise TransitionRejected(
                    f"certificate {serial_text(serial)} is {before.state.value} and cannot become "
                    f"{wanted.value}{explanation}"
                )
            self._apply(connection, [_Change(certificates[0], before, reason)], by)
            if reason is not None and certificates[0].medium is Medium.CARD:
                table = ledger.certificate.c
                phones = (table.holder == certificates[0].holder) & (table.medium == Medium.PHONE.value)
                self._revoke_all(connection, ledger.issued(connection, phones), partial(_always, reason), by)
            after = ledger.status(connection, serial, now)
            assert after is not None
            return after

    def _revoke_all(
        self, connection: sa.Connection, certificates: Sequence[Issued],
        reason_for: Callable[[CertificateStatus], Reason | None], by: str,
    ) -> int:  # fmt: skip
        """Revoke the certificates, or put them on hold, where the transition is allowed; return how many changed."""
        self._one_at_a_time(connection)
        now, changes = self._clock.now(), []
        for certificate in certificates:
            before = self._ledger.status(connection, certificate.serial, now)
            reason = reason_for(before) if before is not None else None
            if before is None or reason is None:
                continue
            wanted = CertificateState.HELD if reason is Reason.CERTIFICATE_HOLD else CertificateState.REVOKED
            if may_follow(before.state, wanted, self._ledger.kind, certificate.medium):
                changes.append(_Change(certificate, before, reason))
        self._apply(connection, changes, by)
        return len(changes)

    def _one_at_a_time(self, connection: sa.Connection) -> None:
        """Lock out other writers until the transaction ends: the status that is read now must not change before it is
        written, and changes must be committed in the order of their positions."""
        self._ledger.count(connection, "position", 0, 1)

    def _apply(self, connection: sa.Connection, changes: Sequence[_Change], by: str) -> None:
        if not changes:
            return
        now = self._clock.now()
        table = self._ledger.revocation
        position = self._ledger.count(connection, "position", len(changes), 1)
        rows: list[dict[str, Any]] = []
        log: list[tuple[str, int | None, dict[str, Any]]] = []
        for number, change in enumerate(changes, start=position):
            certificate, before = change.certificate, change.before
            if before.state is CertificateState.HELD:
                connection.execute(
                    sa.update(table)
                    .where((table.c.serial == certificate.serial) & table.c.ended_position.is_(None))
                    .values(ended_at=epoch(now), ended_position=number)
                )
            if change.reason is not None:
                # A certificate that was on hold has been invalid since then, whatever the reason of its revocation.
                since = before.since or now
                rows.append(
                    {"generation": certificate.generation, "position": number, "serial": certificate.serial,
                     "partition": certificate.partition, "at": epoch(since), "reason": int(change.reason),
                     "expires": epoch(certificate.not_after), "recorded_at": epoch(now)}
                )  # fmt: skip
            event = (
                "released"
                if change.reason is None
                else "held"
                if change.reason is Reason.CERTIFICATE_HOLD
                else "revoked"
            )
            reason = change.reason.asn1_name if change.reason is not None else ""
            log.append((event, certificate.serial, {"reason": reason, "by": by}))
        if rows:
            connection.execute(sa.insert(table), rows)
        self._ledger.log(connection, now, log)


def _always(reason: Reason, _: CertificateStatus) -> Reason:
    return reason
