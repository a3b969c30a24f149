"""Decoding and encoding of OCSP, and the responses of the responder."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, MutableMapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from asn1crypto import core
from asn1crypto import keys as asn1_keys
from asn1crypto import ocsp as asn1_ocsp
from asn1crypto import x509 as asn1_x509
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509 import ocsp
from cryptography.x509.oid import ExtendedKeyUsageOID
from hypothesis import given, settings
from hypothesis import strategies as st

from kazashi.assembly.institutions import Institutions
from kazashi.jpki.state import REASONS, Reason
from kazashi.pki import asn1
from kazashi.pki.callers import Callers
from kazashi.pki.generation import Generation
from kazashi.pki.http import OcspEndpoint
from kazashi.pki.ocsp import (
    MAX_CERTIFICATES,
    MAX_NONCE,
    MAX_REQUEST,
    CertificateId,
    OcspErrorStatus,
    identifies,
    read_request,
    refuse,
)
from kazashi.pki.responder import GRID, OcspResponse, Responder
from kazashi.world.clock import end_of_day, epoch, from_epoch, instant_of
from kazashi.world.key_source import SharedKeySource, generate
from kazashi.world.token import TokenUnavailable
from tests.town import AUTHENTICATION, MORNING, SIGNATURE, certificates, clock_of, later, loaded, new_institutions

MALFORMED = refuse(OcspErrorStatus.MALFORMED_REQUEST)
GOOD, REVOKED, UNKNOWN = ocsp.OCSPCertStatus.GOOD, ocsp.OCSPCertStatus.REVOKED, ocsp.OCSPCertStatus.UNKNOWN
SHA1, SHA256 = hashes.SHA1(), hashes.SHA256()
NAMES = {"sha1": SHA1, "sha256": SHA256}


@pytest.fixture(scope="module")
def fixed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Institutions]:
    """A town that tests do not change: a good card, an expired one, and a revoked certificate for each reason."""
    institutions = new_institutions(
        tmp_path_factory.mktemp("fixed") / "w", SharedKeySource([generate() for _ in range(17)])
    )
    for alias in ("hanako", "expired"):
        institutions.issue_card(alias, alias)
    for number, reason in enumerate(Reason):
        institutions.issue_card(f"card {number}", "taro")
        institutions.revocations[AUTHENTICATION].revoke(
            certificates(institutions, "taro", AUTHENTICATION)[-1].serial, reason
        )
    to_next_mark(institutions)
    yield institutions
    institutions.world.close()


def to_next_mark(institutions: Institutions) -> None:
    seconds = int(GRID.total_seconds())
    institutions.advance(from_epoch((epoch(institutions.world.clock.now()) // seconds + 1) * seconds))


def root(institutions: Institutions, generation: str = "03") -> x509.Certificate:
    roots = {item.name: item.certificate for item in institutions.authorities[AUTHENTICATION].generations()}
    return x509.load_der_x509_certificate(roots[generation])


def request(
    institutions: Institutions,
    serial: int,
    algorithm: hashes.HashAlgorithm = SHA1,
    nonce: bytes | None = None,
    issuer: x509.Certificate | None = None,
) -> bytes:
    """A request for one authentication certificate, encoded by `cryptography`."""
    issuer = issuer or root(institutions)
    digests = []
    for content in (issuer.subject.public_bytes(), key_bits(issuer)):
        digest = hashes.Hash(algorithm)
        digest.update(content)
        digests.append(digest.finalize())
    builder = ocsp.OCSPRequestBuilder().add_certificate_by_hash(digests[0], digests[1], serial, algorithm)
    if nonce is not None:
        builder = builder.add_extension(x509.OCSPNonce(nonce), critical=False)
    return builder.build().public_bytes(Encoding.DER)


def key_bits(certificate: x509.Certificate) -> bytes:
    written = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return bytes(asn1_keys.PublicKeyInfo.load(written)["public_key"])


def request_of_many(institutions: Institutions, serials: Sequence[int], nonce: bytes | None = None) -> bytes:
    """A request for several certificates, encoded by asn1crypto."""
    one = asn1_ocsp.OCSPRequest.load(request(institutions, 1))["tbs_request"]["request_list"][0]["req_cert"].native
    listed = []
    for serial in serials:
        listed.append({"req_cert": {**one, "serial_number": serial}})
    body: dict[str, object] = {"request_list": listed}
    if nonce is not None:
        body["request_extensions"] = [{"extn_id": "nonce", "critical": False, "extn_value": core.OctetString(nonce)}]
    return bytes(asn1_ocsp.OCSPRequest({"tbs_request": body}).dump())


def ask(institutions: Institutions, data: bytes) -> OcspResponse:
    return Responder(institutions.authorities[AUTHENTICATION]).answer(data)


def parsed(answer: OcspResponse) -> ocsp.OCSPResponse:
    return ocsp.load_der_ocsp_response(answer.response)


def serial_of(institutions: Institutions, who: str = "hanako") -> int:
    return certificates(institutions, who, AUTHENTICATION)[-1].serial


# Requests


@given(
    st.integers(1, (1 << 159) - 1),
    st.sampled_from(["sha1", "sha256"]),
    st.none() | st.binary(min_size=1, max_size=MAX_NONCE),
)
def test_request_from_cryptography_is_decoded(serial: int, name: str, nonce: bytes | None) -> None:
    size = NAMES[name].digest_size
    builder = ocsp.OCSPRequestBuilder().add_certificate_by_hash(b"N" * size, b"K" * size, serial, NAMES[name])
    if nonce is not None:
        builder = builder.add_extension(x509.OCSPNonce(nonce), critical=False)
    data = builder.build().public_bytes(Encoding.DER)
    decoded = read_request(data)
    whole = asn1_ocsp.OCSPRequest.load(data)["tbs_request"]["request_list"][0]["req_cert"].dump()
    assert decoded.certificates == [CertificateId(whole, name, b"N" * size, b"K" * size, serial)]
    assert decoded.nonce == (None if nonce is None else core.OctetString(nonce).dump())


@given(
    st.lists(st.integers(1, (1 << 64) - 1), min_size=1, max_size=MAX_CERTIFICATES), st.none() | st.binary(min_size=1)
)
def test_request_for_many_from_asn1crypto_is_decoded(serials: list[int], nonce: bytes | None) -> None:
    identity = {"hash_algorithm": {"algorithm": "sha1"}, "issuer_name_hash": b"N" * 20, "issuer_key_hash": b"K" * 20}
    body: dict[str, object] = {
        "requestor_name": asn1_name(),
        "request_list": [{"req_cert": {**identity, "serial_number": serial}} for serial in serials],
    }
    if nonce is not None:
        body["request_extensions"] = [{"extn_id": "nonce", "critical": False, "extn_value": core.OctetString(nonce)}]
    decoded = read_request(asn1_ocsp.OCSPRequest({"tbs_request": body}).dump())
    assert [certificate.serial for certificate in decoded.certificates] == serials
    assert (decoded.nonce is None) == ("request_extensions" not in body)


def asn1_name() -> object:
    return asn1_x509.GeneralName("directory_name", asn1_x509.Name.build({"country_name": "JP"}))


def test_signature_on_a_request_is_ignored(fixed: Institutions) -> None:
    plain = request(fixed, serial_of(fixed))
    body = asn1.Reader(plain).inside(asn1.SEQUENCE).whole(asn1.SEQUENCE)
    signature = asn1.explicit(0, asn1.sequence(asn1.sequence(asn1.oid("1.2.840.113549.1.1.11")), asn1.bits(b"none")))
    assert parsed(ask(fixed, asn1.sequence(body, signature))).certificate_status is GOOD


def test_too_large_request_is_malformed(fixed: Institutions) -> None:
    at_most = request_of_many(fixed, [serial_of(fixed)] * MAX_CERTIFICATES)
    assert len(at_most) <= MAX_REQUEST
    assert len(list(parsed(ask(fixed, at_most)).responses)) == MAX_CERTIFICATES
    assert ask(fixed, request_of_many(fixed, [1] * (MAX_CERTIFICATES + 1))).response == MALFORMED
    padded = request(fixed, 1, nonce=b"n" * 20)
    assert ask(fixed, padded + bytes(MAX_REQUEST)).response == MALFORMED
    assert ask(fixed, tagged(asn1.octets(bytes(MAX_REQUEST)))).response == MALFORMED


def tagged(content: bytes) -> bytes:
    return asn1.sequence(asn1.sequence(asn1.sequence(content)))


def identity(
    *, algorithm: bytes = asn1.oid("1.3.14.3.2.26"), serial: bytes = asn1.integer(5), more: bytes = b""
) -> bytes:
    """A request for one certificate, built from its parts."""
    return asn1.sequence(
        asn1.sequence(algorithm, asn1.ABSENT_PARAMETERS), asn1.octets(bytes(20)), asn1.octets(bytes(20)), serial, more
    )


def with_extension(kind: str, value: bytes, *, critical: bool) -> bytes:
    extension = asn1.sequence(asn1.oid(kind), asn1.TRUE if critical else b"", asn1.octets(value))
    return asn1.sequence(
        asn1.sequence(asn1.sequence(asn1.sequence(identity())), asn1.explicit(2, asn1.sequence(extension)))
    )


_WELL = tagged(asn1.sequence(identity()))
NONCE = "1.3.6.1.5.5.7.48.1.2"

WRONG = {
    "nothing": b"",
    "no certificate": asn1.sequence(asn1.sequence(asn1.sequence())),
    "trailing bytes": _WELL + b"\x00",
    "truncated": _WELL[:-1],
    "a length in too many bytes": b"\x30\x81" + _WELL[1:],
    "an indefinite length": b"\x30\x80" + _WELL[2:] + b"\x00\x00",
    "a length beyond everything": b"\x30\x84\xff\xff\xff\xff" + _WELL[2:],
    "MD5": tagged(asn1.sequence(identity(algorithm=asn1.oid("1.2.840.113549.2.5")))),
    "SHA-512": tagged(asn1.sequence(identity(algorithm=asn1.oid("2.16.840.1.101.3.4.2.3")))),
    "a serial number with a superfluous byte": tagged(asn1.sequence(identity(serial=b"\x02\x02\x00\x05"))),
    "a negative serial number with a superfluous byte": tagged(asn1.sequence(identity(serial=b"\x02\x02\xff\x85"))),
    "an empty serial number": tagged(asn1.sequence(identity(serial=b"\x02\x00"))),
    "an extra field in the CertID": tagged(asn1.sequence(identity(more=asn1.integer(1)))),
    "another version": asn1.sequence(
        asn1.sequence(asn1.explicit(0, asn1.integer(1)), asn1.sequence(asn1.sequence(identity())))
    ),
    "an unknown critical extension": with_extension("1.2.3.4", b"", critical=True),
    "an empty nonce": with_extension(NONCE, b"", critical=False),
    "a nonce that is too long": with_extension(NONCE, asn1.octets(bytes(MAX_NONCE + 1)), critical=False),
    "a response": MALFORMED,
}


@pytest.mark.parametrize("data", WRONG.values(), ids=WRONG.keys())
def test_invalid_request_is_malformed(fixed: Institutions, data: bytes) -> None:
    answer = ask(fixed, data)
    assert answer.response == MALFORMED == bytes.fromhex("30030a0101")
    assert (answer.asked, answer.refusal) == ((), OcspErrorStatus.MALFORMED_REQUEST)


def test_unknown_noncritical_extension_is_ignored(fixed: Institutions) -> None:
    answer = ask(fixed, with_extension("1.2.3.4", b"", critical=False))
    assert parsed(answer).certificate_status is UNKNOWN
    assert len(list(parsed(answer).extensions)) == 0


@pytest.mark.parametrize(
    ("refusal", "status"),
    [
        (OcspErrorStatus.MALFORMED_REQUEST, ocsp.OCSPResponseStatus.MALFORMED_REQUEST),
        (OcspErrorStatus.INTERNAL_ERROR, ocsp.OCSPResponseStatus.INTERNAL_ERROR),
        (OcspErrorStatus.TRY_LATER, ocsp.OCSPResponseStatus.TRY_LATER),
        (OcspErrorStatus.SIG_REQUIRED, ocsp.OCSPResponseStatus.SIG_REQUIRED),
        (OcspErrorStatus.UNAUTHORIZED, ocsp.OCSPResponseStatus.UNAUTHORIZED),
    ],
)
def test_other_libraries_read_error_responses(refusal: OcspErrorStatus, status: ocsp.OCSPResponseStatus) -> None:
    assert ocsp.load_der_ocsp_response(refuse(refusal)).response_status is status
    assert asn1_ocsp.OCSPResponse.load(refuse(refusal)).native["response_bytes"] is None
    assert refusal.asn1_name.lower() == status.name.replace("_", "").lower()


_FUZZ = settings(max_examples=400)


def assert_well_formed(answer: OcspResponse) -> None:
    """The response is either `malformedRequest` or one that other libraries can read."""
    if answer.response == MALFORMED:
        return
    assert parsed(answer).response_status is ocsp.OCSPResponseStatus.SUCCESSFUL
    assert len(answer.asked) == len(list(parsed(answer).responses)) > 0


@_FUZZ
@given(st.binary(max_size=200))
def test_any_bytes_get_a_valid_response(fixed: Institutions, data: bytes) -> None:
    assert_well_formed(ask(fixed, data))


@_FUZZ
@given(
    st.integers(-5, 1 << 70), st.sampled_from([SHA1, SHA256]), st.none() | st.binary(min_size=1, max_size=40),
    st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), max_size=4),
    st.tuples(st.integers(0, 400), st.integers(0, 3), st.binary(max_size=3)),
)  # fmt: skip
def test_any_altered_request_gets_a_valid_response(
    fixed: Institutions, serial: int, algorithm: hashes.HashAlgorithm, nonce: bytes | None,
    changes: list[tuple[int, int]], splice: tuple[int, int, bytes],
) -> None:  # fmt: skip
    data = bytearray(request(fixed, serial if serial > 0 else serial_of(fixed), algorithm, nonce))
    for place, value in changes:
        data[place % len(data)] = value
    place, removed, added = splice[0] % len(data), splice[1], splice[2]
    data[place : place + removed] = added
    assert_well_formed(ask(fixed, bytes(data)))


@given(
    st.lists(st.integers(-(1 << 70), 1 << 70), min_size=1, max_size=6), st.none() | st.binary(min_size=1, max_size=32)
)
@settings(max_examples=50)
def test_response_keeps_the_order_of_the_request(fixed: Institutions, serials: list[int], nonce: bytes | None) -> None:
    mixed = [*serials, serial_of(fixed)]
    answer = ask(fixed, request_of_many(fixed, mixed, nonce))
    singles = asn1_ocsp.OCSPResponse.load(answer.response).response_data["responses"]
    assert [single["cert_id"]["serial_number"].native for single in singles] == mixed
    assert singles[len(serials)]["cert_status"].name == "good"
    assert [entry.serial for entry in answer.asked] == mixed


# What the responder knows


@pytest.mark.parametrize("algorithm", [SHA1, SHA256])
def test_issuer_hashes_equal_those_of_cryptography(fixed: Institutions, algorithm: hashes.HashAlgorithm) -> None:
    for generation in fixed.authorities[AUTHENTICATION].generations():
        issuer = x509.load_der_x509_certificate(generation.certificate)
        made = ocsp.OCSPRequestBuilder().add_certificate(issuer, issuer, algorithm).build()
        ours = identifies(generation, AUTHENTICATION, algorithm.name)
        assert ours == (made.issuer_name_hash, made.issuer_key_hash)


def test_every_revocation_reason_is_in_the_response(fixed: Institutions) -> None:
    revoked = certificates(fixed, "taro", AUTHENTICATION)
    reasons = {}
    for issued, reason in zip(revoked, Reason, strict=True):
        answer = ask(fixed, request(fixed, issued.serial))
        response = parsed(answer)
        assert response.certificate_status is REVOKED
        assert response.revocation_time_utc == MORNING
        reasons[reason] = None if response.revocation_reason is None else response.revocation_reason.value
        assert answer.asked[0].said == reason.asn1_name
        assert REASONS[reason.asn1_name] is reason
    assert reasons == {reason: reason.asn1_name if reason else None for reason in Reason}


def test_certificate_with_another_issuer_is_unknown(fixed: Institutions) -> None:
    for issuer in (
        x509.load_der_x509_certificate(fixed.authorities[SIGNATURE].root()),
        loaded(certificates(fixed, "hanako", AUTHENTICATION)[-1]),
    ):
        answer = ask(fixed, request(fixed, serial_of(fixed), issuer=issuer))
        assert parsed(answer).certificate_status is UNKNOWN
        assert answer.asked[0].said == "unknown"


def test_certificate_of_another_generation_is_unknown(fixed: Institutions) -> None:
    former, present = root(fixed, "02"), root(fixed, "03")
    assert former.subject == present.subject
    assert former.public_key() != present.public_key()
    assert parsed(ask(fixed, request(fixed, serial_of(fixed), issuer=former))).certificate_status is UNKNOWN
    assert parsed(ask(fixed, request(fixed, serial_of(fixed), issuer=present))).certificate_status is GOOD


def test_root_and_responder_certificates_are_unknown(fixed: Institutions) -> None:
    (signer,) = parsed(ask(fixed, request(fixed, serial_of(fixed)))).certificates
    for serial in (root(fixed).serial_number, signer.serial_number, 0x7FFFFFFF, (1 << 64) - 1, 1 << 64):
        assert parsed(ask(fixed, request(fixed, serial))).certificate_status is UNKNOWN


def test_response_is_signed_for_the_requested_generation(fixed: Institutions) -> None:
    for generation in ("02", "03"):
        response = parsed(ask(fixed, request(fixed, serial_of(fixed), issuer=root(fixed, generation))))
        (signer,) = response.certificates
        signer.verify_directly_issued_by(root(fixed, generation))
        assert response.responder_key_hash == x509.SubjectKeyIdentifier.from_public_key(signer.public_key()).digest


def test_responder_certificate_covers_the_first_response_of_a_world(fixed: Institutions) -> None:
    """A client asks a moment before the certificate is made, and gets a response whose thisUpdate lies before that."""
    response = parsed(ask(fixed, request(fixed, serial_of(fixed))))
    (signer,) = response.certificates
    assert signer.not_valid_before_utc <= response.this_update_utc


def test_nonce_is_echoed(fixed: Institutions) -> None:
    for nonce in (b"n", b"0123456789abcdef", bytes(range(MAX_NONCE))):
        response = parsed(ask(fixed, request(fixed, serial_of(fixed), nonce=nonce)))
        assert response.extensions.get_extension_for_class(x509.OCSPNonce).value.nonce == nonce
    with pytest.raises(x509.ExtensionNotFound):
        parsed(ask(fixed, request(fixed, serial_of(fixed)))).extensions.get_extension_for_class(x509.OCSPNonce)


# Time


def test_response_without_nonce_is_cached_for_15_minutes(town: Institutions) -> None:
    town.issue_card("hanako", "hanako")
    responder = Responder(town.authorities[AUTHENTICATION])
    data = request(town, serial_of(town))
    first = responder.answer(data)
    assert (first.this_update, first.next_update) == (MORNING, MORNING + GRID)
    later(town, minutes=14, seconds=59)
    town.revocations[AUTHENTICATION].revoke(serial_of(town), Reason.SUPERSEDED)
    assert responder.answer(data).response == first.response
    fresh = ocsp.load_der_ocsp_response(responder.answer(request(town, serial_of(town), nonce=b"n")).response)
    assert (fresh.certificate_status, fresh.this_update_utc) == (GOOD, MORNING), "the same data with a new signature"
    assert fresh.produced_at_utc == MORNING + timedelta(minutes=14, seconds=59)
    later(town, seconds=1)
    second = responder.answer(data)
    assert parsed(second).certificate_status is REVOKED
    assert (second.this_update, second.next_update) == (MORNING + GRID, MORNING + 2 * GRID)


def test_responders_with_and_without_cache_agree(town: Institutions) -> None:
    town.issue_card("hanako", "hanako")
    data = request(town, serial_of(town), nonce=b"n")
    first, second = (Responder(town.authorities[AUTHENTICATION]) for _ in range(2))
    assert first.answer(data) == second.answer(data) == first.answer(data)


def test_expired_certificate_has_a_status_for_one_more_day(town: Institutions) -> None:
    town.issue_card("hanako", "hanako")
    town.issue_card("second", "hanako")
    good, revoked = (issued.serial for issued in certificates(town, "hanako", AUTHENTICATION))
    town.revocations[AUTHENTICATION].revoke(revoked, Reason.KEY_COMPROMISE)
    ends = certificates(town, "hanako", AUTHENTICATION)[0].not_after
    assert ends == end_of_day(ends.date())
    clock = clock_of(town.world)
    seen = {}
    for span in (timedelta(0), timedelta(seconds=1), timedelta(days=1), timedelta(days=1, seconds=1)):
        clock.stand(ends + span)
        seen[span] = [parsed(ask(town, request(town, serial))).certificate_status for serial in (good, revoked)]
    assert list(seen.values()) == [[GOOD, REVOKED], [GOOD, REVOKED], [GOOD, REVOKED], [UNKNOWN, UNKNOWN]]


def test_responder_is_open_only_in_opening_hours(tmp_path: Path, keys: SharedKeySource) -> None:
    town = new_institutions(tmp_path / "w", keys, opens=9, closes=17)
    town.issue_card("hanako", "hanako")
    data = request(town, serial_of(town))
    responder = Responder(town.authorities[AUTHENTICATION])
    seen = {}
    for hour in ("08:59:59", "09:00:00", "16:59:59", "17:00:00", "23:30:00"):
        clock_of(town.world).stand(instant_of(f"2026-11-25T{hour}+09:00"))
        seen[hour] = parsed(responder.answer(data)).response_status.name
    town.world.close()
    assert seen == {
        "08:59:59": "TRY_LATER", "09:00:00": "SUCCESSFUL", "16:59:59": "SUCCESSFUL", "17:00:00": "TRY_LATER",
        "23:30:00": "TRY_LATER",
    }  # fmt: skip


def test_responder_certificate_is_renewed_in_its_last_month(town: Institutions) -> None:
    town.issue_card("hanako", "hanako")
    responder = Responder(town.authorities[AUTHENTICATION])
    data = request(town, serial_of(town))

    def signer() -> x509.Certificate:
        (certificate,) = parsed(responder.answer(data)).certificates
        now = town.world.clock.now()
        assert certificate.not_valid_before_utc <= now <= certificate.not_valid_after_utc
        assert certificate.not_valid_after_utc - certificate.not_valid_before_utc <= timedelta(days=365)
        usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
        assert list(usage) == [ExtendedKeyUsageOID.OCSP_SIGNING]
        assert certificate.extensions.get_extension_for_class(x509.OCSPNoCheck).value == x509.OCSPNoCheck()
        certificate.verify_directly_issued_by(root(town))
        return certificate

    first = signer()
    last_month = first.not_valid_after_utc - timedelta(days=30)
    clock_of(town.world).stand(last_month)
    assert signer() == first
    clock_of(town.world).stand(last_month + GRID)
    second = signer()
    assert second.serial_number > first.serial_number
    assert timedelta(0) <= town.world.clock.now() - second.not_valid_before_utc <= timedelta(hours=1)
    assert signer() == second


def test_unavailable_token_means_try_later(fixed: Institutions) -> None:
    callers = Callers(fixed.world)
    key = callers.register("library")
    endpoint = OcspEndpoint(fixed.world, fixed.authorities, callers)
    data = request(fixed, serial_of(fixed), nonce=b"away")
    sent: list[MutableMapping[str, Any]] = []

    async def receive() -> MutableMapping[str, Any]:
        return {"type": "http.request", "body": data}

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message)

    def unavailable(generation: Generation) -> None:
        raise TokenUnavailable(f"the token with the key of {generation.name} failed")

    header = (b"authorization", f"Bearer {key}".encode())
    scope = {"type": "http", "method": "POST", "path": "/ocsp/authentication", "headers": [header]}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fixed.authorities[AUTHENTICATION], "responder", unavailable)
        asyncio.run(endpoint(scope, receive, send))
    assert sent[0]["status"] == 200
    assert sent[1]["body"] == refuse(OcspErrorStatus.TRY_LATER)
    assert list(callers.queries()) == []
    asyncio.run(endpoint(scope, receive, send))
    assert ocsp.load_der_ocsp_response(sent[3]["body"]).certificate_status is GOOD
    assert [line.said for line, _ in callers.queries()] == ["good"]
