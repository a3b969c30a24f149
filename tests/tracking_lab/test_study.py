"""Linkers and countermeasures: raw serial numbers link everything, perfect pseudonyms nothing."""

from __future__ import annotations

from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import polars as pl
import pytest

from kazashi.tracking_lab.accounts import ATTRIBUTES
from kazashi.tracking_lab.attributes import TooFewRecords, best, candidates
from kazashi.tracking_lab.coalitions import Coalition, Selection, coalitions
from kazashi.tracking_lab.countermeasures import (
    AUTHORITY,
    BLIND,
    COUNTERMEASURES,
    PLATFORM,
    REGISTER,
    countermeasure,
    handles,
)
from kazashi.tracking_lab.document import as_json
from kazashi.tracking_lab.engine import DuckDb
from kazashi.tracking_lab.examine import examine
from kazashi.tracking_lab.exposure import Conversion, HandlePath, exposure_of
from kazashi.tracking_lab.laboratory import Laboratory, PopulationUnusable, PopulationUnusableReason
from kazashi.tracking_lab.linkers import by_timing, dictionary, together, trajectories
from kazashi.tracking_lab.measurements import as_csv
from kazashi.tracking_lab.metrics import Share, pairwise
from kazashi.tracking_lab.plan import Plan
from kazashi.tracking_lab.report import as_html
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


def two_services(*others: str) -> Coalition:
    """A coalition of the two services of SEEN with others."""
    return Coalition(2, Selection.ANY, 1, 1, others)


def alone(actor: str) -> Coalition:
    """A coalition of one actor that is not a service."""
    return Coalition(0, Selection.NONE, 1, 1, (actor,))


@pytest.mark.parametrize(("wanted", "right", "missed", "smallest"), [
    ("raw-serial", 2, 0, two_services()),
    ("raw-serial-person", 2, 0, two_services()),
    ("raw-serial-lists", 2, 0, two_services()),
    ("keyed-pairwise", 0, 2, alone(PLATFORM)),
    ("tenant-user-id", 0, 2, alone(PLATFORM)),
    ("sector-bpk", 2, 0, two_services()),
    ("per-service-certificate", 0, 2, two_services(AUTHORITY)),
    ("blind-converter", 0, 2, two_services(BLIND)),
])  # fmt: skip
def test_countermeasures_link_as_computed_by_hand(wanted: str, right: int, missed: int, smallest: Coalition) -> None:
    measure = countermeasure(wanted)
    held = handles(SEEN.with_columns(asks=pl.lit(False)), measure)
    link = pairwise(held, "handle")
    assert (link.right, link.wrong, link.missed) == (right, 0, missed)
    assert coalitions(held, measure) == [smallest]


def test_an_authority_asked_about_every_use_links_alone() -> None:
    raw = countermeasure("raw-serial")
    seen = handles(SEEN.with_columns(asks=pl.lit(True)), raw)
    assert coalitions(seen, raw) == [alone(AUTHORITY), two_services()]


def test_services_of_two_sectors_need_the_register_to_link() -> None:
    three = pl.DataFrame({
        "service": [1, 2, 3], "sector": ["private", "private", "tax"], "shown": [7, 7, 7], "chain": [1, 1, 1],
        "person": [1, 1, 1], "asks": [False] * 3,
    })  # fmt: skip
    bpk = countermeasure("sector-bpk")
    assert coalitions(handles(three, bpk), bpk) == [
        Coalition(2, Selection.OF_ONE_SECTOR, 1, 3, ()), Coalition(2, Selection.OF_TWO_SECTORS, 2, 3, (REGISTER,))
    ]  # fmt: skip


def test_all_countermeasures_are_compared_on_one_stream(found: Examination) -> None:
    assert len(found.comparisons) == len({one.measure.id for one in found.comparisons}) == len(COUNTERMEASURES) == 21
    recall = {one.measure.id: one.linkage.recall.value for one in found.comparisons}
    assert recall["raw-serial"] > 0.98
    assert found.comparison("raw-serial").linkage.precision.value == 1
    assert recall["keyed-pairwise"] == recall["per-service-certificate"] == recall["blind-converter"] == 0
    assert 0 < recall["sector-bpk"] < 0.6, "within a sector, but not across sectors"
    assert recall["raw-serial-person"] == 1
    assert found.comparison("raw-serial").kept.value == 0
    assert found.comparison("raw-serial-person").kept.value == 1 > found.comparison("raw-serial-chain").kept.value
    assert found.comparison("tenant-user-id").kept.value == 1


