"""The next card's chip: its two applications, two PINs and one number, and its signatures by ECDSA."""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import sha384
from io import BytesIO
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from PIL import Image

from kazashi.applets import card_manager, card_surface, common_card, input_support, jpki, juki, next_card
from kazashi.applets.applet import unfilled
from kazashi.applets.install import load_card
from kazashi.assembly.cards import make_card
from kazashi.assembly.institutions import Institutions
from kazashi.card.chip import Chip
from kazashi.card.image import read_image
from kazashi.card.key import PrivateKey
from kazashi.card.request import (
    compute_digital_signature,
    get_data,
    internal_authenticate,
    select,
    select_file,
    sign_hash,
    tries_left,
    verify,
)
from kazashi.card.rule import RuleSource, rule_of
from kazashi.card.tlv import Tlv, parse
from kazashi.card_management.models import NEXT_MODEL
from kazashi.world.key_source import SharedKeySource
from tests.support import run
from tests.town import new_institutions

pytestmark = pytest.mark.unit

OK = b"\x90\x00"
PIN, PASSWORD = verify(jpki.AUTHENTICATION_PIN, b"1234"), verify(jpki.SIGNATURE_PIN, b"ABC123")
DIGEST = sha384(b"kazashi").digest()


@pytest.fixture(scope="module")
def town(module_path: Path, keys: SharedKeySource) -> Iterator[Institutions]:
    town = new_institutions(module_path / "w", keys)
    make_card(town, "next", "hanako", model="next")
    yield town
    town.world.close()


@pytest.fixture(scope="module")
def next_image(town: Institutions) -> Path:
    return town.world.cards / "next.card"


@pytest.fixture
def chip(next_image: Path) -> Chip:
    """The card, powered on. These tests do not change its image, apart from retry counters, which they restore."""
    chip = Chip(load_card(next_image))
    chip.power_on()
    return chip


def answers(chip: Chip, *commands: bytes) -> bytes:
    return [chip.transmit(command) for command in commands][-1]


def read(chip: Chip, fid: int) -> bytes:
    """Read a whole file with one command of extended length."""
    assert chip.transmit(select_file(fid)) == OK
    response = chip.transmit(bytes.fromhex("00B00000000000"))
    assert response.endswith(OK)
    return response[:-2]


def public_key_in(chip: Chip, fid: int) -> ec.EllipticCurvePublicKey:
    content = read(chip, fid)
    key = x509.load_der_x509_certificate(unfilled(content)).public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)
    return key


def verified(key: ec.EllipticCurvePublicKey, signature: bytes, message: bytes) -> None:
    """Raise InvalidSignature unless r and s of 48 bytes each are a signature over the message."""
    assert len(signature) == 96
    encoded = encode_dss_signature(int.from_bytes(signature[:48]), int.from_bytes(signature[48:]))
    key.verify(encoded, message, ec.ECDSA(hashes.SHA384()))


def test_there_are_two_applications_and_the_others_are_not_found(chip: Chip) -> None:
    for there in (jpki.AID, card_surface.AID, card_manager.AID):
        assert answers(chip, select(there)) == OK
    for not_there in (input_support.AID, juki.AID, common_card.AID):
        assert answers(chip, select(not_there)) == b"\x6a\x82"


def test_there_are_two_pins_and_a_number_of_six_digits(chip: Chip, next_image: Path) -> None:
    contents, about = read_image(next_image)
    assert [(str(aid), f"{fid:04X}", pin.tries, len(pin.value)) for aid, applet in contents.items()
            for fid, pin in applet.pins.items()] == [
        (str(jpki.AID), "0018", 3, 4), (str(jpki.AID), "001B", 5, 6), (str(card_surface.AID), "0010", 10, 6),
    ]  # fmt: skip
    number = about["reference number"].encode()
    assert number.isdigit()
    wrong = bytes(reversed(number)) if number != bytes(reversed(number)) else b"000000"
    reference = next_card.REFERENCE_NUMBER
    assert answers(chip, select(card_surface.AID), verify(reference, wrong)) == b"\x63\xc9"
    assert answers(chip, verify(reference, number)) == OK
    assert answers(chip, tries_left(reference)) == b"\x63\xca"


