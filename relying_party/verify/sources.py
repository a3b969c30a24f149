"""Where word on revocation comes from: OCSP, and lists, by HTTP, from the directory or out of files."""

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
"""Seconds that a server has to answer."""


@lru_cache(maxsize=1)
def web_client() -> httpx.Client:
    """The client over HTTP that all sources of this process share, until it ends."""
    client = httpx.Client(timeout=PATIENCE)
    atexit.register(client.close)
    return client


@dataclass(frozen=True, slots=True)
class RevocationStatus:
    """What a source says of a certificate: its revocation, if there is one, and what that rests on."""

    revocation: RevokedEntry | None
    evidence: Evidence


class Source(Protocol):
    """Somebody who can say whether a certificate is revoked."""

    def status(
        self, certificate: HolderCertificate, anchor: Anchor, at: datetime, now: datetime, policy: VerificationPolicy
    ) -> RevocationStatus:
        """What is known of a certificate as of the instant `at`, asked at the instant `now`. Raises
        VerificationFailed."""


class Ocsp:
    """The authority's OCSP responder. `ask` takes a kind's word and a request as DER, and answers the response."""

    def __init__(self, ask: Callable[[str, bytes], bytes]) -> None:
        self._ask = ask

    def status(
        self, certificate: HolderCertificate, anchor: Anchor, at: datetime, now: datetime, policy: VerificationPolicy
    ) -> RevocationStatus:
        """What the responder says now; a revocation has its own date, and so tells of the past too."""
        nonce = secure_random(8 * NONCE_BYTES).to_bytes(NONCE_BYTES)
        answer = self._ask(certificate.kind.code, ocsp_request(anchor, certificate.parsed, nonce))
        found = read_ocsp_answer(answer, anchor, certificate.serial, nonce, now, policy)
        if at > found.next_update:
            raise VerificationFailed(Finding.STALE_INFORMATION, f"the answer holds until {found.next_update}")
        return RevocationStatus(found.revocation, Evidence(OCSP, found.this_update, found.next_update))


def ocsp_over_http(services: str, key: str) -> Ocsp:
    """OCSP at the authorities' address (`kazashi.web.ports.AUTHORITIES`), as the caller who has that key."""

    def ask(kind: str, request: bytes) -> bytes:
        headers = {"Content-Type": "application/ocsp-request", "Authorization": f"Bearer {key}"}
        try:
            response = web_client().post(f"{services}/ocsp/{kind}", content=request, headers=headers)
            response.raise_for_status()
        except httpx.HTTPError as error:
            raise VerificationFailed(Finding.NO_INFORMATION, f"OCSP at {services} does not answer: {error}") from error
        return response.content

    return Ocsp(ask)


Fetch = Callable[[HolderCertificate, Anchor], bytes | Path]
"""Gets the list in which a certificate would stand, as DER or as a file. Raises VerificationFailed."""


class Lists:
    """Revocation lists, read once and kept for as long as the policy says."""

    def __init__(self, name: str, fetch: Fetch) -> None:
        self._name = name
        self._fetch = fetch
        self._kept: dict[tuple[bytes, bytes], RevocationList] = {}

    def status(
        self, certificate: HolderCertificate, anchor: Anchor, at: datetime, now: datetime, policy: VerificationPolicy
    ) -> RevocationStatus:
        """What the list says."""
        found = self._list(certificate, anchor, at, now, policy)
        if found.partition is not None and found.partition != certificate.partition:
            raise VerificationFailed(Finding.UNTRUSTED_INFORMATION, "the list is another municipality's")
        if found.this_update > now + policy.clock_tolerance:
            raise VerificationFailed(
                Finding.STALE_INFORMATION, f"the list is of {found.this_update}, which is yet to come"
            )
        if not at <= found.next_update:
            raise VerificationFailed(Finding.STALE_INFORMATION, f"the list holds until {found.next_update}")
        revocation = found.find(certificate.serial)
        if revocation is None and certificate.not_after < found.this_update:
            raise VerificationFailed(
                Finding.STALE_INFORMATION, "the list no longer speaks of certificates that had ended"
            )
        return RevocationStatus(revocation, Evidence(self._name, found.this_update, found.next_update))

    def _list(
        self, certificate: HolderCertificate, anchor: Anchor, at: datetime, now: datetime, policy: VerificationPolicy
    ) -> RevocationList:
        place = (anchor.key_identifier, certificate.partition.public_bytes() if self._name != FULL_LIST else b"")
        kept = self._kept.get(place)
        if kept is not None and now < kept.this_update + policy.lists_fresh_for:
            return kept
        try:
            fetched = self._fetch(certificate, anchor)
            if isinstance(fetched, Path):
                with fetched.open("rb") as file:
                    found = read_revocation_list(file, anchor)
            else:
                found = read_revocation_list(fetched, anchor)
        except (VerificationFailed, OSError) as error:
            if kept is not None and at <= kept.next_update:
                return kept
            if isinstance(error, VerificationFailed):
                raise
            raise VerificationFailed(Finding.NO_INFORMATION, f"the list cannot be read: {error}") from error
        if kept is not None and found.number < kept.number:
            raise VerificationFailed(
                Finding.UNTRUSTED_INFORMATION, f"list {found.number} comes after list {kept.number}"
            )
        self._kept[place] = found
        return found


