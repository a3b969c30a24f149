"""The bodies' registers of consents (同意): who has consented that a body gives which information to whom, and for
what.

A consent counts from the day on which it was given until it is withdrawn. It has no effect where the law does not ask
for one: nobody's consent makes a provision possible that no item of article 19 allows.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Any

import sqlalchemy as sa

from kazashi.provision_network.body_register_store import CONSENT, body_register_store, day_in, log
from kazashi.provision_network.documents import checked_text
from kazashi.provision_network.terms import NetworkRejected
from kazashi.world.home import World

_consent = CONSENT.c


@dataclass(frozen=True, slots=True)
class Consent:
    """A person's consent, in the register of a body.

    `address_number` is the person's at the body. `receiver` is the body or the office that gets the information, and
    `purpose` the affair that the person was told. `withdrawn` is None for a consent that was not withdrawn.
    """

    number: int
    body: str
    address_number: str
    information: str
    receiver: str
    purpose: str
    given: date
    withdrawn: date | None

    def in_force(self, on: date) -> bool:
        """Whether the consent counts on a day. On the day of its withdrawal it does not count any more."""
        return self.given <= on and (self.withdrawn is None or on < self.withdrawn)


class Consents:
    """The registers of consents of one world's bodies."""

    def __init__(self, world: World) -> None:
        self._clock = world.clock
        self.store = body_register_store(world)

    def add(
        self, body: str, address_number: str, information: str, receiver: str, purpose: str, on: date
    ) -> Consent:  # fmt: skip
        """Register a consent.

        Raises NetworkRejected if the same one is registered and not withdrawn, and DocumentRejected for a text that
        cannot be stored.
        """
        row = {
            "body": body, "address_number": address_number, "given": on.isoformat(),
            "information": checked_text(information, "the information"),
            "purpose": checked_text(purpose, "the purpose"), "receiver": checked_text(receiver, "the receiver"),
        }  # fmt: skip
        names = ("body", "address_number", "information", "receiver", "purpose")
        same = sa.and_(_consent.withdrawn.is_(None), *(_consent[name] == row[name] for name in names))
        with self.store.alone() as connection:
            if (known := connection.scalar(sa.select(_consent.number).where(same))) is not None:
                raise NetworkRejected("consent-exists", f"consent {known} of {body} says the same")
            number = connection.execute(sa.insert(CONSENT).returning(_consent.number), row).scalar_one()
            log(connection, self._clock.now(), "consent given", {"body": body, "number": number})
        return self.consent(body, int(number))

    def withdraw(self, body: str, number: int, on: date) -> Consent:
        """Withdraw a consent. Raises NetworkRejected if it was withdrawn before, or is not in the body's register."""
        found = self.consent(body, number)
        if on < found.given:
            raise NetworkRejected("wrong-order", f"consent {number} of {body} was only given on {found.given}")
        this = (_consent.number == number) & _consent.withdrawn.is_(None)
        with self.store.alone() as connection:
            if not connection.execute(sa.update(CONSENT).where(this).values(withdrawn=on.isoformat())).rowcount:
                raise NetworkRejected("withdrawn", f"consent {number} of {body} was withdrawn already")
            log(connection, self._clock.now(), "consent withdrawn", {"body": body, "number": number})
        return self.consent(body, number)

    def consent(self, body: str, number: int) -> Consent:
        """Return a consent by its number. Raises NetworkRejected if the body has none of that number."""
        found = next((one for one in self.of(body) if one.number == number), None)
        if found is None:
            raise NetworkRejected("unknown-consent", f"{body} has no consent {number} in its register")
        return found

    def of(self, body: str | None = None) -> list[Consent]:
        """Return the consents in the register of one body, or of all, oldest first."""
        query = sa.select(CONSENT).order_by(_consent.number)
        if body is not None:
            query = query.where(_consent.body == body)
        with self.store.reading() as connection:
            return [_as_consent(row) for row in connection.execute(query)]

    def given(self, body: str, address_number: str, information: str, receiver: str, purpose: str, on: date) -> bool:
        """Return whether a consent counts on a day to what a body wants to do with a person's information."""
        return address_number in self.people(body, information, receiver, purpose, on)

    def people(self, body: str, information: str, receiver: str, purpose: str, on: date) -> set[str]:
        """Return the address numbers of all people whose consent counts on a day."""
        return {
            one.address_number for one in self.of(body)
            if (one.information, one.receiver, one.purpose) == (information, receiver, purpose) and one.in_force(on)
        }  # fmt: skip

    def stated(self, body: str, address_number: str, information: str, receiver: str) -> None:
        """Record that a body has stated a person's consent that is in no register."""
        detail = {"body": body, "address_number": address_number, "information": information, "receiver": receiver}
        with self.store.transaction() as connection:
            log(connection, self._clock.now(), "consent stated, not registered", detail)


def _as_consent(row: Any) -> Consent:
    return Consent(
        row.number, row.body, row.address_number, row.information, row.receiver, row.purpose,
        date.fromisoformat(row.given), day_in(row.withdrawn),
    )  # fmt: skip
