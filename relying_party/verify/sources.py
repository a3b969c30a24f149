"""Sources of the revocation status: OCSP, and revocation lists over HTTP, from the directory or from files."""

from __future__ import annotations

import atexit
import subprocess
from base64 import b64decode
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Protocol
from urllib.parse import quote

import httpx
from cryptography import x509
from cryptography.x509.oid import NameOID

from kazashi.relying_party.verify.anchors import Anchor
from kazashi.relying_party.verify.certificate import HolderCertificate
from kazashi.relying_party.verify.finding import Finding, VerificationFailed
from kazashi.relying_party.verify.ocsp import NONCE_BYTES, ocsp_request, read_ocsp_answer
from kazashi.relying_party.verify.policy import VerificationPolicy
from kazashi.relying_party.verify.revocation_list import RevocationList, RevokedEntry, read_revocation_list
from kazashi.relying_party.verify.verdict import Evidence
from kazashi.world.rng import secure_random

OCSP, PARTITION_LIST, FULL_LIST, DIRECTORY = "ocsp", "partition-list", "full-list", "directory"

PATIENCE = 10.0
"""Seconds that a server has to respond."""


@lru_cache(maxsize=1)
def web_client() -> httpx.Client:
    """Return the HTTP client that all sources of this process share. It is closed when the process ends."""
    client = httpx.Client(timeout=PATIENCE)
    atexit.register(client.close)
    return client


@dataclass(frozen=True, slots=True)
class RevocationStatus:
    """What a source says of a certificate: its revocation, if there is one, and the evidence."""

    revocation: RevokedEntry | None
    evidence: Evidence


class Source(Protocol):
    """A source that can say whether a certificate is revoked."""

    def status(
        self, certificate: HolderCertificate, anchor: Anchor, at: datetime, now: datetime, policy: VerificationPolicy
    ) -> RevocationStatus:
        """Return the revocation status of a certificate as of the instant `at`, queried at the instant `now`. Raises
        VerificationFailed."""


class Ocsp:
    """The authority's OCSP responder. `ask` takes the code of a certificate type and a request as DER, and returns the
    response as DER."""

    def __init__(self, ask: Callable[[str, bytes], bytes]) -> None:
        self._ask = ask

    def status(
        self, certificate: HolderCertificate, anchor: Anchor, at: datetime, now: datetime, policy: VerificationPolicy
    ) -> RevocationStatus:
        """Return the status that the responder gives now. A revocation has its own date, so it also covers the past."""
        nonce = secure_random(8 * NONCE_BYTES).to_bytes(NONCE_BYTES)
        unverified = self._ask(certificate.kind.code, ocsp_request(anchor, certificate.parsed, nonce))
        answer = read_ocsp_answer(unverified, anchor, certificate.serial, nonce, now, policy)
        if at > answer.next_update:
            raise VerificationFailed(
                Finding.STALE_INFORMATION, f"the OCSP response is valid until {answer.next_update}"
            )
        return RevocationStatus(answer.revocation, Evidence(OCSP, answer.this_update, answer.next_update))


def ocsp_over_http(services: str, key: str) -> Ocsp:
    """Return the OCSP responder at the authorities' address (`kazashi.web.ports.AUTHORITIES`); `key` is the API key of
    a registered caller."""

    def ask(kind: str, request: bytes) -> bytes:
        headers = {"Content-Type": "application/ocsp-request", "Authorization": f"Bearer {key}"}
        try:
            response = web_client().post(f"{services}/ocsp/{kind}", content=request, headers=headers)
            response.raise_for_status()
        except httpx.HTTPError as error:
            raise VerificationFailed(Finding.NO_INFORMATION, f"OCSP at {services} is unavailable: {error}") from error
        return response.content

    return Ocsp(ask)


Fetch = Callable[[HolderCertificate, Anchor], bytes | Path]
"""Fetches the list that would contain a certificate, as DER or as a file. Raises VerificationFailed."""


class Lists:
    """Revocation lists, read once and cached for as long as the policy says."""

    def __init__(self, name: str, fetch: Fetch) -> None:
        self._name = name
        self._fetch = fetch
        self._cache: dict[tuple[bytes, bytes], RevocationList] = {}

    def status(
        self, certificate: HolderCertificate, anchor: Anchor, at: datetime, now: datetime, policy: VerificationPolicy
    ) -> RevocationStatus:
        """Return the status according to the list."""
        crl = self._list(certificate, anchor, at, now, policy)
        if crl.partition is not None and crl.partition != certificate.partition:
            raise VerificationFailed(Finding.UNTRUSTED_INFORMATION, "the list is from another municipality")
        if crl.this_update > now + policy.clock_tolerance:
            raise VerificationFailed(
                Finding.STALE_INFORMATION, f"the list's thisUpdate {crl.this_update} is in the future"
            )
        if not at <= crl.next_update:
            raise VerificationFailed(Finding.STALE_INFORMATION, f"the list is valid until {crl.next_update}")
        revocation = crl.find(certificate.serial)
        if revocation is None and certificate.not_after < crl.this_update:
            raise VerificationFailed(
                Finding.STALE_INFORMATION, "the list no longer includes certificates that expired before it"
            )
        return RevocationStatus(revocation, Evidence(self._name, crl.this_update, crl.next_update))

    def _list(
        self, certificate: HolderCertificate, anchor: Anchor, at: datetime, now: datetime, policy: VerificationPolicy
    ) -> RevocationList:
        key = (anchor.key_identifier, certificate.partition.public_bytes() if self._name != FULL_LIST else b"")
        cached = self._cache.get(key)
        if cached is not None and now < cached.this_update + policy.lists_fresh_for:
            return cached
        try:
            fetched = self._fetch(certificate, anchor)
            if isinstance(fetched, Path):
                with fetched.open("rb") as file:
                    crl = read_revocation_list(file, anchor)
            else:
                crl = read_revocation_list(fetched, anchor)
        except (VerificationFailed, OSError) as error:
            if cached is not None and at <= cached.next_update:
                return cached
            if isinstance(error, VerificationFailed):
                raise
            raise VerificationFailed(Finding.NO_INFORMATION, f"the list cannot be read: {error}") from error
        if cached is not None:
            _check_order(cached, crl)
        self._cache[key] = crl
        return crl


