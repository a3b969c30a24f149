"""The clinics whose terminals may ask the joint body, each with a certificate of the joint body's own authority."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from kazashi.medical_insurance.joint_store import CLINIC, SECRETS, log
from kazashi.provision_network.business_systems import fingerprint_of
from kazashi.provision_network.terms import NetworkRejected
from kazashi.web.mutual_tls import Credentials, ServiceAuthority
from kazashi.world.clock import Clock, epoch, from_epoch
from kazashi.world.storage import Store

UNIT = "clinic"
"""The unit in a clinic's certificate."""

_AUTHORITY = "Kazashi insurers' joint body"
_clinic = CLINIC.c


@dataclass(frozen=True, slots=True)
class RegisteredClinic:
    """A clinic's certificate: its SHA-256 fingerprint, the clinic, and when it was issued and removed."""

    fingerprint: str
    name: str
    added: datetime
    removed: datetime | None


class Clinics:
    """The register of clinics in the joint body's store."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    def authority(self) -> ServiceAuthority:
        """Return the joint body's authority, which is made when it is first needed."""
        with self._store.alone() as connection:
            secrets = SECRETS.begin(connection, "authority", self._begin)
        return ServiceAuthority(_AUTHORITY, secrets["authority-key"], secrets["authority"])

    def _begin(self) -> dict[str, bytes]:
        authority = ServiceAuthority.begin(_AUTHORITY, self._clock.now())
        return {"authority-key": authority.key, "authority": authority.certificate}

    def add(self, name: str) -> Credentials:
        """Issue a certificate to a clinic. A clinic may have several."""
        now = self._clock.now()
        issued = self.authority().credentials(name, now, unit=UNIT)
        row = {"fingerprint": fingerprint_of(issued.certificate), "name": name, "added": epoch(now)}
        with self._store.transaction() as connection:
            connection.execute(sa.insert(CLINIC), row)
            log(connection, now, "clinic added", {"clinic": name})
        return issued

    def remove(self, name: str) -> int:
        """Accept a clinic's certificates no more. Returns how many there were. Raises NetworkRejected if none."""
        now = self._clock.now()
        with self._store.transaction() as connection:
            mine = (_clinic.name == name) & _clinic.removed.is_(None)
            removed = connection.execute(sa.update(CLINIC).where(mine).values(removed=epoch(now))).rowcount
            log(connection, now, "clinic removed", {"clinic": name})
        if not removed:
            raise NetworkRejected("unknown-clinic", f"there is no clinic {name}")
        return int(removed)

    def admits(self, fingerprint: str) -> bool:
        """Return whether a certificate is a clinic's and was not removed."""
        query = sa.select(_clinic.name).where(_clinic.fingerprint == fingerprint, _clinic.removed.is_(None))
        with self._store.reading() as connection:
            return connection.scalar(query) is not None

    def all(self) -> list[RegisteredClinic]:
        """Return all clinics' certificates, removed ones too, oldest first."""
        query = sa.select(CLINIC).order_by(_clinic.added, _clinic.fingerprint)
        with self._store.reading() as connection:
            return [
                RegisteredClinic(row.fingerprint, row.name, from_epoch(row.added),
                                 None if row.removed is None else from_epoch(row.removed))
                for row in connection.execute(query)
            ]  # fmt: skip