def test_raw_serials_give_an_advantage_and_pseudonyms_do_not(found: Examination) -> None:
    perfect, raw = found.game("keyed-pairwise"), found.game("raw-serial")
    assert perfect.advantage.low == 0
    assert perfect.area.value == 0.5
    assert perfect.risk.low < 0.1
    assert raw.advantage.value > 0.4
    assert raw.area.low > 0.7
    assert raw.risk.low > 0.3


def test_t5_j9_renewals_link_by_the_chain_and_not_by_equality(found: Examination) -> None:
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
        "T1", "T2", "T3", "T4", "T5", "T6", "T7", "T8", "T9", "T11", "T14", "T15", "T16", "T17", "T18", "T19",
    ]  # fmt: skip
    assert {run.query for run in found.threats} <= found.queries.keys()
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
    assert found.threat("T6").share("chain").count == 0, "a lost card's successor is in no chain of one card"
    assert value("T6", "person") == 1, "the authority links it all the same"
    assert value("T9", "member-number-recall") == 0
    assert value("T9", "table-recall") == 1, "one MyKey ID a person"
    assert value("T14", "token-recall") == 1
    assert value("T15", "login-insurance-recall") > 0.8
    assert found.threat("T15").share("login-insurance-precision").interval[0] > 0.8
    assert value("T15", "login-points-recall") == 0, "birth date, sex and town are not enough to be sure"
    assert value("T15", "address-list-rank-1") > 0.8
    most, mean = found.threat("T16").value("services-most"), found.threat("T16").value("services-mean")
    assert isinstance(most, int)
    assert isinstance(mean, float)
    assert most >= mean > 1


def test_t17_prefix_and_agent_link_many_and_rare_ones_rightly(found: Examination) -> None:
    run = found.threat("T17")
    assert run.sample is not None
    assert 0 < run.sample.examined < PLAN.residents, "the people of one town"
    for linker in ("network", "network-and-agent", "few-uses"):
        assert run.share(f"{linker}-precision").value > run.share(f"{linker}-control").value
    assert run.share("network-recall").value > 0.9
    assert run.share("network-precision").value < run.share("few-uses-precision").value


def test_t18_only_lists_keep_the_authority_from_naming_pseudonyms(found: Examination) -> None:
    share = found.threat("T18").share
    for check in ("ocsp", "witness", "short-lived", "stapled"):
        assert share(f"{check}-recall").value > 0.95
        assert share(f"{check}-precision").value > 0.95 > share(f"{check}-control").value
    assert share("ocsp-seen").value == share("witness-seen").value == 1
    assert 1 > share("short-lived-seen").value > share("stapled-seen").value > 0.5
    assert share("list-seen").count == share("list-recall").count == 0
    assert share("service-named").value > 0.9, "few people use their cards in the same second"
    own, chance = share("own-hour").interval, share("own-hour-control").interval
    assert own[0] < chance[1], "the generated people have no habits in the hour of the day"


def test_t19_larger_batches_link_less(found: Examination) -> None:
    recalls = [result.value.value for result in found.threat("T19").results if isinstance(result.value, Share)]
    assert len(recalls) == 5
    assert recalls == sorted(recalls, reverse=True)
    assert recalls[0] > 0.95, "one certificate a year"
    assert recalls[-1] == 0, "nobody comes fifty times a year"
    rotating = found.comparison("batch-rotating")
    assert rotating.linkage.recall.value == recalls[3]
    assert rotating.linkage.wrong == 0


def test_one_number_links_across_sectors_and_years(found: Examination) -> None:
    estonia, austria, germany = (
        found.comparison(measure) for measure in ("one-number", "sector-bpk", "restricted-chip-key")
    )
    assert estonia.linkage.recall.value == 1 > austria.linkage.recall.value >= germany.linkage.recall.value > 0
    assert estonia.kept.value == austria.kept.value == 1
    assert two_services() in [replace(one, sets=1, among=1) for one in estonia.coalitions]


