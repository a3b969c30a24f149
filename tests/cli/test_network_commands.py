"""`kazashi network`, and the whole of it in a browser: set up by the command, served as processes, seen in Chromium."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page

from benchmarks import bench_network
from kazashi.assembly.network import PARTS, Network, addresses, free_addresses, served
from kazashi.assembly.served import ServedProcess
from kazashi.provision_network.off_network import OffNetwork
from kazashi.provision_network.terms import CORE
from kazashi.reader_bridge.pcscd import RunningPcscd
from kazashi.studies.network_rulings import held_against_stores
from kazashi.world.home import World
from kazashi.world.key_source import SharedKeySource
from tests.polling import LIMIT, until
from tests.provision_network.test_uses_and_provisions import ALLOWED
from tests.refund_points.running_shop import log_in
from tests.relying_party.stack import PIN, Stack, running_stack
from tests.town import new_institutions

pytestmark = pytest.mark.browser

ARTEFACTS = Path(__file__).parent.parent.parent / "artefacts"


@pytest.fixture(scope="module")
def world(keys: SharedKeySource, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    institutions = new_institutions(tmp_path_factory.mktemp("network") / "w", keys)
    institutions.issue_card("hanako", "hanako")
    institutions.issue_card("taro", "taro")
    institutions.settle()
    institutions.world.close()
    yield institutions.world
    institutions.world.close()


def say(world: World, *words: str, expect: int = 0) -> Any:
    """What a command answers, as JSON."""
    done = subprocess.run(
        [sys.executable, "-m", "kazashi", "--world", str(world.directory), "network", *words, "--json"],
        capture_output=True, text=True, check=False, timeout=2 * LIMIT,
    )  # fmt: skip
    assert done.returncode == expect, done.stdout + done.stderr
    return json.loads(done.stdout) if done.stdout else done.stderr


def test_before_the_setup_every_question_says_what_to_do(keys: SharedKeySource, tmp_path: Path) -> None:
    empty = new_institutions(tmp_path / "w", keys).world
    empty.close()
    for words in (("ask", "hanako"), ("records", "hanako"), ("rulings",), ("three-ways", "hanako")):
        assert "try: kazashi network setup [usage]" in say(empty, *words, expect=2)
    (gate,) = say(empty, "setup", expect=1)
    assert (gate["stage"], gate["ok"]) == ("test data", False), "it stops at the first gate that does not hold"


def test_n4_the_stages_of_the_operation_test_in_their_order(world: World) -> None:
    gates = say(world, "setup")
    assert [gate["stage"] for gate in gates] == [
        "test data", "bodies connected", "codes issued", "copies registered", "query and provision", "linkage opened",
    ]  # fmt: skip
    assert all(gate["ok"] for gate in gates)
    assert say(world, "setup") != [], "and once more"


def test_a1_a_question_across_three_institutions_and_its_record(world: World) -> None:
    say(world, "setup")
    before = len(say(world, "records", "hanako"))
    found = say(world, "ask", "hanako")
    assert found["answers"].keys() == {"地方税関係情報", "年金保険関係情報"}
    assert len(found["steps"]) == 10, "five steps to each of two providers"
    records = say(world, "records", "hanako")
    assert len(records) == before + 2
    assert {record["of"] for record in records} == {"東京都港区", "日本年金機構"}
    assert not [record for record in records if any(str(value) in str(record) for value in found["answers"].values())]


def test_d11_three_ways_and_who_sees_what(world: World) -> None:
    say(world, "setup")
    found = say(world, "three-ways", "hanako")
    common, number, tokens = (found[way] for way in found)
    runner = common["seen"]["whoever runs the database"]
    assert len(runner["values"]) == 4, "two people's two values: to run it is to be able to read it"
    assert len(number["shared identifiers"]) == 1, "one number for everybody"
    assert tokens["seen"]["core"]["values"] == []
    assert len(tokens["seen"]["core"]["identifiers"]) == 3, "the core alone has all three codes"
    others = [sights["identifiers"] for who, sights in tokens["seen"].items() if who != "core"]
    assert all(len(identifiers) == 1 for identifiers in others)
    assert len({identifier for identifiers in others for identifier in identifiers}) == 3


def test_p4_the_court_s_five_reasons_against_the_stores(world: World) -> None:
    say(world, "setup")
    findings = {found["reason"]: found for found in say(world, "rulings", expect=1)}
    assert {reason: found["holds"] for reason, found in findings.items()} == {
        "i": True, "ii": True, "iii": False, "iv": True, "v": True,
    }  # fmt: skip
    assert "whoever runs municipal" in findings["iii"]["against"][0]


def test_p4_a_reason_that_does_not_hold_names_its_rows(keys: SharedKeySource, tmp_path: Path) -> None:
    institutions = new_institutions(tmp_path / "w", keys)
    institutions.issue_card("hanako", "hanako")
    network = Network(institutions)
    assert all(gate.ok for gate in network.rehearse(addresses()))
    OffNetwork(network.world).give("渋谷区", "警視庁", ALLOWED[13], "住所")
    assert [one.reason for one in held_against_stores(network.world, network) if not one.holds] == ["iii"]
    import sqlalchemy as sa

    with network.core.store.transaction() as connection:
        connection.execute(sa.text("UPDATE provision_record SET reason = '' WHERE number = 1"))
    with network.municipal.platform.store.transaction() as connection:
        connection.execute(sa.text(
            "INSERT INTO copy SELECT owner, code, '病歴', address_number, content, registered_at, by_hand FROM copy"
        ))  # fmt: skip
    with institutions.juki_net.j_lis.store.transaction() as connection:
        connection.execute(sa.text("""UPDATE identity SET document = '{"illness": "x"}'"""))
    found = {one.reason: one.against for one in held_against_stores(network.world, network)}
    assert found["i"] == ["j_lis.identity holds 'illness'"]
    assert found["ii"] == ["provision_record 1"]
    assert len(found["iii"]) == 3
    network.world.close()


def test_rules_and_decisions(world: World) -> None:
    assert len(say(world, "rules")) == 139
    assert {row["requester"] for row in say(world, "rules", "--requester", "日本学生支援機構")} == {"日本学生支援機構"}
    assert say(world, "rules", "--gap")[0] == "国税通則法"
    purpose = ("市町村長", "児童手当法", "児童手当の支給", "市町村長")
    assert say(world, "decide", *purpose, "地方税関係情報")["rule"] == "番号法19条7号, 別表第二 74"
    denied = say(world, "decide", *purpose, "病歴", expect=1)
    assert (denied["denial"], denied["penalty"][:7]) == ("not-listed", "off-pur")
    assert say(world, "decide", *purpose, "地方税関係情報", "--on", "2016-01-01", expect=1)["denial"] == "not-in-force"
    assert "is no date" in say(world, "decide", *purpose, "x", "--on", "soon", expect=2)


def test_the_first_matching(world: World, tmp_path: Path) -> None:
    report = say(world, "match", "--records", "1000", "--work-list", str(tmp_path / "work.csv"))
    assert report["exact match fails"] == pytest.approx(0.2, abs=0.02)
    assert report["matcher recall"] > 0.9
    assert len((tmp_path / "work.csv").read_text(encoding="utf-8").splitlines()) == report["left to people"] + 1


@dataclass
class Everything:
    """A reader with a card, the agent, and a network of processes."""

    stack: Stack
    where: dict[str, str]
    processes: dict[str, ServedProcess]

    def start(self, part: str) -> None:
        world = self.stack.institutions.world
        log, services = world.run / f"{part.replace(':', '-')}.log", str(self.stack.services.status["http"])
        self.processes[part] = served(world, part, self.where, log, services, self.stack.agent)


@pytest.fixture(scope="module")
def everything(
    pcscd: RunningPcscd, keys: SharedKeySource, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Everything]:
    institutions = new_institutions(tmp_path_factory.mktemp("portal") / "w", keys)
    with running_stack(institutions, pcscd) as found:
        network = Network(institutions)
        where = free_addresses()
        assert all(gate.ok for gate in network.rehearse(where))
        everything = Everything(found, where, {})
        try:
            for part in PARTS:
                everything.start(part)
            yield everything
        finally:
            for process in everything.processes.values():
                process.stop()
    institutions.world.close()


@pytest.fixture
def page(everything: Everything) -> Iterator[Page]:
    context = everything.stack.browser.new_context(viewport={"width": 760, "height": 1400})
    context.set_default_timeout(LIMIT * 1000)
    yield context.new_page()
    context.close()


def own_information(page: Page) -> str:
    """What the page shows of it, loaded anew."""
    page.reload()
    own = page.locator("#own")
    return own.inner_text() if own.count() else ""


def test_f2_f6_the_portal_in_a_browser(everything: Everything, page: Page) -> None:
    page.goto(everything.where["pages"])
    log_in(page, "#login", PIN)
    page.wait_for_selector("[role=alert]")
    assert "You are not registered yet" in page.inner_text("main")
    log_in(page, "#setup", PIN)
    shown = page.inner_text("#records")
    assert "東京都港区" in shown
    assert "番号法19条7号, 別表第二 74" in shown
    assert "総所得金額" not in page.inner_text("main"), "a record has no content"
    assert page.locator("#not-shown li").count() == 5
    assert "捜査機関等への提供" in page.inner_text("#not-shown")
    page.select_option("[name=provider]", "東京都港区")
    page.select_option("[name=item]", "地方税関係情報")
    page.click("#ask")
    until(lambda: "総所得金額" in own_information(page), "one's own information is shown")
    assert "マイナポータル" in page.inner_text("#records"), "and the portal's own question has a record"
    assert "本人 you" in page.inner_text("#looks")
    ARTEFACTS.mkdir(exist_ok=True)
    page.screenshot(path=ARTEFACTS / "network-portal.png", full_page=True)
    page.click("#logout")
    log_in(page, "#login", PIN)
    page.wait_for_selector("#records")


def test_p4_services_that_keep_what_the_card_carries_are_named(everything: Everything, page: Page) -> None:
    """Somebody has set up the portal and registered at a site: serial numbers lie in agencies' computers (v)."""
    page.goto(everything.where["pages"])
    log_in(page, "#setup", PIN)
    page.wait_for_selector("#records")
    institutions = everything.stack.institutions
    found = {one.reason: one.against for one in held_against_stores(institutions.world, Network(institutions))}
    assert "portal.serial.serial: 1 rows" in found["v"], "the way from a serial number to a code"
    assert not [row for row in found["v"] if "code:" in row], "and no record code anywhere"


