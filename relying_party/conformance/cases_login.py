"""Cases about logins: the challenge, and who has answered it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding

from kazashi.jpki.profile import CertificateType
from kazashi.relying_party.conformance.authority import (
    NOW,
    CaseInput,
    CertificateTemplate,
    HolderKey,
    TestAuthority,
    sign,
)
from kazashi.relying_party.conformance.case import case
from kazashi.relying_party.verify.authentication import Challenge
from kazashi.relying_party.verify.finding import Finding

ORIGIN, ELSEWHERE = "https://library.example", "https://library.example.net"
GIVEN = Challenge(ORIGIN, bytes(range(32)), NOW - timedelta(seconds=40))


def _login(ca: TestAuthority, holder: HolderKey | None = None, given: Challenge = GIVEN, **changes: Any) -> CaseInput:
    """An answer to a challenge. `changes` say at which origin it comes in, whether the challenge was given out at all,
    and how often it was answered before."""
    holder = holder or ca.holder(ca.generation(CertificateType.AUTHENTICATION))
    signature = changes.pop("signature", None)
    return CaseInput(
        holder.der, CertificateType.AUTHENTICATION, lists=[ca.list(holder.issuer)],
        signature=sign(holder.key, given.message) if signature is None else signature,
        challenge={"origin": given.origin, "nonce": given.nonce.hex(), "issued_at": given.issued_at.isoformat(),
                   "message": given.message.hex(), "at_origin": ORIGIN, "given_out": True, "answered_before": 0,
                   **changes},
    )  # fmt: skip


@case(
    "login/good",
    "The holder's key over the challenge, within five minutes, where it was given out. (act on JPKI, article 38)",
)
def _(ca: TestAuthority) -> CaseInput:
    return _login(ca)


@case("login/replayed", "A challenge is good for one answer. (NIST SP 800-63B, 5.2.8)", Finding.UNKNOWN_CHALLENGE)
def _(ca: TestAuthority) -> CaseInput:
    return _login(ca, answered_before=1)


@case(
    "login/made-up",
    "A challenge that was never given out asks nothing. (NIST SP 800-63B, 5.2.8)",
    Finding.UNKNOWN_CHALLENGE,
)
def _(ca: TestAuthority) -> CaseInput:
    return _login(ca, given_out=False)


@case("login/too-late", "An answer that was kept is not fresh. (NIST SP 800-63B, 5.2.8)", Finding.STALE_CHALLENGE)
def _(ca: TestAuthority) -> CaseInput:
    return _login(ca, given=Challenge(ORIGIN, GIVEN.nonce, NOW - timedelta(minutes=6)))


@case(
    "login/before-it-was-given-out",
    "A challenge of later comes from a clock that was put back. (prudence)",
    Finding.STALE_CHALLENGE,
)
def _(ca: TestAuthority) -> CaseInput:
    return _login(ca, given=Challenge(ORIGIN, GIVEN.nonce, NOW + timedelta(minutes=1)))


@case(
    "login/at-another-origin",
    "A challenge is answered where it was given out, or a site in between could pass answers on. (WebAuthn, 13.4.9)",
    Finding.WRONG_ORIGIN,
)
def _(ca: TestAuthority) -> CaseInput:
    return _login(ca, at_origin=ELSEWHERE)


@case(
    "login/signed-for-another-origin",
    "The origin is signed too: what was signed for one site is worth nothing at another. (WebAuthn, 13.4.9)",
    Finding.WRONG_SIGNATURE,
)
def _(ca: TestAuthority) -> CaseInput:
    elsewhere = Challenge(ELSEWHERE, GIVEN.nonce, GIVEN.issued_at)
    return _login(ca, signature=sign(ca.holder_key, elsewhere.message))


@case("login/signed-for-another-time", "The time is signed too. (NIST SP 800-63B, 5.2.8)", Finding.WRONG_SIGNATURE)
def _(ca: TestAuthority) -> CaseInput:
    later = Challenge(ORIGIN, GIVEN.nonce, GIVEN.issued_at + timedelta(seconds=1))
    return _login(ca, signature=sign(ca.holder_key, later.message))


@case(
    "login/signed-the-nonce-alone",
    "A nonce without origin and time could be anybody's. (WebAuthn, 13.4.9)",
    Finding.WRONG_SIGNATURE,
)
def _(ca: TestAuthority) -> CaseInput:
    return _login(ca, signature=sign(ca.holder_key, GIVEN.nonce))


@case(
    "login/signed-with-another-key",
    "Reading a certificate needs no PIN: having it proves nothing. (JPKI, authentication certificate)",
    Finding.WRONG_SIGNATURE,
)
def _(ca: TestAuthority) -> CaseInput:
    return _login(ca, signature=sign(ca.other_key, GIVEN.message))


@case("login/not-signed", "No signature is no answer. (RFC 8017, 8.2.2)", Finding.WRONG_SIGNATURE)
def _(ca: TestAuthority) -> CaseInput:
    return _login(ca, signature=b"")


@case(
    "login/signed-with-pss",
    "Cards make PKCS #1 v1.5; another form is not taken for it. (RFC 8017, 8.2.2)",
    Finding.WRONG_SIGNATURE,
)
def _(ca: TestAuthority) -> CaseInput:
    pss = padding.PSS(padding.MGF1(hashes.SHA256()), 32)
    return _login(ca, signature=ca.holder_key.sign(GIVEN.message, pss, hashes.SHA256()))


@case("login/signed-over-sha-1", "Two messages with one SHA-1 digest can be made. (CRYPTREC)", Finding.WRONG_SIGNATURE)
def _(ca: TestAuthority) -> CaseInput:
    return _login(ca, signature=ca.holder_key.sign(GIVEN.message, padding.PKCS1v15(), hashes.SHA1()))


@case(
    "login/with-the-signature-certificate",
    "A site that takes the signature certificate for a login gets name and address of everybody. (act on JPKI, "
    "article 2)",
    Finding.WRONG_KIND,
)
def _(ca: TestAuthority) -> CaseInput:
    holder = ca.holder(ca.generation(CertificateType.SIGNATURE))
    return _login(ca, holder)


@case(
    "login/with-an-expired-certificate",
    "A card does not stop signing when its certificate ends. (RFC 5280, 6.1.3)",
    Finding.EXPIRED,
)
def _(ca: TestAuthority) -> CaseInput:
    return _login(
        ca, ca.holder(ca.generation(CertificateType.AUTHENTICATION), CertificateTemplate(ends=NOW - timedelta(days=1)))
    )


@case(
    "login/with-a-lost-card", "A card that was reported lost does not know it. (act on JPKI, article 31)", Finding.HELD
)
def _(ca: TestAuthority) -> CaseInput:
    holder = ca.holder(ca.generation(CertificateType.AUTHENTICATION))
    material = _login(ca, holder)
    entry = (holder.certificate.serial_number, NOW - timedelta(days=1), x509.ReasonFlags.certificate_hold)
    material.lists = [ca.list(holder.issuer, [entry])]
    return material


@case(
    "login/nobody-knows-of-revocation",
    "An authority that does not answer leaves a login undecided, and lets nobody in. (act on JPKI, article 38)",
    Finding.NO_INFORMATION,
)
def _(ca: TestAuthority) -> CaseInput:
    material = _login(ca)
    material.lists = []
    return material


@case(
    "login/with-a-certificate-of-ones-own",
    "A certificate that one has signed oneself. (RFC 5280, 6.1)",
    Finding.BROKEN_CERTIFICATE,
)
def _(ca: TestAuthority) -> CaseInput:
    issuer = ca.generation(CertificateType.AUTHENTICATION)
    return _login(
        ca, ca.holder(issuer, CertificateTemplate(signed_by=ca.generation(CertificateType.AUTHENTICATION, "02")))
    )
