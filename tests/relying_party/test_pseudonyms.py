"""Pseudonyms: published test vectors, the properties of each construction, and blind translation."""

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
    """A seeded random number generator."""
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
"""Every construction, two services, and a person in the form it needs."""

each_construction = pytest.mark.parametrize(
    ("construction", "services", "person"),
    CONSTRUCTIONS,
    ids=[row[0].name for row in CONSTRUCTIONS],
)


# Every construction


@each_construction
def test_every_construction_describes_its_properties(
    construction: Construction, services: tuple[str, str], person: bytes
) -> None:
    texts = dataclasses.asdict(construction.properties)
    assert set(texts) == {field.name for field in dataclasses.fields(Properties)}
    assert all(len(text.split()) >= 2 and text == text.strip() for text in texts.values())
    assert len(set(texts.values())) == 3


def test_the_names_of_constructions_are_unique() -> None:
    names = [construction.name for construction, _, _ in CONSTRUCTIONS]
    assert len(set(names)) == len(names)


@each_construction
def test_pseudonyms_are_stable_and_only_keyless_ones_are_shared(
    construction: Construction, services: tuple[str, str], person: bytes
) -> None:
    first, second = (construction.pseudonym(Subject(SERIAL, person), service) for service in services)
    assert construction.pseudonym(Subject(SERIAL, person), services[0]) == first
    assert (first == second) is (construction.name in ("raw-serial", "plain-hash"))
    assert f"{SERIAL:X}" not in first.upper() or construction.name == "raw-serial"