@pytest.mark.parametrize(
    ("pin", "key", "certificate"),
    [(PIN, jpki.AUTHENTICATION_KEY, jpki.AUTHENTICATION_CERTIFICATE),
     (PASSWORD, jpki.SIGNATURE_KEY, jpki.SIGNATURE_CERTIFICATE)],
)  # fmt: skip
def test_both_keys_sign_a_hash_after_their_own_pin(chip: Chip, pin: bytes, key: int, certificate: int) -> None:
    other = PASSWORD if pin is PIN else PIN
    assert answers(chip, select(jpki.AID), other, select_file(key), sign_hash(DIGEST)) == b"\x69\x82"
    signature = answers(chip, pin, select_file(key), sign_hash(DIGEST))
    assert signature.endswith(OK)
    public = public_key_in(chip, certificate)
    verified(public, signature[:-2], b"kazashi")
    with pytest.raises(InvalidSignature):
        verified(public, signature[:-2], b"Kazashi")
    again = answers(chip, select_file(key), sign_hash(DIGEST))
    assert again != signature, "each signature has a random number of its own"
    verified(public, again[:-2], b"kazashi")


def test_openssl_verifies_a_signature_of_the_chip(chip: Chip, tmp_path: Path) -> None:
    signature = answers(chip, select(jpki.AID), PIN, select_file(jpki.AUTHENTICATION_KEY), sign_hash(DIGEST))[:-2]
    encoded = encode_dss_signature(int.from_bytes(signature[:48]), int.from_bytes(signature[48:]))
    content = read(chip, jpki.AUTHENTICATION_CERTIFICATE)
    for name, data in {"signature": encoded, "message": b"kazashi", "certificate": content}.items():
        (tmp_path / name).write_bytes(data)
    public = tmp_path / "public"
    public.write_text(run("openssl", "x509", "-inform", "DER", "-in", f"{tmp_path}/certificate", "-noout", "-pubkey"))
    judged = run("openssl", "dgst", "-sha384", "-verify", str(public), "-signature", f"{tmp_path}/signature",
                 f"{tmp_path}/message")  # fmt: skip
    assert "Verified OK" in judged


REFUSED = {
    "002A9E9A20" + "00" * 32 + "00": ("6A80", RuleSource.NEXT_CARD_SIGNATURE),  # a SHA-256 hash
    "002A9E9A33" + "00" * 51 + "00": ("6A80", RuleSource.NEXT_CARD_SIGNATURE),  # a DigestInfo of today's clients
    "002A9E9A30" + "00" * 48: ("6700", RuleSource.NEXT_CARD_SIGNATURE),  # no Le
    "002A9E9A30" + "00" * 48 + "5F": ("6700", RuleSource.NEXT_CARD_SIGNATURE),  # one byte less than the signature
    "002A8086" + "30" + "00" * 48 + "00": ("6A86", RuleSource.ISO_SIGNATURE),  # DECIPHER
    "802A008030" + "00" * 48 + "00": ("6D00", RuleSource.ISO_INSTRUCTION),  # the command of today's card
    "002241B60384019700": ("6D00", RuleSource.ISO_INSTRUCTION),  # MANAGE SECURITY ENVIRONMENT
}


@pytest.mark.parametrize(("command", "expected"), REFUSED.items(), ids=lambda value: str(value)[:12])
def test_what_the_key_does_not_sign(chip: Chip, command: str, expected: tuple[str, RuleSource]) -> None:
    answers(chip, select(jpki.AID), PIN, select_file(jpki.AUTHENTICATION_KEY))
    response = chip.transmit(bytes.fromhex(command))
    rule = rule_of(response)
    assert rule is not None
    assert (response.hex().upper(), rule.source) == expected
    assert chip.transmit(bytes.fromhex("002A9E9A30" + "00" * 48 + "60")).endswith(OK), "Le of exactly the signature"


def test_the_current_file_must_be_a_key(chip: Chip) -> None:
    assert answers(chip, select(jpki.AID), sign_hash(DIGEST)) == b"\x69\x86"
    assert answers(chip, PIN, sign_hash(DIGEST)) == b"\x69\x81", "the PIN is the current file"
    assert answers(chip, select_file(next_card.CARD_KEY), sign_hash(DIGEST)) == b"\x69\x81", "it authenticates only"


def test_todays_card_does_not_know_the_command(image: Path) -> None:
    chip = Chip(load_card(image))
    chip.power_on()
    assert answers(chip, select(jpki.AID), PIN, select_file(jpki.AUTHENTICATION_KEY), sign_hash(DIGEST)) == b"\x6d\x00"
    assert answers(chip, compute_digital_signature(jpki.AUTHENTICATION_KEY, bytes(32))).endswith(OK)


@pytest.mark.parametrize("pin", [PIN, PASSWORD])
def test_the_text_data_can_be_read_with_either_pin(chip: Chip, town: Institutions, pin: bytes) -> None:
    resident = town.registry.find("hanako")
    assert answers(chip, select(jpki.AID), select_file(next_card.INDIVIDUAL_NUMBER)) == OK
    assert chip.transmit(bytes.fromhex("00B0000011")) == b"\x69\x82"
    chip.transmit(pin)
    assert signed_text(chip, town) == [
        resident.individual_number, "番号\u3000花子", resident.address, "19880417", "2",
    ]  # fmt: skip


