"""The centre's double-entry ledger: every posting moves points from one account to another.

A posting is a row with both accounts. Granted points move from the account GRANTED to a person's account for a year. A
refund moves them from there to PAYABLE, and from PAYABLE to PAID once the bank has paid. The sum over all accounts is
always zero. The posting of a record has the till's installation and the record's number; their pair is unique, so a
record counts once.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from kazashi.world.storage import Position

GRANTED, PAYABLE, PAID = 1, 2, 3
"""The centre's own accounts. The balance of GRANTED is negative: it is minus the points that people were granted."""

_OWN = {GRANTED: "granted", PAYABLE: "payable", PAID: "paid"}
FIRST = 100
"""The first number of a personal account."""

_CHUNK = 400
"""The number of accounts in one query, because databases limit the number of values in a statement."""


class Ledger:
    """The ledger's tables and the queries on them."""

    def __init__(self, metadata: sa.MetaData) -> None:
        """Add the tables to `metadata`, the centre's."""
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
            # The columns below are only set for a till's record.
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
        # The indexes are partial, with only the rows that are looked up: GRANTED has a row for every record.
        recorded = posting.c.till.is_not(None)
        sa.Index("posting_of_till", posting.c.till, posting.c.number, unique=True, postgresql_where=recorded,
                 sqlite_where=recorded)  # fmt: skip
        for column in (posting.c.debit, posting.c.credit):
            persons = column >= FIRST
            sa.Index(f"posting_{column.name}", column, postgresql_where=persons, sqlite_where=persons)
        applied = posting.c.application.is_not(None)
        sa.Index("posting_application", posting.c.application, postgresql_where=applied, sqlite_where=applied)

    def begin(self, connection: sa.Connection) -> None:
        """Open the centre's own accounts, once. Personal accounts are numbered after them."""
        rows = [{"id": number, "year": 0, "code": name} for number, name in [*_OWN.items(), (FIRST - 1, "")]]
        sql = "INSERT INTO account (id, year, code) VALUES (:id, :year, :code) ON CONFLICT DO NOTHING"
        connection.execute(sa.text(sql), rows)
        if connection.dialect.name == "postgresql":
            sequence = "pg_get_serial_sequence('account', 'id')"
            sql = f"SELECT setval({sequence}, greatest(:first, (SELECT max(id) FROM account)))"
            connection.execute(sa.text(sql), {"first": FIRST})

    def accounts(self, connection: sa.Connection, wanted: Iterable[tuple[str, int]]) -> dict[tuple[str, int], int]:
        """Return the account numbers for these codes and years; accounts that do not exist yet are opened."""
        # Sorted, so that two transactions that open the same accounts cannot deadlock.
        keys = sorted(set(wanted))
        numbers = self.known(connection, keys)
        new: list[dict[str, Any]] = [{"code": code, "year": year} for code, year in keys if (code, year) not in numbers]
        if new:
            self._insert(connection, self.account, new, "(code, year)")
            numbers |= self.known(connection, [(row["code"], row["year"]) for row in new])
        return numbers

    def known(self, connection: sa.Connection, keys: Sequence[tuple[str, int]]) -> dict[tuple[str, int], int]:
        """Return the account numbers for these codes and years; accounts that do not exist are left out."""
        table, numbers = self.account.c, {}
        for begin in range(0, len(keys), _CHUNK):
            part = keys[begin : begin + _CHUNK]
            query = sa.select(table.code, table.year, table.id).where(table.code.in_({code for code, _ in part}))
            wanted = set(part)
            numbers.update(
                {(code, year): number for code, year, number in connection.execute(query) if (code, year) in wanted}
            )
        return numbers

    def record(self, connection: sa.Connection, rows: Sequence[Mapping[str, Any]]) -> set[tuple[int, int]]:
        """Post the tills' records. Returns the till and number of each record that was not posted before."""
        if not rows:
            return set()
        new = self._insert(connection, self.posting, rows, "(till, number) WHERE till IS NOT NULL", "till, number")
        return {(till, number) for till, number in new}

    def _insert(
        self,
        connection: sa.Connection,
        table: sa.Table,
        rows: Sequence[Mapping[str, Any]],
        key: str,
        returning: str = "",
    ) -> Any:
        """Insert all rows in one statement, except those whose `key` exists already."""
        columns = list(rows[0])
        names = ", ".join(f'"{name}"' for name in columns)
        if connection.dialect.name == "postgresql":
            kinds = ", ".join(f'"{name}" {table.c[name].type.compile(connection.dialect)}' for name in columns)
            source = f"SELECT {names} FROM json_to_recordset(CAST(:rows AS json)) AS given({kinds})"
        else:
            picked = ", ".join(f"json_extract(value, '$.{name}')" for name in columns)
            # "WHERE true" tells SQLite that ON begins the conflict clause and not a join condition.
            source = f"SELECT {picked} FROM json_each(:rows) WHERE true"
        sql = f"INSERT INTO {table.name} ({names}) {source} ON CONFLICT {key} DO NOTHING"
        statement = sa.text(f"{sql} RETURNING {returning}" if returning else sql)
        return connection.execute(statement, {"rows": json.dumps(rows, ensure_ascii=False)})

    def digests(self, connection: sa.Connection, keys: Iterable[tuple[int, int]]) -> dict[tuple[int, int], str]:
        """Return the digests of those records that are posted, by till and number."""
        table, digests = self.posting.c, {}
        by_till: dict[int, list[int]] = {}
        for till, number in keys:
            by_till.setdefault(till, []).append(number)
        for till, numbers in by_till.items():
            for begin in range(0, len(numbers), _CHUNK):
                part = numbers[begin : begin + _CHUNK]
                query = sa.select(table.number, table.digest).where(table.till == till, table.number.in_(part))
                digests.update({(till, number): digest for number, digest in connection.execute(query)})
        return digests

    def move(
        self, connection: sa.Connection, debit: int, credit: int, points: int, at: int, application: int | None = None
    ) -> None:  # fmt: skip
        """Post a movement that the centre makes itself. Raises ValueError if `points` is zero or negative."""
        if points <= 0:
            raise ValueError(f"a movement must be of 1 point or more, not {points}")
        row = {"debit": debit, "credit": credit, "points": points, "at": at, "application": application}
        connection.execute(sa.insert(self.posting), row)

    def balances(self, connection: sa.Connection, accounts: Sequence[int]) -> dict[int, int]:
        """Return the balances of personal accounts. The centre's own accounts have no index: use `totals` for them."""
        balances = dict.fromkeys(accounts, 0)
        for column, sign in ((self.posting.c.credit, 1), (self.posting.c.debit, -1)):
            for begin in range(0, len(accounts), _CHUNK):
                part = accounts[begin : begin + _CHUNK]
                query = sa.select(column, sa.func.sum(self.posting.c.points)).where(column.in_(part)).group_by(column)
                for account, points in connection.execute(query):
                    balances[account] += sign * int(points)
        return balances

    def totals(self, connection: sa.Connection) -> dict[str, int]:
        """Return the balance of each of the centre's own accounts, and of all personal accounts together ("people").
        They sum to zero."""
        totals = dict.fromkeys([*_OWN.values(), "people"], 0)
        for column, sign in ((self.posting.c.credit, 1), (self.posting.c.debit, -1)):
            own = sa.case((column < FIRST, column), else_=0)
            for account, points in connection.execute(sa.select(own, sa.func.sum(self.posting.c.points)).group_by(own)):
                totals[_OWN.get(account, "people")] += sign * int(points)
        return totals
