"""The certificates of bodies' business systems, in the core's store: issued, listed, and removed.

An interface system learns from the core which certificates were removed, and refuses them by their fingerprints.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from kazashi.provision_network.core_store import BUSINESS_SYSTEM, OUTBOX, log
from kazashi.provision_network.membership import Membership
from kazashi.provision_network.terms import CORE, NetworkRejected
from kazashi.web.mutual_tls import Credentials, ServiceAuthority
from kazashi.world.clock import Clock, epoch, from_epoch
from kazashi.world.storage import Store

SYSTEM = "system"
"""The unit in the certificate of a body's business system."""

_system = BUSINESS_SYSTEM.c


@dataclass(frozen=True, slots=True)
class BusinessSystem:
    """A business system of a body: the SHA-256 fingerprint of its certificate, and who uses it, which is the body
    itself or the party to which it has entrusted an affair."""

    fingerprint: str
    body: str
    used_by: str
    issued: datetime
    removed: datetime | None


def fingerprint_of(certificate: bytes) -> str:
    """Return the SHA-256 fingerprint of a certificate (PEM), in hexadecimal."""
    return hashlib.sha256(x509.load_pem_x509_certificate(certificate).public_bytes(Encoding.DER)).hexdigest()


class BusinessSystems:
    """The register of business systems."""

    def __init__(self, store: Store, clock: Clock, authority: ServiceAuthority, members: Membership) -> None:
        self._store = store
        self._clock = clock
        self._authority = authority
        self._members = members

    def issue(self, body: str, used_by: str = "") -> tuple[Credentials, BusinessSystem]:
        """Issue a certificate for a body's business system. `used_by` is the party that uses it, if not the body.
        Raises NetworkRejected if the body is not on the network."""
        now = self._clock.now()
        issued = self._authority.credentials(body, now, unit=SYSTEM)
        system = BusinessSystem(fingerprint_of(issued.certificate), body, used_by or body, now, None)
        with self._store.alone() as connection:
            self._members.within(connection).known(body)
            row = {"fingerprint": system.fingerprint, "body": body, "used_by": system.used_by, "issued": epoch(now)}
            connection.execute(sa.insert(BUSINESS_SYSTEM), row)
            log(connection, now, "business system added", {"body": body, "used by": system.used_by})
        return issued, system

    def all(self) -> list[BusinessSystem]:
        """Return all business systems, removed ones too, oldest first."""
        query = sa.select(BUSINESS_SYSTEM).order_by(_system.issued, _system.fingerprint)
        with self._store.reading() as connection:
            return [
                BusinessSystem(row.fingerprint, row.body, row.used_by, from_epoch(row.issued),
                               None if row.removed is None else from_epoch(row.removed))
                for row in connection.execute(query)
            ]  # fmt: skip

    def remove(self, digits: str) -> BusinessSystem:
        """Remove the system whose fingerprint begins with these digits. Raises NetworkRejected unless it is the only
        one."""
        found = [one for one in self.all() if one.removed is None and one.fingerprint.startswith(digits.lower())]
        if len(found) != 1:
            words = f"{len(found)} business systems have a fingerprint that begins with {digits[:64]!r}"
            raise NetworkRejected("unknown-system", words)
        self._remove(found)
        return found[0]

    def remove_all(self, body: str) -> None:
        """Remove all systems of a body."""
        self._remove([one for one in self.all() if one.removed is None and one.body == body])

    def _remove(self, systems: list[BusinessSystem]) -> None:
        now = self._clock.now()
        with self._store.alone() as connection, OUTBOX.batch(connection, CORE, now) as send:
            for one in systems:
                this = _system.fingerprint == one.fingerprint
                connection.execute(sa.update(BUSINESS_SYSTEM).where(this).values(removed=epoch(now)))
                log(connection, now, "business system removed", {"body": one.body})
                interface = self._members.within(connection).known(one.body).interface
                if interface:
                    send(interface, "system-removed", {"fingerprint": one.fingerprint})
