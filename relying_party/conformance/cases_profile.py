"""Cases about the profile of a holder's certificate: kind and policy, usages, extensions, names, keys and form."""

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
    Extension,
    TestAuthority,
    name,
    points,
    policies,
)
from kazashi.relying_party.conformance.case import case
from kazashi.relying_party.conformance.cases_certificate import asked, bent, with_value, without
from kazashi.relying_party.verify.finding import Finding

AUTHENTICATION, SIGNATURE = CertificateType.AUTHENTICATION, CertificateType.SIGNATURE
SECOND = timedelta(seconds=1)
Change = Callable[[dict[str, Extension]], Any]


def usage(
    *, signs: bool = True, commits: bool = False, enciphers: bool = False, certifies: bool = False
) -> x509.KeyUsage:
    """A key usage."""
    return x509.KeyUsage(signs, commits, enciphers, False, False, certifies, False, False, False)


# Kind and policy


@case(
    "certificate/a-signature-certificate-for-a-login",
    "A login asks for the authentication certificate: the other would hand over name and address. (act on JPKI, "
    "article 2)",
    Finding.WRONG_KIND,
)
def _(ca: TestAuthority) -> CaseInput:
    holder = ca.holder(ca.generation(SIGNATURE))
    return CaseInput(holder.der, AUTHENTICATION, lists=[ca.list(holder.issuer)])


@case(
    "certificate/an-authentication-certificate-under-a-document",
    "A document is signed with the signature certificate: the other says of nobody who it is. (act on JPKI, article 2)",
    Finding.WRONG_KIND,
)
def _(ca: TestAuthority) -> CaseInput:
    holder = ca.holder(ca.generation(AUTHENTICATION))
    return CaseInput(holder.der, SIGNATURE, lists=[ca.list(holder.issuer)])


@case(
    "certificate/no-policy",
    "The policy says what a certificate is for, and is always there. (JPKI profile)",
    Finding.OFF_PROFILE,
)
def _(ca: TestAuthority) -> CaseInput:
    return bent(ca, AUTHENTICATION, without("policies"))


@case(
    "certificate/a-policy-of-another-service",
    "Only JPKI's policies count. (JPKI profile; RFC 5280, 6.1.1 (c))",
    Finding.OFF_PROFILE,
)
def _(ca: TestAuthority) -> CaseInput:
    return bent(ca, AUTHENTICATION, with_value("policies", policies("1.3.6.1.4.1.32473.1.1"), critical=True))


@case(
    "certificate/two-policies",
    "One policy to a certificate: with two it would pass for either kind. (JPKI profile)",
    Finding.OFF_PROFILE,
)
def _(ca: TestAuthority) -> CaseInput:
    both = policies(*(EMULATED.policy(kind, Medium.CARD) for kind in CertificateType))
    return bent(ca, AUTHENTICATION, with_value("policies", both, critical=True))


@case("certificate/policies-not-critical", "The policy is critical. (JPKI profile)", Finding.OFF_PROFILE)
def _(ca: TestAuthority) -> CaseInput:
    mine = policies(EMULATED.policy(AUTHENTICATION, Medium.CARD))
    return bent(ca, AUTHENTICATION, with_value("policies", mine, critical=False))


@case(
    "certificate/the-other-kinds-policy",
    "A policy that does not go with the usages is a certificate of neither kind. (JPKI profile)",
    Finding.OFF_PROFILE,
)
def _(ca: TestAuthority) -> CaseInput:
    other = policies(EMULATED.policy(SIGNATURE, Medium.CARD))
    material = bent(ca, AUTHENTICATION, with_value("policies", other, critical=True))
    material.kind = None
    return material


# Usages


@case(
    "certificate/no-key-usage",
    "The key usage is always there. (JPKI profile; GHSA-58hw-cg5m-88rp)",
    Finding.OFF_PROFILE,
)
def _(ca: TestAuthority) -> CaseInput:
    return bent(ca, AUTHENTICATION, without("usage"))


@case(
    "certificate/key-usage-not-critical",
    "The key usage is critical. (JPKI profile; RFC 5280, 4.2.1.3)",
    Finding.OFF_PROFILE,
)
def _(ca: TestAuthority) -> CaseInput:
    return bent(ca, AUTHENTICATION, with_value("usage", usage(), critical=False))


