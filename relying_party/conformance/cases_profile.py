"""Cases about the profile of a holder's certificate: type, policy, usages, extensions and names."""

from __future__ import annotations

from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID, ExtensionOID, NameOID

from kazashi.jpki.profile import EMULATED, CertificateType, Medium
from kazashi.relying_party.conformance.authority import (
    AuthorityKey,
    CaseInput,
    CertificateTemplate,
    TestAuthority,
    name,
    points,
    policies,
)
from kazashi.relying_party.conformance.case import RequiredBy, case
from kazashi.relying_party.conformance.cases_certificate import altered, unrevoked, with_extension, without
from kazashi.relying_party.verify.finding import Finding

AUTHENTICATION, SIGNATURE = CertificateType.AUTHENTICATION, CertificateType.SIGNATURE


def usage(
    *, signs: bool = True, commits: bool = False, enciphers: bool = False, certifies: bool = False
) -> x509.KeyUsage:
    """A keyUsage extension."""
    return x509.KeyUsage(signs, commits, enciphers, False, False, certifies, False, False, False)


# Type and policy


@case(
    "certificate/a-signature-certificate-for-a-login",
    "A login requires the authentication certificate: the signature certificate would disclose name and address. (act"
    " on JPKI, article 2)",
    Finding.WRONG_KIND,
    required_by=RequiredBy.PROFILE,
)
def _(ca: TestAuthority) -> CaseInput:
    holder = ca.holder(ca.generation(SIGNATURE))
    return CaseInput(holder.der, AUTHENTICATION, revocation_lists=[ca.list(holder.issuer)])


@case(
    "certificate/an-authentication-certificate-under-a-document",
    "A document is signed with the signature certificate: an authentication certificate does not say who its holder "
    "is. (act on JPKI, article 2)",
    Finding.WRONG_KIND,
    required_by=RequiredBy.PROFILE,
)
def _(ca: TestAuthority) -> CaseInput:
    holder = ca.holder(ca.generation(AUTHENTICATION))
    return CaseInput(holder.der, SIGNATURE, revocation_lists=[ca.list(holder.issuer)])


@case(
    "certificate/no-policy",
    "The certificate policy says what a certificate is for, and is always present. (JPKI profile)",
    breaks="certificate-policies",
)
def _(ca: TestAuthority) -> CaseInput:
    return altered(ca, AUTHENTICATION, without("policies"))


@case(
    "certificate/a-policy-of-another-service",
    "Only the profile's own policies are accepted. (JPKI profile; RFC 5280, 6.1.1 (c))",
    breaks="certificate-policies",
)
def _(ca: TestAuthority) -> CaseInput:
    return altered(ca, AUTHENTICATION, with_extension("policies", policies("1.3.6.1.4.1.32473.1.1"), critical=True))


@case(
    "certificate/two-policies",
    "A certificate has one policy: with two it would pass as either type. (JPKI profile)",
    breaks="certificate-policies",
)
def _(ca: TestAuthority) -> CaseInput:
    both = policies(*(EMULATED.policy(kind, Medium.CARD) for kind in CertificateType))
    return altered(ca, AUTHENTICATION, with_extension("policies", both, critical=True))


@case(
    "certificate/policies-not-critical",
    "certificatePolicies is critical. (JPKI profile)",
    breaks="extensions-as-they-are",
)
def _(ca: TestAuthority) -> CaseInput:
    own = policies(EMULATED.policy(AUTHENTICATION, Medium.CARD))
    return altered(ca, AUTHENTICATION, with_extension("policies", own, critical=False))


@case(
    "certificate/the-other-kinds-policy",
    "The policy and the key usages are those of one certificate type. (JPKI profile)",
    breaks="key-usage",
)
def _(ca: TestAuthority) -> CaseInput:
    other = policies(EMULATED.policy(SIGNATURE, Medium.CARD))
    material = altered(ca, AUTHENTICATION, with_extension("policies", other, critical=True))
    material.certificate_type = None
    return material


