"""Independent programs and libraries read everything that the authorities sign."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import pytest
from asn1crypto import crl as asn1_crl
from asn1crypto import ocsp as asn1_ocsp
from asn1crypto import pem
from asn1crypto import x509 as asn1_x509
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp
from pyhanko_certvalidator import CertificateValidator, ValidationContext
from pyhanko_certvalidator.errors import InsufficientRevinfoError, RevokedError

from kazashi.assembly.institutions import Institutions
from kazashi.card.certification_request import certification_request
from kazashi.jpki.profile import EMULATED, NEXT, CertificateType, Medium, Profile
from kazashi.jpki.state import Reason
from kazashi.pki.certificate import CertificateRequest
from kazashi.pki.certificate_database import AUTHORITY_LIST, FULL_LIST
from kazashi.pki.lint import lint
from kazashi.pki.responder import Responder
from kazashi.resident_registry.event import MoveWithin
from kazashi.world.clock import SystemClock, epoch
from kazashi.world.key_source import KeySource, SharedKeySource, generate, new_p384_key
from tests.support import run
from tests.town import AUTHENTICATION, SIGNATURE, certificates, clock_of, later, new_institutions

ALIASES = ("hanako", "taro", "rare-kanji", "variant-kanji", "long-name", "long-address", "child", "expired")
EXPECTED = {"pkix.certificate_policies_policy_has_qualifier"}
"""The findings that real certificates have too: their policy has a qualifier with the URI of the statement."""

_IGNORED = ("INFO", "DEBUG")


@dataclass
class Samples:
    """A town with every kind of certificate, its certificates by name, and a directory for files."""

    institutions: Institutions
    files: Path
    certificates: dict[str, tuple[CertificateType, bytes]] = field(default_factory=dict)

    @property
    def now(self) -> str:
        return str(epoch(self.institutions.world.clock.now()))

    def issuer(self, name: str) -> bytes:
        """The root that a certificate's authorityKeyIdentifier names."""
        kind, certificate = self.certificates[name]
        wanted = asn1_x509.Certificate.load(certificate).authority_key_identifier
        roots = [generation.certificate for generation in self.institutions.authorities[kind].generations()]
        return next(root for root in roots if asn1_x509.Certificate.load(root).key_identifier == wanted)

    def listed(self, name: str) -> bytes:
        """The partition list of a certificate's distribution point."""
        kind, certificate = self.certificates[name]
        issued = self.institutions.authorities[kind].find(x509.load_der_x509_certificate(certificate).serial_number)
        return self.institutions.publications[kind].path(issued.generation, issued.partition).read_bytes()

    def pem(self, label: str, name: str, *contents: bytes) -> str:
        path = self.files / f"{name}.pem"
        path.write_bytes(b"".join(pem.armor(label, content) for content in contents))
        return str(path)

    def der(self, name: str, content: bytes) -> str:
        path = self.files / f"{name}.der"
        path.write_bytes(content)
        return str(path)


def phone_request(
    institutions: Institutions, who: str, key: bytes, medium_id: str, medium: Medium
) -> CertificateRequest:
    """A request for a certificate that lasts four years."""
    now = institutions.world.clock.now()
    return CertificateRequest(
        institutions.resident(who), certification_request(key), now, now + timedelta(days=4 * 365), medium, medium_id
    )


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Samples]:
    keys: KeySource = SharedKeySource([generate() for _ in range(23)])
    institutions = new_institutions(tmp_path_factory.mktemp("readers") / "w", keys)
    samples = Samples(institutions, tmp_path_factory.mktemp("files"))
    for alias in ALIASES:
        institutions.issue_card(alias, alias)
        for kind in CertificateType:
            if issued := certificates(institutions, alias, kind):
                samples.certificates[f"{alias} {kind.code}"] = (kind, issued[-1].certificate)
    for kind in CertificateType:
        authority = institutions.authorities[kind]
        on_phone = phone_request(institutions, "rare-kanji", keys.take(), "phone 1", Medium.PHONE)
        of_next = phone_request(institutions, "taro", new_p384_key(), "next 1", Medium.CARD)
        samples.certificates[f"phone {kind.code}"] = (kind, authority.issue(on_phone))
        samples.certificates[f"next {kind.code}"] = (kind, authority.issue(of_next, NEXT))
    institutions.registry.record("hanako", MoveWithin("架空町１丁目"))
    institutions.settle()
    institutions.revocations[AUTHENTICATION].revoke(serial(samples, "phone authentication"), Reason.CERTIFICATE_HOLD)
    institutions.revocations[SIGNATURE].revoke(serial(samples, "next signature"), Reason.KEY_COMPROMISE)
    institutions.revocations[SIGNATURE].revoke(serial(samples, "taro signature"), Reason.UNSPECIFIED)
    later(institutions, days=1)
    yield samples
    institutions.world.close()


