"""Handles are found by their values in every form in which a store can have them, and by nothing else."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from random import Random
from typing import Any

import pytest
import sqlalchemy as sa
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, pkcs7

from kazashi.assembly.network import Network
from kazashi.assembly.points_server import mykey_platform_of
from kazashi.jpki.profile import CertificateType
from kazashi.studies.handle_index import HandleIndex, StoredForm
from kazashi.studies.handle_sightings import ColumnReading, Sightings, by_chance, sightings
from kazashi.studies.handles import HandleKind, IssuedHandle
from kazashi.world.home import World
from kazashi.world.rng import stream
from tests.cli.program import InProcessProgram
from tests.studies.conftest import Copied
from tests.town import certificates

CLEAR, DIGEST, KEYED = StoredForm.CLEAR, StoredForm.DIGEST, StoredForm.KEYED
SECRET = bytes(range(100, 132))
"""The newcomer's own key."""


@dataclass(frozen=True)
class Person:
    """The handles of the person whose handles are planted."""

    serial: int
    record_code: str
    number: str
    code: bytes
    portal_code: bytes
    mykey: str
    certificate: bytes


def sha256(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def enclosed(one: Person) -> bytes:
    """A CMS structure that has the certificate."""
    return pkcs7.serialize_certificates([x509.load_der_x509_certificate(one.certificate)], Encoding.DER)


Make = Callable[[Person], Any]
PLANTED: dict[str, tuple[Make, HandleKind, StoredForm]] = {
    "integer": (lambda one: one.serial, HandleKind.SERIAL, CLEAR),
    "decimal": (lambda one: f"card {one.serial}.", HandleKind.SERIAL, CLEAR),
    "lower": (lambda one: f"0x{one.serial:x}", HandleKind.SERIAL, CLEAR),
    "padded": (lambda one: f"{one.serial:016X}", HandleKind.SERIAL, CLEAR),
    "octets": (lambda one: one.serial.to_bytes(8).hex(":"), HandleKind.SERIAL, CLEAR),
    "blob": (lambda one: one.serial.to_bytes(8), HandleKind.SERIAL, CLEAR),
    "list": (lambda one: json.dumps({"a": [{"b": [1, f"{one.serial:X}"]}]}), HandleKind.SERIAL, CLEAR),
    "inner": (lambda one: json.dumps({"a": json.dumps({"b": one.serial})}), HandleKind.SERIAL, CLEAR),
    "json": (lambda one: json.dumps({"x": one.serial}).encode(), HandleKind.SERIAL, CLEAR),
    "der": (lambda one: one.certificate, HandleKind.SERIAL, CLEAR),
    "cms": (enclosed, HandleKind.SERIAL, CLEAR),
    "pdf": (lambda one: b"%PDF \xff /Contents <" + enclosed(one).hex().encode() + b">", HandleKind.SERIAL, CLEAR),
    "pem": (lambda one: x509.load_der_x509_certificate(one.certificate).public_bytes(Encoding.PEM),
            HandleKind.SERIAL, CLEAR),
    "base64": (lambda one: base64.b64encode(one.certificate).decode(), HandleKind.SERIAL, CLEAR),
    "sha256": (lambda one: sha256(str(one.serial).encode()), HandleKind.SERIAL, DIGEST),
    "sha1": (lambda one: hashlib.sha1(f"{one.serial:X}".encode()).hexdigest(), HandleKind.SERIAL, DIGEST),
    "md5": (lambda one: hashlib.md5(one.serial.to_bytes(8)).hexdigest().upper(), HandleKind.SERIAL, DIGEST),
    "digest64": (lambda one: base64.b64encode(sha256(one.serial.to_bytes(8))).decode(), HandleKind.SERIAL, DIGEST),
    "keyed": (lambda one: hmac.digest(SECRET, str(one.serial).encode(), "sha256"), HandleKind.SERIAL, KEYED),
    "keyedurl": (lambda one: base64.urlsafe_b64encode(hmac.digest(SECRET, one.number.encode(), "sha256")).decode(),
                 HandleKind.NUMBER, KEYED),
    "recordcode": (lambda one: one.record_code, HandleKind.RECORD_CODE, CLEAR),
    "number": (lambda one: int(one.number), HandleKind.NUMBER, CLEAR),
    "grouped": (lambda one: f"{one.number[:4]}-{one.number[4:8]}-{one.number[8:]}", HandleKind.NUMBER, CLEAR),
    "wide": (lambda one: one.number.translate(str.maketrans("0123456789", "０１２３４５６７８９")), HandleKind.NUMBER,
             CLEAR),
    "hashednumber": (lambda one: sha256(one.number.encode()).hex(), HandleKind.NUMBER, DIGEST),
    "code": (lambda one: one.code, HandleKind.CODE, CLEAR),
    "codehex": (lambda one: f"urn:{one.code.hex()}", HandleKind.CODE, CLEAR),
    "codeder": (lambda one: b"\x30\x12\x04\x10" + one.code, HandleKind.CODE, CLEAR),
    "portal": (lambda one: one.portal_code.hex().upper(), HandleKind.PORTAL_CODE, CLEAR),
    "mykey": (lambda one: f"id={one.mykey};", HandleKind.MYKEY, CLEAR),
}  # fmt: skip
STRANGE: dict[str, Make] = {
    "within": lambda one: f"9{one.serial}7",
    "next": lambda one: one.serial + 40,
    "cut": lambda one: one.record_code[:-1],
    "salted": lambda one: sha256(b"salt" + str(one.serial).encode()),
    "otherkey": lambda one: hmac.digest(bytes(32), str(one.serial).encode(), "sha256"),
    "float": lambda one: one.serial / 3,
    "random": lambda one: secrets.token_bytes(400),
    "within_hex": lambda one: f"AB{one.serial:X}CD",
}
"""Values that look like handles and are none."""


@dataclass(frozen=True)
class Planted:
    """A world with a store in which handles were planted, and what was found in it."""

    world: World
    found: Sightings

    def columns(self, store: str = "newcomer") -> dict[str, set[tuple[HandleKind, StoredForm]]]:
        """What was found in each column of a store."""
        columns: dict[str, set[tuple[HandleKind, StoredForm]]] = {}
        for one in self.found.found:
            if one.store == store:
                columns.setdefault(one.column.partition(".")[0], set()).add((one.kind, one.form))
        return columns


@pytest.fixture(scope="module")
def planted(copied: Copied, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Planted]:
    institutions = copied(tmp_path_factory.mktemp("planted") / "w")
    network, world = Network(institutions), institutions.world
    program = InProcessProgram(world.directory)
    program.run("mykey", "register", "hanako")
    (issued,) = certificates(institutions, "hanako", CertificateType.AUTHENTICATION)
    resident = institutions.registry.find("hanako")
    person = Person(
        issued.serial, str(resident.code), str(resident.individual_number),
        network.core.codes.code_for("日本年金機構", str(resident.code)).value,
        network.core.codes.portal_code(str(resident.code)).value,
        str(mykey_platform_of(world).find(issued.serial)), issued.certificate,
    )  # fmt: skip
    metadata = sa.MetaData()
    made = {name: make for name, (make, _, _) in PLANTED.items()} | STRANGE
    columns = [sa.Column(name, sa.BLOB) for name in made]
    table = sa.Table("things", metadata, *columns)
    secret = sa.Table("secret", metadata, sa.Column("name", sa.Text), sa.Column("value", sa.LargeBinary))
    store = world.store("newcomer", metadata)
    with store.transaction() as connection:
        connection.execute(sa.insert(secret), {"name": "own", "value": SECRET})
        marks = ", ".join("?" for _ in made)
        connection.exec_driver_sql(f"INSERT INTO {table.name} VALUES ({marks})",
                                   tuple(make(person) for make in made.values()))  # fmt: skip
    yield Planted(world, sightings(world))
    world.close()


@pytest.mark.parametrize("name", sorted(PLANTED))
def test_a_handle_is_found_in_every_form(planted: Planted, name: str) -> None:
    _, kind, form = PLANTED[name]
    assert planted.columns().get(name) == {(kind, form)}


def test_what_only_looks_like_a_handle_is_not_found(planted: Planted) -> None:
    assert planted.columns().keys() == PLANTED.keys()


def test_a_keyed_image_names_the_actor_that_has_the_key(planted: Planted) -> None:
    assert {one.key for one in planted.found.found if one.form is KEYED} == {"newcomer: own"}


def test_issuers_stores_have_what_they_issue(planted: Planted) -> None:
    serial = (HandleKind.SERIAL, CLEAR)
    assert planted.columns("authority_authentication")["certificate"] == {serial}, "the serial number in the DER"
    assert planted.columns("provision_core").keys() == {"linkage", "resident_record_code", "record_code"}
    assert planted.columns("mykey") == {
        "identifier": {(HandleKind.MYKEY, CLEAR)}, "head": {serial}, "serial": {serial},
        "detail": {(HandleKind.MYKEY, CLEAR)},
    }  # fmt: skip


def test_rulings_name_a_column_of_any_name(planted: Planted) -> None:
    """RulingReason (v) by command: the planted serial numbers, record codes and numbers, and nobody's codes."""
    findings = InProcessProgram(planted.world.directory).json("network", "rulings", expect=1)
    against = {one["reason"]: one["against"] for one in findings}["v"]
    carried = {HandleKind.SERIAL, HandleKind.RECORD_CODE, HandleKind.NUMBER}
    expected = {name for name, (_, kind, form) in PLANTED.items() if kind in carried and form is not KEYED}
    places = {fact["values"]["place"].removeprefix("newcomer.things.").partition(".")[0] for fact in against
              if fact["values"]["who"] == "newcomer"}  # fmt: skip
    assert places == expected
    assert {fact["values"]["who"] for fact in against} == {"newcomer", "MyKey platform"}


@pytest.mark.parametrize(("serial", "stored"), [
    (0xF000_0000_0000_0001, 0xF000_0000_0000_0001 - (1 << 64)), (0xF000_0001, 0xF000_0001 - (1 << 32)),
    (0xF000_0001, 0xF000_0001),
])  # fmt: skip
def test_a_signed_column_has_the_upper_half_as_negative_numbers(serial: int, stored: int) -> None:
    reading = ColumnReading(HandleIndex([IssuedHandle(HandleKind.SERIAL, serial, "")]))
    reading.add(0, stored)
    assert reading.sighted() == {(HandleKind.SERIAL, CLEAR, ""): {0: {0}}}


# Chance

PEOPLE, COLUMNS = 3_000, 1_200


def random_columns(chance: Random) -> Iterator[list[Any]]:
    """Columns of values that look like serial numbers, record codes, individual numbers, MyKey IDs, times and codes."""
    july_2029 = 1_879_048_194
    makers: list[Callable[[], Any]] = [
        lambda: chance.randrange(10**9, 10**10), lambda: f"{chance.randrange(10**11):011d}",
        lambda: f"{chance.randrange(10**12):012d}", lambda: f"{chance.randrange(1 << 32):08X}",
        lambda: "".join(chance.choices("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ", k=8)),
        lambda: july_2029 - 15_000_000 + chance.randrange(30_000_000), lambda: chance.randbytes(8),
        lambda: chance.randbytes(16), lambda: chance.randbytes(32).hex(), lambda: chance.randbytes(200),
        lambda: struct.pack(">I", chance.randrange(1 << 32)), lambda: july_2029 + 30_000 + chance.randrange(40_000),
    ]  # fmt: skip
    for number in range(COLUMNS):
        yield [makers[number % len(makers)]() for _ in range(chance.choice((1, 2, 5, 20, 100)))]


def test_random_columns_are_taken_for_handles_less_than_once_in_a_thousand() -> None:
    """The handles are those of 3,000 people, whose serial numbers follow each other: they are also times in 2029."""
    chance = stream("tests", "random columns")
    handles = [IssuedHandle(HandleKind.SERIAL, 0x7000_0001 + place, f"p{place // 2}") for place in range(2 * PEOPLE)]
    handles += [IssuedHandle(HandleKind.RECORD_CODE, f"{chance.randrange(10**11):011d}", "") for _ in range(PEOPLE)]
    handles += [IssuedHandle(HandleKind.NUMBER, f"{chance.randrange(10**12):012d}", "") for _ in range(PEOPLE)]
    index = HandleIndex(handles)
    false = 0
    for values in random_columns(chance):
        reading = ColumnReading(index)
        for row, value in enumerate(values):
            reading.add(row, value)
        false += bool(reading.sighted())
    assert false <= COLUMNS // 1000
    reading = ColumnReading(index)
    for row, handle in enumerate(chance.sample(handles, 20)):
        reading.add(row, handle.value)
    assert sum(map(len, reading.sighted().values())) == 20, "true ones are found among the handles of all people"


@pytest.mark.parametrize("handle", [
    IssuedHandle(HandleKind.MYKEY, "K4Z9QQ7A", ""), IssuedHandle(HandleKind.SERIAL, 0x7000_0002, ""),
    IssuedHandle(HandleKind.NUMBER, "123456789018", ""),
])  # fmt: skip
def test_a_handle_among_other_values_of_its_length_is_found(handle: IssuedHandle) -> None:
    chance, reading = stream("tests", "others"), ColumnReading(HandleIndex([handle]))
    others = ["".join(chance.choices("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ", k=8)) for _ in range(30)]
    others += [str(chance.randrange(10**9, 10**10)) for _ in range(30)]
    others += [str(chance.randrange(10**11, 10**12)) for _ in range(30)]
    for row, value in enumerate([*others, f"then {handle.value!s}"]):
        reading.add(row, value)
    assert reading.sighted() == {(handle.kind, CLEAR, ""): {90: {0}}}


def test_few_matches_among_many_values_are_chance() -> None:
    assert by_chance(1, 0.01) > 1e-5
    assert by_chance(1, 2e-6) < 1e-5
    assert by_chance(40, 2.0) < 1e-5
    assert by_chance(3, 5.0) == 1.0
    assert by_chance(0, 1.0) == 1.0
