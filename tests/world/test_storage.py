"""Stores: transactions, a full disk, an unreachable database server."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Thread

import psycopg
import pytest
import sqlalchemy as sa

from kazashi.assembly.institutions import Institutions
from kazashi.resident_registry.event import MoveWithin
from kazashi.resident_registry.sample_residents import SAMPLE_RESIDENTS
from kazashi.world.clock import epoch
from kazashi.world.event_log import event_row, event_table
from kazashi.world.key_source import KeySource
from kazashi.world.secret import Secrets
from kazashi.world.storage import Store, StoreFailed, open_store
from tests.town import MORNING, fresh_database, new_world


@pytest.fixture
def numbers(tmp_path: Path, storage: str) -> Iterator[tuple[Store, sa.Table]]:
    metadata = sa.MetaData()
    table = sa.Table("number", metadata, sa.Column("number", sa.BigInteger, primary_key=True))
    store = open_store(tmp_path / "stores", storage, "actor", metadata)
    yield store, table
    store.close()


def test_a_transaction_is_all_or_nothing(numbers: tuple[Store, sa.Table]) -> None:
    store, table = numbers

    def stored() -> list[int]:
        with store.reading() as connection:
            return list(connection.scalars(sa.select(table.c.number).order_by(table.c.number)))

    with store.transaction() as connection:
        connection.execute(sa.insert(table), [{"number": 1}, {"number": 2}])
    with suppress(KeyError), store.transaction() as connection:
        connection.execute(sa.insert(table), {"number": 3})
        raise KeyError
    for duplicates in ([4, 1], [5, 5]):
        with pytest.raises(sa.exc.IntegrityError), store.transaction() as connection:
            connection.execute(sa.insert(table), [{"number": number} for number in duplicates])
    assert stored() == [1, 2]


def test_a_database_error_is_reported_in_one_line(numbers: tuple[Store, sa.Table]) -> None:
    store, _ = numbers
    for within in (store.transaction, store.reading):
        with (
            pytest.raises(StoreFailed, match=r"the store (of actor|.*actor\.sqlite) failed: ") as failed,
            within() as connection,
        ):
            connection.execute(sa.text("SELECT * FROM nowhere"))
        assert "\n" not in str(failed.value)


def test_a_file_that_is_not_a_database_is_refused_and_kept(tmp_path: Path) -> None:
    (tmp_path / "actor.sqlite").write_bytes(b"somebody's letters" * 100)
    with pytest.raises(StoreFailed, match="not a database"):
        open_store(tmp_path, "", "actor", sa.MetaData())
    assert (tmp_path / "actor.sqlite").read_bytes() == b"somebody's letters" * 100


# A full disk

FULL = """
import json, os, sys
from dataclasses import replace
from pathlib import Path
from kazashi.resident_registry.sample_residents import SAMPLE_RESIDENTS
from kazashi.resident_registry.event import MoveWithin
from tests.town import new_institutions
from kazashi.assembly.error_codes import code_of
from kazashi.world.key_source import SharedKeySource, generate
from kazashi.world.storage import StoreFailed

disk = Path(sys.argv[1])
os.environ["SQLITE_TMPDIR"] = sys.argv[1]
town = new_institutions(disk / "w", SharedKeySource([generate()]))
town.issue_card("hanako", "hanako")
town.settle()
before = town.registry.find("hanako")
filler = (disk / "filler").open("wb", buffering=0)
try:
    while True:
        filler.write(b"x" * 4096)
except OSError:
    pass
failed, moves = [], 0
try:
    for moves in range(10000):
        town.registry.record("hanako", MoveWithin("町%d" % moves + "あ" * 50))
except StoreFailed as error:
    failed.append([code_of(error), str(error)])
try:
    town.registry.add(replace(SAMPLE_RESIDENTS["taro"], street="あ" * 190))
except StoreFailed as error:
    failed.append([code_of(error), str(error)])
street, history = town.registry.find("hanako").street, len(town.registry.history("hanako"))
people = town.registry.count()
waiting = town.registry.outbox.waiting(town.registry.store)
filler.truncate(0)
town.registry.record("hanako", MoveWithin("after"))
town.settle()
after = town.juki_net.j_lis.identity(before.code).street
print(json.dumps({"failed": failed, "moves": moves, "street": street, "history": history, "people": people,
                  "waiting": waiting, "after": after}))