@case(
    "certificate/key-usage-for-encryption",
    "A key for encryption signs nothing. (JPKI profile; RFC 5280, 4.2.1.3)",
    Finding.OFF_PROFILE,
)
def _(ca: TestAuthority) -> CaseInput:
    return bent(ca, AUTHENTICATION, with_value("usage", usage(signs=False, enciphers=True), critical=True))


@case(
    "certificate/key-usage-non-repudiation-for-a-login",
    "Nobody can be held to what a login's key signs: it signs what it is given. (JPKI profile)",
    Finding.OFF_PROFILE,
)
def _(ca: TestAuthority) -> CaseInput:
    return bent(ca, AUTHENTICATION, with_value("usage", usage(commits=True), critical=True))


@case(
    "certificate/key-usage-for-certificates",
    "A holder's key certifies nobody. (RFC 5280, 4.2.1.3)",
    Finding.OFF_PROFILE,
)
def _(ca: TestAuthority) -> CaseInput:
    return bent(ca, AUTHENTICATION, with_value("usage", usage(certifies=True), critical=True))


@case(
    "certificate/key-usage-without-non-repudiation-for-signing",
    "A document is signed with a key whose signatures bind. (JPKI profile)",
    Finding.OFF_PROFILE,
)
def _(ca: TestAuthority) -> CaseInput:
    return bent(ca, SIGNATURE, with_value("usage", usage(), critical=True))


@case(
    "certificate/no-extended-usage",
    "An authentication certificate says clientAuth. (JPKI profile)",
    Finding.OFF_PROFILE,
)
def _(ca: TestAuthority) -> CaseInput:
    return bent(ca, AUTHENTICATION, without("extended usage"))


@case(
    "certificate/extended-usage-of-a-server",
    "A server's usage is no client's. (RFC 5280, 4.2.1.12)",
    Finding.OFF_PROFILE,
)
def _(ca: TestAuthority) -> CaseInput:
    value = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])
    return bent(ca, AUTHENTICATION, with_value("extended usage", value, critical=False))


@case(
    "certificate/extended-usage-of-anything",
    "clientAuth alone: no anyExtendedKeyUsage beside it. (JPKI profile)",
    Finding.OFF_PROFILE,
)
def _(ca: TestAuthority) -> CaseInput:
    value = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE])
    return bent(ca, AUTHENTICATION, with_value("extended usage", value, critical=False))


@case(
    "certificate/extended-usage-for-signing",
    "A signature certificate has no extended usage. (JPKI profile)",
    Finding.OFF_PROFILE,
)
def _(ca: TestAuthority) -> CaseInput:
    value = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH])
    return bent(ca, SIGNATURE, with_value("extended usage", value, critical=False))


@case(
    "certificate/a-holder-that-claims-to-be-an-authority",
    "basicConstraints with CA would let any holder certify others. (GHSA-58hw-cg5m-88rp; RFC 5280, 4.2.1.9)",
    Finding.OFF_PROFILE,
)
def _(ca: TestAuthority) -> CaseInput:
    return bent(ca, AUTHENTICATION, with_value("constraints", x509.BasicConstraints(True, None), critical=True))


@case(
    "certificate/basic-constraints-at-all",
    "A holder's certificate has no basicConstraints. (JPKI profile)",
    Finding.OFF_PROFILE,
)
def _(ca: TestAuthority) -> CaseInput:
    return bent(ca, AUTHENTICATION, with_value("constraints", x509.BasicConstraints(False, None), critical=True))


@case(
    "certificate/certified-by-a-holder",
    "A certificate that another holder has signed is not the authority's, though it says so. (GHSA-58hw-cg5m-88rp)",
    Finding.BROKEN_CERTIFICATE,
)
def _(ca: TestAuthority) -> CaseInput:
    issuer = ca.generation(AUTHENTICATION)
    forger = AuthorityKey(issuer.kind, issuer.name, ca.holder_key, issuer.certificate)
    return asked(ca, ca.holder(issuer, CertificateTemplate(key=ca.other_key, signed_by=forger)))


# Other extensions


@case(
    "certificate/an-unknown-critical-extension",
    "What is critical and not understood is refused. (RFC 5280, 4.2)",
    Finding.OFF_PROFILE,
)
def _(ca: TestAuthority) -> CaseInput:
    value = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.3.6.1.4.1.32473.9"), b"\x05\x00")
    return bent(ca, AUTHENTICATION, with_value("unknown", value, critical=True))


