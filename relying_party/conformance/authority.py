"""A small authority that issues what a good authority never would.

It is not `pki`: a verifier that is tried on certificates of one program only learns that program's habits. Everything
is built with `cryptography` first, and bent afterwards where a case wants it bent.
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
"""The instant at which all cases are judged, unless they say another."""

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
    """A distinguished name of one attribute to each part."""
    return x509.Name([x509.NameAttribute(kind, value) for kind, value in parts])


SUBJECTS = {
    CertificateType.AUTHENTICATION: name((NameOID.COUNTRY_NAME, "JP"),
                                         (NameOID.COMMON_NAME, "000014EAA5KQZB13113003A")),
    CertificateType.SIGNATURE: name((NameOID.COUNTRY_NAME, "JP"), (NameOID.LOCALITY_NAME, PLACE[0]),
                         (NameOID.LOCALITY_NAME, PLACE[1]), (NameOID.COMMON_NAME, "2026012812000013113000000042")),
}  # fmt: skip
"""The names of a holder, as the profile has them."""


@dataclass(frozen=True, slots=True)
class AuthorityKey:
    """One key of an authority, with its own certificate."""

    kind: CertificateType
    name: str
    key: Key
    certificate: x509.Certificate

    @property
    def algorithm(self) -> hashes.SHA256 | hashes.SHA384:
        """The digest that goes with the key."""
        return hashes.SHA256() if isinstance(self.key, rsa.RSAPrivateKey) else hashes.SHA384()

    @property
    def identifier(self) -> bytes:
        """The key's identifier."""
        return x509.SubjectKeyIdentifier.from_public_key(self.certificate.public_key()).digest

    def sign(self, body: bytes) -> bytes:
        """The authority's signature over anything."""
        return sign(self.key, body)


def sign(key: Key, body: bytes) -> bytes:
    """A signature in the form that goes with the key."""
    if isinstance(key, rsa.RSAPrivateKey):
        return bytes(key.sign(body, padding.PKCS1v15(), hashes.SHA256()))
    return key.sign(body, ec.ECDSA(hashes.SHA384()))


@dataclass(frozen=True, slots=True)
class HolderKey:
    """Somebody's key and certificate."""

    key: Key
    certificate: x509.Certificate
    issuer: AuthorityKey

    @property
    def der(self) -> bytes:
        """The certificate as DER."""
        return self.certificate.public_bytes(Encoding.DER)


