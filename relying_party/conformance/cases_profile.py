"""Cases about the profile of a holder's certificate: type, policy, usages, extensions, names, keys and encoding."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from itertools import count
from typing import Any

from asn1crypto import algos, core
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from kazashi.jpki.profile import EMULATED, CertificateType, Medium
from kazashi.relying_party.conformance.authority import (
    ENDS,
    NOW,
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
    "A holder's key does not sign certificates. (RFC 5280, 4.2.1.3)",
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
    "An authentication certificate has extKeyUsage with clientAuth. (JPKI profile)",
    breaks="extended-key-usage",
)
def _(ca: TestAuthority) -> CaseInput:
    return altered(ca, AUTHENTICATION, without("extended usage"))


@case(
    "certificate/extended-usage-of-a-server",
    "serverAuth does not stand for clientAuth. (RFC 5280, 4.2.1.12)",
    breaks="extended-key-usage",
)
def _(ca: TestAuthority) -> CaseInput:
    value = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])
    return altered(ca, AUTHENTICATION, with_extension("extended usage", value, critical=False))


@case(
    "certificate/extended-usage-of-anything",
    "extKeyUsage has clientAuth alone, without anyExtendedKeyUsage. (JPKI profile)",
    breaks="extended-key-usage",
)
def _(ca: TestAuthority) -> CaseInput:
    value = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE])
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
    "basicConstraints with cA would let any holder issue certificates. (GHSA-58hw-cg5m-88rp; RFC 5280, 4.2.1.9)",
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
    "A certificate with a critical extension that is not understood is refused. (RFC 5280, 4.2)",
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
    "Each extension occurs once. (RFC 5280, 4.2)",
    Finding.MALFORMED,
    required_by=RequiredBy.PROFILE,
)
def _(ca: TestAuthority) -> CaseInput:
    holder = ca.holder(ca.generation(AUTHENTICATION))
    return unrevoked(ca, holder, ca.resigned(holder, lambda body: body["extensions"].append(body["extensions"][1])))


@case(
    "certificate/the-authoritys-key-is-not-named",
    "The authority key identifier is present: without it, the generation would have to be guessed. (RFC 5280, 4.2.1.1)",
    breaks="extensions-as-they-are",
)
def _(ca: TestAuthority) -> CaseInput:
    return altered(ca, AUTHENTICATION, without("authority key"))


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


@case("certificate/a-subject-of-another-country", "The subject's country is JP. (JPKI profile)", breaks="subject")
def _(ca: TestAuthority) -> CaseInput:
    subject = name((NameOID.COUNTRY_NAME, "XX"), (NameOID.COMMON_NAME, "000014EAA5KQZB13113003A"))
    return unrevoked(ca, ca.holder(ca.generation(AUTHENTICATION), CertificateTemplate(subject=subject)))


# Keys, algorithms, encoding


@case("certificate/a-key-of-1024-bits", "A card's RSA key has 2048 bits. (JPKI profile)", breaks="holder-key")
def _(ca: TestAuthority) -> CaseInput:
    return unrevoked(
        ca, ca.holder(ca.generation(AUTHENTICATION), CertificateTemplate(key=rsa.generate_private_key(65537, 1024)))
    )


@case(
    "certificate/a-key-with-exponent-three",
    "A card's RSA key has the exponent 65537. (JPKI profile)",
    breaks="holder-key",
)
def _(ca: TestAuthority) -> CaseInput:
    return unrevoked(
        ca, ca.holder(ca.generation(AUTHENTICATION), CertificateTemplate(key=rsa.generate_private_key(3, 2048)))
    )


@case(
    "certificate/a-key-on-another-curve",
    "The only elliptic curve is the next card's, P-384. (Digital Agency, next card)",
    breaks="holder-key",
)
def _(ca: TestAuthority) -> CaseInput:
    return unrevoked(
        ca, ca.holder(ca.generation(AUTHENTICATION), CertificateTemplate(key=ec.generate_private_key(ec.SECP256R1())))
    )


def _signed_with(ca: TestAuthority, algorithm: dict[str, Any], signer: Callable[[Any, bytes], bytes]) -> CaseInput:
    """A case about a certificate that is signed with another algorithm, which both algorithm fields name."""
    holder = ca.holder(ca.generation(AUTHENTICATION))
    identifier = algos.SignedDigestAlgorithm(algorithm)
    body = ca.changed(holder, lambda body: body.__setitem__("signature", identifier))
    return unrevoked(ca, holder, ca.assembled(body, lambda data: signer(holder.issuer.key, data), identifier.dump()))


@case(
    "certificate/signed-with-sha-1",
    "A signature over SHA-1 is no longer accepted. (JPKI profile; CRYPTREC)",
    breaks="signature-algorithm",
)
def _(ca: TestAuthority) -> CaseInput:
    return _signed_with(ca, {"algorithm": "sha1_rsa", "parameters": core.Null()},
                             lambda key, data: key.sign(data, padding.PKCS1v15(), hashes.SHA1()))  # fmt: skip


@case(
    "certificate/signed-with-pss",
    "The authority signs with PKCS #1 v1.5 only. (JPKI profile)",
    breaks="signature-algorithm",
)
def _(ca: TestAuthority) -> CaseInput:
    parameters = {"hash_algorithm": {"algorithm": "sha256"}, "salt_length": 32,
                  "mask_gen_algorithm": {"algorithm": "mgf1", "parameters": {"algorithm": "sha256"}}}  # fmt: skip
    return _signed_with(
        ca, {"algorithm": "rsassa_pss", "parameters": algos.RSASSAPSSParams(parameters)},
        lambda key, data: key.sign(data, padding.PSS(padding.MGF1(hashes.SHA256()), 32), hashes.SHA256()),
    )  # fmt: skip


@case(
    "certificate/one-algorithm-inside-and-another-outside",
    "The algorithm in the signed part is the one named beside the signature. (RFC 5280, 4.1.1.2)",
    breaks="one-algorithm",
)
def _(ca: TestAuthority) -> CaseInput:
    holder = ca.holder(ca.generation(AUTHENTICATION))
    inside = algos.SignedDigestAlgorithm({"algorithm": "sha512_rsa", "parameters": core.Null()})
    return unrevoked(ca, holder, ca.resigned(holder, lambda body: body.__setitem__("signature", inside)))


@case(
    "certificate/serial-number-zero",
    "The authority counts serial numbers from one. (JPKI profile; RFC 5280, 4.1.2.2 demands positive numbers of CAs, "
    "and asks certificate users to handle zero gracefully)",
    breaks="serial-number",
)
def _(ca: TestAuthority) -> CaseInput:
    holder = ca.holder(ca.generation(AUTHENTICATION))
    return unrevoked(ca, holder, ca.resigned(holder, lambda body: body.__setitem__("serial_number", 0)))


@case(
    "certificate/a-negative-serial-number",
    "The authority counts serial numbers from one. (JPKI profile; RFC 5280, 4.1.2.2 demands positive numbers of CAs, "
    "and asks certificate users to handle negative ones gracefully)",
    breaks="serial-number",
)
def _(ca: TestAuthority) -> CaseInput:
    holder = ca.holder(ca.generation(AUTHENTICATION))
    return unrevoked(ca, holder, ca.resigned(holder, lambda body: body.__setitem__("serial_number", -5)))


@case(
    "certificate/a-serial-number-of-twenty-bytes",
    "The authority counts up: no serial number has more than 64 bits. (JPKI, issue number)",
    breaks="serial-number",
)
def _(ca: TestAuthority) -> CaseInput:
    return unrevoked(ca, ca.holder(ca.generation(AUTHENTICATION), CertificateTemplate(serial=1 << 150)))


@case(
    "certificate/version-two",
    "A certificate with extensions has version 3. (RFC 5280, 4.1.2.1)",
    Finding.MALFORMED,
    required_by=RequiredBy.PROFILE,
)
def _(ca: TestAuthority) -> CaseInput:
    holder = ca.holder(ca.generation(AUTHENTICATION))
    return unrevoked(ca, holder, ca.resigned(holder, lambda body: body.__setitem__("version", "v2")))


@case(
    "certificate/version-one-with-extensions",
    "A certificate of version 1 has no extensions; those in it must not be believed. (RFC 5280, 4.1.2.1)",
    breaks="version-three",
)
def _(ca: TestAuthority) -> CaseInput:
    holder = ca.holder(ca.generation(AUTHENTICATION))
    return unrevoked(ca, holder, ca.resigned(holder, lambda body: body.__setitem__("version", "v1")))


@case(
    "certificate/a-signature-with-unused-bits",
    "A signature is whole bytes: with unused bits, one certificate would have several encodings. (X.690, 11.2)",
    breaks="whole-bytes",
)
def _(ca: TestAuthority) -> CaseInput:
    holders = (ca.holder(ca.generation(AUTHENTICATION)) for _ in count())
    holder = next(holder for holder in holders if holder.der[-1] % 2 == 0)  # the unused bit must be zero
    place = len(holder.der) - len(holder.certificate.signature) - 1
    return unrevoked(ca, holder, holder.der[:place] + b"\x01" + holder.der[place + 1 :])


@case(
    "certificate/bytes-behind-it",
    "No bytes follow a certificate. (X.690)",
    Finding.MALFORMED,
    required_by=RequiredBy.PROFILE,
)
def _(ca: TestAuthority) -> CaseInput:
    holder = ca.holder(ca.generation(AUTHENTICATION))
    return unrevoked(ca, holder, holder.der + b"\x00")


@case("certificate/cut-off", "A truncated certificate is refused. (X.690)", Finding.MALFORMED)
def _(ca: TestAuthority) -> CaseInput:
    holder = ca.holder(ca.generation(AUTHENTICATION))
    return unrevoked(ca, holder, holder.der[:700])


@case(
    "certificate/far-too-long",
    "Input that is many times longer than any certificate is not parsed. (prudence)",
    Finding.MALFORMED,
    required_by=RequiredBy.PROFILE,
)
def _(ca: TestAuthority) -> CaseInput:
    holder = ca.holder(ca.generation(AUTHENTICATION))
    return unrevoked(ca, holder, holder.der + bytes(1 << 20))


@case("certificate/nothing", "A single zero byte is not a certificate. (X.690)", Finding.MALFORMED)
def _(ca: TestAuthority) -> CaseInput:
    return unrevoked(ca, ca.holder(ca.generation(AUTHENTICATION)), b"\x00")


@case("certificate/lasts-until-tomorrow", "A certificate that expires tomorrow is good today. (RFC 5280, 4.1.2.5)")
def _(ca: TestAuthority) -> CaseInput:
    return unrevoked(
        ca, ca.holder(ca.generation(SIGNATURE), CertificateTemplate(ends=min(ENDS, NOW + timedelta(days=1))))
    )
