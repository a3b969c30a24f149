"""The ASN.1 pieces of a JPKI certificate, built with asn1crypto: no other builder leaves string types and the order of
extensions to us."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar

from asn1crypto import algos, core, keys, x509

from pki.profile import Kind, Profile

SHA256_RSA = algos.SignedDigestAlgorithm({"algorithm": "sha256_rsa", "parameters": core.Null()})


def name(*attributes: tuple[str, str]) -> Any:
    """A distinguished name, one attribute to an RDN: C as PrintableString, everything else as UTF8String."""
    return x509.Name(
        name="",
        value=x509.RDNSequence(
            [
                x509.RelativeDistinguishedName(
                    [
                        x509.NameTypeAndValue(
                            {
                                "type": kind,
                                "value": x509.DirectoryString(
                                    name="printable_string" if kind == "country_name" else "utf8_string", value=value
                                ),
                            }
                        )
                    ]
                )
                for kind, value in attributes
            ]
        ),
    )


def authority_name(profile: Profile, kind: Kind) -> Any:
    """The authority's own name."""
    return name(
        ("country_name", "JP"),
        ("organization_name", profile.organisation),
        ("organizational_unit_name", kind.unit),
        ("organizational_unit_name", profile.operator),
    )


def authority_name_ja(profile: Profile, kind: Kind) -> Any:
    """The authority's Japanese name, as one general name."""
    return x509.GeneralNames(
        [
            x509.GeneralName(
                name="directory_name",
                value=name(
                    ("country_name", "JP"),
                    ("organization_name", profile.organisation_ja),
                    ("organizational_unit_name", kind.unit_ja),
                    ("organizational_unit_name", profile.operator_ja),
                ),
            )
        ]
    )


def distribution_point(where: Any) -> Any:
    """A CRL distribution point that is a directory entry."""
    return x509.CRLDistributionPoints(
        [
            x509.DistributionPoint(
                {
                    "distribution_point": x509.DistributionPointName(
                        name="full_name", value=[x509.GeneralName(name="directory_name", value=where)]
                    )
                }
            )
        ]
    )


def partition_name(profile: Profile, kind: Kind, prefecture_romaji: str, municipality_romaji: str) -> Any:
    """The directory entry of one municipality's revocation list."""
    return name(
        ("country_name", "JP"),
        ("organization_name", profile.organisation),
        ("organizational_unit_name", kind.unit),
        ("organizational_unit_name", "CRL Distribution Points"),
        ("organizational_unit_name", prefecture_romaji),
        ("common_name", f"{municipality_romaji} CRLDP"),
    )


def policies(profile: Profile, kind: Kind) -> Any:
    """The one certificate policy, with the address of the practice statement."""
    return x509.CertificatePolicies(
        [
            x509.PolicyInformation(
                {
                    "policy_identifier": f"{profile.policy_arc}.{kind.policy}",
                    "policy_qualifiers": [
                        x509.PolicyQualifierInfo(
                            {
                                "policy_qualifier_id": "certification_practice_statement",
                                "qualifier": core.IA5String(profile.cps_uri),
                            }
                        )
                    ],
                }
            )
        ]
    )


class _OtherName(core.Sequence):  # type: ignore[misc]  # asn1crypto has no types
    _fields: ClassVar[list[tuple[Any, ...]]] = [
        ("type_id", core.ObjectIdentifier),
        ("value", core.UTF8String, {"explicit": 0}),
    ]


def other_names(values: Iterable[tuple[str, str]]) -> bytes:
    """A subjectAltName of otherNames that hold UTF8Strings, in the order given, as DER."""
    # asn1crypto tags the value of an AnotherName itself; its own class would add a second [0].
    parts = b""
    for oid, value in values:
        body = _OtherName({"type_id": oid, "value": value}).dump()
        # GeneralName [0] IMPLICIT AnotherName: the SEQUENCE tag gives way to context tag 0, constructed.
        parts += b"\xa0" + body[1:]
    return core.Sequence(contents=parts).dump()  # type: ignore[no-any-return]


def extension(oid: str, value: Any, *, critical: bool = False) -> Any:
    """One extension around a DER value."""
    der = value if isinstance(value, bytes) else value.dump()
    # The DEFAULT FALSE of `critical` must not be written.
    fields: dict[str, Any] = {"extn_id": oid, "extn_value": core.ParsableOctetString(der)}
    if critical:
        fields["critical"] = True
    return x509.Extension(fields)


def to_be_signed(
    serial: int, issuer: Any, subject: Any, validity: tuple[Any, Any], public_key: bytes, extensions: list[Any]
) -> Any:
    """The signed part of a version 3 certificate; `validity` in aware datetimes, `public_key` as DER."""
    begin, end = validity
    return x509.TbsCertificate(
        {
            "version": "v3",
            "serial_number": serial,
            "signature": SHA256_RSA,
            "issuer": issuer,
            "validity": {
                "not_before": x509.Time(name="utc_time", value=begin),
                "not_after": x509.Time(name="utc_time", value=end),
            },
            "subject": subject,
            "subject_public_key_info": keys.PublicKeyInfo.load(public_key),
            "extensions": extensions,
        }
    )