# Usages


@case("certificate/no-key-usage", "keyUsage is always present. (JPKI profile; GHSA-58hw-cg5m-88rp)", breaks="key-usage")
def _(ca: TestAuthority) -> CaseInput:
    return altered(ca, AUTHENTICATION, without("usage"))


@case(
    "certificate/key-usage-not-critical",
    "keyUsage is critical. (JPKI profile; RFC 5280, 4.2.1.3)",
    breaks="extensions-as-they-are",
)
def _(ca: TestAuthority) -> CaseInput:
    return altered(ca, AUTHENTICATION, with_extension("usage", usage(), critical=False))


@case(
    "certificate/key-usage-for-encryption",
    "A key for encryption does not sign. (JPKI profile; RFC 5280, 4.2.1.3)",
    breaks="key-usage",
)
def _(ca: TestAuthority) -> CaseInput:
    return altered(ca, AUTHENTICATION, with_extension("usage", usage(signs=False, enciphers=True), critical=True))


@case(
    "certificate/key-usage-non-repudiation-for-a-login",
    "An authentication key has no nonRepudiation: it signs whatever a site sends, and that commits nobody. (JPKI "
    "profile)",
    breaks="key-usage",
)
def _(ca: TestAuthority) -> CaseInput:
    return altered(ca, AUTHENTICATION, with_extension("usage", usage(commits=True), critical=True))


@case(
    "certificate/key-usage-for-certificates",
    "A holder's key does not sign certificates. (RFC 5280, 4.2.1.3; x509-limbo: rfc5280::leaf-ku-keycertsign)",
    breaks="key-usage",
)
def _(ca: TestAuthority) -> CaseInput:
    return altered(ca, AUTHENTICATION, with_extension("usage", usage(certifies=True), critical=True))


@case(
    "certificate/key-usage-without-non-repudiation-for-signing",
    "A signature certificate has nonRepudiation: its signatures are binding. (JPKI profile)",
    breaks="key-usage",
)
def _(ca: TestAuthority) -> CaseInput:
    return altered(ca, SIGNATURE, with_extension("usage", usage(), critical=True))


@case(
    "certificate/no-extended-usage",
    "An authentication certificate has extKeyUsage with clientAuth. (JPKI profile; x509-limbo: "
    "webpki::eku::ee-without-eku)",
    breaks="extended-key-usage",
)
def _(ca: TestAuthority) -> CaseInput:
    return altered(ca, AUTHENTICATION, without("extended usage"))


@case(
    "certificate/extended-usage-of-a-server",
    "serverAuth does not stand for clientAuth. (RFC 5280, 4.2.1.12; x509-limbo: rfc5280::eku::ee-wrong-eku)",
    breaks="extended-key-usage",
)
def _(ca: TestAuthority) -> CaseInput:
    value = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])
    return altered(ca, AUTHENTICATION, with_extension("extended usage", value, critical=False))


@case(
    "certificate/extended-usage-of-anything",
    "extKeyUsage has clientAuth alone, without anyExtendedKeyUsage. (JPKI profile; x509-limbo: webpki::eku::ee-anyeku)",
    breaks="extended-key-usage",
)
def _(ca: TestAuthority) -> CaseInput:
    value = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE])
    return altered(ca, AUTHENTICATION, with_extension("extended usage", value, critical=False))


@case(
    "certificate/extended-usage-critical",
    "extKeyUsage is not critical. (JPKI profile; x509-limbo: webpki::eku::ee-critical-eku)",
    breaks="extensions-as-they-are",
)
def _(ca: TestAuthority) -> CaseInput:
    value = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH])
    return altered(ca, AUTHENTICATION, with_extension("extended usage", value, critical=True))


