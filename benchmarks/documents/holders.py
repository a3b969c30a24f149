"""A world for the documents: holders whose keys are files, a timestamp authority, and the published lists."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_der_private_key,
    pkcs12,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from kazashi.assembly.institutions import Institutions
from kazashi.card.certification_request import certification_request
from kazashi.jpki.profile import EMULATED, NEXT, CertificateType, Medium
from kazashi.pki.certificate import CertificateRequest
from kazashi.world.clock import WorldClock
from kazashi.world.home import open_world
from kazashi.world.key_source import SharedKeySource, generate, new_p384_key
from kazashi.world.settings import Settings

HOLDERS = {"hanako": EMULATED, "leap-day": EMULATED, "taro": NEXT}
"""The holders, with the profiles of their cards."""
PASSWORD = "kazashi"
"""Of the PKCS #12 files."""
_OLD_ENCRYPTION = (
    PrivateFormat.PKCS12.encryption_builder()
    .kdf_rounds(2048)
    .key_cert_algorithm(pkcs12.PBES.PBESv1SHA1And3KeyTripleDESCBC)
    .hmac_hash(hashes.SHA1())
)
"""gpgsm 2.2 reads no other."""


HolderPrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey


@dataclass(frozen=True, slots=True)
class Holders:
    """A folder with the keys and certificates that sign, and what is needed to judge.

    For each holder there are `NAME.key` and `NAME.pem` (PEM), `NAME.key.der`, `NAME.der` and `NAME.p12`. `root.pem` is
    the signature authority's certificate, `root-next.pem` that for the next cards. `tsa.*` and `tsa-root.*` are a
    timestamp authority, which is not Kazashi's; `time-stamp-roots/` has its root. `ca/` and `crl/` have the layout of
    the published certificates and lists.
    """

    directory: Path

    def key(self, who: str = "hanako") -> Path:
        """The private key (PKCS #8, PEM)."""
        return self.directory / f"{who}.key"

    def certificate(self, who: str = "hanako") -> Path:
        """The certificate (PEM)."""
        return self.directory / f"{who}.pem"

    def p12(self, who: str = "hanako") -> Path:
        """Both, with PASSWORD."""
        return self.directory / f"{who}.p12"

    def parsed(self, who: str = "hanako") -> x509.Certificate:
        """The certificate, parsed by `cryptography`."""
        return x509.load_pem_x509_certificate(self.certificate(who).read_bytes())

    def private(self, who: str = "hanako") -> HolderPrivateKey:
        """The private key, as `cryptography` has it."""
        return _private((self.directory / f"{who}.key.der").read_bytes())

    def lists(self) -> list[Path]:
        """The revocation lists of `root.pem`'s generation that have a distribution point."""
        return sorted(path for path in self._lists().rglob("*.crl") if path != self.full_list())

    def full_list(self) -> Path:
        """The list of all certificates of that generation, which has no distribution point."""
        return self._lists() / "full.crl"

    def _lists(self) -> Path:
        generation = (self.directory / "generation").read_text("ascii")
        return self.directory / "crl" / CertificateType.SIGNATURE.code / generation


def make_holders(directory: Path) -> Holders:
    """Make the folder. The certificates are a day old, and the lists an hour or less, by the machine's clock, since
    other programs know no other clock."""
    directory.mkdir(parents=True, exist_ok=True)
    authority = CertificateType.SIGNATURE
    world = open_world(
        directory / "world", settings=Settings("bench", ""), keys=SharedKeySource([generate() for _ in range(2)])
    )
    assert isinstance(world.clock, WorldClock)
    world.clock.stand(datetime.now(UTC) - timedelta(hours=26))
    town = Institutions(world)
    now = world.clock.now()
    for who, profile in HOLDERS.items():
        pkcs8, medium = (new_p384_key(), Medium.CARD) if profile is NEXT else (generate(), Medium.PHONE)
        request = CertificateRequest(
            town.resident(who), certification_request(pkcs8), now, now + timedelta(days=400), medium, who
        )
        der = town.authorities[authority].issue(request, profile)
        _write(directory, who, pkcs8, x509.load_der_x509_certificate(der))
    for name, profile in (("root", EMULATED), ("root-next", NEXT)):
        issuer = town.authorities[authority].issuing(profile=profile)
        _write_certificate(directory, name, x509.load_der_x509_certificate(issuer.certificate))
    (directory / "generation").write_text(town.authorities[authority].issuing().name, "ascii")
    for days in (1, 0):  # the first publication, and the nightly one after it
        town.advance(datetime.now(UTC) - timedelta(days=days, hours=1))
    for part in ("ca", "crl"):
        shutil.copytree(world.publication / part, directory / part)
    world.close()
    shutil.rmtree(directory / "world")
    _make_timestamp_authority(directory)
    (directory / "time-stamp-roots").mkdir()
    shutil.copy(directory / "tsa-root.pem", directory / "time-stamp-roots")
    return Holders(directory)


def _make_timestamp_authority(directory: Path) -> None:
    """Make an authority with one certificate that may sign timestamps (RFC 3161, 2.3)."""
    keys = {name: generate() for name in ("tsa-root", "tsa")}
    begins = datetime.now(UTC).replace(microsecond=0) - timedelta(days=30)
    parsed = {name: load_der_private_key(key, None) for name, key in keys.items()}
    names = {
        name: x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Clock of the benchmarks"),
                         x509.NameAttribute(NameOID.COMMON_NAME, name)])
        for name in keys
    }  # fmt: skip
    issuer_key = parsed["tsa-root"]
    assert isinstance(issuer_key, rsa.RSAPrivateKey)
    for name, is_root in (("tsa-root", True), ("tsa", False)):
        key = parsed[name]
        assert isinstance(key, rsa.RSAPrivateKey)
        builder = (
            x509.CertificateBuilder()
            .subject_name(names[name]).issuer_name(names["tsa-root"])
            .public_key(key.public_key()).serial_number(1 if is_root else 2)
            .not_valid_before(begins).not_valid_after(begins + timedelta(days=3650))
            .add_extension(x509.BasicConstraints(is_root, None), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False)
            .add_extension(
                x509.KeyUsage(not is_root, False, False, False, False, is_root, is_root, False, False), critical=True)
        )  # fmt: skip
        if not is_root:
            builder = builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.TIME_STAMPING]), critical=True)
        _write(directory, name, keys[name], builder.sign(issuer_key, hashes.SHA256()))


def _private(pkcs8: bytes) -> HolderPrivateKey:
    key = load_der_private_key(pkcs8, None)
    assert isinstance(key, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey)
    return key


def _write(directory: Path, name: str, pkcs8: bytes, certificate: x509.Certificate) -> None:
    key = _private(pkcs8)
    (directory / f"{name}.key").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    (directory / f"{name}.key.der").write_bytes(pkcs8)
    (directory / f"{name}.p12").write_bytes(
        pkcs12.serialize_key_and_certificates(
            name.encode(), key, certificate, None, _OLD_ENCRYPTION.build(PASSWORD.encode())
        )
    )
    _write_certificate(directory, name, certificate)


def _write_certificate(directory: Path, name: str, certificate: x509.Certificate) -> None:
    (directory / f"{name}.pem").write_bytes(certificate.public_bytes(Encoding.PEM))
    (directory / f"{name}.der").write_bytes(certificate.public_bytes(Encoding.DER))