def signed_text(chip: Chip, town: Institutions) -> list[str]:
    """Number, name, address, date of birth and sex, whose signatures are checked. A PIN was verified before."""
    number, attributes = read(chip, next_card.INDIVIDUAL_NUMBER), read(chip, next_card.FOUR_ATTRIBUTES)
    objects, _ = parse(attributes)
    signed = number + b"".join(item.encode() for item in objects.children()[1:])
    signature, _ = parse(read(chip, next_card.SIGNATURE))
    verified(certified(chip, town, next_card.CERTIFICATE, "text"), signature.value, signed)
    own, _ = parse(read(chip, next_card.PUBLIC_KEY))
    key, vouched = own.children()
    verified(certified(chip, town, next_card.CERTIFICATE, "text"), vouched.value, key.value)
    answer = answers(chip, select_file(next_card.KEY), sign_hash(DIGEST))
    verified(point_key(key.value), answer[:-2], b"kazashi")
    return [number[3:15].decode(), *(item.value.decode() for item in objects.children()[1:])]


def certified(chip: Chip, town: Institutions, fid: int, issuer: str) -> ec.EllipticCurvePublicKey:
    """The municipality's key in a card-verifiable certificate, whose signature is checked with the world's anchor."""
    signers = town.cards.vouchers(town.registry.find("hanako").municipality.code, NEXT_MODEL)
    anchor: PrivateKey = getattr(signers, f"{issuer}_issuer").key
    certificate, _ = parse(read(chip, fid))
    body, signature = certificate.children()
    verified(ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP384R1(), anchor.public_point), signature.value,
             body.value)  # fmt: skip
    return point_key(body.value[32:])


def point_key(encoded: bytes) -> ec.EllipticCurvePublicKey:
    point, end = parse(encoded)
    assert (point.tag, end) == (0x86, len(encoded))
    return ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP384R1(), point.value)


def test_the_face_has_reading_latin_name_and_sex_and_is_signed_as_a_whole(
    chip: Chip, town: Institutions, next_image: Path
) -> None:
    number = read_image(next_image)[1]["reference number"].encode()
    assert answers(chip, select(card_surface.AID), select_file(next_card.FACE)) == OK
    assert chip.transmit(bytes.fromhex("00B0000004")) == b"\x69\x82"
    chip.transmit(verify(next_card.REFERENCE_NUMBER, number))
    objects = signed_face(chip, town)
    assert (objects[0xDF22].value, objects[0xDF23].value, objects[0xDF29].value) == (b"19880417", b"2", b"20360517")
    sizes = {tag: Image.open(BytesIO(objects[tag].value)).size for tag in (0xDF25, 0xDF26, 0xDF27, 0xDF2B, 0xDF2C)}
    assert sizes[0xDF2B] == sizes[0xDF2C] == sizes[0xDF25] == (432, 48)
    assert len({objects[tag].value for tag in sizes}) == len(sizes)


def signed_face(chip: Chip, town: Institutions) -> dict[int, Tlv]:
    """The objects of the face by tag. Its signature and that of the number are checked. The reference number was
    verified before."""
    outer, _ = parse(read(chip, next_card.FACE))
    signed = b"".join(item.encode() for item in outer.children()[:-1])
    key = certified(chip, town, next_card.FACE_CERTIFICATE, "visual")
    verified(key, outer.children()[-1].value, signed)
    picture, _ = parse(read(chip, next_card.NUMBER_PICTURE))
    verified(key, picture.children()[1].value, picture.children()[0].encode())
    return {item.tag: item for item in outer.children()}


def test_the_card_proves_that_it_is_genuine(chip: Chip, town: Institutions) -> None:
    """INTERNAL AUTHENTICATE with the key that the certificate of the card manager names."""
    challenge = b"challenge"
    chip.transmit(select(jpki.AID))
    answer = answers(chip, internal_authenticate(next_card.CARD_KEY, challenge))
    short_le = internal_authenticate(next_card.CARD_KEY, challenge)[:-1] + b"\x5f"
    assert answers(chip, short_le) == b"\x67\x00"
    chip.transmit(select(card_manager.AID))
    body, signature, *rest = parse_all_of(answers(chip, get_data(card_manager.CARD_CERTIFICATE))[:-2])
    assert not rest
    verified(point_key(body.value[32:]), answer[:-2], challenge)
    chip_key = parse_all_of(answers(chip, get_data(card_manager.INTERMEDIATE_CERTIFICATE))[:-2])[0].value[32:]
    verified(point_key(chip_key), signature.value, body.value)


def parse_all_of(content: bytes) -> list[Tlv]:
    return Tlv(0x30, content).children()
