"""Linkers and countermeasures: raw serial numbers link everything, perfect pseudonyms nothing, on either engine."""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from tracking_lab.countermeasures import COUNTERMEASURES, PLATFORM, SERVICE, handles, named
from tracking_lab.engine import TABLES, DuckDb, Engine, Spark
from tracking_lab.exposure import exposure_of
from tracking_lab.laboratory import Laboratory, PopulationUnusable
from tracking_lab.linkers import (
    by_timing,
    dictionary,
    exact_join,
    hashed,
    shared_persons,
    smallest_coalitions,
    trajectories,
)
from tracking_lab.metrics import pairwise
from tracking_lab.plan import Plan
from tracking_lab.report import as_csv, as_html, as_json
from tracking_lab.study import examine, open_engine

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
    "chain": [10, 10, 10, 30, 30, 40], "person": [1, 1, 1, 3, 3, 4],
})  # fmt: skip


@pytest.mark.parametrize(("name", "right", "missed", "smallest"), [
    ("raw serial number", 2, 0, [{SERVICE}]), ("SHA-256 of the serial number", 2, 0, [{SERVICE}]),
    ("HMAC by a platform", 0, 2, [{SERVICE, PLATFORM}]),
    ("tenant's user id from the authority's links", 0, 2, [{SERVICE, PLATFORM}]),
    ("sector's identifier (bPK)", 2, 0, [{SERVICE}]), ("restricted identification, chip's key", 2, 0, [{SERVICE}]),
])  # fmt: skip
def test_countermeasures_by_hand(name: str, right: int, missed: int, smallest: list[set[str]]) -> None:
    (measure,) = named([name])
    held = handles(SEEN, measure)
    link = pairwise(held, "handle")
    assert (link.right, link.wrong, link.missed) == (right, 0, missed)
    assert [set(who) for who in smallest_coalitions(held, measure)] == smallest


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
    assert raw["advantage"] > 0.4
    assert raw["risk beyond guessing"] > 0.3 > perfect["risk beyond guessing"]


def test_x3_renewals_with_the_chain_all_and_without_it_none_by_identifier(found: dict[str, Any]) -> None:
    renewals = found["renewals"]
    assert renewals["renewals seen at one service"] > 50
    assert renewals["with the chain told"]["value"] == 1
    assert renewals["by equality alone"]["value"] == 0
    assert renewals["by timing and year of birth"]["value"] > renewals["by timing"]["value"]


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
    assert trajectories(engine, 2, 10, 1, 1) == (1, 3), "two share their two services, the third is alone"
    engine.close()


@pytest.fixture(scope="module", params=["duckdb", "spark"])
def engine(request: pytest.FixtureRequest, lab: Laboratory) -> Iterator[Engine]:
    made: Engine = DuckDb() if request.param == "duckdb" else Spark()
    for name in TABLES:
        made.table(name, lab.file(name))
    yield made
    made.close()


_SEEN_BY: dict[str, list[Any]] = {}


def test_both_engines_answer_the_same(engine: Engine) -> None:
    plain, digests = exact_join(engine), exact_join(engine, hashed(engine))
    assert plain.height > 10
    assert plain.rows() == digests.rows()
    singled = [trajectories(engine, points, 100, 7, 1) for points in (1, 2, 4)]
    told = [plain.rows(), shared_persons(engine).rows(), singled]
    first = _SEEN_BY.setdefault("first", told)
    assert told == first


def test_the_report_is_one_page_and_the_same_bytes_each_time(lab: Laboratory, found: dict[str, Any]) -> None:
    page, again = as_html(found), as_html(examine(lab))
    assert page == again
    assert as_json(found) == as_json(examine(lab))
    assert "http" not in page, "self-contained"
    assert as_csv(found).count("\n") == 13
    for name in ("findings", "countermeasures", "renewals", "unicity", "anonymity", "games"):
        assert f'id="{name}"' in page


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