@case(
    "certificate/extended-usage-of-nothing",
    "An extKeyUsage has at least one usage. (RFC 5280, 4.2.1.12; x509-limbo: rfc5280::eku::ee-eku-empty)",
    Finding.MALFORMED,
    required_by=RequiredBy.PROFILE,
)
def _(ca: TestAuthority) -> CaseInput:
    value = x509.UnrecognizedExtension(ExtensionOID.EXTENDED_KEY_USAGE, b"\x30\x00")
    return altered(ca, AUTHENTICATION, with_extension("extended usage", value, critical=False))


@case(
    "certificate/extended-usage-for-signing",
    "A signature certificate has no extKeyUsage. (JPKI profile)",
    breaks="extended-key-usage",
)
def _(ca: TestAuthority) -> CaseInput:
    value = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH])
    return altered(ca, SIGNATURE, with_extension("extended usage", value, critical=False))


@case(
    "certificate/a-holder-that-claims-to-be-an-authority",
    "basicConstraints with cA would let any holder issue certificates. (GHSA-58hw-cg5m-88rp; RFC 5280, 4.2.1.9; "
    "x509-limbo: webpki::ee-basicconstraints-ca)",
    breaks="not-an-authority",
)
def _(ca: TestAuthority) -> CaseInput:
    return altered(ca, AUTHENTICATION, with_extension("constraints", x509.BasicConstraints(True, None), critical=True))


@case(
    "certificate/basic-constraints-at-all",
    "A holder's certificate has no basicConstraints. (JPKI profile)",
    breaks="not-an-authority",
)
def _(ca: TestAuthority) -> CaseInput:
    return altered(ca, AUTHENTICATION, with_extension("constraints", x509.BasicConstraints(False, None), critical=True))


@case(
    "certificate/certified-by-a-holder",
    "A certificate signed with another holder's key is not the authority's, although it names the authority as its "
    "issuer. (GHSA-58hw-cg5m-88rp)",
    Finding.BROKEN_CERTIFICATE,
)
def _(ca: TestAuthority) -> CaseInput:
    issuer = ca.generation(AUTHENTICATION)
    forger = AuthorityKey(issuer.kind, issuer.name, ca.holder_key, issuer.certificate)
    return unrevoked(ca, ca.holder(issuer, CertificateTemplate(key=ca.other_key, signed_by=forger)))


# Other extensions


@case(
    "certificate/an-unknown-critical-extension",
    "A certificate with a critical extension that is not understood is refused. (RFC 5280, 4.2; x509-limbo: "
    "rfc5280::unknown-critical-extension-ee)",
    breaks="extensions-as-they-are",
    required_by=RequiredBy.PATH_VALIDATION,
)
def _(ca: TestAuthority) -> CaseInput:
    value = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.3.6.1.4.1.32473.9"), b"\x05\x00")
    return altered(ca, AUTHENTICATION, with_extension("unknown", value, critical=True))


@case(
    "certificate/an-unknown-extension",
    "A certificate has no extensions besides its profile's. (JPKI profile)",
    breaks="extensions-as-they-are",
)
def _(ca: TestAuthority) -> CaseInput:
    value = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.3.6.1.4.1.32473.9"), b"\x05\x00")
    return altered(ca, AUTHENTICATION, with_extension("unknown", value, critical=False))


@case(
    "certificate/an-extension-twice",
    "Each extension occurs once. (RFC 5280, 4.2; x509-limbo: rfc5280::duplicate-extensions)",
    Finding.MALFORMED,
    required_by=RequiredBy.PROFILE,
)
def _(ca: TestAuthority) -> CaseInput:
    holder = ca.holder(ca.generation(AUTHENTICATION))
    return unrevoked(ca, holder, ca.resigned(holder, lambda body: body["extensions"].append(body["extensions"][1])))


@case(
    "certificate/the-authoritys-key-is-not-named",
    "The authority key identifier is present: without it, the generation would have to be guessed. (RFC 5280, "
    "4.2.1.1; x509-limbo: rfc5280::aki::leaf-missing-aki)",
    breaks="extensions-as-they-are",
)
def _(ca: TestAuthority) -> CaseInput:
    return altered(ca, AUTHENTICATION, without("authority key"))


