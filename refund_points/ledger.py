"""The centre's ledger: points move from account to account, so that what is given to one was taken from another.

A posting is a row with both accounts. Points that are granted come from the account GRANTED and go to somebody's
account of a year; a refund takes them from there to PAYABLE, and from PAYABLE to PAID once the bank has paid. The
sum over all accounts is nothing at any time. A record's posting bears the till's name and number, which are unique:
that is what makes a record count once.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from kazashi.world.storage import Position

GRANTED, PAYABLE, PAID = 1, 2, 3
"""The accounts of the centre's own. GRANTED goes below nothing: what it lacks is what people have been given."""

_OWN = {GRANTED: "granted", PAYABLE: "payable", PAID: "paid"}
FIRST = 100
"""People's accounts are counted from here on."""

_CHUNK = 400
"""How many accounts are asked for at once; databases bound the number of values in a statement."""


class Ledger:
    """The tables and the questions that are asked of them; `metadata` is the centre's."""

    def __init__(self, metadata: sa.MetaData) -> None:
        self.account = sa.Table(
            "account", metadata,
            sa.Column("id", Position, primary_key=True),
            sa.Column("year", sa.Integer, nullable=False),
            sa.Column("code", sa.Text, nullable=False),
            sa.UniqueConstraint("code", "year"),
        )  # fmt: skip
        self.posting = posting = sa.Table(
            "posting", metadata,
            sa.Column("position", Position, primary_key=True),
            sa.Column("debit", sa.BigInteger, nullable=False),
            sa.Column("credit", sa.BigInteger, nullable=False),
            sa.Column("points", sa.Integer, nullable=False),
            sa.Column("at", sa.BigInteger, nullable=False),
            sa.Column("application", sa.BigInteger),
            # What follows is there for a till's record.
            sa.Column("till", sa.Integer),
            sa.Column("number", sa.BigInteger),
            sa.Column("digest", sa.Text),
            sa.Column("bought", sa.BigInteger),
            sa.Column("eligible", sa.Integer),
            sa.Column("receipt", sa.Text),
            sa.Column("of", sa.Text),
            sa.Column("doubtful", sa.Boolean),
            sa.Column("lines", sa.Text),
        )  # fmt: skip
        # Indexes hold what is looked up and nothing else: GRANTED has a row for every record.
        recorded = posting.c.till.is_not(None)
        sa.Index("posting_of_till", posting.c.till, posting.c.number, unique=True, postgresql_where=recorded,
                 sqlite_where=recorded)  # fmt: skip
        for column in (posting.c.debit, posting.c.credit):
            persons = column >= FIRST
            sa.Index(f"posting_{column.name}", column, postgresql_where=persons, sqlite_where=persons)
        applied = posting.c.application.is_not(None)
        sa.Index("posting_application", posting.c.application, postgresql_where=applied, sqlite_where=applied)

    def begin(self, connection: sa.Connection) -> None:
        """Open the centre's own accounts. Once: the numbers that people's accounts get go on from there."""
        rows = [{"id": number, "year": 0, "code": name} for number, name in [*_OWN.items(), (FIRST - 1, "")]]
        sql = "INSERT INTO account (id, year, code) VALUES (:id, :year, :code) ON CONFLICT DO NOTHING"
        connection.execute(sa.text(sql), rows)
        if connection.dialect.name == "postgresql":
            sequence = "pg_get_serial_sequence('account', 'id')"
            sql = f"SELECT setval({sequence}, greatest(:first, (SELECT max(id) FROM account)))"
            connection.execute(sa.text(sql), {"first": FIRST})

    def accounts(self, connection: sa.Connection, wanted: Iterable[tuple[str, int]]) -> dict[tuple[str, int], int]:
        """The numbers of the accounts of these codes and years; those that are not there yet are opened."""
        # In one order, so that two that open the same ones do not wait for each other for ever.
        keys = sorted(set(wanted))
        found = self.known(connection, keys)
        fresh: list[dict[str, Any]] = [{"code": code, "year": year} for code, year in keys if (code, year) not in found]
        if fresh:
            self._insert(connection, self.account, fresh, "(code, year)")
            found |= self.known(connection, [(row["code"], row["year"]) for row in fresh])
        return found

    def known(self, connection: sa.Connection, keys: Sequence[tuple[str, int]]) -> dict[tuple[str, int], int]:
        """The numbers of those of these accounts that are there."""
        table, found = self.account.c, {}
        for begin in range(0, len(keys), _CHUNK):
            part = keys[begin : begin + _CHUNK]
            query = sa.select(table.code, table.year, table.id).where(table.code.in_({code for code, _ in part}))
            wanted = set(part)
            found.update(
                {(code, year): number for code, year, number in connection.execute(query) if (code, year) in wanted}
            )
        return found

    def record(self, connection: sa.Connection, rows: Sequence[Mapping[str, Any]]) -> set[tuple[int, int]]:
        """Post what tills have recorded; answers till and number of those that were not there yet."""
        if not rows:
            return set()
        given = self._insert(connection, self.posting, rows, "(till, number) WHERE till IS NOT NULL", "till, number")
        return {(till, number) for till, number in given}

    def _insert(
        self,
        connection: sa.Connection,
        table: sa.Table,
        rows: Sequence[Mapping[str, Any]],
        key: str,
        returning: str = "",
    ) -> Any:
        """Insert rows, all in one statement however many they are, except those whose `key` is there already."""
        columns = list(rows[0])
        names = ", ".join(f'"{name}"' for name in columns)
        if connection.dialect.name == "postgresql":
            kinds = ", ".join(f'"{name}" {table.c[name].type.compile(connection.dialect)}' for name in columns)
            source = f"SELECT {names} FROM json_to_recordset(CAST(:rows AS json)) AS given({kinds})"
        else:
            picked = ", ".join(f"json_extract(value, '$.{name}')" for name in columns)
            # "WHERE true" tells SQLite that ON belongs to the conflict and not to a join.
            source = f"SELECT {picked} FROM json_each(:rows) WHERE true"
        sql = f"INSERT INTO {table.name} ({names}) {source} ON CONFLICT {key} DO NOTHING"
        statement = sa.text(f"{sql} RETURNING {returning}" if returning else sql)
        return connection.execute(statement, {"rows": json.dumps(rows, ensure_ascii=False)})

    def digests(self, connection: sa.Connection, keys: Iterable[tuple[int, int]]) -> dict[tuple[int, int], str]:
        """The digests of records that are there, by till and number."""
        table, found = self.posting.c, {}
        by_till: dict[int, list[int]] = {}
        for till, number in keys:
            by_till.setdefault(till, []).append(number)
        for till, numbers in by_till.items():
            for begin in range(0, len(numbers), _CHUNK):
                part = numbers[begin : begin + _CHUNK]
                query = sa.select(table.number, table.digest).where(table.till == till, table.number.in_(part))
                found.update({(till, number): digest for number, digest in connection.execute(query)})
        return found

    def move(
        self, connection: sa.Connection, debit: int, credit: int, points: int, at: int, application: int | None = None
    ) -> None:  # fmt: skip
        """Post a movement of the centre's own. Raises ValueError for one of nothing or less."""
        if points <= 0:
            raise ValueError(f"{points} points are no movement")
        row = {"debit": debit, "credit": credit, "points": points, "at": at, "application": application}
        connection.execute(sa.insert(self.posting), row)

    def balances(self, connection: sa.Connection, accounts: Sequence[int]) -> dict[int, int]:
        """What lies in these accounts. Not for the centre's own, which have no index: `total` is."""
        found = dict.fromkeys(accounts, 0)
        for column, sign in ((self.posting.c.credit, 1), (self.posting.c.debit, -1)):
            for begin in range(0, len(accounts), _CHUNK):
                part = accounts[begin : begin + _CHUNK]
                query = sa.select(column, sa.func.sum(self.posting.c.points)).where(column.in_(part)).group_by(column)
                for account, points in connection.execute(query):
                    found[account] += sign * int(points)
        return found

    def totals(self, connection: sa.Connection) -> dict[str, int]:
        """What lies in each of the centre's own accounts, and in all of people's together: their sum is nothing."""
        totals = dict.fromkeys([*_OWN.values(), "people"], 0)
        for column, sign in ((self.posting.c.credit, 1), (self.posting.c.debit, -1)):
            own = sa.case((column < FIRST, column), else_=0)
            for account, points in connection.execute(sa.select(own, sa.func.sum(self.posting.c.points)).group_by(own)):
                totals[_OWN.get(account, "people")] += sign * int(points)
        return totals
