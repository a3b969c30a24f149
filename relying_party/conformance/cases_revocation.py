"""Cases about revocation lists: every reason code, and every defect of a list."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from asn1crypto import algos, core
from cryptography import x509

from kazashi.jpki.profile import CertificateType
from kazashi.relying_party.conformance.authority import (
    ELSEWHERE,
    ENDS,
    NOW,
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
EARLIER = NOW - timedelta(days=3)
Reason = x509.ReasonFlags


def _with_lists(ca: TestAuthority, holder: HolderKey, *lists: bytes, **more: Any) -> CaseInput:
    return CaseInput(holder.der, holder.issuer.kind, revocation_lists=lists, **more)


def _revoked(
    ca: TestAuthority, reason: Reason | None, at: datetime = EARLIER, kind: CertificateType = AUTHENTICATION
) -> CaseInput:
    holder = ca.holder(ca.generation(kind))
    entry = (holder.certificate.serial_number, at, reason)
    return _with_lists(ca, holder, ca.list(holder.issuer, [(0x70000001, at, None), entry]))


# Reasons


@case(
    "revocation/revoked-without-a-reason",
    "An entry without a reason code revokes the certificate. (RFC 5280, 5.3.1)",
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
    return _with_lists(ca, holder, ca.list(holder.issuer, entries))


@case("revocation/none-of-a-thousand", "Entries about other certificates do not revoke this one. (RFC 5280, 5.1.2.6)")
def _(ca: TestAuthority) -> CaseInput:
    holder = ca.holder(ca.generation(AUTHENTICATION), CertificateTemplate(serial=0x70005000))
    entries = [(0x70005001 + 3 * number, EARLIER, Reason.superseded) for number in range(1000)]
    return _with_lists(ca, holder, ca.list(holder.issuer, entries))


@case(
    "revocation/a-serial-number-of-eight-bytes",
    "A 64-bit serial number whose highest bit is set has nine bytes in DER. (X.690, 8.3)",
    Finding.REVOKED,
)
def _(ca: TestAuthority) -> CaseInput:
    serial = 0xF000000000000001
    holder = ca.holder(ca.generation(AUTHENTICATION), CertificateTemplate(serial=serial))
    return _with_lists(ca, holder, ca.list(holder.issuer, [(5, EARLIER, None), (serial, EARLIER, Reason.superseded)]))


# Scope and issuer


@case(
    "revocation/another-municipalitys-list",
    "A municipality's list covers that municipality's certificates: absence from it says nothing about others. (RFC "
    "5280, 6.3.3 (b))",
    Finding.UNTRUSTED_INFORMATION,
)
def _(ca: TestAuthority) -> CaseInput:
    holder = ca.holder(ca.generation(SIGNATURE))
    return _with_lists(ca, holder, ca.list(holder.issuer, (), ListTemplate(place=ELSEWHERE)))


@case(
    "revocation/another-generations-list",
    "A list covers the certificates of its own generation, although all generations have one name. (RFC 5280, 6.3.3 "
    "(f))",
    Finding.UNTRUSTED_INFORMATION,
)
def _(ca: TestAuthority) -> CaseInput:
    holder = ca.holder(ca.generation(SIGNATURE))
    return _with_lists(ca, holder, ca.list(ca.generation(SIGNATURE, "02")))


@case(
    "revocation/another-authoritys-list",
    "Each authority assigns its own serial numbers: its list says nothing about the other's certificates. (RFC 5280, "
    "6.3.3 (b))",
    Finding.UNTRUSTED_INFORMATION,
)
def _(ca: TestAuthority) -> CaseInput:
    holder = ca.holder(ca.generation(SIGNATURE))
    return _with_lists(ca, holder, ca.list(ca.generation(AUTHENTICATION)))


@case(
    "revocation/a-list-signed-with-another-generations-key",
    "A list that names a key is signed with that key. (RFC 5280, 6.3.3 (g))",
    Finding.UNTRUSTED_INFORMATION,
)
def _(ca: TestAuthority) -> CaseInput:
    holder = ca.holder(ca.generation(SIGNATURE))
    return _with_lists(ca, holder, ca.list(holder.issuer, (), ListTemplate(signed_by=ca.generation(SIGNATURE, "02"))))


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
    return _with_lists(ca, holder, ca.list(holder.issuer, (), ListTemplate(place=None)))


@case(
    "revocation/revoked-in-everybodys-list",
    "An entry in a list that covers all certificates revokes like any other. (RFC 5280, 5.2.5)",
    Finding.REVOKED,
)
def _(ca: TestAuthority) -> CaseInput:
    holder = ca.holder(ca.generation(SIGNATURE))
    entry = (holder.certificate.serial_number, EARLIER, Reason.affiliation_changed)
    return _with_lists(ca, holder, ca.list(holder.issuer, [entry], ListTemplate(place=None)))


def _with_point(ca: TestAuthority, critical: bool = True, **scope: Any) -> CaseInput:
    holder = ca.holder(ca.generation(SIGNATURE))
    point = issuing_point(ca.partition(SIGNATURE), **scope)
    return _with_lists(ca, holder, ca.list(holder.issuer, (), ListTemplate(point=(point, critical))))


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


def _with_extension(ca: TestAuthority, *extensions: Extension) -> CaseInput:
    holder = ca.holder(ca.generation(SIGNATURE))
    return _with_lists(ca, holder, ca.list(holder.issuer, (), ListTemplate(extra=extensions)))


@case(
    "revocation/a-delta-list",
    "A delta list alone is not enough: earlier revocations are missing from it. (RFC 5280, 5.2.4)",
    Finding.UNTRUSTED_INFORMATION,
)
def _(ca: TestAuthority) -> CaseInput:
    return _with_extension(ca, (x509.DeltaCRLIndicator(6), True))


@case(
    "revocation/a-list-with-an-unknown-critical-extension",
    "A list with a critical extension that is not understood is not used. (RFC 5280, 5.2)",
    Finding.UNTRUSTED_INFORMATION,
)
def _(ca: TestAuthority) -> CaseInput:
    unknown = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.3.6.1.4.1.32473.9"), b"\x05\x00")
    return _with_extension(ca, (unknown, True))


@case(
    "revocation/a-list-with-an-unknown-extension",
    "An extension of a list that is not critical may be ignored. (RFC 5280, 5.2)",
)
def _(ca: TestAuthority) -> CaseInput:
    unknown = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.3.6.1.4.1.32473.9"), b"\x05\x00")
    return _with_extension(ca, (unknown, False))


def _with_entry_extension(ca: TestAuthority, value: x509.ExtensionType, critical: bool) -> CaseInput:
    holder = ca.holder(ca.generation(SIGNATURE))
    entries = [(0x70000001, EARLIER, None), (holder.certificate.serial_number, EARLIER, Reason.superseded)]
    return _with_lists(ca, holder, ca.list(holder.issuer, entries, ListTemplate(entry_extension=(value, critical))))


@case(
    "revocation/an-entry-with-a-critical-extension",
    "A list with a critical entry extension that is not understood is not used; here it is certificateIssuer, in a "
    "list that is not indirect. (RFC 5280, 5.3)",
    Finding.UNTRUSTED_INFORMATION,
    required_by=RequiredBy.PROFILE,
)
def _(ca: TestAuthority) -> CaseInput:
    name = [x509.DirectoryName(ca.authority_name(AUTHENTICATION))]
    return _with_entry_extension(ca, x509.CertificateIssuer(name), True)


@case(
    "revocation/an-entry-with-another-extension",
    "An entry may have further extensions, such as invalidityDate: since when the key has been known. (RFC 5280, "
    "5.3.2)",
    Finding.REVOKED,
)
def _(ca: TestAuthority) -> CaseInput:
    return _with_entry_extension(ca, x509.InvalidityDate(EARLIER.replace(tzinfo=None)), False)


# Validity period


def _with_list_of(ca: TestAuthority, this_update: datetime, ends: datetime = ENDS) -> CaseInput:
    holder = ca.holder(ca.generation(SIGNATURE), CertificateTemplate(ends=ends))
    return _with_lists(ca, holder, ca.list(holder.issuer, (), ListTemplate(this_update=this_update)))


@case(
    "revocation/a-stale-list",
    "A list is not used after its nextUpdate. (RFC 5280, 6.3.3 (a))",
    Finding.STALE_INFORMATION,
)
def _(ca: TestAuthority) -> CaseInput:
    return _with_list_of(ca, NOW - timedelta(hours=49))


@case(
    "revocation/a-list-in-its-last-second",
    "A list is used up to and including the second of its nextUpdate. (RFC 5280, 5.1.2.5)",
)
def _(ca: TestAuthority) -> CaseInput:
    return _with_list_of(ca, NOW - timedelta(hours=48))


@case(
    "revocation/a-list-of-tomorrow",
    "A list whose thisUpdate is in the future is not used: a clock is wrong. (RFC 5280, 5.1.2.4)",
    Finding.STALE_INFORMATION,
    required_by=RequiredBy.PROFILE,
)
def _(ca: TestAuthority) -> CaseInput:
    return _with_list_of(ca, NOW + timedelta(hours=12))


@case(
    "revocation/a-list-that-no-longer-speaks-of-the-ended",
    "Entries leave a list after their certificates have expired: a later list says nothing about the time before. "
    "(RFC 5280, 3.3)",
    Finding.STALE_INFORMATION,
    required_by=RequiredBy.PROFILE,
)
def _(ca: TestAuthority) -> CaseInput:
    material = _with_list_of(ca, NOW - timedelta(hours=12), ends=NOW - timedelta(days=2))
    material.time = NOW - timedelta(days=3)
    return material


@case(
    "revocation/a-later-list-speaks-of-earlier-times",
    "Today's list also gives last month's status of a certificate that is still valid. (RFC 5280, 5.3)",
)
def _(ca: TestAuthority) -> CaseInput:
    material = _with_list_of(ca, NOW - timedelta(hours=12))
    material.time = NOW - timedelta(days=30)
    return material


# Encoding


@case(
    "revocation/a-list-without-an-end",
    "A list has a nextUpdate. (RFC 5280, 5.1.2.5)",
    Finding.UNTRUSTED_INFORMATION,
    required_by=RequiredBy.PROFILE,
)
def _(ca: TestAuthority) -> CaseInput:
    holder = ca.holder(ca.generation(SIGNATURE))
    data = ca.altered_list(holder.issuer, ca.list(holder.issuer), lambda body: body.__setitem__("next_update", None))
    return _with_lists(ca, holder, data)


@case(
    "revocation/a-list-of-version-one",
    "A list of version 1 has no extensions, so that its distribution point must not be believed. (RFC 5280, 5.1.2.1)",
    Finding.UNTRUSTED_INFORMATION,
    required_by=RequiredBy.PROFILE,
)
def _(ca: TestAuthority) -> CaseInput:
    holder = ca.holder(ca.generation(SIGNATURE))
    data = ca.altered_list(holder.issuer, ca.list(holder.issuer), lambda body: body.__setitem__("version", "v1"))
    return _with_lists(ca, holder, data)


@case(
    "revocation/a-list-of-two-algorithms",
    "The algorithm in the signed part is the one named beside the signature. (RFC 5280, 5.1.1.2)",
    Finding.UNTRUSTED_INFORMATION,
    required_by=RequiredBy.PROFILE,
)
def _(ca: TestAuthority) -> CaseInput:
    holder = ca.holder(ca.generation(SIGNATURE))
    other = algos.SignedDigestAlgorithm({"algorithm": "sha512_rsa", "parameters": core.Null()})
    data = ca.altered_list(holder.issuer, ca.list(holder.issuer), lambda body: body.__setitem__("signature", other))
    return _with_lists(ca, holder, data)


@case("revocation/a-list-cut-off", "A truncated list is not a list. (X.690)", Finding.UNTRUSTED_INFORMATION)
def _(ca: TestAuthority) -> CaseInput:
    holder = ca.holder(ca.generation(SIGNATURE))
    return _with_lists(ca, holder, ca.list(holder.issuer, [(9, EARLIER, None)] * 40)[:700])


@case(
    "revocation/a-list-with-bytes-behind-it",
    "No bytes follow a list. (X.690)",
    Finding.UNTRUSTED_INFORMATION,
    required_by=RequiredBy.PROFILE,
)
def _(ca: TestAuthority) -> CaseInput:
    holder = ca.holder(ca.generation(SIGNATURE))
    return _with_lists(ca, holder, ca.list(holder.issuer) + b"\x00")


@case(
    "revocation/no-list-at-all",
    "An error page in the place of a list is not a list. (X.690)",
    Finding.UNTRUSTED_INFORMATION,
)
def _(ca: TestAuthority) -> CaseInput:
    return _with_lists(ca, ca.holder(ca.generation(SIGNATURE)), b"<html>503</html>")


@case(
    "revocation/no-source",
    "Without revocation information a certificate is not good. (RFC 5280, 6.3)",
    Finding.NO_INFORMATION,
)
def _(ca: TestAuthority) -> CaseInput:
    return _with_lists(ca, ca.holder(ca.generation(SIGNATURE)))
