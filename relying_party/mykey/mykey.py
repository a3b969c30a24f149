"""The MyKey platform (マイキープラットフォーム): one identifier to a person, with which libraries know their members.

It holds a table of correspondence, and no history: which identifier has which member number at which service. Who
borrows what, and when somebody taps, is the services' matter and is written down nowhere here.

One person has one identifier because the authority says which serial numbers follow each other, as far as it says so:
a phone and a card made anew begin chains of their own. Without that chain
(`kazashi.relying_party.verify.linkage.NoLinkage`) a renewed card is a new person, and may have a second identifier.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from kazashi.jpki.profile import CertificateType
from kazashi.relying_party.verify.finding import Outcome
from kazashi.relying_party.verify.linkage import Linkage
from kazashi.relying_party.verify.verdict import Verdict
from kazashi.world.event_log import event_table
from kazashi.world.home import World
from kazashi.world.rng import secure_random
from kazashi.world.storage import Unsigned64

ACTOR = "mykey"
"""The name of this actor's store."""

ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
LENGTH = 8
PROPOSALS = 3
"""How often a free identifier is looked for before somebody is asked to wish for one."""

_SHAPE = re.compile(rf"[{ALPHABET}]{{{LENGTH}}}")


class MyKeyRejected(Exception):
    """What was asked of the MyKey platform is not granted; the message says why, and nothing was changed."""


class MalformedIdentifier(MyKeyRejected):
    """The identifier that was wished for, or the membership, has not the form of one."""


class MyKeyNotFound(MyKeyRejected):
    """No identifier goes with the card, or not yet."""


class NotAMember(MyKeyRejected):
    """The person is not a member of the service."""


class AlreadyAMember(MyKeyRejected):
    """The service has the member, or another one with that number, already."""


class TapUseNotOpen(MyKeyRejected):
    """The person has not enrolled with PIN and date of birth yet."""


class CertificateNotAccepted(MyKeyRejected):
    """The verdict on the certificate is not good, or it is not an authentication certificate."""


class AlreadyRegistered(MyKeyRejected):
    """The person has an identifier already."""


class IdentifierTaken(MyKeyRejected):
    """Somebody else has that identifier, or has had it."""


@dataclass(frozen=True, slots=True)
class MyKeyEntry:
    """A line of the table of correspondence."""

    identifier: str
    service: str
    member_number: str


