"""Cases about what a revocation list says: every reason code, and which certificates a list is about."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from cryptography import x509

from kazashi.jpki.profile import CertificateType
from kazashi.relying_party.conformance.authority import (
    ELSEWHERE,
    NOW,
    CaseInput,
    CertificateTemplate,
    HolderKey,
    ListTemplate,
    TestAuthority,
    issuing_point,
)
from kazashi.relying_party.conformance.case import RequiredBy, case
from kazashi.relying_party.verify.finding import Finding

AUTHENTICATION, SIGNATURE = CertificateType.AUTHENTICATION, CertificateType.SIGNATURE
EARLIER = NOW - timedelta(days=3)
Reason = x509.ReasonFlags


def with_lists(ca: TestAuthority, holder: HolderKey, *lists: bytes, **more: Any) -> CaseInput:
    """A case about a holder's certificate, with these revocation lists."""
    return CaseInput(holder.der, holder.issuer.kind, revocation_lists=lists, **more)


def _revoked(
    ca: TestAuthority, reason: Reason | None, at: datetime = EARLIER, kind: CertificateType = AUTHENTICATION
) -> CaseInput:
    holder = ca.holder(ca.generation(kind))
    entry = (holder.certificate.serial_number, at, reason)
    return with_lists(ca, holder, ca.list(holder.issuer, [(0x70000001, at, None), entry]))


# Reasons


@case(
    "revocation/revoked-without-a-reason",
    "An entry without a reason code revokes the certificate. (RFC 5280, 5.3.1; x509-limbo: "
    "crl::revoked-certificate-with-crl)",
    Finding.REVOKED,
)
def _(ca: TestAuthority) -> CaseInput:
    return _revoked(ca, None)


@case(
    "revocation/revoked-key-compromise",
    "keyCompromise: the card was stolen, or its key is known. (act on JPKI, article 12)",
    Finding.REVOKED,
)
def _(ca: TestAuthority) -> CaseInput:
    return _revoked(ca, Reason.key_compromise)


@case(
    "revocation/revoked-ca-compromise",
    "cACompromise: the authority's own key is known, and all certificates that it has issued are void. (article 13)",
    Finding.REVOKED,
)
def _(ca: TestAuthority) -> CaseInput:
    return _revoked(ca, Reason.ca_compromise)


@case(
    "revocation/revoked-affiliation-changed",
    "affiliationChanged: the holder has moved or has changed name, which revokes the signature certificate. (article "
    "12)",
    Finding.REVOKED,
)
def _(ca: TestAuthority) -> CaseInput:
    return _revoked(ca, Reason.affiliation_changed, kind=SIGNATURE)


@case(
    "revocation/revoked-superseded",
    "superseded: the certificate was renewed, and its successor replaces it. (article 12)",
    Finding.REVOKED,
)
def _(ca: TestAuthority) -> CaseInput:
    return _revoked(ca, Reason.superseded)


@case(
    "revocation/revoked-cessation-of-operation",
    "cessationOfOperation: the holder has died, has left the country, or has returned the card. (article 12)",
    Finding.REVOKED,
)
def _(ca: TestAuthority) -> CaseInput:
    return _revoked(ca, Reason.cessation_of_operation)


@case(
    "revocation/held",
    "certificateHold: the card is reported lost. A certificate on hold is not good. (RFC 5280, 5.3.1)",
    Finding.HELD,
)
def _(ca: TestAuthority) -> CaseInput:
    return _revoked(ca, Reason.certificate_hold)


@case(
    "revocation/revoked-at-this-very-second",
    "A revocation takes effect in the second that it names. (RFC 5280, 5.3)",
    Finding.REVOKED,
)
def _(ca: TestAuthority) -> CaseInput:
    return _revoked(ca, Reason.superseded, NOW)


@case("revocation/revoked-later", "At a time before its revocation, a certificate was good. (RFC 5280, 5.1.2.6)")
def _(ca: TestAuthority) -> CaseInput:
    material = _revoked(ca, Reason.affiliation_changed, EARLIER, SIGNATURE)
    material.time = EARLIER - timedelta(seconds=1)
    return material


