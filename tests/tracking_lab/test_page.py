"""The report as a page, as `kazashi tracking report` writes it and as Chromium shows and prints it."""

from __future__ import annotations

import csv
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from kazashi.studies import tracking as studied
from kazashi.studies.handles import HandleKind
from kazashi.tracking_lab import findings, log_study
from kazashi.tracking_lab.accounts import ATTRIBUTES
from kazashi.tracking_lab.certificates import EndReason
from kazashi.tracking_lab.coalitions import Coalition, Selection
from kazashi.tracking_lab.countermeasures import COUNTERMEASURES
from kazashi.tracking_lab.document import as_document, as_json
from kazashi.tracking_lab.laboratory import Laboratory
from kazashi.tracking_lab.log_study import examine_logs
from kazashi.tracking_lab.logs import LogMapping, import_logs
from kazashi.tracking_lab.logs.importing import LEFT_OUT, SAME_ROW, SAME_USE, TWO_READINGS
from kazashi.tracking_lab.measurements import as_csv
from kazashi.tracking_lab.metrics import Estimate, PairCounts, Share
from kazashi.tracking_lab.page import writer
from kazashi.tracking_lab.page.numbers import Numbers, digits, percent
from kazashi.tracking_lab.page.words import Language, Words, catalog
from kazashi.tracking_lab.page.writer import Edition
from kazashi.tracking_lab.plan import HABITS
from kazashi.tracking_lab.report import Audience, as_html, as_text
from kazashi.tracking_lab.results import (
    LogExamination,
    Measurement,
    PrivacyThreat,
    Sample,
    Severity,
    ShownCertificate,
    ThreatRun,
    TrackingReport,
    Unit,
)
from kazashi.tracking_lab.study import ATTRIBUTES as STUDIED
from tests.cli.program import InProcessProgram
from tests.tracking_lab.ruling_claims import assert_claims_5_and_6_agree, words_of_rulings
from tests.web.tracking_results import tracking_report

pytestmark = pytest.mark.browser

ARTEFACTS = Path(__file__).parents[2] / "artefacts"
MYKEY, RECORD_CODE, SERIAL = HandleKind.MYKEY.value, HandleKind.RECORD_CODE.value, HandleKind.SERIAL.value
PUBLIC = Audience(edition=Edition.PUBLIC, name="logs")


def say(world: Path, *words: str, expect: int = 0, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "kazashi", "--world", str(world), "tracking", *words],
        capture_output=True, text=True, check=False, timeout=600,
        env={**os.environ, "LC_ALL": "C.UTF-8", **environment},
    )  # fmt: skip
    assert done.returncode == expect, done.stdout + done.stderr
    return done.stdout or done.stderr


@dataclass(frozen=True)
class Reported:
    """What the commands wrote about a population: JSON, CSV, and the page in both languages."""

    found: dict[str, Any]
    table: Path
    pages: dict[str, Path]


@pytest.fixture(scope="module")
def reported(tmp_path_factory: pytest.TempPathFactory, module_path: Path) -> Reported:
    """One report by command, in the locale's language; the page in the other language is made of the same result."""
    directory = tmp_path_factory.mktemp("reported")
    world, table = module_path / "w", directory / "table.csv"
    pages = {language: directory / f"{language}.html" for language in ("en", "ja")}
    program, results, report = InProcessProgram(world), list[TrackingReport](), studied.report
    reply = program.json("tracking", "populate", "--residents", "200", "--seed", "x")
    assert (reply["person"], reply["service"]) == (200, 13)

    def kept(*arguments: Any) -> TrackingReport:
        results.append(report(*arguments))
        return results[0]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(studied, "report", kept)
        patch.setenv("LC_ALL", "ja_JP.UTF-8")
        patch.setenv("TMPDIR", str(module_path))  # for the small worlds
        found = program.json("tracking", "report", "--html", str(pages["ja"]), "--csv", str(table))
    pages["en"].write_text(as_html(results[0], Audience()), encoding="utf-8")
    assert jsonschema_rs.validator_for(json.loads(program.run("tracking", "schema").stdout)).is_valid(found)
    assert "another population" in program.error("population-unusable", 2, "tracking", "populate", "--residents", "5")
    return Reported(found, table, pages)


