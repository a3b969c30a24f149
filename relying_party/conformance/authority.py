"""The pack's own authorities, which also issue defective certificates, lists and responses.

They are not those of `pki`: a verifier that is tested on certificates of a single program learns that program's habits.
Everything is built with `cryptography` first, and altered afterwards if a case needs a defect.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from asn1crypto import algos, core
from asn1crypto import crl as asn1_crl
from asn1crypto import x509 as asn1_x509
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID, NameOID

from kazashi.jpki.profile import EMULATED, CertificateType, Medium
from kazashi.relying_party.verify.attributes import ADDRESS, ADDRESS_FLAGS, BIRTH, NAME, NAME_FLAGS, SEX
from kazashi.world.key_source import KeySource

NOW = datetime(2026, 11, 24, 3, 0, 0, tzinfo=UTC)
"""The current time in all cases, and the time of the verdict unless a case has another one."""

BEGINS, ENDS = NOW - timedelta(days=300), NOW + timedelta(days=1200)
PLACE, ELSEWHERE = ("Tokyo-to", "Shibuya-ku"), ("Osaka-fu", "Sakai-shi-Kita-ku")

Key = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey
Extension = tuple[x509.ExtensionType, bool]

_SHA256_RSA = algos.SignedDigestAlgorithm({"algorithm": "sha256_rsa", "parameters": core.Null()}).dump()

ATTRIBUTES = (
    (NAME, "番号\u3000花子"), (BIRTH, "319880417"), (SEX, "2"), (ADDRESS, "東京都渋谷区架空町１丁目"),
    (NAME_FLAGS, "00000"), (ADDRESS_FLAGS, "000000000000"),
)  # fmt: skip


def name(*parts: tuple[x509.ObjectIdentifier, str]) -> x509.Name:
    """A distinguished name with one attribute per part, each in an RDN of its own."""
    return x509.Name([x509.NameAttribute(kind, value) for kind, value in parts])


SUBJECTS = {
    CertificateType.AUTHENTICATION: name((NameOID.COUNTRY_NAME, "JP"),
                                         (NameOID.COMMON_NAME, "000014EAA5KQZB13113003A")),
    CertificateType.SIGNATURE: name((NameOID.COUNTRY_NAME, "JP"), (NameOID.LOCALITY_NAME, PLACE[0]),
                         (NameOID.LOCALITY_NAME, PLACE[1]), (NameOID.COMMON_NAME, "2026012812000013113000000042")),
}  # fmt: skip
"""A holder's subject for each certificate type, as in the profile."""


@dataclass(frozen=True, slots=True)
class AuthorityKey:
    """One key of an authority, with its self-signed certificate."""

    kind: CertificateType
    name: str
    key: Key
    certificate: x509.Certificate

    @property
    def algorithm(self) -> hashes.SHA256 | hashes.SHA384:
        """The digest algorithm for signatures with the key."""
        return hashes.SHA256() if isinstance(self.key, rsa.RSAPrivateKey) else hashes.SHA384()

    @property
    def identifier(self) -> bytes:
        """The key identifier (RFC 5280, 4.2.1.2, method 1)."""
        return x509.SubjectKeyIdentifier.from_public_key(self.certificate.public_key()).digest

    def sign(self, body: bytes) -> bytes:
        """Return the authority's signature over `body`."""
        return sign(self.key, body)


def sign(key: Key, body: bytes) -> bytes:
    """Sign `body`: PKCS #1 v1.5 with SHA-256 for an RSA key, ECDSA with SHA-384 otherwise."""
    if isinstance(key, rsa.RSAPrivateKey):
        return bytes(key.sign(body, padding.PKCS1v15(), hashes.SHA256()))
    return key.sign(body, ec.ECDSA(hashes.SHA384()))


@dataclass(frozen=True, slots=True)
class HolderKey:
    """A holder's key and certificate, with the issuer."""

    key: Key
    certificate: x509.Certificate
    issuer: AuthorityKey

    @property
    def der(self) -> bytes:
        """The certificate as DER."""
        return self.certificate.public_bytes(Encoding.DER)


