"""Certificates compared with docs/certificates.md, and the roots compared with two real ones."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from asn1crypto import core, pem
from asn1crypto import x509 as asn1
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.x509.oid import ExtensionOID

from kazashi.applets import jpki
from kazashi.card.image import read_image
from kazashi.card_management.order import image_path
from kazashi.jpki.profile import REAL_POLICY_ARC, CertificateType, Profile
from kazashi.pki.authority import FIRST_SERIAL, Authority
from kazashi.resident_registry.sample_residents import SAMPLE_RESIDENTS
from kazashi.world.home import World
from tests.support import run

pytestmark = pytest.mark.unit

ROOTS = Path(__file__).parent / "roots"
REAL_ROOT = {CertificateType.SIGNATURE: "sign_ca_2023.pem", CertificateType.AUTHENTICATION: "auth_ca_2023.pem"}


def certificate(world: World, alias: str, kind: CertificateType) -> bytes:
    fid = jpki.SIGNATURE_CERTIFICATE if kind is CertificateType.SIGNATURE else jpki.AUTHENTICATION_CERTIFICATE
    content = read_image(image_path(world, alias))[0][jpki.AID].data[fid]
    return content[: int.from_bytes(content[2:4]) + 4]


def extensions(der: bytes) -> list[tuple[str, bool]]:
    return [
        (extension["extn_id"].dotted, bool(extension["critical"].native))
        for extension in asn1.Certificate.load(der)["tbs_certificate"]["extensions"]
    ]


@pytest.mark.parametrize("kind", CertificateType)
def test_root_has_the_structure_of_the_real_one(world: World, kind: CertificateType) -> None:
    real = pem.unarmor((ROOTS / REAL_ROOT[kind]).read_bytes())[2]
    ours = Authority(world, kind).root()
    assert extensions(ours) == extensions(real)
    pairs = zip(
        asn1.Certificate.load(ours)["tbs_certificate"]["extensions"],
        asn1.Certificate.load(real)["tbs_certificate"]["extensions"],
        strict=True,
    )
    for mine, theirs in pairs:
        mine_raw, theirs_raw = mine["extn_value"].parsed.dump(), theirs["extn_value"].parsed.dump()
        if mine["extn_id"].native in ("key_usage", "basic_constraints"):
            assert mine.dump() == theirs.dump()
        if mine["extn_id"].native in ("subject_alt_name", "crl_distribution_points"):
            assert tags(mine_raw) == tags(theirs_raw)
    for field in ("issuer", "subject"):
        assert tags(asn1.Certificate.load(ours)["tbs_certificate"][field].dump()) == tags(
            asn1.Certificate.load(real)["tbs_certificate"][field].dump()
        )
    assert tags(asn1.Certificate.load(ours).dump()) == tags(asn1.Certificate.load(real).dump())
    assert b"JPKI-EMU" in ours
    assert b"JPKI-EMU" not in real


def tags(der: bytes) -> list[int]:
    """The tags of DER values in order, including those in constructed values and in extensions' octet strings."""
    result, place = [], 0
    while place < len(der):
        tag = der[place]
        start, end = span(der, place)
        body = der[start:end]
        result.append(tag)
        # A key identifier is random and may begin like a value inside an octet string, but its length does not fit.
        wrapped = tag == 0x04 and body[:1] in (b"\x30", b"\x03", b"\x04") and span(body, 0)[1] == len(body)
        if tag & 0x20 or wrapped:
            result += tags(body)
        place = end
    return result


def span(der: bytes, place: int) -> tuple[int, int]:
    """Where the contents of the value at `place` begin and end."""
    size, start = der[place + 1], place + 2
    if size & 0x80:
        width = size & 0x7F
        size, start = int.from_bytes(der[start : start + width]), start + width
    return start, start + size


@pytest.mark.parametrize("alias", SAMPLE_RESIDENTS)
def test_authentication_certificate_profile(world: World, alias: str) -> None:
    der = certificate(world, alias, CertificateType.AUTHENTICATION)
    assert extensions(der) == [
        ("2.5.29.15", True), ("2.5.29.37", False), ("2.5.29.32", True), ("2.5.29.18", False),
        ("2.5.29.31", False), ("1.3.6.1.5.5.7.1.1", False), ("2.5.29.35", False), ("2.5.29.14", False),
    ]  # fmt: skip
    loaded = x509.load_der_x509_certificate(der)
    common_name = loaded.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)[0].value
    assert len(common_name) == 23
    assert common_name[5] == "4"
    assert str(common_name).endswith(f"{SAMPLE_RESIDENTS[alias].municipality.code}003A")
    assert len(loaded.subject.rdns) == 2
    assert 1500 <= len(der) <= 1650
    assert str(SAMPLE_RESIDENTS[alias].name).encode() not in der, "it does not name the holder"


