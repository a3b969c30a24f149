"""What an open log shows: the page of insights, the rows that look like no other, and what attackers make of them."""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from playwright.sync_api import Page, sync_playwright

from kazashi.provision_network.core import Core
from kazashi.provision_network.core_store import PROVISION_RECORD
from kazashi.provision_network.law.rules import RuleBook
from kazashi.provision_network.open_log import FIELDS, META, Precision, write_open_log
from kazashi.studies import open_log_page
from kazashi.studies.open_log import PublishedLog, protection, read_open_log
from kazashi.studies.open_log_page import PACKAGE, insights_page
from kazashi.studies.open_log_study import (
    APPOINTMENTS,
    NEIGHBOUR,
    SYSTEM_LOG,
    answer,
    attack,
    measured,
    percent,
)
from kazashi.studies.open_log_traffic import Traffic, Volume, traffic_of
from kazashi.tracking_lab.metrics import Share
from kazashi.tracking_lab.page.words import OWN, Language, Words, catalog
from kazashi.world.clock import JST, FixedClock
from kazashi.world.home import open_world
from kazashi.world.settings import Settings
from kazashi.world.storage import insert_many
from tests.cli.program import InProcessProgram
from tests.provision_network.bodies import ROWS

ROOT = Path(__file__).parents[2]
ARTEFACTS = ROOT / "artefacts"
AGAIN = "kazashi network insights open-log"
HOUR, DAY = Precision.HOUR, Precision.DAY
MORNING = int(datetime(2026, 10, 5, 10, tzinfo=JST).timestamp())
VILLAGE = Volume("village", 1_000, 12)
COLUMNS = ("record_code", "requester", "provider", "item", "requested_at", "provided_at", "outcome", "reason")


@pytest.fixture(scope="module")
def traffic() -> Traffic:
    return traffic_of(VILLAGE, 4.0, "test")


@pytest.fixture(scope="module")
def published(traffic: Traffic, module_path: Path) -> Path:
    """An open log of simulated villages, published by the core."""
    clock = FixedClock(datetime(2026, 12, 24, tzinfo=JST))
    world = open_world(module_path / "w", settings=Settings("network"), clock=clock)
    core = Core(world, RuleBook(ROWS))
    rows = [
        (b"%d" % person, requester, provider, item, moment, moment + person % 900 if person % 40 else None,
         "provided" if person % 40 else "held", "番号法19条7号")
        for requester, provider, item, moment, person
        in traffic.requests.select("requester", "provider", "item", "moment", "person").rows()
    ]  # fmt: skip
    with core.store.transaction() as connection:
        insert_many(connection, PROVISION_RECORD, COLUMNS, rows)
    write_open_log(module_path / "out", core.open_log.publish(HOUR, 10), HOUR, 10)
    world.close()
    return module_path / "out"


def lines(directory: Path) -> Iterator[dict[str, Any]]:
    for path in sorted(directory.glob("*.gz")):
        yield from map(json.loads, gzip.decompress(path.read_bytes()).splitlines())


def test_rows_that_look_like_no_other_are_counted() -> None:
    def row(provider: str, item: str | None, hour: int, succeeded: bool = True) -> tuple[object, ...]:
        return (hour * 3_600_000, "2026-10-05", "A", "basis", provider, item, "to-1s", succeeded)

    rows = [row("B", "tax", 10), row("B", "tax", 10, succeeded=False), row("B", "tax", 11), row("C", "tax", 10),
            row("B", None, 12), *(row("B", None, 13) for _ in range(5))]  # fmt: skip
    found = protection(pl.DataFrame(rows, schema=list(FIELDS), orient="row"))
    assert (found.sets.unique.count, found.sets.unique.total) == (3, 10)
    assert (found.small.count, found.sets.median) == (5, 3.5)
    nothing = protection(pl.DataFrame(rows[:0], schema=list(FIELDS), orient="row"))
    assert (nothing.sets.unique.total, nothing.small.total) == (0, 0)


