"""A holder's certificate: what it says, once every rule of its profile has been found kept.

`RULES` has every rule, with a stable code. The docstring of its check gives its source. A certificate that keeps them
is a `HolderCertificate`, whose fields need no second look. Who signed it, and whether it is revoked, is another
matter (`kazashi.relying_party.verify.verification`).
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
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.utils import CryptographyDeprecationWarning
from cryptography.x509.oid import ExtendedKeyUsageOID, ExtensionOID, NameOID

from kazashi.jpki.profile import EMULATED, CertificateType, Medium, Profile
from kazashi.relying_party.verify.anchors import ECDSA_SHA384, RSA_SHA256, PublicKey, usable
from kazashi.relying_party.verify.attributes import FourAttributes, four_attributes
from kazashi.relying_party.verify.finding import Finding, VerificationFailed

# A rule below refuses what the library warns of, in words that reach whoever asked for the verdict.
warnings.filterwarnings("ignore", "Parsed a serial number which wasn't positive", CryptographyDeprecationWarning)

MAX_CERTIFICATE = 8192
"""Bytes. The longest name and address make some 3,000."""

_LONGEST = timedelta(days=366 * 11)
"""Six birthdays today; the next card's certificates last ten years, and up to one more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HolderCertificate:
    """A certificate that keeps its profile. `authority_key` is the identifier of the key that is said to have signed
    it; `partition` its distribution point, a name; `attributes` are there in a signature certificate."""

    der: bytes
    parsed: x509.Certificate
    kind: CertificateType
    medium: Medium
    serial: int
    not_before: datetime
    not_after: datetime
    key: PublicKey
    authority_key: bytes
    partition: x509.Name
    attributes: FourAttributes | None

    @property
    def municipality(self) -> tuple[str, str]:
        """Prefecture and municipality of issue, in romaji, as the distribution point names them."""
        prefecture = self.partition.get_attributes_for_oid(NameOID.ORGANIZATIONAL_UNIT_NAME)[-1].value
        common_name = self.partition.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value
        return str(prefecture), str(common_name).removesuffix(_PARTITION_ENDING)

    def as_dict(self) -> dict[str, Any]:
        """The certificate as JSON has it."""
        return {
            "kind": self.kind.code,
            "medium": self.medium.value,
            "serial": f"{self.serial:X}",
            "not_before": self.not_before.isoformat(),
            "not_after": self.not_after.isoformat(),
            "authority_key": self.authority_key.hex(),
            "municipality": "/".join(self.municipality),
            "attributes": self.attributes.as_dict() if self.attributes else None,
        }


_PARTITION_ENDING = " CRLDP"


class _Unverified:
    """A certificate about which nothing is known yet, with its extensions by their OID."""

    __slots__ = ("extensions", "kind", "parsed")

    def __init__(self, parsed: x509.Certificate, kind: CertificateType) -> None:
        self.parsed = parsed
        self.kind = kind
        self.extensions = {extension.oid: extension for extension in parsed.extensions}

    def value(self, oid: x509.ObjectIdentifier) -> Any:
        """An extension's value; None without it."""
        found = self.extensions.get(oid)
        return found.value if found is not None else None