@case(
    "revocation/one-of-a-thousand",
    "An entry counts wherever it stands in the list. (RFC 5280, 5.1.2.6)",
    Finding.REVOKED,
)
def _(ca: TestAuthority) -> CaseInput:
    holder = ca.holder(ca.generation(AUTHENTICATION), CertificateTemplate(serial=0x70005000))
    entries = [(0x70005000 + 8 * number % 1001 - 500, EARLIER, Reason.superseded) for number in range(1001)]
    return with_lists(ca, holder, ca.list(holder.issuer, entries))


@case(
    "revocation/none-of-a-thousand",
    "Entries about other certificates do not revoke this one. (RFC 5280, 5.1.2.6; x509-limbo: "
    "crl::certificate-not-on-crl)",
)
def _(ca: TestAuthority) -> CaseInput:
    holder = ca.holder(ca.generation(AUTHENTICATION), CertificateTemplate(serial=0x70005000))
    entries = [(0x70005001 + 3 * number, EARLIER, Reason.superseded) for number in range(1000)]
    return with_lists(ca, holder, ca.list(holder.issuer, entries))


@case(
    "revocation/a-serial-number-of-eight-bytes",
    "A 64-bit serial number whose highest bit is set has nine bytes in DER. (X.690, 8.3)",
    Finding.REVOKED,
)
def _(ca: TestAuthority) -> CaseInput:
    serial = 0xF000000000000001
    holder = ca.holder(ca.generation(AUTHENTICATION), CertificateTemplate(serial=serial))
    return with_lists(ca, holder, ca.list(holder.issuer, [(5, EARLIER, None), (serial, EARLIER, Reason.superseded)]))


# Scope and issuer


@case(
    "revocation/another-municipalitys-list",
    "A municipality's list covers that municipality's certificates: absence from it says nothing about others. (RFC "
    "5280, 6.3.3 (b))",
    Finding.UNTRUSTED_INFORMATION,
)
def _(ca: TestAuthority) -> CaseInput:
    holder = ca.holder(ca.generation(SIGNATURE))
    return with_lists(ca, holder, ca.list(holder.issuer, (), ListTemplate(place=ELSEWHERE)))


@case(
    "revocation/another-generations-list",
    "A list covers the certificates of its own generation, although all generations have one name. (RFC 5280, 6.3.3 "
    "(f))",
    Finding.UNTRUSTED_INFORMATION,
)
def _(ca: TestAuthority) -> CaseInput:
    holder = ca.holder(ca.generation(SIGNATURE))
    return with_lists(ca, holder, ca.list(ca.generation(SIGNATURE, "02")))


@case(
    "revocation/another-authoritys-list",
    "Each authority assigns its own serial numbers: its list says nothing about the other's certificates. (RFC 5280, "
    "6.3.3 (b))",
    Finding.UNTRUSTED_INFORMATION,
)
def _(ca: TestAuthority) -> CaseInput:
    holder = ca.holder(ca.generation(SIGNATURE))
    return with_lists(ca, holder, ca.list(ca.generation(AUTHENTICATION)))


@case(
    "revocation/the-same-number-on-another-authoritys-list",
    "A serial number on the other authority's list is another certificate's, and the list of the own authority "
    "decides. (RFC 5280, 6.3.3 (b); x509-limbo: crl::certificate-serial-on-crl-different-issuer)",
)
def _(ca: TestAuthority) -> CaseInput:
    holder = ca.holder(ca.generation(SIGNATURE))
    entry = (holder.certificate.serial_number, EARLIER, Reason.superseded)
    others = ca.list(ca.generation(AUTHENTICATION), [entry])
    return with_lists(ca, holder, others, ca.list(holder.issuer))


