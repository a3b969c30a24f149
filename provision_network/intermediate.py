"""Intermediate servers (中間サーバー): a body's copies of the information it may provide, and the answers it received.

A copy is stored under the person's code and the body's own address number; there is no column for the individual
number. The municipalities' servers run on one platform, which hosts all copies in one place; each server only works
with its own.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice
from typing import Any

import sqlalchemy as sa

from kazashi.provision_network.codes import InstitutionCode
from kazashi.provision_network.intermediate_store import (
    ANSWERS_TO,
    CODES_OF,
    COPY,
    COPY_OF,
    HELD,
    KEEP,
    METADATA,
    PERSON,
    RECEIVED,
    RELEASED,
    SEALING_KEY,
    WITHHELD,
    items_as_published,
    log,
)
from kazashi.provision_network.sealing import new_key, public_part, sealed, unsealed
from kazashi.provision_network.terms import OWN_INFORMATION, NetworkRejected, Notification
from kazashi.world.clock import epoch, from_epoch
from kazashi.world.home import World
from kazashi.world.storage import insert_if_absent, insert_many

_CHUNK = 5_000
_FAR = 1 << 34
"""The exclusive upper bound of a time, in seconds since 1970: some five hundred years on."""

LONGEST_CONTENT = 10_000
"""The maximum length of a copy, in characters. It bounds what a recipient has to decrypt, and many answers are sent
together."""


@dataclass(frozen=True, slots=True)
class Copy:
    """A copy (副本) as it was registered. Exactly this is provided, without later changes at the body."""

    item: str
    content: str
    registered_at: datetime

    def age(self, now: datetime) -> timedelta:
        """Return the age of the copy."""
        return now - self.registered_at


@dataclass(frozen=True, slots=True)
class StoredCopy:
    """The content of a copy, and whether a person must check each request for it."""

    content: str
    hold: bool


@dataclass(frozen=True, slots=True)
class Received:
    """A provider's answer. `content` is None if the provider has nothing about the person."""

    process: int
    provider: str
    item: str
    content: str | None
    registered_at: datetime | None
    received_at: datetime

    @property
    def words(self) -> str:
        """What the content does not say by itself."""
        return "the provider has no copy" if self.content is None else ""


PersonAtBody = tuple[str, InstitutionCode | None, bool | None]
"""What the core says about a person at a body: address number, code and protection.

A person without a code has left: their code and copies are deleted. The protection sets or clears the flag that the
portal must not show the person's own information; None leaves it as it is.
"""


class ProvisionOnHold(Exception):
    """A person at the provider must check the request before it is answered (自動応答不可). It is on hold, and cannot
    be refused."""


class InvalidAnswer(Exception):
    """An answer cannot be decrypted, or does not match the request."""


def store_name(platform: str) -> str:
    """Return the name of an intermediate platform's store."""
    return f"intermediate_{platform}"


