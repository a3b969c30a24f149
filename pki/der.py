"""DER encoding of the parts of a JPKI certificate. Parts that many certificates share are encoded once and cached."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from datetime import datetime
from functools import lru_cache

from kazashi.jpki.profile import Algorithm, CertificateType, Medium, Profile
from kazashi.pki import asn1

_ATTRIBUTES = {"C": "2.5.4.6", "O": "2.5.4.10", "OU": "2.5.4.11", "L": "2.5.4.7", "CN": "2.5.4.3"}

SIGNATURE_ALGORITHM = {
    Algorithm.RSA_2048: asn1.sequence(asn1.oid("1.2.840.113549.1.1.11"), asn1.ABSENT_PARAMETERS),
    Algorithm.P_384: asn1.sequence(asn1.oid("1.2.840.10045.4.3.3")),
}
"""AlgorithmIdentifiers: sha256WithRSAEncryption with NULL parameters, ecdsa-with-SHA384 without parameters."""

KEY_USAGE, SUBJECT_ALT_NAME, ISSUER_ALT_NAME = "2.5.29.15", "2.5.29.17", "2.5.29.18"
BASIC_CONSTRAINTS, DISTRIBUTION_POINTS, POLICIES = "2.5.29.19", "2.5.29.31", "2.5.29.32"
AUTHORITY_KEY_IDENTIFIER, SUBJECT_KEY_IDENTIFIER = "2.5.29.35", "2.5.29.14"
EXTENDED_KEY_USAGE, AUTHORITY_INFORMATION = "2.5.29.37", "1.3.6.1.5.5.7.1.1"
CRL_NUMBER, ISSUING_DISTRIBUTION_POINT, REASON_CODE = "2.5.29.20", "2.5.29.28", "2.5.29.21"
CLIENT_AUTHENTICATION, OCSP_SIGNING = "1.3.6.1.5.5.7.3.2", "1.3.6.1.5.5.7.3.9"

Relative = tuple[str, str]
"""One attribute of a name: its short type (C, O, OU, L, CN) and its value."""


def authority_attributes(profile: Profile, kind: CertificateType) -> tuple[Relative, ...]:
    """The attributes of an authority's distinguished name."""
    return (("C", "JP"), ("O", profile.organisation), ("OU", kind.unit), ("OU", profile.operator))


def partition_attributes(
    profile: Profile, kind: CertificateType, prefecture_romaji: str, municipality_romaji: str
) -> tuple[Relative, ...]:
    """The name of the directory entry of one municipality's revocation list."""
    return (
        ("C", "JP"),
        ("O", profile.organisation),
        ("OU", kind.unit),
        ("OU", "CRL Distribution Points"),
        ("OU", prefecture_romaji),
        ("CN", f"{municipality_romaji} CRLDP"),
    )


def name(*attributes: Relative) -> bytes:
    """A distinguished name with one attribute per RDN: C as PrintableString, everything else as UTF8String."""
    return asn1.sequence(
        *(
            asn1.tlv(
                asn1.SET,
                asn1.sequence(
                    asn1.oid(_ATTRIBUTES[kind]),
                    asn1.tlv(asn1.PRINTABLE if kind == "C" else asn1.UTF8, value.encode()),
                ),
            )
            for kind, value in attributes
        )
    )


@lru_cache(maxsize=64)
def authority_name(profile: Profile, kind: CertificateType) -> bytes:
    """An authority's distinguished name as DER."""
    return name(*authority_attributes(profile, kind))


def directory_name(attributes: Iterable[Relative]) -> bytes:
    """A GeneralName of the form directoryName."""
    return asn1.explicit(4, name(*attributes))


def extension(oid: str, value: bytes, *, critical: bool = False) -> bytes:
    """An extension with a DER value. `critical` is encoded only if it is true, because FALSE is the default."""
    return asn1.sequence(asn1.oid(oid), asn1.TRUE if critical else b"", asn1.octets(value))


@lru_cache(maxsize=64)
def authority_alternative_name(profile: Profile, kind: CertificateType) -> bytes:
    """An authority's Japanese name as GeneralNames: the same in its own certificate and in all that it issues."""
    return asn1.sequence(
        directory_name(
            (
                ("C", "JP"),
                ("O", profile.organisation_ja),
                ("OU", kind.unit_ja),
                ("OU", profile.operator_ja),
            )
        )
    )


