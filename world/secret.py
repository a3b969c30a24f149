"""An actor's own secrets, such as keys: drawn once, and the same ever after."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import sqlalchemy as sa


class Secrets:
    """The table of an actor's secrets."""

    def __init__(self, metadata: sa.MetaData) -> None:
        self._table = sa.Table(
            "secret", metadata,
            sa.Column("name", sa.Text, primary_key=True),
            sa.Column("value", sa.LargeBinary, nullable=False),
        )  # fmt: skip

    def begin(self, connection: sa.Connection, name: str, make: Callable[[], Mapping[str, bytes]]) -> dict[str, bytes]:
        """All secrets by name. Where `name` is not among them, those that `make` returns are added first. For a
        transaction that was begun with `Store.alone`: of several programs, one makes them."""
        rows = connection.execute(sa.select(self._table)).all()
        held = {row.name: bytes(row.value) for row in rows}
        if name not in held:
            made = make()
            connection.execute(sa.insert(self._table), [{"name": one, "value": value} for one, value in made.items()])
            held |= made
        return held