@case(
    "revocation/a-list-signed-with-another-generations-key",
    "A list that names a key is signed with that key. (RFC 5280, 6.3.3 (g))",
    Finding.UNTRUSTED_INFORMATION,
)
def _(ca: TestAuthority) -> CaseInput:
    holder = ca.holder(ca.generation(SIGNATURE))
    return with_lists(ca, holder, ca.list(holder.issuer, (), ListTemplate(signed_by=ca.generation(SIGNATURE, "02"))))


@case(
    "revocation/a-list-changed-after-signing",
    "The removal of an entry breaks the list's signature. (RFC 5280, 6.3.3 (g))",
    Finding.UNTRUSTED_INFORMATION,
)
def _(ca: TestAuthority) -> CaseInput:
    material = _revoked(ca, Reason.superseded)
    assert material.certificate is not None
    serial = b"\x02\x04" + x509.load_der_x509_certificate(material.certificate).serial_number.to_bytes(4)
    material.revocation_lists = [material.revocation_lists[0].replace(serial, b"\x02\x04\x70\x00\x00\x02", 1)]
    return material


@case(
    "revocation/everybodys-list",
    "A list without an issuing distribution point covers all certificates of its issuer. (RFC 5280, 5.2.5)",
)
def _(ca: TestAuthority) -> CaseInput:
    holder = ca.holder(ca.generation(SIGNATURE))
    return with_lists(ca, holder, ca.list(holder.issuer, (), ListTemplate(place=None)))


@case(
    "revocation/revoked-in-everybodys-list",
    "An entry in a list that covers all certificates revokes like any other. (RFC 5280, 5.2.5)",
    Finding.REVOKED,
)
def _(ca: TestAuthority) -> CaseInput:
    holder = ca.holder(ca.generation(SIGNATURE))
    entry = (holder.certificate.serial_number, EARLIER, Reason.affiliation_changed)
    return with_lists(ca, holder, ca.list(holder.issuer, [entry], ListTemplate(place=None)))


def _with_point(ca: TestAuthority, critical: bool = True, **scope: Any) -> CaseInput:
    holder = ca.holder(ca.generation(SIGNATURE))
    point = issuing_point(ca.partition(SIGNATURE), **scope)
    return with_lists(ca, holder, ca.list(holder.issuer, (), ListTemplate(point=(point, critical))))


@case(
    "revocation/a-distribution-point-that-is-not-critical",
    "The issuing distribution point is critical: a reader that ignored it would take a part for the whole. (RFC 5280,"
    " 5.2.5)",
    Finding.UNTRUSTED_INFORMATION,
    required_by=RequiredBy.PROFILE,
)
def _(ca: TestAuthority) -> CaseInput:
    return _with_point(ca, critical=False)


@case(
    "revocation/the-list-of-authorities",
    "A list of CA certificates only says nothing about holders' certificates. (RFC 5280, 6.3.3 (b)(2))",
    Finding.UNTRUSTED_INFORMATION,
)
def _(ca: TestAuthority) -> CaseInput:
    return _with_point(ca, authorities=True)


@case(
    "revocation/a-list-for-some-reasons",
    "A list for some revocation reasons leaves the other reasons open. (RFC 5280, 6.3.3 (d))",
    Finding.UNTRUSTED_INFORMATION,
)
def _(ca: TestAuthority) -> CaseInput:
    return _with_point(ca, reasons=frozenset({Reason.key_compromise}))


@case(
    "revocation/an-indirect-list",
    "JPKI has no indirect lists. (JPKI profile; RFC 5280, 5.3.3)",
    Finding.UNTRUSTED_INFORMATION,
    required_by=RequiredBy.PROFILE,
)
def _(ca: TestAuthority) -> CaseInput:
    return _with_point(ca, indirect=True)


@case(
    "revocation/no-source",
    "Without revocation information a certificate is not good. (RFC 5280, 6.3)",
    Finding.NO_INFORMATION,
)
def _(ca: TestAuthority) -> CaseInput:
    return with_lists(ca, ca.holder(ca.generation(SIGNATURE)))
