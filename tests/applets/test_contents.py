"""Every file of the card against docs/card.md: lengths, fillers, offsets, hashes, signatures."""

from __future__ import annotations

from hashlib import sha256
from io import BytesIO

import pytest
from asn1crypto import parser as asn1_parser
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from PIL import Image

from kazashi.applets import card_manager, card_surface, common_card, input_support, jpki, juki
from kazashi.applets.holder import Holder
from kazashi.applets.install import install
from kazashi.assembly.institutions import Institutions
from kazashi.card.chip import Chip
from kazashi.card.contents import ApplicationContents, CardContents
from kazashi.card.identifiers import FileId
from kazashi.card.image import read_image
from kazashi.card.request import select, verify
from kazashi.card.tlv import Tlv, parse
from kazashi.card_management.order import image_path
from kazashi.resident_registry.sample_residents import SAMPLE_RESIDENTS
from kazashi.world.home import World

pytestmark = pytest.mark.unit


@pytest.fixture
def hanako(world: World) -> CardContents:
    return read_image(image_path(world, "hanako"))[0]


@pytest.fixture
def about(world: World) -> dict[str, str]:
    return read_image(image_path(world, "hanako"))[1]


def rsa_key(value: bytes) -> rsa.RSAPublicKey:
    exponent, end = parse(value)
    modulus, last = parse(value, end)
    assert (exponent.tag, modulus.tag, last) == (0x90, 0x91, len(value))
    assert len(modulus.value) == 256
    return rsa.RSAPublicNumbers(int.from_bytes(exponent.value), int.from_bytes(modulus.value)).public_key()


def verified(key: rsa.RSAPublicKey, signature: bytes, message: bytes) -> bool:
    try:
        key.verify(signature, message, padding.PKCS1v15(), hashes.SHA256())
    except InvalidSignature:
        return False
    return True


def recovered(key: rsa.RSAPublicKey, signature: bytes) -> bytes:
    """Return the data inside the padding of a PKCS#1 v1.5 signature."""
    return key.recover_data_from_signature(signature, padding.PKCS1v15(), None)


def certified_key(certificate: bytes) -> rsa.RSAPublicKey:
    """Return the key in a card-verifiable certificate."""
    outer, end = parse(certificate)
    assert (outer.tag, outer.length_width, end) == (0x7F21, 3, 568)
    body, signature = outer.children()
    assert (body.tag, len(body.value), signature.tag, len(signature.value)) == (0x5F4E, 297, 0x5F37, 256)
    return rsa_key(body.value[32:])


def test_token_information(hanako: CardContents) -> None:
    token = hanako[jpki.AID].data[jpki.TOKEN_INFORMATION]
    assert len(token) == 160
    assert token[:32] == b"JPKIAPICCTOKEN2".ljust(32)
    assert token[32:64] == b"00000000000000000000000000000001"
    assert token[64:80] == b"E16R01NJ        "
    assert token[80:96].isdigit()
    assert token[96:100] == bytes.fromhex("0000040D")
    assert [int.from_bytes(token[place : place + 4]) for place in range(100, 124, 4)] == [1, 0, 1, 0, 16, 6]
    assert token[124:140] == b"\xff" * 16
    assert token[140:] == b"0301" + b"9" * 16


def test_certificates_and_their_filler(hanako: CardContents) -> None:
    data = hanako[jpki.AID].data
    for fid in (0x01, 0x02, 0x0A, 0x0B):
        content = data[FileId(fid)]
        assert len(content) == 2048
        assert content[:2] == b"\x30\x82"
        size = int.from_bytes(content[2:4]) + 4
        assert content[size:].strip(b"\xff") == b""
        x509.load_der_x509_certificate(content[:size])
    assert data[jpki.AVAILABILITY] == bytes.fromhex("8F8F00")
    keys = hanako[jpki.AID]
    for certificate, key in ((0x01, 0x1A), (0x0A, 0x17)):
        content = data[FileId(certificate)]
        loaded = x509.load_der_x509_certificate(content[: int.from_bytes(content[2:4]) + 4])
        public = loaded.public_key()
        assert isinstance(public, rsa.RSAPublicKey)
        private = keys.key(key)
        assert private is not None
        assert public.public_numbers() == private.public_numbers