def test_the_published_files_are_the_rows_that_the_study_measures(traffic: Traffic, published: Path) -> None:
    case, found = measured(VILLAGE, traffic, HOUR), protection(read_open_log(published).rows)
    assert (found.sets.unique, found.small) == (case.protection.sets.unique, case.protection.small)
    assert case.rows == len(list(lines(published))) > 3_000
    assert 0.5 < found.sets.unique.value < 1


def at(day: int, hour: int, minute: int) -> int:
    return MORNING + ((day - 1) * 24 + hour - 10) * 3_600 + minute * 60


VISITS = [
    (1, "tax", at(1, 10, 0), at(1, 10, 5)), (2, "tax", at(1, 10, 35), at(1, 10, 40)),
    (3, "pension", at(1, 10, 0), at(1, 10, 6)), (4, "tax", at(1, 14, 0), at(1, 14, 20)),
    (5, "tax", at(1, 15, 0), at(2, 9, 0)), (6, "tax", at(1, 16, 10), at(2, 9, 30)),
    (7, "tax", at(1, 16, 20), at(1, 16, 25)),
]  # fmt: skip
"""Seven people at one town: what for, when they came, and when the request was sent; two were entered the next day."""


@pytest.mark.parametrize(("attacker", "precision", "found", "right", "claimed"), [
    (NEIGHBOUR, HOUR, 3, 3, 4),  # the only pension at 10, the taxes at 14, and at 16 those of 7, taken for 6's as well
    (NEIGHBOUR, Precision.SECOND, 3, 3, 4),  # knows no more than the hour
    (NEIGHBOUR, DAY, 1, 1, 1),  # the only pension of the day
    (APPOINTMENTS, Precision.SECOND, 2, 2, 2),  # alone in their half-hour: 2 and 4; nothing was sent in that of 5
    (APPOINTMENTS, HOUR, 1, 1, 1),
    (SYSTEM_LOG, Precision.SECOND, 7, 7, 7),
    (SYSTEM_LOG, HOUR, 2, 2, 2),
    (SYSTEM_LOG, DAY, 0, 0, 0),
], ids=lambda value: getattr(value, "name", None))  # fmt: skip
def test_attackers_single_out_whom_they_can(
    attacker: Any, precision: Precision, found: int, right: int, claimed: int
) -> None:
    frame = pl.DataFrame(VISITS, schema=["person", "item", "came", "sent"], orient="row")
    rows = frame.with_columns(requester=pl.lit("A"), provider=pl.lit("B"))
    traffic = Traffic(
        rows.select("requester", "provider", "item", "person", moment="sent"),
        rows.select("requester", "item", "person", moment="came"),
    )
    certain = attack(attacker, traffic, precision).certain
    assert (certain.recall, certain.precision) == (Share(found, 7), Share(right, claimed))


def test_traffic_is_as_described() -> None:
    traffic = traffic_of(VILLAGE, 4.0, "another")
    requests, visits = traffic.requests, traffic.visits
    assert traffic_of(VILLAGE, 4.0, "another").requests.equals(requests)
    assert not traffic_of(VILLAGE, 4.0, "x").requests.equals(requests)
    assert requests.height == visits.height
    applications = visits.select("person", "moment").unique().height
    assert applications == pytest.approx(12 * 1_000 * 4 * 28 / 365, rel=0.01)
    time = pl.from_epoch(pl.col("moment")).dt.convert_time_zone("Asia/Tokyo")
    opened = (pl.col("minute") >= 8 * 60 + 30) & (pl.col("minute") < 17 * 60 + 15)
    minutes = visits.select(minute=time.dt.hour().cast(int) * 60 + time.dt.minute(), weekday=time.dt.weekday())
    assert minutes.filter(opened & (pl.col("weekday") <= 5)).height == minutes.height
    lag = requests["moment"] - visits["moment"]
    assert (lag > 0).all()
    assert (lag <= 1_800 + 5).mean() == pytest.approx(0.7, abs=0.05)


