"""The first matching, killed at every moment at which something becomes durable, and then carried on."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path

import pytest

from kazashi.assembly.network_bodies import NetworkBodies
from kazashi.assembly.network_matching import NetworkMatching
from kazashi.assembly.network_questions import NetworkQuestions
from kazashi.provision_network.asking import RequestStage
from kazashi.provision_network.assessments import sample_assessment
from kazashi.provision_network.law.tables import table_of_affairs
from kazashi.provision_network.match_file import written
from kazashi.provision_network.match_register import HolderReport
from kazashi.provision_network.match_trail import MatchState, TrailStep
from kazashi.provision_network.matching import Attributes, MatchRecord, attributes_of
from kazashi.provision_network.tie_checks import Signal
from kazashi.world.key_source import SharedKeySource
from tests.crash import left_at_each_moment
from tests.provision_network.connected_town import SHIBUYA, ConnectedTown, copied, opened, prepare
from tests.town import clock_of

pytestmark = pytest.mark.crash

BODY, ITEM = "架空年金機構", "年金給付関係情報"
HANAKO, NOBODY = "000000001", "000000002"
ASKING = next(row.purpose for row in table_of_affairs() if (row.number, row.purpose.item) == ("27", ITEM)
              and (row.purpose.requester, row.purpose.provider) == ("市町村長", "日本年金機構"))  # fmt: skip


@pytest.fixture(scope="module")
def body(tmp_path_factory: pytest.TempPathFactory, keys: SharedKeySource) -> Path:
    """A world with a body that has handed in nothing yet."""
    home = tmp_path_factory.mktemp("matching") / "w"
    prepare(home, keys)
    with opened(home, keys) as town:
        add_body(town)
    return home


def add_body(town: ConnectedTown) -> None:
    """Register the body a day after the town, so that its exchanges are later than the network's first."""
    clock_of(town.institutions.world).stand(town.institutions.world.clock.now() + timedelta(days=1))
    assessment = sample_assessment(BODY, "日本年金機構", date(2026, 11, 24))
    NetworkBodies(town.network).add(BODY, "日本年金機構", assessment=assessment)


def file_of(town: ConnectedTown) -> bytes:
    stranger = Attributes("架空　誰某", "カクウ　タレガシ", "19500101", "1", "東京都渋谷区架空町１番地")
    people = [MatchRecord(HANAKO, attributes_of(town.resident("hanako"))), MatchRecord(NOBODY, stranger)]
    return written(BODY, date(2026, 11, 24), people).encode()


def answered(town: ConnectedTown) -> RequestStage:
    done = NetworkQuestions(town.network).ask(SHIBUYA, BODY, town.resident("hanako"), ASKING)
    return done.asked.stage


def everywhere(home: Path, keys: SharedKeySource, action: Callable[[ConnectedTown], object], every: int,
               check: Callable[[ConnectedTown], None]) -> int:  # fmt: skip
    """Run an action, and check what is left at every so-many-th moment. Returns the number of moments."""

    def acted() -> None:
        with opened(home, keys) as town:
            action(town)

    moment = 0
    for moment, left in enumerate(left_at_each_moment(home, acted)):
        if moment % every == 0:
            with opened(left, keys) as town:
                check(town)
    return moment


@pytest.mark.parametrize("every", [9, pytest.param(1, marks=pytest.mark.long)])
def test_a_file_is_matched_once_and_whole(body: Path, tmp_path: Path, keys: SharedKeySource, every: int) -> None:
    def run(town: ConnectedTown) -> None:
        NetworkMatching(town.network, BODY).run(file_of(town), "担当")

    def check(town: ConnectedTown) -> None:
        matching = NetworkMatching(town.network, BODY)
        before = {one.number: one.state for one in matching.register.records()}
        assert before in ({}, {HANAKO: MatchState.TIED, NOBODY: MatchState.OPEN}), "all of the file, or nothing"
        run(town)
        states = {one.number: one.state for one in matching.register.records()}
        assert states == {HANAKO: MatchState.TIED, NOBODY: MatchState.OPEN}
        assert [(one.number, one.step) for one in matching.register.trail()] == [(HANAKO, TrailStep.TIED)]
        assert len(matching.register.files()) == 1
        assert (
            NetworkBodies(town.network).people(BODY)[0].individual_number == town.resident("hanako").individual_number
        )
        assert answered(town) is RequestStage.ANSWERED, "there is a code"
        assert town.troubles() == []

    assert everywhere(copied(body, tmp_path / "w"), keys, run, every, check) > 10


@pytest.mark.parametrize("every", [17, pytest.param(1, marks=pytest.mark.long)])
def test_a_tie_is_undone_once_and_whole(body: Path, tmp_path: Path, keys: SharedKeySource, every: int) -> None:
    home = copied(body, tmp_path / "w")
    with opened(home, keys) as town:
        NetworkMatching(town.network, BODY).run(file_of(town), "担当")
        server = town.network.interface_of(BODY).server(BODY)
        address = NetworkBodies(town.network).address_of(BODY, town.resident("hanako"))
        server.register(server.code_of(address), address, ITEM, "支給中")
        assert answered(town) is RequestStage.ANSWERED

    def undo(town: ConnectedTown) -> None:
        NetworkMatching(town.network, BODY).undo(HANAKO, "担当", "別人")

    def check(town: ConnectedTown) -> None:
        matching = NetworkMatching(town.network, BODY)
        matching.carry_on()
        if matching.register.record(HANAKO).state is MatchState.TIED:
            undo(town)
        assert matching.register.record(HANAKO).state is MatchState.OPEN
        steps = [one.step for one in matching.register.trail(HANAKO)]
        assert steps == [TrailStep.TIED, TrailStep.UNDO, TrailStep.UNDONE]
        assert NetworkBodies(town.network).people(BODY) == []
        assert town.network.interface_of(BODY).server(BODY).copies_by_person() == {}
        notices = town.core.corrections.notices(BODY)
        assert [(one.requester, one.item) for one in notices] == [(SHIBUYA, ITEM)], "who had the copy is told once"
        assert town.troubles() == []
        process = NetworkQuestions(town.network).ask(SHIBUYA, BODY, town.resident("hanako"), ASKING)
        assert process.asked.denial == "no-longer-here"

    assert everywhere(home, keys, undo, every, check) > 10


@pytest.mark.long
def test_both_databases_keep_the_same_ties(tmp_path: Path, keys: SharedKeySource, storage: str) -> None:
    prepare(tmp_path / "w", keys, storage)
    with opened(tmp_path / "w", keys) as town:
        add_body(town)
        matching = NetworkMatching(town.network, BODY)
        done = matching.run(file_of(town), "担当")
        assert (done.tied, done.work_list, done.codes) == (1, 1, 1)
        matching.report(HANAKO, HolderReport.NOT_MINE, town.institutions.world.clock.now().date())
        assert [one.suspicion.signal for one in matching.check()] == [Signal.NOT_MINE]
        matching.undo(HANAKO, "担当", "別人")
        assert [one.record.number for one in matching.work_list()] == [HANAKO, NOBODY]
        assert [one.step for one in matching.register.trail(HANAKO)] == [
            TrailStep.TIED, TrailStep.SUSPECTED, TrailStep.UNDO, TrailStep.UNDONE,
        ]  # fmt: skip
        assert town.troubles() == []