@case(
    "certificate/an-unknown-extension",
    "The authority issues no extension beside its profile's. (JPKI profile)",
    Finding.OFF_PROFILE,
)
def _(ca: TestAuthority) -> CaseInput:
    value = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.3.6.1.4.1.32473.9"), b"\x05\x00")
    return bent(ca, AUTHENTICATION, with_value("unknown", value, critical=False))


@case("certificate/an-extension-twice", "Each extension is there once. (RFC 5280, 4.2)", Finding.MALFORMED)
def _(ca: TestAuthority) -> CaseInput:
    holder = ca.holder(ca.generation(AUTHENTICATION))
    return asked(ca, holder, ca.resigned(holder, lambda body: body["extensions"].append(body["extensions"][1])))


@case(
    "certificate/the-authoritys-key-is-not-named",
    "Without the key's identifier the generation would have to be guessed. (RFC 5280, 4.2.1.1)",
    Finding.OFF_PROFILE,
)
def _(ca: TestAuthority) -> CaseInput:
    return bent(ca, AUTHENTICATION, without("authority key"))


@case(
    "certificate/the-authority-is-named-by-serial-number-only",
    "The identifier is there, not the serial number alone: old generations count from one. (JPKI profile)",
    Finding.OFF_PROFILE,
)
def _(ca: TestAuthority) -> CaseInput:
    issuer = ca.generation(AUTHENTICATION)
    value = x509.AuthorityKeyIdentifier(
        None, [x509.DirectoryName(ca.authority_name(AUTHENTICATION))], issuer.certificate.serial_number
    )
    return bent(ca, AUTHENTICATION, with_value("authority key", value, critical=False))


@case(
    "certificate/the-key-is-said-to-be-another-authoritys",
    "The names in the identifier are those of the issuer. (RFC 5280, 4.2.1.1)",
    Finding.OFF_PROFILE,
)
def _(ca: TestAuthority) -> CaseInput:
    value = x509.AuthorityKeyIdentifier(
        ca.generation(AUTHENTICATION).identifier, [x509.DirectoryName(ca.authority_name(SIGNATURE))], 1
    )
    return bent(ca, AUTHENTICATION, with_value("authority key", value, critical=False))


@case(
    "certificate/another-keys-identifier",
    "The holder's key identifier follows from the key. (RFC 5280, 4.2.1.2, method 1)",
    Finding.OFF_PROFILE,
)
def _(ca: TestAuthority) -> CaseInput:
    value = x509.SubjectKeyIdentifier.from_public_key(ca.other_key.public_key())
    return bent(ca, AUTHENTICATION, with_value("own key", value, critical=False))


@case(
    "certificate/no-distribution-point",
    "Every certificate names its municipality's list. (JPKI profile)",
    Finding.OFF_PROFILE,
)
def _(ca: TestAuthority) -> CaseInput:
    return bent(ca, AUTHENTICATION, without("distribution point"))


@case(
    "certificate/a-distribution-point-on-the-web",
    "A list's address in a certificate is never followed: the point is a directory entry. (JPKI profile)",
    Finding.OFF_PROFILE,
)
def _(ca: TestAuthority) -> CaseInput:
    value = points(x509.UniformResourceIdentifier("http://127.0.0.1/list.crl"))
    return bent(ca, AUTHENTICATION, with_value("distribution point", value, critical=False))


@case("certificate/two-distribution-points", "One municipality to a certificate. (JPKI profile)", Finding.OFF_PROFILE)
def _(ca: TestAuthority) -> CaseInput:
    value = points(*(x509.DirectoryName(ca.partition(AUTHENTICATION, place))
                     for place in (("Tokyo-to", "Shibuya-ku"), ("Osaka-fu", "Sakai-shi-Kita-ku"))))  # fmt: skip
    return bent(ca, AUTHENTICATION, with_value("distribution point", value, critical=False))


@case(
    "certificate/a-distribution-point-of-the-other-authority",
    "The other authority's list says nothing of this certificate, and never will. (JPKI profile)",
    Finding.OFF_PROFILE,
)
def _(ca: TestAuthority) -> CaseInput:
    value = points(x509.DirectoryName(ca.partition(SIGNATURE)))
    return bent(ca, AUTHENTICATION, with_value("distribution point", value, critical=False))


