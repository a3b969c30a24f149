"""A limit on guesses at something secret that is short: a date of birth, an identifier."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

import sqlalchemy as sa

from kazashi.world.clock import epoch
from kazashi.world.storage import Store


class TooManyGuesses(Exception):
    """There were too many wrong guesses. Nothing was compared."""


class Guesses:
    """A table of wrong guesses, by who guesses or what is guessed at.

    A guess is on disk before it is compared, so that neither a crash nor a second process makes one free.
    """

    def __init__(self, metadata: sa.MetaData, period: timedelta) -> None:
        """Count the wrong guesses of each period."""
        self._period = period
        self._table = sa.Table(
            "guess", metadata,
            sa.Column("who", sa.Text, primary_key=True),
            sa.Column("count", sa.Integer, nullable=False),
            sa.Column("since", sa.BigInteger, nullable=False),
        )  # fmt: skip

    def spend(self, store: Store, now: datetime, most: Mapping[str, int]) -> None:
        """Count a guess for each key of `most`, whose values are the numbers of guesses allowed.

        Raises TooManyGuesses, and then counts nothing, if one of them has used up its guesses.
        """
        table = self._table
        with store.alone() as connection:
            connection.execute(sa.delete(table).where(table.c.since <= epoch(now - self._period)))
            for one, allowed in most.items():
                count = connection.scalar(sa.select(table.c.count).where(table.c.who == one))
                if count is None:
                    connection.execute(sa.insert(table), {"who": one, "count": 1, "since": epoch(now)})
                elif count < allowed:
                    connection.execute(sa.update(table).where(table.c.who == one).values(count=count + 1))
                else:
                    raise TooManyGuesses(
                        f"there were {allowed} wrong guesses within {self._period.days} days; try again later"
                    )

    def give_back(self, store: Store, *who: str) -> None:
        """Uncount the last guess of each of `who`, because it was right."""
        table = self._table
        with store.transaction() as connection:
            connection.execute(sa.update(table).where(table.c.who.in_(who)).values(count=table.c.count - 1))
