"""Cases about the form of a revocation list: its extensions, its validity period and its encoding."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from asn1crypto import algos, core
from asn1crypto import crl as asn1_crl
from cryptography import x509

from kazashi.jpki.profile import CertificateType
from kazashi.relying_party.conformance.authority import (
    ENDS,
    NOW,
    CaseInput,
    CertificateTemplate,
    Extension,
    ListTemplate,
    TestAuthority,
)
from kazashi.relying_party.conformance.case import RequiredBy, case
from kazashi.relying_party.conformance.cases_revocation import EARLIER, Reason, with_lists
from kazashi.relying_party.verify.finding import Finding

AUTHENTICATION, SIGNATURE = CertificateType.AUTHENTICATION, CertificateType.SIGNATURE

# Extensions


def _with_extension(ca: TestAuthority, *extensions: Extension) -> CaseInput:
    holder = ca.holder(ca.generation(SIGNATURE))
    return with_lists(ca, holder, ca.list(holder.issuer, (), ListTemplate(extra=extensions)))


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


@case(
    "revocation/a-list-without-a-number",
    "A list has a number: without one, nobody can tell an older list from a newer one. (RFC 5280, 5.2.3; x509-limbo: "
    "crl::crlnumber-missing)",
    Finding.UNTRUSTED_INFORMATION,
    required_by=RequiredBy.PROFILE,
)
def _(ca: TestAuthority) -> CaseInput:
    return _without(ca, "crl_number")


@case(
    "revocation/a-list-with-a-critical-number",
    "The number of a list is not critical. (RFC 5280, 5.2.3; x509-limbo: crl::crlnumber-critical)",
    Finding.UNTRUSTED_INFORMATION,
    required_by=RequiredBy.PROFILE,
)
def _(ca: TestAuthority) -> CaseInput:
    holder = ca.holder(ca.generation(SIGNATURE))

    def change(body: Any) -> None:
        for extension in body["crl_extensions"]:
            if extension["extn_id"].native == "crl_number":
                extension["critical"] = True

    return with_lists(ca, holder, ca.altered_list(holder.issuer, ca.list(holder.issuer), change))


@case(
    "revocation/a-list-that-names-no-key",
    "A list names the key that signed it: the generations of an authority have one name. (RFC 5280, 5.2.1; after "
    "x509-limbo: rfc5280::aki::leaf-missing-aki)",
    Finding.UNTRUSTED_INFORMATION,
    required_by=RequiredBy.PROFILE,
)
def _(ca: TestAuthority) -> CaseInput:
    return _without(ca, "authority_key_identifier")


def _without(ca: TestAuthority, name: str) -> CaseInput:
    """A case about a list that lacks an extension."""
    holder = ca.holder(ca.generation(SIGNATURE))

    def change(body: Any) -> None:
        kept = [extension for extension in body["crl_extensions"] if extension["extn_id"].native != name]
        body["crl_extensions"] = asn1_crl.TBSCertListExtensions(kept)

    return with_lists(ca, holder, ca.altered_list(holder.issuer, ca.list(holder.issuer), change))


def _with_entry_extension(ca: TestAuthority, value: x509.ExtensionType, critical: bool) -> CaseInput:
    holder = ca.holder(ca.generation(SIGNATURE))
    entries = [(0x70000001, EARLIER, None), (holder.certificate.serial_number, EARLIER, Reason.superseded)]
    return with_lists(ca, holder, ca.list(holder.issuer, entries, ListTemplate(entry_extension=(value, critical))))


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
    "revocation/somebody-elses-entry-with-an-unknown-critical-extension",
    "A list with a critical entry extension that is not understood is not used for any certificate: here the extension "
    "is in another certificate's entry. (RFC 5280, 5.3)",
    Finding.UNTRUSTED_INFORMATION,
)
def _(ca: TestAuthority) -> CaseInput:
    holder = ca.holder(ca.generation(SIGNATURE))
    unknown = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.3.6.1.4.1.32473.9"), b"\x05\x00")
    data = ca.list(holder.issuer, [(0x70000001, EARLIER, None)], ListTemplate(entry_extension=(unknown, True)))
    return with_lists(ca, holder, data)


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
    return with_lists(ca, holder, ca.list(holder.issuer, (), ListTemplate(this_update=this_update)))


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
    return with_lists(ca, holder, data)


@case(
    "revocation/a-list-of-version-one",
    "A list of version 1 has no extensions, so that its distribution point must not be believed. (RFC 5280, 5.1.2.1)",
    Finding.UNTRUSTED_INFORMATION,
    required_by=RequiredBy.PROFILE,
)
def _(ca: TestAuthority) -> CaseInput:
    holder = ca.holder(ca.generation(SIGNATURE))
    data = ca.altered_list(holder.issuer, ca.list(holder.issuer), lambda body: body.__setitem__("version", "v1"))
    return with_lists(ca, holder, data)


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
    return with_lists(ca, holder, data)


@case("revocation/a-list-cut-off", "A truncated list is not a list. (X.690)", Finding.UNTRUSTED_INFORMATION)
def _(ca: TestAuthority) -> CaseInput:
    holder = ca.holder(ca.generation(SIGNATURE))
    return with_lists(ca, holder, ca.list(holder.issuer, [(9, EARLIER, None)] * 40)[:700])


@case(
    "revocation/a-list-with-bytes-behind-it",
    "No bytes follow a list. (X.690)",
    Finding.UNTRUSTED_INFORMATION,
    required_by=RequiredBy.PROFILE,
)
def _(ca: TestAuthority) -> CaseInput:
    holder = ca.holder(ca.generation(SIGNATURE))
    return with_lists(ca, holder, ca.list(holder.issuer) + b"\x00")


@case(
    "revocation/no-list-at-all",
    "An error page in the place of a list is not a list. (X.690)",
    Finding.UNTRUSTED_INFORMATION,
)
def _(ca: TestAuthority) -> CaseInput:
    return with_lists(ca, ca.holder(ca.generation(SIGNATURE)), b"<html>503</html>")
