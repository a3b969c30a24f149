"""Cases about a certificate: what is good, its authority, and its time."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from asn1crypto import core
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from kazashi.jpki.profile import CertificateType, Medium
from kazashi.relying_party.conformance.authority import (
    BEGINS,
    NOW,
    AuthorityKey,
    CaseInput,
    CertificateTemplate,
    Extension,
    HolderKey,
    TestAuthority,
)
from kazashi.relying_party.conformance.case import case
from kazashi.relying_party.verify.finding import Finding

AUTHENTICATION, SIGNATURE = CertificateType.AUTHENTICATION, CertificateType.SIGNATURE
SECOND = timedelta(seconds=1)
Change = Callable[[dict[str, Extension]], Any]


def asked(ca: TestAuthority, holder: HolderKey, der: bytes | None = None, **more: Any) -> CaseInput:
    """A certificate with its municipality's fresh and empty list."""
    return CaseInput(der or holder.der, holder.issuer.kind, lists=[ca.list(holder.issuer)], **more)


def bent(ca: TestAuthority, kind: CertificateType, change: Change) -> CaseInput:
    """A certificate whose extensions are not as they should be."""
    return asked(ca, ca.holder(ca.generation(kind), CertificateTemplate(change=change)))


def without(short: str) -> Change:
    """Leave an extension out."""
    return lambda found: found.pop(short)


def with_value(short: str, value: x509.ExtensionType, *, critical: bool) -> Change:
    """Put an extension in another's place, or at the end."""
    return lambda found: found.update({short: (value, critical)})


# What is good


@case(
    "certificate/good-authentication",
    "A certificate that keeps its profile and is not in its municipality's list is good. (RFC 5280, 6)",
)
def _(ca: TestAuthority) -> CaseInput:
    return asked(ca, ca.holder(ca.generation(AUTHENTICATION)))


@case(
    "certificate/good-signature",
    "The same for a signature certificate, with its six names. (JPKI profile; RFC 5280, 6)",
)
def _(ca: TestAuthority) -> CaseInput:
    return asked(ca, ca.holder(ca.generation(SIGNATURE)))


@case(
    "certificate/good-authentication-on-a-phone",
    "A phone's certificate has a policy of its own and is as good as a card's. (act on JPKI, article 35-2)",
)
def _(ca: TestAuthority) -> CaseInput:
    return asked(ca, ca.holder(ca.generation(AUTHENTICATION), CertificateTemplate(medium=Medium.PHONE)))


@case("certificate/good-signature-on-a-phone", "A phone's signature certificate likewise. (act on JPKI, article 16-2)")
def _(ca: TestAuthority) -> CaseInput:
    return asked(ca, ca.holder(ca.generation(SIGNATURE), CertificateTemplate(medium=Medium.PHONE)))


@case(
    "certificate/good-of-an-older-generation",
    "Certificates outlive the generation that issues: the older key still vouches for them. (JPKI, roll-over)",
)
def _(ca: TestAuthority) -> CaseInput:
    return asked(ca, ca.holder(ca.generation(SIGNATURE, "02")))


@case(
    "certificate/good-of-the-next-card",
    "The next card's keys are P-384, and its authority signs with ECDSA and SHA-384. (Digital Agency, next card)",
)
def _(ca: TestAuthority) -> CaseInput:
    return asked(
        ca,
        ca.holder(
            ca.generation(AUTHENTICATION, "next"), CertificateTemplate(key=ec.generate_private_key(ec.SECP384R1()))
        ),
    )


# Authority


@case(
    "certificate/same-name-other-generation",
    "All generations have one name: the key identifier says which one signed, and its key must verify. (RFC 5280, "
    "4.2.1.1)",
    Finding.BROKEN_CERTIFICATE,
)
def _(ca: TestAuthority) -> CaseInput:
    issuer = ca.generation(AUTHENTICATION)
    return asked(ca, ca.holder(issuer, CertificateTemplate(signed_by=ca.generation(AUTHENTICATION, "02"))))


@case(
    "certificate/unknown-generation",
    "A key that no trusted generation has vouches for nobody, whatever name goes with it. (RFC 5280, 6.1)",
    Finding.WRONG_AUTHORITY,
)
def _(ca: TestAuthority) -> CaseInput:
    issuer = ca.generation(AUTHENTICATION)
    unknown = AuthorityKey(issuer.kind, "unknown", ca.other_key, ca.foreign_root(AUTHENTICATION).certificate)
    return asked(ca, ca.holder(unknown))


@case(
    "certificate/the-other-authority",
    "The signature authority issues no authentication certificates: each authority has its kind. (act on JPKI, "
    "articles 3 and 22)",
    Finding.WRONG_AUTHORITY,
)
def _(ca: TestAuthority) -> CaseInput:
    holder = ca.holder(ca.generation(SIGNATURE), CertificateTemplate(kind=AUTHENTICATION))
    return CaseInput(holder.der, AUTHENTICATION, lists=[ca.list(ca.generation(AUTHENTICATION))])


