"""Worlds and stores of other versions of the program.

The worlds in `data` were made by the program before stores had versions (world format 2). They contain a person with
three events, a card, a till with a waiting record, and a network.
"""

from __future__ import annotations

import socket
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa

from kazashi.applets.install import load_card
from kazashi.assembly.actors import actors_of
from kazashi.assembly.error_codes import code_of
from kazashi.assembly.institutions import Institutions
from kazashi.assembly.network_server import core_of
from kazashi.assembly.points import open_till, tills_here
from kazashi.assembly.points_server import centre_of
from kazashi.card_management.consequence import CardState
from kazashi.card_management.order import image_path
from kazashi.refund_points.centre import RecordOutcome
from kazashi.relying_party.login.provider_store import ProviderStore
from kazashi.world.home import CONTROL_SOCKET, FORMAT, World, WorldUnusable, open_world
from kazashi.world.storage import Migration, Store, StoreTooNew, open_store
from tests.crash import killed_at

pytestmark = pytest.mark.crash

DATA = Path(__file__).parent / "data"
MIGRATED = ("authority_authentication", "authority_signature", "card_management", "j_lis", "prefectures", "registry")
VERSIONS = {
    **dict.fromkeys(MIGRATED, 2),
    "openid_provider": 3,
    "j_lis": 3,
    "registry": 3,
    "card_management": 3,
    "provision_core": 4,
}
"""The versions of the stores that have been changed since stores have versions."""


@pytest.fixture
def before(tmp_path: Path, storage: str) -> Path:
    """The directory of a world of format 2, on each kind of storage."""
    directory = tmp_path / "w"
    kind = "postgresql" if storage else "sqlite"
    with tarfile.open(DATA / f"format-2-{kind}.tar.xz") as archive:
        archive.extraction_filter = getattr(tarfile, "data_filter", None)  # since Python 3.11.4
        archive.extractall(directory)
    if storage:
        with psycopg.connect(storage, autocommit=True) as connection:
            connection.execute((directory / "stores.sql").read_bytes())
        settings = directory / "world.json"
        settings.write_text(settings.read_text().replace("postgresql://", storage))
    return directory


@pytest.fixture
def world(before: Path) -> Iterator[World]:
    world = open_world(before)
    yield world
    world.close()


def events(store: Store) -> list[dict[str, Any]]:
    query = sa.text("SELECT * FROM event ORDER BY position")
    with store.reading() as connection:
        return [dict(row) for row in connection.execute(query).mappings()]


def version(store: Store) -> int:
    with store.reading() as connection:
        return int(connection.scalar(sa.text("SELECT version FROM schema_version")) or 0)


def test_an_older_world_is_migrated_and_keeps_its_content(before: Path, capfd: pytest.CaptureFixture[str]) -> None:
    world = open_world(before)
    message = capfd.readouterr().err
    assert message.startswith(f"kazashi: the world in {before} was upgraded from format 2 to format 3; older programs ")
    town = Institutions(world)
    history = town.registry.history("hanako")
    assert [(entry.code, entry.detail) for entry in history] == [
        ("registration", {}), ("move-within", {"street": "架空町９丁目"}), ("number-change", {}),
        ("move-within", {"street": "架空町１０丁目"}),
    ]  # fmt: skip
    assert history[-1].day == date(2026, 11, 24)
    assert town.cards.card_state("hanako") is CardState.ENDED, "its holder's number was changed"
    migrated = capfd.readouterr().err.splitlines()
    assert sorted(migrated) == [
        f"kazashi: the store of {actor} was migrated from version 1 to {VERSIONS[actor]}" for actor in MIGRATED
    ]
    load_card(image_path(world, "hanako"))
    assert [one.serial for authority in town.authorities.values() for one in authority.of_holder(code_of_hanako(town))]
    assert [(row["what"], row["detail"]) for row in events(town.cards.store)] == [
        ("new ordered", "{}"), ("new done", "{}"), ("ended", '{"note": "number-change"}'),
    ]  # fmt: skip
    assert [row["what"] for row in events(town.juki_net.prefectures.store)] == [
        "registration", "move-within", "number-change",
    ]  # fmt: skip
    assert [row["what"] for row in events(town.juki_net.j_lis.store)] == [
        "codes granted", "registration", "move-within", "number-change",
    ]  # fmt: skip
    world.close()
    again = Institutions(open_world(before))
    assert again.registry.history("hanako") == history
    assert capfd.readouterr().err == "", "it is reported once"
    again.world.close()


