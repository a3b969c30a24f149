"""A holder's certificate, and the rules of its profile.

`RULES` has every rule, with a stable code. The docstring of each check gives its source. A certificate that follows all
of them becomes a `HolderCertificate`, whose fields need no further checks. Who signed it and whether it is revoked is
checked elsewhere (`kazashi.relying_party.verify.verification`).
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any

from asn1crypto import core
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.utils import CryptographyDeprecationWarning
from cryptography.x509.oid import ExtendedKeyUsageOID, ExtensionOID, NameOID

from kazashi.jpki.profile import EMULATED, CertificateType, Medium, Profile
from kazashi.jpki.serial_number import serial_text
from kazashi.relying_party.verify.anchors import ECDSA_SHA384, RSA_SHA256, PublicKey, usable
from kazashi.relying_party.verify.attributes import FourAttributes, four_attributes
from kazashi.relying_party.verify.extensions import Extensions, extensions
from kazashi.relying_party.verify.fields import CertificateFields, certificate_fields, contents
from kazashi.relying_party.verify.finding import Finding, VerificationFailed
from kazashi.relying_party.verify.malformed import trouble

# A rule below rejects what the library warns about, with a message that reaches the caller.
warnings.filterwarnings("ignore", "Parsed a serial number which wasn't positive", CryptographyDeprecationWarning)

MAX_CERTIFICATE = 8192
"""Bytes. With the longest name and address a certificate has some 3,000."""

_LONGEST = timedelta(days=366 * 11)
"""Today a certificate ends on the holder's fifth birthday after issue (`Term.birthdays`). The next card's certificates
are valid for ten years and up to one more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HolderCertificate:
    """A certificate that follows its profile.

    `authority_key` is the identifier of the key that is claimed to have signed it, and `authority_serial` the serial
    number of that authority's certificate, if it is named; `partition` is the name of its distribution point;
    `attributes` is None unless it is a signature certificate.
    """

    der: bytes
    parsed: x509.Certificate
    fields: CertificateFields
    kind: CertificateType
    medium: Medium
    serial: int
    not_before: datetime
    not_after: datetime
    key: PublicKey
    authority_key: bytes
    authority_serial: int | None
    partition: x509.Name
    attributes: FourAttributes | None

    @property
    def municipality(self) -> tuple[str, str]:
        """The prefecture and municipality of issue in romaji, as the distribution point has them."""
        prefecture = self.partition.get_attributes_for_oid(NameOID.ORGANIZATIONAL_UNIT_NAME)[-1].value
        common_name = self.partition.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value
        return str(prefecture), str(common_name).removesuffix(_PARTITION_ENDING)

    def as_dict(self) -> dict[str, Any]:
        """Return the certificate as a JSON object; numbers and keys are in hexadecimal, dates in ISO 8601."""
        return {
            "kind": self.kind.code,
            "medium": self.medium.value,
            "serial": serial_text(self.serial),
            "not_before": self.not_before.isoformat(),
            "not_after": self.not_after.isoformat(),
            "authority_key": self.authority_key.hex(),
            "municipality": "/".join(self.municipality),
            "attributes": self.attributes.as_dict() if self.attributes else None,
        }


_PARTITION_ENDING = " CRLDP"


class _Unverified:
    """A certificate that no rule has checked yet, with its fields as bytes and its extensions by OID."""

    __slots__ = ("extensions", "fields", "kind", "parsed")

    def __init__(
        self, parsed: x509.Certificate, fields: CertificateFields, extensions: Extensions, kind: CertificateType
    ) -> None:
        self.parsed = parsed
        self.fields = fields
        self.extensions = extensions
        self.kind = kind

    def value(self, oid: x509.ObjectIdentifier) -> Any:
        """Return the value of an extension, or None if it is missing."""
        extension = self.extensions.get(oid)
        return extension.value if extension is not None else None


