"""Pseudonyms: published vectors, what each construction keeps apart, and translation in the dark."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
from collections.abc import Callable
from itertools import permutations
from random import Random

import pytest
from Crypto.Cipher import DES3
from cryptography.hazmat.primitives.asymmetric import ec
from ecdsa import BRAINPOOLP256r1, NIST256p
from ecdsa.ellipticcurve import PointJacobi
from hypothesis import example, given, settings
from hypothesis import strategies as st

from kazashi.relying_party.pseudonyms.converter import (
    ORDER,
    Blinded,
    BlindlyConverted,
    Converter,
    Point,
    PseudonymService,
    compressed,
)
from kazashi.relying_party.pseudonyms.pseudonyms import (
    CURVE_ORDER,
    MINIMUM_KEY,
    AustrianBpk,
    Construction,
    GermanRestrictedIdentification,
    KeyedPairwise,
    OidcPairwise,
    PlainHash,
    Properties,
    RawSerial,
    Subject,
    bpk,
    framed,
    restricted_identification,
    sector_key,
    source_block,
)

pytestmark = pytest.mark.unit

SERIAL = 0x70000123
SECRET = bytes(range(32))
DES_KEY = bytes.fromhex("0123456789abcdef23456789abcdef01456789abcdef0123")
SERVICES = ("library", "bank", "town hall")
VECTOR_11 = "20f704b77d07ad4275a38bc4b561aacb239ec4631d909484f80477c4ab033211"
VECTOR_13 = "66adc67d181e91ef91aeec8a3ba9a47d4d534469e8c95a8178ff58339e9cd958"

_secrets = st.binary(min_size=MINIMUM_KEY, max_size=64)
_serials = st.integers(0, (1 << 64) - 1)


def seeded(seed: int = 1) -> Callable[[], int]:
    """Chance that a run can repeat."""
    source = Random(seed)
    return lambda: source.getrandbits(320)


CONSTRUCTIONS: list[tuple[Construction, tuple[str, str], bytes]] = [
    (RawSerial(), ("library", "bank"), b""),
    (PlainHash(), ("library", "bank"), b""),
    (KeyedPairwise(SECRET), ("library", "bank"), b""),
    (OidcPairwise(SECRET), ("library.example", "bank.example"), b"account 1"),
    (AustrianBpk(DES_KEY), ("BW", "SA"), b"000247681888"),
    (GermanRestrictedIdentification({"a": sector_key(11, 7), "b": sector_key(13, 7)}), ("a", "b"), b"\x05"),
    (BlindlyConverted(SECRET, ("library", "bank"), seeded()), ("library", "bank"), b"person 1"),
]
"""Every construction, two services, and a person as it wants one."""

each_construction = pytest.mark.parametrize(
    ("construction", "services", "person"), CONSTRUCTIONS, ids=[found.name for found, _, _ in CONSTRUCTIONS]
)


# What every construction says and does


@each_construction
def test_every_construction_says_what_follows_from_it(
    construction: Construction, services: tuple[str, str], person: bytes
) -> None:
    said = dataclasses.asdict(construction.properties)
    assert set(said) == {field.name for field in dataclasses.fields(Properties)}
    assert all(len(words.split()) >= 2 and words == words.strip() for words in said.values())
    assert len(set(said.values())) == 3


def test_no_two_constructions_have_one_name() -> None:
    names = [construction.name for construction, _, _ in CONSTRUCTIONS]
    assert len(set(names)) == len(names)


@each_construction
def test_a_pseudonym_is_the_same_each_time_and_differs_between_services_but_for_raw_serials_and_plain_hashes(
    construction: Construction, services: tuple[str, str], person: bytes
) -> None:
    here, there = (construction.pseudonym(Subject(SERIAL, person), service) for service in services)
    assert construction.pseudonym(Subject(SERIAL, person), services[0]) == here
    assert (here == there) is (construction.name in ("raw-serial", "plain-hash"))
    assert f"{SERIAL:X}" not in here.upper() or construction.name == "raw-serial"


@each_construction
def test_what_a_renewal_does_is_what_the_construction_says(
    construction: Construction, services: tuple[str, str], person: bytes
) -> None:
    before, after = (construction.pseudonym(Subject(serial, person), services[0]) for serial in (SERIAL, SERIAL + 99))
    if before == after:
        assert "the same" in construction.properties.on_renewal
    else:
        assert construction.properties.on_renewal.startswith("another pseudonym")


@pytest.mark.parametrize(
    "make",
    [KeyedPairwise, OidcPairwise, Converter, lambda secret: PseudonymService("library", secret, seeded()),
     lambda secret: BlindlyConverted(secret, (), seeded())],
    ids=["keyed pairwise", "OIDC", "converter", "service", "blindly converted"],
)  # fmt: skip
def test_a_short_secret_is_refused(make: Callable[[bytes], object]) -> None:
    make(bytes(MINIMUM_KEY))
    for length in (0, 16, MINIMUM_KEY - 1):
        with pytest.raises(ValueError, match=f"at least {MINIMUM_KEY} bytes"):
            make(bytes(length))


# Framing


def unframed(data: bytes) -> list[bytes]:
    parts = []
    while data:
        length = int.from_bytes(data[:4])
        parts.append(data[4 : 4 + length])
        data = data[4 + length :]
    return parts


@example([b"ab", b"c"])
@example([b"a", b"bc"])
@example([b"", b""])
@given(st.lists(st.binary(max_size=9), max_size=5))
def test_framing_can_be_undone_and_so_makes_no_two_lists_alike(parts: list[bytes]) -> None:
    assert unframed(framed(*parts)) == parts


@given(st.binary(max_size=12), st.integers(0, 12), st.integers(0, 12))
def test_bytes_cut_at_two_places_are_framed_alike_at_one_place_only(data: bytes, one: int, other: int) -> None:
    alike = framed(data[:one], data[one:]) == framed(data[:other], data[other:])
    assert alike is (min(one, len(data)) == min(other, len(data)))


# Serial numbers, hashed and keyed


@given(_serials, st.text(), st.text())
def test_a_raw_serial_number_is_equal_at_all_services(serial: int, one: str, other: str) -> None:
    assert RawSerial().pseudonym(Subject(serial), one) == RawSerial().pseudonym(Subject(serial), other)
    assert int(RawSerial().pseudonym(Subject(serial), one), 16) == serial


def test_a_plain_hash_is_undone_by_counting() -> None:
    pseudonym = PlainHash().pseudonym(Subject(SERIAL), "library")
    counted = (serial for serial in range(0x70000000, 0x70001000)
               if hashlib.sha256(serial.to_bytes(8)).hexdigest() == pseudonym)  # fmt: skip
    assert next(counted) == SERIAL


@given(_serials, st.text(), st.text(), _secrets, _secrets)
def test_keyed_pseudonyms_differ_by_service_and_by_secret(
    serial: int, one: str, other: str, secret: bytes, another: bytes
) -> None:
    for make in (KeyedPairwise, OidcPairwise):
        construction, subject = make(secret), Subject(serial, serial.to_bytes(8))
        pseudonym = construction.pseudonym(subject, one)
        assert len(pseudonym) == 43
        assert make(secret).pseudonym(subject, one) == pseudonym
        assert (construction.pseudonym(subject, other) == pseudonym) is (one == other)
        # HMAC fills a key up with zeros: two secrets that differ in zeros at the end alone are one.
        same = secret.ljust(64, b"\0") == another.ljust(64, b"\0") if make is KeyedPairwise else secret == another
        assert (make(another).pseudonym(subject, one) == pseudonym) is same


@given(st.sets(_serials, min_size=2, max_size=6))
def test_keyed_pseudonyms_of_several_people_are_as_many(serials: set[int]) -> None:
    for construction in (KeyedPairwise(SECRET), OidcPairwise(SECRET)):
        found = {construction.pseudonym(Subject(serial, serial.to_bytes(8)), "library") for serial in serials}
        assert len(found) == len(serials)


# Austria


def test_the_block_of_the_austrian_register_number() -> None:
    assert source_block("000247681888", 0xFF).hex() == "000ec35360ff000ec35360000ec35360"


@pytest.mark.parametrize("number", ["", "00024768188", "0002476818880", "00024768188a", "00024768188²"])
def test_what_is_no_austrian_register_number_is_refused(number: str) -> None:
    with pytest.raises(ValueError, match="twelve digits"):
        source_block(number, 0xFF)


@pytest.mark.parametrize(
    ("source", "sector", "identifier"),
    [
        ("Qq03dPrgcHsx3G0lKSH6SQ==", "BW", "j/NxdRQhp+tNyE9WhHdBSYuy3hA="),
        ("Qq03dPrgcHsx3G0lKSH6SQ==", "SA", "Xcd0Rg71oIx2vonv/3CV8YF/mMg="),
        ("Qq03dPrgcHsx3G0lKSH6SQ==", "GH", "35hSLIcljwICeJUHggTxhg0P6r0="),
        ("MDEyMzQ1Njc4OWFiY2RIZg==", "BW", "XNV5ThCj5OwJR0oOcWmK4WUs5p4="),
    ],
)
def test_austrian_identifiers_are_those_that_are_published(source: str, sector: str, identifier: str) -> None:
    assert bpk(source, sector) == identifier


def test_an_austrian_source_number_is_the_block_under_the_authoritys_key() -> None:
    construction = AustrianBpk(DES_KEY)
    number = construction.source_number("000247681888")
    block = DES3.new(DES_KEY, DES3.MODE_CBC, iv=bytes(8)).decrypt(base64.b64decode(number))
    assert block == source_block("000247681888", 0xFF)
    assert construction.pseudonym(Subject(0, b"000247681888"), "BW") == bpk(number, "BW")
    with pytest.raises(ValueError, match="3DES"):
        AustrianBpk(DES_KEY[:-1])


# Germany


@pytest.mark.parametrize(("sector", "pseudonym"), [(11, VECTOR_11), (13, VECTOR_13)])
def test_german_pseudonyms_come_out_by_the_revocation_authority_as_well(sector: int, pseudonym: str) -> None:
    card, revocation = 5, 7
    assert restricted_identification(card, sector_key(sector, revocation)) == pseudonym
    # TR-03110: the revocation authority makes PK_ID^Rev out of the card's public key, and each sector goes on alone.
    public_of_card = BRAINPOOLP256r1.generator * card
    to_be_revoked: PointJacobi = public_of_card * revocation
    shared = to_be_revoked * sector
    assert hashlib.sha256(int(shared.x()).to_bytes(32)).hexdigest() == pseudonym
    assert BRAINPOOLP256r1.order == CURVE_ORDER


@settings(max_examples=20)
@given(*[st.integers(1, CURVE_ORDER - 1)] * 3)
def test_any_german_secrets_lead_to_one_pseudonym_both_ways(card: int, revocation: int, sector: int) -> None:
    shared = BRAINPOOLP256r1.generator * card * revocation * sector
    expected = hashlib.sha256(int(shared.x()).to_bytes(32)).hexdigest()
    assert restricted_identification(card, sector_key(sector, revocation)) == expected


def test_a_german_sector_without_a_key_has_no_pseudonyms() -> None:
    key: ec.EllipticCurvePublicKey = sector_key(11, 7)
    with pytest.raises(KeyError):
        GermanRestrictedIdentification({"a": key}).pseudonym(Subject(0, b"\x05"), "b")


# Translation in the dark


@pytest.fixture(scope="module")
def blind() -> BlindlyConverted:
    return BlindlyConverted(SECRET, SERVICES, seeded())


def affine(point: Point) -> tuple[int, int]:
    return int(point.x()), int(point.y())


def test_a_translation_gives_the_other_services_own_pseudonym_of_that_person_and_of_nobody_else(
    blind: BlindlyConverted,
) -> None:
    people = [Subject(0, f"person {number}".encode()) for number in range(4)]
    tables = {service: [blind.pseudonym(person, service) for person in people] for service in SERVICES}
    assert len({pseudonym for table in tables.values() for pseudonym in table}) == len(people) * len(SERVICES)
    for source, target in permutations(SERVICES, 2):
        translated = [blind.translate(pseudonym, source, target) for pseudonym in tables[source]]
        assert translated == tables[target]
        assert [blind.translate(pseudonym, target, source) for pseudonym in translated] == tables[source]


def test_the_converter_sees_nothing_twice(blind: BlindlyConverted) -> None:
    """Neither two questions about one person nor questions about two have a point in common, or one with a core."""
    library, bank, seen = blind.services["library"], blind.services["bank"], list[tuple[int, int]]()
    people = [Subject(0, name) for name in (b"person 1", b"person 2")]
    for person in people * 3:
        asked = library.blind(blind.pseudonym(person, "library"), bank.public)
        answered = blind.converter.convert(asked, "library", "bank")
        seen += [affine(point) for one in (asked, answered) for point in (one.shared, one.hidden)]
    cores = {affine(blind.converter.core(person.person, service)) for person in people for service in SERVICES}
    assert len(set(seen)) == len(seen) == 24
    assert not cores & set(seen)


def test_a_service_that_is_not_meant_unblinds_to_nobody(blind: BlindlyConverted) -> None:
    person = Subject(0, b"person 1")
    asked = blind.services["library"].blind(blind.pseudonym(person, "library"), blind.services["bank"].public)
    answered = blind.converter.convert(asked, "library", "bank")
    known = {blind.pseudonym(person, service) for service in SERVICES}
    assert blind.services["bank"].unblind(answered) in known
    assert blind.services["town hall"].unblind(answered) not in known
    assert blind.services["bank"].unblind(asked) not in known, "the converter must have had its say"


def test_what_is_nobody_at_all_is_refused(blind: BlindlyConverted) -> None:
    bank = blind.services["bank"]
    with pytest.raises(ValueError, match="neutral element"):
        bank.unblind(Blinded(NIST256p.generator * 3, bank.public * 3))  # the point of nobody, blinded as any other
    with pytest.raises(ValueError, match="neutral element"):
        compressed(bank.public * ORDER)


@pytest.mark.parametrize("garbage", ["", "0", "zz", "nobody", "00" * 33, "ff" * 33, "02" * 32, "02" * 34, "00" * 99])
def test_garbage_is_no_pseudonym(blind: BlindlyConverted, garbage: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  # by bytes.fromhex, too
        blind.translate(garbage, "library", "bank")


def test_another_services_pseudonym_and_one_cut_short_are_refused(blind: BlindlyConverted) -> None:
    pseudonym = blind.pseudonym(Subject(0, b"person 1"), "library")
    for wrong, source in ((pseudonym, "bank"), (pseudonym[:-2], "library"), (pseudonym + "00", "library")):
        with pytest.raises(ValueError, match="not a pseudonym of"):
            blind.translate(wrong, source, "town hall")