@pytest.mark.long
def test_the_same_seed_gives_the_same_report(tmp_path: Path) -> None:
    """Also for what is found in the stores of the small worlds, such as refund points, which no part keeps."""
    say(tmp_path, "populate", "--residents", "200", "--seed", "x")
    one, again = (say(tmp_path, "report", "--html", str(tmp_path / "x.html"), "--json") for _ in range(2))
    assert one == again


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        yield opened
        opened.close()


def opened(browser: Browser, page: Path, width: int, height: int, **options: Any) -> Page:
    shown = browser.new_page(viewport={"width": width, "height": height}, java_script_enabled=True, **options)
    shown.goto(page.as_uri())
    return shown


def test_report_writes_claims_and_every_number(reported: Reported) -> None:
    result = reported.found["result"]
    claims = {claim["id"]: {one["id"]: one["value"] for one in claim["results"]} for claim in result["claims"]}
    assert list(claims) == ["rules", "linked-services", "linked-renewals", "coalitions", "paths", "ruling-of-2008",
                            "refund-points", "first-matching"]  # fmt: skip
    assert claims["rules"]["wrong-decisions"]["count"] == 0
    assert [claims["linked-renewals"][name]["value"] for name in ("chain", "equality")] == [1, 0]
    paths = {name: (one["target"], [step["actor"] for step in one["steps"]]) for name, one in claims["paths"].items()}
    assert paths[SERIAL] == (RECORD_CODE, ["J-LIS"])
    assert paths[MYKEY] == (RECORD_CODE, ["MyKey platform", "J-LIS"])
    assert_claims_5_and_6_agree(result)
    assert claims["refund-points"]["balanced"] is True
    rows = list(csv.DictReader(reported.table.read_text(encoding="utf-8").splitlines()))
    assert len({(row["part"], row["subject"], row["id"]) for row in rows}) == len(rows) > 250
    assert {row["query"] for row in rows} <= result["examination"]["queries"].keys()


@pytest.mark.parametrize("language", ["en", "ja"])
def test_page_shows_answer_and_picture_first_and_fits_every_width(
    reported: Reported, browser: Browser, language: str
) -> None:
    path = reported.pages[language]
    assert path.stat().st_size < 1_000_000
    assert not re.search(r"<script|https?://|@import|url\(", path.read_text(encoding="utf-8")), "nothing is loaded"
    ARTEFACTS.mkdir(exist_ok=True)
    for width, height, drawing in ((390, 844, "narrow"), (768, 1024, "wide"), (1440, 900, "wide")):
        shown = opened(browser, path, width, height)
        assert shown.evaluate("document.documentElement.scrollWidth") == width, "no scrolling sideways"
        assert shown.locator(".sentences p").count() == 3
        bottom = shown.locator(f"#answer svg.{drawing}").bounding_box()
        assert bottom is not None
        assert bottom["y"] + bottom["height"] <= height, "the picture is on the first screen"
        shown.screenshot(path=ARTEFACTS / f"tracking-{language}-{width}.png")
        shown.close()


def test_every_number_links_to_its_query(reported: Reported, browser: Browser) -> None:
    shown = opened(browser, reported.pages["en"], 1440, 900)
    links = shown.evaluate("[...document.querySelectorAll('a[href]')].map(one => one.getAttribute('href'))")
    assert links
    assert all(link.startswith("#") for link in links)
    assert shown.evaluate(
        "[...document.querySelectorAll('a[href]')].filter(one => !document.getElementById(one.hash.slice(1))).length"
    ) == 0  # fmt: skip
    without = shown.evaluate("""[...document.querySelectorAll('table')].filter(table =>
        table.querySelector('td.n') && !table.querySelector('a[href^="#query-"]') &&
        !table.parentElement.nextElementSibling?.querySelector('a[href^="#query-"]')).map(table => table.id)""")
    assert without == []
    ids = shown.evaluate("[...document.querySelectorAll('[id]')].map(one => one.id)")
    assert len(set(ids)) == len(ids)
    shown.close()


