"""The handles of a world's people: everything that was issued to identify them, read from the stores of the issuers.

This is the ground truth of the studies that look for handles in other stores. It is the only place that names the
issuers' columns; everywhere else a handle is recognised by its value.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

import sqlalchemy as sa

from kazashi.assembly import actors
from kazashi.jpki.profile import CertificateType
from kazashi.pki import certificate_database
from kazashi.provision_network.codes import BlockCipher, Coder, LinkageCode, SoftwareCipher, TokenCipher
from kazashi.resident_registry import juki_net, registry
from kazashi.resident_registry.number import Numbering, ResidentRecordCode
from kazashi.resident_registry.resident import from_document
from kazashi.world.home import World

_WRAP = 1 << 64


class HandleKind(Enum):
    """A kind of handle: what identifies a person to somebody."""

    RECORD_CODE = "resident record code"
    NUMBER = "individual number"
    SERIAL = "serial number"
    MYKEY = "MyKey ID"
    CODE = "institution code"
    PORTAL_CODE = "portal code"
    LINKAGE = "linkage code"
    """The core's own: the linkage code, and the code under which it keeps records (情報提供等記録用符号)."""
    USER = "tenant's user id"
    MEMBER = "library's member number"
    BANK_ACCOUNT = "bank account"
    NAME = "name"


BY_WHOLE_VALUE = (HandleKind.USER, HandleKind.MEMBER, HandleKind.BANK_ACCOUNT, HandleKind.NAME)
"""Kinds whose values have no shape of their own: they are recognised only if they are the whole value of a column."""


@dataclass(frozen=True, slots=True)
class IssuedHandle:
    """One value of a kind. `value` is a number, a text, or the 16 bytes of a code. `person` is the record code with
    which the person was registered first, empty if the issuer does not know the person."""

    kind: HandleKind
    value: int | str | bytes
    person: str


def issued_handles(world: World) -> list[IssuedHandle]:
    """Every handle that was issued in a world so far, also those that were replaced by others."""
    known = {actor.store for actor in actors.actors_of(world)}
    reader = _Reader(world, known)
    people = _People(reader, world.seed)
    holders = {kind: _holders(reader, people, kind) for kind in CertificateType}
    handles = [*people.handles()]
    handles += [
        IssuedHandle(HandleKind.SERIAL, serial, person) for one in holders.values() for serial, person in one.items()
    ]
    handles += _codes(reader, people)
    handles += _mykey(reader, holders[CertificateType.AUTHENTICATION])
    handles += _of_tenants(reader, holders[CertificateType.AUTHENTICATION])
    return handles


class _Reader:
    """Reads issuers' tables. A store or a table that does not exist has no rows."""

    def __init__(self, world: World, known: set[str]) -> None:
        self.world = world
        self._known = known

    def rows(self, store: str, table: str, *columns: str) -> Sequence[sa.Row[Any]]:
        """The values of these columns in all rows."""
        if store not in self._known:
            return []
        opened = self.world.store_to_study(store)
        names = ", ".join(f'"{column}"' for column in columns)
        with opened.reading() as connection:
            if not sa.inspect(connection).has_table(table, schema=store if self.world.settings.storage else None):
                return []
            return connection.execute(sa.text(f'SELECT {names} FROM "{table}"')).all()


class _People:
    """The people by any record code that they have or had."""

    def __init__(self, reader: _Reader, seed: str) -> None:
        self._numbering = Numbering(seed)
        self._identities = reader.rows(
            juki_net.J_LIS, "identity", "record_code", "numbered_by", "individual_number", "number_changes"
        )
        self._registered = reader.rows(registry.ACTOR, "person", "record_code", "individual_number")
        self._names = reader.rows(registry.ACTOR, "person", "record_code", "document")
        self._first = {row.record_code: row.numbered_by for row in self._identities}

    def person(self, record_code: str) -> str:
        """The first record code of the person who has this one."""
        return str(self._first.get(record_code, record_code))

    def handles(self) -> Iterator[IssuedHandle]:
        """Record codes, individual numbers and names."""
        codes = {code for row in self._identities for code in (row.record_code, row.numbered_by)}
        codes |= {row.record_code for row in self._registered}
        for code in sorted(codes):
            yield IssuedHandle(HandleKind.RECORD_CODE, code, self.person(code))
        numbers = {row.individual_number: row.record_code for row in self._registered if row.individual_number}
        for row in self._identities:
            numbers[row.individual_number] = row.record_code
            for changes in range(row.number_changes):  # numbers that were replaced
                former = self._numbering.individual_number(ResidentRecordCode(row.numbered_by), changes)
                numbers[former] = row.record_code
        for number, code in sorted(numbers.items()):
            yield IssuedHandle(HandleKind.NUMBER, number, self.person(code))
        yield from self._named()

    def _named(self) -> Iterator[IssuedHandle]:
        """Names. One that several people have is nobody's in particular."""
        owners: dict[str, set[str]] = {}
        for row in self._names:
            name = from_document(json.loads(row.document)).name
            for form in filter(None, (str(name), name.given)):
                owners.setdefault(form, set()).add(self.person(row.record_code))
        for form, people in sorted(owners.items()):
            yield IssuedHandle(HandleKind.NAME, form, next(iter(people)) if len(people) == 1 else "")