class IntermediatePlatform:
    """The platform on which intermediate servers run: one for all municipalities, or one body's own."""

    def __init__(self, world: World, name: str = "municipal") -> None:
        self._world = world
        self.name = name
        self.store = world.store(store_name(name), METADATA, [items_as_published])

    def server(self, owner: str) -> IntermediateServer:
        """Return the server of one body: the only access to its copies."""
        return IntermediateServer(self, self._world, owner)

    def answers(self, notifications: Sequence[Notification]) -> list[Copy | ProvisionOnHold | NetworkRejected]:
        """Return the answers to requests, in the same order: a copy of the notified body's own, or the rejection.

        A request that a person must check is put on hold until it is released.
        """
        with self.store.reading() as connection:
            answers = [self._answer(connection, notified) for notified in notifications]
        on_hold = [{"owner": notified.provider, "number": notified.number, "released": False}
                   for notified, answer in zip(notifications, answers, strict=True)
                   if isinstance(answer, ProvisionOnHold)]  # fmt: skip
        if on_hold:
            with self.store.alone() as connection:
                connection.execute(insert_if_absent(HELD), on_hold)
        return answers

    def awaiting_copies(self) -> list[str]:
        """Return the bodies that have a code for somebody of whom they have no copy yet."""
        person, copy = PERSON.c, COPY.c
        any_copy = sa.exists().where(copy.owner == person.owner, copy.code == person.code)
        with self.store.reading() as connection:
            query = sa.select(person.owner).where(sa.not_(any_copy)).distinct().order_by(person.owner)
            return list(connection.scalars(query))

    def released(self, numbers: Sequence[int]) -> set[int]:
        """Return those of the requests that are released."""
        held = HELD.c
        query = sa.select(held.number).where(held.number.in_(numbers), held.released)
        with self.store.reading() as connection:
            return set(connection.scalars(query))

    def _answer(self, connection: sa.Connection, notified: Notification) -> Copy | ProvisionOnHold | NetworkRejected:
        owner, code = notified.provider, notified.code.value
        row = COPY_OF.one_or_none(connection, {"o": owner, "c": code, "i": notified.item})
        own = notified.rule == OWN_INFORMATION
        if row is None or (own and WITHHELD.scalar(connection, {"o": owner, "c": code})):
            words = f"{notified.provider} has no copy of {notified.item} for that person"
            return NetworkRejected("no-copy", words)
        if row.by_hand and not RELEASED.scalar(connection, {"o": owner, "n": notified.number}):
            return ProvisionOnHold(f"{notified.item} is on hold until a person at {notified.provider} has checked it")
        return Copy(row.item, row.content, from_epoch(row.registered_at))

    def keep(self, answers: Sequence[dict[str, Any]]) -> None:
        """Store decrypted answers. Storing one again changes nothing."""
        if answers:
            with self.store.transaction() as connection:
                KEEP.run_all(connection, answers)

    def drop(self, owner: str) -> None:
        """Delete everything of a body that has left: people, copies, requests on hold, answers and its key."""
        with self.store.alone() as connection:
            for table in (COPY, PERSON, HELD, RECEIVED, SEALING_KEY):
                connection.execute(sa.delete(table).where(table.c.owner == owner))
            log(connection, self._world.clock.now(), "left", {"owner": owner})

    def operator_sees(self) -> dict[str, int]:
        """Return the number of copies of each body that the platform's operator could read without permission: the
        residual risk of a shared platform."""
        owner = COPY.c.owner
        with self.store.reading() as connection:
            rows = connection.execute(sa.select(owner, sa.func.count()).group_by(owner)).all()
        return {row[0]: row[1] for row in rows}


