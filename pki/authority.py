"""A certification authority: its key generations, serial numbers and issued certificates."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from cryptography import x509

from kazashi.jpki.profile import EMULATED, NEXT, Algorithm, CertificateType, Medium, Profile
from kazashi.jpki.serial_number import read_serial, serial_text
from kazashi.pki import der
from kazashi.pki.certificate import (
    CertificateRequest,
    end_entity_extensions,
    responder_extensions,
    root_extensions,
    subject,
)
from kazashi.pki.certificate_database import AUTHORITY_LIST, FULL_LIST, CertificateDatabase, Issued, NoSuchCertificate
from kazashi.pki.generation import NEXT_GENERATION, Generation, begins, generation_name, issuing_at
from kazashi.pki.revocation import Revocations
from kazashi.pki.signing_key import SOFTWARE, SigningKey, SoftwareKey, TokenKey
from kazashi.pki.validity import anniversary_end
from kazashi.world.clock import JST, end_of_day, epoch, from_epoch
from kazashi.world.home import World
from kazashi.world.key_source import KeySource
from kazashi.world.rng import secure_random

FIRST_SERIAL = 0x70000001
"""Four bytes, like real serial numbers, and far above any number that the real authorities have reached."""

SERIAL_BITS = 64
"""The size of random serial numbers."""

RESPONDER_DAYS = 365
_RESPONDER_SPARE = timedelta(days=30)
_RESPONDER_LEAD = timedelta(hours=1)
"""How long before its first use a responder's certificate begins: before thisUpdate, and for clocks that are slow."""


@dataclass(frozen=True, slots=True)
class OwnCertificate:
    """A certificate of an authority itself. `owner` says whose, in words."""

    owner: str
    generation: str
    serial: int
    not_before: datetime
    not_after: datetime


class RequestConflict(Exception):
    """The request's identifier belongs to a different request; no certificate was issued."""