def test_charts_have_titles_axes_and_text_alternatives(reported: Reported, browser: Browser) -> None:
    shown = opened(browser, reported.pages["en"], 1440, 900)
    figures = shown.locator("figure").count()
    assert figures >= 7
    assert shown.evaluate("""[...document.querySelectorAll('figure')].filter(figure => {
        const svg = figure.querySelector('svg.wide')
        const named = svg.getAttribute('aria-labelledby').split(' ').map(id => document.getElementById(id).textContent)
        return named.every(text => text.length > 3) && figure.querySelector('figcaption b').textContent &&
            svg.querySelectorAll('.tick').length > 2 && svg.querySelector('.title') && figure.querySelector('table')
    }).length""") == figures  # fmt: skip
    overlaps = shown.evaluate("""[...document.querySelectorAll('svg.wide')].flatMap(svg => {
        const boxes = [...svg.querySelectorAll('text')].map(text => [text.textContent, text.getBoundingClientRect()])
        return boxes.flatMap(([one, a], place) => boxes.slice(place + 1).filter(([, b]) =>
            Math.min(a.right, b.right) - Math.max(a.left, b.left) > 1 &&
            Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top) > 4).map(([other]) => `${one} / ${other}`))
    })""")
    assert overlaps == []
    marks = shown.locator("#figure-countermeasures svg.wide .m.s0").count()
    assert marks == len(COUNTERMEASURES) + 1, "zeros have marks, too; one mark is in the legend"
    shown.close()


def test_japanese_page_has_no_english_labels(reported: Reported, browser: Browser) -> None:
    """A measurement, an actor or a heading without Japanese words would stand there as its id."""
    shown = opened(browser, reported.pages["ja"], 1440, 900)
    texts = shown.locator("h1, h2, h3, figcaption, caption, dt, thead th, tbody th, .query").all_inner_texts()
    shown.close()
    names = {"J-LIS", "mean", "AUC"}
    assert [text for text in texts if re.search("[A-Za-z]{4}", text) and not re.search("[ぁ-んァ-ヶ一-龠]", text)
            and text not in names] == []  # fmt: skip


def test_print_shows_what_is_folded_and_keeps_headings_with_their_plots(
    reported: Reported, browser: Browser, tmp_path: Path
) -> None:
    shown = opened(browser, reported.pages["en"], 1050, 900)
    shown.pdf(path=tmp_path / "page.pdf", prefer_css_page_size=True)
    shown.close()
    done = subprocess.run(["pdftotext", "-layout", tmp_path / "page.pdf", "-"], capture_output=True, check=True)
    pages = done.stdout.decode().split("\f")
    assert any("adjusted" in page and "Rand index" in page for page in pages), "folded tables are printed"
    for title in ("Countermeasures compared", "Recognition over the years", "How few uses single a person out"):
        of_title = [page for page in pages if re.search(rf"^\s*{title}\s*$", page, re.MULTILINE)]
        assert len(of_title) == 1
        assert "100 %" in of_title[0].partition(title)[2], f"{title} is on the page of its plot"


def test_dark_mode_is_dark_and_readable(reported: Reported, browser: Browser) -> None:
    shown = opened(browser, reported.pages["en"], 1440, 900, color_scheme="dark")
    ground, ink, text = shown.evaluate("""[getComputedStyle(document.documentElement).backgroundColor,
        getComputedStyle(document.querySelector('.sentences p')).color,
        getComputedStyle(document.querySelector('svg .name')).fill]""")
    shown.close()
    dark, light, drawn = (sum(map(int, re.findall(r"\d+", colour)[:3])) for colour in (ground, ink, text))
    assert dark < 150
    assert min(light, drawn) > 500