def serial(samples: Samples, name: str) -> int:
    return x509.load_der_x509_certificate(samples.certificates[name][1]).serial_number


REVOKED = ("hanako signature", "phone authentication", "next signature", "taro signature")
NAMES = [
    *(f"{alias} {kind.code}" for alias in ALIASES for kind in CertificateType if (alias, kind) != ("child", SIGNATURE)),
    *(f"{what} {kind.code}" for what in ("phone", "next") for kind in CertificateType),
]


def verify(samples: Samples, name: str, *roots: bytes, crl: bytes, expect: int | None = 0) -> str:
    """The output of `openssl verify` for a certificate and a revocation list, at the world's time."""
    certificate = samples.certificates[name][1]
    files = {
        "-CAfile": samples.pem("CERTIFICATE", "roots", *roots), "-CRLfile": samples.pem("X509 CRL", "list", crl),
    }  # fmt: skip
    options = [argument for option in files.items() for argument in option]
    leaf = samples.pem("CERTIFICATE", "leaf", certificate)
    return run("openssl", "verify", "-crl_check", "-attime", samples.now, *options, leaf, expect=expect)


def test_samples_include_every_kind_of_certificate(samples: Samples) -> None:
    assert sorted(samples.certificates) == sorted(NAMES)
    assert {item.name for item in samples.institutions.authorities[SIGNATURE].generations()} == {"02", "03", "next"}


@pytest.mark.parametrize("name", NAMES)
def test_openssl_verifies_certificates_with_their_partition_list(samples: Samples, name: str) -> None:
    _, certificate = samples.certificates[name]
    text = run("openssl", "x509", "-inform", "DER", "-noout", "-text", "-in", samples.der("leaf", certificate))
    assert f"({serial(samples, name):#x})" in text
    assert "O = JPKI-EMU" in text
    assert f"Signature Algorithm: {'ecdsa-with-SHA384' if name.startswith('next') else 'sha256With'}" in text
    if name in REVOKED:
        assert "certificate revoked" in verify(samples, name, samples.issuer(name), crl=samples.listed(name), expect=2)
    elif name.startswith("expired"):
        assert "has expired" in verify(samples, name, samples.issuer(name), crl=samples.listed(name), expect=2)
    else:
        assert verify(samples, name, samples.issuer(name), crl=samples.listed(name)).strip().endswith("OK")


@pytest.mark.parametrize("kind", CertificateType)
def test_openssl_verifies_every_root_and_every_list(samples: Samples, kind: CertificateType) -> None:
    publication = samples.institutions.publications[kind]
    count = 0
    for generation in samples.institutions.authorities[kind].generations():
        root = samples.pem("CERTIFICATE", "root", generation.certificate)
        verified = run("openssl", "verify", "-attime", samples.now, "-check_ss_sig", "-CAfile", root, root)
        assert verified.strip().endswith("OK")
        for name in (FULL_LIST, AUTHORITY_LIST, publication.names(generation.name)[0]):
            path = str(publication.path(generation.name, name))
            text = run("openssl", "crl", "-inform", "DER", "-noout", "-text", "-CAfile", root, "-in", path)
            assert "verify OK" in text
            assert "X509v3 CRL Number" in text
            assert ("Only CA Certificates" in text) == (name == AUTHORITY_LIST)
            assert ("Issuing Distribution Point: critical" in text) == (name != FULL_LIST)
            count += 1
    assert count == 9