class IntermediateServer:
    """A body's access to the platform. Every SQL statement includes the owner, which a caller cannot choose."""

    def __init__(self, platform: IntermediatePlatform, world: World, owner: str) -> None:
        self._platform = platform
        self._world = world
        self.owner = owner
        self._key: str | None = None

    # People

    def take_codes(self, codes: Iterable[tuple[str, InstitutionCode]]) -> None:
        """Store the codes that the core has issued, each with the person's address number (符号取得). A person whose
        address number is another one now keeps the code, the flags and the copies."""
        table, copy = PERSON, COPY
        same = (copy.c.owner == self.owner) & (copy.c.code == sa.bindparam("c"))
        readdress = sa.update(copy).where(same).values(address_number=sa.bindparam("a"))
        rows = iter(codes)
        with self._platform.store.alone() as connection:
            known = connection.scalar(sa.select(sa.exists().where(table.c.owner == self.owner)))
            while chunk := [(self.owner, address, code.value, False) for address, code in islice(rows, _CHUNK)]:
                if known:
                    addresses, numbers = [row[1] for row in chunk], [row[2] for row in chunk]
                    old = (table.c.owner == self.owner) & (
                        table.c.address_number.in_(addresses) | table.c.code.in_(numbers)
                    )
                    before = connection.execute(sa.select(table).where(old)).all()
                    marked = [row for row in before if row.withheld]
                    flagged = {row.address_number for row in marked} | {bytes(row.code) for row in marked}
                    stayed = {(row.address_number, bytes(row.code)) for row in before}
                    if moved := [{"a": row[1], "c": row[2]} for row in chunk if row[1:3] not in stayed]:
                        connection.execute(readdress, moved)
                    connection.execute(sa.delete(table).where(old))
                    chunk = [(*row[:3], not flagged.isdisjoint(row[1:3])) for row in chunk]
                insert_many(connection, table, ("owner", "address_number", "code", "withheld"), chunk)

    def code_of(self, address_number: str) -> InstitutionCode:
        """Return a person's code. Raises NetworkRejected if the person has no code yet."""
        return self.codes_of([address_number])[0]

    def codes_of(self, address_numbers: Sequence[str]) -> list[InstitutionCode]:
        """Return people's codes, in the same order. Raises NetworkRejected if one of them has no code yet."""
        codes = self.known_codes(address_numbers)
        if missing := [number for number in address_numbers if number not in codes]:
            raise NetworkRejected("no-code", f"{self.owner} has no code for {missing[0]} yet")
        return [codes[number] for number in address_numbers]

    def known_codes(self, address_numbers: Iterable[str]) -> dict[str, InstitutionCode]:
        """Return the codes of those people who have one, by address number."""
        codes: dict[str, InstitutionCode] = {}
        wanted = iter(address_numbers)
        with self._platform.store.reading() as connection:
            while chunk := list(islice(wanted, _CHUNK)):
                rows = CODES_OF.all(connection, {"o": self.owner, "as": chunk})
                codes |= {row.address_number: InstitutionCode(bytes(row.code)) for row in rows}
        return codes

    def withheld(self) -> list[str]:
        """Return the address numbers of the people whose own information the portal must not show."""
        table = PERSON.c
        query = sa.select(table.address_number).where(table.owner == self.owner, table.withheld)
        with self._platform.store.reading() as connection:
            return list(connection.scalars(query.order_by(table.address_number)))

    def without_code(self, address_numbers: Iterable[str]) -> list[str]:
        """Return those of the address numbers that have no code yet."""
        return self._missing(PERSON, address_numbers)

    def without_copy(self, address_numbers: Iterable[str]) -> list[str]:
        """Return those of the address numbers that have no copy yet."""
        return self._missing(COPY, address_numbers)

    def _missing(self, table: sa.Table, address_numbers: Iterable[str]) -> list[str]:
        with self._platform.store.reading() as connection:
            known = set(connection.scalars(sa.select(table.c.address_number).where(table.c.owner == self.owner)))
        return sorted(set(address_numbers) - known)

    def take(self, people: Sequence[PersonAtBody]) -> None:
        """Take what the core says about people. To take it again changes nothing."""
        for address, code, _ in people:
            if code is None:
                self.forget(address)
        self.take_codes((address, code) for address, code, _ in people if code is not None)
        for address, code, protected in people:
            if code is not None and protected is not None:
                self.withhold(address, on=protected)

    def awaiting_copy(self) -> list[tuple[str, InstitutionCode]]:
        """Return the people who have a code and no copy here yet, as pairs of address number and code."""
        person, copy = PERSON.c, COPY.c
        any_copy = sa.exists().where(copy.owner == self.owner, copy.code == person.code)
        query = sa.select(person.address_number, person.code).where(person.owner == self.owner, sa.not_(any_copy))
        with self._platform.store.reading() as connection:
            rows = connection.execute(query.order_by(person.address_number)).all()
        return [(row.address_number, InstitutionCode(bytes(row.code))) for row in rows]

    def withhold(self, address_number: str, *, on: bool) -> None:
        """Set or clear the flag that the portal must not show a person's own information (自己情報提供不可フラグ)."""
        table = PERSON
        person = (table.c.owner == self.owner) & (table.c.address_number == address_number)
        with self._platform.store.alone() as connection:
            connection.execute(sa.update(table).where(person).values(withheld=on))

    def forget(self, address_number: str) -> None:
        """Delete the code and all copies of a person who has left."""
        with self._platform.store.alone() as connection:
            for table in (PERSON, COPY):
                person = (table.c.owner == self.owner) & (table.c.address_number == address_number)
                connection.execute(sa.delete(table).where(person))

    # Copies

    def register(
        self, code: InstitutionCode, address_number: str, item: str, content: str, *, by_hand: bool = False
    ) -> None:  # fmt: skip
        """Register a copy, or replace it. `by_hand` sets the flag that a person must check each request for it
        (自動応答不可フラグ)."""
        self.register_all([(code, address_number, item, content, by_hand)])

    def register_all(self, copies: Sequence[tuple[InstitutionCode, str, str, str, bool]]) -> None:
        """Register copies, all or none, each given as code, address number, item, content, and the flag that a person
        must check each request for it. Raises NetworkRejected."""
        table = COPY
        at = epoch(self._world.clock.now())
        for _, _, item, content, _ in copies:
            self.check(item, content)
        rows = [
            {"owner": self.owner, "code": code.value, "item": item, "address_number": address, "content": content,
             "registered_at": at, "by_hand": by_hand} for code, address, item, content, by_hand in copies
        ]  # fmt: skip
        old = sa.delete(table).where(
            table.c.owner == self.owner, table.c.code == sa.bindparam("c"), table.c.item == sa.bindparam("i")
        )
        with self._platform.store.alone() as connection:
            connection.execute(old, [{"c": row["code"], "i": row["item"]} for row in rows])
            connection.execute(sa.insert(table), rows)

    def check(self, item: str, content: str) -> None:
        """Raise NetworkRejected if a content cannot be stored as a copy of an item."""
        if len(content) > LONGEST_CONTENT or not _storable(content):
            words = f"a copy of {item} must have at most {LONGEST_CONTENT} characters, without NUL and surrogates"
            raise NetworkRejected("bad-copy", words)

    def copies_of(self, address_number: str) -> dict[str, StoredCopy]:
        """Return a person's copies by item."""
        table = COPY.c
        query = sa.select(table.item, table.content, table.by_hand).where(
            table.owner == self.owner, table.address_number == address_number
        )
        with self._platform.store.reading() as connection:
            return {row.item: StoredCopy(row.content, row.by_hand) for row in connection.execute(query)}

    def copies_by_person(self) -> dict[str, int]:
        """Return the number of copies of each person, by address number."""
        table = COPY.c
        query = sa.select(table.address_number, sa.func.count()).where(table.owner == self.owner)
        with self._platform.store.reading() as connection:
            return {row[0]: row[1] for row in connection.execute(query.group_by(table.address_number))}

    def erase(self, address_number: str, item: str) -> None:
        """Delete a person's copy of an item (利用停止)."""
        table = COPY
        this = (table.c.owner == self.owner) & (table.c.address_number == address_number) & (table.c.item == item)
        with self._platform.store.alone() as connection:
            connection.execute(sa.delete(table).where(this))

    def contents(self, item: str) -> dict[str, str]:
        """Return the contents of all copies of an item, by address number."""
        copy = COPY.c
        query = sa.select(copy.address_number, copy.content).where(copy.owner == self.owner, copy.item == item)
        with self._platform.store.reading() as connection:
            return {row.address_number: row.content for row in connection.execute(query)}

    def answer(self, notified: Notification) -> Copy:
        """Return the copy for a request of which the core has notified this body.

        Raises ProvisionOnHold, and NetworkRejected if there is no such copy or it is withheld from the portal.
        """
        if notified.provider != self.owner:
            raise NetworkRejected("no-copy", f"the request is for {notified.provider}, not {self.owner}")
        (answer,) = self._platform.answers([notified])
        if isinstance(answer, Exception):
            raise answer
        return answer

    def waiting(self) -> list[int]:
        """Return the numbers of the requests on hold."""
        held = HELD.c
        query = sa.select(held.number).where(held.owner == self.owner, sa.not_(held.released)).order_by(held.number)
        with self._platform.store.reading() as connection:
            return list(connection.scalars(query))

    def release(self, number: int) -> None:
        """Release a request on hold, so that it is answered. Raises NetworkRejected if it is not on hold here."""
        held = HELD
        with self._platform.store.alone() as connection:
            on_hold = (held.c.owner == self.owner) & (held.c.number == number) & sa.not_(held.c.released)
            if not connection.execute(sa.update(held).where(on_hold).values(released=True)).rowcount:
                raise NetworkRejected("not-held", f"{self.owner} has no request {number} on hold")

    # Answers are encrypted from body to body: neither the core nor an interface system in between can read them.

    def public_key(self) -> str:
        """Return the public key (JWK) to which answers to this body are encrypted."""
        return public_part(self._own_key())

    def seal(self, notified: Notification, copy: Copy | None, key: str) -> str:
        """Encrypt an answer to the requester's key (JWK). Returns a compact JWE."""
        answer = {
            "process": notified.process, "number": notified.number, "provider": self.owner, "item": notified.item,
            "content": None if copy is None else copy.content,
            "registered_at": None if copy is None else epoch(copy.registered_at),
        }  # fmt: skip
        return sealed(json.dumps(answer, ensure_ascii=False), key)

    def opened(self, process: int, number: int, provider: str, item: str, unverified: str) -> dict[str, Any]:
        """Decrypt an answer and check that it matches the request. Returns it as a row for the platform's store. Raises
        InvalidAnswer."""
        try:
            opened = json.loads(unsealed(unverified, self._own_key()))
            request = (opened["process"], opened["provider"], opened["item"])
            content, at = opened["content"], opened["registered_at"]
        except (ValueError, KeyError, TypeError) as error:
            raise InvalidAnswer("the answer cannot be decrypted") from error
        if request != (process, provider, item) or opened.get("number") != number:
            raise InvalidAnswer("the answer belongs to another request")
        if not isinstance(content, str | None) or (content is not None and not _storable(content)):
            raise InvalidAnswer("the content of the answer is not a text")
        if not isinstance(at, int | None) or (at is not None and not 0 <= at < _FAR):
            raise InvalidAnswer("the time of the copy is out of range")
        return {"owner": self.owner, "process": process, "provider": provider, "item": item, "content": content,
                "registered_at": at, "received_at": epoch(self._world.clock.now())}  # fmt: skip

    def received(self, process: int) -> Received | None:
        """Return the answer to a request of this body, or None if it has not arrived."""
        return self.received_all([process]).get(process)

    def received_all(self, processes: Sequence[int]) -> dict[int, Received]:
        """Return the answers to requests of this body that have arrived, by process."""
        with self._platform.store.reading() as connection:
            rows = ANSWERS_TO.all(connection, {"o": self.owner, "ps": processes})
        return {
            row.process: Received(
                row.process, row.provider, row.item, row.content,
                None if row.registered_at is None else from_epoch(row.registered_at), from_epoch(row.received_at),
            )
            for row in rows
        }  # fmt: skip

    def _own_key(self) -> str:
        if self._key is None:
            table = SEALING_KEY
            new = new_key()
            with self._platform.store.alone() as connection:
                connection.execute(insert_if_absent(table), {"owner": self.owner, "jwk": new})
                text = connection.scalar(sa.select(table.c.jwk).where(table.c.owner == self.owner))
            self._key = str(text)
        return self._key


def _storable(text: str) -> bool:
    """Return whether every database can store the text: it has no NUL and no surrogates."""
    return "\0" not in text and not any("\ud800" <= letter <= "\udfff" for letter in text)