@pytest.fixture(scope="module")
def logs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A log with 60 people at a shop and a library, and seven of them at a gate; each serial number in two spellings.
    Also its mapping."""
    directory = tmp_path_factory.mktemp("logs")
    lines = ["time,shop,serial,who,name,born"]
    for person in range(60):
        serial = 0x7000_0000 + 37 * person
        for day, (shop, text) in enumerate((("Rice & Sons", f"{serial:X}"), ("本屋", f"{serial:x}")), 1):
            lines.append(f"2026-05-{day:02}T09:{person:02}:00+09:00,{shop},{text},u{person},N{person},1960-01-01")
        if person < 7:
            lines.append(f"2026-05-03T09:{person:02}:00+09:00,gate-3,{serial:X},u{person},N{person},1960-01-01")
    path, mapping = directory / "logs.csv", directory / "mapping.yaml"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    mapping.write_text("moment: time\nservice: shop\nhandle: {column: serial, form: serial}\nperson: who\n"
                       "attributes: {family: name, born: born}\n", encoding="utf-8")  # fmt: skip
    return path, mapping


@pytest.fixture(scope="module")
def examined(logs: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> LogExamination:
    laboratory = Laboratory(tmp_path_factory.mktemp("examined") / "logs")
    import_logs(laboratory, [logs[0]], LogMapping.read(logs[1]))
    return examine_logs(laboratory)


def test_no_handle_of_a_log_stands_in_any_edition(examined: LogExamination, logs: tuple[Path, Path]) -> None:
    rows = list(csv.DictReader(logs[0].read_text(encoding="utf-8").splitlines()))
    numbers = {int(row["serial"], 16) for row in rows}
    spellings = {row["serial"] for row in rows}
    spellings |= {write(number) for number in numbers for write in (str, hex, "{:012x}".format)}
    outputs = [as_json(examined), as_csv(examined)]
    for language in Language:
        for edition in Edition:
            audience = Audience(language, edition, "logs", ("others", examined))
            outputs += [as_html(examined, audience), as_text(examined, audience)]
    assert not [spelling for spelling in spellings for output in outputs if spelling in output]


def test_public_edition_hides_services_small_counts_and_notes(examined: LogExamination) -> None:
    page = as_html(examined, PUBLIC)
    full = as_html(examined)
    assert "本屋" in full
    assert "gate-3" in full
    assert not re.search("本屋|Rice|gate-3", page)
    assert "service 1" in page
    assert "&lt;10 pairs" in page, "seven people are at the gate"
    assert "7 pairs" in full
    assert "7 pairs" not in page
    assert "What was removed from this edition" in page
    assert "within 1 day<" not in page
    assert ">1 day<" in page, "a span of days does not count people"
    named = as_html(examined, replace(PUBLIC, name="riverside", other=("hillside", examined)))
    assert not re.search("riverside|hillside", named)
    assert "--name NAME --against OTHER" in named
    noted = replace(examined, logs=replace(examined.logs, notes=["line 17 is odd"]))
    assert "line 17 is odd" in as_html(noted)
    assert "line 17 is odd" not in as_html(noted, PUBLIC)


OMITTED = ThreatRun("T1", (), "exact-join", omitted="out-of-memory")


def test_nothing_found_and_not_computed_are_no_all_clear(examined: LogExamination) -> None:
    joined = examined.threats[0]
    none = replace(joined, results=(replace(joined.results[0], value=0),))
    for run, words in ((none, "does not show that people cannot be linked"), (OMITTED, "could not be computed")):
        changed = replace(examined, threats=(run, *examined.threats[1:]), findings=())
        assert words in as_html(changed)
        assert words in as_text(changed)
        assert "hold the same handle" not in as_html(changed)
    assert "needs more memory" in as_html(replace(examined, threats=(OMITTED, *examined.threats[1:])))


def test_an_estimate_from_a_sample_has_its_interval_and_the_sample(examined: LogExamination) -> None:
    estimate = Measurement("accounts-linked", Estimate(1_234.5, 1_100.2, 1_400.4), Unit.ACCOUNTS, "X1")
    run = ThreatRun("T15", (estimate,), "attributes", Sample(2_000, 90_000, Unit.ACCOUNTS), services=("a", "b"))
    page = as_html(replace(examined, threats=(examined.threats[0], run)))
    assert "1,230 accounts" in page
    assert "1,100 to 1,400" in page
    assert "2,000 accounts of 90,000 examined" in page


def test_the_answer_for_logs_names_timing_with_its_quality_and_attributes_if_they_were_examined(
    examined: LogExamination,
) -> None:
    pairs = (Measurement("pairs", 1, Unit.PAIRS, "X3"), Measurement("precision", Share(1, 4), measure="X1"))
    runs = {run.id: run for run in examined.threats}
    told = as_text(replace(examined, threats=(runs["T1"], ThreatRun("T5", pairs, "by-timing"))))
    assert "timing suggests 1 pair of handles" in told
    assert "25.0\N{NO-BREAK SPACE}% of the suggestions are right" in told
    assert "attributes link" not in told
    typed = ThreatRun("T15", (Measurement("accounts-linked", 60, Unit.ACCOUNTS, "X1"),), "attributes")
    told = as_text(replace(examined, threats=(runs["T1"], typed)))
    assert "attributes link 60 accounts" in told
    assert "timing" not in told.partition("Findings")[0]


def with_recall(examined: LogExamination, count: int) -> LogExamination:
    """The examination, if `count` of 60 people had been found."""
    recall = Share(count, 60)
    return replace(examined, threats=tuple(
        replace(run, results=tuple(replace(one, value=recall) if one.id == "recall" else one for one in run.results))
        for run in examined.threats
    ))  # fmt: skip


def test_a_difference_beyond_the_intervals_is_marked(examined: LogExamination) -> None:
    marks = {}
    for count in (60, 55, 30):
        text = as_text(with_recall(examined, 60), Audience(other=("other", with_recall(examined, count))))
        row = next(line for line in text.splitlines() if "T1: pairs found" in line)
        marks[count] = re.split(" {2,}", row)[-2:]
    assert marks == {60: ["0 points", "overlap"], 55: ["+8.33 points", "overlap"], 30: ["+50.0 points", "apart"]}


@pytest.mark.long
def test_two_logs_are_compared_through_the_command(logs: tuple[Path, Path], tmp_path: Path) -> None:
    world, page, half = tmp_path / "w", tmp_path / "page.html", tmp_path / "half.csv"
    lines = logs[0].read_text(encoding="utf-8").splitlines()
    odd = [re.sub(r"70000([0-9a-fA-F]{3})", r"71000\1", line) if "本屋" in line and number % 2 else line
           for number, line in enumerate(lines)]  # fmt: skip
    half.write_text("\n".join(odd) + "\n", encoding="utf-8")
    for name, path in (("all", logs[0]), ("half", half)):
        say(world, "import", str(path), "--mapping", str(logs[1]), "--name", name)
    told = say(world, "report", "--name", "all", "--against", "half", "--html", str(page), "--lang", "en")
    recall = next(line for line in told.splitlines() if "T1: pairs found" in line)
    assert re.search(r"100\s% .* \+\d+\.\d points\s+apart$", recall), "half of the people have another serial number"
    assert "Compared with half" in page.read_text(encoding="utf-8")
    refused = say(world, "report", "--name", "all", "--edition", "public", "--csv", str(tmp_path / "x"), expect=2)
    assert "[usage]" in refused
    assert not (tmp_path / "x").exists()


def labels(scope: str, id: str) -> set[str]:
    """The keys under which a measurement of a run or claim can have its label."""
    return {f"results.{scope}.{id}", f"claims.{scope}.{id}", f"countermeasures.{id}.name", f"handles.{id}",
            f"results.{id}"}  # fmt: skip


def codes_of_findings() -> set[str]:
    """The codes that the modules with findings have in their source."""
    source = "".join((Path(module.__file__ or "")).read_text(encoding="utf-8") for module in (findings, log_study))
    return set(re.findall(r'"([a-z]+(?:-[a-z]+)+)",\s*(?:Severity|PrivacyThreat)\.', source))


def test_every_id_has_words_and_no_word_is_unused(
    reported: Reported, examined: LogExamination, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = catalog()
    assert texts[Language.ENGLISH].keys() == texts[Language.JAPANESE].keys()
    # The words of other pages are tested with those pages.
    known = {key for key in texts[Language.ENGLISH] if not key.startswith(("study.", "history."))}
    result = reported.found["result"]
    runs = [*result["examination"]["threats"], *as_document(examined)["result"]["threats"]]
    measured = [(one["id"], each["id"]) for one in (*runs, *result["claims"]) for each in one["results"]]
    measured = [(scope, "handles-shared-pair" if id.startswith("handles-shared-") else id) for scope, id in measured]
    nameless = [pair for pair in measured if not labels(*pair) & known]
    assert nameless == []
    exposure = result["exposure"]
    rows = list(csv.DictReader(reported.table.read_text(encoding="utf-8").splitlines()))
    expected = {f"runs.{one['id']}.{part}" for one in runs for part in ("who", "holding")}
    expected |= {f"countermeasures.{one.id}.{part}" for one in COUNTERMEASURES for part in ("name", "source", "cost")}
    expected |= {f"actors.{name}" for name in exposure["actors"]} | {f"handles.{name}" for name in exposure["handles"]}
    expected |= {f"actors.{name}" for one in COUNTERMEASURES for name in one.reveals}
    expected |= {f"kinds.{kind.name.lower()}" for kind in HABITS}
    expected |= {f"sectors.{habit.sector}" for habit in HABITS.values()}
    expected |= {f"attributes.{name}" for name in (*ATTRIBUTES, *sum(STUDIED, ()))}
    expected |= {f"endings.{one.name.lower().replace('_', '-')}" for one in EndReason if one}
    expected |= {f"findings.{code}" for code in codes_of_findings()}
    expected |= {f"severities.{one.value}" for one in Severity} | {f"linddun.{one.value}" for one in PrivacyThreat}
    expected |= {
        f"{many}.{one.value}" for many in ("unit", "units") for one in Unit if one not in (Unit.SHARE, Unit.TRUTH)
    }
    expected |= {f"reasons.{reason}" for reason in (*LEFT_OUT.values(), TWO_READINGS, SAME_ROW, SAME_USE)}
    expected |= {f"flat.{row['part']}.{row['id']}" for row in rows if row["part"] not in ("threats", "claims")}
    parts = ("title", "means", "how", "change")
    expected |= {f"claims.{one['id']}.{part}" for one in result["claims"] for part in parts}
    expected |= {f"against.{row['part']}" for row in rows if row["subject"] == "everybody"}
    expected |= {f"omissions.{why}" for why in (
        "asks-unknown", "too-few-records", "too-many-pairs", "out-of-memory"
    )}  # fmt: skip
    expected |= {f"actors.count-{count}" for count in (1, 2, 3)}
    expected |= {f"actors.services-{which}" for which in ("any", "of-one-sector", "of-two-sectors", "certain")}
    expected |= words_of_rulings()
    assert expected - known == set()
    used = expected.union(*(labels(*pair) for pair in measured))

    class Recorded(Words):
        def __call__(self, key: str, **values: object) -> str:
            used.add(key)
            return super().__call__(key, **values)

    monkeypatch.setattr(writer, "Words", Recorded)
    population, blind = tracking_report("x"), replace(examined, truth=False, findings=())
    unknown = replace(examined, threats=(OMITTED, *examined.threats[1:]))
    bare = replace(examined, threats=(), unicity=(), attributes=())
    once = tuple(replace(run, results=tuple(
        replace(one, value=Share(1, 2) if one.id == "precision" else 1) if run.id in ("T1", "T5") else one
        for one in run.results
    )) for run in examined.threats)  # fmt: skip
    nothing = replace(
        examined, logs=replace(examined.logs, left_out={"no handle": 1}, partial=True), threats=tuple(
            replace(run, results=tuple(
                replace(one, value=0) if one.id == "handles-shared" else one for one in run.results
            ), omitted="memory", sample=Sample(1, 2, Unit.PEOPLE)) for run in examined.threats
        ), findings=tuple(replace(one, evidence=one.evidence * 3) for one in examined.findings),
    )  # fmt: skip
    phone = ShownCertificate(2, True, True, date(2026, 4, 1), None, None)
    seen = population.examination.timeline
    assert seen is not None
    others = tuple(replace(seen.certificates[0], signature=one, phone=not one) for one in (True, False))
    people = replace(
        population.examination,
        threats=population.examination.threats[:1],
        timeline=replace(seen, certificates=(*seen.certificates, phone, *others)),
    )
    alone, several = (Coalition(0, Selection.NONE, 1, 1, (who,)) for who in ("platform", "portal"))
    able = [replace(people, comparisons=tuple(
        replace(one, linkage=PairCounts(0, 0, 9), kept=Share(9, 9), coalitions=who) for one in people.comparisons
    )) for who in ((alone,), (alone, several))]  # fmt: skip
    pairs = ((replace(population, examination=people), population), (population, population),
             (able[0], able[1]), (able[1], able[0]),
             (replace(examined, threats=once), blind), (examined, with_recall(examined, 30)),
             (nothing, blind), (blind, bare), (unknown, blind))  # fmt: skip
    for one, other in pairs:
        for edition in Edition:
            as_html(one, Audience(edition=edition, other=("other", other)))
    assert known - used == set()


@pytest.mark.parametrize(("value", "text"), [
    (0.0, "0"), (-1e-17, "0"), (0.998887653, "0.999"), (0.9999, "1.00"), (1.0, "1.00"), (12.345, "12.3"),
    (99.96, "100"), (12_345.6, "12,300"), (0.000123456, "0.000123"), (-0.0551, "\N{MINUS SIGN}0.0551"),
])  # fmt: skip
def test_numbers_have_three_significant_digits(value: float, text: str) -> None:
    assert digits(value) == text


def test_shares_are_neither_rounded_to_certainty_nor_shown_without_data() -> None:
    assert percent(Share(99_999, 100_000)) == ">99.9\N{NO-BREAK SPACE}%"
    assert percent(Share(5, 5)) == "100\N{NO-BREAK SPACE}%"
    numbers, public = Numbers(Words(Language.ENGLISH)), Numbers(Words(Language.ENGLISH), 10)
    assert numbers.share(Share(0, 0)).text == "none"
    assert numbers.share(Share(3, 12)).basis == "3 of 12"
    assert numbers.share(Share(99_999, 99_999)).interval == ">99.9 to 100\N{NO-BREAK SPACE}%"
    withheld = [public.share(share) for share in (Share(3, 100), Share(95, 100), Share(0, 4))]
    assert all(one.text == "withheld" and not one.interval and not one.basis for one in withheld)
    assert public.share(Share(50, 100)).text == numbers.share(Share(50, 100)).text
    assert [public.count(count).text for count in (0, 9, 10)] == ["0", "<10", "10"]
