"""Cases about OCSP: what an answer says, who has signed it, and whether it is fresh."""

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
from kazashi.relying_party.conformance.case import case
from kazashi.relying_party.verify.finding import Finding

AUTHENTICATION, SIGNATURE = CertificateType.AUTHENTICATION, CertificateType.SIGNATURE
EARLIER, LATER = NOW - timedelta(days=3), NOW + timedelta(days=1)
NONCE = bytes(range(16))
Reason = x509.ReasonFlags


# OCSP


ANSWER = AnswerTemplate(nonce=NONCE)


def _answered(
    ca: TestAuthority,
    template: AnswerTemplate = ANSWER,
    *,
    holder: HolderKey | None = None,
    lists: Sequence[bytes] = (),
) -> CaseInput:
    holder = holder or ca.holder(ca.generation(AUTHENTICATION))
    return CaseInput(holder.der, holder.issuer.kind, lists=lists, ocsp=ca.answer(holder, template), nonce=NONCE)


@case("revocation/ocsp-good", "An answer by a responder that the authority has named. (RFC 6960, 4.2.2.2)")
def _(ca: TestAuthority) -> CaseInput:
    return _answered(ca)


@case("revocation/ocsp-good-by-the-authority-itself", "The authority's own key answers for itself. (RFC 6960, 4.2.2.2)")
def _(ca: TestAuthority) -> CaseInput:
    issuer = ca.generation(AUTHENTICATION)
    return _answered(ca, replace(ANSWER, responder=issuer.certificate, key=issuer.key))


@case("revocation/ocsp-revoked", "Revoked since when, and why. (RFC 6960, 4.2.1)", Finding.REVOKED)
def _(ca: TestAuthority) -> CaseInput:
    return _answered(ca, replace(ANSWER, status=ocsp.OCSPCertStatus.REVOKED, at=EARLIER, reason=Reason.superseded))


@case("revocation/ocsp-revoked-without-a-reason", "No reason is no mercy. (RFC 6960, 4.2.1)", Finding.REVOKED)
def _(ca: TestAuthority) -> CaseInput:
    return _answered(ca, replace(ANSWER, status=ocsp.OCSPCertStatus.REVOKED, at=EARLIER))


@case("revocation/ocsp-held", "A hold is a revocation with its reason. (RFC 6960, 2.2)", Finding.HELD)
def _(ca: TestAuthority) -> CaseInput:
    return _answered(
        ca, replace(ANSWER, status=ocsp.OCSPCertStatus.REVOKED, at=EARLIER, reason=Reason.certificate_hold)
    )


@case(
    "revocation/ocsp-knows-before-the-list",
    "OCSP hears of a move within 15 minutes, the list on the next day: the newer word counts. (JPKI, OCSP)",
    Finding.REVOKED,
)
def _(ca: TestAuthority) -> CaseInput:
    holder = ca.holder(ca.generation(SIGNATURE))
    revoked = replace(
        ANSWER,
        status=ocsp.OCSPCertStatus.REVOKED,
        at=NOW - timedelta(hours=1),
        reason=Reason.affiliation_changed,
    )
    return _answered(ca, revoked, holder=holder, lists=[ca.list(holder.issuer)])


@case(
    "revocation/ocsp-unknown",
    "A certificate that its own authority does not know is not good. (RFC 6960, 2.2)",
    Finding.UNKNOWN_CERTIFICATE,
)
def _(ca: TestAuthority) -> CaseInput:
    return _answered(ca, replace(ANSWER, status=ocsp.OCSPCertStatus.UNKNOWN))


def _refused(ca: TestAuthority, status: ocsp.OCSPResponseStatus, lists: bool = False) -> CaseInput:
    holder = ca.holder(ca.generation(AUTHENTICATION))
    answer = ocsp.OCSPResponseBuilder.build_unsuccessful(status).public_bytes(Encoding.DER)
    return CaseInput(holder.der, AUTHENTICATION, lists=[ca.list(holder.issuer)] if lists else [], ocsp=answer,
                    nonce=NONCE)  # fmt: skip


@case("revocation/ocsp-unauthorized", "Who is not registered is told nothing. (RFC 6960, 2.3)", Finding.NO_INFORMATION)
def _(ca: TestAuthority) -> CaseInput:
    return _refused(ca, ocsp.OCSPResponseStatus.UNAUTHORIZED)


@case("revocation/ocsp-try-later", "Outside its hours the responder says so. (RFC 6960, 2.3)", Finding.NO_INFORMATION)
def _(ca: TestAuthority) -> CaseInput:
    return _refused(ca, ocsp.OCSPResponseStatus.TRY_LATER)


@case(
    "revocation/ocsp-try-later-and-a-list",
    "Where one source does not know, another may. (JPKI, revocation information)",
)
def _(ca: TestAuthority) -> CaseInput:
    return _refused(ca, ocsp.OCSPResponseStatus.TRY_LATER, lists=True)


@case(
    "revocation/ocsp-of-an-expired-responder",
    "A responder's certificate is valid when it answers. (RFC 6960, 4.2.2.2)",
    Finding.UNTRUSTED_INFORMATION,
)
def _(ca: TestAuthority) -> CaseInput:
    return _answered(
        ca, replace(ANSWER, responder=ca.responder(ca.generation(AUTHENTICATION), ends=NOW - timedelta(days=1)))
    )


