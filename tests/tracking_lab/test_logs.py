"""Importing and examining your own logs: which rows are imported, left out or refused, and what the linkers find."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from kazashi.resident_registry.number import IndividualNumber
from kazashi.tracking_lab.document import as_json
from kazashi.tracking_lab.examine import examine
from kazashi.tracking_lab.laboratory import Laboratory, PopulationUnusable, PopulationUnusableReason
from kazashi.tracking_lab.log_study import examine_logs
from kazashi.tracking_lab.logs import (
    HandleColumn,
    HandleForm,
    LogMapping,
    LogsUnusable,
    LogsUnusableReason,
    import_logs,
    looks_like_an_individual_number,
)
from kazashi.tracking_lab.measurements import as_csv
from kazashi.tracking_lab.plan import DAY, EPOCH, Plan
from kazashi.tracking_lab.report import as_html
from kazashi.tracking_lab.results import LogExamination
from tests.world.test_storage import on_a_small_disk

HEAD = "time,shop,serial,who"
ROWS = [
    "2026-05-01T09:00:00+09:00,rice,AA,anna", "2026-05-01T10:00:00+09:00,books,AA,anna",
    "2026-05-02T09:00:00+09:00,rice,BB,ben", "2026-05-03T00:30:00Z,books,CC,ben",
]  # fmt: skip
NAMED = HandleColumn("serial", HandleForm.OPAQUE)
MAPPING = LogMapping("time", NAMED, "shop", person="who")


def lab_of(tmp_path: Path) -> Laboratory:
    return Laboratory(tmp_path / "lab")


def written(tmp_path: Path, *rows: str, head: str = HEAD) -> list[Path]:
    path = tmp_path / "logs.csv"
    path.write_text("\n".join([head, *rows]) + "\n", encoding="utf-8")
    return [path]


def read(lab: Laboratory, name: str) -> list[dict[str, Any]]:
    return pl.read_parquet(lab.file(name)).to_dicts()


def test_logs_are_imported_into_a_laboratory_s_tables(tmp_path: Path) -> None:
    lab = lab_of(tmp_path)
    result = import_logs(lab, written(tmp_path, *ROWS), MAPPING)
    assert (result.rows, result.uses, result.services, result.handles, result.persons) == (4, 4, 2, 3, 2)
    assert (result.left_out, result.notes) == ({}, [])
    assert [row["name"] for row in read(lab, "service")] == ["books", "rice"]
    assert [row["handle"] for row in read(lab, "handle")] == ["AA", "BB", "CC"]
    uses = read(lab, "uses")
    assert [row["moment"] for row in uses] == sorted(row["moment"] for row in uses)
    assert uses[0]["moment"] + EPOCH == 1_777_593_600, "9 o'clock in Japan"
    assert uses[3]["moment"] - uses[2]["moment"] == DAY + 30 * 60, "a time with a zone keeps its zone"


def test_progress_goes_on_to_the_end(tmp_path: Path) -> None:
    told: list[tuple[str, float]] = []
    import_logs(
        lab_of(tmp_path), written(tmp_path, *ROWS), MAPPING, progress=lambda step, done: told.append((step, done))
    )
    shares = [done for _, done in told]
    assert shares == sorted(shares)
    assert (shares[0], 0.9 < shares[-1] <= 1) == (0, True)
    assert {"reading logs.csv", "reading the handles", "writing the table uses"} <= {step for step, _ in told}


def test_unusable_rows_are_left_out_and_counted(tmp_path: Path) -> None:
    bad = ["nonsense,rice,AA,anna", "2026-05-01T09:00:00,,AA,anna", "2026-05-01T09:00:00,rice, ,anna", ROWS[0]]
    found = import_logs(lab_of(tmp_path), written(tmp_path, *ROWS, *bad), MAPPING)
    assert found.rows == 8
    assert found.uses == 4
    assert found.left_out == {"no time that can be read": 1, "no service": 1, "no handle": 1, "the same use again": 1}


def test_duplicate_row_ids_count_once_and_empty_ones_are_ignored(tmp_path: Path) -> None:
    rows = [f"{number},{row}" for number, row in zip(("1", "2", "2", ""), ROWS, strict=True)]
    rows.append("," + "2026-05-09T09:00:00,rice,DD,dora")
    found = import_logs(
        lab_of(tmp_path), written(tmp_path, *rows, head=f"id,{HEAD}"),
        LogMapping("time", "serial", "shop", person="who", row="id"),
    )  # fmt: skip
    assert found.left_out == {"the same row id": 1}
    assert found.uses == 4


@pytest.mark.parametrize(("form", "text"), [
    ("epoch", "1777593600"), ("%d/%m/%Y %H:%M", "01/05/2026 09:00"), ("iso", "2026-05-01 09:00:00"),
])  # fmt: skip
def test_times_are_read_in_each_form(tmp_path: Path, form: str, text: str) -> None:
    lab = lab_of(tmp_path)
    import_logs(lab, written(tmp_path, f"{text},rice,AA,anna"), LogMapping("time", "serial", "shop", form=form))
    assert read(lab, "uses")[0]["moment"] + EPOCH == 1_777_593_600


def test_parquet_and_csv_with_times_before_the_first_day_import(tmp_path: Path) -> None:
    parquet = tmp_path / "more.parquet"
    pl.DataFrame({"time": ["2020-01-01T09:00:00+09:00"], "shop": ["rice"], "serial": [17]}).write_parquet(parquet)
    lab = lab_of(tmp_path)
    found = import_logs(lab, [*written(tmp_path, *ROWS), parquet], LogMapping("time", "serial", "shop"))
    assert (found.uses, found.persons) == (5, 0)
    assert min(row["moment"] for row in read(lab, "uses")) >= 0
    assert {row["handle"] for row in read(lab, "handle")} == {"17", "AA", "BB", "CC"}


def test_wrong_clocks_are_noted_and_can_be_corrected(tmp_path: Path) -> None:
    steady = [f"2026-05-{day:02}T09:00:00,rice,AA,anna" for day in range(1, 29)]
    back = [*steady[:20], *(row.replace("T09", "T08") for row in steady[5:28])]
    found = import_logs(lab_of(tmp_path), written(tmp_path, *back), MAPPING)
    assert found.notes[-1] == "the clock of rice jumped back by more than an hour 1 times"
    wrong = ["1999-01-01T00:00:00,books,BB,ben", *steady]
    found = import_logs(lab_of(tmp_path), written(tmp_path, *wrong), MAPPING)
    assert any("the times of books do not overlap" in note for note in found.notes)
    right = LogMapping("time", NAMED, "shop", services={"books": {"clock": 862_876_800}, "gone": {"kind": "login"}})
    lab = lab_of(tmp_path)
    found = import_logs(lab, written(tmp_path, *wrong), right)
    assert found.notes[-1] == "the mapping names gone, but no row does", "a service without a use is not an error"
    books = next(row for row in read(lab, "service") if row["name"] == "books")["service"]
    (use,) = [row for row in read(lab, "uses") if row["service"] == books]
    assert use["moment"] + EPOCH == 915_116_400 + 862_876_800


def test_individual_numbers_are_refused_unless_allowed(tmp_path: Path) -> None:
    numbers = [IndividualNumber.around(f"{number:011d}") for number in range(4)]
    rows = [f"{row},{number}" for row, number in zip(ROWS, numbers, strict=True)]
    files = written(tmp_path, *rows, head=f"{HEAD},note")
    with pytest.raises(LogsUnusable, match="'note'") as refusal:
        import_logs(lab_of(tmp_path), files, MAPPING)
    assert refusal.value.reason is LogsUnusableReason.INDIVIDUAL_NUMBERS
    assert not (tmp_path / "lab").exists(), "nothing was written"
    assert import_logs(lab_of(tmp_path), files, MAPPING, individual_numbers=True).uses == 4
    first = numbers[1]
    wide = first.translate(str.maketrans("0123456789", "０１２３４５６７８９"))
    for form in (first, wide, f"{first[:4]}-{first[4:8]}-{first[8:]}", f" {first[:4]} {first[4:]} "):
        assert looks_like_an_individual_number(form)
    for other in (first[:-1] + str((int(first[-1]) + 1) % 10), "12345", "", "AA" * 6):
        assert not looks_like_an_individual_number(other)


@pytest.mark.parametrize(("part", "others", "noted"), [
    (0.4, "order-{}", True), (0.03, "order-{}", True), (0.01, "order-{}", False),
    (0.0, "{:012d}", False), (0.6, "{:011d}x", None),
])  # fmt: skip
def test_individual_numbers_among_other_values_are_noted(
    tmp_path: Path, part: float, others: str, noted: bool | None
) -> None:
    """Numbers of twelve digits that are something else are not: one in eleven has a correct check digit."""
    values = [IndividualNumber.around(f"{7 * n:011d}") if n < 500 * part else others.format(982_451_653 * (n + 1))
              for n in range(500)]  # fmt: skip
    files = written(tmp_path, *(f"{ROWS[0]},{value}" for value in values), head=f"{HEAD},note")
    if noted is None:
        with pytest.raises(LogsUnusable, match="'note'"):
            import_logs(lab_of(tmp_path), files, MAPPING)
        return
    found = import_logs(lab_of(tmp_path), files, MAPPING)
    assert any("'note' of logs.csv has what looks like individual numbers" in note for note in found.notes) is noted
    assert not any("individual" in note for note in
                   import_logs(lab_of(tmp_path), files, MAPPING, individual_numbers=True).notes)  # fmt: skip


@pytest.mark.parametrize(("mapping", "reason"), [
    ("moment: time\nhandle: serial\nservice: place\n", LogsUnusableReason.MISSING_COLUMN),
    ("moment: time\nhandle: serial\n", LogsUnusableReason.SERVICE_OR_CONSTANT),
    ("moment: time\nhandle: serial\nservice: shop\nconstant: rice\n", LogsUnusableReason.SERVICE_OR_CONSTANT),
    ("moment: time\nhandle: serial\nservice: shop\nattributes: {shoe: who}\n", LogsUnusableReason.UNKNOWN_ATTRIBUTE),
    ("moment: time\nhandle: serial\nservice: shop\nzone: JST\n", LogsUnusableReason.WRONG_ZONE),
    ("moment: time\nhandle: serial\nservice: shop\ncolour: red\n", LogsUnusableReason.MAPPING_UNREADABLE),
    ("[1, 2", LogsUnusableReason.MAPPING_UNREADABLE),
    ("[1, 2]", LogsUnusableReason.MAPPING_UNREADABLE),
    ("", LogsUnusableReason.MAPPING_UNREADABLE),
    ("moment: time\nservice: shop\n", LogsUnusableReason.MAPPING_UNREADABLE),
    ("moment: time\nhandle: serial\nservice: shop\nservices: [rice]\n", LogsUnusableReason.MAPPING_UNREADABLE),
    ("moment: time\nhandle: serial\nservice: shop\nservices: {rice: {clock: x}}\n", LogsUnusableReason.WRONG_SERVICE),
    ("moment: who\nhandle: serial\nservice: shop\n", LogsUnusableReason.NO_USABLE_ROWS),
])  # fmt: skip
def test_bad_mappings_are_refused_with_a_reason(tmp_path: Path, mapping: str, reason: LogsUnusableReason) -> None:
    path = tmp_path / "mapping.yaml"
    path.write_text(mapping, encoding="utf-8")
    with pytest.raises(LogsUnusable) as refusal:
        import_logs(lab_of(tmp_path), written(tmp_path, *ROWS), LogMapping.read(path))
    assert refusal.value.reason is reason


def test_unusable_files_are_refused_with_a_reason(tmp_path: Path) -> None:
    broken = tmp_path / "broken.parquet"
    broken.write_bytes(b"PAR1 and no more")
    for files, reason in (
        ([tmp_path / "nothing.csv"], LogsUnusableReason.MISSING_FILE),
        (written(tmp_path), LogsUnusableReason.NO_ROWS),
        ([broken], LogsUnusableReason.UNREADABLE),
    ):
        with pytest.raises(LogsUnusable) as refusal:
            import_logs(lab_of(tmp_path), files, MAPPING)
        assert refusal.value.reason is reason


def test_logs_and_a_population_do_not_share_a_laboratory(tmp_path: Path) -> None:
    lab = lab_of(tmp_path)
    lab.populate(Plan(3, 1))
    with pytest.raises(PopulationUnusable) as refusal:
        import_logs(lab, written(tmp_path, *ROWS), MAPPING)
    assert refusal.value.reason is PopulationUnusableReason.GENERATED


def test_an_empty_laboratory_cannot_be_examined(tmp_path: Path) -> None:
    for examination, reason in (
        (examine_logs, PopulationUnusableReason.NO_LOGS),
        (examine, PopulationUnusableReason.NO_POPULATION),
    ):
        with pytest.raises(PopulationUnusable) as refusal:
            examination(Laboratory(tmp_path / "empty"))
        assert refusal.value.reason is reason


FULL = """
import json, subprocess, sys
from pathlib import Path
from kazashi.tracking_lab.laboratory import Laboratory
from kazashi.tracking_lab.logs import LogMapping, import_logs
from kazashi.tracking_lab.plan import Plan
home = Path(sys.argv[1])
told = {}
small = Laboratory(home / "small")
try:
    small.populate(Plan(2_000, 10))