Check = Callable[[_Unverified], str | None]
"""Returns what is wrong with a certificate, or None."""


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule of the profile. Its code never changes; verdicts name the rule by `words`."""

    code: str
    words: str
    check: Check


RULES: list[Rule] = []
"""Every rule, in the order in which they are checked."""


def _rule(code: str, words: str) -> Callable[[Check], Check]:
    def register(check: Check) -> Check:
        RULES.append(Rule(code, words, check))
        return check

    return register


def _off_profile(code: str, words: str, complaint: object) -> VerificationFailed:
    return VerificationFailed(Finding.OFF_PROFILE, f"{words}: {complaint}", rule=code)


@_rule("version-three", "X.509 version")
def _version_three(certificate: _Unverified) -> str | None:
    """Version 3 (RFC 5280, 4.1.2.1), the only version with extensions."""
    return None if certificate.parsed.version is x509.Version.v3 else f"version {certificate.parsed.version.name}"


@_rule("serial-number", "serial number")
def _serial_number(certificate: _Unverified) -> str | None:
    """A positive serial number of at most 64 bits: authorities assign consecutive numbers (発行の番号)."""
    return None if 0 < certificate.parsed.serial_number < 1 << 64 else "not a serial number that an authority assigns"


@_rule("signature-algorithm", "signature algorithm")
def _signature_algorithm(certificate: _Unverified) -> str | None:
    """sha256WithRSAEncryption, or ecdsa-with-SHA384 for the next card. SHA-1 ended in 2019."""
    algorithm = certificate.parsed.signature_algorithm_oid
    return None if algorithm in (RSA_SHA256, ECDSA_SHA384) else f"signed with {algorithm.dotted_string}"


@_rule("one-algorithm", "matching algorithms")
def _one_algorithm(certificate: _Unverified) -> str | None:
    """The algorithm in the signed body equals the one outside it (RFC 5280, 4.1.1.2). The two are compared as bytes,
    with their parameters."""
    fields = certificate.fields
    return None if fields.algorithm == fields.outer_algorithm else "two different algorithms"


@_rule("whole-bytes", "whole-byte signature")
def _whole_bytes(certificate: _Unverified) -> str | None:
    """The signature is a whole number of bytes: with unused bits a certificate would have several encodings (X.690,
    11.2)."""
    unused_bits = contents(certificate.fields.signature)[0]
    return None if unused_bits == 0 else "it has unused bits"


@_rule("holder-key", "holder key")
def _holder_key(certificate: _Unverified) -> str | None:
    """RSA-2048 with exponent 65537, or P-384: the keys that cards generate."""
    return None if usable(certificate.parsed.public_key()) is not None else "not a key that a card generates"


_EXTENSIONS = {
    CertificateType.AUTHENTICATION: {
        ExtensionOID.KEY_USAGE: True, ExtensionOID.EXTENDED_KEY_USAGE: False, ExtensionOID.CERTIFICATE_POLICIES: True,
        ExtensionOID.ISSUER_ALTERNATIVE_NAME: False, ExtensionOID.CRL_DISTRIBUTION_POINTS: False,
        ExtensionOID.AUTHORITY_INFORMATION_ACCESS: False, ExtensionOID.AUTHORITY_KEY_IDENTIFIER: False,
        ExtensionOID.SUBJECT_KEY_IDENTIFIER: False,
    },
    CertificateType.SIGNATURE: {
        ExtensionOID.KEY_USAGE: True, ExtensionOID.SUBJECT_ALTERNATIVE_NAME: False,
        ExtensionOID.CERTIFICATE_POLICIES: True, ExtensionOID.ISSUER_ALTERNATIVE_NAME: False,
        ExtensionOID.CRL_DISTRIBUTION_POINTS: False, ExtensionOID.AUTHORITY_KEY_IDENTIFIER: False,
        ExtensionOID.SUBJECT_KEY_IDENTIFIER: False,
    },
}  # fmt: skip


@_rule("not-an-authority", "not an authority")
def _not_an_authority(certificate: _Unverified) -> str | None:
    """No basicConstraints, in particular none with cA true (GHSA-58hw-cg5m-88rp): a holder is not an authority."""
    constraints = certificate.value(ExtensionOID.BASIC_CONSTRAINTS)
    if constraints is None:
        return None
    return "basicConstraints with cA true" if constraints.ca else "basicConstraints, which holders' certificates lack"


@_rule("key-usage", "key usage")
def _key_usage(certificate: _Unverified) -> str | None:
    """Only digitalSignature for authentication; digitalSignature and nonRepudiation for signatures."""
    usage = certificate.value(ExtensionOID.KEY_USAGE)
    if usage is None:
        return "no key usage"
    others = (usage.key_encipherment, usage.data_encipherment, usage.key_agreement, usage.key_cert_sign, usage.crl_sign)
    fits = (
        usage.digital_signature
        and usage.content_commitment is (certificate.kind is CertificateType.SIGNATURE)
        and not any(others)
    )
    return None if fits else "not the key usage of its certificate type"


@_rule("extended-key-usage", "extended key usage")
def _extended_key_usage(certificate: _Unverified) -> str | None:
    """Only clientAuth for authentication; a signature certificate has no extended key usage."""
    usage = certificate.value(ExtensionOID.EXTENDED_KEY_USAGE)
    if certificate.kind is CertificateType.SIGNATURE:
        return None if usage is None else "a signature certificate must not have one"
    return None if usage is not None and list(usage) == [ExtendedKeyUsageOID.CLIENT_AUTH] else "not for clientAuth"


@_rule("extensions-as-they-are", "extensions")
def _extensions_as_they_are(certificate: _Unverified) -> str | None:
    """The seven or eight extensions of the certificate type and no other, each critical or not as in the profile. A
    critical extension that is not understood must be rejected (RFC 5280, 4.2)."""
    expected = _EXTENSIONS[certificate.kind]
    for oid, extension in certificate.extensions.items():
        if oid not in expected:
            return f"extension {oid.dotted_string} does not belong to its certificate type"
        if extension.critical is not expected[oid]:
            return f"extension {oid.dotted_string} is {'' if extension.critical else 'not '}critical"
    missing = expected.keys() - certificate.extensions.keys()
    return f"extension {min(oid.dotted_string for oid in missing)} is missing" if missing else None


@_rule("names-by-key", "key identifiers")
def _names_by_key(certificate: _Unverified) -> str | None:
    """The issuer's key is named by its identifier, and the identifier of the holder's key is computed from the key (RFC
    5280, 4.2.1.2, method 1)."""
    authority = certificate.value(ExtensionOID.AUTHORITY_KEY_IDENTIFIER)
    if authority.key_identifier is None:
        return "no identifier of the issuer's key"
    if authority.authority_cert_issuer is not None:
        issuers = [name.value for name in authority.authority_cert_issuer if isinstance(name, x509.DirectoryName)]
        if len(issuers) != 1 or not _same_name(issuers[0], certificate):
            return "the authority key identifier names a different issuer"
    own = certificate.value(ExtensionOID.SUBJECT_KEY_IDENTIFIER).digest
    return None if own == certificate.fields.key_identifier else "another key's identifier"


def _same_name(name: x509.Name, certificate: _Unverified) -> bool:
    """Whether a name is the issuer's. Equal bytes are compared first: they are equal in every good certificate, and
    the comparison of two parsed names takes far longer."""
    return name.public_bytes() == certificate.fields.issuer or name == certificate.parsed.issuer


@_rule("subject", "subject")
def _subject(certificate: _Unverified) -> str | None:
    """C=JP and a common name; a signature certificate has the prefecture and municipality between them."""
    oids = [attribute.oid for attribute in certificate.parsed.subject]
    expected = [NameOID.COUNTRY_NAME, NameOID.COMMON_NAME]
    if certificate.kind is CertificateType.SIGNATURE:
        expected[1:1] = [NameOID.LOCALITY_NAME, NameOID.LOCALITY_NAME]
    if oids != expected or certificate.parsed.subject.get_attributes_for_oid(NameOID.COUNTRY_NAME)[0].value != "JP":
        return "not the attributes of the profile"
    return None


@_rule("distribution-point", "distribution point")
def _distribution_point(certificate: _Unverified) -> str | None:
    """One distribution point, the directory entry of one municipality."""
    points = certificate.value(ExtensionOID.CRL_DISTRIBUTION_POINTS)
    if len(points) != 1 or points[0].reasons is not None or points[0].crl_issuer is not None:
        return "not exactly one, without reasons and CRL issuer"
    names = points[0].full_name
    if names is None or len(names) != 1 or not isinstance(names[0], x509.DirectoryName):
        return "not a directory entry"
    units = names[0].value.get_attributes_for_oid(NameOID.ORGANIZATIONAL_UNIT_NAME)
    common_names = names[0].value.get_attributes_for_oid(NameOID.COMMON_NAME)
    if len(units) != 3 or units[0].value != certificate.kind.unit or len(common_names) != 1:
        return "not the entry of a municipality of this authority"
    return None if str(common_names[0].value).endswith(_PARTITION_ENDING) else f"not named ...{_PARTITION_ENDING}"


@_rule("lifetime", "lifetime")
def _lifetime(certificate: _Unverified) -> str | None:
    """notAfter is later than notBefore, by no more than a certificate can be valid."""
    validity = certificate.parsed.not_valid_after_utc - certificate.parsed.not_valid_before_utc
    return None if timedelta() < validity <= _LONGEST else f"it is valid for {validity}"


@lru_cache(maxsize=8)
def _policies(profile: Profile) -> dict[str, tuple[CertificateType, Medium]]:
    return profile.policies()


_UNREADABLE = (ValueError, TypeError, UnsupportedAlgorithm, x509.InvalidVersion, x509.DuplicateExtension,
               x509.UnsupportedGeneralNameType)  # fmt: skip


def read_certificate(unverified_certificate: bytes, profile: Profile = EMULATED) -> HolderCertificate:
    """Parse a certificate (DER) and check it against its profile. Raises VerificationFailed with MALFORMED or
    OFF_PROFILE."""
    if len(unverified_certificate) > MAX_CERTIFICATE:
        raise VerificationFailed(Finding.MALFORMED, f"a certificate may have at most {MAX_CERTIFICATE} bytes")
    try:
        parsed = x509.load_der_x509_certificate(unverified_certificate)
        fields = certificate_fields(unverified_certificate)
        found = extensions(parsed, fields)
        kind, medium = _kind(found, profile)
        unverified = _Unverified(parsed, fields, found, kind)
        for rule in RULES:
            if complaint := rule.check(unverified):
                raise _off_profile(rule.code, rule.words, complaint)
        authority = unverified.value(ExtensionOID.AUTHORITY_KEY_IDENTIFIER)
        return HolderCertificate(
            der=unverified_certificate,
            parsed=parsed,
            fields=fields,
            kind=kind,
            medium=medium,
            serial=parsed.serial_number,
            not_before=parsed.not_valid_before_utc,
            not_after=parsed.not_valid_after_utc,
            key=parsed.public_key(),  # type: ignore[arg-type]  # checked by the rules
            authority_key=authority.key_identifier,
            authority_serial=authority.authority_cert_serial_number,
            partition=unverified.value(ExtensionOID.CRL_DISTRIBUTION_POINTS)[0].full_name[0].value,
            attributes=_attributes(unverified) if kind is CertificateType.SIGNATURE else None,
        )
    except _UNREADABLE as error:
        raise VerificationFailed(Finding.MALFORMED, f"the certificate cannot be read: {trouble(error)}") from error


def _kind(found: Extensions, profile: Profile) -> tuple[CertificateType, Medium]:
    """Return the certificate type and the medium that the certificate's policy stands for."""
    extension = found.get(ExtensionOID.CERTIFICATE_POLICIES)
    if extension is None:
        raise _off_profile("certificate-policies", "certificate policies", "the extension is missing")
    policies = extension.value
    if len(policies) != 1:
        raise _off_profile("certificate-policies", "certificate policies", f"{len(policies)} policies, not one")
    dotted = policies[0].policy_identifier.dotted_string
    if dotted not in _policies(profile):
        raise _off_profile("certificate-policies", "certificate policies", f"{dotted} is not a policy of this profile")
    return _policies(profile)[dotted]


def _attributes(certificate: _Unverified) -> FourAttributes:
    names = []
    for name in certificate.value(ExtensionOID.SUBJECT_ALTERNATIVE_NAME):
        if not isinstance(name, x509.OtherName):
            raise _off_profile("four-attributes", "four attributes", "a subject alternative name is not an otherName")
        value = core.load(name.value, strict=True)
        if not isinstance(value, core.UTF8String):
            raise _off_profile("four-attributes", "four attributes", "a value is not a UTF8String")
        names.append((name.type_id.dotted_string, str(value.native)))
    try:
        return four_attributes(names)
    except ValueError as error:
        raise _off_profile("four-attributes", "four attributes", error) from error