def test_a_proof_hides_people_from_services_and_its_witness_shows_them_to_the_authority(found: Examination) -> None:
    hidden, witness, short = (
        found.comparison(f"zero-knowledge-{check}") for check in ("list", "witness", "short-lived")
    )
    assert [one.linkage.recall.count for one in (hidden, witness, short)] == [0, 0, 0]
    assert [one.kept.value for one in (hidden, witness, short)] == [1, 1, 1]
    assert hidden.coalitions == ()
    assert hidden.seen_by_authority.count == 0
    assert witness.seen_by_authority.value == 1 > short.seen_by_authority.value > 0.8
    for one in (witness, short):
        assert {two.others for two in one.coalitions} == {(AUTHORITY,)}
        assert {two.services for two in one.coalitions} == {2}, "the holder's request does not name the service"


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
    with pytest.raises(TooFewRecords):
        candidates(engine, one.head(10), other)
    nothing = one.with_columns(pl.lit(None, pl.String).alias(name) for name in ATTRIBUTES)
    assert candidates(engine, nothing, other).height == 0
    engine.close()


def test_accounts_of_services_that_share_nobody_are_not_linked() -> None:
    """Splink's estimates fail if no records agree: in all attributes at once, or in those of a blocking rule."""
    schema = ["id", *ATTRIBUTES]
    rows = [
        (str(number), f"姓{number}", "名", f"19{10 + number}-01-01", "1", "3", f"{number}丁目") for number in range(60)
    ]
    one = pl.DataFrame(rows, schema=schema, orient="row")
    strangers = one.select(pl.col("id") + "x", pl.col("family") + "田", pl.col("given"), pl.col("born"), pl.col("sex"),
                           pl.col("town"), pl.col("street").str.replace("丁", "00丁"))  # fmt: skip
    engine = DuckDb()
    assert candidates(engine, one, strangers).height == 60, "their birth dates agree"
    assert best(candidates(engine, one, strangers)).height == 0
    assert candidates(engine, one, strangers.with_columns(born=pl.col("born") + "0")).height == 0
    engine.close()


def test_attributes_that_never_differ_link_accounts(tmp_path: Path) -> None:
    """Splink refuses weights that underflow. Nobody errs: each person types the same at both services."""
    rows = [(f"{number}", f"姓{number % 6}", f"名{number}", f"19{40 + number % 55}-0{1 + number % 9}-1{number % 10}",
             "MF"[number % 2], f"町{number % 2}", f"{number % 20}丁目") for number in range(150)]  # fmt: skip
    one = pl.DataFrame(rows, schema=["id", *ATTRIBUTES], orient="row")
    engine = DuckDb(spill=tmp_path)
    links = best(candidates(engine, one, one.with_columns(id=pl.col("id") + "x")))
    engine.close()
    assert (links["one"] + "x" == links["other"]).all()
    assert links.height > 140


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
    again = examine_population(lab)
    page = as_html(found)
    assert page == as_html(again)
    assert as_json(found) == as_json(again)
    assert as_csv(found) == as_csv(again)
    assert "http" not in page, "the page loads nothing"


def test_findings_have_a_severity_a_code_and_evidence(found: Examination) -> None:
    codes = {one.code: one for one in found.findings}
    assert {"serial-links-services", "digest-links-the-same", "digest-is-no-secret"} <= codes.keys()
    assert all(one.evidence for one in codes.values())


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
    rows: list[tuple[str, str, dict[str, str]]] = [
        ("shop", "sale", {"code": "serial"}), ("shop", "sale", {"code": "serial"}), ("shop", "sale", {}),
        ("authority", "certificate", {"serial": "serial", "holder": "record"}),
        ("core", "person", {"a": "record", "b": "code"}),
    ]  # fmt: skip
    exposure = exposure_of(rows)
    assert exposure.held["shop", "serial"].rows == 2
    assert ("shop", "record") not in exposure.held, "no cell without a row"
    assert [step.actor for step in exposure.path("serial", "code")] == ["authority", "core"]
    assert exposure.path("code", "nothing") == []
    assert exposure.widest() == "authority"
    assert exposure.path("serial", "code", frozenset(("authority",))) == [], "the path needs the core"
    run = StoreRun("T0", "serial", "code", frozenset(("authority", "core")))
    (threat,) = over_stores(exposure, [run])
    steps = (Conversion("authority", "serial", "record", "certificate"), Conversion("core", "record", "code", "person"))
    assert threat.value("path") == HandlePath("authority + core", "serial", "code", steps)


def test_joined_tables_of_an_actor_prove_conversions_only() -> None:
    rows = [("portal", "serial", {"s": "serial"}), ("portal", "folder", {"c": "code"})]
    joined = [("portal", "folder + serial", {"s": "serial", "c": "code"})]
    assert exposure_of(rows).path("serial", "code") == []
    exposure = exposure_of(rows, joined)
    assert [step.table for step in exposure.path("serial", "code")] == ["folder + serial"]
    assert exposure.held["portal", "serial"].rows == 1
