"""The measures beside other programs: statsmodels, scikit-learn, anonymeter and recordlinkage.

An ordinary run compares with what these programs answered before (peer_values.json, with their versions). The long run
asks them again, and gives them a table of the laboratory and a published data set.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from benchmarks.metrics import CASES, VALUES, answers
from kazashi.tracking_lab.accounts import ATTRIBUTES, registered
from kazashi.tracking_lab.attributes import best, candidates
from kazashi.tracking_lab.engine import DuckDb
from kazashi.tracking_lab.laboratory import Laboratory
from kazashi.tracking_lab.metrics import Share, anonymeter, area_under_curve, clusters
from kazashi.tracking_lab.plan import Plan
from kazashi.world.rng import stream


@pytest.fixture(scope="module")
def peers() -> dict[str, Any]:
    values: dict[str, Any] = json.loads(VALUES.read_text(encoding="utf-8"))
    return values


@pytest.mark.unit
@pytest.mark.parametrize("place", range(len(CASES["wilson"])))
def test_the_interval_of_a_share_is_that_of_statsmodels(peers: dict[str, Any], place: int) -> None:
    count, total = CASES["wilson"][place]
    assert Share(count, total).interval == pytest.approx(tuple(peers["wilson"][place]), abs=1e-12)


@pytest.mark.unit
@pytest.mark.parametrize("place", range(len(CASES["area"])))
def test_the_area_under_the_curve_is_that_of_scikit_learn(peers: dict[str, Any], place: int) -> None:
    case = CASES["area"][place]
    area = area_under_curve(case["same"], case["different"], stream("peers", str(place)))
    assert area.value == pytest.approx(peers["area"][place], abs=1e-12)
    assert area.low <= area.value <= area.high


@pytest.mark.unit
@pytest.mark.parametrize("place", range(len(CASES["clusters"])))
def test_clusters_are_scored_as_by_scikit_learn(peers: dict[str, Any], place: int) -> None:
    case = CASES["clusters"][place]
    items = pl.DataFrame({"person": case["persons"], "key": case["clusters"]}).with_row_index("service")
    found, theirs = clusters(items, "key"), peers["clusters"][place]
    ours = {"precision": found.precision, "recall": found.recall, "rand": found.rand, "information": found.information}
    assert ours == pytest.approx(theirs, abs=1e-12)


@pytest.mark.unit
def test_b_cubed_is_that_of_its_authors(peers: dict[str, Any]) -> None:
    """Bagga and Baldwin (1998) give 76 % and 58 % precision for the last two cases, and 100 % recall for both."""
    published = [(round(one["precision"], 2), one["recall"]) for one in peers["clusters"][-2:]]
    assert published == [(0.76, 1.0), (0.58, 1.0)]


@pytest.mark.unit
@pytest.mark.parametrize("place", range(len(CASES["risk"])))
def test_the_risk_beyond_guessing_is_that_of_anonymeter(peers: dict[str, Any], place: int) -> None:
    trials, right, control = CASES["risk"][place]
    risk = anonymeter(right, trials, control, trials)
    bounded = [min(1.0, max(0.0, value)) for value in (risk.value, risk.low, risk.high)]
    assert bounded == pytest.approx(peers["risk"][place], abs=1e-12)


@pytest.mark.long
def test_the_other_programs_still_answer_the_same(peers: dict[str, Any]) -> None:
    again = answers(CASES)
    assert again["versions"] == peers["versions"]
    for name in ("wilson", "area", "clusters", "risk"):
        assert _numbers(again[name]) == pytest.approx(_numbers(peers[name]), abs=1e-9), name


@pytest.mark.long
def test_our_linker_finds_at_least_what_anonymeter_does_in_one_table(tmp_path: Path) -> None:
    """Half of the accounts of a population are released as people typed them. Both programs look for people in it by
    the registry's attributes; those whose accounts were not released are the control."""
    laboratory = Laboratory(tmp_path / "population")
    laboratory.populate(Plan(1_200, 3, "peers"))
    people = pl.read_parquet(laboratory.file("person"))
    logins = pl.read_parquet(laboratory.file("service")).filter(kind="login").select("service")
    typed = pl.read_parquet(laboratory.file("account")).join(logins, on="service", how="semi")
    typed = typed.sort("person", "since").unique(subset=["person"], keep="first", maintain_order=True)
    listed = registered(people).join(typed.select("person"), on="person", how="semi").sort("person")
    inside, outside = listed.filter(pl.col("person") % 2 == 0), listed.filter(pl.col("person") % 2 == 1)
    count = min(inside.height, outside.height)
    inside, outside = inside.head(count), outside.head(count)
    released = typed.join(inside.select("person"), on="person", how="semi")
    assert count > 200

    engine = DuckDb()
    ours = anonymeter(_linked(engine, inside, released), count, _linked(engine, outside, released), count)
    engine.close()
    columns = [["family", "given", "born"], ["sex", "town", "street"]]
    theirs = answers({"linkability": {
        "released": released.select(ATTRIBUTES).fill_null("").to_dicts(), "columns": columns,
        "targets": inside.select(ATTRIBUTES).to_dicts(), "control": outside.select(ATTRIBUTES).to_dicts(),
    }})["linkability"]  # fmt: skip
    print(f"linkability of {count} people: ours {ours}, anonymeter's {theirs}")
    assert ours.low > theirs[2], "it compares the six attributes at once, and anonymeter two halves of them"
    assert theirs[1] > 0, "the nearest neighbours of both halves coincide more often than by chance"


