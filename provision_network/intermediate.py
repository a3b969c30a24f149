"""Intermediate servers (中間サーバー): copies of what may be provided, by code, and what was provided by others.

A copy stands under the code and the body's own address number, and there is no column for the individual number. The
municipalities' servers run on one platform, which hosts everybody's copies in one place; each works with its own alone.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from itertools import islice
from typing import Any

import sqlalchemy as sa
from joserfc import jwe
from joserfc.errors import JoseError
from joserfc.jwk import ECKey

from kazashi.provision_network.codes import InstitutionCode
from kazashi.provision_network.terms import OWN_INFORMATION, NetworkRejected, Notification
from kazashi.world.clock import epoch, from_epoch
from kazashi.world.event_log import event_table
from kazashi.world.home import World
from kazashi.world.storage import insert_if_absent, insert_many

_HEADER = {"alg": "ECDH-ES", "enc": "A256GCM"}
_CHUNK = 5_000
_FAR = 1 << 34
"""Seconds, some five hundred years on."""

LONGEST_CONTENT = 10_000
"""Letters of a copy. What is sealed has a bound at whoever opens it, and many answers travel together."""


@dataclass(frozen=True, slots=True)
class Copy:
    """A copy (副本) as it was registered: what is provided is that, and not what has changed since."""

    item: str
    content: str
    registered_at: datetime

    def age(self, now: datetime) -> timedelta:
        """How old it is."""
        return now - self.registered_at


@dataclass(frozen=True, slots=True)
class Received:
    """What a provider has answered. `content` is None where it has nothing about that person."""

    process: int
    provider: str
    item: str
    content: str | None
    registered_at: datetime | None
    received_at: datetime


class ProvisionOnHold(Exception):
    """The item is answered by a human only, who has not looked yet (自動応答不可). It can be held, and not refused."""


class InvalidAnswer(Exception):
    """What came is no answer to what was asked: it cannot be opened, or is about another item."""


def store_name(platform: str) -> str:
    """The name of an intermediate platform's store."""
    return f"intermediate_{platform}"


class IntermediatePlatform:
    """The platform on which intermediate servers run: all municipalities', or one body's own."""

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
        """The server of one body: the only way to copies."""
        return IntermediateServer(self, self._world, owner)

    def answers(self, asked: Sequence[Notification]) -> list[Copy | ProvisionOnHold | NetworkRejected]:
        """What is provided to requests of which bodies here were notified: for each a copy of the body that was asked
        and of nobody else, or why there is none. What only a human answers is held until one has."""
        with self.store.reading() as connection:
            found = [self._found(connection, notified) for notified in asked]
        waiting = [{"owner": notified.provider, "number": notified.number, "released": False}
                   for notified, one in zip(asked, found, strict=True) if isinstance(one, ProvisionOnHold)]  # fmt: skip
        if waiting:
            with self.store.alone() as connection:
                connection.execute(insert_if_absent(self.held), waiting)
        return found

    def released(self, numbers: Sequence[int]) -> set[int]:
        """Those of the requests that a human has looked at."""
        held = self.held.c
        query = sa.select(held.number).where(held.number.in_(numbers), held.released)
        with self.store.reading() as connection:
            return set(connection.scalars(query))

    def _found(self, connection: sa.Connection, notified: Notification) -> Copy | ProvisionOnHold | NetworkRejected:
        mine = {"o": notified.provider, "c": notified.code.value, "i": notified.item, "n": notified.number}
        row = connection.execute(self._copy_of, mine).one_or_none()
        own = notified.rule == OWN_INFORMATION
        if row is None or (own and connection.scalar(self._withheld, {"o": mine["o"], "c": mine["c"]})):
            words = f"{notified.provider} has no copy of {notified.item} for that person"
            return NetworkRejected("no-copy", words)
        if row.by_hand and not connection.scalar(self._released, {"o": mine["o"], "n": mine["n"]}):
            return ProvisionOnHold(f"{notified.item} waits for a human at {notified.provider}")
        return Copy(row.item, row.content, from_epoch(row.registered_at))

    def keep(self, answers: Sequence[dict[str, Any]]) -> None:
        """Keep answers that were opened. The same ones again change nothing."""
        if answers:
            with self.store.transaction() as connection:
                connection.execute(self._keep, answers)

    def operator_sees(self) -> dict[str, int]:
        """How many copies of each body the platform's operator could read with nobody's leave: the risk that remains
        (E3)."""
        owner = self.copy.c.owner
        with self.store.reading() as connection:
            rows = connection.execute(sa.select(owner, sa.func.count()).group_by(owner)).all()
        return {row[0]: row[1] for row in rows}