@case(
    "revocation/ocsp-of-another-authoritys-responder",
    "A responder speaks for the authority that has named it. (RFC 6960, 4.2.2.2)",
    Finding.UNTRUSTED_INFORMATION,
)
def _(ca: TestAuthority) -> CaseInput:
    return _answered(ca, replace(ANSWER, responder=ca.responder(ca.generation(SIGNATURE))))


@case(
    "revocation/ocsp-of-another-generations-responder",
    "And for the generation whose key has. (RFC 6960, 4.2.2.2)",
    Finding.UNTRUSTED_INFORMATION,
)
def _(ca: TestAuthority) -> CaseInput:
    return _answered(ca, replace(ANSWER, responder=ca.responder(ca.generation(AUTHENTICATION, "02"))))


@case(
    "revocation/ocsp-of-one-who-is-no-responder",
    "A certificate for something else answers for nobody. (RFC 6960, 4.2.2.2)",
    Finding.UNTRUSTED_INFORMATION,
)
def _(ca: TestAuthority) -> CaseInput:
    other = ca.responder(ca.generation(AUTHENTICATION), usage=[ExtendedKeyUsageOID.CLIENT_AUTH])
    return _answered(ca, replace(ANSWER, responder=other))


@case(
    "revocation/ocsp-of-a-holder",
    "Nor does a holder, though the authority has certified both. (RFC 6960, 4.2.2.2)",
    Finding.UNTRUSTED_INFORMATION,
)
def _(ca: TestAuthority) -> CaseInput:
    holder = ca.holder(ca.generation(AUTHENTICATION))
    return _answered(ca, replace(ANSWER, responder=holder.certificate, key=ca.holder_key), holder=holder)


@case(
    "revocation/ocsp-signed-by-somebody-else",
    "The responder's certificate beside another's signature. (RFC 6960, 3.2)",
    Finding.UNTRUSTED_INFORMATION,
)
def _(ca: TestAuthority) -> CaseInput:
    material = _answered(ca)
    assert material.ocsp is not None
    genuine = ocsp.load_der_ocsp_response(material.ocsp).signature
    material.ocsp = material.ocsp.replace(genuine, sign(ca.other_key, b"another answer"))
    return material


@case(
    "revocation/ocsp-with-another-nonce",
    "The answer to another question, kept and played again. (RFC 6960, 4.4.1; RFC 9654)",
    Finding.UNTRUSTED_INFORMATION,
)
def _(ca: TestAuthority) -> CaseInput:
    return _answered(ca, replace(ANSWER, nonce=NONCE[::-1]))


@case(
    "revocation/ocsp-without-the-nonce",
    "Who asks with a nonce is answered with it. (RFC 9654, 2.1)",
    Finding.UNTRUSTED_INFORMATION,
)
def _(ca: TestAuthority) -> CaseInput:
    return _answered(ca, replace(ANSWER, nonce=None))


@case(
    "revocation/ocsp-about-somebody-else",
    "A good word about another certificate. (RFC 6960, 3.2)",
    Finding.UNTRUSTED_INFORMATION,
)
def _(ca: TestAuthority) -> CaseInput:
    other = ca.holder(ca.generation(AUTHENTICATION))
    return _answered(ca, replace(ANSWER, about=other))


@case(
    "revocation/ocsp-about-the-same-number-of-another-authority",
    "Both authorities count from one: the number alone names nobody. (RFC 6960, 4.1.1)",
    Finding.UNTRUSTED_INFORMATION,
)
def _(ca: TestAuthority) -> CaseInput:
    holder = ca.holder(ca.generation(AUTHENTICATION))
    other = ca.holder(ca.generation(SIGNATURE), CertificateTemplate(serial=holder.certificate.serial_number))
    return _answered(ca, replace(ANSWER, about=other), holder=holder)


@case(
    "revocation/ocsp-of-yesterday", "An answer holds until its nextUpdate. (RFC 6960, 3.2)", Finding.STALE_INFORMATION
)
def _(ca: TestAuthority) -> CaseInput:
    return _answered(ca, replace(ANSWER, this_update=NOW - timedelta(days=1)))


@case(
    "revocation/ocsp-of-tomorrow",
    "An answer that is not made yet, or a clock that is wrong. (RFC 6960, 4.2.2.1)",
    Finding.STALE_INFORMATION,
)
def _(ca: TestAuthority) -> CaseInput:
    return _answered(ca, replace(ANSWER, this_update=LATER))


@case(
    "revocation/ocsp-without-an-end",
    "An answer says until when it holds. (JPKI, 15-minute grid)",
    Finding.UNTRUSTED_INFORMATION,
)
def _(ca: TestAuthority) -> CaseInput:
    return _answered(ca, replace(ANSWER, lasts=None))


@case(
    "revocation/ocsp-that-is-none",
    "A page that says sorry is no answer. (RFC 6960, 4.2.1)",
    Finding.UNTRUSTED_INFORMATION,
)
def _(ca: TestAuthority) -> CaseInput:
    material = _answered(ca)
    material.ocsp = b"<html>503</html>"
    return material


@case(
    "revocation/ocsp-was-good-before-it-was-revoked",
    "As of an instant before its revocation a certificate was good, by OCSP too. (RFC 6960, 2.2)",
)
def _(ca: TestAuthority) -> CaseInput:
    material = _answered(ca, replace(ANSWER, status=ocsp.OCSPCertStatus.REVOKED, at=EARLIER, reason=Reason.superseded))
    material.at = EARLIER - timedelta(hours=1)
    return material