def code_of_hanako(town: Institutions) -> Any:
    return town.registry.find("hanako").code


def test_a_world_with_a_running_older_instance_is_not_changed(tmp_path: Path) -> None:
    directory = tmp_path / "w"
    open_world(directory, seed="older").close()
    file = directory / "world.json"
    older = file.read_text(encoding="utf-8").replace(f'"format": {FORMAT}', '"format": 2')
    file.write_text(older, encoding="utf-8")
    (directory / "run").mkdir(exist_ok=True)
    with socket.socket(socket.AF_UNIX) as instance:
        instance.bind(str(directory / "run" / CONTROL_SOCKET))
        instance.listen()
        with pytest.raises(WorldUnusable, match="kazashi down"):
            open_world(directory)
        assert file.read_text(encoding="utf-8") == older
    open_world(directory).close()
    assert file.read_text(encoding="utf-8") != older


def test_waiting_messages_and_records_are_sent_after_a_migration(world: World) -> None:
    town = Institutions(world)
    assert town.juki_net.j_lis.identity(code_of_hanako(town)).street == "架空町９丁目"
    town.settle()
    assert town.juki_net.j_lis.identity(code_of_hanako(town)).street == "架空町１０丁目"
    assert [row["what"] for row in events(town.juki_net.prefectures.store)][-1] == "move-within"
    till = open_till(world, "rice-shop", "till-1")
    replies = centre_of(world).receive(till.name, [record.signed.to_wire() for record in till.waiting(10)])
    assert [reply.answer for reply in replies] == [RecordOutcome.AGAIN, RecordOutcome.ACCEPTED], (
        "the first had already been received"
    )
    assert [one.name for one in tills_here(world)] == ["rice-shop/till-1/1"]
    core = core_of(world)
    bodies = core.members.institutions()
    assert bodies
    assert [one.lacks(one.starts) for one in bodies] == [""] * len(bodies), "assessed bodies have a document"
    assert {one.assessment.published for one in bodies if one.assessment} == {one.starts.date() for one in bodies}
    provider = ProviderStore(world)
    assert provider.secret("salt", lambda: b"another") == bytes(range(32))
    client = provider.client("shop")
    assert client is not None
    assert client.redirects == ("https://shop.example/back",)
    assert client.pkce, "clients of before need PKCE, as they did"
    assert client.algorithm == "RS256"


def test_every_store_that_is_opened_gets_a_version(world: World) -> None:
    town = Institutions(world)
    stores = [town.registry.store, town.juki_net.j_lis.store, town.juki_net.prefectures.store, town.cards.store,
              *(authority.ledger.store for authority in town.authorities.values()), centre_of(world).store,
              core_of(world).store, ProviderStore(world).store,
              open_till(world, "rice-shop", "till-1").store]  # fmt: skip
    assert {store.actor: version(store) for store in stores} == {
        store.actor: VERSIONS.get(store.actor, 1) for store in stores
    }
    assert {store.actor for store in stores} > {*MIGRATED, "provision_core", "refund_centre", "openid_provider"}
    assert {store.actor for store in stores} - {"till-rice-shop-till-1"} <= {actor.store for actor in actors_of(world)}


def test_a_new_store_has_the_newest_version(town: Institutions, capfd: pytest.CaptureFixture[str]) -> None:
    assert [version(store) for store in (town.registry.store, town.cards.store)] == [3, 3]
    assert [version(authority.ledger.store) for authority in town.authorities.values()] == [2, 2]
    assert capfd.readouterr().err == ""


# A store for these tests, whose table got two more columns

SECOND = sa.MetaData()
sa.Table(
    "thing", SECOND, sa.Column("name", sa.Text, primary_key=True), sa.Column("size", sa.Integer, nullable=False),
    sa.Column("colour", sa.Text),
)  # fmt: skip
FIRST = sa.MetaData()
sa.Table("thing", FIRST, sa.Column("name", sa.Text, primary_key=True))


def add_size(connection: sa.Connection) -> None:
    connection.execute(sa.text("ALTER TABLE thing ADD COLUMN size INTEGER NOT NULL DEFAULT 0"))
    connection.execute(sa.text("UPDATE thing SET size = length(name)"))