def lists_over_http(services: str, *, full: bool = False, patience: float = PATIENCE) -> Lists:
    """The published lists at the authorities' address: those of municipalities, or everybody's. `patience` is how
    many seconds they may take."""

    def fetch(certificate: HolderCertificate, anchor: Anchor) -> bytes:
        address = f"{services}/{quote(_path(certificate, anchor, full=full))}"
        try:
            response = web_client().get(address, timeout=patience)
            response.raise_for_status()
        except httpx.HTTPError as error:
            raise VerificationFailed(
                Finding.NO_INFORMATION, f"there is no list to be had at {address}: {error}"
            ) from error
        return response.content

    return Lists(FULL_LIST if full else PARTITION_LIST, fetch)


def lists_in(directory: Path, *, full: bool = False) -> Lists:
    """Lists out of a directory that is laid out as they are published."""
    return Lists(
        FULL_LIST if full else PARTITION_LIST,
        lambda certificate, anchor: directory / _path(certificate, anchor, full=full),
    )


def _path(certificate: HolderCertificate, anchor: Anchor, *, full: bool) -> str:
    """Where a list is published: a pure function of what the certificate's distribution point says."""
    where = "full" if full else "/".join(certificate.municipality)
    if "." in where:
        raise VerificationFailed(Finding.NO_INFORMATION, f"no municipality is called {where}")
    return f"crl/{certificate.kind.code}/{anchor.generation}/{where}.crl"


def lists_in_directory(uri: str) -> Lists:
    """The lists that an LDAP server has at the certificates' distribution points, asked for with OpenLDAP's own
    `ldapsearch`: no LDAP package for Python is both kept and free of compilation."""

    def fetch(certificate: HolderCertificate, anchor: Anchor) -> bytes:
        entry = certificate.partition.rfc4514_string(_LDAP_NAMES)
        command = ("ldapsearch", "-x", "-LLL", "-o", "ldif-wrap=no", "-o", f"nettimeout={PATIENCE:.0f}", "-H", uri,
                   "-b", entry, "-s", "base", "certificateRevocationList;binary")  # fmt: skip
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=2 * PATIENCE)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise VerificationFailed(Finding.NO_INFORMATION, f"ldapsearch cannot be asked: {error}") from error
        if done.returncode:
            said = " ".join(done.stderr.split()) or f"status {done.returncode}"
            raise VerificationFailed(Finding.NO_INFORMATION, f"the directory {uri} does not say: {said}")
        values = (b64decode(line.partition(":: ")[2]) for line in done.stdout.splitlines() if ":: " in line)
        return _of_generation(values, anchor, entry)

    return Lists(DIRECTORY, fetch)


_LDAP_NAMES = {NameOID.COUNTRY_NAME: "c", NameOID.ORGANIZATION_NAME: "o", NameOID.ORGANIZATIONAL_UNIT_NAME: "ou",
               NameOID.COMMON_NAME: "cn"}  # fmt: skip


def _of_generation(values: Iterable[bytes], anchor: Anchor, entry: str) -> bytes:
    """The list of the anchor's generation: an entry of the directory has one to each."""
    for value in values:
        try:
            found = x509.load_der_x509_crl(value)
            key = found.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value.key_identifier
        except (ValueError, x509.ExtensionNotFound):
            continue
        if key == anchor.key_identifier:
            return bytes(value)
    raise VerificationFailed(Finding.NO_INFORMATION, f"the directory has no list of this generation at {entry}")
