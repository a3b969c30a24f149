"""An actor's own secrets, such as keys. They are created once and do not change."""

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
        """Return all secrets by name. If `name` is not among them, those that `make` returns are added first.

        The transaction must be one of `Store.alone`, so that only one of several programs makes the secrets.
        """
        rows = connection.execute(sa.select(self._table)).all()
        secrets = {row.name: bytes(row.value) for row in rows}
        if name not in secrets:
            new = make()
            connection.execute(sa.insert(self._table), [{"name": key, "value": value} for key, value in new.items()])
            secrets |= new
        return secrets