def _holders(reader: _Reader, people: _People, kind: CertificateType) -> dict[int, str]:
    """The holders of an authority's certificates by serial number. A store has the upper half of the serial numbers as
    negative numbers."""
    rows = reader.rows(certificate_database.store_name(kind), "certificate", "serial", "holder")
    return {row.serial % _WRAP: people.person(row.holder) for row in rows}


def _codes(reader: _Reader, people: _People) -> Iterator[IssuedHandle]:
    """Everybody's codes for every body, made with the core's key: none of them is stored at the core."""
    core = actors.CORE.store
    persons = reader.rows(core, "person", "linkage", "resident_record_code")
    if not persons or (cipher := _cipher(reader)) is None:
        return
    coder, linkages = Coder(cipher), [LinkageCode(row.linkage) for row in persons]
    owners = [people.person(row.resident_record_code) for row in persons]
    for row, owner in zip(persons, owners, strict=True):
        yield IssuedHandle(HandleKind.LINKAGE, row.linkage, owner)
    for (group,) in reader.rows(core, "code_group", "number"):
        for code, owner in zip(coder.issue(linkages, group), owners, strict=True):
            yield IssuedHandle(HandleKind.CODE, code.value, owner)
    for linkage, owner in zip(linkages, owners, strict=True):
        yield IssuedHandle(HandleKind.PORTAL_CODE, coder.portal(linkage).value, owner)
        yield IssuedHandle(HandleKind.LINKAGE, coder.record(linkage).value, owner)


def _cipher(reader: _Reader) -> BlockCipher | None:
    """The core's cipher, None if the core has no key yet. A key in a token is used there."""
    keys = reader.world.settings.keys
    if keys != "software":
        return TokenCipher(keys, f"provision core {reader.world.seed}")
    secrets = {row.name: bytes(row.value) for row in reader.rows(actors.CORE.store, "secret", "name", "value")}
    return SoftwareCipher(secrets["key"]) if "key" in secrets else None


def _mykey(reader: _Reader, holders: Mapping[int, str]) -> Iterator[IssuedHandle]:
    """MyKey IDs, which belong to the holders of the serial numbers that the platform has with them."""
    serials = reader.rows(actors.MYKEY.store, "serial", "identifier", "serial")
    owner = {row.identifier: holders.get(row.serial % _WRAP, "") for row in serials}
    for (identifier,) in reader.rows(actors.MYKEY.store, "identifier", "identifier"):
        yield IssuedHandle(HandleKind.MYKEY, identifier, owner.get(identifier, ""))
    for row in reader.rows(actors.MYKEY.store, "member", "identifier", "member_number"):
        yield IssuedHandle(HandleKind.MEMBER, row.member_number, owner.get(row.identifier, ""))


def _of_tenants(reader: _Reader, holders: Mapping[int, str]) -> Iterator[IssuedHandle]:
    """The ids of tenants' users, who are the holders of certificates at the platform, and the accounts for refunds."""
    certificates = reader.rows(actors.PLATFORM.store, "certificate", "serial", "person")
    owner = {row.person: holders.get(row.serial % _WRAP, "") for row in certificates}
    for row in reader.rows(actors.PLATFORM.store, "user", "identifier", "person"):
        yield IssuedHandle(HandleKind.USER, row.identifier, owner.get(row.person, ""))
    for account in sorted({row[0] for row in reader.rows(actors.CENTRE.store, "application", "account")}):
        yield IssuedHandle(HandleKind.BANK_ACCOUNT, account, "")
