"""The authority's services to verifiers beside OCSP: status, linkage of serial numbers, the latest attributes.

Article 18 of the Act on JPKI names them; their messages are not public, and these are ours. A caller is registered, and
every answered query is logged.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

import sqlalchemy as sa
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from kazashi.jpki.profile import CertificateType
from kazashi.jpki.state import CertificateState, CertificateStatus
from kazashi.pki.authority import Authority
from kazashi.pki.callers import ATTRIBUTES, COUNTERPART, RENEWAL, STATUS, Callers, Query
from kazashi.pki.certificate_database import Issued, NoSuchCertificate
from kazashi.resident_registry.number import ResidentRecordCode
from kazashi.resident_registry.resident import ResidencyStatus, Resident
from kazashi.world.clock import JST, end_of_day, epoch, from_epoch
from kazashi.world.home import World

CONSENT_YEARS = 10

CONSENT_PURPOSE, WITHDRAWAL_PURPOSE = "consent to the latest attributes", "withdrawal of consent"


class ConsentRejected(Exception):
    """A consent, or a use of one, is not accepted; the message says why, and no attribute was given out."""


class NoConsent(ConsentRejected):
    """There is no such consent of this holder, or to this caller."""


class ConsentOver(ConsentRejected):
    """The consent was withdrawn, or has ended."""


class NoGoodCertificate(ConsentRejected):
    """The holder has no signature certificate that is good, or has signed with one that is not."""


class StatementRejected(ConsentRejected):
    """What came as a signed statement is not one of a holder's, or says something else than it must."""


@dataclass(frozen=True, slots=True)
class SignedStatement:
    """What a holder has signed: a JSON text as bytes, the signature over it (PKCS#1 v1.5 with SHA-256), and the
    signature certificate as DER.

    The statement is `{"purpose": ..., "caller": ..., "service": ...}` and more, as the caller likes.
    """

    statement: bytes
    signature: bytes
    certificate: bytes