class IntermediateServer:
    """What one body can do on the platform. Every statement names the owner, which nobody can choose."""

    def __init__(self, platform: IntermediatePlatform, world: World, owner: str) -> None:
        self._platform = platform
        self._world = world
        self.owner = owner
        self._key: ECKey | None = None

    # Persons

    def take_codes(self, codes: Iterable[tuple[str, InstitutionCode]]) -> None:
        """Persons' codes, as the network has issued them, by address number (符号取得)."""
        table = self._platform.person
        rows = iter(codes)
        with self._platform.store.alone() as connection:
            known = connection.scalar(sa.select(sa.exists().where(table.c.owner == self.owner)))
            while chunk := [(self.owner, address, code.value, False) for address, code in islice(rows, _CHUNK)]:
                if known:
                    here = (table.c.owner == self.owner) & table.c.address_number.in_([row[1] for row in chunk])
                    flagged = set(connection.scalars(sa.select(table.c.address_number).where(here, table.c.withheld)))
                    connection.execute(sa.delete(table).where(here))
                    chunk = [(*row[:3], row[1] in flagged) for row in chunk]
                insert_many(connection, table, ("owner", "address_number", "code", "withheld"), chunk)

    def code_of(self, address_number: str) -> InstitutionCode:
        """A person's code. Raises NetworkRejected where there is none yet."""
        with self._platform.store.reading() as connection:
            code = connection.scalar(self._platform.code_of, {"o": self.owner, "a": address_number})
        if code is None:
            raise NetworkRejected("no-code", f"{self.owner} has no code for {address_number} yet")
        return InstitutionCode(bytes(code))

    def without_code(self, address_numbers: Iterable[str]) -> list[str]:
        """The address numbers that have no code yet (E9)."""
        return self._missing(self._platform.person, address_numbers)

    def without_copy(self, address_numbers: Iterable[str]) -> list[str]:
        """The address numbers of residents for whom no copy stands here yet (E9)."""
        return self._missing(self._platform.copy, address_numbers)

    def _missing(self, table: sa.Table, address_numbers: Iterable[str]) -> list[str]:
        with self._platform.store.reading() as connection:
            there = set(connection.scalars(sa.select(table.c.address_number).where(table.c.owner == self.owner)))
        return sorted(set(address_numbers) - there)

    def withhold(self, address_number: str, *, on: bool) -> None:
        """A person's own information is not to be shown in the portal, or is again (自己情報提供不可フラグ)."""
        table = self._platform.person
        here = (table.c.owner == self.owner) & (table.c.address_number == address_number)
        with self._platform.store.alone() as connection:
            connection.execute(sa.update(table).where(here).values(withheld=on))

    def forget(self, address_number: str) -> None:
        """A person has left: code and copies go, and with them what could be provided."""
        with self._platform.store.alone() as connection:
            for table in (self._platform.person, self._platform.copy):
                here = (table.c.owner == self.owner) & (table.c.address_number == address_number)
                connection.execute(sa.delete(table).where(here))

    # Copies

    def register(
        self, code: InstitutionCode, address_number: str, item: str, content: str, *, by_hand: bool = False
    ) -> None:  # fmt: skip
        """Register a copy, or a newer one. `by_hand` sets the flag that a human answers (自動応答不可フラグ)."""
        self.register_all([(code, address_number, item, content)], by_hand=by_hand)

    def register_all(
        self, copies: Sequence[tuple[InstitutionCode, str, str, str]], *, by_hand: bool = False
    ) -> None:  # fmt: skip
        """The same for many at once: code, address number, item, content."""
        table = self._platform.copy
        at = epoch(self._world.clock.now())
        for _, _, item, content in copies:
            if len(content) > LONGEST_CONTENT or not _storable(content):
                raise NetworkRejected(
                    "bad-copy", f"a copy of {item} has up to {LONGEST_CONTENT} letters, and none that no text has"
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
        """What is provided to a request of which the core has notified this body. Raises Held, and NetworkRejected
        where
        there is no such copy, or it is withheld from the portal."""
        if notified.provider != self.owner:
            raise NetworkRejected("no-copy", f"{self.owner} was not asked")
        (found,) = self._platform.answers([notified])
        if isinstance(found, Exception):
            raise found
        return found

    def waiting(self) -> list[int]:
        """The requests that wait for a human here."""
        held = self._platform.held.c
        query = sa.select(held.number).where(held.owner == self.owner, sa.not_(held.released)).order_by(held.number)
        with self._platform.store.reading() as connection:
            return list(connection.scalars(query))

    def release(self, number: int) -> None:
        """A human has looked: the request may be answered. Raises NetworkRejected where none of that number waits
        here."""
        held = self._platform.held
        with self._platform.store.alone() as connection:
            here = (held.c.owner == self.owner) & (held.c.number == number) & sa.not_(held.c.released)
            if not connection.execute(sa.update(held).where(here).values(released=True)).rowcount:
                raise NetworkRejected("not-held", f"no request {number} waits at {self.owner}")

    # What travels is sealed from body to body: neither the core nor an interface system on the way can open it.

    def public_key(self) -> str:
        """The key (JWK) under which answers to this body are sealed."""
        return json.dumps(self._own_key().as_dict(private=False))

    def seal(self, notified: Notification, found: Copy | None, key: str) -> str:
        """An answer for the requester whose key that is, as compact JWE."""
        answer = {
            "process": notified.process, "number": notified.number, "provider": self.owner, "item": notified.item,
            "content": None if found is None else found.content,
            "registered_at": None if found is None else epoch(found.registered_at),
        }  # fmt: skip
        return jwe.encrypt_compact(_HEADER, json.dumps(answer, ensure_ascii=False), _imported(key))

    def opened(self, process: int, number: int, provider: str, item: str, unverified: str) -> dict[str, Any]:
        """An answer to what was asked, opened, as the platform keeps it. Raises InvalidAnswer."""
        try:
            opened = json.loads(jwe.decrypt_compact(unverified, self._own_key()).plaintext or b"")
            told = (opened["process"], opened["provider"], opened["item"])
            content, at = opened["content"], opened["registered_at"]
        except (JoseError, AttributeError, ValueError, KeyError, TypeError) as error:
            raise InvalidAnswer("it cannot be opened") from error
        if told != (process, provider, item) or opened.get("number") != number:
            raise InvalidAnswer("it is an answer to something else")
        if not isinstance(content, str | None) or (content is not None and not _storable(content)):
            raise InvalidAnswer("its content is no text")
        if not isinstance(at, int | None) or (at is not None and not 0 <= at < _FAR):
            raise InvalidAnswer("its copy is of no time")
        return {"owner": self.owner, "process": process, "provider": provider, "item": item, "content": content,
                "registered_at": at, "received_at": epoch(self._world.clock.now())}  # fmt: skip

    def received(self, process: int) -> Received | None:
        """What was answered to a request of this body's, once it has come."""
        table = self._platform.received
        here = (table.c.owner == self.owner) & (table.c.process == process)
        with self._platform.store.reading() as connection:
            row = connection.execute(sa.select(table).where(here)).one_or_none()
        if row is None:
            return None
        at = None if row.registered_at is None else from_epoch(row.registered_at)
        return Received(process, row.provider, row.item, row.content, at, from_epoch(row.received_at))

    def _own_key(self) -> ECKey:
        if self._key is None:
            table = self._platform.key
            made = json.dumps(ECKey.generate_key("P-256").as_dict(private=True))
            with self._platform.store.alone() as connection:
                connection.execute(insert_if_absent(table), {"owner": self.owner, "jwk": made})
                text = connection.scalar(sa.select(table.c.jwk).where(table.c.owner == self.owner))
            self._key = ECKey.import_key(json.loads(str(text)))
        return self._key


def _storable(text: str) -> bool:
    """Whether every database takes a text: no NUL, and no half of a pair of letters."""
    return "\0" not in text and not any("\ud800" <= letter <= "\udfff" for letter in text)


@lru_cache(maxsize=4096)
def _imported(key: str) -> ECKey:
    return ECKey.import_key(json.loads(key))