def test_openssl_shows_the_reasons_of_the_entries(samples: Samples) -> None:
    path = samples.institutions.publications[SIGNATURE].path("03", FULL_LIST)
    text = run("openssl", "crl", "-inform", "DER", "-noout", "-text", "-in", str(path))
    entries = {int(part.split()[0], 16): part for part in text.split("Serial Number: ")[1:]}
    assert entries.keys() == {serial(samples, "hanako signature"), serial(samples, "taro signature")}
    assert "Affiliation Changed" in entries[serial(samples, "hanako signature")]
    assert "Reason Code" not in entries[serial(samples, "taro signature")], "an unspecified reason is left out"


@pytest.mark.parametrize("name", NAMES)
def test_certtool_reads_a_certificate(samples: Samples, name: str) -> None:
    _, certificate = samples.certificates[name]
    text = run("certtool", "--certificate-info", "--inder", "--infile", samples.der("leaf", certificate))
    assert f"Serial Number (hex): {serial(samples, name):x}" in text
    assert "CRL Distribution points" in text
    assert "error" not in text.lower()
    assert ("Signature Algorithm: ECDSA-SHA384" in text) == name.startswith("next")


@pytest.fixture(scope="module")
def current(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Samples]:
    """A town at the machine's time, because GnuTLS's programs cannot verify at another time."""
    institutions = new_institutions(
        tmp_path_factory.mktemp("current") / "w", SharedKeySource([generate() for _ in range(11)])
    )
    samples = Samples(institutions, tmp_path_factory.mktemp("files"))
    now = SystemClock().now()
    clock_of(institutions.world).stand(now - timedelta(hours=1))
    institutions.issue_card("hanako", "hanako")
    for kind in CertificateType:
        samples.certificates[f"hanako {kind.code}"] = (
            kind,
            certificates(institutions, "hanako", kind)[-1].certificate,
        )
        request = phone_request(institutions, "hanako", new_p384_key(), "next 1", Medium.CARD)
        samples.certificates[f"next {kind.code}"] = (kind, institutions.authorities[kind].issue(request, NEXT))
    institutions.revocations[AUTHENTICATION].revoke(serial(samples, "next authentication"), Reason.CERTIFICATE_HOLD)
    institutions.registry.record("hanako", MoveWithin("架空町１丁目"))
    institutions.settle()
    clock_of(institutions.world).stand(now)
    yield samples
    institutions.world.close()


@pytest.mark.parametrize("kind", CertificateType)
def test_certtool_verifies_the_lists(current: Samples, kind: CertificateType) -> None:
    publication = current.institutions.publications[kind]
    for generation in publication.authority.generations():
        root = current.pem("CERTIFICATE", "root", generation.certificate)
        other = current.institutions.authorities[kind.other].root()
        for name in (FULL_LIST, AUTHORITY_LIST, "13113"):
            content = publication.path(generation.name, name).read_bytes()
            listed = current.pem("X509 CRL", "list", content)
            text = run("certtool", "--verify-crl", "--load-ca-certificate", root, "--infile", listed)
            assert "Verification output: Verified" in text
            parsed = asn1_crl.CertificateList.load(content)
            assert f"CRL Number (not critical): {parsed.crl_number_value.native:02x}" in text
            for entry in parsed["tbs_cert_list"]["revoked_certificates"].native or []:
                assert f"Serial Number (hex): {entry['user_certificate']:x}" in text
            foreign = current.pem("CERTIFICATE", "other", other)
            output = run("certtool", "--verify-crl", "--load-ca-certificate", foreign, "--infile", listed, expect=None)
            assert "Verification output: Verified" not in output


@pytest.mark.parametrize("name", [f"{who} {kind.code}" for who in ("hanako", "next") for kind in CertificateType])
def test_certtool_verifies_a_certificate_with_the_full_list(current: Samples, name: str) -> None:
    kind, certificate = current.certificates[name]
    generation = current.institutions.authorities[kind].find(serial(current, name)).generation
    listed = current.institutions.publications[kind].path(generation, FULL_LIST).read_bytes()
    output = run(
        "certtool", "--verify", "--infile", current.pem("CERTIFICATE", "leaf", certificate),
        "--load-ca-certificate", current.pem("CERTIFICATE", "root", current.issuer(name)),
        "--load-crl", current.pem("X509 CRL", "list", listed), expect=None,
    )  # fmt: skip
    wanted = "The certificate chain is revoked" if name in CURRENTLY_REVOKED else "The certificate is trusted"
    assert wanted in output