@dataclass
class CaseInput:
    """The input of a case. The pack's README describes the fields, which have the same names in cases.json."""

    certificate: bytes | None = None
    certificate_type: CertificateType | None = None
    time: datetime = NOW
    revocation_lists: Sequence[bytes] = ()
    ocsp_response: bytes | None = None
    ocsp_nonce: bytes | None = None
    signature: bytes | None = None
    challenge: dict[str, Any] = field(default_factory=dict)
    document: bytes | None = None
    content: bytes | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificateTemplate:
    """The contents of a holder's certificate. With the defaults it follows the profile.

    By default `kind` is the issuer's, `key` the shared holder key, `subject` the profile's and `serial` the next
    number. `change` alters the extensions, which have short names; `signed_by` signs in place of the issuer.
    """

    kind: CertificateType | None = None
    key: Key | None = None
    medium: Medium = Medium.CARD
    subject: x509.Name | None = None
    begins: datetime = BEGINS
    ends: datetime = ENDS
    serial: int | None = None
    change: Callable[[dict[str, Extension]], Any] = lambda extensions: None
    signed_by: AuthorityKey | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ListTemplate:
    """The contents of a revocation list. With the defaults it is one municipality's list, 12 hours old.

    If `place` is None, the list covers all certificates of the authority. `point` replaces the distribution point of
    `place`, `extra` are further extensions, and every entry has `entry_extension`. `next_update` is 48 hours after
    `this_update` by default.
    """

    place: tuple[str, str] | None = PLACE
    point: Extension | None = None
    this_update: datetime = NOW - timedelta(hours=12)
    next_update: datetime | None = None
    extra: Sequence[Extension] = ()
    entry_extension: Extension | None = None
    number: int = 7
    signed_by: AuthorityKey | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerTemplate:
    """The contents of an OCSP response. With the defaults its status is good, and it is five minutes old.

    `at` and `reason` are the time and reason of a revocation. If `lasts` is None, there is no nextUpdate. `responder`
    and `key` sign in place of a responder of the issuer, and `about` is another certificate that the response is about.
    """

    status: ocsp.OCSPCertStatus = ocsp.OCSPCertStatus.GOOD
    at: datetime | None = None
    reason: x509.ReasonFlags | None = None
    this_update: datetime = NOW - timedelta(minutes=5)
    lasts: timedelta | None = timedelta(minutes=15)
    nonce: bytes | None = None
    responder: x509.Certificate | None = None
    key: Key | None = None
    about: HolderKey | None = None


GOOD_CERTIFICATE, GOOD_LIST, GOOD_ANSWER = CertificateTemplate(), ListTemplate(), AnswerTemplate()