def test_long_certificate_enlarges_its_file(world: World) -> None:
    data = read_image(image_path(world, "long-address"))[0][jpki.AID].data
    content = data[jpki.SIGNATURE_CERTIFICATE]
    assert len(content) % 256 == 0
    assert len(content) > 2048
    x509.load_der_x509_certificate(content[: int.from_bytes(content[2:4]) + 4])


def test_individual_number(hanako: CardContents, about: dict[str, str]) -> None:
    content = hanako[input_support.AID].data[input_support.INDIVIDUAL_NUMBER]
    assert content == b"\xff\x10\x0c" + about["individual number"].encode() + b"\xff\xff"
    assert len(content) == 17


def attributes(application: ApplicationContents) -> tuple[Tlv, bytes]:
    content = application.data[input_support.FOUR_ATTRIBUTES]
    outer, end = parse(content)
    assert content[end:].strip(b"\xff") == b""
    return outer, content


@pytest.mark.parametrize(("form", "long"), [(0x82, "820081"), (0x81, "8181")])
@pytest.mark.parametrize("repeated", [11, 40])
def test_long_texts_have_the_chosen_form_of_length(form: int, long: str, repeated: int) -> None:
    """An address of 129 bytes, and a name that takes the whole above 255 bytes or not; asn1crypto reads both forms."""
    holder = Holder("名" * repeated, "番" * 43, "19880417", "630417", "2", "123456789018", "131130")
    content, signed = input_support.four_attributes(holder, form)
    parsed = asn1_parser.parse(content, strict=True)
    assert bytes.fromhex("DF23" + long) in signed
    size = len(parsed[4])
    assert content[2:5].hex() == (f"81{size:02x}df" if form == 0x81 and size < 256 else f"82{size:04x}")
    table = asn1_parser.parse(parsed[4])
    offsets = [int.from_bytes(table[4][at : at + 2]) for at in range(0, 8, 2)]
    texts = [asn1_parser.parse(content[offset:])[4].decode() for offset in offsets]
    assert texts == [holder.name, holder.address, holder.birth, holder.sex]


def test_four_attributes_of_the_default_card(hanako: CardContents) -> None:
    outer, content = attributes(hanako[input_support.AID])
    table, *items = outer.children()
    assert (outer.tag, outer.length_width, len(outer.value)) == (0xFF20, 1, 0x65)
    assert (table.tag, table.value.hex()) == (0xDF21, "000e002000590064")
    assert len(content) == 512
    assert [item.value.decode() for item in items] == [
        "番号　花子",
        "東京都渋谷区架空町９丁目９９番９９号",
        "19880417",
        "2",
    ]


@pytest.mark.parametrize("alias", SAMPLE_RESIDENTS)
def test_text_application_offsets_hashes_and_signatures(world: World, alias: str) -> None:
    written = read_image(image_path(world, alias))[0][input_support.AID]
    outer, content = attributes(written)
    table = outer.children()[0]
    offsets = [int.from_bytes(table.value[place : place + 2]) for place in range(0, 8, 2)]
    items = [parse(content, offset)[0] for offset in offsets]
    assert [item.tag for item in items] == [0xDF22, 0xDF23, 0xDF24, 0xDF25]
    assert items[0].value.decode() == str(SAMPLE_RESIDENTS[alias].name)
    assert items[1].value.decode() == SAMPLE_RESIDENTS[alias].address
    assert items[2].value.decode() == str(SAMPLE_RESIDENTS[alias].birth)
    assert len(content) % 256 == 0

    signatures, end = parse(written.data[input_support.SIGNATURES])
    assert (signatures.tag, len(signatures.value), end) == (0xFF30, 0x14B, 336)
    number_hash, attributes_hash, signature = signatures.children()
    assert number_hash.value == sha256(written.data[input_support.INDIVIDUAL_NUMBER]).digest()
    end_of_object = len(outer.encode())
    assert attributes_hash.value == sha256(content[offsets[0] : end_of_object]).digest()
    key = certified_key(written.data[input_support.CERTIFICATE])
    assert verified(key, signature.value, number_hash.encode() + attributes_hash.encode())

    public, end = parse(written.data[input_support.PUBLIC_KEY])
    own, own_signature = public.children()
    assert (public.tag, end, own.tag, own_signature.tag) == (0xFF50, 536, 0xDF51, 0xDF52)
    assert verified(key, own_signature.value, own.encode())
    private = written.key(input_support.KEY)
    assert private is not None
    assert rsa_key(own.value).public_numbers() == private.public_numbers