CURRENTLY_REVOKED = ("hanako signature", "next signature", "next authentication")
"""A move revokes all signature certificates of the holder."""


def validate(samples: Samples, name: str, *lists: bytes) -> asn1_x509.Certificate:
    """Validate a certificate with pyhanko and these lists; return the root of the path. Raises pyhanko's errors."""
    kind, certificate = samples.certificates[name]
    context = ValidationContext(
        trust_roots=[
            asn1_x509.Certificate.load(generation.certificate)
            for generation in samples.institutions.authorities[kind].generations()
        ],
        moment=samples.institutions.world.clock.now(), crls=list(lists), revocation_mode="hard-fail",
        allow_fetching=False,
    )  # fmt: skip
    validator = CertificateValidator(asn1_x509.Certificate.load(certificate), validation_context=context)
    path = asyncio.run(validator.async_validate_path())
    root = path.first
    assert isinstance(root, asn1_x509.Certificate)
    return root


@pytest.mark.parametrize("name", [name for name in NAMES if name not in REVOKED and not name.startswith("expired")])
def test_pyhanko_accepts_a_good_certificate_only_with_its_list(samples: Samples, name: str) -> None:
    assert validate(samples, name, samples.listed(name)).dump() == samples.issuer(name)
    with pytest.raises(InsufficientRevinfoError):
        validate(samples, name)


@pytest.mark.parametrize("name", REVOKED)
def test_pyhanko_rejects_a_revoked_certificate(samples: Samples, name: str) -> None:
    with pytest.raises(RevokedError):
        validate(samples, name, samples.listed(name))


def check(key: CertificatePublicKeyTypes, signature: bytes, signed: bytes, algorithm: hashes.HashAlgorithm) -> None:
    """Verify a signature. Raises InvalidSignature."""
    if isinstance(key, rsa.RSAPublicKey):
        key.verify(signature, signed, padding.PKCS1v15(), algorithm)
    else:
        assert isinstance(key, ec.EllipticCurvePublicKey)
        key.verify(signature, signed, ec.ECDSA(algorithm))


@pytest.mark.parametrize("kind", CertificateType)
def test_cryptography_reads_the_lists(samples: Samples, kind: CertificateType) -> None:
    publication = samples.institutions.publications[kind]
    for generation in samples.institutions.authorities[kind].generations():
        issuer = x509.load_der_x509_certificate(generation.certificate)
        for name in publication.names(generation.name):
            listed = x509.load_der_x509_crl(publication.path(generation.name, name).read_bytes())
            assert listed.is_signature_valid(issuer.public_key())  # type: ignore[arg-type]
            assert listed.issuer == issuer.subject
            assert listed.next_update_utc is not None
            assert listed.next_update_utc - listed.last_update_utc == timedelta(hours=48)
            key = listed.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value
            own = issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
            assert key.key_identifier == own.digest
            assert key.authority_cert_serial_number == issuer.serial_number
            if name not in (FULL_LIST, AUTHORITY_LIST):
                point = listed.extensions.get_extension_for_class(x509.IssuingDistributionPoint)
                assert point.critical
                assert (point.value.only_contains_user_certs, point.value.only_contains_ca_certs) == (True, False)


@pytest.mark.parametrize("name", NAMES)
def test_partition_list_has_the_name_in_the_certificate(samples: Samples, name: str) -> None:
    certificate = x509.load_der_x509_certificate(samples.certificates[name][1])
    wanted = certificate.extensions.get_extension_for_class(x509.CRLDistributionPoints).value[0].full_name
    listed = x509.load_der_x509_crl(samples.listed(name))
    assert wanted is not None
    assert listed.extensions.get_extension_for_class(x509.IssuingDistributionPoint).value.full_name == wanted
    assert (listed.get_revoked_certificate_by_serial_number(certificate.serial_number) is not None) == (name in REVOKED)


