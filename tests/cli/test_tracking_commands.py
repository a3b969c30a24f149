"""`kazashi tracking`; its report is in tests/tracking_lab/test_page.py."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema_rs
import pytest

from benchmarks import bench_tracking
from kazashi.studies.handle_exposure import ANYBODY, exposed, matrix
from kazashi.studies.handle_sightings import sightings
from kazashi.studies.handles import HandleKind
from kazashi.studies.tracking import laboratory_of, rule_errors
from kazashi.studies.tracking_stores import RUNS, scene, unseen
from kazashi.tracking_lab.countermeasures import COUNTERMEASURES
from kazashi.tracking_lab.exposure import Exposure, HandlePath
from kazashi.tracking_lab.laboratory import PopulationUnusable, PopulationUnusableReason
from kazashi.tracking_lab.metrics import Share
from kazashi.tracking_lab.threats import over_stores
from kazashi.world.home import open_world
from tests.cli.program import InProcessProgram
from tests.tracking_lab.result_schema import as_text

pytestmark = pytest.mark.browser

BANK_ACCOUNT, CODE, MEMBER, MYKEY, NAME, PORTAL_CODE, RECORD_CODE, SERIAL, USER = (
    kind.value for kind in (
        HandleKind.BANK_ACCOUNT, HandleKind.CODE, HandleKind.MEMBER, HandleKind.MYKEY, HandleKind.NAME,
        HandleKind.PORTAL_CODE, HandleKind.RECORD_CODE, HandleKind.SERIAL, HandleKind.USER,
    )
)  # fmt: skip


def say(world: Path, *words: str, expect: int = 0) -> str:
    done = InProcessProgram(world).run("tracking", *words, expect=expect)
    return done.stdout or done.stderr


def test_own_logs_are_imported_and_examined(tmp_path: Path) -> None:
    logs, mapping = tmp_path / "logs.csv", tmp_path / "mapping.yaml"
    rows = [f"2026-05-{day:02}T09:00:00,{shop},S{day % 3}" for day in range(1, 21) for shop in ("rice", "books")]
    logs.write_text("\n".join(["time,shop,serial", *rows, "never,rice,S1"]) + "\n", encoding="utf-8")
    mapping.write_text("moment: time\nservice: shop\nhandle: serial\n", encoding="utf-8")
    world, page = tmp_path / "w", tmp_path / "logs.html"
    reply = json.loads(say(world, "import", str(logs), "--mapping", str(mapping), "--json"))
    assert (reply["uses"], reply["left_out"]) == (40, {"no time that can be read": 1})
    assert "Services hold equal handles" in say(world, "report", "--name", "logs", "--html", str(page))
    assert "[population-unusable]" in say(world, "report", "--name", "others", "--html", str(page), expect=2)
    mapping.write_text("moment: when\nservice: shop\nhandle: serial\n", encoding="utf-8")
    assert "[logs-unusable]" in say(world, "import", str(logs), "--mapping", str(mapping), expect=2)
    told = json.loads(say(world, "report", "--name", "logs", "--html", str(page), "--json"))
    assert told["result"]["logs"]["uses"] == 40


def test_the_schema_changes_only_with_the_version_of_the_documents(tmp_path: Path) -> None:
    """The published schema is that of the types of the results."""
    published = say(tmp_path / "w", "schema")
    assert published == as_text(), "a result has changed: see tests/tracking_lab/result_schema.py"
    jsonschema_rs.meta.validate(json.loads(published))


def test_a_population_without_residents_is_refused(tmp_path: Path) -> None:
    say(tmp_path / "w", "populate", "--residents", "0")
    assert "[population-unusable]" in say(tmp_path / "w", "report", "--html", str(tmp_path / "x.html"), expect=2)


@pytest.fixture(scope="module")
def seen(module_path: Path) -> tuple[Exposure, Share]:
    """The exposure of the small world in which cards are used everywhere, and the share of hidden flows."""
    with scene(module_path / "w") as (institutions, network):
        found = sightings(institutions.world, leaves=True)
        return exposed(institutions.world, found), unseen(institutions, network)


def test_exposure_shows_who_holds_which_handle(seen: tuple[Exposure, Share]) -> None:
    found, hidden = seen
    runs = {run.id: run.value("path") for run in over_stores(found, RUNS)}
    assert list(runs) == ["T10", "T12", "T12-j-lis", "T13"]
    assert runs["T12"] == HandlePath("MyKey platform + municipal registry", MYKEY, RECORD_CODE, ())
    with_j_lis = runs["T12-j-lis"]
    assert isinstance(with_j_lis, HandlePath)
    assert [(step.actor, step.target) for step in with_j_lis.steps] == [
        ("MyKey platform", SERIAL), ("J-LIS", RECORD_CODE)
    ]  # fmt: skip
    assert found.widest() == "J-LIS"
    held = {handle: {actor for actor, what in found.held if what == handle} for handle in found.handles}
    assert held[SERIAL] == {"J-LIS", "MyKey platform", "insurers' joint body", "platform operator", "portal",
                            "refund point centre", "shop", ANYBODY}  # fmt: skip
    assert found.held[ANYBODY, SERIAL].at_use, "readable without a PIN, although nobody stores it"
    assert held[PORTAL_CODE] == {"portal", "network's core"}
    assert held[RECORD_CODE] == {"J-LIS", "municipal registry", "network's core"}
    assert "refund point centre" in held[NAME], "the name is needed for payments"
    assert not {"MyKey platform", "portal", "platform operator"} & held[NAME]
    assert [step.actor for step in found.path(MYKEY, RECORD_CODE)] == ["MyKey platform", "J-LIS"]
    assert [step.actor for step in found.path(SERIAL, CODE)] == ["portal", "network's core"]
    assert hidden == Share(4, 12), "two tax returns, an answer to an investigator, and a flow inside a town hall"


def test_j8_for_each_relying_party_s_identifier_a_path_to_a_code_is_named(seen: tuple[Exposure, Share]) -> None:
    """What matters is how far a token reaches, not whether it is the individual number. Each step is a conversion that
    its actor can make, and a path ends at the code."""
    paths = [path for path in matrix(seen[0]).paths if path.target == CODE]
    relying = {"MyKey platform", "insurers' joint body", "platform operator", "portal", "refund point centre", "shop"}
    through = {(one.actor, one.handle): [step.actor for step in one.steps] for one in paths if one.actor in relying}
    core = "network's core"
    assert through == {
        ("MyKey platform", MYKEY): ["MyKey platform", "portal", core],
        ("MyKey platform", MEMBER): ["MyKey platform", "portal", core],
        ("portal", PORTAL_CODE): [core],
        ("platform operator", USER): ["refund point centre", "J-LIS", core],
        ("refund point centre", USER): ["refund point centre", "J-LIS", core],
        ("refund point centre", NAME): ["J-LIS", core],
        ("refund point centre", BANK_ACCOUNT): ["refund point centre", "J-LIS", core],
        **{(who, SERIAL): ["portal", core] for who in relying},
    }  # fmt: skip
    for path in paths:
        handles = [path.handle, *(step.target for step in path.steps)]
        assert [step.source for step in path.steps] == handles[:-1]
        assert handles[-1] == CODE
    without = relying | {ANYBODY, "municipal registry"}
    assert not seen[0].path(SERIAL, CODE, frozenset(without - {"portal"})), "without the portal, J-LIS and the core"


@pytest.mark.parametrize(("size", "units"), [
    (bench_tracking.TrackingSize(100, 300, 0, 0, 0), []),
    pytest.param(bench_tracking.TrackingSize(100, 300, 2_000, 300, 0), ["s", "MB"] * 3, marks=pytest.mark.long),
    pytest.param(bench_tracking.TrackingSize(100, 300, 0, 0, 150), [], marks=pytest.mark.long),
])  # fmt: skip
def test_tracking_benchmark_takes_every_measure(size: bench_tracking.TrackingSize, units: list[str]) -> None:
    measures = bench_tracking.measure(size=size)
    pseudonyms, cluster = ["us"] * len(COUNTERMEASURES), ["s"] * bool(size.on_spark)
    assert [found.unit for found in measures] == [
        "s", "s", "s", "s", "s", "s", *units, *pseudonyms, *cluster, "s", "s", "MB", "h", "h",
    ]  # fmt: skip
    for found in measures:
        assert min(found.ours, found.peer, found.ratio) > 0
    assert [found.peer_name for found in measures[2:5]] == ["pandas", "Polars", "DuckDB"]


def test_x17_no_decision_is_wrong() -> None:
    wrong, tried = rule_errors()
    assert wrong == 0
    assert tried > 3_000


@pytest.mark.parametrize("words", [("populate", "--residents", "-1"), ("populate", "--years", "0"), ("report", "x")])
def test_wrong_use(tmp_path: Path, words: tuple[str, ...]) -> None:
    say(tmp_path / "w", *words, expect=2)


def test_a_name_that_is_not_a_folder_s_is_refused(tmp_path: Path) -> None:
    """An import replaces the folder of its name, so that the name must not lead to anything else."""
    (tmp_path / "elsewhere").mkdir()
    kept = tmp_path / "elsewhere" / "kept"
    kept.write_text("precious", encoding="utf-8")
    world = open_world(tmp_path / "w")
    for name in (str(kept.parent), "../elsewhere", ".", "..", "", "a/b", ".hidden", "two\nlines"):
        with pytest.raises(PopulationUnusable) as refusal:
            laboratory_of(world, name)
        assert refusal.value.reason is PopulationUnusableReason.BAD_NAME
    assert "[population-unusable]" in say(tmp_path / "w", "populate", "--name", str(kept.parent), expect=2)
    assert kept.read_text(encoding="utf-8") == "precious"
