"""A town for tests: its institutions, its certificates, and databases for its stores."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path

import psycopg
import sqlalchemy as sa
from cryptography import x509

from kazashi.assembly.institutions import Institutions
from kazashi.jpki.profile import CertificateType
from kazashi.jpki.state import CertificateStatus
from kazashi.pki.certificate_database import Issued
from kazashi.world.clock import WorldClock, instant_of
from kazashi.world.home import World, open_world
from kazashi.world.key_source import KeySource
from kazashi.world.settings import Settings

MORNING = instant_of("2026-11-24T10:00+09:00")
SIGNATURE, AUTHENTICATION = CertificateType.SIGNATURE, CertificateType.AUTHENTICATION


def new_world(directory: Path, keys: KeySource | None = None, storage: str = "", **settings: object) -> World:
    """A new world whose clock is stopped at MORNING."""
    world = open_world(directory, settings=Settings("town", storage, **settings), keys=keys)  # type: ignore[arg-type]
    clock_of(world).stand(MORNING)
    return world


def new_institutions(directory: Path, keys: KeySource, storage: str = "", **settings: object) -> Institutions:
    """The institutions of a new world whose clock is stopped at MORNING."""
    return Institutions(new_world(directory, keys, storage, **settings))


def clock_of(world: World) -> WorldClock:
    """The world's clock, as a WorldClock, which can be set."""
    assert isinstance(world.clock, WorldClock)
    return world.clock


def later(institutions: Institutions, **span: float) -> datetime:
    """Advance the clock (by `days=1`, for example), run the jobs that become due, and return the new time."""
    until = institutions.world.clock.now() + timedelta(**span)
    institutions.advance(until)
    return until


def certificates(institutions: Institutions, who: str, kind: CertificateType) -> list[Issued]:
    """A person's certificates of a type, in the order of notBefore, then of serial number."""
    return institutions.authorities[kind].of_holder(institutions.registry.find(who).code)


def standing(institutions: Institutions, who: str, kind: CertificateType) -> CertificateStatus:
    """The current status of a person's last certificate of a type."""
    return institutions.revocations[kind].status(certificates(institutions, who, kind)[-1].serial)


def loaded(issued: Issued) -> x509.Certificate:
    """A certificate, parsed by `cryptography`."""
    return x509.load_der_x509_certificate(issued.certificate)


@contextmanager
def fresh_database(url: str) -> Iterator[str]:
    """The URL of a new database on a server. It is dropped afterwards."""
    name = f"t{uuid.uuid4().hex}"
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    database = sa.make_url(url).set(database=name)
    try:
        yield database.render_as_string(hide_password=False)
    finally:
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)")