def _check_order(seen: RevocationList, fetched: RevocationList) -> None:
    """Raise VerificationFailed if a list is older than one that was seen before (RFC 5280, 5.2.3), because it can lack
    a revocation. Numbers count within one scope."""
    if fetched.this_update < seen.this_update:
        raise VerificationFailed(
            Finding.UNTRUSTED_INFORMATION,
            f"the list of {fetched.this_update} is older than one already seen, of {seen.this_update}",
        )
    if fetched.partition != seen.partition:
        return
    if fetched.number < seen.number:
        raise VerificationFailed(
            Finding.UNTRUSTED_INFORMATION,
            f"the list has number {fetched.number}, lower than {seen.number} of one already seen",
        )
    if fetched.number == seen.number and fetched.this_update != seen.this_update and seen.number:
        raise VerificationFailed(
            Finding.UNTRUSTED_INFORMATION, f"two lists have number {seen.number}: of {seen.this_update} and a later one"
        )


def lists_over_http(services: str, *, full: bool = False, patience: float = PATIENCE) -> Lists:
    """Return the lists published at the authorities' address: those of municipalities, or the full ones. `patience` is
    the timeout in seconds."""

    def fetch(certificate: HolderCertificate, anchor: Anchor) -> bytes:
        address = f"{services}/{quote(_path(certificate, anchor, full=full))}"
        try:
            response = web_client().get(address, timeout=patience)
            response.raise_for_status()
        except httpx.HTTPError as error:
            raise VerificationFailed(
                Finding.NO_INFORMATION, f"no list could be fetched from {address}: {error}"
            ) from error
        return response.content

    return Lists(FULL_LIST if full else PARTITION_LIST, fetch)


def lists_in(directory: Path, *, full: bool = False) -> Lists:
    """Return the lists in a local directory that has the layout of the published ones."""
    return Lists(
        FULL_LIST if full else PARTITION_LIST,
        lambda certificate, anchor: directory / _path(certificate, anchor, full=full),
    )


def _path(certificate: HolderCertificate, anchor: Anchor, *, full: bool) -> str:
    """Return the path at which a list is published; it depends only on the anchor's generation and the certificate's
    type and distribution point. Raises VerificationFailed."""
    where = "full" if full else "/".join(certificate.municipality)
    if "." in where:
        raise VerificationFailed(Finding.NO_INFORMATION, f"{where} is not the name of a municipality")
    return f"crl/{certificate.kind.code}/{anchor.generation}/{where}.crl"


def lists_in_directory(uri: str) -> Lists:
    """Return the lists that an LDAP server has at the certificates' distribution points.

    They are fetched with OpenLDAP's `ldapsearch`, because no LDAP package for Python is both maintained and free of
    compilation.
    """

    def fetch(certificate: HolderCertificate, anchor: Anchor) -> bytes:
        entry = certificate.partition.rfc4514_string(_LDAP_NAMES)
        command = ("ldapsearch", "-x", "-LLL", "-o", "ldif-wrap=no", "-o", f"nettimeout={PATIENCE:.0f}", "-H", uri,
                   "-b", entry, "-s", "base", "certificateRevocationList;binary")  # fmt: skip
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=2 * PATIENCE)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise VerificationFailed(Finding.NO_INFORMATION, f"ldapsearch failed: {error}") from error
        if done.returncode:
            message = " ".join(done.stderr.split()) or f"status {done.returncode}"
            raise VerificationFailed(Finding.NO_INFORMATION, f"the directory {uri} returned an error: {message}")
        values = (b64decode(line.partition(":: ")[2]) for line in done.stdout.splitlines() if ":: " in line)
        return _of_generation(values, anchor, entry)

    return Lists(DIRECTORY, fetch)


_LDAP_NAMES = {NameOID.COUNTRY_NAME: "c", NameOID.ORGANIZATION_NAME: "o", NameOID.ORGANIZATIONAL_UNIT_NAME: "ou",
               NameOID.COMMON_NAME: "cn"}  # fmt: skip


def _of_generation(values: Iterable[bytes], anchor: Anchor, entry: str) -> bytes:
    """Return the list of the anchor's generation: a directory entry has one for each. Raises VerificationFailed."""
    for value in values:
        try:
            crl = x509.load_der_x509_crl(value)
            key = crl.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value.key_identifier
        except (ValueError, x509.ExtensionNotFound):
            continue
        if key == anchor.key_identifier:
            return bytes(value)
    raise VerificationFailed(Finding.NO_INFORMATION, f"the directory has no list of this generation at {entry}")
