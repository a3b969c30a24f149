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
from kazashi.provision_network.sealing import new_key, public_part, sealed, unsealed
from kazashi.provision_network.terms import OWN_INFORMATION, NetworkRejected, Notification
from kazashi.world.clock import epoch, from_epoch
from kazashi.world.event_log import event_table
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
class Received:
    """A provider's answer. `content` is None if the provider has nothing about the person."""

    process: int
    provider: str
    item: str
    content: str | None
    registered_at: datetime | None
    received_at: datetime


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
        metadata = sa.MetaData()
        self.copy = sa.Table(
            "copy", metadata,
            sa.Column("owner", sa.Text, primary_key=True),
            sa.Column("code", sa.LargeBinary, primary_key=True),
            sa.Column("item", sa.Text, primary_key=True),
            sa.Column("address_number", sa.Text, nullable=False),
            sa.Column("content", sa.Text, nullable=False),
            sa.Column("registered_at", sa.BigInteger, nullable=False),
            sa.Column("by_hand", sa.Boolean, nullable=False),
        )  # fmt: skip
        self.person = sa.Table(
            "person", metadata,
            sa.Column("owner", sa.Text, primary_key=True),
            sa.Column("address_number", sa.Text, primary_key=True),
            sa.Column("code", sa.LargeBinary, nullable=False),
            sa.Column("withheld", sa.Boolean, nullable=False, default=False),
            sa.UniqueConstraint("owner", "code"),
        )  # fmt: skip
        self.held = sa.Table(
            "held", metadata,
            sa.Column("owner", sa.Text, primary_key=True),
            sa.Column("number", sa.BigInteger, primary_key=True, autoincrement=False),
            sa.Column("released", sa.Boolean, nullable=False),
        )  # fmt: skip
        self.received = sa.Table(
            "received", metadata,
            sa.Column("owner", sa.Text, primary_key=True),
            sa.Column("process", sa.BigInteger, primary_key=True, autoincrement=False),
            sa.Column("provider", sa.Text, nullable=False),
            sa.Column("item", sa.Text, nullable=False),
            sa.Column("content", sa.Text),
            sa.Column("registered_at", sa.BigInteger),
            sa.Column("received_at", sa.BigInteger, nullable=False),
        )  # fmt: skip
        self._keep = insert_if_absent(self.received)
        copy, person, held = self.copy.c, self.person.c, self.held.c
        owner: sa.BindParameter[str] = sa.bindparam("o")
        code: sa.BindParameter[bytes] = sa.bindparam("c")
        self._copy_of = sa.select(copy.item, copy.content, copy.registered_at, copy.by_hand).where(
            copy.owner == owner, copy.code == code, copy.item == sa.bindparam("i")
        )
        self._withheld = sa.select(person.withheld).where(person.owner == owner, person.code == code)
        self._released = sa.select(held.released).where(held.owner == owner, held.number == sa.bindparam("n"))
        self.code_of = sa.select(person.code).where(person.owner == owner, person.address_number == sa.bindparam("a"))
        self.key = sa.Table(
            "sealing_key", metadata,
            sa.Column("owner", sa.Text, primary_key=True),
            sa.Column("jwk", sa.Text, nullable=False),
        )  # fmt: skip
        _, self.log = event_table(metadata)
        self.store = world.store(store_name(name), metadata)

    def server(self, owner: str) -> IntermediateServer:
        """Return the server of one body: the only access to its copies."""
        return IntermediateServer(self, self._world, owner)

    def answers(self, notifications: Sequence[Notification]) -> list[Copy | ProvisionOnHold | NetworkRejected]:
        """Return the answers to requests, in the same order: a copy of the notified body's own, or why there is none.

        A request that a person must check is put on hold until it is released.
        """
        with self.store.reading() as connection:
            answers = [self._answer(connection, notified) for notified in notifications]
        on_hold = [{"owner": notified.provider, "number": notified.number, "released": False}
                   for notified, answer in zip(notifications, answers, strict=True)
                   if isinstance(answer, ProvisionOnHold)]  # fmt: skip
        if on_hold:
            with self.store.alone() as connection:
                connection.execute(insert_if_absent(self.held), on_hold)
        return answers

    def released(self, numbers: Sequence[int]) -> set[int]:
        """Return those of the requests that are released."""
        held = self.held.c
        query = sa.select(held.number).where(held.number.in_(numbers), held.released)
        with self.store.reading() as connection:
            return set(connection.scalars(query))

    def _answer(self, connection: sa.Connection, notified: Notification) -> Copy | ProvisionOnHold | NetworkRejected:
        keys = {"o": notified.provider, "c": notified.code.value, "i": notified.item, "n": notified.number}
        row = connection.execute(self._copy_of, keys).one_or_none()
        own = notified.rule == OWN_INFORMATION
        if row is None or (own and connection.scalar(self._withheld, {"o": keys["o"], "c": keys["c"]})):
            words = f"{notified.provider} has no copy of {notified.item} for that person"
            return NetworkRejected("no-copy", words)
        if row.by_hand and not connection.scalar(self._released, {"o": keys["o"], "n": keys["n"]}):
            return ProvisionOnHold(f"{notified.item} is on hold until a person at {notified.provider} has checked it")
        return Copy(row.item, row.content, from_epoch(row.registered_at))

    def keep(self, answers: Sequence[dict[str, Any]]) -> None:
        """Store decrypted answers. Storing one again changes nothing."""
        if answers:
            with self.store.transaction() as connection:
                connection.execute(self._keep, answers)

    def operator_sees(self) -> dict[str, int]:
        """Return the number of copies of each body that the platform's operator could read without permission: the
        residual risk of a shared platform."""
        owner = self.copy.c.owner
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
        """Store the codes that the core has issued, each with the person's address number (符号取得)."""
        table = self._platform.person
        rows = iter(codes)
        with self._platform.store.alone() as connection:
            known = connection.scalar(sa.select(sa.exists().where(table.c.owner == self.owner)))
            while chunk := [(self.owner, address, code.value, False) for address, code in islice(rows, _CHUNK)]:
                if known:
                    old = (table.c.owner == self.owner) & table.c.address_number.in_([row[1] for row in chunk])
                    flagged = set(connection.scalars(sa.select(table.c.address_number).where(old, table.c.withheld)))
                    connection.execute(sa.delete(table).where(old))
                    chunk = [(*row[:3], row[1] in flagged) for row in chunk]
                insert_many(connection, table, ("owner", "address_number", "code", "withheld"), chunk)

    def code_of(self, address_number: str) -> InstitutionCode:
        """Return a person's code. Raises NetworkRejected if there is none yet."""
        with self._platform.store.reading() as connection:
            code = connection.scalar(self._platform.code_of, {"o": self.owner, "a": address_number})
        if code is None:
            raise NetworkRejected("no-code", f"{self.owner} has no code for {address_number} yet")
        return InstitutionCode(bytes(code))

    def without_code(self, address_numbers: Iterable[str]) -> list[str]:
        """Return those of the address numbers that have no code yet."""
        return self._missing(self._platform.person, address_numbers)

    def without_copy(self, address_numbers: Iterable[str]) -> list[str]:
        """Return those of the address numbers that have no copy yet."""
        return self._missing(self._platform.copy, address_numbers)

    def _missing(self, table: sa.Table, address_numbers: Iterable[str]) -> list[str]:
        with self._platform.store.reading() as connection:
            known = set(connection.scalars(sa.select(table.c.address_number).where(table.c.owner == self.owner)))
        return sorted(set(address_numbers) - known)

    def withhold(self, address_number: str, *, on: bool) -> None:
        """Set or clear the flag that the portal must not show a person's own information (自己情報提供不可フラグ)."""
        table = self._platform.person
        person = (table.c.owner == self.owner) & (table.c.address_number == address_number)
        with self._platform.store.alone() as connection:
            connection.execute(sa.update(table).where(person).values(withheld=on))

    def forget(self, address_number: str) -> None:
        """Delete the code and all copies of a person who has left."""
        with self._platform.store.alone() as connection:
            for table in (self._platform.person, self._platform.copy):
                person = (table.c.owner == self.owner) & (table.c.address_number == address_number)
                connection.execute(sa.delete(table).where(person))

    # Copies

    def register(
        self, code: InstitutionCode, address_number: str, item: str, content: str, *, by_hand: bool = False
    ) -> None:  # fmt: skip
        """Register a copy, or replace it. `by_hand` sets the flag that a person must check each request for it
        (自動応答不可フラグ)."""
        self.register_all([(code, address_number, item, content)], by_hand=by_hand)

    def register_all(
        self, copies: Sequence[tuple[InstitutionCode, str, str, str]], *, by_hand: bool = False
    ) -> None:  # fmt: skip
        """Register copies, each given as code, address number, item and content. Raises NetworkRejected."""
        table = self._platform.copy
        at = epoch(self._world.clock.now())
        for _, _, item, content in copies:
            if len(content) > LONGEST_CONTENT or not _storable(content):
                raise NetworkRejected(
                    "bad-copy",
                    f"a copy of {item} must have at most {LONGEST_CONTENT} characters, without NUL and surrogates",
                )
        rows = [{"owner": self.owner, "code": code.value, "item": item, "address_number": address, "content": content,
                 "registered_at": at, "by_hand": by_hand} for code, address, item, content in copies]  # fmt: skip
        old = sa.delete(table).where(
            table.c.owner == self.owner, table.c.code == sa.bindparam("c"), table.c.item == sa.bindparam("i")
        )
        with self._platform.store.alone() as connection:
            connection.execute(old, [{"c": row["code"], "i": row["item"]} for row in rows])
            connection.execute(sa.insert(table), rows)

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
        held = self._platform.held.c
        query = sa.select(held.number).where(held.owner == self.owner, sa.not_(held.released)).order_by(held.number)
        with self._platform.store.reading() as connection:
            return list(connection.scalars(query))

    def release(self, number: int) -> None:
        """Release a request on hold, so that it is answered. Raises NetworkRejected if it is not on hold here."""
        held = self._platform.held
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
        table = self._platform.received
        answer = (table.c.owner == self.owner) & (table.c.process == process)
        with self._platform.store.reading() as connection:
            row = connection.execute(sa.select(table).where(answer)).one_or_none()
        if row is None:
            return None
        at = None if row.registered_at is None else from_epoch(row.registered_at)
        return Received(process, row.provider, row.item, row.content, at, from_epoch(row.received_at))

    def _own_key(self) -> str:
        if self._key is None:
            table = self._platform.key
            new = new_key()
            with self._platform.store.alone() as connection:
                connection.execute(insert_if_absent(table), {"owner": self.owner, "jwk": new})
                text = connection.scalar(sa.select(table.c.jwk).where(table.c.owner == self.owner))
            self._key = str(text)
        return self._key


def _storable(text: str) -> bool:
    """Return whether every database can store the text: it has no NUL and no surrogates."""
    return "\0" not in text and not any("\ud800" <= letter <= "\udfff" for letter in text)