"""


def on_a_small_disk(directory: Path, size: str, program: str) -> subprocess.CompletedProcess[str]:
    """Run a program in its own mount namespace, in which `directory` is a small disk."""
    directory.mkdir()
    namespace = ["unshare", "--mount"] + (["--map-root-user"] if os.geteuid() != 0 else [])
    script = 'mount -t tmpfs -o size="$1" tmpfs "$2" && exec "$3" -c "$4" "$2"'
    return subprocess.run(
        [*namespace, "sh", "-c", script, "sh", size, str(directory), sys.executable, program],
        capture_output=True, text=True, check=False, timeout=100,
    )  # fmt: skip


def test_a_full_disk_leaves_nothing_partly_written(tmp_path: Path) -> None:
    done = on_a_small_disk(tmp_path / "disk", "12m", FULL)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert [code for code, _ in result["failed"]] == ["store-failed"] * 2
    for _, message in result["failed"]:
        assert message.endswith("/stores/registry.sqlite failed: the disk is full")
        assert "\n" not in message
    moves = result["moves"]
    hanako = SAMPLE_RESIDENTS["hanako"]
    assert result["street"].startswith(f"町{moves - 1}あ") if moves else result["street"] == hanako.street
    assert (result["history"], result["waiting"], result["people"]) == (moves + 1, moves, 1)
    assert result["after"] == "after", "with free space it continues"
    assert not list((tmp_path / "disk").iterdir()), "the disk belonged to the program's namespace"


# An unreachable database server


def test_a_missing_server_is_reported_in_one_line(tmp_path: Path) -> None:
    storage = f"postgresql://nobody@/nothing?host={tmp_path}"
    with pytest.raises(StoreFailed, match="the store of j_lis failed") as failed:
        Institutions(new_world(tmp_path / "w", storage=storage)).registry.count()
    assert "\n" not in str(failed.value)


@contextmanager
def administrator(url: str) -> Iterator[Callable[[str], None]]:
    with psycopg.connect(url, autocommit=True) as connection:

        def execute(statement: str) -> None:
            connection.execute(statement.encode())

        yield execute


def test_a_lost_connection_fails_one_command(tmp_path: Path, keys: KeySource, postgresql: str) -> None:
    with fresh_database(postgresql) as storage, administrator(postgresql) as execute:
        world = new_world(tmp_path / "w", keys, storage)
        town = Institutions(world)
        town.resident("hanako")
        name = sa.make_url(storage).database
        execute(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'")
        with pytest.raises(StoreFailed, match="the store of registry failed") as failed:
            town.registry.record("hanako", MoveWithin("町１"))
        assert "\n" not in str(failed.value)
        town.registry.record("hanako", MoveWithin("町２"))
        assert [entry.code for entry in town.registry.history("hanako")] == ["registration", "move-within"]
        execute(f"DROP DATABASE {name} WITH (FORCE)")
        for _ in range(2):
            with pytest.raises(StoreFailed):
                town.registry.find("hanako")
        world.close()
        execute(f"CREATE DATABASE {name}")


# Secrets and the event log


def test_concurrent_callers_create_secrets_once(tmp_path: Path, storage: str) -> None:
    metadata = sa.MetaData()
    secrets = Secrets(metadata)
    store = open_store(tmp_path, storage, "actor", metadata)
    made_by: list[int] = []
    seen: list[dict[str, bytes]] = []

    def begin(number: int) -> None:
        def make() -> dict[str, bytes]:
            made_by.append(number)
            return {"key": bytes([number]), "certificate": bytes([number, number])}

        with store.alone() as connection:
            seen.append(secrets.begin(connection, "key", make))

    threads = [Thread(target=begin, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (first,) = made_by
    assert seen == [{"key": bytes([first]), "certificate": bytes([first, first])}] * 8
    with store.alone() as connection:
        assert secrets.begin(connection, "salt", lambda: {"salt": b"s"}) == {**seen[0], "salt": b"s"}
    store.close()


def test_an_event_is_logged_only_if_its_transaction_commits(tmp_path: Path, storage: str) -> None:
    metadata = sa.MetaData()
    table, log = event_table(metadata, sa.Column("person", sa.Text))
    store = open_store(tmp_path, storage, "actor", metadata)
    with store.transaction() as connection:
        log(connection, MORNING, "birth", {"name": "花子"}, person="1")
        connection.execute(sa.insert(table), [event_row(MORNING, "move", {}, person="1")])
    with suppress(KeyError), store.transaction() as connection:
        log(connection, MORNING, "death", {})
        raise KeyError
    with store.reading() as connection:
        rows = connection.execute(sa.select(table).order_by(table.c.position)).all()
    assert [(row.at, row.what, row.person, json.loads(row.detail)) for row in rows] == [
        (epoch(MORNING), "birth", "1", {"name": "花子"}), (epoch(MORNING), "move", "1", {}),
    ]  # fmt: skip
    store.close()
