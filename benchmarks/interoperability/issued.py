"""What the verifiers are given: certificates, revocation lists and OCSP of a small world at the machine's own time."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from asn1crypto import pem
from cryptography import x509
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_der_private_key,
)

from kazashi.assembly.institutions import Institutions
from kazashi.assembly.served import free_port
from kazashi.card.certification_request import certification_request
from kazashi.jpki.profile import CertificateType
from kazashi.jpki.state import Reason
from kazashi.pki.callers import Callers
from kazashi.pki.certificate import CertificateRequest
from kazashi.pki.certificate_database import AUTHORITY_LIST, FULL_LIST, Issued
from kazashi.tools.daemon.services import Services
from kazashi.world.clock import SystemClock, WorldClock
from kazashi.world.home import open_world
from kazashi.world.key_source import SharedKeySource, generate
from kazashi.world.settings import Settings

HOLDER, NEIGHBOUR = "hanako", "rare-kanji"
"""The holder of the certificates, and a resident of another municipality."""

REASONS = {"good": None, "revoked": Reason.KEY_COMPROMISE, "held": Reason.CERTIFICATE_HOLD}
"""The certificates by their states, and the reasons for which they are revoked."""

BEFORE = timedelta(days=2)
"""How long ago the certificates were issued and revoked, so that last night's lists have them."""


@dataclass(frozen=True, slots=True)
class IssuedFiles:
    """The files, each as NAME.pem and NAME.der in `directory`, and the address of OCSP.

    Names of certificates are `{kind}-{state}` (states are the keys of REASONS) and `{kind}-root`; names of lists are
    `{kind}-own`, `{kind}-other`, `{kind}-full` and `{kind}-authority`. `key.pem` is the private key of every
    certificate that is not a root, and `server.pem` a certificate for localhost with the key `server.key`.
    """

    directory: Path
    services: str
    caller_key: str
    generation: str
    """The name of the generation of the authentication authority's key that signed the certificates."""

    def path(self, name: str, encoding: str = "pem") -> str:
        """The path of a file by its name."""
        return str(self.directory / f"{name}.{encoding}")

    def joined(self, *names: str) -> str:
        """The path of a file with several PEM files in one."""
        path = self.directory / f"{'+'.join(names)}.pem"
        path.write_bytes(b"".join((self.directory / f"{name}.pem").read_bytes() for name in names))
        return str(path)

    def serial(self, name: str) -> int:
        """The serial number of a certificate."""
        return x509.load_der_x509_certificate(Path(self.path(name, "der")).read_bytes()).serial_number

    def ocsp(self, kind: str) -> str:
        """The address of OCSP for programs that send no headers."""
        return f"{self.services}/ocsp/{kind}/as/{self.caller_key}"

    def write(self, name: str, label: str, content: bytes) -> None:
        """Write a file in both encodings."""
        (self.directory / f"{name}.der").write_bytes(content)
        (self.directory / f"{name}.pem").write_bytes(pem.armor(label, content))


@contextmanager
def issued_files(directory: Path) -> Iterator[IssuedFiles]:
    """Make the files in a directory, and serve OCSP as long as the block lasts."""
    world = open_world(
        directory / "world", settings=Settings("interoperability"),
        keys=SharedKeySource([generate() for _ in range(4)]),
    )  # fmt: skip
    clock, institutions = world.clock, Institutions(world)
    assert isinstance(clock, WorldClock)
    clock.stand(SystemClock().now() - BEFORE)
    key = generate()
    for kind in CertificateType:
        for state, reason in REASONS.items():
            serial = _issue(institutions, kind, HOLDER, state, key)
            if reason is not None:
                institutions.revocations[kind].revoke(serial, reason)
        _issue(institutions, kind, NEIGHBOUR, "neighbour", key)
    institutions.advance(SystemClock().now())
    clock.run(SystemClock().now())
    files = directory / "files"
    files.mkdir()
    services = Services(world, port=free_port())
    try:
        own = _of_holder(institutions, CertificateType.AUTHENTICATION)[0]
        key_of_caller = Callers(world).register("interoperability")
        issued = IssuedFiles(files, services.status["http"], key_of_caller, own.generation)
        _write(institutions, issued, key)
        yield issued
    finally:
        services.stop()
        world.close()


def _issue(institutions: Institutions, kind: CertificateType, who: str, name: str, key: bytes) -> int:
    """Issue a certificate for three years, and return its serial number."""
    resident = institutions.juki_net.j_lis.identity(institutions.resident(who).code)
    now = institutions.world.clock.now()
    request = CertificateRequest(
        resident, certification_request(key), now, now + timedelta(days=3 * 365), identifier=f"{kind.code} {name}"
    )
    return x509.load_der_x509_certificate(institutions.authorities[kind].issue(request)).serial_number


def _of_holder(institutions: Institutions, kind: CertificateType) -> list[Issued]:
    """The holder's certificates, in the order of REASONS."""
    return institutions.authorities[kind].of_holder(institutions.registry.find(HOLDER).code)


def _write(institutions: Institutions, issued: IssuedFiles, key: bytes) -> None:
    for kind, authority in institutions.authorities.items():
        of_holder = _of_holder(institutions, kind)
        for state, certificate in zip(REASONS, of_holder, strict=True):
            issued.write(f"{kind.code}-{state}", "CERTIFICATE", certificate.certificate)
        own = of_holder[0]
        (root,) = (one.certificate for one in authority.generations() if one.name == own.generation)
        issued.write(f"{kind.code}-root", "CERTIFICATE", root)
        (other,) = authority.of_holder(institutions.registry.find(NEIGHBOUR).code)
        names = {"own": own.partition, "other": other.partition, "full": FULL_LIST, "authority": AUTHORITY_LIST}
        for name, published in names.items():
            path = institutions.publications[kind].path(own.generation, published)
            issued.write(f"{kind.code}-{name}", "X509 CRL", path.read_bytes())
    loaded = load_der_private_key(key, None)
    pkcs8 = loaded.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (issued.directory / "key.pem").write_bytes(pkcs8)
    (issued.directory / "key.pem").chmod(0o600)  # PostgreSQL's client insists
    subprocess.run(
        ("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost", "-addext",
         "subjectAltName=DNS:localhost", "-keyout", issued.path("server", "key"), "-out", issued.path("server")),
        check=True, capture_output=True,
    )  # fmt: skip