def add_colour(connection: sa.Connection) -> None:
    connection.execute(sa.text("ALTER TABLE thing ADD COLUMN colour TEXT"))
    connection.execute(sa.text("UPDATE thing SET colour = name || size"))


def opened(directory: Path, storage: str, *migrations: Migration) -> tuple[int, list[tuple[Any, ...]]]:
    """The version and the rows of the store after a program with these migrations has opened it."""
    store = open_store(directory, storage, "things", SECOND if migrations else FIRST, migrations)
    with store.reading() as connection:
        rows = [tuple(row) for row in connection.execute(sa.text("SELECT * FROM thing"))]
    after = version(store)
    store.close()
    return after, rows


def without_version(directory: Path, storage: str) -> None:
    """Make a store with a row, as programs made it before there were versions."""
    store = open_store(directory, storage, "things", FIRST)
    with store.transaction() as connection:
        connection.execute(sa.text("INSERT INTO thing (name) VALUES ('apple')"))
        connection.execute(sa.text("DROP TABLE schema_version"))
    store.close()


def test_a_store_without_a_version_gets_one_or_is_migrated(
    tmp_path: Path, storage: str, capfd: pytest.CaptureFixture[str]
) -> None:
    without_version(tmp_path, storage)
    assert opened(tmp_path, storage) == (1, [("apple",)])
    assert capfd.readouterr().err == ""
    assert opened(tmp_path, storage, add_size) == (2, [("apple", 5)])
    assert opened(tmp_path, storage, add_size, add_colour) == (3, [("apple", 5, "apple5")])
    assert opened(tmp_path, storage, add_size, add_colour) == (3, [("apple", 5, "apple5")])
    assert capfd.readouterr().err.splitlines() == [
        "kazashi: the store of things was migrated from version 1 to 2",
        "kazashi: the store of things was migrated from version 2 to 3",
    ]


def test_all_migrations_share_one_transaction(tmp_path: Path, storage: str) -> None:
    without_version(tmp_path, storage)

    def fail(_: sa.Connection) -> None:
        raise KeyError("colour")

    with pytest.raises(KeyError):
        opened(tmp_path, storage, add_size, fail)
    assert opened(tmp_path, storage) == (1, [("apple",)])
    assert opened(tmp_path, storage, add_size, add_colour) == (3, [("apple", 5, "apple5")])


def test_a_migration_survives_being_killed(tmp_path: Path) -> None:
    moment, killed = 0, True
    while killed:
        moment += 1
        directory = tmp_path / str(moment)
        without_version(directory, "")
        killed = killed_at(moment, lambda home=directory: opened(home, "", add_size, add_colour))  # type: ignore[misc]
        assert opened(directory, "", add_size, add_colour) == (3, [("apple", 5, "apple5")])
    assert moment > 1


def test_a_newer_store_is_refused_and_not_changed(tmp_path: Path, storage: str) -> None:
    without_version(tmp_path, storage)
    newest = opened(tmp_path, storage, add_size, add_colour)
    file = tmp_path / "things.sqlite"
    bytes_before = b"" if storage else file.read_bytes()
    with pytest.raises(StoreTooNew) as refused:
        opened(tmp_path, storage, add_size)
    assert str(refused.value) == (
        "the store of things has version 3, and this program reads versions up to 2;"
        " update Kazashi, or name another world with --world"
    )
    assert code_of(refused.value) == "store-too-new"
    assert storage or (file.read_bytes() == bytes_before and not list(tmp_path.glob("things.sqlite-*")))
    assert opened(tmp_path, storage, add_size, add_colour) == newest


def test_a_command_refuses_a_newer_store(before: Path) -> None:
    world = open_world(before)
    store = Institutions(world).registry.store
    with store.transaction() as connection:
        connection.execute(sa.text("UPDATE schema_version SET version = 99"))
    world.close()
    command = [sys.executable, "-m", "kazashi", "--world", str(before), "registry", "list"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 3
    assert "the store of registry has version 99, and this program reads versions up to 3" in done.stderr
    assert done.stderr.rstrip().endswith("[store-too-new]")


def test_reading_a_store_for_a_study_does_not_change_it(before: Path) -> None:
    world = open_world(before)
    with world.store_to_study("registry").reading() as connection:
        assert sa.inspect(connection).has_table("person")
        assert not sa.inspect(connection).has_table("schema_version")
    assert Institutions(world).registry.find("hanako").alias == "hanako"
    assert version(world.store_to_study("registry")) == 3
    world.close()