class Authority:
    """One of the two certification authorities, with its store in the world.

    Issuing is one transaction: when `issue` returns, the serial number, the certificate and the event are all on disk;
    if it fails, none of them is. Serial numbers are one gapless sequence over all generations, including the
    authority's own certificates, or random numbers if the world is configured that way.
    """

    def __init__(self, world: World, kind: CertificateType, profile: Profile = EMULATED) -> None:
        self.kind = kind
        self.world = world
        self.profiles = {EMULATED.algorithm: profile, NEXT.algorithm: NEXT}
        self.ledger = CertificateDatabase(world, kind)
        self.revocations = Revocations(self.ledger, world.clock)
        self._generations: dict[str, Generation] = {}

    # Generations

    def root(self, at: datetime | None = None) -> bytes:
        """The certificate (DER) of the generation that issues at `at` (default: now), created if necessary.

        Raises TokenUnavailable.
        """
        return self.issuing(at).certificate

    def issuing(self, at: datetime | None = None, profile: Profile = EMULATED) -> Generation:
        """The generation that issues at `at` (default: now), begun if necessary. Raises TokenUnavailable."""
        name = (
            NEXT_GENERATION if profile.algorithm is NEXT.algorithm
            else generation_name(issuing_at(at or self.world.clock.now()))
        )  # fmt: skip
        if name not in self._generations:
            with self.ledger.store.transaction() as connection:
                self._one_at_a_time(connection)
                self._generations[name] = self._load(connection, name) or self._begin(connection, name)
        return self._generations[name]

    def generations(self) -> list[Generation]:
        """The generations that have begun, in the order in which they began."""
        table = self.ledger.generation.c
        with self.ledger.store.reading() as connection:
            for name in connection.scalars(sa.select(table.name)).all():
                if name not in self._generations and (generation := self._load(connection, name)):
                    self._generations[name] = generation
        return sorted(self._generations.values(), key=lambda generation: (generation.begins, generation.name))

    def _load(self, connection: sa.Connection, name: str) -> Generation | None:
        table = self.ledger.generation
        row = connection.execute(sa.select(table).where(table.c.name == name)).one_or_none()
        if row is None:
            return None
        algorithm = Algorithm(row.algorithm)
        key: SigningKey = (
            SoftwareKey(row.key) if row.keys == SOFTWARE else TokenKey(row.keys, self._label(name), algorithm)
        )
        return Generation(
            name, row.serial, self.profiles[algorithm], key, row.keys, row.certificate,
            from_epoch(row.begins), from_epoch(row.ends),
        )  # fmt: skip

    def _begin(self, connection: sa.Connection, name: str) -> Generation:
        profile = self.profiles[NEXT.algorithm if name == NEXT_GENERATION else EMULATED.algorithm]
        keys, key, kept = self._new_key(name, profile.algorithm)
        begin = self.world.clock.now() if name == NEXT_GENERATION else begins(int(name))
        end = anniversary_end(begin, profile.term.root_years)
        serial = self._serials(connection, 1)[0]
        own_name = der.authority_name(profile, self.kind)
        body = der.to_be_signed(
            serial, profile.algorithm, own_name, own_name, (begin, end), key.public_key,
            root_extensions(profile, self.kind, key.public_key),
        )  # fmt: skip
        certificate = der.signed(body, profile.algorithm, key.sign(body))
        row = {
            "name": name, "serial": serial, "algorithm": profile.algorithm.value, "keys": keys, "key": kept,
            "certificate": certificate, "begins": epoch(begin), "ends": epoch(end),
        }  # fmt: skip
        connection.execute(sa.insert(self.ledger.generation), row)
        self.ledger.ensure_lists(connection, {(name, FULL_LIST), (name, AUTHORITY_LIST)})
        self.ledger.log(
            connection, self.world.clock.now(), [("generation begun", serial, {"name": name, "keys": keys})]
        )
        return Generation(name, serial, profile, key, keys, certificate, begin, end)

    def _new_key(self, name: str, algorithm: Algorithm) -> tuple[str, SigningKey, bytes]:
        keys = self.world.settings.keys
        if keys == SOFTWARE:
            made = SoftwareKey(self.key_source(algorithm).take())
            return keys, made, made.pkcs8
        token = TokenKey(keys, self._label(name), algorithm)
        token.make()
        return keys, token, b""

    def key_source(self, algorithm: Algorithm) -> KeySource:
        """Return the world's source of keys of an algorithm."""
        return self.world.keys if algorithm is Algorithm.RSA_2048 else self.world.p384_keys

    def _label(self, generation: str) -> str:
        # A token may serve several worlds. The seed in the label keeps one world from using another's key.
        return f"{self.kind.code}-{generation}-{self.world.seed}"

    # Issuing

    def issue(self, request: CertificateRequest, profile: Profile = EMULATED) -> bytes:
        """Issue a certificate and return it as DER. Raises the exceptions of `issue_many`."""
        return self.issue_many([request], profile)[0]

    def issue_many(self, requests: Sequence[CertificateRequest], profile: Profile = EMULATED) -> list[bytes]:
        """Issue certificates for all of the requests or for none, and return them as DER.

        A repeated request returns the certificate that was issued for it the first time. A certificate that is replaced
        is superseded in the same transaction. Raises NoProofOfPossession, RequestConflict or TokenUnavailable.
        """
        profile = self.profiles[profile.algorithm]
        keys = [request.proven_key(profile.algorithm) for request in requests]
        names = [request.identifier or f"key:{hashlib.sha256(key).hexdigest()}"
                 for request, key in zip(requests, keys, strict=True)]  # fmt: skip
        generations = [self.issuing(request.not_before, profile) for request in requests]
        with self.ledger.store.transaction() as connection:
            # Taking the numbers first admits one issuer at a time, so that a request which another issuer is just
            # answering is seen as answered.
            serials = self._serials(connection, len(requests))
            answered = self._answered(connection, dict(zip(names, requests, strict=True)))
            rows: dict[str, dict[str, Any]] = {}
            free = iter(serials)
            for request, key, name, generation in zip(requests, keys, names, generations, strict=True):
                if name not in answered and name not in rows:
                    rows[name] = self._certify(request, key, name, generation, next(free))
            self._give_back(connection, list(free))
            if rows:
                connection.execute(sa.insert(self.ledger.certificate), list(rows.values()))
                self.ledger.ensure_lists(connection, {(row["generation"], row["partition"]) for row in rows.values()})
                now = self.world.clock.now()
                self.ledger.log(connection, now, [("issued", row["serial"], {"request": row["request"]})
                                                  for row in rows.values()])  # fmt: skip
                self._supersede(connection, [request for request, name in zip(requests, names, strict=True)
                                             if name in rows])  # fmt: skip
        return [answered[name] if name in answered else bytes(rows[name]["certificate"]) for name in names]

    def _certify(
        self, request: CertificateRequest, key: bytes, name: str, generation: Generation, serial: int
    ) -> dict[str, Any]:
        profile = generation.profile
        rng = self.world.random_stream("common name", self.kind.code, str(serial))
        not_after = min(request.not_after, generation.ends)
        body = der.to_be_signed(
            serial, profile.algorithm, der.authority_name(profile, self.kind),
            subject(self.kind, request, serial, rng), (request.not_before, not_after), key,
            end_entity_extensions(profile, self.kind, request, key, generation.identifies(self.kind)),
        )  # fmt: skip
        return {
            "serial": serial, "generation": generation.name, "medium": request.medium.value,
            "medium_id": request.medium_id, "holder": request.resident.code,
            "partition": request.resident.municipality.code,
            "not_before": epoch(request.not_before), "not_after": epoch(not_after), "predecessor": request.renews,
            "request": name, "request_digest": request.digest,
            "certificate": der.signed(body, profile.algorithm, generation.key.sign(body)),
        }  # fmt: skip

    def _answered(self, connection: sa.Connection, requests: dict[str, CertificateRequest]) -> dict[str, bytes]:
        table = self.ledger.certificate.c
        query = sa.select(table.request, table.request_digest, table.certificate).where(
            table.request.in_(list(requests))
        )
        answered = {}
        for name, digest, certificate in connection.execute(query):
            if digest != requests[name].digest:
                raise RequestConflict(
                    f"request {name} was answered for another key or another person; use a new key or identifier"
                )
            answered[name] = bytes(certificate)
        return answered

    def _one_at_a_time(self, connection: sa.Connection) -> None:
        """Lock out other writers until the transaction ends: only one may begin a generation, certify a responder or
        issue at a time."""
        self.ledger.count(connection, "serial", 0, FIRST_SERIAL)

    def _serials(self, connection: sa.Connection, count: int) -> list[int]:
        if self.world.settings.serials == "random":
            self.ledger.count(connection, "serial", count, 0)  # locks out other issuers here as well
            return [secure_random(SERIAL_BITS) or 1 for _ in range(count)]
        first = self.ledger.count(connection, "serial", count, FIRST_SERIAL)
        return list(range(first, first + count))

    def _give_back(self, connection: sa.Connection, unused: Sequence[int]) -> None:
        if unused:
            self.ledger.count(connection, "serial", -len(unused), FIRST_SERIAL)

    def _supersede(self, connection: sa.Connection, requests: Sequence[CertificateRequest]) -> None:
        replaced = [request.renews for request in requests if request.renews is not None]
        phones = [request for request in requests if request.medium is Medium.PHONE]
        if replaced or phones:
            self.revocations.superseded(connection, replaced, phones)
        if self.kind is CertificateType.SIGNATURE:
            cards = [request.resident.code for request in requests if request.medium is Medium.CARD]
            self.revocations.juki_cards_returned(connection, cards)

    # The OCSP responder

    def responder(self, generation: Generation) -> tuple[SoftwareKey, bytes]:
        """The key and the certificate (DER) that sign OCSP responses about a generation's certificates.

        The certificate lasts a year; a new one is issued in its last 30 days. Raises TokenUnavailable.
        """
        table, now = self.ledger.responder, self.world.clock.now()
        with self.ledger.store.transaction() as connection:
            self._one_at_a_time(connection)
            row = connection.execute(sa.select(table).where(table.c.generation == generation.name)).one_or_none()
            if row is None or from_epoch(row.ends) - now < _RESPONDER_SPARE:
                connection.execute(sa.delete(table).where(table.c.generation == generation.name))
                connection.execute(sa.insert(table), self._new_responder(connection, generation, now))
                row = connection.execute(sa.select(table).where(table.c.generation == generation.name)).one()
        return SoftwareKey(row.key), row.certificate

    def _new_responder(self, connection: sa.Connection, generation: Generation, now: datetime) -> dict[str, Any]:
        profile = generation.profile
        key = SoftwareKey(self.key_source(profile.algorithm).take())
        begin = max(generation.begins, now - _RESPONDER_LEAD)
        end = min(end_of_day(begin.astimezone(JST).date() + timedelta(days=RESPONDER_DAYS - 1)), generation.ends)
        serial = self._serials(connection, 1)[0]
        name = der.name(*der.authority_attributes(profile, self.kind), ("CN", f"OCSP Responder {generation.name}"))
        body = der.to_be_signed(
            serial, profile.algorithm, der.authority_name(profile, self.kind), name, (begin, end), key.public_key,
            responder_extensions(generation.identifies(self.kind), key.public_key),
        )  # fmt: skip
        certificate = der.signed(body, profile.algorithm, generation.key.sign(body))
        self.ledger.log(connection, now, [("responder certified", serial, {"generation": generation.name})])
        return {"generation": generation.name, "serial": serial, "key": key.pkcs8, "certificate": certificate,
                "ends": epoch(end)}  # fmt: skip

    def own_certificates(self) -> list[OwnCertificate]:
        """The authority's own certificates: the roots of its generations, and its present OCSP responders'."""
        table = self.ledger.responder
        with self.ledger.store.reading() as connection:
            responders = connection.execute(sa.select(table)).all()
        roots = [
            OwnCertificate("the authority", each.name, each.serial, each.begins, each.ends)
            for each in self.generations()
        ]
        return roots + [
            OwnCertificate("the OCSP responder", row.generation, row.serial,
                           x509.load_der_x509_certificate(row.certificate).not_valid_before_utc, from_epoch(row.ends))
            for row in responders
        ]  # fmt: skip

    # Looking certificates up

    def profile_of(self, issued: Issued) -> Profile:
        """Return the profile of a certificate, which is that of its generation."""
        return self.profiles[NEXT.algorithm if issued.generation == NEXT_GENERATION else EMULATED.algorithm]

    def find(self, serial: int) -> Issued:
        """Return the certificate with a serial number. Raises NoSuchCertificate."""
        certificates = self.with_serials([serial])
        if not certificates:
            raise NoSuchCertificate(serial_text(serial), self.kind)
        return certificates[0]

    def with_serials(self, serials: Sequence[int]) -> list[Issued]:
        """Return the certificates with these serial numbers, as far as they exist."""
        with self.ledger.store.reading() as connection:
            return self.ledger.issued(connection, self.ledger.certificate.c.serial.in_(serials))

    def named(self, text: str) -> tuple[Issued, str]:
        """Return the certificate whose serial number a user has written, and a note for them if it was read as decimal.

        Raises NotASerialNumber, AmbiguousSerialNumber and NoSuchCertificate.
        """
        reading = read_serial(text)
        issued = {certificate.serial: certificate for certificate in self.with_serials(reading.readings)}
        serial = reading.choose(issued)
        if serial not in issued:
            raise NoSuchCertificate(reading.in_words(), self.kind)
        return issued[serial], reading.note(serial)

    def holder_of(self, serial: int) -> tuple[str, str]:
        """Return the holder's resident record code and the card or phone of a certificate. Raises NoSuchCertificate."""
        table = self.ledger.certificate.c
        with self.ledger.store.reading() as connection:
            row = connection.execute(sa.select(table.holder, table.medium_id).where(table.serial == serial)).first()
        if row is None:
            raise NoSuchCertificate(serial_text(serial), self.kind)
        return row.holder, row.medium_id

    def linked(self, holder: str, medium_id: str | None = None) -> list[tuple[int, Medium]]:
        """Return the serial numbers of a resident's certificates, each with its medium, in the order of notBefore, then
        of serial number. With `medium_id`, only those on this card or phone."""
        table = self.ledger.certificate.c
        query = sa.select(table.serial, table.medium).where(table.holder == holder)
        if medium_id is not None:
            query = query.where(table.medium_id == medium_id)
        with self.ledger.store.reading() as connection:
            rows = connection.execute(query.order_by(table.not_before, table.serial))
            return [(row.serial, Medium(row.medium)) for row in rows]

    def of_holder(self, record_code: str) -> list[Issued]:
        """Return the certificates of a resident, given their resident record code, in the order of notBefore, then of
        serial number."""
        with self.ledger.store.reading() as connection:
            return self.ledger.issued(connection, self.ledger.certificate.c.holder == record_code)

    def of_medium(self, medium_id: str) -> list[Issued]:
        """Return the certificates on a card or phone, in the order of notBefore, then of serial number."""
        with self.ledger.store.reading() as connection:
            return self.ledger.issued(connection, self.ledger.certificate.c.medium_id == medium_id)


def fingerprint(certificate: bytes) -> str:
    """Return the SHA-256 fingerprint of a DER certificate in upper-case hexadecimal."""
    return hashlib.sha256(certificate).hexdigest().upper()