def test_forms_of_other_sites_are_refused(everything: Everything, page: Page) -> None:
    page.goto(everything.where["pages"])
    log_in(page, "#setup", PIN)
    page.wait_for_selector("#records")
    answer = page.request.post(
        f"{everything.where['pages']}/own", headers={"Origin": "http://evil.test"}, form={"provider": "x", "item": "y"}
    )
    assert answer.status == 403
    answer = page.request.post(
        f"{everything.where['pages']}/own", headers={"Origin": everything.where["pages"]},
        form={"provider": "どこにもない村", "item": "y"},
    )  # fmt: skip
    assert answer.status == 200
    until(lambda: "The request was refused" in own_information(page), "the refusal is shown")


def test_the_portal_says_so_when_the_core_is_away(everything: Everything, page: Page) -> None:
    page.goto(everything.where["pages"])
    log_in(page, "#setup", PIN)
    page.wait_for_selector("#records")
    everything.processes[CORE].kill()
    page.reload()
    assert "いまは表示できません" in page.inner_text("main")
    page.click("#logout")
    log_in(page, "#setup", PIN)
    page.wait_for_selector("[role=alert]")
    assert page.locator("#records").count() == 0
    everything.start(CORE)
    log_in(page, "#setup", PIN)
    page.wait_for_selector("#records")


def test_every_measure_of_the_network_is_taken() -> None:
    size = bench_network.NetworkSize(conversions=2_000, towns=4, people=4, questions=40, residents=500, bodies=2)
    measures = bench_network.measure(size=size)
    assert len(measures) == 12
    for found in measures:
        assert min(found.ours, found.peer, found.ratio) > 0
    assert [found.goal for found in measures[:2]] == [">= 1", ">= 0.5"]