@pytest.mark.parametrize("name", NAMES)
def test_asn1crypto_round_trips_a_certificate(samples: Samples, name: str) -> None:
    _, certificate = samples.certificates[name]
    parsed = asn1_x509.Certificate.load(certificate, strict=True)
    assert parsed.native["tbs_certificate"]["serial_number"] == serial(samples, name)
    assert parsed.dump(force=True) == certificate


@pytest.mark.parametrize("kind", CertificateType)
def test_asn1crypto_round_trips_a_list(samples: Samples, kind: CertificateType) -> None:
    publication = samples.institutions.publications[kind]
    for generation in samples.institutions.authorities[kind].generations():
        for name in publication.names(generation.name):
            content = publication.path(generation.name, name).read_bytes()
            parsed = asn1_crl.CertificateList.load(content, strict=True)
            assert parsed.native["tbs_cert_list"]["version"] == "v2"
            assert parsed.dump(force=True) == content


# OCSP


def ocsp_request(samples: Samples, name: str, algorithm: hashes.HashAlgorithm, nonce: bytes | None) -> bytes:
    certificate = x509.load_der_x509_certificate(samples.certificates[name][1])
    builder = ocsp.OCSPRequestBuilder().add_certificate(
        certificate, x509.load_der_x509_certificate(samples.issuer(name)), algorithm
    )
    if nonce is not None:
        builder = builder.add_extension(x509.OCSPNonce(nonce), critical=False)
    return builder.build().public_bytes(encoding=_DER)


_DER = Encoding.DER
QUERIED = ("taro authentication", "hanako signature", "rare-kanji signature", "phone authentication", "next signature",
         "next authentication")  # fmt: skip
FORMS: Sequence[tuple[hashes.HashAlgorithm, bytes | None]] = (
    (hashes.SHA1(), None), (hashes.SHA256(), None), (hashes.SHA1(), b"0123456789abcdef"), (hashes.SHA256(), b"n" * 32),
)  # fmt: skip


@pytest.mark.parametrize(("algorithm", "nonce"), FORMS)
@pytest.mark.parametrize("name", QUERIED)
def test_all_readers_accept_an_ocsp_response(
    samples: Samples, name: str, algorithm: hashes.HashAlgorithm, nonce: bytes | None
) -> None:
    request = ocsp_request(samples, name, algorithm, nonce)
    response = Responder(samples.institutions.authorities[samples.certificates[name][0]]).answer(request).response
    parsed = ocsp.load_der_ocsp_response(response)
    assert parsed.response_status is ocsp.OCSPResponseStatus.SUCCESSFUL
    wanted = ocsp.OCSPCertStatus.REVOKED if name in REVOKED else ocsp.OCSPCertStatus.GOOD
    assert (parsed.certificate_status, parsed.serial_number) == (wanted, serial(samples, name))
    assert parsed.hash_algorithm.name == algorithm.name
    (signer,) = parsed.certificates
    signer.verify_directly_issued_by(x509.load_der_x509_certificate(samples.issuer(name)))
    assert parsed.signature_hash_algorithm is not None
    check(signer.public_key(), parsed.signature, parsed.tbs_response_bytes, parsed.signature_hash_algorithm)
    assert [extension.value for extension in parsed.extensions] == ([x509.OCSPNonce(nonce)] if nonce else [])
    again = asn1_ocsp.OCSPResponse.load(response, strict=True)
    assert again.native["response_status"] == "successful"
    assert again.dump(force=True) == response
    root = samples.pem("CERTIFICATE", "root", samples.issuer(name))
    output = run(
        "openssl", "ocsp", "-respin", samples.der("response", response), "-reqin", samples.der("request", request),
        "-issuer", root, "-CAfile", root, "-attime", samples.now, "-validity_period", "999999999", "-resp_text",
    )  # fmt: skip
    assert "Response verify OK" in output
    assert f"Cert Status: {'revoked' if name in REVOKED else 'good'}" in output
    assert ("OCSP Nonce" in output) == (nonce is not None)


