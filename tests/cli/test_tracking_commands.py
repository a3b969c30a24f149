"""`kazashi tracking`, and its report in Chromium."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from playwright.sync_api import sync_playwright

from benchmarks import bench_tracking
from kazashi.studies.tracking import rule_errors
from kazashi.studies.tracking_stores import (
    ANYBODY,
    CODE,
    MYKEY,
    NAME,
    PORTAL_CODE,
    RECORD_CODE,
    RUNS,
    SERIAL,
    exposed,
    scene,
    unseen,
)
from kazashi.tracking_lab.countermeasures import COUNTERMEASURES
from kazashi.tracking_lab.metrics import Share
from kazashi.tracking_lab.threats import over_stores

pytestmark = pytest.mark.browser

ARTEFACTS = Path(__file__).parent.parent.parent / "artefacts"


def say(world: Path, *words: str, expect: int = 0) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "kazashi", "--world", str(world), "tracking", *words],
        capture_output=True, text=True, check=False, timeout=600,
    )  # fmt: skip
    assert done.returncode == expect, done.stdout + done.stderr
    return done.stdout or done.stderr


def test_report_prints_claims_and_writes_a_page(tmp_path: Path) -> None:
    reply = json.loads(say(tmp_path / "w", "populate", "--residents", "200", "--seed", "x", "--json"))
    assert (reply["person"], reply["service"]) == (200, 13)
    page, table = tmp_path / "page.html", tmp_path / "table.csv"
    found = json.loads(say(tmp_path / "w", "report", "--html", str(page), "--csv", str(table), "--json"))
    claims = {claim["claim"][0]: claim["words"] for claim in found["claims"]}
    assert list(claims) == list("12345678")
    assert claims["1"].startswith("0 of ")
    assert "with: 1.0; without: 0.0" in claims["3"]
    assert "serial number -> resident record code: 1 step by J-LIS" in claims["5"]
    assert "MyKey ID -> resident record code: 2 steps by MyKey platform and J-LIS" in claims["5"]
    assert "portal.serial.serial" in claims["6"]
    assert "balance good" in claims["7"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        shown = browser.new_page(viewport={"width": 1050, "height": 900})
        errors: list[str] = []
        shown.on("console", lambda message: errors.append(message.text))
        shown.goto(page.as_uri())
        assert "who can link what" in shown.inner_text("h1")
        assert shown.locator("#countermeasures tr").count() == 13
        assert shown.locator("#claims tr").count() == 9
        assert shown.locator("#threats tr").count() == 19, "T1 to T16, T12 twice, X19, and a header row"
        assert shown.locator("#exposure td.e").count() > 20
        assert shown.locator("svg").count() == 5
        assert not errors
        ARTEFACTS.mkdir(exist_ok=True)
        shown.screenshot(path=ARTEFACTS / "tracking-report.png")
        browser.close()
    assert len(table.read_text(encoding="utf-8").splitlines()) == 13
    again = tmp_path / "again.html"
    assert json.loads(say(tmp_path / "w", "report", "--html", str(again), "--json")) == found
    assert again.read_bytes() == page.read_bytes(), "the same seed gives the same bytes, also for refund points"
    assert "another population" in say(tmp_path / "w", "populate", "--residents", "5", expect=2)


def test_own_logs_are_imported_and_examined(tmp_path: Path) -> None:
    logs, mapping = tmp_path / "logs.csv", tmp_path / "mapping.yaml"
    rows = [f"2026-05-{day:02}T09:00:00,{shop},S{day % 3}" for day in range(1, 21) for shop in ("rice", "books")]
    logs.write_text("\n".join(["time,shop,serial", *rows, "never,rice,S1"]) + "\n", encoding="utf-8")
    mapping.write_text("moment: time\nservice: shop\nhandle: serial\n", encoding="utf-8")
    world, page = tmp_path / "w", tmp_path / "logs.html"
    reply = json.loads(say(world, "import", str(logs), "--mapping", str(mapping), "--json"))
    assert (reply["uses"], reply["left_out"]) == (40, {"no time that can be read": 1})
    assert "services hold equal handles" in say(world, "report", "--name", "logs", "--html", str(page))
    assert "40 uses at 2 services" in page.read_text(encoding="utf-8")
    assert "[population-unusable]" in say(world, "report", "--name", "others", "--html", str(page), expect=2)
    mapping.write_text("moment: when\nservice: shop\nhandle: serial\n", encoding="utf-8")
    assert "[logs-unusable]" in say(world, "import", str(logs), "--mapping", str(mapping), expect=2)
    assert json.loads(say(world, "report", "--name", "logs", "--html", str(page), "--json"))["logs"]["uses"] == 40


def test_a_population_without_residents_is_refused(tmp_path: Path) -> None:
    say(tmp_path / "w", "populate", "--residents", "0")
    assert "[population-unusable]" in say(tmp_path / "w", "report", "--html", str(tmp_path / "x.html"), expect=2)


def test_exposure_shows_who_holds_which_handle(tmp_path: Path) -> None:
    with scene(tmp_path / "w") as (institutions, network):
        found, hidden = exposed(institutions, network), unseen(institutions, network)
    runs = [(run.id, str(run.value("way"))) for run in over_stores(found, RUNS)]
    assert [name for name, _ in runs] == ["T10", "T12", "T12", "T13"]
    without, with_j_lis = [way for name, way in runs if name == "T12"]
    assert without == "no path"
    assert with_j_lis.endswith("J-LIS: serial number -> resident record code")
    assert found.widest() == "J-LIS"
    held = {handle: {actor for actor, what in found.held if what == handle} for handle in found.handles}
    assert held[SERIAL] == {"J-LIS", "MyKey platform", "insurers' joint body", "platform operator", "portal",
                            "refund point centre", ANYBODY}  # fmt: skip
    assert found.held[ANYBODY, SERIAL].at_use, "readable without a PIN, although nobody stores it"
    assert held[PORTAL_CODE] == {"portal", "network's core"}
    assert held[RECORD_CODE] == {"J-LIS", "municipal registry", "network's core"}
    assert "refund point centre" in held[NAME], "the name is needed for payments"
    assert not {"MyKey platform", "portal", "platform operator"} & held[NAME]
    assert [step.actor for step in found.path(MYKEY, RECORD_CODE)] == ["MyKey platform", "J-LIS"]
    assert [step.actor for step in found.path(SERIAL, CODE)] == ["portal", "network's core"]
    assert hidden == Share(2, 10), "what was given outside the network, for example to an investigator"


def test_tracking_benchmark_takes_every_measure() -> None:
    measures = bench_tracking.measure(size=bench_tracking.TrackingSize(100, 300))
    pseudonyms = ["us"] * len(COUNTERMEASURES)
    assert [found.unit for found in measures] == ["s", "s", "s", "MB", "s", *pseudonyms, "s", "s", "MB", "h", "h"]
    for found in measures:
        assert min(found.ours, found.peer, found.ratio) > 0
    assert measures[4].peer_name == "pandas"


def test_x17_no_decision_is_wrong() -> None:
    wrong, tried = rule_errors()
    assert wrong == 0
    assert tried > 3_000


@pytest.mark.parametrize("words", [("populate", "--residents", "-1"), ("populate", "--years", "0"), ("report", "x")])
def test_wrong_use(tmp_path: Path, words: tuple[str, ...]) -> None:
    say(tmp_path / "w", *words, expect=2)
