"""`kazashi network`: set up by command, served as processes, and used with Chromium."""

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
    """Run a command and return its JSON output, or its error message."""
    done = subprocess.run(
        [sys.executable, "-m", "kazashi", "--world", str(world.directory), "network", *words, "--json"],
        capture_output=True, text=True, check=False, timeout=2 * LIMIT,
    )  # fmt: skip
    assert done.returncode == expect, done.stdout + done.stderr
    return json.loads(done.stdout) if done.stdout else done.stderr


def test_commands_before_setup_say_what_to_do(keys: SharedKeySource, tmp_path: Path) -> None:
    empty = new_institutions(tmp_path / "w", keys).world
    empty.close()
    for words in (("ask", "hanako"), ("records", "hanako"), ("rulings",), ("three-ways", "hanako")):
        assert "run: kazashi network setup [usage]" in say(empty, *words, expect=2)
    (gate,) = say(empty, "setup", expect=1)
    assert (gate["stage"], gate["ok"]) == ("test data", False), "setup stops at the first gate that does not hold"


def test_n4_the_stages_of_the_operation_test_in_their_order(world: World) -> None:
    gates = say(world, "setup")
    assert [gate["stage"] for gate in gates] == [
        "test data", "bodies connected", "codes issued", "copies registered", "query and provision", "linkage opened",
    ]  # fmt: skip
    assert all(gate["ok"] for gate in gates)
    assert say(world, "setup") != [], "setup can be repeated"


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
    assert len(runner["values"]) == 4, "two values for each of two people: its operator can read everything"
    assert len(number["shared identifiers"]) == 1, "one number for everybody"
    assert tokens["seen"]["core"]["values"] == []
    assert len(tokens["seen"]["core"]["identifiers"]) == 3, "the core alone has all three codes"
    others = [sights["identifiers"] for who, sights in tokens["seen"].items() if who != "core"]
    assert all(len(identifiers) == 1 for identifiers in others)
    assert len({identifier for identifiers in others for identifier in identifiers}) == 3


def test_p4_five_reasons_are_checked_against_the_stores(world: World) -> None:
    say(world, "setup")
    findings = {finding["reason"]: finding for finding in say(world, "rulings", expect=1)}
    assert {reason: finding["holds"] for reason, finding in findings.items()} == {
        "i": True, "ii": True, "iii": False, "iv": True, "v": True,
    }  # fmt: skip
    assert "the operator of municipal" in findings["iii"]["against"][0]


def test_p4_a_reason_that_does_not_hold_names_its_rows(keys: SharedKeySource, tmp_path: Path) -> None:
    institutions = new_institutions(tmp_path / "w", keys)
    institutions.issue_card("hanako", "hanako")
    network = Network(institutions)
    assert all(gate.ok for gate in network.rehearse(addresses()))
    OffNetwork(network.world).give("渋谷区", "警視庁", ALLOWED[13], "住所")
    findings = held_against_stores(network.world, network)
    assert [finding.reason for finding in findings if not finding.holds] == ["iii"]
    import sqlalchemy as sa

    with network.core.store.transaction() as connection:
        connection.execute(sa.text("UPDATE provision_record SET reason = '' WHERE number = 1"))
    with network.municipal.platform.store.transaction() as connection:
        connection.execute(sa.text(
            "INSERT INTO copy SELECT owner, code, '病歴', address_number, content, registered_at, by_hand FROM copy"
        ))  # fmt: skip
    with institutions.juki_net.j_lis.store.transaction() as connection:
        connection.execute(sa.text("""UPDATE identity SET document = '{"illness": "x"}'"""))
    against = {finding.reason: finding.against for finding in held_against_stores(network.world, network)}
    assert against["i"] == ["j_lis.identity holds 'illness'"]
    assert against["ii"] == ["provision_record 1"]
    assert len(against["iii"]) == 3
    network.world.close()


def test_rules_are_listed_and_decide_queries(world: World) -> None:
    assert len(say(world, "rules")) == 139
    assert {row["requester"] for row in say(world, "rules", "--requester", "日本学生支援機構")} == {"日本学生支援機構"}
    assert say(world, "rules", "--gap")[0] == "国税通則法"
    purpose = ("市町村長", "児童手当法", "児童手当の支給", "市町村長")
    assert say(world, "decide", *purpose, "地方税関係情報")["rule"] == "番号法19条7号, 別表第二 74"
    denied = say(world, "decide", *purpose, "病歴", expect=1)
    assert (denied["denial"], denied["penalty"][:7]) == ("not-listed", "off-pur")
    assert say(world, "decide", *purpose, "地方税関係情報", "--on", "2016-01-01", expect=1)["denial"] == "not-in-force"
    assert "is not a date" in say(world, "decide", *purpose, "x", "--on", "soon", expect=2)


def test_first_matching_writes_a_work_list(world: World, tmp_path: Path) -> None:
    report = say(world, "match", "--records", "1000", "--work-list", str(tmp_path / "work.csv"))
    assert report["exact match fails"] == pytest.approx(0.2, abs=0.02)
    assert report["matcher recall"] > 0.9
    assert len((tmp_path / "work.csv").read_text(encoding="utf-8").splitlines()) == report["left to people"] + 1


@dataclass
class Everything:
    """A reader with a card, the agent, and the network's processes."""

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
    with running_stack(institutions, pcscd) as stack:
        network = Network(institutions)
        where = free_addresses()
        assert all(gate.ok for gate in network.rehearse(where))
        everything = Everything(stack, where, {})
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
    """Reload the page and return what it shows of the person's own information."""
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
    until(lambda: "総所得金額" in own_information(page), "the person's own information is shown")
    assert "マイナポータル" in page.inner_text("#records"), "the portal's own query has a record, too"
    assert "本人 you" in page.inner_text("#looks")
    ARTEFACTS.mkdir(exist_ok=True)
    page.screenshot(path=ARTEFACTS / "network-portal.png", full_page=True)
    page.click("#logout")
    log_in(page, "#login", PIN)
    page.wait_for_selector("#records")


def test_p4_services_that_keep_what_the_card_carries_are_named(everything: Everything, page: Page) -> None:
    """A person has set up the portal and registered at a site, so agencies store serial numbers (reason v)."""
    page.goto(everything.where["pages"])
    log_in(page, "#setup", PIN)
    page.wait_for_selector("#records")
    institutions = everything.stack.institutions
    findings = held_against_stores(institutions.world, Network(institutions))
    rows = {finding.reason: finding.against for finding in findings}["v"]
    assert "portal.serial.serial: 1 rows" in rows, "the way from a serial number to a code"
    assert not [row for row in rows if "code:" in row], "no record code is stored anywhere"


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


def test_portal_reports_that_the_core_is_down(everything: Everything, page: Page) -> None:
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


def test_network_benchmark_takes_every_measure() -> None:
    size = bench_network.NetworkSize(conversions=2_000, towns=4, people=4, questions=40, residents=500, bodies=2)
    measures = bench_network.measure(size=size)
    assert len(measures) == 12
    for measure in measures:
        assert min(measure.ours, measure.peer, measure.ratio) > 0
    assert [measure.goal for measure in measures[:2]] == [">= 1", ">= 0.5"]
