"""The OCSP responder of an authority: what it says of a certificate, and when.

What it knows of revocations is refreshed every 15 minutes. Between two marks of that grid its answers do not change, so
that an answer without a nonce is made once and given to everybody who asks the same (RFC 5019, section 6).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from kazashi.pki import asn1
from kazashi.pki.authority import Authority
from kazashi.pki.certificate_database import CertificateDatabase
from kazashi.pki.der import key_identifier
from kazashi.pki.generation import Generation
from kazashi.pki.ocsp import (
    GOOD,
    UNKNOWN,
    CertificateId,
    OcspErrorStatus,
    OcspRequest,
    ResponderKey,
    identifies,
    read_request,
    refuse,
    revoked,
    sign_response,
)
from kazashi.world.clock import JST, epoch, from_epoch

GRID = timedelta(minutes=15)
KEPT_AFTER_EXPIRY = timedelta(days=1)
"""For how long after its end a certificate is still answered for; after that it is unknown."""

_MOST_KEPT = 50_000


@dataclass(frozen=True, slots=True)
class QueryLogEntry:
    """What the query log keeps of one certificate asked about: its serial number and what was said of it."""

    serial: int
    said: str


@dataclass(frozen=True, slots=True)
class OcspResponse:
    """A response as DER, and what it said of whom; nothing was asked about anybody where it is a refusal."""

    response: bytes
    asked: tuple[QueryLogEntry, ...] = ()
    refusal: OcspErrorStatus | None = None
    this_update: datetime | None = None
    next_update: datetime | None = None


class Responder:
    """Answers requests about one authority's certificates. It may be used by one thread at a time."""

    def __init__(self, authority: Authority) -> None:
        self._authority = authority
        self._ledger: CertificateDatabase = authority.ledger
        self._slot = 0
        self._kept: dict[bytes, OcspResponse] = {}
        self._known: dict[tuple[str, int], tuple[bytes, str]] = {}
        self._signers: dict[str, ResponderKey] = {}
        self._issuers: dict[tuple[str, bytes, bytes], Generation] = {}

    def refusal(self, refusal: OcspErrorStatus) -> OcspResponse:
        """An answer that is none."""
        return OcspResponse(refuse(refusal), refusal=refusal)

    def is_open(self, now: datetime) -> bool:
        """Whether the service answers at this hour."""
        settings = self._authority.world.settings
        return settings.opens <= now.astimezone(JST).hour < settings.closes

    def answer(self, data: bytes) -> OcspResponse:
        """Answer a registered caller's request, as DER. Raises StoreFailed and TokenUnavailable."""
        now = self._authority.world.clock.now()
        if not self.is_open(now):
            return self.refusal(OcspErrorStatus.TRY_LATER)
        slot = epoch(now) // int(GRID.total_seconds())
        if slot != self._slot:
            self._slot = slot
            for kept_until_the_mark in (self._kept, self._known, self._signers, self._issuers):
                kept_until_the_mark.clear()
        if kept := self._kept.get(data):
            return kept
        try:
            request = read_request(data)
        except asn1.MalformedDer:
            return self.refusal(OcspErrorStatus.MALFORMED_REQUEST)
        answer = self._answer(request, now, from_epoch(slot * int(GRID.total_seconds())))
        # Who is unknown may be certified at any moment; all else stands until the next mark.
        everybody_known = all(asked.said != "unknown" for asked in answer.asked)
        if request.nonce is None and everybody_known and len(self._kept) < _MOST_KEPT:
            self._kept[data] = answer
        return answer

    def _answer(self, request: OcspRequest, now: datetime, mark: datetime) -> OcspResponse:
        issuers = [self._issuer(certificate) for certificate in request.certificates]
        found = [
            self._status(certificate.serial, issuer, now, mark)
            for certificate, issuer in zip(request.certificates, issuers, strict=True)
        ]
        generation = next((issuer for issuer in issuers if issuer is not None), None) or self._authority.issuing()
        statuses = [(certificate, status) for certificate, (status, _) in zip(request.certificates, found, strict=True)]
        times = (now, mark, mark + GRID)
        response = sign_response(self._signer(generation), statuses, times, request.nonce)
        asked = tuple(
            QueryLogEntry(certificate.serial, said)
            for certificate, (_, said) in zip(request.certificates, found, strict=True)
        )
        return OcspResponse(response, asked, None, mark, mark + GRID)

    def _status(self, serial: int, issuer: Generation | None, now: datetime, mark: datetime) -> tuple[bytes, str]:
        """What is said of a certificate, as DER and as a word."""
        if issuer is None or not 0 < serial < 1 << 64:
            return UNKNOWN, "unknown"
        if known := self._known.get((issuer.name, serial)):
            return known
        with self._ledger.store.reading() as connection:
            standing = self._ledger.status(connection, serial, mark)
        if standing is None or standing.generation != issuer.name or now > standing.not_after + KEPT_AFTER_EXPIRY:
            return UNKNOWN, "unknown"
        if standing.since is not None and standing.reason is not None:
            said = (revoked(standing.since, standing.reason), standing.reason.asn1_name)
        else:
            said = (GOOD, "good")
        if len(self._known) < _MOST_KEPT:
            self._known[issuer.name, serial] = said
        return said

    def _issuer(self, certificate: CertificateId) -> Generation | None:
        if not self._issuers:
            for generation in self._authority.generations():
                for name in ("sha1", "sha256"):
                    name_hash, key_hash = identifies(generation, self._authority.kind, name)
                    self._issuers[name, name_hash, key_hash] = generation
        return self._issuers.get((certificate.hash_name, certificate.name_hash, certificate.key_hash))

    def _signer(self, generation: Generation) -> ResponderKey:
        if generation.name not in self._signers:
            key, certificate = self._authority.responder(generation)
            identifier = key_identifier(key.public_key)
            self._signers[generation.name] = ResponderKey(generation.profile.algorithm, key, identifier, certificate)
        return self._signers[generation.name]