def test_the_answer_and_the_table_in_the_documentation_are_the_command_s(tmp_path: Path) -> None:
    program = InProcessProgram(tmp_path / "no world")
    output = program.run("tracking", "open-log").stdout
    documented = (ROOT / "docs" / "network.md").read_text(encoding="utf-8")
    table, sentence = output.strip().split("\n\n")
    assert [line for line in table.splitlines() if f"    {line}\n" not in documented] == []
    assert sentence in " ".join(documented.split())
    found = program.json("tracking", "open-log")
    assert len(found["cases"]) == 3 * len(Precision)
    assert found["answer"] == sentence
    by_hour = {case["volume"]["name"]: case["attacks"][0]["certain"]["recall"] for case in found["cases"]
               if case["precision"] == "hour"}  # fmt: skip
    assert by_hour["village"]["low"] > by_hour["town"]["high"] > by_hour["city"]["high"]
    assert "does not protect applicants in a village and a town, and protects" in sentence


def test_the_answer_depends_on_the_numbers() -> None:
    volumes = (Volume("hamlet", 200, 10), Volume("town", 10_000, 1))
    cases = [measured(volume, traffic_of(volume, 40.0, "test"), precision)
             for volume in volumes for precision in (HOUR, DAY)]  # fmt: skip
    assert answer(cases).startswith(
        "Hour precision does not protect applicants in a hamlet, and protects applicants in a town:"
    )
    assert answer(cases[:2]).startswith("Hour precision does not protect applicants in a hamlet:")
    assert answer(cases[2:]).startswith("Hour precision protects applicants in a town:")
    assert [percent(Share(*one)) for one in ((9_999, 10_000), (10_000, 10_000), (1, 9_999), (0, 9), (0, 0))] == [
        ">99.9 %", "100.0 %", "<0.1 %", "0.0 %", "-",
    ]  # fmt: skip


def test_unusable_directories_are_refused(published: Path, tmp_path: Path) -> None:
    program = InProcessProgram(tmp_path / "no world")
    page = tmp_path / "page.html"
    words = ("network", "insights")
    assert "network open-log --out DIR" in program.error(
        "open-log-unusable", 2, *words, str(tmp_path / "nothing"), "--html", str(page)
    )
    copy = tmp_path / "copy"
    copy.mkdir()
    for path in published.iterdir():
        (copy / path.name).write_bytes(path.read_bytes())
    meta = json.loads((copy / META).read_text(encoding="utf-8"))
    day = copy / meta["days"][0]["file"]
    for damage, reason in (
        (lambda: day.write_bytes(gzip.compress(b"{}")), "digest"), (day.unlink, "missing"),
        (lambda: (copy / META).write_text(json.dumps({**meta, "format": 2})), "format 2"),
        (lambda: (copy / META).write_text("[]"), "not an open log"),
    ):  # fmt: skip
        damage()
        assert reason in program.error("open-log-unusable", 2, *words, str(copy), "--html", str(page))
    assert not page.exists()


# The page


class Recorded(Words):
    """Words that remember which of them were used."""

    used: set[str]

    def __call__(self, key: str, **values: object) -> str:
        self.used.add(key)
        return super().__call__(key, **values)


