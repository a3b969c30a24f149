"""The joint body of all medical insurers (支払基金・国保中央会): who is insured where, under numbers of its own.

It works with two identifiers: its own number for a person, drawn at random, and the code that the core issues for all
insurers as a group. It has no individual number. A card leads to the own number by the serial number of its
authentication certificate.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

import sqlalchemy as sa

from kazashi.jpki.profile import CertificateType
from kazashi.medical_insurance.entitlement import ITEM, Entitlement
from kazashi.medical_insurance.feed import ChangeType, FeedLine, FeedRejected, InsurerFeed
from kazashi.medical_insurance.joint_store import (
    ACTOR,
    CARD,
    DUE_COPY,
    ENTITLEMENT,
    EVENT,
    FEED,
    METADATA,
    PERSON,
    log,
    to_2,
)
from kazashi.provision_network.codes import InstitutionCode
from kazashi.provision_network.intermediate import IntermediateServer
from kazashi.provision_network.terms import NetworkRejected
from kazashi.relying_party.verify.linkage import Linkage, authentication_serials
from kazashi.world.clock import epoch, from_epoch
from kazashi.world.home import World
from kazashi.world.rng import secure_random
from kazashi.world.storage import insert_if_absent

NAME = "支払基金・国保中央会"
"""The joint body's name on the network."""

KIND = "医療保険者"
"""The kind of the joint body and of insurers in the table of affairs."""

GROUP = "医療保険者"
"""The group in which the joint body and the insurers share their codes."""

INTERFACE = "insurance"
"""The interface system of the joint body and the insurers (医療保険者等向け中間サーバー)."""

_NUMBERS = 10**12


@dataclass(frozen=True, slots=True)
class FeedReceipt:
    """The receipt of a file: the insurer, the file's number, its counts, and whether it had been accepted before."""

    insurer: str
    number: int
    new: int
    changed: int
    ended: int
    again: bool

    def as_dict(self) -> dict[str, Any]:
        """Return the receipt for JSON."""
        return {"insurer": self.insurer, "number": self.number, "new": self.new, "changed": self.changed,
                "ended": self.ended, "again": self.again}  # fmt: skip


@dataclass(frozen=True, slots=True)
class FeedEvent:
    """A file that was accepted or refused: when, whose, its number or 0, and the reason of a refusal."""

    at: datetime
    insurer: str
    number: int
    refused: str
    words: str


@dataclass(frozen=True, slots=True)
class InsuredPerson:
    """A person: the own number, the number of cards that are registered, and the entitlements."""

    own_number: str
    cards: int
    entitlements: tuple[Entitlement, ...]


