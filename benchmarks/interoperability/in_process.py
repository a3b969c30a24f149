"""Verifiers in this process: pyca/cryptography's path builder, and Python's own `ssl`."""

from __future__ import annotations

import platform
import socket
import ssl
import threading
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import cryptography
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.x509 import ocsp, verification

from benchmarks.interoperability.issued import IssuedFiles
from benchmarks.interoperability.verifier import (
    AUTHENTICATION,
    GOOD,
    LIST,
    OCSP,
    POLICIES,
    REVOKED,
    SIGNATURE,
    USAGE,
    VerificationCase,
)


@dataclass
class _PycaJudge:
    issued: IssuedFiles

    def _loaded(self, name: str) -> x509.Certificate:
        return x509.load_der_x509_certificate(Path(self.issued.path(name, "der")).read_bytes())

    def reads(self, certificate: str, _: frozenset[str]) -> bool:
        return self._loaded(certificate).serial_number == self.issued.serial(certificate)

    def judge(self, case: VerificationCase) -> str:
        certificate, root = self._loaded(case.certificate), self._loaded(case.root)
        builder = verification.PolicyBuilder().store(verification.Store([root]))
        if case.settings:
            of_holder = verification.ExtensionPolicy.webpki_defaults_ee()
            if USAGE in case.settings:
                of_holder = verification.ExtensionPolicy.permit_all()
            if POLICIES in case.settings:
                of_holder = of_holder.may_be_present(x509.CertificatePolicies, verification.Criticality.AGNOSTIC, None)
            builder = builder.extension_policies(
                ca_policy=verification.ExtensionPolicy.webpki_defaults_ca(), ee_policy=of_holder
            )
        try:
            builder.build_client_verifier().verify(certificate, [])
        except verification.VerificationError as error:
            return str(error)
        key = root.public_key()
        assert isinstance(key, rsa.RSAPublicKey)
        for name in case.lists:
            listed = x509.load_der_x509_crl(Path(self.issued.path(name, "der")).read_bytes())
            if not listed.is_signature_valid(key):
                return "the list has another signer"
            if listed.get_revoked_certificate_by_serial_number(certificate.serial_number) is not None:
                return REVOKED
        return self._queried(certificate, root, case) if case.ocsp else GOOD

    def _queried(self, certificate: x509.Certificate, root: x509.Certificate, case: VerificationCase) -> str:
        request = ocsp.OCSPRequestBuilder().add_certificate(certificate, root, hashes.SHA256()).build()
        query = urllib.request.Request(
            self.issued.ocsp(case.certificate.partition("-")[0]),
            request.public_bytes(serialization.Encoding.DER),
            {"Content-Type": "application/ocsp-request"},
        )
        with urllib.request.urlopen(query, timeout=20) as reply:
            response = ocsp.load_der_ocsp_response(reply.read())
        (signer,) = response.certificates
        key = signer.public_key()
        assert isinstance(key, rsa.RSAPublicKey)
        assert response.signature_hash_algorithm is not None
        try:
            signer.verify_directly_issued_by(root)
            key.verify(response.signature, response.tbs_response_bytes, padding.PKCS1v15(),
                       response.signature_hash_algorithm)  # fmt: skip
        except InvalidSignature:
            return "the response has another signer"
        return response.certificate_status.name.lower()


class Pyca:
    """The path builder of pyca/cryptography."""

    name = "pyca/cryptography"
    kinds: Sequence[str] = (AUTHENTICATION, SIGNATURE)
    sources = frozenset({LIST, OCSP})
    callers = frozenset({LIST, OCSP})

    def version(self) -> str:
        """The version."""
        return cryptography.__version__

    @contextmanager
    def ready(self, issued: IssuedFiles) -> Iterator[_PycaJudge]:
        """Nothing needs to be made ready."""
        yield _PycaJudge(issued)


@dataclass
class SslJudge:
    """A TLS server of this process, which is started for each case."""

    issued: IssuedFiles

    def reads(self, certificate: str, _: frozenset[str]) -> bool:
        """Whether the verifier finds the certificate's own serial number in it."""
        kind = certificate.partition("-")[0]
        said = self.served(VerificationCase(certificate, f"{kind}-root"))
        return said == f"serial {self.issued.serial(certificate):X}"

    def judge(self, case: VerificationCase) -> str:
        """GOOD, REVOKED, or why the certificate is refused."""
        said = self.served(case)
        return GOOD if said.startswith("serial ") else REVOKED if "certificate revoked" in said else said

    def served(self, case: VerificationCase) -> str:
        """Connect to a server of this process, and return the serial number that it sees, or why it refuses."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.issued.path("server"), self.issued.path("server", "key"))
        context.verify_mode = ssl.CERT_REQUIRED
        for name in (case.root, *case.lists):
            context.load_verify_locations(self.issued.path(name))
        if case.lists:
            context.verify_flags |= ssl.VERIFY_CRL_CHECK_LEAF
        with socket.create_server(("127.0.0.1", 0)) as listening:
            client = threading.Thread(
                target=connected, args=(self.issued, listening.getsockname()[1], case.certificate)
            )
            client.start()
            try:
                with context.wrap_socket(listening.accept()[0], server_side=True) as connection:
                    subject = connection.getpeercert()
                    assert subject is not None
                    return f"serial {subject['serialNumber']}"
            except ssl.SSLError as error:
                return str(error)
            finally:
                client.join()


def connected(issued: IssuedFiles, port: int, certificate: str) -> str:
    """Connect to a port of this machine with a holder's certificate, send a request, and return the response or the
    error, such as the alert by which a server refuses the certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.maximum_version = ssl.TLSVersion.TLSv1_2  # in which the alert comes before the handshake ends
    context.load_verify_locations(issued.path("server"))
    context.load_cert_chain(issued.path(certificate), issued.path("key"))
    received = b""
    try:
        with (
            socket.create_connection(("127.0.0.1", port), timeout=20) as plain,
            context.wrap_socket(plain, server_hostname="localhost") as connection,
        ):
            connection.sendall(b"GET / HTTP/1.0\r\nHost: localhost\r\n\r\n")
            with suppress(TimeoutError):
                while part := connection.recv(4096):
                    received += part
    except (OSError, ssl.SSLError) as error:
        return str(error)
    return received.decode(errors="replace")


class PythonSsl:
    """A TLS server of Python's standard library, which hands the work to OpenSSL."""

    name = "Python ssl"
    kinds: Sequence[str] = (AUTHENTICATION, SIGNATURE)
    sources = frozenset({LIST})
    callers: frozenset[str] = frozenset()

    def version(self) -> str:
        """The version."""
        return f"{platform.python_version()} with {' '.join(ssl.OPENSSL_VERSION.split()[:2])}"

    @contextmanager
    def ready(self, issued: IssuedFiles) -> Iterator[SslJudge]:
        """A server is started for each case."""
        yield SslJudge(issued)