class TestAuthority:
    """The pack's authorities. RSA keys come from a key source; holders share one key."""

    __test__ = False  # pytest collects classes whose names begin with Test

    def __init__(self, keys: KeySource) -> None:
        self._keys = keys
        self._serial = 0x70000100
        self.generations = {
            (kind, number): self._root(kind, number, self.key())
            for kind in CertificateType for number in ("02", "03")
        }  # fmt: skip
        self.generations |= {(kind, "next"): self._root(kind, "next", ec.generate_private_key(ec.SECP384R1()))
                             for kind in CertificateType}  # fmt: skip
        self.holder_key, self.other_key, self.responder_key = self.key(), self.key(), self.key()

    def key(self) -> rsa.RSAPrivateKey:
        """Take an RSA key from the key source."""
        key = serialization.load_der_private_key(self._keys.take(), None)
        assert isinstance(key, rsa.RSAPrivateKey)
        return key

    def generation(self, kind: CertificateType, number: str = "03") -> AuthorityKey:
        """Return a generation of an authority: 02, 03, or next (P-384)."""
        return self.generations[kind, number]

    def serial(self) -> int:
        """Return the next unused serial number."""
        self._serial += 1
        return self._serial

    # Certificates

    def authority_name(self, kind: CertificateType, organisation: str = EMULATED.organisation) -> x509.Name:
        """The authority's distinguished name, the same in all generations."""
        return name(
            (NameOID.COUNTRY_NAME, "JP"), (NameOID.ORGANIZATION_NAME, organisation),
            (NameOID.ORGANIZATIONAL_UNIT_NAME, kind.unit), (NameOID.ORGANIZATIONAL_UNIT_NAME, EMULATED.operator),
        )  # fmt: skip

    def _root(
        self, kind: CertificateType, number: str, key: Key, organisation: str = EMULATED.organisation
    ) -> AuthorityKey:
        own = self.authority_name(kind, organisation)
        usage = x509.KeyUsage(False, False, False, False, False, True, True, False, False)
        builder = (
            x509.CertificateBuilder().subject_name(own).issuer_name(own).public_key(key.public_key())
            .serial_number(self.serial()).not_valid_before(NOW - timedelta(days=1000))
            .not_valid_after(NOW + timedelta(days=2600))
            .add_extension(usage, True).add_extension(x509.BasicConstraints(True, None), True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False)
        )  # fmt: skip
        digest = hashes.SHA256() if isinstance(key, rsa.RSAPrivateKey) else hashes.SHA384()
        return AuthorityKey(kind, number, key, builder.sign(key, digest))

    def foreign_root(self, kind: CertificateType) -> AuthorityKey:
        """A root like the authority's, of another organisation and not trusted."""
        return self._root(kind, "foreign", self.other_key, "JPKI-OTHER")

    def partition(self, kind: CertificateType, place: tuple[str, str] = PLACE) -> x509.Name:
        """The name of the directory entry that holds a municipality's lists."""
        return name(
            (NameOID.COUNTRY_NAME, "JP"), (NameOID.ORGANIZATION_NAME, EMULATED.organisation),
            (NameOID.ORGANIZATIONAL_UNIT_NAME, kind.unit),
            (NameOID.ORGANIZATIONAL_UNIT_NAME, "CRL Distribution Points"),
            (NameOID.ORGANIZATIONAL_UNIT_NAME, place[0]), (NameOID.COMMON_NAME, f"{place[1]} CRLDP"),
        )  # fmt: skip

    def extensions(self, issuer: AuthorityKey, key: Any, kind: CertificateType | None = None,
                   medium: Medium = Medium.CARD) -> dict[str, Extension]:  # fmt: skip
        """A holder's extensions by short names, as in the profile and in its order."""
        kind = kind or issuer.kind
        signs = kind is CertificateType.SIGNATURE
        issuer_name = [x509.DirectoryName(self.authority_name(issuer.kind))]
        extensions: dict[str, Extension] = {
            "usage": (x509.KeyUsage(True, signs, False, False, False, False, False, False, False), True),
        }
        if signs:
            extensions["attributes"] = (attributes(ATTRIBUTES), False)
        else:
            extensions["extended usage"] = (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), False)
        extensions |= {
            "policies": (policies(EMULATED.policy(kind, medium)), True),
            "issuer name": (x509.IssuerAlternativeName([x509.DirectoryName(
                name((NameOID.COUNTRY_NAME, "JP"), (NameOID.ORGANIZATION_NAME, EMULATED.organisation_ja)))]), False),
            "distribution point": (points(x509.DirectoryName(self.partition(kind))), False),
        }  # fmt: skip
        if not signs:
            location = x509.UniformResourceIdentifier(EMULATED.ocsp_uri)
            extensions["ocsp"] = (x509.AuthorityInformationAccess(
                [x509.AccessDescription(AuthorityInformationAccessOID.OCSP, location)]), False)  # fmt: skip
        extensions["authority key"] = (
            x509.AuthorityKeyIdentifier(issuer.identifier, issuer_name, issuer.certificate.serial_number), False
        )  # fmt: skip
        extensions["own key"] = (x509.SubjectKeyIdentifier.from_public_key(key), False)
        return extensions

    def holder(self, issuer: AuthorityKey, template: CertificateTemplate = GOOD_CERTIFICATE) -> HolderKey:
        """Issue a certificate to a holder."""
        kind = template.kind or issuer.kind
        key = template.key or self.holder_key
        extensions = self.extensions(issuer, key.public_key(), kind, template.medium)
        template.change(extensions)
        builder = (
            x509.CertificateBuilder().subject_name(SUBJECTS[kind] if template.subject is None else template.subject)
            .issuer_name(self.authority_name(issuer.kind))
            .public_key(key.public_key()).serial_number(template.serial or self.serial())
            .not_valid_before(template.begins).not_valid_after(template.ends)
        )  # fmt: skip
        for extension, critical in extensions.values():
            builder = builder.add_extension(extension, critical)
        signer = template.signed_by or issuer
        return HolderKey(key, builder.sign(signer.key, signer.algorithm), issuer)

    def changed(self, holder: HolderKey, change: Callable[[Any], Any]) -> bytes:
        """Return the TBSCertificate after `change`, which gets it as asn1crypto's object. It is not signed."""
        body = asn1_x509.Certificate.load(holder.der)["tbs_certificate"].copy()
        change(body)
        return bytes(body.dump(force=True))

    def resigned(self, holder: HolderKey, change: Callable[[Any], Any]) -> bytes:
        """Return the certificate after a change of its TBSCertificate, signed again by its issuer."""
        return self.assembled(self.changed(holder, change), holder.issuer.sign)

    @staticmethod
    def assembled(body: bytes, signer: Callable[[bytes], bytes], algorithm: bytes = _SHA256_RSA) -> bytes:
        """Sign a body and return the whole object (certificate or revocation list)."""
        contents = body + algorithm + core.OctetBitString(signer(body)).dump()
        return bytes(b"\x30\x82" + len(contents).to_bytes(2) + contents)

    # Revocation lists

    def list(
        self, issuer: AuthorityKey, revoked: Sequence[tuple[int, datetime, x509.ReasonFlags | None]] = (),
        template: ListTemplate = GOOD_LIST,
    ) -> bytes:  # fmt: skip
        """Return a revocation list as DER. `revoked` has serial number, time and reason of each entry."""
        next_update = template.next_update or template.this_update + timedelta(hours=48)
        builder = (
            x509.CertificateRevocationListBuilder().issuer_name(self.authority_name(issuer.kind))
            .last_update(template.this_update).next_update(next_update)
            .add_extension(x509.AuthorityKeyIdentifier(issuer.identifier, None, None), False)
            .add_extension(x509.CRLNumber(template.number), False)
        )  # fmt: skip
        point = template.point
        if point is None and template.place is not None:
            point = (issuing_point(self.partition(issuer.kind, template.place)), True)
        for extension, critical in (*((point,) if point else ()), *template.extra):
            builder = builder.add_extension(extension, critical)
        for serial, at, reason in revoked:
            entry = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(at)
            if reason is not None:
                entry = entry.add_extension(x509.CRLReason(reason), False)
            if template.entry_extension is not None:
                entry = entry.add_extension(*template.entry_extension)
            builder = builder.add_revoked_certificate(entry.build())
        signer = template.signed_by or issuer
        return bytes(builder.sign(signer.key, signer.algorithm).public_bytes(Encoding.DER))

    def altered_list(self, issuer: AuthorityKey, data: bytes, change: Callable[[Any], Any]) -> bytes:
        """Return a list after `change` of its TBSCertList, which it gets as asn1crypto's object, signed again."""
        body = asn1_crl.CertificateList.load(data)["tbs_cert_list"].copy()
        change(body)
        return self.assembled(bytes(body.dump(force=True)), issuer.sign)

    # OCSP

    def responder(
        self, issuer: AuthorityKey, *, begins: datetime = BEGINS, ends: datetime = NOW + timedelta(days=60),
        usage: Sequence[x509.ObjectIdentifier] = (ExtendedKeyUsageOID.OCSP_SIGNING,),
    ) -> x509.Certificate:  # fmt: skip
        """Issue a certificate of an OCSP responder of the authority."""
        key = self.responder_key.public_key()
        return (
            x509.CertificateBuilder().subject_name(name((NameOID.COUNTRY_NAME, "JP"), (NameOID.COMMON_NAME, "OCSP")))
            .issuer_name(issuer.certificate.subject).public_key(key).serial_number(self.serial())
            .not_valid_before(begins).not_valid_after(ends)
            .add_extension(x509.ExtendedKeyUsage(list(usage)), False)
            .add_extension(x509.AuthorityKeyIdentifier(issuer.identifier, None, None), False)
            .add_extension(x509.OCSPNoCheck(), False).sign(issuer.key, issuer.algorithm)
        )  # fmt: skip

    def answer(self, holder: HolderKey, template: AnswerTemplate = GOOD_ANSWER) -> bytes:
        """Return an OCSP response about a holder's certificate, as DER."""
        until = template.this_update + template.lasts if template.lasts is not None else None
        signer = template.responder or self.responder(holder.issuer)
        about = template.about or holder
        builder = (
            ocsp.OCSPResponseBuilder()
            .add_response(about.certificate, about.issuer.certificate, hashes.SHA256(), template.status,
                          template.this_update, until, template.at, template.reason)
            .responder_id(ocsp.OCSPResponderEncoding.HASH, signer)
        )  # fmt: skip
        if signer is not holder.issuer.certificate:
            builder = builder.certificates([signer])
        if template.nonce is not None:
            builder = builder.add_extension(x509.OCSPNonce(template.nonce), False)
        return builder.sign(template.key or self.responder_key, hashes.SHA256()).public_bytes(Encoding.DER)


