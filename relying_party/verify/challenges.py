"""Challenges in a relying party's own store, where several processes find them."""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa

from kazashi.jpki.profile import CERTIFICATE_TYPES
from kazashi.relying_party.verify.authentication import Challenge, new_challenge
from kazashi.world.clock import epoch, from_epoch
from kazashi.world.home import World

ACTOR = "relying_party"
"""The name of this actor's store."""


class StoredChallenges:
    """Challenges that wait for their answers on disk. Each is taken once, whoever asks."""

    def __init__(self, world: World) -> None:
        self._world = world
        metadata = sa.MetaData()
        self._challenge = sa.Table(
            "challenge", metadata,
            sa.Column("nonce", sa.LargeBinary, primary_key=True),
            sa.Column("origin", sa.Text, nullable=False),
            sa.Column("kind", sa.Text, nullable=False),
            sa.Column("text", sa.Text, nullable=False),
            sa.Column("issued_at", sa.BigInteger, nullable=False, index=True),
        )  # fmt: skip
        self.store = world.store(ACTOR, metadata)

    def give(self, origin: str) -> Challenge:
        """A new challenge for answers at an origin, kept."""
        given = new_challenge(origin, self._world.clock.now())
        self.put(given)
        return given

    def put(self, challenge: Challenge) -> None:
        """Keep a challenge."""
        row = {"nonce": challenge.nonce, "origin": challenge.origin, "issued_at": epoch(challenge.issued_at),
               "kind": challenge.kind.code, "text": challenge.text}  # fmt: skip
        with self.store.transaction() as connection:
            connection.execute(sa.insert(self._challenge), row)

    def take(self, nonce: bytes) -> Challenge | None:
        """The challenge with that nonce, which is gone afterwards."""
        table = self._challenge
        with self.store.transaction() as connection:
            taken = sa.delete(table).where(table.c.nonce == nonce).returning(*table.c)
            row = connection.execute(taken).one_or_none()
        if row is None:
            return None
        return Challenge(row.origin, nonce, from_epoch(row.issued_at), CERTIFICATE_TYPES[row.kind], row.text)

    def forget(self, before: datetime) -> None:
        """Drop those that were given out before an instant."""
        table = self._challenge
        with self.store.transaction() as connection:
            connection.execute(sa.delete(table).where(table.c.issued_at < epoch(before)))
