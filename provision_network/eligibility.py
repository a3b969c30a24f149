"""The check of medical insurance by card (オンライン資格確認): from an authentication certificate to whoever insures
its holder today, at the joint body of all insurers.

The body has a number of its own for everybody it insures and, as all insurers do, one shared code on the network. It
has no column for the individual number (B16).
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
from kazashi.relying_party.verify.linkage import Linkage
from kazashi.relying_party.verify.verdict import Verdict
from kazashi.world.clock import today
from kazashi.world.event_log import event_table
from kazashi.world.home import World
from kazashi.world.storage import Unsigned64, insert_if_absent

ACTOR = "eligibility"
"""The name of this actor's store."""


class Check(Enum):
    """How it was seen that the card is its holder's."""

    PIN = "PIN"
    FACE = "face, without a PIN"


@dataclass(frozen=True, slots=True)
class Insurance:
    """An entitlement: the joint body's own number for the person, the insurer, and from when until when it holds."""

    insured_number: str
    insurer: str
    begins: date
    ends: date | None

    def holds(self, day: date) -> bool:
        """Whether it holds on a day."""
        return self.begins <= day and (self.ends is None or day <= self.ends)


@dataclass(frozen=True, slots=True)
class Eligibility:
    """The answer to a clinic: who insures the card's holder, and whether that holds today."""

    insurance: Insurance | None
    valid: bool
    words: str


class EligibilityService:
    """The joint body's service."""

    def __init__(self, world: World, linkage: Linkage) -> None:
        self._world = world
        self._linkage = linkage
        metadata = sa.MetaData()
        self.insured = sa.Table(
            "insured", metadata,
            sa.Column("insured_number", sa.Text, primary_key=True),
            sa.Column("insurer", sa.Text, nullable=False),
            sa.Column("begins", sa.Text, nullable=False),
            sa.Column("ends", sa.Text),
            sa.Column("code", sa.LargeBinary),
        )  # fmt: skip
        self.card = sa.Table(
            "card", metadata,
            sa.Column("serial", Unsigned64, primary_key=True, autoincrement=False),
            sa.Column("insured_number", sa.Text, nullable=False),
        )  # fmt: skip
        _, self._log = event_table(metadata)
        self.store = world.store(ACTOR, metadata)

    def insure(self, insurance: Insurance, code: bytes = b"") -> None:
        """An insurer tells of an entitlement, or of its end. `code` is the insurers' shared code for the person."""
        table = self.insured
        row = {"insured_number": insurance.insured_number, "insurer": insurance.insurer,
               "begins": insurance.begins.isoformat(), "code": code,
               "ends": insurance.ends.isoformat() if insurance.ends else None}  # fmt: skip
        with self.store.alone() as connection:
            connection.execute(sa.delete(table).where(table.c.insured_number == insurance.insured_number))
            connection.execute(sa.insert(table), row)

    def tie(self, verdict: Verdict, insured_number: str) -> None:
        """Use of the card as an insurance card begins. Raises NetworkRejected."""
        serial = _serial(verdict)
        with self.store.alone() as connection:
            if self._insurance(connection, insured_number) is None:
                raise NetworkRejected("not-insured", f"nobody is insured under {insured_number}")
            connection.execute(sa.delete(self.card).where(self.card.c.serial == serial))
            connection.execute(sa.insert(self.card), {"serial": serial, "insured_number": insured_number})

    def check(self, verdict: Verdict, clinic: str, how: Check) -> Eligibility:
        """Who insures the card's holder; the clinic's question is logged. Raises NetworkRejected for a verdict that is
        not good, and LinkageUnavailable."""
        serial = _serial(verdict)
        with self.store.reading() as connection:
            known = self._tied(connection, [serial])
        if known is None:  # a renewed certificate: the authority says what came before
            chain = self._linkage.renewal(CertificateType.AUTHENTICATION, serial)
            with self.store.transaction() as connection:
                known = self._tied(connection, chain)
                if known is not None:
                    row = {"serial": serial, "insured_number": known}
                    connection.execute(insert_if_absent(self.card), row)
        with self.store.transaction() as connection:
            now = self._world.clock.now()
            self._log(connection, now, "checked", {"clinic": clinic, "how": how.value, "insured_number": known})
            insurance = None if known is None else self._insurance(connection, known)
        if insurance is None:
            return Eligibility(None, False, "this card is not used as an insurance card yet")
        day = today(self._world.clock)
        valid = insurance.holds(day)
        early = day < insurance.begins
        ended = f"the insurance begins on {insurance.begins}" if early else f"the insurance ended on {insurance.ends}"
        return Eligibility(insurance, valid, "insured" if valid else ended)

    def _tied(self, connection: sa.Connection, serials: list[int]) -> str | None:
        query = sa.select(self.card.c.insured_number).where(self.card.c.serial.in_(serials)).limit(1)
        return connection.scalar(query)

    def _insurance(self, connection: sa.Connection, insured_number: str) -> Insurance | None:
        query = sa.select(self.insured).where(self.insured.c.insured_number == insured_number)
        row: Any = connection.execute(query).one_or_none()
        if row is None:
            return None
        ends = date.fromisoformat(row.ends) if row.ends else None
        return Insurance(row.insured_number, row.insurer, date.fromisoformat(row.begins), ends)


def _serial(verdict: Verdict) -> int:
    """The serial number, where the verdict is good and on an authentication certificate. Raises NetworkRejected."""
    certificate = verdict.certificate
    if (
        verdict.outcome is not Outcome.GOOD
        or certificate is None
        or certificate.kind is not CertificateType.AUTHENTICATION
    ):
        raise NetworkRejected("not-entitled", f"the card's certificate is {verdict.outcome.value}: {verdict.detail}")
    return certificate.serial
