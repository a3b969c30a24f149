"""Cases about logins: the challenge and the response to it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding

from kazashi.jpki.profile import CertificateType
from kazashi.relying_party.conformance.authority import (
    NOW,
    AuthorityKey,
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
ISSUED = Challenge(ORIGIN, bytes(range(32)), NOW - timedelta(seconds=40))


def _login(ca: TestAuthority, holder: HolderKey | None = None, issued: Challenge = ISSUED, **changes: Any) -> CaseInput:
    """A case about a response to a challenge. `changes` replace the signature, the origin at which the response
    arrives, whether the challenge was issued, and how many responses came before."""
    holder = holder or ca.holder(ca.generation(CertificateType.AUTHENTICATION))
    signature = changes.pop("signature", None)
    return CaseInput(
        holder.der, CertificateType.AUTHENTICATION, revocation_lists=[ca.list(holder.issuer)],
        signature=sign(holder.key, issued.message) if signature is None else signature,
        challenge={"issued_for_origin": issued.origin, "received_at_origin": ORIGIN, "nonce": issued.nonce.hex(),
                   "issued_at": issued.issued_at.isoformat(), "message": issued.message.hex(), "was_issued": True,
                   "earlier_responses": 0, **changes},
    )  # fmt: skip


@case(
    "login/good",
    "The holder's key signed the challenge, and the response arrives within five minutes at the origin for which it "
    "was issued. (act on JPKI, article 38)",
)
def _(ca: TestAuthority) -> CaseInput:
    return _login(ca)


@case("login/replayed", "A challenge is good for one response. (NIST SP 800-63B, 5.2.8)", Finding.UNKNOWN_CHALLENGE)
def _(ca: TestAuthority) -> CaseInput:
    return _login(ca, earlier_responses=1)


@case(
    "login/made-up",
    "A challenge that was never issued is not accepted. (NIST SP 800-63B, 5.2.8)",
    Finding.UNKNOWN_CHALLENGE,
)
def _(ca: TestAuthority) -> CaseInput:
    return _login(ca, was_issued=False)


@case(
    "login/too-late",
    "A response that arrives after the challenge's lifetime is not fresh. (NIST SP 800-63B, 5.2.8)",
    Finding.STALE_CHALLENGE,
)
def _(ca: TestAuthority) -> CaseInput:
    return _login(ca, issued=Challenge(ORIGIN, ISSUED.nonce, NOW - timedelta(minutes=6)))


@case(
    "login/before-it-was-given-out",
    "A challenge that was issued in the future comes from a clock that was set back. (prudence)",
    Finding.STALE_CHALLENGE,
)
def _(ca: TestAuthority) -> CaseInput:
    return _login(ca, issued=Challenge(ORIGIN, ISSUED.nonce, NOW + timedelta(minutes=1)))


@case(
    "login/at-another-origin",
    "A response counts only at the origin for which its challenge was issued, or a site in between could relay it. "
    "(WebAuthn, 13.4.9)",
    Finding.WRONG_ORIGIN,
)
def _(ca: TestAuthority) -> CaseInput:
    return _login(ca, received_at_origin=ELSEWHERE)


@case(
    "login/signed-for-another-origin",
    "The signed message contains the origin: a signature made for one site does not count at another. (WebAuthn, "
    "13.4.9)",
    Finding.WRONG_SIGNATURE,
)
def _(ca: TestAuthority) -> CaseInput:
    elsewhere = Challenge(ELSEWHERE, ISSUED.nonce, ISSUED.issued_at)
    return _login(ca, signature=sign(ca.holder_key, elsewhere.message))


@case(
    "login/signed-for-another-time",
    "The signed message contains the time of issue. (NIST SP 800-63B, 5.2.8)",
    Finding.WRONG_SIGNATURE,
)
def _(ca: TestAuthority) -> CaseInput:
    later = Challenge(ORIGIN, ISSUED.nonce, ISSUED.issued_at + timedelta(seconds=1))
    return _login(ca, signature=sign(ca.holder_key, later.message))


@case(
    "login/signed-the-nonce-alone",
    "A signature over the nonce alone could have been made for any site. (WebAuthn, 13.4.9)",
    Finding.WRONG_SIGNATURE,
)
def _(ca: TestAuthority) -> CaseInput:
    return _login(ca, signature=sign(ca.holder_key, ISSUED.nonce))


@case(
    "login/signed-with-another-key",
    "Reading a certificate needs no PIN: possession of the certificate proves nothing without its key. (JPKI, "
    "authentication certificate)",
    Finding.WRONG_SIGNATURE,
)
def _(ca: TestAuthority) -> CaseInput:
    return _login(ca, signature=sign(ca.other_key, ISSUED.message))


@case("login/not-signed", "An empty signature is not a signature. (RFC 8017, 8.2.2)", Finding.WRONG_SIGNATURE)
def _(ca: TestAuthority) -> CaseInput:
    return _login(ca, signature=b"")


@case(
    "login/signed-with-pss",
    "Cards sign with PKCS #1 v1.5; a signature of another scheme is not accepted. (RFC 8017, 8.2.2)",
    Finding.WRONG_SIGNATURE,
)
def _(ca: TestAuthority) -> CaseInput:
    pss = padding.PSS(padding.MGF1(hashes.SHA256()), 32)
    return _login(ca, signature=ca.holder_key.sign(ISSUED.message, pss, hashes.SHA256()))


@case(
    "login/signed-over-sha-1",
    "A signature over SHA-1 is not accepted: two messages with one SHA-1 digest can be made. (CRYPTREC)",
    Finding.WRONG_SIGNATURE,
)
def _(ca: TestAuthority) -> CaseInput:
    return _login(ca, signature=ca.holder_key.sign(ISSUED.message, padding.PKCS1v15(), hashes.SHA1()))


@case(
    "login/with-the-signature-certificate",
    "A site that accepts the signature certificate for a login gets everybody's name and address. (act on JPKI, "
    "article 2)",
    Finding.WRONG_KIND,
)
def _(ca: TestAuthority) -> CaseInput:
    holder = ca.holder(ca.generation(CertificateType.SIGNATURE))
    return _login(ca, holder)


@case(
    "login/with-an-expired-certificate",
    "A card still signs after its certificate has expired. (RFC 5280, 6.1.3)",
    Finding.EXPIRED,
)
def _(ca: TestAuthority) -> CaseInput:
    return _login(
        ca, ca.holder(ca.generation(CertificateType.AUTHENTICATION), CertificateTemplate(ends=NOW - timedelta(days=1)))
    )


@case(
    "login/with-a-lost-card",
    "A card that is reported lost still signs; its certificate is on hold. (act on JPKI, article 31)",
    Finding.HELD,
)
def _(ca: TestAuthority) -> CaseInput:
    holder = ca.holder(ca.generation(CertificateType.AUTHENTICATION))
    material = _login(ca, holder)
    entry = (holder.certificate.serial_number, NOW - timedelta(days=1), x509.ReasonFlags.certificate_hold)
    material.revocation_lists = [ca.list(holder.issuer, [entry])]
    return material


@case(
    "login/nobody-knows-of-revocation",
    "Without revocation information a login is undecided, and nobody is let in. (act on JPKI, article 38)",
    Finding.NO_INFORMATION,
)
def _(ca: TestAuthority) -> CaseInput:
    material = _login(ca)
    material.revocation_lists = []
    return material


@case(
    "login/with-a-certificate-of-ones-own",
    "A certificate that the holder has signed is not the authority's. (RFC 5280, 6.1)",
    Finding.BROKEN_CERTIFICATE,
)
def _(ca: TestAuthority) -> CaseInput:
    issuer = ca.generation(CertificateType.AUTHENTICATION)
    holder = AuthorityKey(issuer.kind, issuer.name, ca.holder_key, issuer.certificate)
    return _login(ca, ca.holder(issuer, CertificateTemplate(signed_by=holder)))