@pytest.mark.parametrize("name", [f"{who} {kind.code}" for who in ("hanako", "next") for kind in CertificateType])
def test_ocsptool_verifies_the_response(current: Samples, name: str) -> None:
    root = current.pem("CERTIFICATE", "root", current.issuer(name))
    leaf = current.pem("CERTIFICATE", "leaf", current.certificates[name][1])
    request = current.files / "request.der"
    run("ocsptool", "--generate-request", "--load-issuer", root, "--load-cert", leaf, "--nonce",
        "--outfile", str(request))  # fmt: skip
    answer = Responder(current.institutions.authorities[current.certificates[name][0]]).answer(request.read_bytes())
    response = current.der("response", answer.response)
    text = run("ocsptool", "--verify-response", "--load-trust", root, "--load-response", response)
    assert f"Certificate Status: {'revoked' if name in CURRENTLY_REVOKED else 'good'}" in text
    assert f"{serial(current, name):x}" in text
    assert "Verifying OCSP Response: Success" in text


# pkilint


def finding_codes(form: str, path: Path) -> set[str]:
    """The codes of pkilint's findings above the severity INFO."""
    return {finding.code for finding in lint(form, path) if finding.severity not in _IGNORED}


def linted(samples: Samples, form: str, contents: dict[str, bytes]) -> dict[str, set[str]]:
    """The finding codes of several inputs, by name, linted in parallel."""
    paths = {name: Path(samples.der(f"lint {name}", content)) for name, content in contents.items()}
    with ThreadPoolExecutor(2) as workers:
        codes = workers.map(lambda path: finding_codes(form, path), paths.values())
        return dict(zip(paths, codes, strict=True))


def test_pkilint_findings_equal_those_of_real_certificates(samples: Samples) -> None:
    names = ("rare-kanji signature", "child authentication", "expired authentication", "long-address signature",
             "phone signature", "phone authentication", "next signature", "next authentication")  # fmt: skip
    assert linted(samples, "certificate", {name: samples.certificates[name][1] for name in names}) == dict.fromkeys(
        names, EXPECTED
    )


def test_pkilint_findings_in_roots_equal_those_of_real_roots(samples: Samples) -> None:
    roots = {
        f"{kind.code} {generation.name}": generation.certificate
        for kind in CertificateType
        for generation in samples.institutions.authorities[kind].generations()
    }
    real = Path(__file__).parent / "roots"
    known = [pem.unarmor((real / f"{name}_ca_2023.pem").read_bytes())[2] for name in ("sign", "auth")]
    theirs = linted(samples, "certificate", {f"real {number}": root for number, root in enumerate(known)})
    (wanted,) = {frozenset(codes) for codes in theirs.values()}
    assert len(roots) == 6
    assert linted(samples, "certificate", roots) == {name: set(wanted) for name in roots}


def test_pkilint_finds_nothing_in_lists_and_responses(samples: Samples) -> None:
    lists = {
        f"{generation} {name}": samples.institutions.publications[SIGNATURE].path(generation, name).read_bytes()
        for generation, name in (("03", "13113"), ("03", FULL_LIST), ("03", AUTHORITY_LIST), ("next", "13113"))
    }
    assert linted(samples, "crl", lists) == {name: set() for name in lists}
    responses, signers = {}, {}
    for name, (algorithm, nonce) in zip(QUERIED, (*FORMS, *FORMS), strict=False):
        responder = Responder(samples.institutions.authorities[samples.certificates[name][0]])
        responses[name] = responder.answer(ocsp_request(samples, name, algorithm, nonce)).response
        signers[name] = ocsp.load_der_ocsp_response(responses[name]).certificates[0].public_bytes(_DER)
    assert linted(samples, "ocsp", responses) == {name: set() for name in responses}
    two = {name: signers[name] for name in ("taro authentication", "next signature")}
    assert linted(samples, "certificate", two) == {name: set() for name in two}


def test_both_profiles_have_the_same_extensions(samples: Samples) -> None:
    def shape(profile: Profile, name: str) -> list[str]:
        kind, certificate = samples.certificates[name]
        parsed = asn1_x509.Certificate.load(certificate)
        assert profile.policy(kind, Medium.CARD) in str(parsed.certificate_policies_value.native)
        return [extension["extn_id"].native for extension in parsed["tbs_certificate"]["extensions"]]

    for kind in CertificateType:
        assert shape(NEXT, f"next {kind.code}") == shape(EMULATED, f"rare-kanji {kind.code}")