def test_other_files_of_the_text_application(hanako: CardContents) -> None:
    data = hanako[input_support.AID].data
    basic = data[input_support.BASIC_INFORMATION]
    assert len(basic) == 256
    assert basic[:5].hex() == "ff4082009f"
    outer, end = parse(basic)
    assert end == 164
    version, reference, opaque = outer.children()
    assert (version.value.hex(), len(reference.value), opaque.length_width) == ("01030e01", 16, 3)
    assert opaque.value[32:] == b"\xff" * 96
    assert data[input_support.UNKNOWN_DATA] == b"\xff" * 16
    session, _ = parse(data[input_support.SESSION_PUBLIC_KEY])
    assert session.tag == 0xA1
    assert len(session.value) == 0x109
    assert rsa_key(session.value).key_size == 2048


def test_card_certificates_verify_with_the_world_anchors(world: World, hanako: CardContents) -> None:
    signers = Institutions(world).cards.vouchers(SAMPLE_RESIDENTS["hanako"].municipality.code)
    for application, issuer, place in (
        (input_support, signers.text_issuer, input_support.CERTIFICATE),
        (card_surface, signers.visual_issuer, card_surface.CERTIFICATE),
    ):
        outer, _ = parse(hanako[application.AID].data[place])
        body, signature = outer.children()
        assert body.value[:16] == issuer.id
        assert issuer.id.startswith(b"9"), "neither production (5) nor the test cards (6)"
        anchor = issuer.key.public_numbers.public_key()
        assert verified(anchor, signature.value, body.value)
        assert not verified(anchor, signature.value, body.encode()), "the signature does not cover the body's header"
    objects = hanako[card_manager.AID].objects
    intermediate = certified_key(Tlv(0x7F21, objects[card_manager.INTERMEDIATE_CERTIFICATE], 3).encode())
    card_certificate, _ = parse(Tlv(0x7F21, objects[card_manager.CARD_CERTIFICATE], 3).encode())
    body, signature = card_certificate.children()
    assert verified(intermediate, signature.value, body.value)


@pytest.mark.parametrize("alias", SAMPLE_RESIDENTS)
def test_card_surface_file(world: World, alias: str) -> None:
    contents, about = read_image(image_path(world, alias))
    written = contents[card_surface.AID]
    content = written.data[card_surface.FACE]
    outer, end = parse(content)
    assert (outer.tag, outer.length_width, end) == (0xFF20, 3, len(content))
    table, *items = outer.children()
    offsets = [int.from_bytes(table.value[place : place + 2]) for place in range(0, 18, 2)]
    assert offsets[0] == 0x1A
    assert [parse(content, offset)[0] for offset in offsets] == items
    assert [item.tag for item in items] == list(range(0xDF22, 0xDF2B))
    birth, sex, key, name, address, photograph, signature, expiry, code = items
    assert (birth.value.decode(), sex.value.decode()) == (
        str(SAMPLE_RESIDENTS[alias].birth),
        SAMPLE_RESIDENTS[alias].sex.value,
    )
    assert expiry.value.decode() == about["expiry"]
    for picture, size in ((name, None), (address, None), (code, (24, 12))):
        opened = Image.open(BytesIO(picture.value))
        assert (opened.format, opened.mode) == ("PNG", "1")
        assert size is None or opened.size == size
        assert opened.getextrema() == (0, 255), "the picture is not empty"
    assert Image.open(BytesIO(photograph.value)).format == "JPEG2000"

    digests = b"".join(
        sha256(b"".join(item.encode() for item in part)).digest() for part in (items[:3], items[3:5], items[5:6])
    )
    signer = certified_key(written.data[card_surface.CERTIFICATE])
    block = bytes.fromhex("3071300d060960864801650304020105000460") + digests
    assert recovered(signer, signature.value) == block
    private = written.key(card_surface.KEY)
    assert private is not None
    assert rsa_key(key.value).public_numbers() == private.public_numbers

    age, end = parse(written.data[card_surface.AGE])
    assert (age.tag, len(age.value), end) == (0xFF10, 0x21E, 547)
    born, age_key, age_signature = age.children()
    assert verified(signer, age_signature.value, born.encode() + age_key.encode())
    number, _ = parse(written.data[card_surface.INDIVIDUAL_NUMBER])
    drawn, number_key, number_signature = number.children()
    assert Image.open(BytesIO(drawn.value)).size == (72, 12)
    assert verified(signer, number_signature.value, drawn.encode() + number_key.encode())


