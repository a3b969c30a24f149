"""Linkers and countermeasures: raw serial numbers link everything, perfect pseudonyms nothing, on either engine."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from kazashi.tracking_lab.accounts import ATTRIBUTES
from kazashi.tracking_lab.attributes import best, candidates
from kazashi.tracking_lab.coalitions import coalitions
from kazashi.tracking_lab.countermeasures import AUTHORITY, COUNTERMEASURES, PLATFORM, REGISTER, handles, named
from kazashi.tracking_lab.engine import DuckDb
from kazashi.tracking_lab.exposure import exposure_of
from kazashi.tracking_lab.laboratory import Laboratory, PopulationUnusable
from kazashi.tracking_lab.linkers import by_timing, dictionary, together, trajectories
from kazashi.tracking_lab.metrics import pairwise
from kazashi.tracking_lab.plan import Plan
from kazashi.tracking_lab.report import as_csv, as_html, as_json
from kazashi.tracking_lab.study import examine, open_engine
from kazashi.tracking_lab.threats import StoreRun, over_stores

PLAN = Plan(150, 10, "study")


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Laboratory:
    found = Laboratory(tmp_path_factory.mktemp("lab") / "p")
    found.populate(PLAN)
    return found


@pytest.fixture(scope="module")
def found(lab: Laboratory) -> dict[str, Any]:
    return examine(lab)


# Three people at two services: the first renews in between (1 to 2), the others stay (3, 4).
SEEN = pl.DataFrame({
    "service": [1, 1, 2, 1, 2, 2], "sector": ["private"] * 6, "shown": [1, 2, 2, 3, 3, 4],
    "chain": [10, 10, 10, 30, 30, 40], "person": [1, 1, 1, 3, 3, 4], "asks": [True] * 3 + [False] * 3,
})  # fmt: skip


@pytest.mark.parametrize(("name", "right", "missed", "smallest"), [
    ("raw serial number", 2, 0, ["any two services"]),
    ("raw serial number, lists in place of OCSP", 2, 0, ["any two services"]),
    ("HMAC by a platform", 0, 2, [PLATFORM]),
    ("tenant's user id from the authority's links", 0, 2, [PLATFORM]),
    ("sector's identifier (bPK)", 2, 0, ["any two services"]),
    ("a certificate for each service", 0, 2, [f"any two services + {AUTHORITY}"]),
    ("blind converter", 0, 2, ["any two services + blind converter"]),
])  # fmt: skip
def test_countermeasures_by_hand(name: str, right: int, missed: int, smallest: list[str]) -> None:
    (measure,) = named([name])
    held = handles(SEEN.with_columns(asks=pl.lit(False)), measure)
    link = pairwise(held, "handle")
    assert (link.right, link.wrong, link.missed) == (right, 0, missed)
    assert [str(who) for who in coalitions(held, measure)] == smallest


def test_an_authority_that_is_asked_about_every_use_needs_nobody_else() -> None:
    (raw,) = named(["raw serial number"])
    asked = handles(SEEN.with_columns(asks=pl.lit(True)), raw)
    assert [str(who) for who in coalitions(asked, raw)] == [AUTHORITY, "any two services"]


def test_sectors_divide_what_services_can_link() -> None:
    three = pl.DataFrame({
        "service": [1, 2, 3], "sector": ["private", "private", "tax"], "shown": [7, 7, 7], "chain": [1, 1, 1],
        "person": [1, 1, 1], "asks": [False] * 3,
    })  # fmt: skip
    (bpk,) = named(["sector's identifier (bPK)"])
    found = [str(who) for who in coalitions(handles(three, bpk), bpk)]
    assert found == ["any two services of one sector", f"any two services of two sectors + {REGISTER}"]


def test_at_least_ten_countermeasures_on_one_stream(found: dict[str, Any]) -> None:
    rows = {row["name"]: row for row in found["countermeasures"]}
    assert len(rows) == len(COUNTERMEASURES) == 12
    assert rows["raw serial number"]["recall"]["value"] > 0.98
    assert rows["raw serial number"]["precision"]["value"] == 1
    for name in ("HMAC by a platform", "a certificate for each service", "blind converter"):
        assert rows[name]["recall"]["value"] == 0
    assert 0 < rows["sector's identifier (bPK)"]["recall"]["value"] < 0.6, "within a sector, and not across"
    assert rows["raw serial number"]["renewals kept"]["value"] == 0
    assert rows["tenant's user id from the authority's links"]["renewals kept"]["value"] == 1
    assert all(row["cost"] for row in rows.values())


def test_perfect_pseudonyms_give_no_advantage_and_raw_serials_do(found: dict[str, Any]) -> None:
    games = {row["name"]: row for row in found["games"]}
    perfect, raw = games["HMAC by a platform"], games["raw serial number"]
    assert perfect["advantage"] <= perfect["within"]
    assert perfect["area"] == 0.5
    assert abs(perfect["risk beyond guessing"]) <= perfect["risk within"] * 1.5
    assert raw["advantage"] > 0.4
    assert raw["area low"] > 0.7
    assert raw["risk beyond guessing"] - raw["risk within"] > 0.3


def runs_of(found: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {run["run"]: run["results"] for run in found["threats"]}


def test_t5_renewals_with_the_chain_all_and_without_it_none_by_identifier(found: dict[str, Any]) -> None:
    renewals = runs_of(found)["T5"]
    assert renewals["with the chain told"]["total"] > 50
    assert renewals["with the chain told"]["value"] == 1
    assert renewals["by equality alone"]["value"] == 0
    assert renewals["by timing, birth year"]["value"] > renewals["by timing"]["value"]
    assert (
        renewals["by timing, birth year: precision"]["low"]
        > (renewals["by timing, birth year: precision of the control"]["high"])
    )


def test_the_threat_runs_say_who_holds_what_and_what_it_comes_to(found: dict[str, Any]) -> None:
    runs = runs_of(found)
    assert list(runs) == ["T1", "T2", "T3", "T4", "T5", "T6", "T7", "T8", "T9", "T11", "T14", "T15", "T16"]
    assert all(run["who"] and run["holding"] and run["how"] for run in found["threats"])
    assert runs["T1"]["precision"]["value"] == 1
    assert runs["T2"]["SHA-256 links what the number links"]
    assert runs["T2"]["so does a salt that all share"]
    assert runs["T2"]["links by a salt of each service"] == 0
    assert runs["T2"]["the same after a dictionary, recall"]["value"] == runs["T1"]["recall"]["value"]
    assert runs["T2"]["HMAC with a platform's key, recall"]["value"] == 0
    assert runs["T3"]["tenant's user ids, recall"]["value"] == 1
    assert 0.2 < runs["T4"]["uses seen (X12)"]["value"] < 0.5, "of the services some ask, and others take lists"
    assert runs["T6"]["with the chain told"]["value"] in (0, None), "a lost card's successor is in no chain"
    assert runs["T9"]["member numbers alone, recall"]["value"] == 0
    assert runs["T9"]["with the table, recall"]["value"] > 0.9
    assert runs["T14"]["by the token, recall"]["value"] == 1
    assert runs["T15"]["login + insurance, recall"]["value"] > 0.8
    assert runs["T15"]["login + insurance, precision"]["low"] > 0.8
    assert runs["T15"]["login + points, recall"]["value"] == 0, "birth date, sex and town are not enough to be sure"
    assert runs["T15"]["by an address list, RR@1 (X5)"]["value"] > 0.8
    assert runs["T16"]["most"] >= runs["T16"]["services that answer: mean"] > 1


def test_years_tell_renewal_from_chain(found: dict[str, Any]) -> None:
    first, last = found["years"][0], found["years"][-1]
    assert first["by equality"]["value"] > 0.95
    assert last["by equality"]["value"] == 0
    assert last["with the chain"]["value"] > 0.5


def test_attributes_link_and_controls_do_not() -> None:
    """Sixty people at two services, each with a birth date of his own; ten typed the wrong day."""
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
    assert candidates(engine, one.head(10), other).height == 0, "with so few there is nothing to learn from"
    nothing = one.with_columns(pl.lit(None, pl.String).alias(name) for name in ATTRIBUTES)
    assert candidates(engine, nothing, other).height == 0
    engine.close()


def test_who_comes_in_the_same_hours_is_linked() -> None:
    hour = 3_600
    # 1 and 11 are one person who goes from one service to the other at once, 2 and 12 another; 3 and 13 never meet.
    visits = [(100 * day + 10 * person, person) for day in range(5) for person in (1, 2)]
    uses = pl.DataFrame({
        "moment": [at * hour for at, _ in visits] + [at * hour + 600 for at, _ in visits] + [7 * hour, 900 * hour],
        "service": [1] * 10 + [2] * 10 + [1, 2],
        "shown": [who for _, who in visits] + [who + 10 for _, who in visits] + [3, 13],
    })  # fmt: skip
    engine = DuckDb()
    engine.frame("uses", uses)
    assert sorted(together(engine, 1, 2, 1_000).rows()) == [(1, 11), (2, 12)]
    assert together(engine, 1, 2, 10).height == 0, "no more often than chance would have it"
    engine.close()


def test_a_dictionary_opens_digests_without_a_key_and_none_with_one() -> None:
    def digest(number: int) -> str:
        return sha256(number.to_bytes(8)).hexdigest()

    kept = pl.DataFrame({"handle": [digest(5), digest(7), "keyed"]})
    issued = pl.DataFrame({"shown": list(range(1, 20))})
    assert set(dictionary(kept, issued, digest)["shown"]) == {5, 7}


def test_timing_by_hand() -> None:
    seen = pl.DataFrame({
        "service": [1, 1, 1, 1], "shown": [1, 2, 3, 4], "first": [0, 100, 0, 500], "last": [90, 400, 450, 900],
        "birth_year": [1980, 1980, 1990, 1990],
    })  # fmt: skip
    assert sorted(by_timing(seen, 60).rows()) == [(1, 2), (3, 4)]
    assert by_timing(seen, 5).height == 0
    blind = by_timing(seen.with_columns(birth_year=pl.lit(0)), 200)
    assert (1, 2) in blind.rows(), "the nearest in time comes first"


def test_unicity_by_hand() -> None:
    uses = pl.DataFrame({"person": [1, 1, 2, 2, 3, 3], "service": [1, 2, 1, 2, 1, 3],
                         "moment": [0, 0, 10, 10, 20, 20], "shown": [1, 1, 2, 2, 3, 3]})  # fmt: skip
    engine = DuckDb()
    engine.frame("uses", uses)
    engine.frame("person", uses.select("person").unique())
    one, two, three = trajectories(engine, 3, 10, 1, 1)
    assert two == (1, 3), "two share their two services, the third is alone"
    assert one[1] == 3
    assert three == (0, 0), "nobody has as many"
    engine.close()


def test_the_report_is_one_page_and_the_same_bytes_each_time(lab: Laboratory, found: dict[str, Any]) -> None:
    page, again = as_html(found), as_html(examine(lab))
    assert page == again
    assert as_json(found) == as_json(examine(lab))
    assert "http" not in page, "self-contained"
    assert as_csv(found).count("\n") == 13
    for name in ("findings", "countermeasures", "years", "coalitions", "threats", "unicity", "anonymity", "games"):
        assert f'<table id="{name}"' in page


def test_findings_have_severity_code_and_evidence(found: dict[str, Any]) -> None:
    codes = {one["code"]: one for one in found["findings"]}
    assert {"serial-links-services", "digest-links-the-same", "digest-is-no-secret"} <= codes.keys()
    assert all(one["severity"] in ("high", "medium", "low") and one["evidence"] for one in codes.values())


def test_what_cannot_be_examined_says_why(tmp_path: Path) -> None:
    nobody = Laboratory(tmp_path / "nobody")
    nobody.populate(Plan(0))
    with pytest.raises(PopulationUnusable, match="nobody has nothing"):
        examine(nobody)
    cut = Laboratory(tmp_path / "cut")
    cut.populate(Plan(5, 2))
    (cut.directory / "whole").unlink()
    with pytest.raises(PopulationUnusable, match="is not whole"):
        open_engine(cut)
    one = Laboratory(tmp_path / "one")
    one.populate(Plan(1, 5))
    assert examine(one)["sizes"]["person"] == 1


def test_exposure_by_hand() -> None:
    rows: list[tuple[str, str, dict[str, Any]]] = [
        ("shop", "sale", {"code": "S1", "yen": 5}), ("shop", "sale", {"code": "S2", "yen": 6}),
        ("authority", "certificate", {"serial": "S1", "holder": "R1"}), ("core", "person", {"a": "R1", "b": b"\x01"}),
    ]  # fmt: skip
    found = exposure_of(rows, {"serial": ["S1", "S2"], "record": ["R1"], "code": ["01"]})
    assert found.held["shop", "serial"].rows == 2
    assert ("shop", "record") not in found.held, "no cell without a row"
    assert [step.actor for step in found.path("serial", "code")] == ["authority", "core"]
    assert found.path("code", "nothing") == []
    assert found.widest() == "authority"
    assert found.path("serial", "code", frozenset(("authority",))) == [], "not without the core"
    run = StoreRun("T0", "a test", "serial", "code", frozenset(("authority", "core")))
    (row,) = over_stores(found, [run])
    assert row["results"] == {"serial -> code": "authority: serial -> record / core: record -> code"}


def test_tables_of_one_actor_are_joined_and_prove_conversions_only() -> None:
    rows: list[tuple[str, str, dict[str, Any]]] = [("portal", "serial", {"s": "S1"}), ("portal", "folder", {"c": "C1"})]
    joined = [("portal", "folder + serial", {"s": "S1", "c": "C1"})]
    known = {"serial": ["S1"], "code": ["C1"]}
    assert exposure_of(rows, known).path("serial", "code") == []
    found = exposure_of(rows, known, joined)
    assert [step.table for step in found.path("serial", "code")] == ["folder + serial"]
    assert found.held["portal", "serial"].rows == 1