@pytest.mark.long
def test_the_linker_finds_febrl_s_links_as_well_as_the_example_of_recordlinkage() -> None:
    """FEBRL's fourth data set (Christen 2008): 5,000 people, and as many records with mistakes."""
    febrl = answers({"febrl": None})["febrl"]
    one, other = (_as_accounts(pl.DataFrame(table, infer_schema_length=None)) for table in febrl["tables"])
    assert (one.height, other.height, febrl["links"]) == (5_000, 5_000, 5_000)
    assert (febrl["found"], febrl["precision"], febrl["recall"]) == (3_241, 1.0, 0.6482), "as in its documentation"

    engine = DuckDb()
    links = best(candidates(engine, one, other))
    engine.close()
    right = links.filter(pl.col("one").str.extract(r"(\d+)") == pl.col("other").str.extract(r"(\d+)")).height
    precision, recall = Share(right, links.height), Share(right, febrl["links"])
    print(f"FEBRL 4: precision {precision}, recall {recall}")
    assert precision.value > 0.998
    assert recall.interval[0] > 0.9 > febrl["recall"]


def _linked(engine: DuckDb, people: pl.DataFrame, released: pl.DataFrame) -> int:
    """How many of some people the linker finds among the released accounts, rightly or not."""
    one = people.select(pl.col("person").cast(pl.String).alias("id"), *ATTRIBUTES)
    other = released.select(pl.col("person").cast(pl.String).alias("id"), *ATTRIBUTES)
    return best(candidates(engine, one, other)).height


def _as_accounts(records: pl.DataFrame) -> pl.DataFrame:
    street = pl.concat_str(pl.col("street_number"), pl.col("address_1"), separator=" ", ignore_nulls=True)
    return records.select(
        id="rec_id", family="surname", given="given_name", born="date_of_birth", sex=pl.lit(None, pl.String),
        town="suburb", street=street,
    )  # fmt: skip


def _numbers(value: Any) -> list[float]:
    """The numbers in nested lists and dictionaries, in order."""
    if isinstance(value, dict):
        return [number for name in sorted(value) for number in _numbers(value[name])]
    if isinstance(value, list):
        return [number for one in value for number in _numbers(one)]
    assert math.isfinite(value)
    return [value]