@case(
    "certificate/the-authoritys-key-is-named-critically",
    "The authority key identifier is not critical. (RFC 5280, 4.2.1.1; x509-limbo: rfc5280::aki::critical-aki, about "
    "a root)",
    breaks="extensions-as-they-are",
)
def _(ca: TestAuthority) -> CaseInput:
    value = x509.AuthorityKeyIdentifier(ca.generation(AUTHENTICATION).identifier, None, None)
    return altered(ca, AUTHENTICATION, with_extension("authority key", value, critical=True))


@case(
    "certificate/the-authority-is-named-with-another-serial-number",
    "The serial number in the authority key identifier is that of the authority's own certificate, which also has the "
    "key. (JPKI profile; in RFC 5280, 4.2.1.1 both are only hints for path building)",
    Finding.WRONG_AUTHORITY,
    required_by=RequiredBy.PROFILE,
)
def _(ca: TestAuthority) -> CaseInput:
    issuer = ca.generation(AUTHENTICATION)
    value = x509.AuthorityKeyIdentifier(
        issuer.identifier, [x509.DirectoryName(ca.authority_name(AUTHENTICATION))],
        issuer.certificate.serial_number + 0x1000,
    )  # fmt: skip
    return altered(ca, AUTHENTICATION, with_extension("authority key", value, critical=False))


@case(
    "certificate/the-authority-is-named-by-serial-number-only",
    "The authority key identifier has the key identifier, not the serial number alone: the numbers of old generations"
    " start at one. (JPKI profile)",
    breaks="names-by-key",
)
def _(ca: TestAuthority) -> CaseInput:
    issuer = ca.generation(AUTHENTICATION)
    value = x509.AuthorityKeyIdentifier(
        None, [x509.DirectoryName(ca.authority_name(AUTHENTICATION))], issuer.certificate.serial_number
    )
    return altered(ca, AUTHENTICATION, with_extension("authority key", value, critical=False))


@case(
    "certificate/the-key-is-said-to-be-another-authoritys",
    "The issuer name in the authority key identifier is the certificate's issuer. (RFC 5280, 4.2.1.1)",
    breaks="names-by-key",
)
def _(ca: TestAuthority) -> CaseInput:
    value = x509.AuthorityKeyIdentifier(
        ca.generation(AUTHENTICATION).identifier, [x509.DirectoryName(ca.authority_name(SIGNATURE))], 1
    )
    return altered(ca, AUTHENTICATION, with_extension("authority key", value, critical=False))


@case(
    "certificate/another-keys-identifier",
    "The subject key identifier is derived from the holder's key. (RFC 5280, 4.2.1.2, method 1)",
    breaks="names-by-key",
)
def _(ca: TestAuthority) -> CaseInput:
    value = x509.SubjectKeyIdentifier.from_public_key(ca.other_key.public_key())
    return altered(ca, AUTHENTICATION, with_extension("own key", value, critical=False))


@case(
    "certificate/no-identifier-of-its-key",
    "The subject key identifier is present. (JPKI profile; x509-limbo: rfc5280::ski::intermediate-missing-ski, about "
    "an authority)",
    breaks="extensions-as-they-are",
)
def _(ca: TestAuthority) -> CaseInput:
    return altered(ca, AUTHENTICATION, without("own key"))


@case(
    "certificate/a-critical-identifier-of-its-key",
    "The subject key identifier is not critical. (RFC 5280, 4.2.1.2; x509-limbo: rfc5280::ski::critical-ski, about a "
    "root)",
    breaks="extensions-as-they-are",
)
def _(ca: TestAuthority) -> CaseInput:
    value = x509.SubjectKeyIdentifier.from_public_key(ca.holder_key.public_key())
    return altered(ca, AUTHENTICATION, with_extension("own key", value, critical=True))


