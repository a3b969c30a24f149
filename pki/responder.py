"""The OCSP responder of an authority.

Its revocation data is refreshed every 15 minutes. Between two of these marks its responses do not change. A response
without a nonce is therefore made once and sent to everybody who sends the same request (RFC 5019, section 6).
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
"""How long after its end a certificate still has a status; after that it is `unknown`."""

_CACHE_SIZE = 50_000


@dataclass(frozen=True, slots=True)
class QueryLogEntry:
    """One certificate of a response, for the query log: its serial number and the status that was returned."""

    serial: int
    said: str


@dataclass(frozen=True, slots=True)
class OcspResponse:
    """A response as DER. `asked` has one entry per certificate, or none if the response is an error (`refusal`)."""

    response: bytes
    asked: tuple[QueryLogEntry, ...] = ()
    refusal: OcspErrorStatus | None = None
    this_update: datetime | None = None
    next_update: datetime | None = None


class Responder:
    """Responds to requests about one authority's certificates. Use `answer` from one thread at a time."""

    def __init__(self, authority: Authority) -> None:
        self._authority = authority
        self._ledger: CertificateDatabase = authority.ledger
        self._slot = 0
        self._responses: dict[bytes, OcspResponse] = {}
        self._statuses: dict[tuple[str, int], tuple[bytes, str]] = {}
        self._signers: dict[str, ResponderKey] = {}
        self._issuers: dict[tuple[str, bytes, bytes], Generation] = {}

    def refusal(self, refusal: OcspErrorStatus) -> OcspResponse:
        """Return an error response."""
        return OcspResponse(refuse(refusal), refusal=refusal)

    def is_open(self, now: datetime) -> bool:
        """Return whether the service is open at an instant."""
        settings = self._authority.world.settings
        return settings.opens <= now.astimezone(JST).hour < settings.closes

    def kept(self, data: bytes) -> OcspResponse | None:
        """Return the response to a request if it was made before and is still true, without any access to the store.
        Any thread may call this."""
        now = self._authority.world.clock.now()
        return self._responses.get(data) if _slot_of(now) == self._slot and self.is_open(now) else None

    def answer(self, data: bytes) -> OcspResponse:
        """Respond to a registered caller's request (DER). Raises StoreFailed or TokenUnavailable."""
        now = self._authority.world.clock.now()
        if not self.is_open(now):
            return self.refusal(OcspErrorStatus.TRY_LATER)
        slot = _slot_of(now)
        if slot != self._slot:
            for cache in (self._responses, self._statuses, self._signers, self._issuers):
                cache.clear()
            self._slot = slot
        if cached := self._responses.get(data):
            return cached
        try:
            request = read_request(data)
        except asn1.MalformedDer:
            return self.refusal(OcspErrorStatus.MALFORMED_REQUEST)
        response = self._response(request, now, from_epoch(slot * int(GRID.total_seconds())))
        # An unknown certificate may be issued at any moment; every other status holds until the next mark.
        all_known = all(entry.said != "unknown" for entry in response.asked)
        if request.nonce is None and all_known and len(self._responses) < _CACHE_SIZE:
            self._responses[data] = response
        return response

    def _response(self, request: OcspRequest, now: datetime, this_update: datetime) -> OcspResponse:
        issuers = [self._issuer(certificate) for certificate in request.certificates]
        results = [
            self._status(certificate.serial, issuer, now, this_update)
            for certificate, issuer in zip(request.certificates, issuers, strict=True)
        ]
        generation = next((issuer for issuer in issuers if issuer is not None), None) or self._authority.issuing()
        statuses = [(certificate, der) for certificate, (der, _) in zip(request.certificates, results, strict=True)]
        times = (now, this_update, this_update + GRID)
        response = sign_response(self._signer(generation), statuses, times, request.nonce)
        entries = tuple(
            QueryLogEntry(certificate.serial, name)
            for certificate, (_, name) in zip(request.certificates, results, strict=True)
        )
        return OcspResponse(response, entries, None, this_update, this_update + GRID)

    def _status(self, serial: int, issuer: Generation | None, now: datetime, at: datetime) -> tuple[bytes, str]:
        """Return the status of a certificate, as DER and by name."""
        if issuer is None or not 0 < serial < 1 << 64:
            return UNKNOWN, "unknown"
        if cached := self._statuses.get((issuer.name, serial)):
            return cached
        with self._ledger.store.reading() as connection:
            status = self._ledger.status(connection, serial, at)
        if status is None or status.generation != issuer.name or now > status.not_after + KEPT_AFTER_EXPIRY:
            return UNKNOWN, "unknown"
        if status.since is not None and status.reason is not None:
            result = (revoked(status.since, status.reason), status.reason.asn1_name)
        else:
            result = (GOOD, "good")
        if len(self._statuses) < _CACHE_SIZE:
            self._statuses[issuer.name, serial] = result
        return result

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


def _slot_of(instant: datetime) -> int:
    """Return the number of the interval between two marks that an instant is in."""
    return epoch(instant) // int(GRID.total_seconds())