@pytest.mark.parametrize("alias", [alias for alias in SAMPLE_RESIDENTS if alias != "child"])
def test_signature_certificate_profile(world: World, alias: str) -> None:
    der = certificate(world, alias, CertificateType.SIGNATURE)
    assert extensions(der) == [
        ("2.5.29.15", True), ("2.5.29.17", False), ("2.5.29.32", True), ("2.5.29.18", False),
        ("2.5.29.31", False), ("2.5.29.35", False), ("2.5.29.14", False),
    ]  # fmt: skip
    loaded = x509.load_der_x509_certificate(der)
    names = loaded.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    values = {}
    order = []
    for other in names.get_values_for_type(x509.OtherName):
        number = other.type_id.dotted_string.removeprefix("1.2.392.200149.8.5.5.")
        assert other.value[0] == 0x0C, "a UTF8String"
        values[number] = core.UTF8String.load(other.value).native
        order.append(number)
    assert order == ["1", "4", "3", "5", "2", "6"]
    assert len(values["1"]) == len(values["2"])
    assert len(values["5"]) == len(values["6"])
    assert set(values["2"] + values["6"]) <= {"0", "1"}
    assert values["4"][1:] == str(SAMPLE_RESIDENTS[alias].birth)
    assert values["3"] in "123"
    if alias == "rare-kanji":
        assert (values["1"], values["2"]) == ("●●　●次郎", "110100")
    if alias == "variant-kanji":
        assert (values["1"], values["2"]) == ("葛城　辻美", "00000")
    if alias == "hanako":
        assert (values["1"], values["4"], values["3"]) == ("番号　花子", "319880417", "2")
        assert values["5"] == "東京都渋谷区架空町９丁目９９番９９号"
    common_name = str(loaded.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)[0].value)
    assert len(common_name) == 28
    assert common_name[14:19] == SAMPLE_RESIDENTS[alias].municipality.code


@pytest.mark.parametrize("kind", CertificateType)
def test_common_profile_of_both_types(world: World, kind: CertificateType, tmp_path: Path) -> None:
    der, root = certificate(world, "hanako", kind), Authority(world, kind).root()
    loaded, issuer = x509.load_der_x509_certificate(der), x509.load_der_x509_certificate(root)
    public = issuer.public_key()
    assert isinstance(public, rsa.RSAPublicKey)
    assert loaded.signature_hash_algorithm is not None
    public.verify(loaded.signature, loaded.tbs_certificate_bytes, padding.PKCS1v15(), loaded.signature_hash_algorithm)
    key = loaded.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value
    assert key.key_identifier == x509.SubjectKeyIdentifier.from_public_key(public).digest
    assert key.authority_cert_serial_number == issuer.serial_number
    assert key.authority_cert_issuer == [x509.DirectoryName(issuer.subject)]
    alternative = ExtensionOID.ISSUER_ALTERNATIVE_NAME
    own = ExtensionOID.SUBJECT_ALTERNATIVE_NAME
    in_end_entity = loaded.extensions.get_extension_for_oid(alternative).value.public_bytes()
    assert in_end_entity == issuer.extensions.get_extension_for_oid(own).value.public_bytes()
    assert loaded.serial_number > FIRST_SERIAL - 1
    parsed = asn1.Certificate.load(der)
    for attribute in (one for name in (parsed.subject, parsed.issuer) for relative in name.chosen for one in relative):
        country = attribute["type"].native == "country_name"
        assert attribute["value"].name == ("printable_string" if country else "utf8_string")
    for name, content in (("leaf", der), ("root", root)):
        (tmp_path / f"{name}.der").write_bytes(content)
        run("openssl", "x509", "-inform", "DER", "-in", f"{tmp_path}/{name}.der", "-out", f"{tmp_path}/{name}.pem")
    assert "OK" in run("openssl", "verify", "-CAfile", f"{tmp_path}/root.pem", f"{tmp_path}/leaf.pem")


def test_serial_numbers_are_gapless_and_unique(world: World) -> None:
    for kind in CertificateType:
        database = sqlite3.connect(world.directory / "stores" / f"authority_{kind.code}.sqlite")
        serials = [
            row[0]
            for row in database.execute(
                "SELECT serial FROM certificate UNION ALL SELECT serial FROM generation"
                " UNION ALL SELECT serial FROM responder ORDER BY 1"
            )
        ]
        events = database.execute("SELECT count(*) FROM event WHERE serial IS NOT NULL").fetchone()[0]
        database.close()
        assert serials == list(range(FIRST_SERIAL, FIRST_SERIAL + len(serials)))
        assert events == len(serials), "every serial number has its event"


def test_expired_card_has_an_earlier_generation(world: World) -> None:
    loaded = x509.load_der_x509_certificate(certificate(world, "expired", CertificateType.AUTHENTICATION))
    now = world.clock.now()
    assert loaded.not_valid_after_utc < now
    content = read_image(image_path(world, "expired"))[0][jpki.AID].data[jpki.AUTHENTICATION_AUTHORITY]
    root = x509.load_der_x509_certificate(content[: int.from_bytes(content[2:4]) + 4])  # padding follows
    assert root.subject == loaded.issuer
    loaded.verify_directly_issued_by(root)
    with pytest.raises(InvalidSignature):
        loaded.verify_directly_issued_by(
            x509.load_der_x509_certificate(Authority(world, CertificateType.AUTHENTICATION).root())
        )


def test_real_organisations_are_rejected() -> None:
    for name in ("JPKI", "JPKI-TEST"):
        with pytest.raises(ValueError, match=name):
            Profile(organisation=name)
    assert Profile().policy_arc != REAL_POLICY_ARC
