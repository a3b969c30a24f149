"""The authorities' services to verifiers besides OCSP: status, linkage of serial numbers, latest attributes.

The services are those of article 18 of the Act on JPKI. Their real messages are not public; the ones here are our own.
Callers must be registered, and every answered query is logged.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

import sqlalchemy as sa
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from kazashi.jpki.linkage import Follow, LinkedCertificate
from kazashi.jpki.profile import CertificateType
from kazashi.jpki.serial_number import serial_text
from kazashi.jpki.state import CertificateState, CertificateStatus
from kazashi.pki.authority import Authority
from kazashi.pki.callers import ATTRIBUTES, LINKAGE, STATUS, Callers, Query
from kazashi.pki.certificate_database import Issued, NoSuchCertificate
from kazashi.resident_registry.juki_net import JLis
from kazashi.resident_registry.number import ResidentRecordCode
from kazashi.resident_registry.resident import ResidencyStatus
from kazashi.world.clock import JST, end_of_day, epoch, from_epoch
from kazashi.world.home import World

CONSENT_YEARS = 10

CONSENT_PURPOSE, WITHDRAWAL_PURPOSE = "consent to the latest attributes", "withdrawal of consent"


class ConsentRejected(Exception):
    """A consent or its use is rejected; the message gives the reason, and no attribute was disclosed."""


class NoConsent(ConsentRejected):
    """There is no such consent by this holder or for this caller."""


class ConsentOver(ConsentRejected):
    """The consent was withdrawn or has expired."""


class NoGoodCertificate(ConsentRejected):
    """The holder has no good signature certificate, or signed with one that is not good."""


class StatementRejected(ConsentRejected):
    """The signed statement is not by a holder, or does not have the required contents."""


@dataclass(frozen=True, slots=True)
class SignedStatement:
    """A statement that a holder has signed: JSON text as bytes, the signature over it (PKCS#1 v1.5 with SHA-256), and
    the signature certificate as DER.

    The statement is `{"purpose": ..., "caller": ..., "service": ...}`; the caller may add further keys.
    """

    statement: bytes
    signature: bytes
    certificate: bytes


class HolderUnsettled(Exception):
    """The holder's resident record code has just changed, and the authorities have not been told yet. Which
    certificates belong to the holder is known in a moment."""


class VerifierServices:
    """The services to registered callers. `j_lis` is the node of Juki-Net that knows the holders."""

    def __init__(self, world: World, authorities: Mapping[CertificateType, Authority], j_lis: JLis) -> None:
        self._world = world
        self._authorities = authorities
        self._j_lis = j_lis
        self.callers = Callers(world)

    def serial(self, kind: CertificateType, text: str) -> tuple[int, str]:
        """Return the serial number that a caller has written, and a note if it was read as decimal. See
        `Authority.named`."""
        certificate, note = self._authorities[kind].named(text)
        return certificate.serial, note

    def status(self, caller: str, kind: CertificateType, serial: int) -> CertificateStatus:
        """Return a certificate's current status. Raises NoSuchCertificate."""
        status = self._authorities[kind].revocations.status(serial)
        self._log(caller, STATUS, kind, serial, status.state.value)
        return status

    def linkage(
        self, caller: str, kind: CertificateType, serial: int, follow: Follow = Follow.PERSON,
        types: Sequence[CertificateType] = tuple(CertificateType),
    ) -> list[LinkedCertificate]:  # fmt: skip
        """Return the certificates of these types that belong together with a certificate, itself included if its type
        is one of them. Those of each type are in the order of notBefore, then of serial number.

        `follow` says how far to go; one that is not Follow.PERSON keeps from the caller what it does not need. Raises
        NoSuchCertificate and HolderUnsettled.
        """
        holder, medium_id = self._authorities[kind].holder_of(serial)
        # New certificates have the new code, and those of before the old one until the notice has arrived.
        unsettled = self._j_lis.is_recoding(ResidentRecordCode(holder))
        only = medium_id if follow is not Follow.PERSON else None
        found = {each: self._authorities[each].linked(holder, only) for each in {kind, *types}}
        if unsettled or serial not in [number for number, _ in found[kind]]:
            raise HolderUnsettled("the holder's resident record code is just changing; try again in a moment")
        linked = [
            LinkedCertificate(each, number, medium)
            for each in types
            for number, medium in found[each]
            if follow is not Follow.CERTIFICATE or (each, number) == (kind, serial)
        ]
        answer = " ".join([follow.value, *(f"{each.kind.code}:{serial_text(each.serial)}" for each in linked)])
        self._log(caller, LINKAGE, kind, serial, answer)
        return linked

    def consent(self, caller: str, signed: SignedStatement) -> int:
        """Record a holder's consent to the disclosure of their latest attributes to a caller; return its number.

        A consent lasts ten years from the next day. Raises ConsentRejected.
        """
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
        """Record a holder's withdrawal of a consent. Raises ConsentRejected."""
        _, holder = self._checked(caller, signed, WITHDRAWAL_PURPOSE)
        table = self.callers.consent
        condition = (table.c.consent == number) & (table.c.caller == caller) & table.c.withdrawn_at.is_(None)
        with self.callers.store.transaction() as connection:
            row = connection.execute(sa.select(table).where(condition)).one_or_none()
            if row is None or self._authorities[CertificateType.SIGNATURE].find(row.serial).holder != holder.holder:
                raise NoConsent(f"there is no consent {number} by this holder that could be withdrawn")
            connection.execute(sa.update(table).where(condition).values(withdrawn_at=epoch(self._world.clock.now())))

    def latest_attributes(self, caller: str, number: int) -> dict[str, Any]:
        """Return a holder's four attributes, their furigana and whether they have left the country.

        The keys are `name`, `furigana`, `address`, `birth`, `sex` and `emigrated`; no serial number is disclosed.
        Raises ConsentRejected without a valid consent, or while the holder has no good signature certificate.
        """
        table, now = self.callers.consent, self._world.clock.now()
        condition = (table.c.consent == number) & (table.c.caller == caller)
        with self.callers.store.reading() as connection:
            row = connection.execute(sa.select(table).where(condition)).one_or_none()
        if row is None:
            raise NoConsent(f"there is no consent {number} for this caller")
        if row.withdrawn_at is not None or from_epoch(row.ends) < now:
            raise ConsentOver(f"consent {number} {'was withdrawn' if row.withdrawn_at is not None else 'has expired'}")
        authority = self._authorities[CertificateType.SIGNATURE]
        revocations = authority.revocations
        holder = authority.find(row.serial).holder
        if not any(
            revocations.status(issued.serial).state is CertificateState.GOOD for issued in authority.of_holder(holder)
        ):
            raise NoGoodCertificate("the holder has no good signature certificate; a new one must be issued first")
        resident = self._j_lis.identity(ResidentRecordCode(holder))
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
        """Return the statement and the certificate's record after checking holder, signature, purpose and caller.
        Raises ConsentRejected."""
        try:
            certificate = x509.load_der_x509_certificate(signed.certificate)
            statement = json.loads(signed.statement)
        except (ValueError, RecursionError) as error:
            raise StatementRejected("the certificate or the statement cannot be read") from error
        authority = self._authorities[CertificateType.SIGNATURE]
        try:
            issued = authority.find(certificate.serial_number)
            status = authority.revocations.status(issued.serial)
        except NoSuchCertificate as error:
            raise StatementRejected("the certificate was not issued by the signature authority") from error
        key = certificate.public_key()
        if issued.certificate != signed.certificate or not isinstance(key, rsa.RSAPublicKey):
            raise StatementRejected("the certificate was not issued by the signature authority")
        if status.state is not CertificateState.GOOD:
            raise NoGoodCertificate(f"the certificate is {status.state.value}; sign with one that is good")
        try:
            key.verify(signed.signature, signed.statement, padding.PKCS1v15(), hashes.SHA256())
        except InvalidSignature as error:
            raise StatementRejected("the signature does not verify with the certificate") from error
        if not isinstance(statement, dict) or (statement.get("purpose"), statement.get("caller")) != (purpose, caller):
            raise StatementRejected(f"the statement must have the purpose {purpose!r} and the caller {caller!r}")
        return statement, issued

    def _log(self, caller: str, service: str, kind: CertificateType, serial: int | None, answer: str) -> None:
        self.callers.log([Query(self._world.clock.now(), caller, service, kind, serial, answer)])


def _years_later(day: date, years: int) -> date:
    try:
        return day.replace(year=day.year + years)
    except ValueError:
        return date(day.year + years, 3, 1)
