"""The client side of OCSP (RFC 6960): a request about one certificate, and the validation of the response."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime

from asn1crypto import keys
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509 import ocsp
from cryptography.x509.oid import ExtendedKeyUsageOID

from kazashi.jpki.state import Reason
from kazashi.relying_party.verify.anchors import Anchor, usable, verifies
from kazashi.relying_party.verify.finding import Finding, VerificationFailed
from kazashi.relying_party.verify.malformed import trouble
from kazashi.relying_party.verify.policy import DEFAULT_POLICY, VerificationPolicy
from kazashi.relying_party.verify.revocation_list import RevokedEntry

NONCE_BYTES = 16

_REASONS = {
    x509.ReasonFlags.unspecified: Reason.UNSPECIFIED,
    x509.ReasonFlags.key_compromise: Reason.KEY_COMPROMISE,
    x509.ReasonFlags.ca_compromise: Reason.CA_COMPROMISE,
    x509.ReasonFlags.affiliation_changed: Reason.AFFILIATION_CHANGED,
    x509.ReasonFlags.superseded: Reason.SUPERSEDED,
    x509.ReasonFlags.cessation_of_operation: Reason.CESSATION_OF_OPERATION,
    x509.ReasonFlags.certificate_hold: Reason.CERTIFICATE_HOLD,
}

_STATUSES = {
    ocsp.OCSPResponseStatus.MALFORMED_REQUEST: "malformedRequest",
    ocsp.OCSPResponseStatus.INTERNAL_ERROR: "internalError",
    ocsp.OCSPResponseStatus.TRY_LATER: "tryLater",
    ocsp.OCSPResponseStatus.SIG_REQUIRED: "sigRequired",
    ocsp.OCSPResponseStatus.UNAUTHORIZED: "unauthorized",
}
"""The names of OCSPResponseStatus (RFC 6960, 4.2.1)."""


@dataclass(frozen=True, slots=True)
class OcspAnswer:
    """A validated OCSP response: the revocation, if there is one, and the period that it is valid for."""

    revocation: RevokedEntry | None
    this_update: datetime
    next_update: datetime


def ocsp_request(anchor: Anchor, certificate: x509.Certificate, nonce: bytes | None) -> bytes:
    """Return an OCSP request about a certificate as DER."""
    builder = ocsp.OCSPRequestBuilder().add_certificate(certificate, anchor.certificate, hashes.SHA256())
    if nonce is not None:
        builder = builder.add_extension(x509.OCSPNonce(nonce), critical=False)
    return builder.build().public_bytes(Encoding.DER)


def read_ocsp_answer(
    unverified_answer: bytes, anchor: Anchor, serial: int, nonce: bytes | None, now: datetime,
    policy: VerificationPolicy = DEFAULT_POLICY,
) -> OcspAnswer:  # fmt: skip
    """Validate a response about a certificate; `nonce` is None if the request had none.

    Raises VerificationFailed with NO_INFORMATION if the response is an error, with UNKNOWN_CERTIFICATE,
    STALE_INFORMATION, or with UNTRUSTED_INFORMATION if it is not from the authority, not about that certificate, or
    does not have that nonce.
    """
    try:
        response = ocsp.load_der_ocsp_response(unverified_answer)
        if response.response_status is not ocsp.OCSPResponseStatus.SUCCESSFUL:
            raise VerificationFailed(
                Finding.NO_INFORMATION, f"the OCSP responder returned {_STATUSES[response.response_status]}"
            )
        _check_signature(response, anchor, now)
        single = _about(response, anchor, serial)
        if nonce is not None and _nonce(response) != nonce:
            raise VerificationFailed(Finding.UNTRUSTED_INFORMATION, "the OCSP response has a different nonce")
        this_update, next_update = single.this_update_utc, single.next_update_utc
        if next_update is None:
            raise VerificationFailed(Finding.UNTRUSTED_INFORMATION, "the OCSP response has no nextUpdate")
        if next_update < now or this_update > now + policy.clock_tolerance:
            raise VerificationFailed(
                Finding.STALE_INFORMATION, f"the OCSP response is valid from {this_update} to {next_update}"
            )
        if single.certificate_status is ocsp.OCSPCertStatus.UNKNOWN:
            raise VerificationFailed(Finding.UNKNOWN_CERTIFICATE, "the authority does not know the certificate")
        revocation = None
        if single.certificate_status is ocsp.OCSPCertStatus.REVOKED and single.revocation_time_utc is not None:
            reason = single.revocation_reason or x509.ReasonFlags.unspecified
            revocation = RevokedEntry(single.revocation_time_utc, _REASONS.get(reason, Reason.UNSPECIFIED))
        return OcspAnswer(revocation, this_update, next_update)
    except (ValueError, TypeError, UnsupportedAlgorithm, x509.DuplicateExtension) as error:
        raise VerificationFailed(
            Finding.UNTRUSTED_INFORMATION, f"the OCSP response cannot be read: {trouble(error)}"
        ) from error


def _check_signature(response: ocsp.OCSPResponse, anchor: Anchor, now: datetime) -> None:
    """Check that the response is signed by the authority itself, or by a responder that this authority has delegated it
    to (RFC 6960, 4.2.2.2). Raises VerificationFailed."""
    body, signature, algorithm = response.tbs_response_bytes, response.signature, response.signature_algorithm_oid
    if anchor.signed(signature, body, algorithm):
        return
    for certificate in response.certificates:
        key = usable(certificate.public_key())
        if key is None or not _is_responder(certificate, response) or not verifies(key, signature, body, algorithm):
            continue
        if certificate.issuer.public_bytes() != anchor.name or not anchor.signed(
            certificate.signature, certificate.tbs_certificate_bytes, certificate.signature_algorithm_oid
        ):
            raise VerificationFailed(
                Finding.UNTRUSTED_INFORMATION, "the responder's certificate was not issued by this authority"
            )
        if not certificate.not_valid_before_utc <= now <= certificate.not_valid_after_utc:
            raise VerificationFailed(Finding.UNTRUSTED_INFORMATION, "the responder's certificate is not valid now")
        if not _may_answer(certificate):
            raise VerificationFailed(
                Finding.UNTRUSTED_INFORMATION, "the responder's certificate is not for OCSP signing"
            )
        return
    raise VerificationFailed(
        Finding.UNTRUSTED_INFORMATION, "the OCSP response is not signed by the authority or its responder"
    )


def _is_responder(certificate: x509.Certificate, response: ocsp.OCSPResponse) -> bool:
    """Whether the certificate belongs to the responder that the response names."""
    if response.responder_name is not None:
        return certificate.subject == response.responder_name
    own = x509.SubjectKeyIdentifier.from_public_key(certificate.public_key()).digest
    return own == response.responder_key_hash


def _may_answer(certificate: x509.Certificate) -> bool:
    try:
        usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        return False
    return ExtendedKeyUsageOID.OCSP_SIGNING in usage


def _about(response: ocsp.OCSPResponse, anchor: Anchor, serial: int) -> ocsp.OCSPSingleResponse:
    """Return the part of the response that is about the certificate. Raises VerificationFailed."""
    key_info = anchor.key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    bits = keys.PublicKeyInfo.load(key_info)["public_key"].contents[1:]
    for single in response.responses:
        algorithm = single.hash_algorithm.name
        if algorithm not in ("sha1", "sha256") or single.serial_number != serial:
            continue
        expected = tuple(hashlib.new(algorithm, part, usedforsecurity=False).digest() for part in (anchor.name, bits))
        if (single.issuer_name_hash, single.issuer_key_hash) == expected:
            return single
    raise VerificationFailed(Finding.UNTRUSTED_INFORMATION, "the OCSP response is about another certificate")


def _nonce(response: ocsp.OCSPResponse) -> bytes | None:
    try:
        return response.extensions.get_extension_for_class(x509.OCSPNonce).value.nonce
    except x509.ExtensionNotFound:
        return None
