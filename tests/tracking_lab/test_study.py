"""Linkers and countermeasures: raw serial numbers link everything, perfect pseudonyms nothing."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from kazashi.tracking_lab.accounts import ATTRIBUTES
from kazashi.tracking_lab.attributes import best, candidates
from kazashi.tracking_lab.coalitions import coalitions
from kazashi.tracking_lab.countermeasures import AUTHORITY, COUNTERMEASURES, PLATFORM, REGISTER, countermeasure, handles
from kazashi.tracking_lab.engine import DuckDb
from kazashi.tracking_lab.examine import examine
from kazashi.tracking_lab.exposure import exposure_of
from kazashi.tracking_lab.laboratory import Laboratory, PopulationUnusable, PopulationUnusableReason
from kazashi.tracking_lab.linkers import by_timing, dictionary, together, trajectories
from kazashi.tracking_lab.metrics import pairwise
from kazashi.tracking_lab.plan import Plan
from kazashi.tracking_lab.report import as_csv, as_html, as_json
from kazashi.tracking_lab.results import Examination
from kazashi.tracking_lab.study import examine_population, open_engine
from kazashi.tracking_lab.threats import StoreRun, over_stores

PLAN = Plan(150, 10, "study")


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Laboratory:
    lab = Laboratory(tmp_path_factory.mktemp("lab") / "p")
    lab.populate(PLAN)
    return lab


@pytest.fixture(scope="module")
def found(lab: Laboratory) -> Examination:
    return examine_population(lab)


# Three people at two services: the first one renews in between (1 to 2), the others keep their certificates (3, 4).
SEEN = pl.DataFrame({
    "service": [1, 1, 2, 1, 2, 2], "sector": ["private"] * 6, "shown": [1, 2, 2, 3, 3, 4],
    "chain": [10, 10, 10, 30, 30, 40], "person": [1, 1, 1, 3, 3, 4], "asks": [True] * 3 + [False] * 3,
})  # fmt: skip


@pytest.mark.parametrize(("wanted", "right", "missed", "smallest"), [
    ("raw-serial", 2, 0, ["any two services"]),
    ("raw-serial-lists", 2, 0, ["any two services"]),
    ("keyed-pairwise", 0, 2, [PLATFORM]),
    ("tenant-user-id", 0, 2, [PLATFORM]),
    ("sector-bpk", 2, 0, ["any two services"]),
    ("per-service-certificate", 0, 2, [f"any two services + {AUTHORITY}"]),
    ("blind-converter", 0, 2, ["any two services + blind converter"]),
])  # fmt: skip
def test_countermeasures_link_as_computed_by_hand(wanted: str, right: int, missed: int, smallest: list[str]) -> None:
    measure = countermeasure(wanted)
    held = handles(SEEN.with_columns(asks=pl.lit(False)), measure)
    link = pairwise(held, "handle")
    assert (link.right, link.wrong, link.missed) == (right, 0, missed)
    assert [str(who) for who in coalitions(held, measure)] == smallest


def test_an_authority_asked_about_every_use_links_alone() -> None:
    raw = countermeasure("raw-serial")
    seen = handles(SEEN.with_columns(asks=pl.lit(True)), raw)
    assert [str(who) for who in coalitions(seen, raw)] == [AUTHORITY, "any two services"]


def test_services_of_two_sectors_need_the_register_to_link() -> None:
    three = pl.DataFrame({
        "service": [1, 2, 3], "sector": ["private", "private", "tax"], "shown": [7, 7, 7], "chain": [1, 1, 1],
        "person": [1, 1, 1], "asks": [False] * 3,
    })  # fmt: skip
    bpk = countermeasure("sector-bpk")
    smallest = [str(who) for who in coalitions(handles(three, bpk), bpk)]
    assert smallest == ["any two services of one sector", f"any two services of two sectors + {REGISTER}"]


def test_twelve_countermeasures_are_compared_on_one_stream(found: Examination) -> None:
    assert len(found.comparisons) == len({one.measure.id for one in found.comparisons}) == len(COUNTERMEASURES) == 12
    recall = {one.measure.id: one.linkage.recall.value for one in found.comparisons}
    assert recall["raw-serial"] > 0.98
    assert found.comparison("raw-serial").linkage.precision.value == 1
    assert recall["keyed-pairwise"] == recall["per-service-certificate"] == recall["blind-converter"] == 0
    assert 0 < recall["sector-bpk"] < 0.6, "within a sector, but not across sectors"
    assert found.comparison("raw-serial").kept.value == 0
    assert found.comparison("tenant-user-id").kept.value == 1
    assert all(one.measure.cost for one in found.comparisons)


def test_raw_serials_give_an_advantage_and_pseudonyms_do_not(found: Examination) -> None:
    perfect, raw = found.game("keyed-pairwise"), found.game("raw-serial")
    assert perfect.advantage <= perfect.within
    assert perfect.area[0] == 0.5
    assert abs(perfect.risk) <= perfect.risk_within * 1.5
    assert raw.advantage > 0.4
    assert raw.area[1] > 0.7, "the lower bound"
    assert raw.risk - raw.risk_within > 0.3


def test_t5_renewals_link_by_the_chain_and_not_by_equality(found: Examination) -> None:
    share = found.threat("T5").share
    assert share("chain").total > 50
    assert share("chain").value == 1
    assert share("equality").value == 0
    assert share("timing-and-attributes").value > share("timing").value
    least, _ = share("timing-and-attributes-precision").interval
    _, most = share("timing-and-attributes-control").interval
    assert least > most


def test_threat_runs_give_the_expected_results(found: Examination) -> None:
    assert [run.id for run in found.threats] == [
        "T1", "T2", "T3", "T4", "T5", "T6", "T7", "T8", "T9", "T11", "T14", "T15", "T16",
    ]  # fmt: skip
    assert all(run.who and run.holding and run.how for run in found.threats)
    assert all(len({one.id for one in run.results}) == len(run.results) for run in found.threats)

    def value(run: str, result: str) -> float:
        return found.threat(run).share(result).value

    digests = found.threat("T2").value
    assert value("T1", "precision") == 1
    assert digests("plain-digest-links-the-same") is True
    assert digests("common-salt-links-the-same") is True
    assert digests("links-by-service-salt") == 0
    assert value("T2", "dictionary-recall") == value("T1", "recall")
    assert value("T2", "keyed-recall") == 0
    assert value("T3", "user-id-recall") == 1
    assert 0.2 < value("T4", "uses-seen") < 0.5, "some services use OCSP, others CRLs"
    assert found.threat("T6").share("chain").count == 0, "a lost card's successor is in no chain"
    assert value("T9", "member-number-recall") == 0
    assert value("T9", "table-recall") > 0.9
    assert value("T14", "token-recall") == 1
    assert value("T15", "login-insurance-recall") > 0.8
    assert found.threat("T15").share("login-insurance-precision").interval[0] > 0.8
    assert value("T15", "login-points-recall") == 0, "birth date, sex and town are not enough to be sure"
    assert value("T15", "address-list-rank-1") > 0.8
    most, mean = found.threat("T16").value("services-most"), found.threat("T16").value("services-mean")
    assert isinstance(most, int)
    assert isinstance(mean, float)
    assert most >= mean > 1


def test_share_rejects_other_and_unknown_results(found: Examination) -> None:
    with pytest.raises(TypeError):
        found.threat("T16").share("services-most")
    with pytest.raises(KeyError):
        found.threat("T16").share("nothing")


def test_over_the_years_only_the_chain_recognises_people(found: Examination) -> None:
    first, last = found.years[0], found.years[-1]
    assert first.by_equality.value > 0.95
    assert last.by_equality.value == 0
    assert last.with_chain.value > 0.5


def test_accounts_link_by_attributes() -> None:
    """Sixty people at two services, each with a different birth date; ten of them typed a wrong date."""
    rows = [
        (str(number), f"姓{number % 30}", f"名{number % 7}", f"19{50 + number % 40}-0{1 + number % 9}-1{number % 8}",
         "1", str(number % 3), f"{number}丁目") for number in range(60)
    ]  # fmt: skip
    schema = ["id", *ATTRIBUTES]
    one = pl.DataFrame(rows, schema=schema, orient="row")
    wrong = pl.when(pl.col("id").cast(pl.Int64) < 10).then(pl.lit("1900-01-01")).otherwise(pl.col("born"))
    other = one.with_columns(born=wrong).with_columns(id=pl.col("id") + "x")
    engine = DuckDb()
    links = best(candidates(engine, one, other))
    assert links.height >= 50
    assert (links["one"] + "x" == links["other"]).all()
    assert links["one"].n_unique() == links["other"].n_unique() == links.height
    assert candidates(engine, one.head(10), other).height == 0, "ten records are too few to estimate weights"
    nothing = one.with_columns(pl.lit(None, pl.String).alias(name) for name in ATTRIBUTES)
    assert candidates(engine, nothing, other).height == 0
    engine.close()


def test_handles_used_in_the_same_hours_are_linked() -> None:
    hour = 3_600
    # 1 and 11 are one person who goes straight from one service to the other, 2 and 12 are another. 3 and 13 are never
    # used in the same hour.
    visits = [(100 * day + 10 * person, person) for day in range(5) for person in (1, 2)]
    uses = pl.DataFrame({
        "moment": [at * hour for at, _ in visits] + [at * hour + 600 for at, _ in visits] + [7 * hour, 900 * hour],
        "service": [1] * 10 + [2] * 10 + [1, 2],
        "shown": [who for _, who in visits] + [who + 10 for _, who in visits] + [3, 13],
    })  # fmt: skip
    engine = DuckDb()
    engine.frame("uses", uses)
    assert sorted(together(engine, 1, 2, 1_000).rows()) == [(1, 11), (2, 12)]
    assert together(engine, 1, 2, 10).height == 0, "not more often than by chance"
    engine.close()


def test_a_dictionary_reverses_only_digests_without_a_key() -> None:
    def digest(number: int) -> str:
        return sha256(number.to_bytes(8)).hexdigest()

    kept = pl.DataFrame({"handle": [digest(5), digest(7), "keyed"]})
    issued = pl.DataFrame({"shown": list(range(1, 20))})
    assert set(dictionary(kept, issued, digest)["shown"]) == {5, 7}


def test_by_timing_takes_the_nearest_successor() -> None:
    seen = pl.DataFrame({
        "service": [1, 1, 1, 1], "shown": [1, 2, 3, 4], "first": [0, 100, 0, 500], "last": [90, 400, 450, 900],
        "birth_year": [1980, 1980, 1990, 1990],
    })  # fmt: skip
    assert sorted(by_timing(seen, 60).rows()) == [(1, 2), (3, 4)]
    assert by_timing(seen, 5).height == 0
    blind = by_timing(seen.with_columns(birth_year=pl.lit(0)), 200)
    assert (1, 2) in blind.rows(), "the nearest in time wins"


def test_unicity_of_three_people_as_computed_by_hand() -> None:
    uses = pl.DataFrame({"person": [1, 1, 2, 2, 3, 3], "service": [1, 2, 1, 2, 1, 3],
                         "moment": [0, 0, 10, 10, 20, 20], "shown": [1, 1, 2, 2, 3, 3]})  # fmt: skip
    engine = DuckDb()
    engine.frame("uses", uses)
    engine.frame("person", uses.select("person").unique())
    one, two, three = trajectories(engine, 3, 10, 1, 1)
    assert two == (1, 3), "two people share their two services, the third is unique"
    assert one[1] == 3
    assert three == (0, 0), "nobody has three points"
    engine.close()


def test_the_report_is_self_contained_and_reproducible(lab: Laboratory, found: Examination) -> None:
    document, again = found.as_dict(), examine_population(lab).as_dict()
    page = as_html(document)
    assert page == as_html(again)
    assert as_json(document) == as_json(again)
    assert "http" not in page, "the page loads nothing"
    assert as_csv(document).count("\n") == 13
    for name in ("findings", "countermeasures", "years", "coalitions", "threats", "unicity", "anonymity", "games"):
        assert f'<table id="{name}"' in page


def test_findings_have_a_severity_a_code_and_evidence(found: Examination) -> None:
    codes = {one.code: one for one in found.findings}
    assert {"serial-links-services", "digest-links-the-same", "digest-is-no-secret"} <= codes.keys()
    assert all(one.severity in ("high", "medium", "low") and one.evidence for one in codes.values())


def test_an_unusable_population_is_refused_with_a_reason(tmp_path: Path) -> None:
    empty = Laboratory(tmp_path / "empty")
    empty.populate(Plan(0))
    with pytest.raises(PopulationUnusable) as refusal:
        examine_population(empty)
    assert refusal.value.reason is PopulationUnusableReason.NO_RESIDENTS
    incomplete = Laboratory(tmp_path / "incomplete")
    incomplete.populate(Plan(5, 2))
    (incomplete.directory / "whole").unlink()
    with pytest.raises(PopulationUnusable) as refusal:
        open_engine(incomplete)
    assert refusal.value.reason is PopulationUnusableReason.INCOMPLETE


def test_a_population_of_one_is_examined(tmp_path: Path) -> None:
    one = Laboratory(tmp_path / "one")
    one.populate(Plan(1, 5))
    examination = examine(one)
    assert isinstance(examination, Examination)
    assert examination.sizes["person"] == 1


def test_exposure_finds_holders_and_paths() -> None:
    rows: list[tuple[str, str, dict[str, Any]]] = [
        ("shop", "sale", {"code": "S1", "yen": 5}), ("shop", "sale", {"code": "S2", "yen": 6}),
        ("authority", "certificate", {"serial": "S1", "holder": "R1"}), ("core", "person", {"a": "R1", "b": b"\x01"}),
    ]  # fmt: skip
    exposure = exposure_of(rows, {"serial": ["S1", "S2"], "record": ["R1"], "code": ["01"]})
    assert exposure.held["shop", "serial"].rows == 2
    assert ("shop", "record") not in exposure.held, "no cell without a row"
    assert [step.actor for step in exposure.path("serial", "code")] == ["authority", "core"]
    assert exposure.path("code", "nothing") == []
    assert exposure.widest() == "authority"
    assert exposure.path("serial", "code", frozenset(("authority",))) == [], "the path needs the core"
    run = StoreRun("T0", "a test", "serial", "code", frozenset(("authority", "core")))
    (threat,) = over_stores(exposure, [run])
    assert (threat.id, threat.value("way")) == ("T0", "authority: serial -> record / core: record -> code")


def test_joined_tables_of_an_actor_prove_conversions_only() -> None:
    rows: list[tuple[str, str, dict[str, Any]]] = [("portal", "serial", {"s": "S1"}), ("portal", "folder", {"c": "C1"})]
    joined = [("portal", "folder + serial", {"s": "S1", "c": "C1"})]
    known = {"serial": ["S1"], "code": ["C1"]}
    assert exposure_of(rows, known).path("serial", "code") == []
    exposure = exposure_of(rows, known, joined)
    assert [step.table for step in exposure.path("serial", "code")] == ["folder + serial"]
    assert exposure.held["portal", "serial"].rows == 1