@dataclass
class CaseInput:
    """What a case hands to the verifier, and what is to be said of it.

    `kind` is the kind of certificate that is wanted. Revocation is to be looked up in the `lists` and `ocsp` answers
    given, in that the answers come first; `nonce` is the one that was sent. A login has `challenge`, a document
    `document` with its `content` where that is apart from it.
    """

    certificate: bytes = b""
    kind: CertificateType | None = None
    at: datetime = NOW
    lists: Sequence[bytes] = ()
    ocsp: bytes | None = None
    nonce: bytes | None = None
    signature: bytes = b""
    challenge: dict[str, Any] = field(default_factory=dict)
    document: bytes | None = None
    content: bytes | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificateTemplate:
    """What a holder's certificate is made from. The defaults make one that keeps its profile; a case changes what it is
    about.

    `kind` is the issuer's, `key` the shared holder key, `subject` the profile's and `serial` the next number, unless
    they are given. `change` alters the extensions, which have short names; `signed_by` signs in place of the issuer.
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
    """What a revocation list is made from. The defaults make one municipality's list of half a day ago.

    The list is everybody's where `place` is None. `point` is another distribution point than that of `place`, `extra`
    are further extensions, and `entry_extension` is one of every entry. It holds for 48 hours unless `next_update` is
    given.
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
    """What an OCSP answer is made from. The defaults make one of five minutes ago that says good.

    `at` and `reason` are those of a revocation. It has no nextUpdate where `lasts` is None. `responder` and `key` sign
    instead of a responder of the issuer's, and `about` is another certificate that the answer is about.
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
    """The authorities of the pack, and what they make. Keys come from a key source; those of holders are shared."""

    __test__ = False  # pytest takes classes of such a name for tests

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
        """A key of the key source."""
        key = serialization.load_der_private_key(self._keys.take(), None)
        assert isinstance(key, rsa.RSAPrivateKey)
        return key

    def generation(self, kind: CertificateType, number: str = "03") -> AuthorityKey:
        """An authority's generation: 02, 03, or next with P-384."""
        return self.generations[kind, number]

    def serial(self) -> int:
        """A serial number that nobody else has."""
        self._serial += 1
        return self._serial

    # Certificates

    def authority_name(self, kind: CertificateType, organisation: str = EMULATED.organisation) -> x509.Name:
        """The authority's name, the same in all generations."""
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
        """A root like the authority's that nobody trusts."""
        return self._root(kind, "foreign", self.other_key, "JPKI-OTHER")

    def partition(self, kind: CertificateType, place: tuple[str, str] = PLACE) -> x509.Name:
        """The directory entry of a municipality's lists."""
        return name(
            (NameOID.COUNTRY_NAME, "JP"), (NameOID.ORGANIZATION_NAME, EMULATED.organisation),
            (NameOID.ORGANIZATIONAL_UNIT_NAME, kind.unit),
            (NameOID.ORGANIZATIONAL_UNIT_NAME, "CRL Distribution Points"),
            (NameOID.ORGANIZATIONAL_UNIT_NAME, place[0]), (NameOID.COMMON_NAME, f"{place[1]} CRLDP"),
        )  # fmt: skip

    def extensions(self, issuer: AuthorityKey, key: Any, kind: CertificateType | None = None,
                   medium: Medium = Medium.CARD) -> dict[str, Extension]:  # fmt: skip
        """A holder's extensions as the profile has them, by short names, in order."""
        kind = kind or issuer.kind
        signs = kind is CertificateType.SIGNATURE
        own_name = [x509.DirectoryName(self.authority_name(issuer.kind))]
        found: dict[str, Extension] = {
            "usage": (x509.KeyUsage(True, signs, False, False, False, False, False, False, False), True),
        }
        if signs:
            found["attributes"] = (attributes(ATTRIBUTES), False)
        else:
            found["extended usage"] = (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), False)
        found |= {
            "policies": (policies(EMULATED.policy(kind, medium)), True),
            "issuer name": (x509.IssuerAlternativeName([x509.DirectoryName(
                name((NameOID.COUNTRY_NAME, "JP"), (NameOID.ORGANIZATION_NAME, EMULATED.organisation_ja)))]), False),
            "distribution point": (points(x509.DirectoryName(self.partition(kind))), False),
        }  # fmt: skip
        if not signs:
            location = x509.UniformResourceIdentifier(EMULATED.ocsp_uri)
            found["ocsp"] = (x509.AuthorityInformationAccess(
                [x509.AccessDescription(AuthorityInformationAccessOID.OCSP, location)]), False)  # fmt: skip
        found["authority key"] = (
            x509.AuthorityKeyIdentifier(issuer.identifier, own_name, issuer.certificate.serial_number), False
        )  # fmt: skip
        found["own key"] = (x509.SubjectKeyIdentifier.from_public_key(key), False)
        return found

    def holder(self, issuer: AuthorityKey, template: CertificateTemplate = GOOD_CERTIFICATE) -> HolderKey:
        """A holder with a certificate."""
        kind = template.kind or issuer.kind
        key = template.key or self.holder_key
        extensions = self.extensions(issuer, key.public_key(), kind, template.medium)
        template.change(extensions)
        builder = (
            x509.CertificateBuilder().subject_name(template.subject or SUBJECTS[kind])
            .issuer_name(self.authority_name(issuer.kind))
            .public_key(key.public_key()).serial_number(template.serial or self.serial())
            .not_valid_before(template.begins).not_valid_after(template.ends)
        )  # fmt: skip
        for extension, critical in extensions.values():
            builder = builder.add_extension(extension, critical)
        signer = template.signed_by or issuer
        return HolderKey(key, builder.sign(signer.key, signer.algorithm), issuer)

    def changed(self, holder: HolderKey, change: Callable[[Any], Any]) -> bytes:
        """A certificate's body after a change (to asn1crypto's form of it), not signed."""
        body = asn1_x509.Certificate.load(holder.der)["tbs_certificate"].copy()
        change(body)
        return bytes(body.dump(force=True))

    def resigned(self, holder: HolderKey, change: Callable[[Any], Any]) -> bytes:
        """A certificate whose body was changed, signed anew."""
        return self.put_together(self.changed(holder, change), holder.issuer.sign)

    @staticmethod
    def put_together(body: bytes, signer: Callable[[bytes], bytes], algorithm: bytes = _SHA256_RSA) -> bytes:
        """A signed object, certificate or list, out of its body."""
        contents = body + algorithm + core.OctetBitString(signer(body)).dump()
        return bytes(b"\x30\x82" + len(contents).to_bytes(2) + contents)

    # Revocation lists

    def list(
        self, issuer: AuthorityKey, revoked: Sequence[tuple[int, datetime, x509.ReasonFlags | None]] = (),
        template: ListTemplate = GOOD_LIST,
    ) -> bytes:  # fmt: skip
        """A list with an entry (serial number, instant, reason) for each certificate that is revoked, as DER."""
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

    def bent_list(self, issuer: AuthorityKey, data: bytes, change: Callable[[Any], Any]) -> bytes:
        """A list whose body was changed (as asn1crypto has it), signed anew."""
        body = asn1_crl.CertificateList.load(data)["tbs_cert_list"].copy()
        change(body)
        return self.put_together(bytes(body.dump(force=True)), issuer.sign)

    # OCSP

    def responder(
        self, issuer: AuthorityKey, *, begins: datetime = BEGINS, ends: datetime = NOW + timedelta(days=60),
        usage: Sequence[x509.ObjectIdentifier] = (ExtendedKeyUsageOID.OCSP_SIGNING,),
    ) -> x509.Certificate:  # fmt: skip
        """A certificate for answering in the authority's name."""
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
        """An OCSP answer about a holder's certificate, as DER."""
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
    """The four attributes as otherNames."""
    return x509.SubjectAlternativeName(
        [x509.OtherName(x509.ObjectIdentifier(kind), core.UTF8String(value).dump()) for kind, value in values]
    )


def policies(*dotted: str) -> x509.CertificatePolicies:
    """Certificate policies, each with the practice statement's address."""
    return x509.CertificatePolicies(
        [x509.PolicyInformation(x509.ObjectIdentifier(found), [EMULATED.cps_uri]) for found in dotted]
    )


def points(*names: x509.GeneralName) -> x509.CRLDistributionPoints:
    """Distribution points, each of one name."""
    return x509.CRLDistributionPoints([x509.DistributionPoint([found], None, None, None) for found in names])


def issuing_point(
    where: x509.Name, *, authorities: bool = False, indirect: bool = False,
    reasons: frozenset[x509.ReasonFlags] | None = None,
) -> x509.IssuingDistributionPoint:  # fmt: skip
    """An issuing distribution point."""
    return x509.IssuingDistributionPoint(
        [x509.DirectoryName(where)], None, not authorities and not indirect, authorities, reasons, indirect, False
    )
