"""Certificate requests, and the subject and extensions of the certificates that the authorities issue."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from random import Random
from string import ascii_uppercase, digits

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from kazashi.jpki.profile import OTHER_NAME_ARC, Algorithm, CertificateType, Medium, Profile
from kazashi.pki import asn1, der
from kazashi.pki.characters import substituted
from kazashi.resident_registry.resident import Resident, Sex
from kazashi.world.clock import JST

MAX_ADDRESS = 200

_BASE_36 = digits + ascii_uppercase
_SEX = {Sex.MALE: "1", Sex.FEMALE: "2", Sex.UNKNOWN: "3", Sex.NOT_APPLICABLE: "3"}


class NoProofOfPossession(Exception):
    """The request does not prove possession of a private key that the authority certifies; nothing was issued."""


@dataclass(frozen=True, slots=True)
class CertificateRequest:
    """A request for a certificate: the holder, the key and the validity period.

    `certification_request` is a PKCS#10 request as DER, signed with the key itself as proof of possession. `medium_id`
    names the card or phone that holds the key, and `renews` is the serial number of the certificate to replace.
    `identifier` is the requester's own identifier: an authority responds to a repeated one with the certificate
    that it has issued. Without one, the public key identifies the request. Raises ValueError if the address is too
    long or the validity period is empty.
    """

    resident: Resident
    certification_request: bytes
    not_before: datetime
    not_after: datetime
    medium: Medium = Medium.CARD
    medium_id: str = ""
    renews: int | None = None
    identifier: str = ""

    def __post_init__(self) -> None:
        if len(self.resident.address) > MAX_ADDRESS:
            raise ValueError(
                f"the address has {len(self.resident.address)} characters; a certificate holds at most {MAX_ADDRESS}"
            )
        if self.not_after <= self.not_before:
            raise ValueError(
                f"the certificate would end at {self.not_after}, before it begins; "
                "check whether the card or the period of stay has ended"
            )

    @property
    def digest(self) -> bytes:
        """A digest of key and holder, which distinguishes requests with the same identifier.

        The signature of an EC key is left out: it is another one each time that the same request is made.
        """
        request = x509.load_der_x509_csr(self.certification_request)
        with_ec_key = request.signature_algorithm_oid == x509.SignatureAlgorithmOID.ECDSA_WITH_SHA384
        content = request.tbs_certrequest_bytes if with_ec_key else self.certification_request
        return hashlib.sha256(content + self.resident.code.encode()).digest()

    def proven_key(self, algorithm: Algorithm) -> bytes:
        """Return the public key as SubjectPublicKeyInfo.

        Raises NoProofOfPossession if the request does not prove possession of the private key, or if the key is not
        of the given algorithm.
        """
        try:
            request = x509.load_der_x509_csr(self.certification_request)
            key, proven = request.public_key(), request.is_signature_valid
        except (ValueError, UnsupportedAlgorithm, InvalidSignature) as error:
            raise NoProofOfPossession("the request is not a readable PKCS#10 certification request") from error
        if not proven:
            raise NoProofOfPossession("the request's signature does not verify with the key in the request")
        fits = (
            isinstance(key, rsa.RSAPublicKey) and key.key_size == 2048 and key.public_numbers().e == 65537
            if algorithm is Algorithm.RSA_2048
            else isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, ec.SECP384R1)
        )
        if not fits:
            raise NoProofOfPossession(
                f"the authority certifies {algorithm.value} keys only; request one for such a key"
            )
        return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def subject(kind: CertificateType, request: CertificateRequest, serial: int, rng: Random) -> bytes:
    """The holder's distinguished name. Its common name has the office and the day, and is unique to the certificate."""
    municipality = request.resident.municipality
    if kind is CertificateType.AUTHENTICATION:
        return der.name(("C", "JP"), ("CN", _authentication_common_name(request, serial, rng)))
    instant = request.not_before.astimezone(JST)
    return der.name(
        ("C", "JP"),
        ("L", municipality.prefecture_romaji),
        ("L", municipality.romaji),
        ("CN", f"{instant:%Y%m%d%H%M%S}{municipality.code}{serial % 10**9:09d}"),
    )


