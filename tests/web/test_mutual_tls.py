"""Certificates of a service's own authority, as TLS clients verify them."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography import x509

from kazashi.web.mutual_tls import Credentials, ServiceAuthority, client_context, serving

pytestmark = pytest.mark.unit

NOW = datetime(2026, 4, 1, tzinfo=UTC)


def handshake(server: ssl.SSLContext, client: ssl.SSLContext) -> ssl.SSLObject:
    """Return the client's end of a connection to the server named centre.test."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [client.wrap_bio(to_client, to_server, server_hostname="centre.test"),
            server.wrap_bio(to_server, to_client, server_side=True)]  # fmt: skip
    waiting = list(ends)
    while waiting:
        for end in list(waiting):
            try:
                end.do_handshake()
                waiting.remove(end)
            except ssl.SSLWantReadError:
                continue
    return ends[0]


def server_context(credentials: Credentials, directory: Path) -> ssl.SSLContext:
    options = serving(credentials, directory, "localhost", 0)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=options["ssl_ca_certs"])
    context.load_cert_chain(options["ssl_certfile"], options["ssl_keyfile"])
    context.verify_mode = ssl.CERT_REQUIRED
    return context


def test_both_ends_accept_the_certificates_where_openssl_is_strict(tmp_path: Path) -> None:
    authority = ServiceAuthority.begin("tills", NOW)
    server = server_context(authority.credentials("centre", NOW, host="centre.test"), tmp_path)
    client = client_context(authority.credentials("till-1", NOW, unit="rice-shop"))
    for context in (server, client):
        context.verify_flags |= ssl.VERIFY_X509_STRICT
    certificate = handshake(server, client).getpeercert(binary_form=True)
    assert certificate is not None
    assert x509.load_der_x509_certificate(certificate).subject.rfc4514_string() == "CN=centre"


def test_a_client_does_not_demand_what_authorities_of_earlier_worlds_lack() -> None:
    credentials = ServiceAuthority.begin("tills", NOW).credentials("till-1", NOW)
    assert not client_context(credentials).verify_flags & ssl.VERIFY_X509_STRICT


def test_a_client_refuses_the_server_of_another_authority(tmp_path: Path) -> None:
    other, authority = ServiceAuthority.begin("other", NOW), ServiceAuthority.begin("tills", NOW)
    server = server_context(other.credentials("centre", NOW, host="centre.test"), tmp_path)
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(server, client_context(authority.credentials("till-1", NOW)))