class MyKeyPlatform:
    """Gives identifiers out and finds members. `linkage` tells which serial numbers are one person's."""

    def __init__(self, world: World, linkage: Linkage) -> None:
        self._world = world
        self._linkage = linkage
        metadata = sa.MetaData()
        self._identifier = sa.Table(
            "identifier", metadata,
            sa.Column("identifier", sa.Text, primary_key=True),
            # The oldest serial number of the chain, whatever its person renews later; empty once it is void.
            sa.Column("head", Unsigned64, unique=True),
            sa.Column("birth_digest", sa.LargeBinary),
            sa.Column("voided", sa.Boolean, nullable=False),
        )  # fmt: skip
        self._serial = sa.Table(
            "serial", metadata,
            sa.Column("serial", Unsigned64, primary_key=True, autoincrement=False),
            sa.Column("identifier", sa.Text, nullable=False, index=True),
        )  # fmt: skip
        self._member = sa.Table(
            "member", metadata,
            sa.Column("service", sa.Text, primary_key=True),
            sa.Column("identifier", sa.Text, primary_key=True),
            sa.Column("member_number", sa.Text, nullable=False),
            sa.UniqueConstraint("service", "member_number"),
        )  # fmt: skip
        self._event, self._log = event_table(metadata)
        self.store = world.store(ACTOR, metadata)

    # Identifiers

    def register(self, verdict: Verdict, wish: str | None = None) -> str:
        """Give the holder of an authentication certificate with a good verdict an identifier: the one wished for, or a
        random one. Raises CertificateNotAccepted, AlreadyRegistered, IdentifierTaken, MyKeyRejected and
        LinkageUnavailable."""
        serial = _entitled(verdict)
        if wish is not None and not _SHAPE.fullmatch(wish):
            raise MalformedIdentifier(f"a MyKey ID has {LENGTH} characters of 0-9 and A-Z, unlike {wish!r}")
        chain = self._linkage.renewal(CertificateType.AUTHENTICATION, serial)
        with self.store.alone() as connection:
            if (found := self._of_chain(connection, chain)) is not None:
                raise AlreadyRegistered(f"this person has the MyKey ID {found} already; one person has one")
            tried = [wish] if wish is not None else [self.propose() for _ in range(PROPOSALS)]
            table = self._identifier.c
            taken = set(connection.scalars(sa.select(table.identifier).where(table.identifier.in_(tried))))
            free = [identifier for identifier in tried if identifier not in taken]
            if not free:
                words = f"the MyKey ID {wish} is taken; wish for another" if wish else "none was free; wish for one"
                raise IdentifierTaken(words)
            row = {"identifier": free[0], "head": chain[0], "voided": False}
            connection.execute(sa.insert(self._identifier), row)
            rows = [{"serial": serial, "identifier": free[0]} for serial in chain]
            connection.execute(sa.insert(self._serial), rows)
            self._log(connection, self._now, "registered", {"identifier": free[0]})
        return free[0]

    def propose(self) -> str:
        """A random identifier, which nobody has been given."""
        number = secure_random(64)
        letters = []
        for _ in range(LENGTH):
            number, letter = divmod(number, len(ALPHABET))
            letters.append(ALPHABET[letter])
        return "".join(letters)

    def _of_chain(self, connection: sa.Connection, chain: Sequence[int]) -> str | None:
        table = self._serial.c
        return connection.scalar(sa.select(table.identifier).where(table.serial.in_(chain)))

    def find(self, serial: int) -> str | None:
        """The identifier that goes with a serial number, as far as the platform has heard."""
        with self.store.reading() as connection:
            return self._of_chain(connection, [serial])

    def void(self, verdict: Verdict) -> str:
        """Make the holder's identifier worth nothing, with all memberships; it is never given out again. Answers it.
        Raises CertificateNotAccepted and MyKeyRejected."""
        with self.store.alone() as connection:
            identifier = self._mine(connection, verdict)
            here = self._identifier.c.identifier == identifier
            connection.execute(
                sa.update(self._identifier).where(here).values(voided=True, head=None, birth_digest=None)
            )
            for table in (self._serial, self._member):
                connection.execute(sa.delete(table).where(table.c.identifier == identifier))
            self._log(connection, self._now, "voided", {"identifier": identifier})
        return identifier

    def adopt_renewals(self) -> int:
        """The night batch: ask the authority what has followed each serial number, and take that over. Answers how
        many new ones there were. Raises LinkageUnavailable; what was taken over until then stays."""
        table, people, adopted = self._serial.c, self._identifier.c, 0
        with self.store.reading() as connection:
            rows = connection.execute(sa.select(people.identifier, people.head).where(people.head.is_not(None)))
            heads = [tuple(row) for row in rows]
        for identifier, head in heads:
            chain = self._linkage.renewal(CertificateType.AUTHENTICATION, head)
            with self.store.alone() as connection:
                # What another identifier has stays there: somebody may have registered while the chain was cut.
                known = set(connection.scalars(sa.select(table.serial).where(table.serial.in_(chain))))
                mine = connection.scalar(sa.select(sa.func.count()).where(table.identifier == identifier))
                fresh = [found for found in chain if found not in known]
                if fresh and mine:
                    connection.execute(
                        sa.insert(self._serial), [{"serial": found, "identifier": identifier} for found in fresh]
                    )
                    self._log(connection, self._now, "renewal adopted", {"identifier": identifier})
                    adopted += len(fresh)
        return adopted

    # Services

    def enrol(self, verdict: Verdict, service: str, member_number: str, birth: date | None = None) -> MyKeyEntry:
        """Tie the holder's identifier to a member number of a service. With the date of birth, tap use is open from
        then on. Raises CertificateNotAccepted and MyKeyRejected."""
        if not service or not member_number:
            raise MalformedIdentifier("a membership has a service and a member number")
        try:
            with self.store.alone() as connection:
                identifier = self._mine(connection, verdict)
                connection.execute(
                    sa.insert(self._member),
                    {"service": service, "identifier": identifier, "member_number": member_number},
                )
                if birth is not None:
                    here = self._identifier.c.identifier == identifier
                    digest = _birth_digest(identifier, birth)
                    connection.execute(sa.update(self._identifier).where(here).values(birth_digest=digest))
                self._log(connection, self._now, "enrolled", {"identifier": identifier, "service": service})
        except IntegrityError as error:
            raise AlreadyAMember(
                f"{service} has this member, or somebody with the number {member_number}, already"
            ) from error
        return MyKeyEntry(identifier, service, member_number)

    def leave(self, verdict: Verdict, service: str) -> None:
        """End a membership. Raises CertificateNotAccepted, and MyKeyRejected where there is none."""
        table = self._member
        with self.store.alone() as connection:
            identifier = self._mine(connection, verdict)
            here = (table.c.identifier == identifier) & (table.c.service == service)
            if connection.execute(sa.delete(table).where(here)).rowcount == 0:
                raise NotAMember(f"{identifier} is no member of {service}")
            self._log(connection, self._now, "left", {"identifier": identifier, "service": service})

    def member(self, verdict: Verdict, service: str) -> MyKeyEntry:
        """The member whose card was read and whose PIN was verified. Raises CertificateNotAccepted and
        MyKeyRejected."""
        with self.store.reading() as connection:
            return self._membership(connection, self._mine(connection, verdict), service)

    def tap(self, verdict: Verdict, service: str) -> MyKeyEntry:
        """The member whose card was held over a reader, without a PIN: the verdict is on the certificate alone. It is
        open to those who have enrolled with PIN and date of birth once. Nothing is written down. Raises
        CertificateNotAccepted and
        MyKeyRejected."""
        table = self._identifier.c
        with self.store.reading() as connection:
            identifier = self._mine(connection, verdict)
            digest = connection.scalar(sa.select(table.birth_digest).where(table.identifier == identifier))
            if digest is None:
                raise TapUseNotOpen("tap use is not open yet: enrol once with PIN and date of birth")
            return self._membership(connection, identifier, service)

    def confirms_birth(self, identifier: str, birth: date) -> bool:
        """Whether that is the date of birth that tap use was opened with."""
        table = self._identifier.c
        with self.store.reading() as connection:
            digest = connection.scalar(sa.select(table.birth_digest).where(table.identifier == identifier))
        return digest is not None and bytes(digest) == _birth_digest(identifier, birth)

    def _membership(self, connection: sa.Connection, identifier: str, service: str) -> MyKeyEntry:
        table = self._member.c
        here = (table.identifier == identifier) & (table.service == service)
        number = connection.scalar(sa.select(table.member_number).where(here))
        if number is None:
            raise NotAMember(f"{identifier} is no member of {service}")
        return MyKeyEntry(identifier, service, str(number))

    def _mine(self, connection: sa.Connection, verdict: Verdict) -> str:
        identifier = self._of_chain(connection, [_entitled(verdict)])
        if identifier is None:
            raise MyKeyNotFound("no MyKey ID goes with this card (yet: a renewed card's is known from the next day)")
        return identifier

    @property
    def _now(self) -> datetime:
        return self._world.clock.now()

    def exposure(self) -> dict[str, list[dict[str, Any]]]:
        """All that the platform holds, table by table: what whoever reads its store learns."""
        tables = (self._identifier, self._serial, self._member, self._event)
        with self.store.reading() as connection:
            return {
                table.name: [dict(row) for row in connection.execute(sa.select(table)).mappings()] for table in tables
            }


def _entitled(verdict: Verdict) -> int:
    """The serial number of an authentication certificate of which the verdict is good."""
    found = verdict.certificate
    if verdict.outcome is not Outcome.GOOD or found is None or found.kind is not CertificateType.AUTHENTICATION:
        why = f"{verdict.finding}: {verdict.detail}" if verdict.finding else "it is no authentication certificate"
        raise CertificateNotAccepted(f"the card is not accepted: {why}")
    return found.serial


def _birth_digest(identifier: str, birth: date) -> bytes:
    """Not a secret from whoever has the store (there are some 40,000 dates), but nothing to read there at a glance."""
    return hashlib.sha256(f"{identifier} {birth.isoformat()}".encode()).digest()
