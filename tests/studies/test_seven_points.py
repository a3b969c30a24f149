"""`kazashi network study`: what is counted for each of the seven points, and the page."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import sync_playwright

from kazashi.assembly.institutions import Institutions
from kazashi.assembly.network import Network, body_of
from kazashi.assembly.network_offices import TAX_OFFICE
from kazashi.provision_network.law.provisions import INVESTIGATIONS, TAXES_PURPOSE, Party, Provision
from kazashi.provision_network.law.versions import ProvisionItem
from kazashi.provision_network.off_network import OffNetwork
from kazashi.studies import seven_points_page
from kazashi.studies.seven_points import studied
from kazashi.tracking_lab.page.words import Language, Words, catalog
from kazashi.world.home import World, open_world
from tests.cli.program import InProcessProgram
from tests.studies.conftest import Copied

pytestmark = pytest.mark.browser

CASE = Provision(ProvisionItem.INVESTIGATION, Party.MUNICIPALITY, Party.INVESTIGATOR, INVESTIGATIONS[3], case="1",
                 reason="x", approved_by="x")  # fmt: skip
TAXES = Provision(ProvisionItem.TAXES, Party.TAX_AGENCY, Party.MUNICIPALITY, TAXES_PURPOSE, safeguards=True)


@pytest.fixture(scope="module")
def world(copied: Copied, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    world = copied(tmp_path_factory.mktemp("study") / "w").world
    world.close()
    yield world
    world.close()


def counts(document: dict[str, Any], number: int) -> dict[str, tuple[int, int | None]]:
    (point,) = [one for one in document["points"] if one["point"] == number]
    return {one["id"]: (one["count"], one["total"]) for one in point["measured"]}


def test_r7_each_of_seven_points_has_counts_that_follow_the_world(world: World) -> None:
    """What the world does changes the counts: provisions outside the network, a copy by hand, another sector, MyKey."""
    program = InProcessProgram(world.directory)
    before = program.json("network", "study", "hanako")
    assert [one["point"] for one in before["points"]] == [1, 2, 3, 4, 5, 6, 7]
    assert all(one["measured"] and re.search("[0-9]", one["words"]) for one in before["points"])
    records = counts(before, 1)["without-consent"]
    assert records == (4, 4), "two of the setup, and two of this study"
    assert counts(before, 1)["shown-to-person"] == (4, 4)
    assert counts(before, 2) == {"other-purposes-refused": (3040, 3040), "joins-without-request": (1, None)}
    (having, bodies), (by_number, pairs) = (counts(before, 3)[f"{name}-number"] for name in ("bodies-with", "pairs-by"))
    assert 1 < having < (bodies or 0), "the portal has no individual number"
    assert (by_number, pairs) == (math.comb(having, 2), math.comb(bodies or 0, 2))
    assert counts(before, 3)["pairs-by-code"][0] == 0
    assert counts(before, 4) == {"automatic": (4, 4), "with-case": (0, 0)}
    assert counts(before, 5)["to-investigators"] == (0, 0)
    assert counts(before, 6)["not-matched-exactly"][0] == pytest.approx(400, abs=40)
    assert counts(before, 7)["records-kept"] == (4, None)

    institutions = Institutions(open_world(world.directory))
    outside, network = OffNetwork(institutions.world), Network(institutions)
    outside.give("国税庁", "渋谷区", TAXES, "所得税の申告")
    outside.give("渋谷区", "警視庁", CASE, "住所")
    outside.give("渋谷区", "地方裁判所", replace(CASE, purpose=INVESTIGATIONS[1]), "住所")
    person = network.people()[0]
    body = body_of(person)
    hub = network.linkage(body)
    assert person.individual_number is not None
    number = hub.addresses.local_number(TAX_OFFICE, hub.addresses.address_number(person.individual_number))
    hub.register(TAX_OFFICE, number, "医療保険給付関係情報", "x")
    institutions.world.close()
    program.run("mykey", "register", "hanako")
    after = program.json("network", "study", "hanako")
    assert counts(after, 1)["shown-to-person"] == (6, 9)
    assert counts(after, 2)["joins-without-request"] == (2, None)
    assert counts(after, 4)["with-case"] == (2, 3)
    assert counts(after, 5) == {
        "to-investigators": (2, 3), "in-court": (1, 2), "investigators-in-portal": (0, 2),
        "investigators-inspected": (0, 2),
    }  # fmt: skip
    had, has = (counts(one, 7)["owners-with-person"][0] for one in (before, after))
    assert has == had + 1, "the MyKey platform"


def test_the_page_is_one_file_that_needs_no_script(world: World, tmp_path: Path) -> None:
    path = tmp_path / "study.html"
    program = InProcessProgram(world.directory)
    told = program.json("network", "study", "taro", "--html", str(path), "--lang", "ja")
    text = path.read_text(encoding="utf-8")
    assert not re.search(r"<script|https?://|@import|url\(", text)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        page = browser.new_context(java_script_enabled=False, viewport={"width": 390, "height": 844}).new_page()
        page.goto(path.as_uri())
        shown = page.inner_text("body")
        headings = page.locator("h1, h2, h3, caption, thead th").all_inner_texts()
        assert page.locator("table").count() == 7 + 3 + 1
        assert page.locator("svg").count() >= 1
        targets = [link.removeprefix("#") for link in
                   page.eval_on_selector_all("a[href]", "all => all.map(one => one.getAttribute('href'))")]  # fmt: skip
        ids = page.eval_on_selector_all("[id]", "all => all.map(one => one.id)")
        assert page.evaluate("document.documentElement.scrollWidth") == 390, "no scrolling sideways"
        browser.close()
    assert set(targets) <= set(ids)
    for point in told["points"]:
        assert point["words"] in shown
    japanese = "[ぁ-んァ-ヶ一-龠]"
    assert not [text for text in headings if re.search("[A-Za-z]{4}", text) and not re.search(japanese, text)]
    ways = program.json("network", "three-ways", "taro")
    assert {one["way"]: one["seen"] for one in told["architectures"]} == {way: ways[way]["seen"] for way in ways}


def test_the_points_need_no_query_about_the_person(copied: Copied, tmp_path: Path) -> None:
    """Nobody can ask about a person who has died; the points are counted all the same, and nothing is recorded."""
    copied(tmp_path / "w").world.close()
    program = InProcessProgram(tmp_path / "w")
    program.run("registry", "event", "death", "hanako")
    records = program.json("network", "study", "taro")["points"][6]
    told = program.json("network", "study", "hanako", "--lang", "ja", "--html", str(tmp_path / "study.html"))
    assert [one["point"] for one in told["points"]] == [1, 2, 3, 4, 5, 6, 7]
    assert told["points"][6]["measured"][-1] == records["measured"][-1], "no query was sent"
    assert (told["architectures"], "not registered" in told["not_asked"]) == ([], True)
    assert "照会ができない" in (tmp_path / "study.html").read_text(encoding="utf-8")
    words = program.run("network", "study", "taro", "--lang", "ja").stdout
    assert not [line for line in words.splitlines() if re.search("common|scattered|whoever|core", line)]


def test_every_word_of_the_study_is_used(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    used: set[str] = set()

    class Recorded(Words):
        def __call__(self, key: str, **values: object) -> str:
            used.add(key)
            return super().__call__(key, **values)

        def get(self, key: str, default: str) -> str:
            used.add(key)
            return super().get(key, default)

    monkeypatch.setattr(seven_points_page, "Words", Recorded)
    institutions = Institutions(open_world(world.directory))
    network = Network(institutions)
    found = studied(network, network.people()[0])
    page = seven_points_page.as_html(found, "hanako", Language.ENGLISH)
    seven_points_page.as_html(replace(found, architectures=(), not_asked="x"), "hanako", Language.ENGLISH)
    assert "What matching means for the person" in page
    institutions.world.close()
    texts = catalog()
    assert texts[Language.ENGLISH].keys() == texts[Language.JAPANESE].keys()
    assert {key for key in texts[Language.ENGLISH] if key.startswith("study.")} - used == {"study.parties.portal"}