@case(
    "certificate/a-foreign-root",
    "A root of another organisation is none of ours, however like it looks. (RFC 5280, 6.1.1)",
    Finding.WRONG_AUTHORITY,
)
def _(ca: TestAuthority) -> CaseInput:
    return asked(ca, ca.holder(ca.foreign_root(SIGNATURE)))


@case(
    "certificate/another-name-than-the-keys",
    "The issuer's name must be that of the authority whose key is named. (RFC 5280, 6.1.3 (a)(4))",
    Finding.WRONG_AUTHORITY,
)
def _(ca: TestAuthority) -> CaseInput:
    holder = ca.holder(ca.generation(AUTHENTICATION), CertificateTemplate(change=lambda found: found.update({
        "authority key": (x509.AuthorityKeyIdentifier(ca.generation(AUTHENTICATION).identifier, None, None), False)
    })))  # fmt: skip

    def change(body: Any) -> None:
        body["issuer"].chosen[1][0]["value"] = core.UTF8String("JPKI-EMU ")

    return asked(ca, holder, ca.resigned(holder, change))


@case(
    "certificate/a-flipped-bit-in-the-signature",
    "A signature holds as a whole or not at all. (RFC 5280, 6.1.3 (a)(1))",
    Finding.BROKEN_CERTIFICATE,
)
def _(ca: TestAuthority) -> CaseInput:
    holder = ca.holder(ca.generation(AUTHENTICATION))
    return asked(ca, holder, holder.der[:-1] + bytes((holder.der[-1] ^ 1,)))


@case(
    "certificate/a-serial-number-changed-after-signing",
    "What is signed cannot be changed: another serial number would get round revocation. (RFC 5280, 6.1.3 (a)(1))",
    Finding.BROKEN_CERTIFICATE,
)
def _(ca: TestAuthority) -> CaseInput:
    holder = ca.holder(ca.generation(AUTHENTICATION))
    old = holder.certificate.serial_number.to_bytes(4)
    return asked(ca, holder, holder.der.replace(old, b"\x71" + old[1:], 1))


# Time


@case(
    "certificate/expired",
    "After its notAfter a certificate is worth nothing. (RFC 5280, 6.1.3 (a)(2))",
    Finding.EXPIRED,
)
def _(ca: TestAuthority) -> CaseInput:
    return asked(ca, ca.holder(ca.generation(AUTHENTICATION), CertificateTemplate(ends=NOW - timedelta(days=1))))


@case("certificate/expired-by-a-second", "notAfter is the last second. (RFC 5280, 4.1.2.5)", Finding.EXPIRED)
def _(ca: TestAuthority) -> CaseInput:
    return asked(ca, ca.holder(ca.generation(AUTHENTICATION), CertificateTemplate(ends=NOW - SECOND)))


@case("certificate/in-its-last-second", "The second of notAfter still counts. (RFC 5280, 4.1.2.5)")
def _(ca: TestAuthority) -> CaseInput:
    return asked(ca, ca.holder(ca.generation(AUTHENTICATION), CertificateTemplate(ends=NOW)))


@case(
    "certificate/not-yet-valid",
    "Before its notBefore a certificate is not good. (RFC 5280, 6.1.3 (a)(2))",
    Finding.NOT_YET_VALID,
)
def _(ca: TestAuthority) -> CaseInput:
    return asked(ca, ca.holder(ca.generation(AUTHENTICATION), CertificateTemplate(begins=NOW + SECOND)))


@case("certificate/in-its-first-second", "The second of notBefore counts. (RFC 5280, 4.1.2.5)")
def _(ca: TestAuthority) -> CaseInput:
    return asked(ca, ca.holder(ca.generation(AUTHENTICATION), CertificateTemplate(begins=NOW)))


@case(
    "certificate/lasts-for-twenty-years",
    "A holder's certificate lasts for some birthdays, ten at most. (ordinance on JPKI, article 13)",
    Finding.OFF_PROFILE,
)
def _(ca: TestAuthority) -> CaseInput:
    return asked(
        ca, ca.holder(ca.generation(AUTHENTICATION), CertificateTemplate(ends=BEGINS + timedelta(days=366 * 20)))
    )


@case(
    "certificate/ends-before-it-begins",
    "A validity that ends before it begins is none. (RFC 5280, 4.1.2.5)",
    Finding.OFF_PROFILE,
)
def _(ca: TestAuthority) -> CaseInput:
    holder = ca.holder(ca.generation(AUTHENTICATION))

    def change(body: Any) -> None:
        validity = body["validity"]
        validity["not_before"], validity["not_after"] = validity["not_after"].copy(), validity["not_before"].copy()

    return asked(ca, holder, ca.resigned(holder, change))