except OSError as error:
    told["populate"] = str(error)
told["whole"] = small.whole
told["parts"] = sorted(path.name for path in home.rglob("*.parquet"))
told["unfinished"] = sorted(path.name for path in home.rglob("*.new"))
logs = home / "logs.csv"
with logs.open("w") as file:
    file.write("time,shop,serial\\n")
    for number in range(9_000):
        file.write(f"{1_777_593_600 + number},rice,{number * 2_654_435_761 % 2**32:X}\\n")
filler = (home / "filler").open("wb")
try:
    while True:
        filler.write(b"x" * 10_000)
        filler.flush()
except OSError:
    pass
try:
    import_logs(Laboratory(home / "logs"), [logs], LogMapping("time", "serial", "shop", form="epoch"))
except OSError as error:
    told["import"] = str(error)
told["imported"] = Laboratory(home / "logs").imported
subprocess.run(["mount", "-o", "remount,size=64m", str(home)], check=True)
small.populate(Plan(2_000, 10))
told["again"] = small.whole
print(json.dumps(told))
"""


def test_a_full_disk_leaves_nothing_that_looks_complete(tmp_path: Path) -> None:
    done = on_a_small_disk(tmp_path / "disk", "900k", FULL)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert "finished files are kept" in told["populate"]
    assert "No space left" in told["populate"]
    assert told["whole"] is False
    assert "000000.parquet" in told["parts"], "finished files are kept"
    assert told["unfinished"] == []
    assert told["again"] is True, "the run resumes when there is space"
    assert "nothing was imported" in told["import"] or "No space left" in told["import"]
    assert told["imported"] is False


def test_logs_are_examined_with_and_without_ground_truth(tmp_path: Path) -> None:
    made = Laboratory(tmp_path / "made")
    made.populate(Plan(300, 4, "logs"))
    uses = pl.read_parquet(made.file("uses")).join(
        pl.read_parquet(made.file("account")), on=["service", "person"], how="left"
    )
    logs = uses.select(
        time=pl.col("moment").cast(pl.Int64) + EPOCH, shop=pl.format("shop {}", "service"),
        serial=pl.format("{}", "shown"), who=pl.format("u{}", "person"), name="family", first="given", born="born",
        place="street",
    )  # fmt: skip
    path = tmp_path / "logs.parquet"
    logs.write_parquet(path)
    attributes = {"family": "name", "given": "first", "born": "born", "street": "place"}
    lab = lab_of(tmp_path)
    mapping = LogMapping("time", "serial", "shop", form="epoch", person="who", attributes=attributes,
                         services={"shop 0": {"asks": True}})  # fmt: skip
    import_logs(lab, [path], mapping)
    with_truth = examine(lab)
    assert isinstance(with_truth, LogExamination)
    runs = {run.id: run for run in with_truth.threats}
    assert runs["T1"].share("precision").value == 1
    assert runs["T1"].share("recall").value > 0.7
    assert 0 < runs["T4"].share("uses-seen").value < 0.5
    assert runs["T15"].share("precision").value > 0.9
    assert runs["T15"].share("recall").value > 0.8
    assert {one.code for one in with_truth.findings} == {"handles-are-shared", "attributes-link"}
    assert as_csv(with_truth).splitlines()[1].startswith("threats,T1,handles-shared,X1,pairs,")
    assert as_json(examine_logs(lab)) == as_json(with_truth), "the same logs, the same bytes"
    import_logs(lab, [path], LogMapping("time", "serial", "shop", form="epoch"))
    blind = examine_logs(lab)
    runs = {run.id: run for run in blind.threats}
    assert "recall" not in {one.id for one in runs["T1"].results}
    assert "T15" not in runs, "the mapping names no attributes"
    assert "Each handle counts as one person" in as_html(blind)


def test_a_service_name_may_contain_a_quote(tmp_path: Path) -> None:
    lab = lab_of(tmp_path)
    mapping = LogMapping("time", "serial", constant="l'épicerie", services={"l'épicerie": {"kind": "points"}})
    import_logs(lab, written(tmp_path, *ROWS), mapping)
    assert [(row["name"], row["kind"]) for row in read(lab, "service")] == [("l'épicerie", "points")]


def test_handles_that_look_like_digests_are_reported(tmp_path: Path) -> None:
    rows = [f"2026-05-01T09:00:00,rice,{number:064x},x" for number in range(3)]
    lab = lab_of(tmp_path)
    import_logs(lab, written(tmp_path, *rows), MAPPING)
    assert "handles-look-like-digests" in {one.code for one in examine_logs(lab).findings}