class VerifierServices:
    """What registered callers are told."""

    def __init__(
        self,
        world: World,
        authorities: Mapping[CertificateType, Authority],
        identity: Callable[[ResidentRecordCode], Resident],
    ) -> None:
        self._world = world
        self._authorities = authorities
        self._identity = identity
        self.callers = Callers(world)

    def status(self, caller: str, kind: CertificateType, serial: int) -> CertificateStatus:
        """How a certificate stands now. Raises NoSuchCertificate."""
        standing = self._authorities[kind].revocations.status(serial)
        self._log(caller, STATUS, kind, serial, standing.state.value)
        return standing

    def counterpart(self, caller: str, kind: CertificateType, serial: int) -> int | None:
        """The serial number of the other certificate on the same card or phone, the latest one; None where there is
        none (article 18, 証明書紐付け). Raises NoSuchCertificate."""
        known = self._authorities[kind].find(serial)
        others = self._authorities[kind.other].of_medium(known.medium_id)
        found = others[-1].serial if others else None
        self._log(caller, COUNTERPART, kind, serial, "" if found is None else f"{found:X}")
        return found

    def renewal(self, caller: str, kind: CertificateType, serial: int) -> list[int]:
        """The serial numbers, oldest first, of all certificates of a kind that took each other's place on the holder's
        card or phone (新旧紐付け). Raises NoSuchCertificate."""
        authority = self._authorities[kind]
        known = authority.find(serial)
        chain = [issued.serial for issued in _chain(authority.of_holder(known.holder), known)]
        self._log(caller, RENEWAL, kind, serial, " ".join(f"{found:X}" for found in chain))
        return chain

    def consent(self, caller: str, signed: SignedStatement) -> int:
        """Take a holder's consent that a caller may be told the latest attributes; answers its number. It lasts ten
        years from the day after. Raises ConsentRejected."""
        statement, holder = self._checked(caller, signed, CONSENT_PURPOSE)
        now = self._world.clock.now()
        first = now.astimezone(JST).date() + timedelta(days=1)
        row = {
            "caller": caller, "service": str(statement.get("service", "")), "serial": holder.serial,
            "statement": signed.statement, "signature": signed.signature, "given_at": epoch(now),
            "ends": epoch(end_of_day(_years_later(first, CONSENT_YEARS) - timedelta(days=1))),
        }  # fmt: skip
        consent = self.callers.consent
        with self.callers.store.transaction() as connection:
            return int(connection.scalar(sa.insert(consent).returning(consent.c.consent), row) or 0)

    def withdraw(self, caller: str, number: int, signed: SignedStatement) -> None:
        """Take a holder's withdrawal of a consent. Raises ConsentRejected."""
        _, holder = self._checked(caller, signed, WITHDRAWAL_PURPOSE)
        table = self.callers.consent
        here = (table.c.consent == number) & (table.c.caller == caller) & table.c.withdrawn_at.is_(None)
        with self.callers.store.transaction() as connection:
            row = connection.execute(sa.select(table).where(here)).one_or_none()
            if row is None or self._authorities[CertificateType.SIGNATURE].find(row.serial).holder != holder.holder:
                raise NoConsent(f"there is no consent {number} of this holder to withdraw")
            connection.execute(sa.update(table).where(here).values(withdrawn_at=epoch(self._world.clock.now())))

    def latest_attributes(self, caller: str, number: int) -> dict[str, Any]:
        """The four attributes of a holder, with the furigana and whether the holder has left the country. No serial
        number is among them. Raises ConsentRejected without a consent, and while the holder has no signature
        certificate
        that is good."""
        table, now = self.callers.consent, self._world.clock.now()
        here = (table.c.consent == number) & (table.c.caller == caller)
        with self.callers.store.reading() as connection:
            row = connection.execute(sa.select(table).where(here)).one_or_none()
        if row is None:
            raise NoConsent(f"there is no consent {number} to this caller")
        if row.withdrawn_at is not None or from_epoch(row.ends) < now:
            raise ConsentOver(f"consent {number} {'was withdrawn' if row.withdrawn_at is not None else 'has ended'}")
        authority = self._authorities[CertificateType.SIGNATURE]
        revocations = authority.revocations
        holder = authority.find(row.serial).holder
        if not any(
            revocations.status(found.serial).state is CertificateState.GOOD for found in authority.of_holder(holder)
        ):
            raise NoGoodCertificate(
                "the holder has no signature certificate that is good; a new one must be issued first"
            )
        resident = self._identity(ResidentRecordCode(holder))
        self._log(caller, ATTRIBUTES, CertificateType.SIGNATURE, None, f"consent {number}")
        return {
            "name": str(resident.name),
            "furigana": resident.name.kana,
            "address": resident.address,
            "birth": str(resident.birth),
            "sex": resident.sex.value,
            "emigrated": resident.status is ResidencyStatus.ABROAD,
        }

    def _checked(self, caller: str, signed: SignedStatement, purpose: str) -> tuple[dict[str, Any], Issued]:
        """The statement and the certificate's record, where holder, signature, purpose and addressee are as they must
        be."""
        try:
            certificate = x509.load_der_x509_certificate(signed.certificate)
            statement = json.loads(signed.statement)
        except (ValueError, RecursionError) as error:
            raise StatementRejected("the certificate or the statement cannot be read") from error
        authority = self._authorities[CertificateType.SIGNATURE]
        try:
            known = authority.find(certificate.serial_number)
            standing = authority.revocations.status(known.serial)
        except NoSuchCertificate as error:
            raise StatementRejected("the certificate is none of the signature authority's") from error
        key = certificate.public_key()
        if known.certificate != signed.certificate or not isinstance(key, rsa.RSAPublicKey):
            raise StatementRejected("the certificate is none of the signature authority's")
        if standing.state is not CertificateState.GOOD:
            raise NoGoodCertificate(f"the certificate is {standing.state.value}; sign with one that is good")
        try:
            key.verify(signed.signature, signed.statement, padding.PKCS1v15(), hashes.SHA256())
        except InvalidSignature as error:
            raise StatementRejected("the signature is not the holder's over this statement") from error
        if not isinstance(statement, dict) or (statement.get("purpose"), statement.get("caller")) != (purpose, caller):
            raise StatementRejected(f"the statement must say purpose {purpose!r} and caller {caller!r}")
        return statement, known

    def _log(self, caller: str, service: str, kind: CertificateType, serial: int | None, said: str) -> None:
        self.callers.log([Query(self._world.clock.now(), caller, service, kind, serial, said)])


def _chain(issued: list[Issued], known: Issued) -> list[Issued]:
    """The certificates that lead to and from one of them by taking each other's place, oldest first."""
    by_serial = {found.serial: found for found in issued}
    following = {found.predecessor: found for found in issued if found.predecessor is not None}
    chain = [known]
    while (before := by_serial.get(chain[0].predecessor or 0)) is not None:
        chain.insert(0, before)
    while (after := following.get(chain[-1].serial)) is not None:
        chain.append(after)
    return chain


def _years_later(day: date, years: int) -> date:
    try:
        return day.replace(year=day.year + years)
    except ValueError:
        return date(day.year + years, 3, 1)
