"""The authorities' own certificates, in which all trust rests: one to each kind and generation.

The generations of an authority share one name, and are told apart by their keys' identifiers. A program that looks an
issuer up by name takes the wrong one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa, utils

from kazashi.jpki.profile import CertificateType

PublicKey = rsa.RSAPublicKey | ec.EllipticCurvePublicKey


class BadAnchor(Exception):
    """A certificate that was given as an authority's own is none."""


@dataclass(frozen=True, slots=True)
class Anchor:
    """One generation of an authority. `name` is its distinguished name as DER; `generation` what its files are called
    by."""

    kind: CertificateType
    generation: str
    key_identifier: bytes
    name: bytes
    not_before: datetime
    not_after: datetime
    key: PublicKey
    certificate: x509.Certificate

    def signed(self, signature: bytes, body: bytes, algorithm: x509.ObjectIdentifier) -> bool:
        """Whether the authority has signed `body`. Only its own algorithm counts, whatever the object says of itself:
        RSA-2048 with SHA-256 (PKCS #1 v1.5), or P-384 with SHA-384."""
        return verifies(self.key, signature, body, algorithm)

    def signed_digest(self, signature: bytes, digest: bytes, algorithm: x509.ObjectIdentifier) -> bool:
        """The same over a digest that was made elsewhere, piece by piece."""
        return verifies(self.key, signature, digest, algorithm, prehashed=True)

    @property
    def digest(self) -> hashes.HashAlgorithm:
        """The digest that goes with the authority's key."""
        return _digest(self.key)


RSA_SHA256, ECDSA_SHA384 = x509.SignatureAlgorithmOID.RSA_WITH_SHA256, x509.SignatureAlgorithmOID.ECDSA_WITH_SHA384


def verifies(
    key: PublicKey, signature: bytes, body: bytes, algorithm: x509.ObjectIdentifier, *, prehashed: bool = False
) -> bool:
    """Whether `signature` is by the key over `body`, with the one algorithm that goes with such a key."""
    digest = _digest(key)
    hashed = utils.Prehashed(digest) if prehashed else digest
    try:
        if isinstance(key, rsa.RSAPublicKey):
            if algorithm != RSA_SHA256:
                return False
            key.verify(signature, body, padding.PKCS1v15(), hashed)
        else:
            if algorithm != ECDSA_SHA384:
                return False
            key.verify(signature, body, ec.ECDSA(hashed))
    except InvalidSignature:
        return False
    return True


def _digest(key: PublicKey) -> hashes.HashAlgorithm:
    return hashes.SHA256() if isinstance(key, rsa.RSAPublicKey) else hashes.SHA384()


def usable(key: object) -> PublicKey | None:
    """The key, where it is one that JPKI has: RSA-2048 with exponent 65537, or P-384."""
    if isinstance(key, rsa.RSAPublicKey) and key.key_size == 2048 and key.public_numbers().e == 65537:
        return key
    if isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, ec.SECP384R1):
        return key
    return None


def read_anchor(certificate: bytes, generation: str = "") -> Anchor:
    """An authority's own certificate, DER or PEM. Raises BadAnchor."""
    try:
        pem = certificate.lstrip().startswith(b"-----")
        found = (x509.load_pem_x509_certificate if pem else x509.load_der_x509_certificate)(certificate)
        units = [unit.value for unit in found.subject.get_attributes_for_oid(x509.NameOID.ORGANIZATIONAL_UNIT_NAME)]
        kind = next((kind for kind in CertificateType if kind.unit in units), None)
        key = usable(found.public_key())
        identifier = found.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest
        constraints = found.extensions.get_extension_for_class(x509.BasicConstraints).value
        usage = found.extensions.get_extension_for_class(x509.KeyUsage).value
    except (ValueError, UnsupportedAlgorithm, x509.ExtensionNotFound, x509.DuplicateExtension) as error:
        raise BadAnchor(f"this is no authority's own certificate: {error}") from error
    if kind is None or key is None:
        raise BadAnchor(f"{found.subject.rfc4514_string()} is neither of the two authorities")
    if not constraints.ca or not usage.key_cert_sign or not usage.crl_sign:
        raise BadAnchor("the certificate is not one that certificates and lists may be signed with")
    if found.issuer != found.subject:
        raise BadAnchor("the certificate is not signed with its own key")
    anchor = Anchor(
        kind, generation or identifier.hex()[:16], identifier, found.subject.public_bytes(), found.not_valid_before_utc,
        found.not_valid_after_utc, key, found,
    )  # fmt: skip
    if not anchor.signed(found.signature, found.tbs_certificate_bytes, found.signature_algorithm_oid):
        raise BadAnchor("the certificate is not signed with its own key")
    return anchor


class Anchors:
    """Every generation that is trusted, by its key's identifier."""

    def __init__(self, anchors: Iterable[Anchor]) -> None:
        self._by_key: Mapping[bytes, Anchor] = {anchor.key_identifier: anchor for anchor in anchors}

    def find(self, key_identifier: bytes) -> Anchor | None:
        """The generation that has that key."""
        return self._by_key.get(key_identifier)

    def of_kind(self, kind: CertificateType) -> list[Anchor]:
        """The generations of one authority."""
        return [anchor for anchor in self._by_key.values() if anchor.kind is kind]


class AnchorsInDirectory(Anchors):
    """The certificates (.cer, .crt, .der, .pem) below a directory; the file's name is the generation's. Every few years
    a generation begins, and its certificate is put there: a key that is not known is looked for once more."""

    def __init__(self, directory: Path) -> None:
        """Raises BadAnchor."""
        self._directory = directory
        self._paths = self._found()
        if not self._paths:
            raise BadAnchor(f"there is no authority's certificate in {directory}")
        super().__init__(_read_all(self._paths))

    def find(self, key_identifier: bytes) -> Anchor | None:
        """The generation that has that key. Raises BadAnchor where something else was put into the directory."""
        if key_identifier not in self._by_key and (paths := self._found()) != self._paths:
            self._by_key = {anchor.key_identifier: anchor for anchor in _read_all(paths)}
            self._paths = paths
        return super().find(key_identifier)

    def _found(self) -> list[Path]:
        return [path for path in sorted(self._directory.rglob("*")) if path.suffix in _ENDINGS]


_ENDINGS = (".cer", ".crt", ".der", ".pem")


def _read_all(paths: Iterable[Path]) -> Iterable[Anchor]:
    return [read_anchor(path.read_bytes(), path.stem) for path in paths]