def test_no_word_of_the_page_is_missing_or_unused(published: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Recorded.used = set()
    monkeypatch.setattr(open_log_page, "Words", Recorded)
    log = read_open_log(published)
    denied = log.rows.head(1).with_columns(serviceCode=pl.lit(None, pl.String))
    insights_page(PublishedLog(HOUR, 10, pl.concat([log.rows, denied])), Language.JAPANESE, AGAIN)
    for precision in (Precision.MINUTE, DAY):
        insights_page(PublishedLog(precision, 10, log.rows), Language.ENGLISH, AGAIN)
    one_item = log.rows.filter(pl.col("serviceCode") == log.rows["serviceCode"][0])
    insights_page(PublishedLog(HOUR, 10, one_item), Language.ENGLISH, AGAIN)
    nothing = insights_page(PublishedLog(HOUR, 10, log.rows.clear()), Language.ENGLISH, AGAIN)
    assert "Nothing has been published yet" in nothing
    texts = {language: catalog(PACKAGE)[language].keys() for language in Language}
    assert texts[Language.ENGLISH] == texts[Language.JAPANESE]
    assert texts[Language.ENGLISH] - Recorded.used == set()
    assert texts[Language.ENGLISH] & catalog(OWN)[Language.ENGLISH].keys() == set()


@pytest.mark.browser
@pytest.mark.parametrize(("language", "width"), [("en", 1440), ("ja", 390)])
def test_the_page_needs_nothing_else_and_fits_phones(
    published: Path, tmp_path: Path, language: str, width: int
) -> None:
    path = tmp_path / "page.html"
    program = InProcessProgram(tmp_path / "no world")
    found = program.json("network", "insights", str(published), "--html", str(path), "--lang", language)
    html = path.read_text(encoding="utf-8")
    assert not re.search(r"<script|https?://|@import|url\(", html), "nothing is loaded"
    rows = list(lines(published))
    assert found["rows"] == len(rows)
    assert f"{len(rows):,}" in html
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        shown = browser.new_page(viewport={"width": width, "height": 900})
        shown.goto(path.as_uri())
        assert shown.evaluate("document.documentElement.scrollWidth") == width, "no scrolling sideways"
        check_figures(shown, rows, language)
        ARTEFACTS.mkdir(exist_ok=True)
        shown.screenshot(path=ARTEFACTS / f"insights-{language}-{width}.png", full_page=True)
        browser.close()


def check_figures(shown: Page, rows: list[dict[str, Any]], language: str) -> None:
    """Each figure has a title, an axis with its unit and a text alternative; bars are as long as their numbers say."""
    figures = shown.locator("figure")
    assert figures.count() == 7
    unit = {"en": "requests", "ja": "照会の件数"}[language]
    for number in range(figures.count()):
        figure = figures.nth(number)
        assert figure.locator("figcaption").inner_text().strip()
        assert figure.locator("p.note").inner_text().strip()
        drawing = figure.locator("svg:visible")
        assert drawing.locator("title").text_content()
        assert drawing.locator("desc").text_content()
        assert drawing.locator("text.title").all_text_contents()
    hours = shown.locator("#hours")
    assert unit in hours.locator("svg:visible text.title").all_text_contents()
    by_hour = {
        hour: sum(1 for row in rows if datetime.fromtimestamp(row["requestInTs"] / 1000, JST).hour == hour)
        for hour in range(8, 18)
    }
    drawn = hours.locator("svg:visible rect.bar").evaluate_all("bars => bars.map(bar => bar.getBBox().width)")
    assert hours.locator("svg:visible text.value").all_text_contents() == [f"{count:,}" for count in by_hour.values()]
    longest = max(by_hour.values())
    assert drawn == pytest.approx([max(drawn) * count / longest for count in by_hour.values()], abs=0.2)
    total = sum(int(text.replace(",", "")) for text in shown.locator("#matrix td").all_text_contents())
    assert total == len(rows)


def test_the_log_is_published_by_command(tmp_path: Path) -> None:
    program = InProcessProgram(tmp_path / "w")
    program.run("world", "new", "--seed", "commands")
    program.run("clock", "stand", "2026-11-24T10:00+09:00")
    assert "network setup" in program.error("usage", 2, "network", "open-log", "--out", str(tmp_path / "out"))
    program.run("registry", "add", "hanako")
    program.run("network", "setup")
    program.run("network", "ask", "hanako")
    assert program.json("network", "open-log", "--out", str(tmp_path / "early")) == []
    assert sorted(path.name for path in (tmp_path / "early").iterdir()) == [META]
    program.run("clock", "advance", f"{11 * 24}h")
    (day,) = program.json("network", "open-log", "--out", str(tmp_path / "out"))
    assert (day["day"], day["rows"]) == ("2026-11-24", 4)
    assert {row["serviceMemberCode"] for row in lines(tmp_path / "out")} == {"東京都港区", "日本年金機構"}
    assert program.json("network", "insights", str(tmp_path / "out"), "--html", str(tmp_path / "p.html"))["rows"] == 4
    program.error("network-refused", 1, "network", "open-log", "--out", str(tmp_path / "day"), "--precision", "day")
    assert not (tmp_path / "day").exists()
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "2020-01-01.ndjson.gz").write_bytes(b"")
    program.error("open-log-unusable", 2, "network", "open-log", "--out", str(elsewhere))