def full_name(attributes: Iterable[Relative]) -> bytes:
    """A DistributionPointName with the name of a directory entry."""
    return asn1.explicit(0, asn1.explicit(0, directory_name(attributes)))


@lru_cache(maxsize=4096)
def distribution_point(attributes: tuple[Relative, ...]) -> bytes:
    """The cRLDistributionPoints extension with one distribution point, a directory entry."""
    return extension(DISTRIBUTION_POINTS, asn1.sequence(asn1.sequence(full_name(attributes))))


@lru_cache(maxsize=64)
def policies(profile: Profile, kind: CertificateType, medium: Medium) -> bytes:
    """The certificatePolicies extension with one policy and the URI of the practice statement."""
    qualifier = asn1.sequence(asn1.oid("1.3.6.1.5.5.7.2.1"), asn1.tlv(asn1.IA5, profile.cps_uri.encode("ascii")))
    policy = asn1.sequence(asn1.oid(profile.policy(kind, medium)), asn1.sequence(qualifier))
    return extension(POLICIES, asn1.sequence(policy), critical=True)


@lru_cache(maxsize=64)
def authority_key_identifier(profile: Profile, kind: CertificateType, key_identifier: bytes, serial: int) -> bytes:
    """The authorityKeyIdentifier extension, which names a generation by key, issuer and serial number."""
    return extension(
        AUTHORITY_KEY_IDENTIFIER,
        asn1.sequence(
            asn1.implicit(0, key_identifier),
            asn1.explicit(1, directory_name(authority_attributes(profile, kind))),
            asn1.implicit(2, asn1.integer(serial)[2:]),
        ),
    )


def key_identifier(public_key: bytes) -> bytes:
    """The SHA-1 of the key bits in a SubjectPublicKeyInfo (RFC 5280, 4.2.1.2, method 1). Raises MalformedDer."""
    fields = asn1.Reader(public_key).inside(asn1.SEQUENCE)
    fields.skip()
    return hashlib.sha1(fields.contents(asn1.BIT_STRING)[1:], usedforsecurity=False).digest()


def subject_key_identifier(public_key: bytes) -> bytes:
    """The subjectKeyIdentifier extension for a SubjectPublicKeyInfo. Raises MalformedDer."""
    return extension(SUBJECT_KEY_IDENTIFIER, asn1.octets(key_identifier(public_key)))


def ocsp_location(uri: str) -> bytes:
    """The authorityInfoAccess extension with the URI of the OCSP responder."""
    access = asn1.sequence(asn1.oid("1.3.6.1.5.5.7.48.1"), asn1.implicit(6, uri.encode("ascii")))
    return extension(AUTHORITY_INFORMATION, asn1.sequence(access))


def other_names(values: Iterable[tuple[str, str]]) -> bytes:
    """The subjectAltName extension with otherNames: pairs of OID and UTF8String value, in the given order."""
    names = (asn1.explicit(0, asn1.oid(oid), asn1.explicit(0, asn1.utf8(value))) for oid, value in values)
    return extension(SUBJECT_ALT_NAME, asn1.sequence(*names))


def to_be_signed(
    serial: int,
    algorithm: Algorithm,
    issuer: bytes,
    subject: bytes,
    validity: tuple[datetime, datetime],
    public_key: bytes,
    extensions: Iterable[bytes],
) -> bytes:
    """The TBSCertificate of a version 3 certificate.

    `issuer`, `subject` and the extensions are DER, `validity` is (notBefore, notAfter), and `public_key` is a
    SubjectPublicKeyInfo.
    """
    return asn1.sequence(
        asn1.explicit(0, asn1.integer(2)),
        asn1.integer(serial),
        SIGNATURE_ALGORITHM[algorithm],
        issuer,
        asn1.sequence(asn1.time(validity[0]), asn1.time(validity[1])),
        subject,
        public_key,
        asn1.explicit(3, asn1.sequence(*extensions)),
    )


def signed(body: bytes, algorithm: Algorithm, signature: bytes) -> bytes:
    """A signed object: the body, its algorithm and its signature, as in a certificate or a revocation list."""
    return asn1.sequence(body, SIGNATURE_ALGORITHM[algorithm], asn1.bits(signature))