Check = Callable[[_Unverified], str | None]
"""Returns what is wrong with a certificate, or None."""


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule of the profile. Its code stays the same for good; verdicts name the rule in its words."""

    code: str
    words: str
    check: Check


RULES: list[Rule] = []
"""Every rule, in the order in which they are tried."""


def _rule(code: str, words: str) -> Callable[[Check], Check]:
    def register(check: Check) -> Check:
        RULES.append(Rule(code, words, check))
        return check

    return register


def _off_profile(code: str, words: str, complaint: object) -> VerificationFailed:
    return VerificationFailed(Finding.OFF_PROFILE, f"{words}: {complaint}", rule=code)


@_rule("version-three", "version three")
def _version_three(found: _Unverified) -> str | None:
    """Version 3 (RFC 5280, 4.1.2.1): only that has extensions."""
    return None if found.parsed.version is x509.Version.v3 else f"version {found.parsed.version.name}"


@_rule("serial-number", "serial number")
def _serial_number(found: _Unverified) -> str | None:
    """A positive serial number of at most 64 bits: the authority counts up (issue number, 発行の番号)."""
    return None if 0 < found.parsed.serial_number < 1 << 64 else "a serial number that no authority gives out"


@_rule("signature-algorithm", "signature algorithm")
def _signature_algorithm(found: _Unverified) -> str | None:
    """sha256WithRSAEncryption, or ecdsa-with-SHA384 for the next card; SHA-1 ended in 2019."""
    algorithm = found.parsed.signature_algorithm_oid
    return None if algorithm in (RSA_SHA256, ECDSA_SHA384) else f"signed with {algorithm.dotted_string}"


@_rule("one-algorithm", "one algorithm")
def _one_algorithm(found: _Unverified) -> str | None:
    """The algorithm that is signed is the one that is named outside (RFC 5280, 4.1.1.2): the last field but one before
    the signature, and the third of the body, as bytes."""
    whole = found.parsed.public_bytes(Encoding.DER)
    body = found.parsed.tbs_certificate_bytes
    outside = whole[whole.index(body) + len(body) :]
    algorithm = outside[: 2 + outside[1]]
    return None if algorithm in body[: body.index(found.parsed.issuer.public_bytes())] else "two algorithms"


@_rule("whole-bytes", "whole bytes")
def _whole_bytes(found: _Unverified) -> str | None:
    """The signature is whole bytes: with unused bits a certificate would have several forms (X.690, 11.2)."""
    return None if found.parsed.public_bytes(Encoding.DER)[-len(found.parsed.signature) - 1] == 0 else "unused bits"


@_rule("holder-key", "holder key")
def _holder_key(found: _Unverified) -> str | None:
    """RSA-2048 with exponent 65537, or P-384: the keys that cards make."""
    return None if usable(found.parsed.public_key()) is not None else "a key that no card makes"


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
def _not_an_authority(found: _Unverified) -> str | None:
    """No basicConstraints, and above all none that says CA (GHSA-58hw-cg5m-88rp): a holder is no authority."""
    constraints = found.value(ExtensionOID.BASIC_CONSTRAINTS)
    if constraints is None:
        return None
    return "it claims to be an authority's" if constraints.ca else "basicConstraints, which no holder's has"


@_rule("key-usage", "key usage")
def _key_usage(found: _Unverified) -> str | None:
    """digitalSignature alone for authentication, digitalSignature and nonRepudiation for signatures."""
    usage = found.value(ExtensionOID.KEY_USAGE)
    if usage is None:
        return "no key usage"
    others = (usage.key_encipherment, usage.data_encipherment, usage.key_agreement, usage.key_cert_sign, usage.crl_sign)
    fits = (
        usage.digital_signature
        and usage.content_commitment is (found.kind is CertificateType.SIGNATURE)
        and not any(others)
    )
    return None if fits else "another key usage than its kind has"


@_rule("extended-key-usage", "extended key usage")
def _extended_key_usage(found: _Unverified) -> str | None:
    """clientAuth alone for authentication; a signature certificate has no extended usage."""
    usage = found.value(ExtensionOID.EXTENDED_KEY_USAGE)
    if found.kind is CertificateType.SIGNATURE:
        return None if usage is None else "an extended key usage, which a signature certificate does not have"
    return None if usage is not None and list(usage) == [ExtendedKeyUsageOID.CLIENT_AUTH] else "not for clientAuth"


@_rule("extensions-as-they-are", "extensions as they are")
def _extensions_as_they_are(found: _Unverified) -> str | None:
    """The kind's seven or eight extensions, no other, and critical where the profile has them so. What is critical and
    not understood must be refused (RFC 5280, 4.2)."""
    expected = _EXTENSIONS[found.kind]
    for oid, extension in found.extensions.items():
        if oid not in expected:
            return f"an extension {oid.dotted_string} that its kind does not have"
        if extension.critical is not expected[oid]:
            return f"the extension {oid.dotted_string} is {'' if extension.critical else 'not '}critical"
    missing = expected.keys() - found.extensions.keys()
    return f"no extension {min(oid.dotted_string for oid in missing)}" if missing else None


@_rule("names-by-key", "names by key")
def _names_by_key(found: _Unverified) -> str | None:
    """The issuer's key is named by its identifier, and the holder's key has the one that follows from it (RFC 5280,
    4.2.1.2, method 1)."""
    authority = found.value(ExtensionOID.AUTHORITY_KEY_IDENTIFIER)
    if authority.key_identifier is None:
        return "it does not say with which key it was signed"
    if authority.authority_cert_issuer is not None:
        named = [name.value for name in authority.authority_cert_issuer if isinstance(name, x509.DirectoryName)]
        if named != [found.parsed.issuer]:
            return "the authority's key is said to be another authority's"
    own = x509.SubjectKeyIdentifier.from_public_key(found.parsed.public_key())
    return None if found.value(ExtensionOID.SUBJECT_KEY_IDENTIFIER) == own else "another key's identifier"


@_rule("subject", "subject")
def _subject(found: _Unverified) -> str | None:
    """C=JP and a common name; a signature certificate has prefecture and municipality between them."""
    shape = [attribute.oid for attribute in found.parsed.subject]
    expected = [NameOID.COUNTRY_NAME, NameOID.COMMON_NAME]
    if found.kind is CertificateType.SIGNATURE:
        expected[1:1] = [NameOID.LOCALITY_NAME, NameOID.LOCALITY_NAME]
    if shape != expected or found.parsed.subject.get_attributes_for_oid(NameOID.COUNTRY_NAME)[0].value != "JP":
        return "a subject of another shape"
    return None


@_rule("distribution-point", "distribution point")
def _distribution_point(found: _Unverified) -> str | None:
    """One distribution point, a directory entry of one municipality."""
    points = found.value(ExtensionOID.CRL_DISTRIBUTION_POINTS)
    if len(points) != 1 or points[0].reasons is not None or points[0].crl_issuer is not None:
        return "not one plain distribution point"
    named = points[0].full_name
    if named is None or len(named) != 1 or not isinstance(named[0], x509.DirectoryName):
        return "a distribution point that is no directory entry"
    units = named[0].value.get_attributes_for_oid(NameOID.ORGANIZATIONAL_UNIT_NAME)
    common_names = named[0].value.get_attributes_for_oid(NameOID.COMMON_NAME)
    if len(units) != 3 or units[0].value != found.kind.unit or len(common_names) != 1:
        return "a distribution point that is no municipality's of this authority"
    return None if str(common_names[0].value).endswith(_PARTITION_ENDING) else "a distribution point of another name"


@_rule("lifetime", "lifetime")
def _lifetime(found: _Unverified) -> str | None:
    """It ends after it begins, within the years that a certificate can last, and both to the second."""
    lasts = found.parsed.not_valid_after_utc - found.parsed.not_valid_before_utc
    return None if timedelta() < lasts <= _LONGEST else "it lasts for longer than a certificate does, or not at all"


@lru_cache(maxsize=8)
def _policies(profile: Profile) -> dict[str, tuple[CertificateType, Medium]]:
    return {profile.policy(kind, medium): (kind, medium) for kind in CertificateType for medium in Medium}


_UNREADABLE = (ValueError, TypeError, UnsupportedAlgorithm, x509.InvalidVersion, x509.DuplicateExtension,
               x509.UnsupportedGeneralNameType)  # fmt: skip


def read_certificate(unverified_certificate: bytes, profile: Profile = EMULATED) -> HolderCertificate:
    """Take a certificate (DER) apart and hold it against its profile. Raises VerificationFailed, with MALFORMED,
    WRONG_KIND (where
    its policy is none of the profile's) or OFF_PROFILE."""
    if len(unverified_certificate) > MAX_CERTIFICATE:
        raise VerificationFailed(Finding.MALFORMED, f"a certificate has at most {MAX_CERTIFICATE} bytes")
    try:
        parsed = x509.load_der_x509_certificate(unverified_certificate)
        kind, medium = _kind(parsed, profile)
        unverified = _Unverified(parsed, kind)
        for rule in RULES:
            if complaint := rule.check(unverified):
                raise _off_profile(rule.code, rule.words, complaint)
        return HolderCertificate(
            der=unverified_certificate,
            parsed=parsed,
            kind=kind,
            medium=medium,
            serial=parsed.serial_number,
            not_before=parsed.not_valid_before_utc,
            not_after=parsed.not_valid_after_utc,
            key=parsed.public_key(),  # type: ignore[arg-type]  # the rules have seen to it
            authority_key=unverified.value(ExtensionOID.AUTHORITY_KEY_IDENTIFIER).key_identifier,
            partition=unverified.value(ExtensionOID.CRL_DISTRIBUTION_POINTS)[0].full_name[0].value,
            attributes=_attributes(unverified) if kind is CertificateType.SIGNATURE else None,
        )
    except _UNREADABLE as error:
        raise VerificationFailed(Finding.MALFORMED, f"this is no certificate that could be read: {error}") from error


def _kind(parsed: x509.Certificate, profile: Profile) -> tuple[CertificateType, Medium]:
    """What the certificate is for, by its policy."""
    try:
        policies = parsed.extensions.get_extension_for_class(x509.CertificatePolicies).value
    except x509.ExtensionNotFound as error:
        raise _off_profile("certificate-policies", "certificate policies", "there is none") from error
    if len(policies) != 1:
        raise _off_profile("certificate-policies", "certificate policies", f"{len(policies)}, where a profile has one")
    dotted = policies[0].policy_identifier.dotted_string
    if dotted not in _policies(profile):
        raise _off_profile("certificate-policies", "certificate policies", f"{dotted} is none of this service")
    return _policies(profile)[dotted]


def _attributes(found: _Unverified) -> FourAttributes:
    names = []
    for name in found.value(ExtensionOID.SUBJECT_ALTERNATIVE_NAME):
        if not isinstance(name, x509.OtherName):
            raise _off_profile("four-attributes", "four attributes", "a name among them that is none of theirs")
        value = core.load(name.value, strict=True)
        if not isinstance(value, core.UTF8String):
            raise _off_profile("four-attributes", "four attributes", "a value that is no UTF8String")
        names.append((name.type_id.dotted_string, str(value.native)))
    try:
        return four_attributes(names)
    except ValueError as error:
        raise _off_profile("four-attributes", "four attributes", error) from error
