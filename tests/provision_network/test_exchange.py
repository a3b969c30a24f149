"""Five steps, and copies that each municipality has to itself."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from itertools import permutations
from pathlib import Path

import pytest
import sqlalchemy as sa

from provision_network.core import Core, NetworkRefused, Notified, Outcome
from provision_network.exchange import CORE, Trace, exchange, provide
from provision_network.intermediate import Held, IntermediatePlatform
from provision_network.rules import RuleBook
from tests.provision_network.test_core import HANAKO, MINATO, NOW, PURPOSE, ROWS, SHIBUYA
from world.clock import FixedClock
from world.home import World, open_world
from world.settings import Settings

SECRET = "所得 2,345,678円"
TOWNS = [SHIBUYA, MINATO, "新宿区", "架空町"]


@pytest.fixture
def world(tmp_path: Path, storage: str) -> Iterator[World]:
    world = open_world(tmp_path / "w", settings=Settings("network", storage=storage), clock=FixedClock(NOW))
    yield world
    world.close()


@pytest.fixture
def network(world: World) -> tuple[Core, IntermediatePlatform]:
    core, platform = Core(world, RuleBook(ROWS)), IntermediatePlatform(world)
    for town in TOWNS:
        core.connect(town, "市町村長", assessed=True)
        platform.server(town).register(core.code_for(town, HANAKO), f"{town}-1", PURPOSE.item, f"{SECRET} {town}")
    return core, platform


def test_d7_five_steps_and_the_answer_passes_the_core_by(network: tuple[Core, IntermediatePlatform]) -> None:
    core, platform = network
    trace = Trace()
    found = exchange(core, SHIBUYA, core.code_for(SHIBUYA, HANAKO), PURPOSE, platform.server(MINATO), trace)
    assert found.content == f"{SECRET} {MINATO}"
    assert [(step.sender, step.receiver) for step in trace.steps] == [
        (SHIBUYA, CORE), (CORE, CORE), (CORE, MINATO), (MINATO, MINATO), (MINATO, SHIBUYA),
    ]  # fmt: skip
    content = f"content of {PURPOSE.item}"
    assert content in trace.seen_by(SHIBUYA)
    assert content not in trace.seen_by(CORE)
    assert f"code of {MINATO}" not in trace.seen_by(SHIBUYA)


def test_d3_the_core_holds_no_content_after_any_number_of_exchanges(
    world: World, network: tuple[Core, IntermediatePlatform]
) -> None:
    core, platform = network
    for asker, asked in permutations(TOWNS, 2):
        exchange(core, asker, core.code_for(asker, HANAKO), PURPOSE, platform.server(asked), Trace())
    assert len(core.records(core.portal_code(HANAKO))) == 12
    with core.store.reading() as connection:
        metadata = sa.MetaData()
        metadata.reflect(connection)
        held = [str(value) for table in metadata.tables.values() for row in connection.execute(sa.select(table))
                for value in row]  # fmt: skip
    assert len(held) > 50
    assert not [value for value in held if "2,345,678" in value]


def test_e1_e7_what_is_provided_is_the_copy_with_its_time(
    world: World, network: tuple[Core, IntermediatePlatform]
) -> None:
    core, platform = network
    assert isinstance(world.clock, FixedClock)
    world.clock.stand(NOW + timedelta(days=30))
    found = exchange(core, SHIBUYA, core.code_for(SHIBUYA, HANAKO), PURPOSE, platform.server(MINATO), Trace())
    assert found.registered_at == NOW
    assert found.age(world.clock.now()) == timedelta(days=30)
    platform.server(MINATO).register(core.code_for(MINATO, HANAKO), "港区-1", PURPOSE.item, "newer")
    again = exchange(core, SHIBUYA, core.code_for(SHIBUYA, HANAKO), PURPOSE, platform.server(MINATO), Trace())
    assert (again.content, again.age(world.clock.now())) == ("newer", timedelta(0))


def test_e2_a_copy_has_no_column_for_the_number(network: tuple[Core, IntermediatePlatform]) -> None:
    _, platform = network
    names = {column.name for column in platform.copy.columns}
    assert names == {"owner", "code", "item", "address_number", "content", "registered_at", "by_hand"}


def test_e3_no_municipality_reads_another_s(network: tuple[Core, IntermediatePlatform]) -> None:
    core, platform = network
    for reader, owner in permutations(TOWNS, 2):
        stolen = Notified(1, core.code_for(owner, HANAKO), SHIBUYA, PURPOSE.item, "none")
        with pytest.raises(NetworkRefused) as refused:
            platform.server(reader).answer(stolen)
        assert refused.value.denial == "no-copy"
    assert platform.operator_sees() == dict.fromkeys(TOWNS, 1), "whoever runs the platform could: that risk remains"


def test_e8_a_flagged_item_never_leaves_without_a_human(network: tuple[Core, IntermediatePlatform]) -> None:
    core, platform = network
    minato = platform.server(MINATO)
    code = core.code_for(MINATO, HANAKO)
    minato.register(code, "港区-1", PURPOSE.item, SECRET, by_hand=True)
    trace = Trace()
    with pytest.raises(Held):
        exchange(core, SHIBUYA, core.code_for(SHIBUYA, HANAKO), PURPOSE, minato, trace)
    assert trace.steps[-1].receiver == MINATO, "nothing has gone to the requester"
    (record,) = core.records(core.portal_code(HANAKO))
    assert (record.outcome, minato.waiting()) == (Outcome.HELD, [record.number])
    notified = Notified(record.number, code, SHIBUYA, PURPOSE.item, "")
    with pytest.raises(Held):
        provide(core, notified, minato, trace)
    for wrong in (record.number + 1, -1):
        with pytest.raises(NetworkRefused):
            minato.release(wrong)
    with pytest.raises(NetworkRefused):
        platform.server(SHIBUYA).release(record.number)
    minato.release(record.number)
    assert provide(core, notified, minato, trace).content == SECRET
    assert minato.waiting() == []
    assert core.records(core.portal_code(HANAKO))[0].outcome is Outcome.PROVIDED
    assert not hasattr(Outcome, "REFUSED")


def test_e9_who_has_no_copy_yet_is_listed(network: tuple[Core, IntermediatePlatform]) -> None:
    core, platform = network
    expected = {"渋谷区-1": core.code_for(SHIBUYA, HANAKO), "渋谷区-2": core.code_for(SHIBUYA, "98765432101")}
    assert platform.server(SHIBUYA).without_copy(expected) == ["渋谷区-2"]
    platform.server(SHIBUYA).register(expected["渋谷区-2"], "渋谷区-2", PURPOSE.item, "x")
    assert platform.server(SHIBUYA).without_copy(expected) == []
