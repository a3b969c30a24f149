"""Statements that are executed many times, on both kinds of storage."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from kazashi.world.statement import Statement
from kazashi.world.storage import Position, Store, StoreFailed, insert_if_absent, open_store

METADATA = sa.MetaData()
VISIT = sa.Table(
    "visit", METADATA,
    sa.Column("number", Position, primary_key=True),
    sa.Column("place", sa.Text, nullable=False),
    sa.Column("token", sa.LargeBinary),
)  # fmt: skip
SEAT = sa.Table("seat", METADATA, sa.Column("place", sa.Text, primary_key=True))


@pytest.fixture
def store(tmp_path: Path, storage: str) -> Iterator[Store]:
    store = open_store(tmp_path / "stores", storage, "actor", METADATA)
    yield store
    store.close()


def test_a_statement_does_what_sqlalchemy_would_do_with_it(store: Store) -> None:
    add = Statement(sa.insert(VISIT).returning(VISIT.c.number))
    at = Statement(sa.select(VISIT).where(VISIT.c.place == sa.bindparam("p")).order_by(VISIT.c.number))
    either = VISIT.c.place.in_(("here", "there"))
    number_of = Statement(sa.select(sa.func.count()).where(either))
    others = Statement(sa.select(VISIT.c.place).where(VISIT.c.place.not_in(sa.bindparam("ps", expanding=True))))
    move = Statement(sa.update(VISIT).where(VISIT.c.place == sa.bindparam("p")).values(place="there"))
    occupy = Statement(insert_if_absent(SEAT))
    with store.transaction() as connection:
        assert at.all(connection, {"p": "here"}) == []
        assert at.one_or_none(connection, {"p": "here"}) is None
        assert at.scalar(connection, {"p": "here"}) is None
        numbers = [add.scalar(connection, {"place": "here", "token": token}) for token in (b"\x00\xff", None)]
        add.run_all(connection, [{"place": place, "token": b""} for place in ("here", "elsewhere")])
        assert [occupy.run(connection, {"place": "here"}) for _ in range(2)] == [1, 0]
    with store.transaction() as connection:
        rows = at.all(connection, {"p": "here"})
        assert [(row.number, row.place, row.token) for row in rows[:2]] == [
            (numbers[0], "here", b"\x00\xff"), (numbers[1], "here", None),
        ]  # fmt: skip
        assert len(rows) == 3
        assert move.run(connection, {"p": "here"}) == 3
        assert move.run(connection, {"p": "here"}) == 0
        assert number_of.scalar(connection) == 3
        assert [row.place for row in others.all(connection, {"ps": ["there", "nowhere"]})] == ["elsewhere"]
        assert len(others.all(connection, {"ps": []})) == 4
        assert at.one_or_none(connection, {"p": "elsewhere"}).token == b""


def test_a_parameter_that_is_missing_is_not_null(store: Store) -> None:
    add = Statement(sa.insert(VISIT))
    forget = Statement(sa.update(VISIT).where(VISIT.c.place == sa.bindparam("p")).values(token=sa.bindparam("t")))
    with store.transaction() as connection:
        add.run(connection, {"place": "here", "token": b"t"})
    with pytest.raises((StoreFailed, sa.exc.StatementError)), store.transaction() as connection:
        forget.run(connection, {"p": "here"})
    with store.reading() as connection:
        assert connection.scalar(sa.select(VISIT.c.token)) == b"t"


def test_an_error_of_the_driver_undoes_the_transaction(store: Store) -> None:
    add = Statement(sa.insert(VISIT))

    def visit(*places: str | None) -> None:
        with store.transaction() as connection:
            for place in places:
                add.run(connection, {"place": place, "token": None})

    with pytest.raises((StoreFailed, sa.exc.IntegrityError)):
        visit("here", None)
    visit("there")
    with store.reading() as connection:
        assert list(connection.scalars(sa.select(VISIT.c.place))) == ["there"]
