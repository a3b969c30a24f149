"""Cases about certificates: good ones, their authority, and their validity period."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from asn1crypto import core
from asn1crypto import x509 as asn1_x509
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from kazashi.jpki.profile import CertificateType, Medium
from kazashi.relying_party.conformance.authority import (
    BEGINS,
    ENDS,
    NOW,
    AuthorityKey,
    CaseInput,
    CertificateTemplate,
    Extension,
    HolderKey,
    ListTemplate,
    TestAuthority,
    issuing_point,
)
from kazashi.relying_party.conformance.case import RequiredBy, case
from kazashi.relying_party.verify.finding import Finding

AUTHENTICATION, SIGNATURE = CertificateType.AUTHENTICATION, CertificateType.SIGNATURE
SECOND = timedelta(seconds=1)
Change = Callable[[dict[str, Extension]], Any]


def unrevoked(ca: TestAuthority, holder: HolderKey, der: bytes | None = None, **more: Any) -> CaseInput:
    """A case about a certificate (`der`, or the holder's), with its municipality's current, empty revocation list."""
    return CaseInput(der or holder.der, holder.issuer.kind, revocation_lists=[ca.list(holder.issuer)], **more)


def altered(ca: TestAuthority, kind: CertificateType, change: Change) -> CaseInput:
    """A case about a certificate with altered extensions."""
    return unrevoked(ca, ca.holder(ca.generation(kind), CertificateTemplate(change=change)))


def without(short: str) -> Change:
    """A change that removes the extension with a short name."""
    return lambda extensions: extensions.pop(short)


def with_extension(short: str, value: x509.ExtensionType, *, critical: bool) -> Change:
    """A change that replaces the extension with a short name, or appends a new one."""
    return lambda extensions: extensions.update({short: (value, critical)})


# Good certificates


@case(
    "certificate/good-authentication",
    "A certificate that follows its profile and is not on its municipality's revocation list is good. (RFC 5280, 6)",
)
def _(ca: TestAuthority) -> CaseInput:
    return unrevoked(ca, ca.holder(ca.generation(AUTHENTICATION)))


@case(
    "certificate/good-signature",
    "A signature certificate that follows its profile and is not on the revocation list is good. (JPKI profile; RFC "
    "5280, 6)",
)
def _(ca: TestAuthority) -> CaseInput:
    return unrevoked(ca, ca.holder(ca.generation(SIGNATURE)))


@case(
    "certificate/good-authentication-on-a-phone",
    "A phone's certificate has a policy of its own and is as good as a card's. (act on JPKI, article 35-2)",
)
def _(ca: TestAuthority) -> CaseInput:
    return unrevoked(ca, ca.holder(ca.generation(AUTHENTICATION), CertificateTemplate(medium=Medium.PHONE)))


@case(
    "certificate/good-signature-on-a-phone",
    "A phone's signature certificate has a policy of its own and is as good as a card's. (act on JPKI, article 16-2)",
)
def _(ca: TestAuthority) -> CaseInput:
    return unrevoked(ca, ca.holder(ca.generation(SIGNATURE), CertificateTemplate(medium=Medium.PHONE)))


@case(
    "certificate/good-of-an-older-generation",
    "A certificate stays good after a newer generation of its authority has begun to issue: the older key still "
    "counts. (JPKI, roll-over)",
)
def _(ca: TestAuthority) -> CaseInput:
    return unrevoked(ca, ca.holder(ca.generation(SIGNATURE, "02")))


@case(
    "certificate/good-of-the-next-card",
    "The next card's keys are P-384, and its authority signs with ECDSA and SHA-384. (Digital Agency, next card)",
)
def _(ca: TestAuthority) -> CaseInput:
    return unrevoked(
        ca,
        ca.holder(
            ca.generation(AUTHENTICATION, "next"), CertificateTemplate(key=ec.generate_private_key(ec.SECP384R1()))
        ),
    )


# Authority


@case(
    "certificate/same-name-other-generation",
    "All generations of an authority have one issuer name: the key identifier alone decides which generation's key "
    "must verify the signature. (JPKI profile; in RFC 5280, 4.2.1.1 the identifier is only a hint for path building)",
    Finding.BROKEN_CERTIFICATE,
    required_by=RequiredBy.PROFILE,
)
def _(ca: TestAuthority) -> CaseInput:
    issuer, other = ca.generation(AUTHENTICATION), ca.generation(AUTHENTICATION, "02")
    holder = ca.holder(issuer, CertificateTemplate(signed_by=other))
    return CaseInput(holder.der, AUTHENTICATION, revocation_lists=[ca.list(issuer), ca.list(other)])


@case(
    "certificate/unknown-generation",
    "A certificate signed with a key of no trusted generation is refused, although it has the authority's issuer "
    "name. (RFC 5280, 6.1)",
    Finding.WRONG_AUTHORITY,
)
def _(ca: TestAuthority) -> CaseInput:
    issuer = ca.generation(AUTHENTICATION)
    unknown = AuthorityKey(issuer.kind, "unknown", ca.other_key, ca.foreign_root(AUTHENTICATION).certificate)
    return unrevoked(ca, ca.holder(unknown))


@case(
    "certificate/the-other-authority",
    "The signature authority issues no authentication certificates: each authority issues one type. (act on JPKI, "
    "articles 3 and 22)",
    Finding.WRONG_AUTHORITY,
    required_by=RequiredBy.PROFILE,
)
def _(ca: TestAuthority) -> CaseInput:
    issuer = ca.generation(SIGNATURE)
    holder = ca.holder(issuer, CertificateTemplate(kind=AUTHENTICATION))
    point = (issuing_point(ca.partition(AUTHENTICATION)), True)
    lists = [ca.list(ca.generation(AUTHENTICATION)), ca.list(issuer, (), ListTemplate(point=point))]
    return CaseInput(holder.der, AUTHENTICATION, revocation_lists=lists)


@case(
    "certificate/a-foreign-root",
    "The root of another organisation is not trusted, however similar it looks. (RFC 5280, 6.1.1; x509-limbo: "
    "rfc5280::chain-untrusted-root)",
    Finding.WRONG_AUTHORITY,
)
def _(ca: TestAuthority) -> CaseInput:
    return unrevoked(ca, ca.holder(ca.foreign_root(SIGNATURE)))


@case(
    "certificate/another-name-than-the-keys",
    "The issuer name is, byte for byte, that of the authority whose key is named; here a space follows it. (JPKI "
    "profile; the name comparison of RFC 5280, 7.1 ignores that space)",
    Finding.WRONG_AUTHORITY,
    required_by=RequiredBy.PROFILE,
)
def _(ca: TestAuthority) -> CaseInput:
    holder = ca.holder(ca.generation(AUTHENTICATION), CertificateTemplate(change=lambda extensions: extensions.update({
        "authority key": (x509.AuthorityKeyIdentifier(ca.generation(AUTHENTICATION).identifier, None, None), False)
    })))  # fmt: skip

    def change(body: Any) -> None:
        body["issuer"].chosen[1][0]["value"] = core.UTF8String("JPKI-EMU ")

    return unrevoked(ca, holder, ca.resigned(holder, change))


@case(
    "certificate/nobody-as-the-issuer",
    "A certificate names its issuer: an empty name is nobody's. (RFC 5280, 4.1.2.4; x509-limbo: "
    "rfc5280::ee-empty-issuer)",
    Finding.WRONG_AUTHORITY,
)
def _(ca: TestAuthority) -> CaseInput:
    identifier = ca.generation(AUTHENTICATION).identifier
    change = with_extension("authority key", x509.AuthorityKeyIdentifier(identifier, None, None), critical=False)
    holder = ca.holder(ca.generation(AUTHENTICATION), CertificateTemplate(change=change))
    return unrevoked(ca, holder, ca.resigned(holder, lambda body: body.__setitem__("issuer", asn1_x509.Name.build({}))))


@case(
    "certificate/a-flipped-bit-in-the-signature",
    "A certificate whose signature has one bit changed is refused. (RFC 5280, 6.1.3 (a)(1))",
    Finding.BROKEN_CERTIFICATE,
)
def _(ca: TestAuthority) -> CaseInput:
    holder = ca.holder(ca.generation(AUTHENTICATION))
    return unrevoked(ca, holder, holder.der[:-1] + bytes((holder.der[-1] ^ 1,)))


@case(
    "certificate/a-serial-number-changed-after-signing",
    "A change of a signed field is detected: another serial number would evade revocation. (RFC 5280, 6.1.3 (a)(1))",
    Finding.BROKEN_CERTIFICATE,
)
def _(ca: TestAuthority) -> CaseInput:
    holder = ca.holder(ca.generation(AUTHENTICATION))
    old = holder.certificate.serial_number.to_bytes(4)
    return unrevoked(ca, holder, holder.der.replace(old, b"\x71" + old[1:], 1))


# Validity period


@case(
    "certificate/expired",
    "A certificate is not valid after its notAfter. (RFC 5280, 6.1.3 (a)(2); x509-limbo: "
    "rfc5280::validity::expired-leaf)",
    Finding.EXPIRED,
)
def _(ca: TestAuthority) -> CaseInput:
    return unrevoked(ca, ca.holder(ca.generation(AUTHENTICATION), CertificateTemplate(ends=NOW - timedelta(days=1))))


@case(
    "certificate/expired-by-a-second",
    "A certificate is not valid one second after its notAfter. (RFC 5280, 4.1.2.5; x509-limbo: "
    "rfc5280::validity::expired-1-second)",
    Finding.EXPIRED,
)
def _(ca: TestAuthority) -> CaseInput:
    return unrevoked(ca, ca.holder(ca.generation(AUTHENTICATION), CertificateTemplate(ends=NOW - SECOND)))


@case(
    "certificate/in-its-last-second",
    "The second of notAfter belongs to the validity period. (RFC 5280, 4.1.2.5; x509-limbo: "
    "rfc5280::validity::notafter-exact)",
)
def _(ca: TestAuthority) -> CaseInput:
    return unrevoked(ca, ca.holder(ca.generation(AUTHENTICATION), CertificateTemplate(ends=NOW)))


@case(
    "certificate/not-yet-valid",
    "A certificate is not valid before its notBefore. (RFC 5280, 6.1.3 (a)(2); x509-limbo: "
    "rfc5280::validity::not-yet-valid-1-second)",
    Finding.NOT_YET_VALID,
)
def _(ca: TestAuthority) -> CaseInput:
    return unrevoked(ca, ca.holder(ca.generation(AUTHENTICATION), CertificateTemplate(begins=NOW + SECOND)))


@case(
    "certificate/not-yet-valid-by-a-millisecond",
    "The instant of the verdict is not rounded up to notBefore. (RFC 5280, 4.1.2.5; x509-limbo: "
    "rfc5280::validity::notbefore-fractional)",
    Finding.NOT_YET_VALID,
)
def _(ca: TestAuthority) -> CaseInput:
    holder = ca.holder(ca.generation(AUTHENTICATION), CertificateTemplate(begins=NOW))
    return unrevoked(ca, holder, time=NOW - timedelta(milliseconds=1))


@case(
    "certificate/in-its-first-second",
    "The second of notBefore belongs to the validity period. (RFC 5280, 4.1.2.5; x509-limbo: "
    "rfc5280::validity::notbefore-exact)",
)
def _(ca: TestAuthority) -> CaseInput:
    return unrevoked(ca, ca.holder(ca.generation(AUTHENTICATION), CertificateTemplate(begins=NOW)))


@case(
    "certificate/lasts-for-twenty-years",
    "A holder's certificate lasts for a number of birthdays, ten at most. (ordinance on JPKI, article 13)",
    breaks="lifetime",
)
def _(ca: TestAuthority) -> CaseInput:
    return unrevoked(
        ca, ca.holder(ca.generation(AUTHENTICATION), CertificateTemplate(ends=BEGINS + timedelta(days=366 * 20)))
    )


@case(
    "certificate/ends-before-it-begins",
    "A certificate whose notAfter is before its notBefore is never valid. (RFC 5280, 4.1.2.5)",
    breaks="lifetime",
    required_by=RequiredBy.PATH_VALIDATION,
)
def _(ca: TestAuthority) -> CaseInput:
    holder = ca.holder(ca.generation(AUTHENTICATION))

    def change(body: Any) -> None:
        validity = body["validity"]
        validity["not_before"], validity["not_after"] = validity["not_after"].copy(), validity["not_before"].copy()

    return unrevoked(ca, holder, ca.resigned(holder, change))


@case("certificate/lasts-until-tomorrow", "A certificate that expires tomorrow is good today. (RFC 5280, 4.1.2.5)")
def _(ca: TestAuthority) -> CaseInput:
    return unrevoked(
        ca, ca.holder(ca.generation(SIGNATURE), CertificateTemplate(ends=min(ENDS, NOW + timedelta(days=1))))
    )