@case(
    "certificate/a-critical-address-of-the-responder",
    "authorityInfoAccess is not critical. (RFC 5280, 4.2.2.1; x509-limbo: rfc5280::ee-critical-aia-invalid)",
    breaks="extensions-as-they-are",
)
def _(ca: TestAuthority) -> CaseInput:
    return altered(ca, AUTHENTICATION, lambda extensions: extensions.update({"ocsp": (extensions["ocsp"][0], True)}))


@case(
    "certificate/an-address-of-the-responder-that-is-not-encoded",
    "authorityInfoAccess has access descriptions, not text. (RFC 5280, 4.2.2.1; x509-limbo: webpki::malformed-aia)",
    Finding.MALFORMED,
    required_by=RequiredBy.PROFILE,
)
def _(ca: TestAuthority) -> CaseInput:
    value = x509.UnrecognizedExtension(ExtensionOID.AUTHORITY_INFORMATION_ACCESS, EMULATED.ocsp_uri.encode("ascii"))
    return altered(ca, AUTHENTICATION, with_extension("ocsp", value, critical=False))


@case(
    "certificate/no-distribution-point",
    "Every certificate names its municipality's revocation list. (JPKI profile)",
    breaks="extensions-as-they-are",
)
def _(ca: TestAuthority) -> CaseInput:
    return altered(ca, AUTHENTICATION, without("distribution point"))


@case(
    "certificate/a-distribution-point-on-the-web",
    "The distribution point is a directory entry; a URL in a certificate is never followed. (JPKI profile)",
    breaks="distribution-point",
)
def _(ca: TestAuthority) -> CaseInput:
    value = points(x509.UniformResourceIdentifier("http://127.0.0.1/list.crl"))
    return altered(ca, AUTHENTICATION, with_extension("distribution point", value, critical=False))


@case(
    "certificate/two-distribution-points",
    "A certificate has one distribution point, its municipality's. (JPKI profile)",
    breaks="distribution-point",
)
def _(ca: TestAuthority) -> CaseInput:
    value = points(*(x509.DirectoryName(ca.partition(AUTHENTICATION, place))
                     for place in (("Tokyo-to", "Shibuya-ku"), ("Osaka-fu", "Sakai-shi-Kita-ku"))))  # fmt: skip
    return altered(ca, AUTHENTICATION, with_extension("distribution point", value, critical=False))


@case(
    "certificate/a-distribution-point-of-the-other-authority",
    "The distribution point is the issuing authority's: the other authority's list never covers this certificate. "
    "(JPKI profile)",
    breaks="distribution-point",
)
def _(ca: TestAuthority) -> CaseInput:
    value = points(x509.DirectoryName(ca.partition(SIGNATURE)))
    return altered(ca, AUTHENTICATION, with_extension("distribution point", value, critical=False))


# Names


@case("certificate/a-subject-without-a-common-name", "The subject has a common name. (JPKI profile)", breaks="subject")
def _(ca: TestAuthority) -> CaseInput:
    subject = name((NameOID.COUNTRY_NAME, "JP"))
    return unrevoked(ca, ca.holder(ca.generation(AUTHENTICATION), CertificateTemplate(subject=subject)))


@case(
    "certificate/nobody-as-the-subject",
    "An empty subject is not a holder; and if the subject is empty, the subject's other names must be critical. "
    "(JPKI profile; RFC 5280, 4.1.2.6; x509-limbo: rfc5280::san::noncritical-with-empty-subject)",
    breaks="subject",
)
def _(ca: TestAuthority) -> CaseInput:
    return unrevoked(ca, ca.holder(ca.generation(SIGNATURE), CertificateTemplate(subject=x509.Name([]))))


@case("certificate/a-subject-of-another-country", "The subject's country is JP. (JPKI profile)", breaks="subject")
def _(ca: TestAuthority) -> CaseInput:
    subject = name((NameOID.COUNTRY_NAME, "XX"), (NameOID.COMMON_NAME, "000014EAA5KQZB13113003A"))
    return unrevoked(ca, ca.holder(ca.generation(AUTHENTICATION), CertificateTemplate(subject=subject)))