class JointBody:
    """The joint body's register of insured persons, entitlements and cards."""

    def __init__(self, world: World, linkage: Linkage) -> None:
        self._clock = world.clock
        self._linkage = linkage
        self.store = world.store(ACTOR, METADATA, [to_2])

    # Files of insurers

    def accept(self, feed: InsurerFeed, codes: Mapping[str, InstitutionCode]) -> FeedReceipt:
        """Take a file over, all or none. `codes` are the codes of the insurer's people, by address number.

        The same file again changes nothing. Raises FeedRejected.
        """
        with self.store.alone() as connection:
            known = self._known_feed(connection, feed)
            if known is not None:
                return known
            touched: dict[str, str] = {}
            for line in feed.lines:
                touched[line.address_number] = self._take(connection, feed.insurer, line, codes)
            self._due(connection, feed.insurer, touched, codes)
            counts = {change.name.lower(): count for change, count in feed.counts.items()}
            now = self._clock.now()
            row = {"insurer": feed.insurer, "number": feed.number, "digest": feed.digest, "accepted_at": epoch(now)}
            connection.execute(sa.insert(FEED), {**row, **counts})
            log(connection, now, "feed accepted", {"insurer": feed.insurer, "number": feed.number, **counts})
        return FeedReceipt(feed.insurer, feed.number, again=False, **counts)

    def _due(
        self, connection: sa.Connection, insurer: str, people: Mapping[str, str], codes: Mapping[str, InstitutionCode]
    ) -> None:
        """Note the copies that the insurer's server must have about people, given as own numbers by address number."""
        for address, own in people.items():
            this = (DUE_COPY.c.insurer == insurer) & (DUE_COPY.c.address_number == address)
            row = {"insurer": insurer, "address_number": address, "own_number": own, "code": codes[address].value,
                   "content": self._content(connection, insurer, own)}  # fmt: skip
            connection.execute(sa.delete(DUE_COPY).where(this))
            connection.execute(sa.insert(DUE_COPY), row)

    def _known_feed(self, connection: sa.Connection, feed: InsurerFeed) -> FeedReceipt | None:
        """Return the receipt of a file that was accepted before, or None if it is the next one. Raises FeedRejected."""
        mine = FEED.c.insurer == feed.insurer
        row = connection.execute(sa.select(FEED).where(mine, FEED.c.number == feed.number)).one_or_none()
        if row is not None and row.digest != feed.digest:
            words = f"file {feed.number} of {feed.insurer} was accepted with another content; number this one anew"
            raise FeedRejected("feed-conflict", words)
        if row is not None:
            return FeedReceipt(feed.insurer, feed.number, row.new, row.changed, row.ended, again=True)
        last = self._last(connection, feed.insurer)
        if feed.number != last + 1:
            words = f"the next file of {feed.insurer} has the number {last + 1}, not {feed.number}"
            raise FeedRejected("feed-order", words)
        return None

    def next_number(self, insurer: str) -> int:
        """Return the number of an insurer's next file."""
        with self.store.reading() as connection:
            return self._last(connection, insurer) + 1

    def _last(self, connection: sa.Connection, insurer: str) -> int:
        return int(connection.scalar(sa.select(sa.func.max(FEED.c.number)).where(FEED.c.insurer == insurer)) or 0)

    def _take(
        self, connection: sa.Connection, insurer: str, line: FeedLine, codes: Mapping[str, InstitutionCode]
    ) -> str:
        """Take a line over, and return the own number of its person. Raises FeedRejected."""
        code = codes.get(line.address_number)
        if code is None:
            words = f"line {line.place}: {insurer} has nobody with the address number {line.address_number[:40]!r}"
            raise FeedRejected("feed-unknown-person", words)
        own = self._admitted(connection, code)
        this = (ENTITLEMENT.c.insurer == insurer) & (ENTITLEMENT.c.insured_number == line.insured_number)
        owner = connection.scalar(sa.select(ENTITLEMENT.c.own_number).where(this))
        if line.change is ChangeType.NEW and owner is not None:
            words = f"line {line.place}: {insurer} has an entitlement {line.insured_number} already"
            raise FeedRejected("feed-duplicate", words)
        if line.change is not ChangeType.NEW and owner != own:
            words = f"line {line.place}: that person has no entitlement {line.insured_number} with {insurer}"
            raise FeedRejected("feed-unknown-insured", words)
        days = {"begins": line.begins.isoformat(), "ends": line.ends.isoformat() if line.ends else None}
        if owner is None:
            row = {"insurer": insurer, "insured_number": line.insured_number, "own_number": own, **days}
            connection.execute(sa.insert(ENTITLEMENT), row)
        else:
            connection.execute(sa.update(ENTITLEMENT).where(this).values(**days))
        return own

    def _admitted(self, connection: sa.Connection, code: InstitutionCode) -> str:
        """Return a person's own number. A person who is new gets one, drawn at random."""
        known = connection.scalar(sa.select(PERSON.c.own_number).where(PERSON.c.code == code.value))
        while known is None:
            drawn = f"{secure_random(64) % _NUMBERS:012d}"
            if connection.execute(
                insert_if_absent(PERSON), {"own_number": drawn, "code": code.value}
            ).rowcount:  # fmt: skip
                known = drawn
        return str(known)

    def _content(self, connection: sa.Connection, insurer: str, own: str) -> str:
        held = [one for one in self._entitlements(connection, own) if one.insurer == insurer]
        return "\n".join(one.written() for one in held)

    def refuse(self, insurer: str, number: int, denial: str, words: str) -> None:
        """Record that a file was refused."""
        with self.store.transaction() as connection:
            detail = {"insurer": insurer, "number": number, "denial": denial, "why": words}
            log(connection, self._clock.now(), "feed refused", detail)

    def settle(self, server: Callable[[str], IntermediateServer]) -> int:
        """Let the insurers' and the joint body's intermediate servers have what accepted files have changed.

        `server` returns a body's server. A file counts only when this is done, so that whoever reads entitlements calls
        this first; it costs one query if nothing is due. Returns the number of copies.
        """
        with self.store.reading() as connection:
            rows = connection.execute(sa.select(DUE_COPY)).all()
        if not rows:
            return 0
        server(NAME).take_codes((row.own_number, InstitutionCode(bytes(row.code))) for row in rows)
        for insurer in dict.fromkeys(row.insurer for row in rows):
            try:
                registering = server(insurer)
            except NetworkRejected:  # it has left the network since, and its copies with it
                continue
            registering.register_all([
                (InstitutionCode(bytes(row.code)), row.address_number, ITEM, row.content, False)
                for row in rows if row.insurer == insurer
            ])  # fmt: skip
        with self.store.alone() as connection:
            for row in rows:  # a newer file may have changed it in the meantime
                this = (DUE_COPY.c.insurer == row.insurer) & (DUE_COPY.c.address_number == row.address_number)
                connection.execute(sa.delete(DUE_COPY).where(this, DUE_COPY.c.content == row.content))
        return len(rows)

    def feeds(self) -> list[FeedEvent]:
        """Return the files that were accepted or refused, oldest first."""
        query = sa.select(EVENT).where(EVENT.c.what.in_(("feed accepted", "feed refused"))).order_by(EVENT.c.position)
        with self.store.reading() as connection:
            rows = connection.execute(query).all()
        return [_event(row) for row in rows]

    # Persons and cards

    def register(self, serial: int, code: InstitutionCode) -> str | None:
        """Register an authentication certificate as an insurance card (利用登録).

        `code` is the insurers' code of its holder. Returns the own number, or None if no insurer has named the person.
        """
        with self.store.alone() as connection:
            own: str | None = connection.scalar(sa.select(PERSON.c.own_number).where(PERSON.c.code == code.value))
            if own is not None:
                connection.execute(sa.delete(CARD).where(CARD.c.serial == serial))
                connection.execute(sa.insert(CARD), {"serial": serial, "own_number": own})
                log(connection, self._clock.now(), "card registered", {"own_number": own})
        return own

    def number_of(self, serial: int) -> str | None:
        """Return the own number of a certificate's holder, or None if no certificate of theirs is registered.

        A renewed certificate is found by the authority's linkage, and is then registered. Raises LinkageUnavailable.
        """
        with self.store.reading() as connection:
            own = _number_by(connection, [serial])
        if own is None:
            linked = authentication_serials(self._linkage, CertificateType.AUTHENTICATION, serial)
            with self.store.transaction() as connection:
                own = _number_by(connection, linked)
                if own is not None:
                    connection.execute(insert_if_absent(CARD), {"serial": serial, "own_number": own})
        return own

    def entitlements(self, own_number: str) -> list[Entitlement]:
        """Return a person's entitlements with all insurers, by their first days."""
        with self.store.reading() as connection:
            return self._entitlements(connection, own_number)

    def code_of(self, own_number: str) -> InstitutionCode | None:
        """Return the insurers' code of a person, or None if there is nobody with that own number."""
        with self.store.reading() as connection:
            code = connection.scalar(sa.select(PERSON.c.code).where(PERSON.c.own_number == own_number))
        return None if code is None else InstitutionCode(bytes(code))

    def people(self) -> list[InsuredPerson]:
        """Return all persons, by own number."""
        with self.store.reading() as connection:
            numbers = list(connection.scalars(sa.select(PERSON.c.own_number).order_by(PERSON.c.own_number)))
            cards = sa.select(CARD.c.own_number, sa.func.count()).group_by(CARD.c.own_number)
            count = {row[0]: row[1] for row in connection.execute(cards)}
            return [InsuredPerson(one, count.get(one, 0), tuple(self._entitlements(connection, one)))
                    for one in numbers]  # fmt: skip

    def checked(self, detail: Mapping[str, Any]) -> None:
        """Record a check of a card."""
        with self.store.transaction() as connection:
            log(connection, self._clock.now(), "checked", detail)

    def _entitlements(self, connection: sa.Connection, own: str) -> list[Entitlement]:
        query = sa.select(ENTITLEMENT).where(ENTITLEMENT.c.own_number == own)
        rows = connection.execute(query.order_by(ENTITLEMENT.c.begins, ENTITLEMENT.c.insured_number))
        return [
            Entitlement(row.insurer, row.insured_number, date.fromisoformat(row.begins),
                        date.fromisoformat(row.ends) if row.ends else None)
            for row in rows
        ]  # fmt: skip


def _number_by(connection: sa.Connection, serials: Iterable[int]) -> str | None:
    return connection.scalar(sa.select(CARD.c.own_number).where(CARD.c.serial.in_(list(serials))).limit(1))


def _event(row: Any) -> FeedEvent:
    detail = json.loads(row.detail)
    return FeedEvent(from_epoch(row.at), detail["insurer"], detail["number"], detail.get("denial", ""),
                     detail.get("why", ""))  # fmt: skip
