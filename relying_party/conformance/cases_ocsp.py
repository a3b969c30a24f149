"""Cases about OCSP responses: their status, their signer, and their validity period."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp
from cryptography.x509.oid import ExtendedKeyUsageOID

from kazashi.jpki.profile import CertificateType
from kazashi.relying_party.conformance.authority import (
    NOW,
    AnswerTemplate,
    CaseInput,
    CertificateTemplate,
    HolderKey,
    TestAuthority,
    sign,
)
from kazashi.relying_party.conformance.case import RequiredBy, case
from kazashi.relying_party.verify.finding import Finding

AUTHENTICATION, SIGNATURE = CertificateType.AUTHENTICATION, CertificateType.SIGNATURE
EARLIER, LATER = NOW - timedelta(days=3), NOW + timedelta(days=1)
NONCE = bytes(range(16))
Reason = x509.ReasonFlags
RESPONSE = AnswerTemplate(nonce=NONCE)


def _with_response(
    ca: TestAuthority,
    template: AnswerTemplate = RESPONSE,
    *,
    holder: HolderKey | None = None,
    lists: Sequence[bytes] = (),
) -> CaseInput:
    holder = holder or ca.holder(ca.generation(AUTHENTICATION))
    return CaseInput(
        holder.der, holder.issuer.kind, revocation_lists=lists, ocsp_response=ca.answer(holder, template),
        ocsp_nonce=NONCE,
    )  # fmt: skip


@case(
    "revocation/ocsp-good",
    "A response may be signed by a responder that the authority has authorised. (RFC 6960, 4.2.2.2)",
)
def _(ca: TestAuthority) -> CaseInput:
    return _with_response(ca)


@case(
    "revocation/ocsp-good-by-the-authority-itself",
    "A response may be signed with the authority's own key. (RFC 6960, 4.2.2.2)",
)
def _(ca: TestAuthority) -> CaseInput:
    issuer = ca.generation(AUTHENTICATION)
    return _with_response(ca, replace(RESPONSE, responder=issuer.certificate, key=issuer.key))


@case(
    "revocation/ocsp-revoked", "A revoked status has a time and may have a reason. (RFC 6960, 4.2.1)", Finding.REVOKED
)
def _(ca: TestAuthority) -> CaseInput:
    return _with_response(
        ca, replace(RESPONSE, status=ocsp.OCSPCertStatus.REVOKED, at=EARLIER, reason=Reason.superseded)
    )


@case(
    "revocation/ocsp-revoked-without-a-reason",
    "A revoked status without a reason counts as well. (RFC 6960, 4.2.1)",
    Finding.REVOKED,
)
def _(ca: TestAuthority) -> CaseInput:
    return _with_response(ca, replace(RESPONSE, status=ocsp.OCSPCertStatus.REVOKED, at=EARLIER))


@case(
    "revocation/ocsp-held", "A hold is a revoked status with the reason certificateHold. (RFC 6960, 2.2)", Finding.HELD
)
def _(ca: TestAuthority) -> CaseInput:
    return _with_response(
        ca, replace(RESPONSE, status=ocsp.OCSPCertStatus.REVOKED, at=EARLIER, reason=Reason.certificate_hold)
    )


@case(
    "revocation/ocsp-knows-before-the-list",
    "OCSP learns of a move within 15 minutes, the list on the next day: OCSP is consulted first. (JPKI, OCSP)",
    Finding.REVOKED,
    required_by=RequiredBy.PROFILE,
)
def _(ca: TestAuthority) -> CaseInput:
    holder = ca.holder(ca.generation(SIGNATURE))
    revoked = replace(
        RESPONSE,
        status=ocsp.OCSPCertStatus.REVOKED,
        at=NOW - timedelta(hours=1),
        reason=Reason.affiliation_changed,
    )
    return _with_response(ca, revoked, holder=holder, lists=[ca.list(holder.issuer)])


@case(
    "revocation/ocsp-unknown",
    "A certificate that its own authority does not know is not good. (RFC 6960, 2.2)",
    Finding.UNKNOWN_CERTIFICATE,
)
def _(ca: TestAuthority) -> CaseInput:
    return _with_response(ca, replace(RESPONSE, status=ocsp.OCSPCertStatus.UNKNOWN))


def _with_error(ca: TestAuthority, status: ocsp.OCSPResponseStatus, lists: bool = False) -> CaseInput:
    holder = ca.holder(ca.generation(AUTHENTICATION))
    response = ocsp.OCSPResponseBuilder.build_unsuccessful(status).public_bytes(Encoding.DER)
    return CaseInput(
        holder.der, AUTHENTICATION, revocation_lists=[ca.list(holder.issuer)] if lists else [],
        ocsp_response=response, ocsp_nonce=NONCE,
    )  # fmt: skip


@case(
    "revocation/ocsp-unauthorized",
    "A caller that is not registered gets the error unauthorized, which gives no information. (RFC 6960, 2.3)",
    Finding.NO_INFORMATION,
)
def _(ca: TestAuthority) -> CaseInput:
    return _with_error(ca, ocsp.OCSPResponseStatus.UNAUTHORIZED)


@case(
    "revocation/ocsp-try-later",
    "Outside its hours the responder returns the error tryLater, which gives no information. (RFC 6960, 2.3)",
    Finding.NO_INFORMATION,
)
def _(ca: TestAuthority) -> CaseInput:
    return _with_error(ca, ocsp.OCSPResponseStatus.TRY_LATER)


@case(
    "revocation/ocsp-try-later-and-a-list",
    "If one source gives no information, the next one is used. (JPKI, revocation information)",
)
def _(ca: TestAuthority) -> CaseInput:
    return _with_error(ca, ocsp.OCSPResponseStatus.TRY_LATER, lists=True)


@case(
    "revocation/ocsp-of-an-expired-responder",
    "The responder's certificate has not expired. (RFC 6960, 4.2.2.2)",
    Finding.UNTRUSTED_INFORMATION,
)
def _(ca: TestAuthority) -> CaseInput:
    return _with_response(
        ca, replace(RESPONSE, responder=ca.responder(ca.generation(AUTHENTICATION), ends=NOW - timedelta(days=1)))
    )


@case(
    "revocation/ocsp-of-another-authoritys-responder",
    "A responder is authorised only by the authority that issued its certificate. (RFC 6960, 4.2.2.2)",
    Finding.UNTRUSTED_INFORMATION,
)
def _(ca: TestAuthority) -> CaseInput:
    return _with_response(ca, replace(RESPONSE, responder=ca.responder(ca.generation(SIGNATURE))))


@case(
    "revocation/ocsp-of-another-generations-responder",
    "A responder is authorised only by the generation whose key signed its certificate. (RFC 6960, 4.2.2.2)",
    Finding.UNTRUSTED_INFORMATION,
)
def _(ca: TestAuthority) -> CaseInput:
    return _with_response(ca, replace(RESPONSE, responder=ca.responder(ca.generation(AUTHENTICATION, "02"))))


@case(
    "revocation/ocsp-of-one-who-is-no-responder",
    "A certificate without the usage OCSPSigning authorises no responder. (RFC 6960, 4.2.2.2)",
    Finding.UNTRUSTED_INFORMATION,
)
def _(ca: TestAuthority) -> CaseInput:
    other = ca.responder(ca.generation(AUTHENTICATION), usage=[ExtendedKeyUsageOID.CLIENT_AUTH])
    return _with_response(ca, replace(RESPONSE, responder=other))


@case(
    "revocation/ocsp-of-a-holder",
    "A holder's certificate authorises no responder, although the same authority issued it. (RFC 6960, 4.2.2.2)",
    Finding.UNTRUSTED_INFORMATION,
)
def _(ca: TestAuthority) -> CaseInput:
    holder = ca.holder(ca.generation(AUTHENTICATION))
    return _with_response(ca, replace(RESPONSE, responder=holder.certificate, key=ca.holder_key), holder=holder)


@case(
    "revocation/ocsp-signed-by-somebody-else",
    "A response is signed with the key of the responder's certificate in it. (RFC 6960, 3.2)",
    Finding.UNTRUSTED_INFORMATION,
)
def _(ca: TestAuthority) -> CaseInput:
    material = _with_response(ca)
    assert material.ocsp_response is not None
    genuine = ocsp.load_der_ocsp_response(material.ocsp_response).signature
    material.ocsp_response = material.ocsp_response.replace(genuine, sign(ca.other_key, b"another answer"))
    return material


@case(
    "revocation/ocsp-with-another-nonce",
    "A response with another nonce answers another request, and may be replayed. (RFC 6960, 4.4.1; RFC 9654)",
    Finding.UNTRUSTED_INFORMATION,
    required_by=RequiredBy.PROFILE,
)
def _(ca: TestAuthority) -> CaseInput:
    return _with_response(ca, replace(RESPONSE, nonce=NONCE[::-1]))


@case(
    "revocation/ocsp-without-the-nonce",
    "The response to a request with a nonce has that nonce. (RFC 9654, 2.1)",
    Finding.UNTRUSTED_INFORMATION,
    required_by=RequiredBy.PROFILE,
)
def _(ca: TestAuthority) -> CaseInput:
    return _with_response(ca, replace(RESPONSE, nonce=None))


@case(
    "revocation/ocsp-about-somebody-else",
    "A response about another certificate is not used. (RFC 6960, 3.2)",
    Finding.UNTRUSTED_INFORMATION,
)
def _(ca: TestAuthority) -> CaseInput:
    other = ca.holder(ca.generation(AUTHENTICATION))
    return _with_response(ca, replace(RESPONSE, about=other))


@case(
    "revocation/ocsp-about-the-same-number-of-another-authority",
    "Both authorities count from one: a response names its certificate by issuer and serial number, not by the number"
    " alone. (RFC 6960, 4.1.1)",
    Finding.UNTRUSTED_INFORMATION,
)
def _(ca: TestAuthority) -> CaseInput:
    holder = ca.holder(ca.generation(AUTHENTICATION))
    other = ca.holder(ca.generation(SIGNATURE), CertificateTemplate(serial=holder.certificate.serial_number))
    return _with_response(ca, replace(RESPONSE, about=other), holder=holder)


@case(
    "revocation/ocsp-of-yesterday",
    "A response is not used after its nextUpdate. (RFC 6960, 3.2)",
    Finding.STALE_INFORMATION,
)
def _(ca: TestAuthority) -> CaseInput:
    return _with_response(ca, replace(RESPONSE, this_update=NOW - timedelta(days=1)))


@case(
    "revocation/ocsp-of-tomorrow",
    "A response whose thisUpdate is in the future is not used: a clock is wrong. (RFC 6960, 4.2.2.1)",
    Finding.STALE_INFORMATION,
    required_by=RequiredBy.PROFILE,
)
def _(ca: TestAuthority) -> CaseInput:
    return _with_response(ca, replace(RESPONSE, this_update=LATER))


@case(
    "revocation/ocsp-without-an-end",
    "A response has a nextUpdate. (JPKI, 15-minute grid)",
    Finding.UNTRUSTED_INFORMATION,
    required_by=RequiredBy.PROFILE,
)
def _(ca: TestAuthority) -> CaseInput:
    return _with_response(ca, replace(RESPONSE, lasts=None))


@case(
    "revocation/ocsp-that-is-none",
    "An error page in the place of a response is not a response. (RFC 6960, 4.2.1)",
    Finding.UNTRUSTED_INFORMATION,
)
def _(ca: TestAuthority) -> CaseInput:
    material = _with_response(ca)
    material.ocsp_response = b"<html>503</html>"
    return material


@case(
    "revocation/ocsp-was-good-before-it-was-revoked",
    "At a time before its revocation, a certificate was good, by OCSP too. (RFC 6960, 2.2)",
)
def _(ca: TestAuthority) -> CaseInput:
    material = _with_response(
        ca, replace(RESPONSE, status=ocsp.OCSPCertStatus.REVOKED, at=EARLIER, reason=Reason.superseded)
    )
    material.time = EARLIER - timedelta(hours=1)
    return material