def test_rare_and_variant_characters_are_drawn(world: World) -> None:
    """Each of the first four has a different picture, and none is the box for a missing character."""
    from kazashi.applets.pictures import NAME_SIZE, text_picture

    drawn = [
        text_picture(character, NAME_SIZE) for character in ("𠮷", "吉", "髙", "高", "葛", "葛\U000e0100", "\U0010fffd")
    ]
    assert len(set(drawn[:4])) == 4
    assert drawn[6] not in drawn[:6], "the box for a character that the font lacks"


def test_basic_information_of_the_visual_application(hanako: CardContents) -> None:
    outer, _ = parse(hanako[card_surface.AID].data[card_surface.BASIC_INFORMATION])
    version, reference, zero, city, opaque = outer.children()
    assert (outer.tag, outer.length_width, version.value.hex()) == (0xFF30, 3, "06030e01")
    assert (len(reference.value), zero.value, city.value, len(opaque.value)) == (16, b"\0", b"13113", 0x110)


def test_records_of_the_common_and_juki_applications(hanako: CardContents, about: dict[str, str]) -> None:
    (number,) = hanako[common_card.AID].records[common_card.CARD_NUMBER]
    assert number[:2] == b"\x01\x1c"
    assert number[2:].decode() == about["card number"] + "13113" + about["expiry"]
    assert len(number) == 30
    (reference,) = hanako[common_card.AID].records[common_card.KEY_REFERENCE]
    assert len(reference) == 16
    assert hanako[juki.AID].records[juki.KEY_REFERENCE] == (reference,)


def test_reference_number_b(about: dict[str, str]) -> None:
    number = about["reference number B"]
    assert number[:6] == "630417", "1988 is Showa 63"
    assert number[6:10] == about["expiry"][:4]
    assert len(number) == 14


def test_internal_authenticate_uses_the_certified_key(hanako: CardContents) -> None:
    chip = Chip(install(hanako))
    chip.power_on()
    chip.transmit(select(common_card.AID))
    response = chip.transmit(bytes.fromhex("0088009904 01020304 00"))
    certificate, _ = parse(Tlv(0x7F21, hanako[card_manager.AID].objects[card_manager.CARD_CERTIFICATE], 3).encode())
    key = rsa_key(certificate.children()[0].value[32:])
    assert verified(key, response[:-2], b"\1\2\3\4")


SIGNATURES = {
    0x00: "verbatim",
    0x01: "bare hash",
    0x02: "hash",
    0x03: "message",
    0x04: "hash, PSS",
    0x05: "message, PSS",
}


@pytest.mark.parametrize("way", SIGNATURES)
def test_signed_data_for_each_p1(hanako: CardContents, way: int) -> None:
    chip = Chip(install(hanako))
    chip.power_on()
    chip.transmit(select(jpki.AID))
    chip.transmit(verify(jpki.AUTHENTICATION_PIN, b"1234"))
    message = b"kazashi"
    data = sha256(message).digest() if way in (2, 4) else message
    response = chip.transmit(bytes((0x80, 0x2A, way, 0x97, len(data))) + data + b"\0")
    assert response[-2:] == b"\x90\x00"
    private = hanako[jpki.AID].key(jpki.AUTHENTICATION_KEY)
    assert private is not None
    key = private.public_numbers.public_key()
    match way:
        case 0:
            assert recovered(key, response[:-2]) == message
        case 1:
            assert recovered(key, response[:-2]) == sha256(message).digest()
        case 2 | 3:
            key.verify(response[:-2], message, padding.PKCS1v15(), hashes.SHA256())
        case _:
            key.verify(response[:-2], message, padding.PSS(padding.MGF1(hashes.SHA256()), 32), hashes.SHA256())
