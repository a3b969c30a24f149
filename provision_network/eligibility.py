"""The online check of medical insurance (オンライン資格確認): the joint body of all insurers finds the current insurer
of a card's holder from the authentication certificate.

The body has its own number for everybody insured and, like all insurers, one shared code on the network. It has no
column for the individual number.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from enum import Enum
from typing import Any

import sqlalchemy as sa

from kazashi.jpki.profile import CertificateType
from kazashi.provision_network.terms import NetworkRejected
from kazashi.relying_party.verify.finding import Outcome
from kazashi.relying_party.verify.linkage import Linkage, authentication_serials
from kazashi.relying_party.verify.verdict import Verdict
from kazashi.world.clock import today
from kazashi.world.event_log import event_table
from kazashi.world.home import World
from kazashi.world.storage import Unsigned64, insert_if_absent

ACTOR = "eligibility"
"""The name of the service's store."""

METADATA = sa.MetaData()
_, _log = event_table(METADATA)

INSURED = sa.Table(
    "insured", METADATA,
    sa.Column("insured_number", sa.Text, primary_key=True),
    sa.Column("insurer", sa.Text, nullable=False),
    sa.Column("begins", sa.Text, nullable=False),
    sa.Column("ends", sa.Text),
    sa.Column("code", sa.LargeBinary),
)  # fmt: skip

CARD = sa.Table(
    "card", METADATA,
    sa.Column("serial", Unsigned64, primary_key=True, autoincrement=False),
    sa.Column("insured_number", sa.Text, nullable=False),
)  # fmt: skip


class Check(Enum):
    """How the holder of the card was verified."""

    PIN = "PIN"
    FACE = "face, without a PIN"


@dataclass(frozen=True, slots=True)
class Insurance:
    """An entitlement: the joint body's own number for the person, the insurer, and the first and last day (None: no
    end)."""

    insured_number: str
    insurer: str
    begins: date
    ends: date | None

    def holds(self, day: date) -> bool:
        """Return whether the insurance is valid on a day."""
        return self.begins <= day and (self.ends is None or day <= self.ends)


@dataclass(frozen=True, slots=True)
class Eligibility:
    """The reply to a clinic: the insurance of the card's holder, and whether it is valid today."""

    insurance: Insurance | None
    valid: bool
    words: str


class EligibilityService:
    """The joint body's service for clinics and insurers."""

    def __init__(self, world: World, linkage: Linkage) -> None:
        self._world = world
        self._linkage = linkage
        self.store = world.store(ACTOR, METADATA)

    def insure(self, insurance: Insurance, code: bytes = b"") -> None:
        """Insert an entitlement, or replace it. `code` is the insurers' shared code for the person."""
        table = INSURED
        row = {"insured_number": insurance.insured_number, "insurer": insurance.insurer,
               "begins": insurance.begins.isoformat(), "code": code,
               "ends": insurance.ends.isoformat() if insurance.ends else None}  # fmt: skip
        with self.store.alone() as connection:
            connection.execute(sa.delete(table).where(table.c.insured_number == insurance.insured_number))
            connection.execute(sa.insert(table), row)

    def tie(self, verdict: Verdict, insured_number: str) -> None:
        """Register the card as an insurance card of an insured person. Raises NetworkRejected."""
        serial = _serial(verdict)
        with self.store.alone() as connection:
            if self._insurance(connection, insured_number) is None:
                raise NetworkRejected("not-insured", f"nobody is insured under {insured_number}")
            connection.execute(sa.delete(CARD).where(CARD.c.serial == serial))
            connection.execute(sa.insert(CARD), {"serial": serial, "insured_number": insured_number})

    def check(self, verdict: Verdict, clinic: str, how: Check) -> Eligibility:
        """Return the insurance of the card's holder. The clinic's request is logged.

        Raises NetworkRejected if the verdict is not good, and LinkageUnavailable.
        """
        serial = _serial(verdict)
        with self.store.reading() as connection:
            insured_number = self._insured_number(connection, [serial])
        if insured_number is None:  # the person's earlier certificates may be registered
            linked = authentication_serials(self._linkage, CertificateType.AUTHENTICATION, serial)
            with self.store.transaction() as connection:
                insured_number = self._insured_number(connection, linked)
                if insured_number is not None:
                    row = {"serial": serial, "insured_number": insured_number}
                    connection.execute(insert_if_absent(CARD), row)
        with self.store.transaction() as connection:
            detail = {"clinic": clinic, "how": how.value, "insured_number": insured_number}
            _log(connection, self._world.clock.now(), "checked", detail)
            insurance = None if insured_number is None else self._insurance(connection, insured_number)
        if insurance is None:
            return Eligibility(None, False, "this card is not registered as an insurance card")
        day = today(self._world.clock)
        valid = insurance.holds(day)
        early = day < insurance.begins
        ended = f"the insurance begins on {insurance.begins}" if early else f"the insurance ended on {insurance.ends}"
        return Eligibility(insurance, valid, "insured" if valid else ended)

    def _insured_number(self, connection: sa.Connection, serials: list[int]) -> str | None:
        query = sa.select(CARD.c.insured_number).where(CARD.c.serial.in_(serials)).limit(1)
        return connection.scalar(query)

    def _insurance(self, connection: sa.Connection, insured_number: str) -> Insurance | None:
        query = sa.select(INSURED).where(INSURED.c.insured_number == insured_number)
        row: Any = connection.execute(query).one_or_none()
        if row is None:
            return None
        ends = date.fromisoformat(row.ends) if row.ends else None
        return Insurance(row.insured_number, row.insurer, date.fromisoformat(row.begins), ends)


def _serial(verdict: Verdict) -> int:
    """Return the serial number of a valid authentication certificate. Raises NetworkRejected if it is not one."""
    certificate = verdict.certificate
    if (
        verdict.outcome is not Outcome.GOOD
        or certificate is None
        or certificate.kind is not CertificateType.AUTHENTICATION
    ):
        raise NetworkRejected("not-entitled", f"the card's certificate is {verdict.outcome.value}: {verdict.detail}")
    return certificate.serial