# Names


@case(
    "certificate/a-subject-without-a-common-name", "The subject has a common name. (JPKI profile)", Finding.OFF_PROFILE
)
def _(ca: TestAuthority) -> CaseInput:
    subject = name((NameOID.COUNTRY_NAME, "JP"))
    return asked(ca, ca.holder(ca.generation(AUTHENTICATION), CertificateTemplate(subject=subject)))


@case("certificate/a-subject-of-another-country", "The subject is in Japan. (JPKI profile)", Finding.OFF_PROFILE)
def _(ca: TestAuthority) -> CaseInput:
    subject = name((NameOID.COUNTRY_NAME, "XX"), (NameOID.COMMON_NAME, "000014EAA5KQZB13113003A"))
    return asked(ca, ca.holder(ca.generation(AUTHENTICATION), CertificateTemplate(subject=subject)))


# Keys, algorithms, form


@case("certificate/a-key-of-1024-bits", "Cards make keys of 2048 bits. (JPKI profile)", Finding.OFF_PROFILE)
def _(ca: TestAuthority) -> CaseInput:
    return asked(
        ca, ca.holder(ca.generation(AUTHENTICATION), CertificateTemplate(key=rsa.generate_private_key(65537, 1024)))
    )


@case(
    "certificate/a-key-with-exponent-three", "Cards make keys with exponent 65537. (JPKI profile)", Finding.OFF_PROFILE
)
def _(ca: TestAuthority) -> CaseInput:
    return asked(
        ca, ca.holder(ca.generation(AUTHENTICATION), CertificateTemplate(key=rsa.generate_private_key(3, 2048)))
    )


@case(
    "certificate/a-key-on-another-curve",
    "Of curves the next card has P-384 alone. (Digital Agency, next card)",
    Finding.OFF_PROFILE,
)
def _(ca: TestAuthority) -> CaseInput:
    return asked(
        ca, ca.holder(ca.generation(AUTHENTICATION), CertificateTemplate(key=ec.generate_private_key(ec.SECP256R1())))
    )


def _signed_otherwise(ca: TestAuthority, algorithm: dict[str, Any], signer: Callable[[Any, bytes], bytes]) -> CaseInput:
    """A certificate that its authority has signed with another algorithm, and says so inside and outside."""
    holder = ca.holder(ca.generation(AUTHENTICATION))
    identifier = algos.SignedDigestAlgorithm(algorithm)
    body = ca.changed(holder, lambda found: found.__setitem__("signature", identifier))
    return asked(ca, holder, ca.put_together(body, lambda data: signer(holder.issuer.key, data), identifier.dump()))


@case("certificate/signed-with-sha-1", "SHA-1 binds nobody any more. (JPKI profile; CRYPTREC)", Finding.OFF_PROFILE)
def _(ca: TestAuthority) -> CaseInput:
    return _signed_otherwise(ca, {"algorithm": "sha1_rsa", "parameters": core.Null()},
                             lambda key, data: key.sign(data, padding.PKCS1v15(), hashes.SHA1()))  # fmt: skip


@case(
    "certificate/signed-with-pss",
    "The authority signs with PKCS #1 v1.5; a signature of another form is not its. (JPKI profile)",
    Finding.OFF_PROFILE,
)
def _(ca: TestAuthority) -> CaseInput:
    parameters = {"hash_algorithm": {"algorithm": "sha256"}, "salt_length": 32,
                  "mask_gen_algorithm": {"algorithm": "mgf1", "parameters": {"algorithm": "sha256"}}}  # fmt: skip
    return _signed_otherwise(
        ca, {"algorithm": "rsassa_pss", "parameters": algos.RSASSAPSSParams(parameters)},
        lambda key, data: key.sign(data, padding.PSS(padding.MGF1(hashes.SHA256()), 32), hashes.SHA256()),
    )  # fmt: skip


@case(
    "certificate/one-algorithm-inside-and-another-outside",
    "The algorithm that is signed is the one that is used. (RFC 5280, 4.1.1.2)",
    Finding.OFF_PROFILE,
)
def _(ca: TestAuthority) -> CaseInput:
    holder = ca.holder(ca.generation(AUTHENTICATION))
    inside = algos.SignedDigestAlgorithm({"algorithm": "sha512_rsa", "parameters": core.Null()})
    return asked(ca, holder, ca.resigned(holder, lambda body: body.__setitem__("signature", inside)))