def attributes(values: Sequence[tuple[str, str]]) -> x509.SubjectAlternativeName:
    """A subjectAltName extension with the four attributes as otherNames."""
    return x509.SubjectAlternativeName(
        [x509.OtherName(x509.ObjectIdentifier(kind), core.UTF8String(value).dump()) for kind, value in values]
    )


def policies(*dotted: str) -> x509.CertificatePolicies:
    """A certificatePolicies extension, each policy with the URI of the practice statement."""
    return x509.CertificatePolicies(
        [x509.PolicyInformation(x509.ObjectIdentifier(oid), [EMULATED.cps_uri]) for oid in dotted]
    )


def points(*names: x509.GeneralName) -> x509.CRLDistributionPoints:
    """A cRLDistributionPoints extension, each point with one name."""
    return x509.CRLDistributionPoints(
        [x509.DistributionPoint([general_name], None, None, None) for general_name in names]
    )


def issuing_point(
    where: x509.Name, *, authorities: bool = False, indirect: bool = False,
    reasons: frozenset[x509.ReasonFlags] | None = None,
) -> x509.IssuingDistributionPoint:  # fmt: skip
    """An issuingDistributionPoint extension."""
    return x509.IssuingDistributionPoint(
        [x509.DirectoryName(where)], None, not authorities and not indirect, authorities, reasons, indirect, False
    )
