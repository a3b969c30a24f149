"""Challenges in a relying party's store, shared by several processes."""

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
    """Challenges that have no response yet, on disk. Each can be taken once, whichever process takes it."""

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
            sa.Column("purpose", sa.Text, nullable=False),
            sa.Column("browser", sa.Text, nullable=False),
            sa.Column("tenant", sa.Text, nullable=False),
        )  # fmt: skip
        # A challenge lives for minutes: those of an older version are dropped rather than converted.
        self.store = world.store(ACTOR, metadata, [self._challenge.drop])

    def give(self, origin: str) -> Challenge:
        """Issue and store a challenge for responses that are sent to an origin."""
        challenge = new_challenge(origin, self._world.clock.now())
        self.put(challenge)
        return challenge

    def put(self, challenge: Challenge, tenant: str = "") -> None:
        """Store a challenge."""
        row = {"nonce": challenge.nonce, "origin": challenge.origin, "issued_at": epoch(challenge.issued_at),
               "kind": challenge.kind.code, "text": challenge.text, "purpose": challenge.purpose,
               "browser": challenge.browser, "tenant": tenant}  # fmt: skip
        with self.store.transaction() as connection:
            connection.execute(sa.insert(self._challenge), row)

    def take(self, nonce: bytes, tenant: str = "") -> Challenge | None:
        """Remove the tenant's challenge with that nonce and return it, or None."""
        table = self._challenge
        own_row = (table.c.nonce == nonce) & (table.c.tenant == tenant)
        with self.store.transaction() as connection:
            statement = sa.delete(table).where(own_row).returning(*table.c)
            row = connection.execute(statement).one_or_none()
        if row is None:
            return None
        kind = CERTIFICATE_TYPES[row.kind]
        return Challenge(row.origin, nonce, from_epoch(row.issued_at), kind, row.text, row.purpose, row.browser)

    def forget(self, before: datetime) -> None:
        """Delete the challenges that were issued before an instant."""
        table = self._challenge
        with self.store.transaction() as connection:
            connection.execute(sa.delete(table).where(table.c.issued_at < epoch(before)))