@case("certificate/serial-number-zero", "Serial numbers are positive. (RFC 5280, 4.1.2.2)", Finding.OFF_PROFILE)
def _(ca: TestAuthority) -> CaseInput:
    holder = ca.holder(ca.generation(AUTHENTICATION))
    return asked(ca, holder, ca.resigned(holder, lambda body: body.__setitem__("serial_number", 0)))


@case("certificate/a-negative-serial-number", "Serial numbers are positive. (RFC 5280, 4.1.2.2)", Finding.OFF_PROFILE)
def _(ca: TestAuthority) -> CaseInput:
    holder = ca.holder(ca.generation(AUTHENTICATION))
    return asked(ca, holder, ca.resigned(holder, lambda body: body.__setitem__("serial_number", -5)))


@case(
    "certificate/a-serial-number-of-twenty-bytes",
    "The authority counts: nobody has a number of more than 64 bits. (JPKI, issue number)",
    Finding.OFF_PROFILE,
)
def _(ca: TestAuthority) -> CaseInput:
    return asked(ca, ca.holder(ca.generation(AUTHENTICATION), CertificateTemplate(serial=1 << 150)))


@case(
    "certificate/version-two",
    "A certificate has version 3, or its extensions mean nothing. (RFC 5280, 4.1.2.1)",
    Finding.MALFORMED,
)
def _(ca: TestAuthority) -> CaseInput:
    holder = ca.holder(ca.generation(AUTHENTICATION))
    return asked(ca, holder, ca.resigned(holder, lambda body: body.__setitem__("version", "v2")))


@case(
    "certificate/version-one-with-extensions",
    "Version 1 has no extensions, and those that are there must not be believed. (RFC 5280, 4.1.2.1)",
    Finding.OFF_PROFILE,
)
def _(ca: TestAuthority) -> CaseInput:
    holder = ca.holder(ca.generation(AUTHENTICATION))
    return asked(ca, holder, ca.resigned(holder, lambda body: body.__setitem__("version", "v1")))


@case(
    "certificate/a-signature-with-unused-bits",
    "A signature is whole bytes: with unused bits one certificate would have several forms. (X.690, 11.2)",
    Finding.OFF_PROFILE,
)
def _(ca: TestAuthority) -> CaseInput:
    made = (ca.holder(ca.generation(AUTHENTICATION)) for _ in count())
    holder = next(found for found in made if found.der[-1] % 2 == 0)  # the bit that does not count is zero
    place = len(holder.der) - len(holder.certificate.signature) - 1
    return asked(ca, holder, holder.der[:place] + b"\x01" + holder.der[place + 1 :])


@case("certificate/bytes-behind-it", "A certificate ends where it ends. (X.690)", Finding.MALFORMED)
def _(ca: TestAuthority) -> CaseInput:
    holder = ca.holder(ca.generation(AUTHENTICATION))
    return asked(ca, holder, holder.der + b"\x00")


@case("certificate/cut-off", "Half a certificate is none. (X.690)", Finding.MALFORMED)
def _(ca: TestAuthority) -> CaseInput:
    holder = ca.holder(ca.generation(AUTHENTICATION))
    return asked(ca, holder, holder.der[:700])


@case(
    "certificate/far-too-long",
    "What is many times as long as any certificate is not read at all. (prudence)",
    Finding.MALFORMED,
)
def _(ca: TestAuthority) -> CaseInput:
    holder = ca.holder(ca.generation(AUTHENTICATION))
    return asked(ca, holder, holder.der + bytes(1 << 20))


@case("certificate/nothing", "Nothing is no certificate. (X.690)", Finding.MALFORMED)
def _(ca: TestAuthority) -> CaseInput:
    return asked(ca, ca.holder(ca.generation(AUTHENTICATION)), b"\x00")


@case(
    "certificate/lasts-until-tomorrow",
    "A certificate that ends soon is as good as any other until then. (RFC 5280, 4.1.2.5)",
)
def _(ca: TestAuthority) -> CaseInput:
    return asked(ca, ca.holder(ca.generation(SIGNATURE), CertificateTemplate(ends=min(ENDS, NOW + timedelta(days=1)))))
