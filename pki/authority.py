"""An authority: its keys by generation, its serial numbers, the certificates that it has issued."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

from asn1crypto import keys, x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from pki import der
from pki.certificate import Request, end_entity_extensions, subject
from pki.generation import begins, issuing_at
from pki.profile import EMULATED, Kind, Profile
from pki.validity import anniversary_end
from world.clock import JST
from world.home import World

ROOT_YEARS = 10
FIRST_SERIAL = 0x70000001
"""Four bytes like the real ones, and far above any number that the real authorities have come to."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS generation (number INTEGER PRIMARY KEY, serial INTEGER UNIQUE NOT NULL,
                                       key BLOB NOT NULL, certificate BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS issued (serial INTEGER PRIMARY KEY, generation INTEGER NOT NULL REFERENCES generation,
                                   certificate BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS event (position INTEGER PRIMARY KEY, at TEXT NOT NULL, what TEXT NOT NULL,
                                  detail TEXT NOT NULL);
"""


@dataclass(frozen=True, slots=True)
class _Generation:
    number: int
    serial: int
    key: rsa.RSAPrivateKey
    certificate: bytes

    @property
    def key_identifier(self) -> bytes:
        loaded = x509.Certificate.load(self.certificate)
        return bytes(loaded.key_identifier)


class Authority:
    """One of the two authorities, with its store in the world.

    Every issue is one transaction: the serial number, the certificate and the event are on disk together when
    `issue` answers, or none of them is. Serial numbers are one gapless sequence over all generations, which the
    authority's own certificates share.
    """

    def __init__(self, world: World, kind: Kind, profile: Profile = EMULATED) -> None:
        self.kind = kind
        self.profile = profile
        self._world = world
        self._path: Path = world.store("pki") / f"{kind.word}.sqlite"

    def root(self, at: datetime | None = None) -> bytes:
        """The certificate, as DER, of the generation that issues at an instant (now); made if it is not there yet."""
        with self._transaction() as database:
            return self._generation(database, issuing_at(at or self._world.clock.now())).certificate

    def issue(self, request: Request) -> bytes:
        """Certify a public key; answers the certificate as DER."""
        with self._transaction() as database:
            generation = self._generation(database, issuing_at(request.not_before))
            serial = _next_serial(database)
            body = der.to_be_signed(
                serial,
                der.authority_name(self.profile, self.kind),
                subject(self.kind, request, serial, self._world.chance("common name", self.kind.word, str(serial))),
                (request.not_before, request.not_after),
                request.public_key,
                end_entity_extensions(self.profile, self.kind, request, generation.key_identifier, generation.serial),
            )
            certificate = _sign(body, generation.key)
            database.execute("INSERT INTO issued VALUES (?, ?, ?)", (serial, generation.number, certificate))
            self._record(database, "issued", serial=serial, generation=generation.number)
            return certificate

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        database = sqlite3.connect(self._path, isolation_level=None, timeout=30)
        try:
            self._path.chmod(0o600)
            database.execute("PRAGMA synchronous = FULL")
            database.executescript(_SCHEMA)
            # IMMEDIATE: two issuers must not both read the last serial before either has written the next.
            database.execute("BEGIN IMMEDIATE")
            try:
                yield database
            except BaseException:
                database.execute("ROLLBACK")
                raise
            database.execute("COMMIT")
        finally:
            database.close()

    def _generation(self, database: sqlite3.Connection, number: int) -> _Generation:
        row = database.execute(
            "SELECT number, serial, key, certificate FROM generation WHERE number = ?", (number,)
        ).fetchone()
        if row is None:
            row = self._begin_generation(database, number)
        return _Generation(row[0], row[1], _load(row[2]), row[3])

    def _begin_generation(self, database: sqlite3.Connection, number: int) -> tuple[int, int, bytes, bytes]:
        pkcs8 = self._world.keys.take()
        key = _load(pkcs8)
        serial, begin = _next_serial(database), begins(number)
        own_name = der.authority_name(self.profile, self.kind)
        public_key = key.public_key().public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        body = der.to_be_signed(
            serial,
            own_name,
            own_name,
            (begin, anniversary_end(begin, ROOT_YEARS)),
            public_key,
            _root_extensions(self.profile, self.kind, public_key),
        )
        row = (number, serial, pkcs8, _sign(body, key))
        database.execute("INSERT INTO generation VALUES (?, ?, ?, ?)", row)
        self._record(database, "generation begun", number=number, serial=serial)
        return row

    def _record(self, database: sqlite3.Connection, what: str, **detail: int) -> None:
        at = self._world.clock.now().astimezone(JST).isoformat()
        database.execute("INSERT INTO event (at, what, detail) VALUES (?, ?, ?)", (at, what, json.dumps(detail)))


@lru_cache(maxsize=16)
def _load(pkcs8: bytes) -> rsa.RSAPrivateKey:
    # The authority made this key itself; proving its primes again at each use would cost 50 ms.
    key = serialization.load_der_private_key(pkcs8, None, unsafe_skip_rsa_key_validation=True)
    if not isinstance(key, rsa.RSAPrivateKey):
        raise TypeError("an authority's key is an RSA key")
    return key


def _next_serial(database: sqlite3.Connection) -> int:
    (last,) = database.execute(
        "SELECT max(serial) FROM (SELECT serial FROM generation UNION ALL SELECT serial FROM issued)"
    ).fetchone()
    return FIRST_SERIAL if last is None else int(last) + 1


def _root_extensions(profile: Profile, kind: Kind, public_key: bytes) -> list[Any]:
    """The five extensions of an authority's own certificate, in their order."""
    return [
        der.extension("2.5.29.15", x509.KeyUsage({"key_cert_sign", "crl_sign"}), critical=True),
        der.extension("2.5.29.17", der.authority_name_ja(profile, kind)),
        der.extension("2.5.29.19", x509.BasicConstraints({"ca": True}), critical=True),
        der.extension("2.5.29.31", der.distribution_point(der.authority_name(profile, kind))),
        der.extension("2.5.29.14", x509.OctetString(keys.PublicKeyInfo.load(public_key).sha1)),
    ]


def _sign(body: Any, key: rsa.RSAPrivateKey) -> bytes:
    signature = key.sign(body.dump(), padding.PKCS1v15(), hashes.SHA256())
    return bytes(
        x509.Certificate(
            {"tbs_certificate": body, "signature_algorithm": der.SHA256_RSA, "signature_value": signature}
        ).dump()
    )


def fingerprint(certificate: bytes) -> str:
    """The SHA-256 fingerprint of a certificate, in hexadecimal."""
    return hashlib.sha256(certificate).hexdigest().upper()