@each_construction
def test_a_renewal_has_the_effect_that_the_construction_describes(
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
def test_a_short_secret_is_rejected(make: Callable[[bytes], object]) -> None:
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
def test_framing_is_reversible(parts: list[bytes]) -> None:
    assert unframed(framed(*parts)) == parts


@given(st.binary(max_size=12), st.integers(0, 12), st.integers(0, 12))
def test_frames_of_the_same_bytes_differ_by_where_they_are_split(data: bytes, one: int, other: int) -> None:
    alike = framed(data[:one], data[one:]) == framed(data[:other], data[other:])
    assert alike is (min(one, len(data)) == min(other, len(data)))


# Serial numbers, hashed and keyed


@given(_serials, st.text(), st.text())
def test_a_raw_serial_number_is_the_same_at_all_services(serial: int, one: str, other: str) -> None:
    assert RawSerial().pseudonym(Subject(serial), one) == RawSerial().pseudonym(Subject(serial), other)
    assert int(RawSerial().pseudonym(Subject(serial), one), 16) == serial


def test_a_plain_hash_is_inverted_by_trying_serial_numbers() -> None:
    pseudonym = PlainHash().pseudonym(Subject(SERIAL), "library")
    matches = (serial for serial in range(0x70000000, 0x70001000)
               if hashlib.sha256(serial.to_bytes(8)).hexdigest() == pseudonym)  # fmt: skip
    assert next(matches) == SERIAL


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
        # HMAC pads a key with zeros, so two secrets that differ only in trailing zeros are equivalent.
        same = secret.ljust(64, b"\0") == another.ljust(64, b"\0") if make is KeyedPairwise else secret == another
        assert (make(another).pseudonym(subject, one) == pseudonym) is same


@given(st.sets(_serials, min_size=2, max_size=6))
def test_keyed_pseudonyms_of_different_people_differ(serials: set[int]) -> None:
    for construction in (KeyedPairwise(SECRET), OidcPairwise(SECRET)):
        pseudonyms = {construction.pseudonym(Subject(serial, serial.to_bytes(8)), "library") for serial in serials}
        assert len(pseudonyms) == len(serials)


# Austria


def test_the_block_of_the_austrian_register_number_is_the_published_one() -> None:
    assert source_block("000247681888", 0xFF).hex() == "000ec35360ff000ec35360000ec35360"


@pytest.mark.parametrize("number", ["", "00024768188", "0002476818880", "00024768188a", "00024768188²"])
def test_a_malformed_austrian_register_number_is_rejected(number: str) -> None:
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
def test_austrian_identifiers_match_the_published_ones(source: str, sector: str, identifier: str) -> None:
    assert bpk(source, sector) == identifier


def test_an_austrian_source_number_is_the_encrypted_block() -> None:
    construction = AustrianBpk(DES_KEY)
    number = construction.source_number("000247681888")
    block = DES3.new(DES_KEY, DES3.MODE_CBC, iv=bytes(8)).decrypt(base64.b64decode(number))
    assert block == source_block("000247681888", 0xFF)
    assert construction.pseudonym(Subject(0, b"000247681888"), "BW") == bpk(number, "BW")
    with pytest.raises(ValueError, match="3DES"):
        AustrianBpk(DES_KEY[:-1])


# Germany


@pytest.mark.parametrize(("sector", "pseudonym"), [(11, VECTOR_11), (13, VECTOR_13)])
def test_the_revocation_authority_computes_the_same_german_pseudonym(sector: int, pseudonym: str) -> None:
    card, revocation = 5, 7
    assert restricted_identification(card, sector_key(sector, revocation)) == pseudonym
    # TR-03110: the revocation authority computes PK_ID^Rev from the card's public key, and each sector continues alone.
    public_of_card = BRAINPOOLP256r1.generator * card
    revocation_key: PointJacobi = public_of_card * revocation
    shared = revocation_key * sector
    assert hashlib.sha256(int(shared.x()).to_bytes(32)).hexdigest() == pseudonym
    assert BRAINPOOLP256r1.order == CURVE_ORDER


@settings(max_examples=20)
@given(*[st.integers(1, CURVE_ORDER - 1)] * 3)
def test_both_ways_to_a_german_pseudonym_agree_for_any_secrets(card: int, revocation: int, sector: int) -> None:
    shared = BRAINPOOLP256r1.generator * card * revocation * sector
    expected = hashlib.sha256(int(shared.x()).to_bytes(32)).hexdigest()
    assert restricted_identification(card, sector_key(sector, revocation)) == expected


def test_a_german_sector_without_a_key_has_no_pseudonyms() -> None:
    key: ec.EllipticCurvePublicKey = sector_key(11, 7)
    with pytest.raises(KeyError):
        GermanRestrictedIdentification({"a": key}).pseudonym(Subject(0, b"\x05"), "b")


# Blind translation


@pytest.fixture(scope="module")
def blind() -> BlindlyConverted:
    return BlindlyConverted(SECRET, SERVICES, seeded())


def affine(point: Point) -> tuple[int, int]:
    return int(point.x()), int(point.y())


def test_a_translation_gives_the_other_services_pseudonym_of_the_person(
    blind: BlindlyConverted,
) -> None:
    people = [Subject(0, f"person {number}".encode()) for number in range(4)]
    tables = {service: [blind.pseudonym(person, service) for person in people] for service in SERVICES}
    assert len({pseudonym for table in tables.values() for pseudonym in table}) == len(people) * len(SERVICES)
    for source, target in permutations(SERVICES, 2):
        translated = [blind.translate(pseudonym, source, target) for pseudonym in tables[source]]
        assert translated == tables[target]
        assert [blind.translate(pseudonym, target, source) for pseudonym in translated] == tables[source]


def test_the_converter_never_sees_a_point_twice(blind: BlindlyConverted) -> None:
    """No two requests, about one person or about two, have a point in common, or one that is a core."""
    library, bank, seen = blind.services["library"], blind.services["bank"], list[tuple[int, int]]()
    people = [Subject(0, name) for name in (b"person 1", b"person 2")]
    for person in people * 3:
        request = library.blind(blind.pseudonym(person, "library"), bank.public)
        reply = blind.converter.convert(request, "library", "bank")
        seen += [affine(point) for message in (request, reply) for point in (message.shared, message.hidden)]
    cores = {affine(blind.converter.core(person.person, service)) for person in people for service in SERVICES}
    assert len(set(seen)) == len(seen) == 24
    assert not cores & set(seen)


def test_another_service_than_the_target_cannot_unblind(blind: BlindlyConverted) -> None:
    person = Subject(0, b"person 1")
    request = blind.services["library"].blind(blind.pseudonym(person, "library"), blind.services["bank"].public)
    reply = blind.converter.convert(request, "library", "bank")
    known = {blind.pseudonym(person, service) for service in SERVICES}
    assert blind.services["bank"].unblind(reply) in known
    assert blind.services["town hall"].unblind(reply) not in known
    assert blind.services["bank"].unblind(request) not in known, "the converter has not translated it"


def test_the_neutral_element_is_rejected(blind: BlindlyConverted) -> None:
    bank = blind.services["bank"]
    with pytest.raises(ValueError, match="neutral element"):
        bank.unblind(Blinded(NIST256p.generator * 3, bank.public * 3))  # the neutral element, blinded
    with pytest.raises(ValueError, match="neutral element"):
        compressed(bank.public * ORDER)


@pytest.mark.parametrize("garbage", ["", "0", "zz", "nobody", "00" * 33, "ff" * 33, "02" * 32, "02" * 34, "00" * 99])
def test_garbage_is_not_a_pseudonym(blind: BlindlyConverted, garbage: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  # also from bytes.fromhex
        blind.translate(garbage, "library", "bank")


def test_a_foreign_or_truncated_pseudonym_is_rejected(blind: BlindlyConverted) -> None:
    pseudonym = blind.pseudonym(Subject(0, b"person 1"), "library")
    for wrong, source in ((pseudonym, "bank"), (pseudonym[:-2], "library"), (pseudonym + "00", "library")):
        with pytest.raises(ValueError, match="not a pseudonym of"):
            blind.translate(wrong, source, "town hall")
