"""Malformed certificates: every one of them gets a verdict."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from kazashi.jpki.profile import CertificateType
from kazashi.relying_party.conformance.authority import NOW, CertificateTemplate, TestAuthority, points
from kazashi.relying_party.conformance.cases_certificate import with_extension
from kazashi.relying_party.verify import extensions
from kazashi.relying_party.verify.anchors import Anchors, AnchorsInDirectory, BadAnchor, read_anchor
from kazashi.relying_party.verify.sources import Lists
from kazashi.relying_party.verify.verdict import Finding, Outcome
from kazashi.relying_party.verify.verification import Verifier
from kazashi.world.clock import FixedClock
from kazashi.world.key_source import SharedKeySource, generate

# `cryptography` warns about certificates that it or we reject afterwards.
pytestmark = [
    pytest.mark.unit,
    pytest.mark.filterwarnings("ignore:Parsed a serial number which wasn't positive"),
    pytest.mark.filterwarnings("ignore:Attribute's length must be"),
]

RSA_SIGNATURE = 256
"""Bytes at the end of a certificate. The byte before them is the number of unused bits in the last one."""

DIRECTORY_NAME, X400_ADDRESS, EDI_PARTY_NAME = 0xA4, 0xA3, 0xA5
"""Tags of a general name."""


@pytest.fixture(scope="module")
def ca() -> TestAuthority:
    return TestAuthority(SharedKeySource([generate() for _ in range(7)]))


@pytest.fixture(scope="module")
def verifier(ca: TestAuthority) -> Verifier:
    """A verifier for which every valid certificate is good, because its lists are empty."""
    certificates = [generation.certificate.public_bytes(Encoding.DER) for generation in ca.generations.values()]
    anchors = Anchors(map(read_anchor, certificates))
    lists = {kind: ca.list(ca.generation(kind)) for kind in CertificateType}
    return Verifier(anchors, [Lists("given", lambda certificate, _: lists[certificate.kind])], FixedClock(NOW))


@pytest.fixture(scope="module", params=CertificateType, ids=lambda kind: kind.code)
def certificate(ca: TestAuthority, verifier: Verifier, request: pytest.FixtureRequest) -> bytes:
    der = ca.holder(ca.generation(request.param)).der
    assert verifier.certificate(der).outcome is Outcome.GOOD
    return der


@settings(max_examples=500)
@given(place=st.integers(0, 1 << 16), change=st.integers(1, 255))
def test_a_certificate_with_a_changed_byte_is_bad(
    verifier: Verifier, certificate: bytes, place: int, change: int
) -> None:
    place %= len(certificate)
    assume(place != len(certificate) - RSA_SIGNATURE - 1)  # this byte has its own test
    changed = bytearray(certificate)
    changed[place] ^= change
    assert verifier.certificate(bytes(changed)).outcome is Outcome.BAD


def test_a_certificate_has_only_one_valid_encoding(ca: TestAuthority, verifier: Verifier) -> None:
    """A signature must not have unused bits, even if they are zero."""
    certificates = (ca.holder(ca.generation(CertificateType.SIGNATURE)).der for _ in range(100))
    even = bytearray(next(der for der in certificates if der[-1] % 2 == 0))
    assert verifier.certificate(bytes(even)).outcome is Outcome.GOOD
    even[-RSA_SIGNATURE - 1] = 1
    assert verifier.certificate(bytes(even)).outcome is Outcome.BAD


@settings(max_examples=100)
@given(length=st.integers(0, 1 << 16))
def test_a_truncated_certificate_is_malformed(verifier: Verifier, certificate: bytes, length: int) -> None:
    assert verifier.certificate(certificate[: length % len(certificate)]).finding is Finding.MALFORMED


@given(data=st.binary(max_size=200))
def test_anything_that_is_not_a_certificate_is_malformed(verifier: Verifier, data: bytes) -> None:
    assert verifier.certificate(data).finding is Finding.MALFORMED


@pytest.mark.parametrize("tag", [X400_ADDRESS, EDI_PARTY_NAME])
def test_a_general_name_that_libraries_cannot_read_is_bad(verifier: Verifier, certificate: bytes, tag: int) -> None:
    """Anybody can send such a certificate, although no authority has signed it."""
    places = [place for place, byte in enumerate(certificate) if byte == DIRECTORY_NAME]
    assert len(places) > 1
    for place in places:
        changed = certificate[:place] + bytes((tag,)) + certificate[place + 1 :]
        assert verifier.certificate(changed).outcome is Outcome.BAD


def test_extensions_of_strangers_fill_no_memory_and_change_no_verdict(
    ca: TestAuthority, verifier: Verifier, certificate: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Anybody can send certificates with extensions that nobody has seen before."""
    monkeypatch.setattr(extensions, "MOST_PARSED", 20)
    for number in range(30):
        entry = ca.partition(CertificateType.AUTHENTICATION, ("Tokyo-to", f"{number}-shi"))
        change = with_extension("distribution point", points(x509.DirectoryName(entry)), critical=False)
        stranger = ca.holder(ca.foreign_root(CertificateType.AUTHENTICATION), CertificateTemplate(change=change))
        assert verifier.certificate(stranger.der).finding is Finding.WRONG_AUTHORITY
        assert verifier.certificate(certificate).outcome is Outcome.GOOD
        assert len(extensions._parsed) <= 20


def test_only_an_authoritys_own_certificate_is_an_anchor(ca: TestAuthority, certificate: bytes, tmp_path: Path) -> None:
    root = ca.generation(CertificateType.SIGNATURE).certificate.public_bytes(Encoding.DER)
    broken = bytes((*root[:-1], root[-1] ^ 1))
    for data in (b"", b"\x30\x00", b"-----BEGIN", certificate, root[:-1], root + b"\x00", broken):
        with pytest.raises(BadAnchor):
            read_anchor(data)
    with pytest.raises(BadAnchor):
        AnchorsInDirectory(tmp_path / "nowhere")
    assert read_anchor(root).kind is CertificateType.SIGNATURE
    assert (
        read_anchor(ca.generation(CertificateType.SIGNATURE).certificate.public_bytes(Encoding.PEM)).kind
        is CertificateType.SIGNATURE
    )
