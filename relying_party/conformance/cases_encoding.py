"""Cases about the keys, signature algorithms, serial numbers and encoding of a holder's certificate."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from typing import Any

from asn1crypto import algos, core
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa

from kazashi.jpki.profile import CertificateType
from kazashi.relying_party.conformance.authority import CaseInput, CertificateTemplate, TestAuthority
from kazashi.relying_party.conformance.case import RequiredBy, case
from kazashi.relying_party.conformance.cases_certificate import unrevoked
from kazashi.relying_party.verify.finding import Finding

AUTHENTICATION = CertificateType.AUTHENTICATION

# Keys and algorithms


@case(
    "certificate/a-key-of-1024-bits",
    "A card's RSA key has 2048 bits. (JPKI profile; x509-limbo: webpki::forbidden-weak-rsa-in-leaf)",
    breaks="holder-key",
)
def _(ca: TestAuthority) -> CaseInput:
    return unrevoked(
        ca, ca.holder(ca.generation(AUTHENTICATION), CertificateTemplate(key=rsa.generate_private_key(65537, 1024)))
    )


@case(
    "certificate/a-key-of-2052-bits",
    "A card's RSA key has 2048 bits, not a few more. (JPKI profile; x509-limbo: "
    "webpki::forbidden-rsa-key-not-divisible-by-8-in-leaf)",
    breaks="holder-key",
)
def _(ca: TestAuthority) -> CaseInput:
    return unrevoked(
        ca, ca.holder(ca.generation(AUTHENTICATION), CertificateTemplate(key=rsa.generate_private_key(65537, 2052)))
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
    "The only elliptic curve is the next card's, P-384. (Digital Agency, next card; x509-limbo: "
    "webpki::forbidden-p192-leaf)",
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
    "The algorithm in the signed part is the one named beside the signature. (RFC 5280, 4.1.1.2; x509-limbo: "
    "rfc5280::mismatching-signature-algorithm)",
    breaks="one-algorithm",
)
def _(ca: TestAuthority) -> CaseInput:
    holder = ca.holder(ca.generation(AUTHENTICATION))
    inside = algos.SignedDigestAlgorithm({"algorithm": "sha512_rsa", "parameters": core.Null()})
    return unrevoked(ca, holder, ca.resigned(holder, lambda body: body.__setitem__("signature", inside)))


# Serial numbers


@case(
    "certificate/serial-number-zero",
    "The authority counts serial numbers from one. (JPKI profile; RFC 5280, 4.1.2.2 demands positive numbers of CAs, "
    "and asks certificate users to handle zero gracefully; x509-limbo: rfc5280::serial::zero)",
    breaks="serial-number",
)
def _(ca: TestAuthority) -> CaseInput:
    holder = ca.holder(ca.generation(AUTHENTICATION))
    return unrevoked(ca, holder, ca.resigned(holder, lambda body: body.__setitem__("serial_number", 0)))


@case(
    "certificate/a-negative-serial-number",
    "The authority counts serial numbers from one. (JPKI profile; RFC 5280, 4.1.2.2 demands positive numbers of CAs, "
    "and asks certificate users to handle negative ones gracefully; x509-limbo: rfc5280::serial::negative)",
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
    return unrevoked(ca, ca.holder(ca.generation(AUTHENTICATION), CertificateTemplate(serial=1 << 158)))


@case(
    "certificate/a-serial-number-of-twenty-two-bytes",
    "The authority counts up: no serial number has more than 64 bits. (JPKI profile; RFC 5280, 4.1.2.2 allows 20 "
    "bytes; x509-limbo: rfc5280::serial::too-long)",
    breaks="serial-number",
)
def _(ca: TestAuthority) -> CaseInput:
    holder = ca.holder(ca.generation(AUTHENTICATION))
    return unrevoked(ca, holder, ca.resigned(holder, lambda body: body.__setitem__("serial_number", 1 << 174)))


# Encoding


@case(
    "certificate/version-two",
    "A certificate with extensions has version 3. (RFC 5280, 4.1.2.1; x509-limbo: webpki::v1-cert)",
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
