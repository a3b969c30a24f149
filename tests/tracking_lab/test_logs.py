"""A reviewer's own logs: what is taken, what is left out, what is refused, and what linkers make of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from kazashi.resident_registry.number import IndividualNumber
from kazashi.tracking_lab.laboratory import Laboratory, PopulationUnusable
from kazashi.tracking_lab.log_study import examine_logs
from kazashi.tracking_lab.logs import LogMapping, LogsUnusable, import_logs, looks_like_an_individual_number
from kazashi.tracking_lab.plan import DAY, EPOCH, Plan
from kazashi.tracking_lab.report import as_csv, as_html, as_json
from tests.world.test_storage import on_a_small_disk

HEAD = "time,shop,serial,who"
ROWS = [
    "2026-05-01T09:00:00+09:00,rice,AA,anna", "2026-05-01T10:00:00+09:00,books,AA,anna",
    "2026-05-02T09:00:00+09:00,rice,BB,ben", "2026-05-03T00:30:00Z,books,CC,ben",
]  # fmt: skip
MAPPING = LogMapping("time", "serial", "shop", person="who")


def lab_of(tmp_path: Path) -> Laboratory:
    return Laboratory(tmp_path / "lab")


def written(tmp_path: Path, *rows: str, head: str = HEAD) -> list[Path]:
    path = tmp_path / "logs.csv"
    path.write_text("\n".join([head, *rows]) + "\n", encoding="utf-8")
    return [path]


def read(lab: Laboratory, name: str) -> list[dict[str, Any]]:
    return pl.read_parquet(lab.file(name)).to_dicts()


def test_logs_become_a_laboratory_s_tables(tmp_path: Path) -> None:
    lab = lab_of(tmp_path)
    found = import_logs(lab, written(tmp_path, *ROWS), MAPPING)
    assert (found.rows, found.uses, found.services, found.handles, found.persons) == (4, 4, 2, 3, 2)
    assert (found.left_out, found.notes) == ({}, [])
    assert [row["name"] for row in read(lab, "service")] == ["books", "rice"]
    assert [row["handle"] for row in read(lab, "handle")] == ["AA", "BB", "CC"]
    uses = read(lab, "uses")
    assert [row["moment"] for row in uses] == sorted(row["moment"] for row in uses)
    assert uses[0]["moment"] + EPOCH == 1_777_593_600, "9 in the morning in Japan"
    assert uses[3]["moment"] - uses[2]["moment"] == DAY + 30 * 60, "a time with its own zone keeps it"


def test_what_cannot_be_used_is_left_out_and_counted(tmp_path: Path) -> None:
    bad = ["nonsense,rice,AA,anna", "2026-05-01T09:00:00,,AA,anna", "2026-05-01T09:00:00,rice, ,anna", ROWS[0]]
    found = import_logs(lab_of(tmp_path), written(tmp_path, *ROWS, *bad), MAPPING)
    assert found.rows == 8
    assert found.uses == 4
    assert found.left_out == {"no time that can be read": 1, "no service": 1, "no handle": 1, "the same use again": 1}


def test_duplicate_row_ids_count_once_and_missing_ones_are_no_ids(tmp_path: Path) -> None:
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
def test_times_in_other_forms(tmp_path: Path, form: str, text: str) -> None:
    lab = lab_of(tmp_path)
    import_logs(lab, written(tmp_path, f"{text},rice,AA,anna"), LogMapping("time", "serial", "shop", form=form))
    assert read(lab, "uses")[0]["moment"] + EPOCH == 1_777_593_600


def test_parquet_and_csv_together_and_times_before_the_plan_s_first_day(tmp_path: Path) -> None:
    parquet = tmp_path / "more.parquet"
    pl.DataFrame({"time": ["2020-01-01T09:00:00+09:00"], "shop": ["rice"], "serial": [17]}).write_parquet(parquet)
    lab = lab_of(tmp_path)
    found = import_logs(lab, [*written(tmp_path, *ROWS), parquet], LogMapping("time", "serial", "shop"))
    assert (found.uses, found.persons) == (5, 0)
    assert min(row["moment"] for row in read(lab, "uses")) >= 0
    assert {row["handle"] for row in read(lab, "handle")} == {"17", "AA", "BB", "CC"}


def test_clocks_that_disagree_are_told_of_and_can_be_put_right(tmp_path: Path) -> None:
    steady = [f"2026-05-{day:02}T09:00:00,rice,AA,anna" for day in range(1, 29)]
    back = [*steady[:20], *(row.replace("T09", "T08") for row in steady[5:28])]
    found = import_logs(lab_of(tmp_path), written(tmp_path, *back), MAPPING)
    assert found.notes == ["the clock of rice was put back 1 times by more than an hour"]
    wrong = ["1999-01-01T00:00:00,books,BB,ben", *steady]
    found = import_logs(lab_of(tmp_path), written(tmp_path, *wrong), MAPPING)
    assert any("books is of the time of any other service" in note for note in found.notes)
    right = LogMapping("time", "serial", "shop", services={"books": {"clock": 862_876_800}, "gone": {"kind": "login"}})
    lab = lab_of(tmp_path)
    found = import_logs(lab, written(tmp_path, *wrong), right)
    assert found.notes == ["gone is in the mapping and in no row"], "a service without a use is said, and no error"
    books = next(row for row in read(lab, "service") if row["name"] == "books")["service"]
    (use,) = [row for row in read(lab, "uses") if row["service"] == books]
    assert use["moment"] + EPOCH == 915_116_400 + 862_876_800


def test_individual_numbers_are_refused_unless_said_to_be_made_up(tmp_path: Path) -> None:
    numbers = [IndividualNumber.around(f"{number:011d}") for number in range(4)]
    rows = [f"{row},{number}" for row, number in zip(ROWS, numbers, strict=True)]
    files = written(tmp_path, *rows, head=f"{HEAD},note")
    with pytest.raises(LogsUnusable, match=r"'note' looks like one of individual numbers"):
        import_logs(lab_of(tmp_path), files, MAPPING)
    assert not (tmp_path / "lab").exists(), "nothing was written"
    assert import_logs(lab_of(tmp_path), files, MAPPING, individual_numbers=True).uses == 4
    first = numbers[1]
    wide = first.translate(str.maketrans("0123456789", "０１２３４５６７８９"))
    for form in (first, wide, f"{first[:4]}-{first[4:8]}-{first[8:]}", f" {first[:4]} {first[4:]} "):
        assert looks_like_an_individual_number(form)
    for other in (first[:-1] + str((int(first[-1]) + 1) % 10), "12345", "", "AA" * 6):
        assert not looks_like_an_individual_number(other)


@pytest.mark.parametrize(("mapping", "words"), [
    ("moment: time\nhandle: serial\nservice: place\n", "there is no column place; the files have time, shop, serial"),
    ("moment: time\nhandle: serial\n", "either a column `service` or a `constant` one"),
    ("moment: time\nhandle: serial\nservice: shop\nattributes: {shoe: who}\n", "maps shoe; there are family, given"),
    ("moment: time\nhandle: serial\nservice: shop\nzone: JST\n", "a zone is written like"),
    ("moment: time\nhandle: serial\nservice: shop\ncolour: red\n", "is no mapping"),
    ("[1, 2", "is no mapping"),
    ("moment: time\nhandle: serial\nservice: shop\nservices: {rice: {clock: soon}}\n", "of rice what is none of kind"),
    ("moment: who\nhandle: serial\nservice: shop\n", "none has a time"),
])  # fmt: skip
def test_bad_mappings_say_what_is_wrong(tmp_path: Path, mapping: str, words: str) -> None:
    path = tmp_path / "mapping.yaml"
    path.write_text(mapping, encoding="utf-8")
    with pytest.raises(LogsUnusable, match=words):
        import_logs(lab_of(tmp_path), written(tmp_path, *ROWS), LogMapping.read(path))


def test_files_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(LogsUnusable, match="there is no file"):
        import_logs(lab_of(tmp_path), [tmp_path / "nothing.csv"], MAPPING)
    with pytest.raises(LogsUnusable, match="there is no row"):
        import_logs(lab_of(tmp_path), written(tmp_path), MAPPING)
    broken = tmp_path / "broken.parquet"
    broken.write_bytes(b"PAR1 and no more")
    with pytest.raises(LogsUnusable):
        import_logs(lab_of(tmp_path), [broken], MAPPING)
    made_up = lab_of(tmp_path)
    made_up.populate(Plan(3, 1))
    with pytest.raises(PopulationUnusable, match="under another name"):
        import_logs(made_up, written(tmp_path, *ROWS), MAPPING)
    with pytest.raises(PopulationUnusable, match="no logs were imported"):
        examine_logs(Laboratory(tmp_path / "empty"))


FULL = """
import json, subprocess, sys
from pathlib import Path
from kazashi.tracking_lab.laboratory import Laboratory
from kazashi.tracking_lab.logs import Mapping, import_logs
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
    import_logs(Laboratory(home / "logs"), [logs], Mapping("time", "serial", "shop", form="epoch"))
