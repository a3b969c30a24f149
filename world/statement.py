"""SQL statements that are executed many times."""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import sqlite

Parameters = Mapping[str, Any]

_SQLITE = sqlite.dialect(paramstyle="named")


class Statement:
    """A statement of SQLAlchemy that is executed many times, always with the same names of parameters.

    On SQLite it is compiled once and then handed to the driver, because SQLAlchemy takes ten times as long to execute a
    small statement as SQLite. So the columns must be of types that the driver has. An error of the driver ends the
    transaction, which raises StoreFailed.
    """

    def __init__(self, statement: sa.Executable) -> None:
        self._statement = statement
        self._sql = ""
        self._constants: Parameters = {}
        self._lists: list[str] = []
        self._make: Any = None

    def all(self, connection: sa.Connection, parameters: Parameters | None = None) -> Sequence[Any]:
        """Execute the statement and return its rows, which have the columns as attributes."""
        parameters = parameters or {}
        if connection.dialect.name != "sqlite":
            return connection.execute(self._statement, parameters).all()
        cursor = _cursor(connection)
        rows = cursor.execute(*self._prepared(parameters)).fetchall()
        if not rows:
            return []
        if self._make is None:
            names = [column[0] for column in cursor.description]
            self._make = namedtuple("_Row", names, rename=True)._make  # type: ignore[attr-defined]
        return [self._make(row) for row in rows]

    def one_or_none(self, connection: sa.Connection, parameters: Parameters | None = None) -> Any:
        """Execute the statement and return its only row, or None if it has none."""
        rows = self.all(connection, parameters)
        return rows[0] if rows else None

    def scalar(self, connection: sa.Connection, parameters: Parameters | None = None) -> Any:
        """Execute the statement and return the first column of its first row, or None if it has no row."""
        row = self.one_or_none(connection, parameters)
        return None if row is None else row[0]

    def run(self, connection: sa.Connection, parameters: Parameters) -> int:
        """Execute the statement and return the number of rows that it has inserted, changed or deleted."""
        if connection.dialect.name != "sqlite":
            return connection.execute(self._statement, parameters).rowcount
        return int(_cursor(connection).execute(*self._prepared(parameters)).rowcount)

    def run_all(self, connection: sa.Connection, parameters: Sequence[Parameters]) -> None:
        """Execute the statement, which has no IN, with each of these parameters. There is at least one."""
        if connection.dialect.name != "sqlite":
            connection.execute(self._statement, parameters)
        else:
            sql, _ = self._prepared(parameters[0])
            _cursor(connection).executemany(sql, [{**self._constants, **one} for one in parameters])

    def _prepared(self, parameters: Parameters) -> tuple[str, Parameters]:
        """Return the SQL for SQLite, with a parameter for each element of a list, and the values of its parameters."""
        if not self._sql:
            compiled: Any = self._statement.compile(dialect=_SQLITE, column_keys=list(parameters))  # type: ignore[attr-defined]
            names = {name: bind for bind, name in compiled.bind_names.items()}
            self._constants = {name: bind.value for name, bind in names.items() if not bind.required}
            self._lists = [name for name, bind in names.items() if bind.expanding]
            self._sql = str(compiled)
        sql, values = self._sql, {**self._constants, **parameters}
        for name in self._lists:
            elements = {f"{name}_{place}": value for place, value in enumerate(values.pop(name))}
            sql = sql.replace(f"__[POSTCOMPILE_{name}]", ", ".join(f":{element}" for element in elements))
            values |= elements
        return sql, values


def _cursor(connection: sa.Connection) -> Any:
    driver: Any = connection.connection.driver_connection
    return driver.cursor()
