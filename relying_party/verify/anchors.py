"""Trust anchors: the authorities' own certificates, one for each certificate type and generation.

The generations of an authority share one name and differ in their key identifiers. A program that looks up an issuer
by name picks the wrong one.
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
from kazashi.world.input_file import read_input

PublicKey = rsa.RSAPublicKey | ec.EllipticCurvePublicKey


class BadAnchor(Exception):
    """A certificate is not the self-signed certificate of an authority."""


@dataclass(frozen=True, slots=True)
class Anchor:
    """One generation of an authority.

    `name` is its distinguished name as DER; `generation` is the name that its files have.
    """

    kind: CertificateType
    generation: str
    key_identifier: bytes
    name: bytes
    serial: int
    not_before: datetime
    not_after: datetime
    key: PublicKey
    certificate: x509.Certificate

    def signed(self, signature: bytes, body: bytes, algorithm: x509.ObjectIdentifier) -> bool:
        """Whether the authority signed `body`. Only the algorithm of its key is accepted, whatever the object claims:
        RSA-2048 with SHA-256 (PKCS #1 v1.5), or P-384 with SHA-384."""
        return verifies(self.key, signature, body, algorithm)

    def signed_digest(self, signature: bytes, digest: bytes, algorithm: x509.ObjectIdentifier) -> bool:
        """Whether the authority has signed the data with this digest, which the caller computed in chunks."""
        return verifies(self.key, signature, digest, algorithm, prehashed=True)

    @property
    def digest(self) -> hashes.HashAlgorithm:
        """The hash algorithm that goes with the authority's key."""
        return _digest(self.key)


RSA_SHA256, ECDSA_SHA384 = x509.SignatureAlgorithmOID.RSA_WITH_SHA256, x509.SignatureAlgorithmOID.ECDSA_WITH_SHA384

_SHA256, _SHA384, _PKCS1 = hashes.SHA256(), hashes.SHA384(), padding.PKCS1v15()
_PREHASHED_SHA256 = utils.Prehashed(_SHA256)
_ECDSA, _ECDSA_PREHASHED = ec.ECDSA(_SHA384), ec.ECDSA(utils.Prehashed(_SHA384))


def verifies(
    key: PublicKey, signature: bytes, body: bytes, algorithm: x509.ObjectIdentifier, *, prehashed: bool = False
) -> bool:
    """Whether `signature` over `body` was made with the key, using the one algorithm that goes with such a key."""
    try:
        if isinstance(key, rsa.RSAPublicKey):
            if algorithm != RSA_SHA256:
                return False
            key.verify(signature, body, _PKCS1, _PREHASHED_SHA256 if prehashed else _SHA256)
        else:
            if algorithm != ECDSA_SHA384:
                return False
            key.verify(signature, body, _ECDSA_PREHASHED if prehashed else _ECDSA)
    except InvalidSignature:
        return False
    return True


def _digest(key: PublicKey) -> hashes.HashAlgorithm:
    return _SHA256 if isinstance(key, rsa.RSAPublicKey) else _SHA384


def usable(key: object) -> PublicKey | None:
    """Return the key if JPKI uses keys like it (RSA-2048 with exponent 65537, or P-384), otherwise None."""
    if isinstance(key, rsa.RSAPublicKey) and key.key_size == 2048 and key.public_numbers().e == 65537:
        return key
    if isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, ec.SECP384R1):
        return key
    return None


def read_anchor(data: bytes, generation: str = "") -> Anchor:
    """Read an authority's own certificate, DER or PEM. Raises BadAnchor."""
    try:
        pem = data.lstrip().startswith(b"-----")
        certificate = (x509.load_pem_x509_certificate if pem else x509.load_der_x509_certificate)(data)
        units = [
            unit.value for unit in certificate.subject.get_attributes_for_oid(x509.NameOID.ORGANIZATIONAL_UNIT_NAME)
        ]
        kind = next((kind for kind in CertificateType if kind.unit in units), None)
        key = usable(certificate.public_key())
        identifier = certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest
        constraints = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value
        usage = certificate.extensions.get_extension_for_class(x509.KeyUsage).value
    except (ValueError, UnsupportedAlgorithm, x509.ExtensionNotFound, x509.DuplicateExtension) as error:
        raise BadAnchor("the data is not an authority's own certificate") from error
    if kind is None or key is None:
        raise BadAnchor(f"{certificate.subject.rfc4514_string()} is not one of the two JPKI authorities")
    if not constraints.ca or not usage.key_cert_sign or not usage.crl_sign:
        raise BadAnchor("the certificate's key may not sign both certificates and revocation lists")
    if certificate.issuer != certificate.subject:
        raise BadAnchor("the certificate is not signed with its own key")
    anchor = Anchor(
        kind, generation or identifier.hex()[:16], identifier, certificate.subject.public_bytes(),
        certificate.serial_number, certificate.not_valid_before_utc, certificate.not_valid_after_utc, key, certificate,
    )  # fmt: skip
    if not anchor.signed(certificate.signature, certificate.tbs_certificate_bytes, certificate.signature_algorithm_oid):
        raise BadAnchor("the certificate is not signed with its own key")
    return anchor


class Anchors:
    """The trusted generations, by key identifier."""

    def __init__(self, anchors: Iterable[Anchor]) -> None:
        self._by_key: Mapping[bytes, Anchor] = {anchor.key_identifier: anchor for anchor in anchors}

    def find(self, key_identifier: bytes) -> Anchor | None:
        """Return the generation with that key identifier, or None."""
        return self._by_key.get(key_identifier)

    def of_kind(self, kind: CertificateType) -> list[Anchor]:
        """Return the generations of one authority."""
        return [anchor for anchor in self._by_key.values() if anchor.kind is kind]


class AnchorsInDirectory(Anchors):
    """The certificates (.cer, .crt, .der, .pem) below a directory; the file name is the name of the generation.

    A new generation begins every few years, and its certificate is added to the directory. The directory is therefore
    read again when a key is not known.
    """

    def __init__(self, directory: Path) -> None:
        """Read the directory. Raises BadAnchor if it has no certificate, or one that is not an authority's own."""
        self._directory = directory
        self._paths = self._files()
        if not self._paths:
            raise BadAnchor(f"there is no authority certificate in {directory}")
        super().__init__(_read_all(self._paths))

    def find(self, key_identifier: bytes) -> Anchor | None:
        """Return the generation with that key identifier, or None. Raises BadAnchor if a new file in the directory is
        not an authority's own certificate."""
        if key_identifier not in self._by_key and (paths := self._files()) != self._paths:
            self._by_key = {anchor.key_identifier: anchor for anchor in _read_all(paths)}
            self._paths = paths
        return super().find(key_identifier)

    def _files(self) -> list[Path]:
        return certificate_files(self._directory)


def certificate_files(directory: Path) -> list[Path]:
    """Return the files with certificates (.cer, .crt, .der, .pem) below a directory, in order."""
    return [path for path in sorted(directory.rglob("*")) if path.suffix in (".cer", ".crt", ".der", ".pem")]


def _read_all(paths: Iterable[Path]) -> Iterable[Anchor]:
    return [read_anchor(read_input(path), path.stem) for path in paths]