except OSError as error:
    told["import"] = str(error)
told["imported"] = Laboratory(home / "logs").imported
subprocess.run(["mount", "-o", "remount,size=64m", str(home)], check=True)
small.populate(Plan(2_000, 10))
told["again"] = small.whole
print(json.dumps(told))
"""


def test_a_full_disk_in_the_middle_leaves_nothing_that_looks_whole(tmp_path: Path) -> None:
    done = on_a_small_disk(tmp_path / "disk", "900k", FULL)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert "what is finished is kept, and gone on with" in told["populate"]
    assert "No space left" in told["populate"]
    assert told["whole"] is False
    assert "000000.parquet" in told["parts"], "what was finished is kept"
    assert told["unfinished"] == []
    assert told["again"] is True, "and with room it goes on"
    assert "nothing was imported" in told["import"] or "No space left" in told["import"]
    assert told["imported"] is False


def test_own_logs_are_examined_with_the_truth_and_without(tmp_path: Path) -> None:
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
    told = LogMapping("time", "serial", "shop", form="epoch", person="who", attributes=attributes,
                   services={"shop 0": {"asks": True}})  # fmt: skip
    import_logs(lab, [path], told)
    with_truth = examine_logs(lab)
    runs = {run.id: run for run in with_truth.threats}
    assert runs["T1"].share("precision").value == 1
    assert runs["T1"].share("recall").value > 0.7
    assert 0 < runs["T4"].share("uses-seen").value < 0.5
    assert runs["T15"].share("precision").value > 0.9
    assert runs["T15"].share("recall").value > 0.8
    assert {one.code for one in with_truth.findings} == {"handles-are-shared", "attributes-link"}
    document = with_truth.as_dict()
    page = as_html(document)
    for name in ("findings", "threats", "unicity", "anonymity"):
        assert f'<table id="{name}"' in page
    assert "countermeasures" not in page
    assert as_csv(document).startswith("run,who,result,value\nT1,")
    assert as_json(examine_logs(lab).as_dict()) == as_json(document), "the same logs, the same bytes"
    import_logs(lab, [path], LogMapping("time", "serial", "shop", form="epoch"))
    blind = examine_logs(lab)
    runs = {run.id: run for run in blind.threats}
    assert "recall" not in {one.id for one in runs["T1"].results}
    assert "T15" not in runs, "nothing was told of anybody"
    assert "nobody knows who is who" in as_html(blind.as_dict())


def test_a_name_with_a_quote_in_it_is_a_name(tmp_path: Path) -> None:
    lab = lab_of(tmp_path)
    mapping = LogMapping("time", "serial", constant="l'épicerie", services={"l'épicerie": {"kind": "points"}})
    import_logs(lab, written(tmp_path, *ROWS), mapping)
    assert [(row["name"], row["kind"]) for row in read(lab, "service")] == [("l'épicerie", "points")]


def test_digests_are_recognised_by_their_look(tmp_path: Path) -> None:
    rows = [f"2026-05-01T09:00:00,rice,{number:064x},x" for number in range(3)]
    lab = lab_of(tmp_path)
    import_logs(lab, written(tmp_path, *rows), MAPPING)
    assert "handles-look-like-digests" in {one.code for one in examine_logs(lab).findings}