def _authentication_common_name(request: CertificateRequest, serial: int, rng: Random) -> str:
    """23 characters: a running number, 4, the year's low byte in hexadecimal, the month in hexadecimal, the day in
    base 36, four letters, the municipality, 003A. The fields are public; how the real authority fills them is not."""
    day = request.not_before.astimezone(JST)
    letters = "".join(rng.choices(ascii_uppercase, k=4))
    stamp = f"{day.year & 0xFF:02X}{day.month:X}{_BASE_36[day.day]}"
    return f"{serial % 10**5:05d}4{stamp}{letters}{request.resident.municipality.code}003A"


_USAGE = {
    CertificateType.AUTHENTICATION: der.extension(der.KEY_USAGE, asn1.bits(b"\x80", 7), critical=True),
    CertificateType.SIGNATURE: der.extension(der.KEY_USAGE, asn1.bits(b"\xc0", 6), critical=True),
}
"""digitalSignature for authentication; digitalSignature and nonRepudiation for signatures."""

_CLIENT = der.extension(der.EXTENDED_KEY_USAGE, asn1.sequence(asn1.oid(der.CLIENT_AUTHENTICATION)))


def end_entity_extensions(
    profile: Profile, kind: CertificateType, request: CertificateRequest, public_key: bytes, issuer: bytes
) -> Sequence[bytes]:
    """The extensions of a holder's certificate in the order of its profile; `issuer` is the authorityKeyIdentifier
    extension."""
    municipality = request.resident.municipality
    partition = der.partition_attributes(profile, kind, municipality.prefecture_romaji, municipality.romaji)
    shared = (
        der.policies(profile, kind, request.medium),
        _issuer_alternative_name(profile, kind),
        der.distribution_point(partition),
    )
    identifiers = (issuer, der.subject_key_identifier(public_key))
    if kind is CertificateType.AUTHENTICATION:
        return (_USAGE[kind], _CLIENT, *shared, der.ocsp_location(profile.ocsp_uri), *identifiers)
    return (_USAGE[kind], der.other_names(_four_attributes(profile, request.resident)), *shared, *identifiers)


@lru_cache(maxsize=16)
def _issuer_alternative_name(profile: Profile, kind: CertificateType) -> bytes:
    return der.extension(der.ISSUER_ALT_NAME, der.authority_alternative_name(profile, kind))


def _four_attributes(profile: Profile, resident: Resident) -> list[tuple[str, str]]:
    """The OIDs and values of name, date of birth, sex, address and the two strings of substitution flags, in the order
    of the profile."""
    name, name_flags = substituted(str(resident.name), profile.substitute)
    address, address_flags = substituted(resident.address, profile.substitute)
    values = (
        (1, name),
        (4, resident.birth.era_digit + str(resident.birth)),
        (3, _SEX[resident.sex]),
        (5, address),
        (2, name_flags),
        (6, address_flags),
    )
    return [(f"{OTHER_NAME_ARC}.{number}", value) for number, value in values]


_AUTHORITY_USAGE = der.extension(der.KEY_USAGE, asn1.bits(b"\x06", 1), critical=True)
"""keyCertSign and cRLSign."""

_AUTHORITY_CONSTRAINTS = der.extension(der.BASIC_CONSTRAINTS, asn1.sequence(asn1.TRUE), critical=True)


def root_extensions(profile: Profile, kind: CertificateType, public_key: bytes) -> Sequence[bytes]:
    """The five extensions of an authority's own certificate, in the order of its profile."""
    return (
        _AUTHORITY_USAGE,
        der.extension(der.SUBJECT_ALT_NAME, der.authority_alternative_name(profile, kind)),
        _AUTHORITY_CONSTRAINTS,
        der.distribution_point(der.authority_attributes(profile, kind)),
        der.subject_key_identifier(public_key),
    )


def responder_extensions(issuer: bytes, public_key: bytes) -> Sequence[bytes]:
    """The extensions of an OCSP responder's certificate, with id-pkix-ocsp-nocheck: clients need not check its own
    revocation status."""
    return (
        _USAGE[CertificateType.AUTHENTICATION],
        der.extension(der.EXTENDED_KEY_USAGE, asn1.sequence(asn1.oid(der.OCSP_SIGNING))),
        der.extension("1.3.6.1.5.5.7.48.1.5", asn1.tlv(asn1.NULL)),
        issuer,
        der.subject_key_identifier(public_key),
    )
