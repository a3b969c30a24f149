"""The first matching by command: a file of records, ties with codes, the work list, wrong ties found and undone."""

from __future__ import annotations

import csv
import json
import shutil
from collections import Counter
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from kazashi.provision_network.assessments import sample_assessment
from tests.cli.program import InProcessProgram, Program, new_world

KIND = "国家公務員共済組合連合会"
BODY, TOWN = "架空年金機構", "東京都渋谷区"
ITEM, PENSION = "住民票関係情報", "年金給付関係情報"
HANAKO, TARO, CHILD = "000000001", "000000002", "000000003"


def row(
    number: str, name: str, kana: str, birth: str, sex: str, address: str = "東京都渋谷区架空町９丁目９９番９９号"
) -> str:
    return ",".join((number, name, kana, birth, sex, address))


ROWS = [
    row(HANAKO, "番号　花子", "バンゴウ　ハナコ", "19880417", "2"),
    row(TARO, "番号　太郎", "バンゴウ　タロウ", "19861103", "1", "渋谷区架空町9-99-99"),
    row(CHILD, "番号　小春", "バンゴウ　コハル", "20160505", "2", "大阪府大阪市北区架空橋１番地"),
    row("000000004", "架空　誰某", "カクウ　タレガシ", "19500101", "1"),
]


def records(folder: Path, *rows: str, count: str = "", name: str = "records.csv") -> str:
    path = folder / name
    header = f"header,1,{BODY},2026-11-24\nnumber,name,kana,birth,sex,address\n"
    path.write_text(header + "".join(f"{one}\n" for one in rows) + f"trailer,{count or len(rows)}\n", encoding="utf-8")
    return str(path)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A world with three people, a network, and a body that has handed in nothing."""
    folder = tmp_path_factory.mktemp("match")
    program = new_world(folder / "w")
    for who in ("hanako", "taro", "child"):
        program.run("registry", "add", who)
    program.run("clock", "advance", "1d")
    assert all(gate["ok"] for gate in program.json("network", "setup"))
    draft = folder / "assessment.json"
    draft.write_text(
        sample_assessment(BODY, "国家公務員共済組合連合会", date(2026, 11, 24)).document(), encoding="utf-8"
    )
    program.json("network", "body", "add", BODY, "--kind", "国家公務員共済組合連合会", "--assessment", str(draft))
    return program.world


@pytest.fixture
def town(prepared: Path, tmp_path: Path) -> Program:
    return InProcessProgram(Path(shutil.copytree(prepared, tmp_path / "w")))


def match(program: Program, *words: str, expect: int = 0) -> Any:
    return program.json("network", "match", *words, expect=expect)


def listed(program: Program) -> list[str]:
    return [one["individual_number"] for one in program.json("network", "people", "list", BODY)]


def number_of(program: Program, who: str) -> str:
    return str(program.json("registry", "show", who)["individual_number"])


def ask(program: Program, who: str, asks: str, provides: str, item: str, affair: str) -> Any:
    words = ("network", "ask", who, "--from", asks, "--to", provides, "--item", item, "--affair", affair)
    done = program.run(*words, "--json", expect=None)
    return json.loads(done.stdout) if done.stdout else done.stderr


def copies(program: Program, folder: Path, body: str, who: str, item: str, content: str) -> None:
    file = folder / "copies.csv"
    file.write_text(f"person,item,content,hold\n{who},{item},{content},no\n", encoding="utf-8")
    assert program.json("network", "copies", body, str(file))["registered"] == 1


def test_e10_only_tied_records_get_a_number_and_a_code_and_the_rest_is_decided_one_by_one(
    town: Program, tmp_path: Path
) -> None:  # fmt: skip
    done = match(town, "run", BODY, records(tmp_path, *ROWS), "--by", "担当一")
    assert done == {
        "compared": 4,
        "tied": 3,
        "by_rule": {"exact": 1, "same": 1, "moved": 1},
        "work_list": 1,
        "codes": 3,
    }
    assert set(listed(town)) == {number_of(town, who) for who in ("hanako", "taro", "child")}
    assert ask(town, "taro", BODY, TOWN, ITEM, "40")["stage"] == "answered", "the code came from the core"
    (waiting,) = match(town, "list", BODY)
    assert (waiting["number"], waiting["candidates"]) == ("000000004", [])
    assert (
        match(town, "decide", BODY, "000000004", "leave", "--by", "担当二", "--reason", "登録なし")["state"] == "left"
    )
    assert match(town, "list", BODY) == []
    assert match(town, "run", BODY)["compared"] == 0, "what was left is not matched again"
    match(town, "decide", BODY, "000000004", "reopen", "--by", "担当三", "--reason", "海外から転入")
    given = {"family": "架空", "given": "誰某", "kana": "カクウ　タレガシ", "birth": "1950-01-01", "sex": "1",
             "municipality": "13113", "street": "見本台１丁目１番１号"}  # fmt: skip
    town.run("registry", "add", "someone", *(word for name, value in given.items() for word in (f"--{name}", value)))
    town.run("clock", "advance", "1d")
    match(town, "decide", BODY, "000000004", "tie", "--to", "someone", "--by", "担当三", "--reason", "面談で確認")
    assert number_of(town, "someone") in listed(town)
    trail = match(town, "trail", BODY, "000000004")
    assert [(one["step"], one["who"], one["why"]) for one in trail] == [
        ("left", "担当二", "登録なし"), ("reopened", "担当三", "海外から転入"), ("tied", "担当三", "面談で確認"),
    ]  # fmt: skip
    assert all(one["at"].startswith("2026-11-2") for one in trail)
    assert ask(town, "someone", BODY, TOWN, ITEM, "40")["stage"] == "answered"


def test_a_bad_file_is_refused_whole_and_recorded(town: Program, tmp_path: Path) -> None:
    good = Path(records(tmp_path, *ROWS)).read_bytes()
    refusals = {"count": records(tmp_path, *ROWS, count="5", name="a.csv"), "trailer": str(tmp_path / "b.csv"),
                "once": records(tmp_path, *ROWS, ROWS[0], name="c.csv"), "utf_8": str(tmp_path / "d.csv")}  # fmt: skip
    (tmp_path / "b.csv").write_bytes(good[: good.rindex(b"trailer")])
    (tmp_path / "d.csv").write_bytes(b"\xff" + good)
    for file in refusals.values():
        assert "nothing of the file was taken" in town.error(
            "match-file-refused", 2, "network", "match", "run", BODY, file
        )
    assert (match(town, "list", BODY), match(town, "trail", BODY), listed(town)) == ([], [], [])
    assert [one["refused"] for one in match(town, "files", BODY)] == list(refusals)
    file = records(tmp_path, *ROWS)
    assert match(town, "run", BODY, file)["tied"] == 3
    assert match(town, "run", BODY, file)["compared"] == 1, "the same file again only matches the work list"
    again = records(tmp_path, ROWS[0], name="e.csv")
    assert "earlier file" in town.error("match-file-refused", 2, "network", "match", "run", BODY, again)
    assert len(match(town, "trail", BODY)) == 3


def test_n2_a_wrong_tie_is_found_in_use_after_days_and_uses_and_undone_with_a_trail(
    town: Program, tmp_path: Path
) -> None:  # fmt: skip
    """The record of the child is tied to hanako, and hanako's own record is not handed in."""
    match(town, "run", BODY, records(tmp_path, ROWS[1], ROWS[3]))
    match(town, "decide", BODY, "000000004", "tie", "--to", "hanako", "--by", "担当一", "--reason", "氏名が似ている")
    assert match(town, "check", BODY) == [], "nobody has used the tie yet"
    town.run("clock", "advance", "9d")
    assert match(town, "check", BODY) == []
    copies(town, tmp_path, BODY, "hanako", PENSION, "支給中")
    assert ask(town, "hanako", TOWN, BODY, PENSION, "27")["content"] == "支給中", "of somebody else"
    copies(town, tmp_path, TOWN, "hanako", ITEM, "氏名 番号　花子 生年月日 1988-04-17 性別 女")
    copies(town, tmp_path, TOWN, "taro", ITEM, "氏名 番号　太郎 生年月日 1986-11-03 性別 男")
    for who in ("hanako", "taro"):
        assert ask(town, who, BODY, TOWN, ITEM, "40")["stage"] == "answered"
    (suspected,) = match(town, "check", BODY, expect=1)
    assert (suspected["number"], suspected["signal"]) == ("000000004", "answer")
    assert (suspected["days"], suspected["uses"]) == (9, 2)
    town.run("clock", "advance", "3d")
    assert match(town, "check", BODY, expect=1) == [suspected], "the time of the first check that noticed stays"
    undone = match(town, "undo", BODY, "000000004", "--by", "担当二", "--reason", "別人")
    assert undone["copies"] == 1
    assert [(one["direction"], one["by"], one["of"], one["item"]) for one in undone["exchanges"]] == [
        ("received", BODY, TOWN, ITEM),
        ("provided", TOWN, BODY, PENSION),
    ]
    assert listed(town) == [number_of(town, "taro")]
    assert ask(town, "hanako", TOWN, BODY, PENSION, "27")["denial"] == "no-longer-here", "the code has ended"
    assert [one["number"] for one in match(town, "list", BODY)] == ["000000004"]
    trail = match(town, "trail", BODY, "000000004")
    assert [(one["step"], one["who"], one["why"]) for one in trail] == [
        ("tied", "担当一", "氏名が似ている"), ("suspected", "matcher", "answer"), ("undo", "担当二", "別人"),
        ("undone", "担当二", "別人"),
    ]  # fmt: skip
    assert [one["by"] for one in trail[2]["detail"]["provided"]] == [TOWN]
    told = town.json("network", "inspect", BODY)["corrections"]
    assert [(one["told"], one["item"]) for one in told] == [(TOWN, PENSION)]
    assert match(town, "check", BODY) == []


def test_an_undone_tie_is_made_again_by_a_person_only_and_brings_no_old_copies(town: Program, tmp_path: Path) -> None:
    match(town, "run", BODY, records(tmp_path, ROWS[0]))
    copies(town, tmp_path, BODY, "hanako", PENSION, "支給中")
    match(town, "undo", BODY, HANAKO, "--by", "担当", "--reason", "確認中")
    assert match(town, "run", BODY)["tied"] == 0
    (waiting,) = match(town, "list", BODY)
    assert [one["individual_number"] for one in waiting["candidates"]] == [number_of(town, "hanako")]
    match(town, "decide", BODY, HANAKO, "tie", "--to", "hanako", "--by", "担当", "--reason", "本人")
    answer = ask(town, "hanako", TOWN, BODY, PENSION, "27")
    assert (answer["stage"], answer["content"]) == ("answered", None), "the code is good again, the copies are gone"


def test_two_records_of_one_person_share_a_code_until_the_last_tie_is_undone(town: Program, tmp_path: Path) -> None:
    match(town, "run", BODY, records(tmp_path, ROWS[0], ROWS[3]))
    match(town, "decide", BODY, "000000004", "tie", "--to", "hanako", "--by", "担当", "--reason", "二重登録")
    assert Counter(one["signal"] for one in match(town, "check", BODY, expect=1)) == {"shared": 2}
    match(town, "undo", BODY, HANAKO, "--by", "担当", "--reason", "統合")
    assert listed(town) == [number_of(town, "hanako")]
    match(town, "undo", BODY, "000000004", "--by", "担当", "--reason", "誤り")
    assert listed(town) == []


def test_the_registry_s_notices_and_reports_speak_against_a_tie(town: Program, tmp_path: Path) -> None:
    match(town, "run", BODY, records(tmp_path, *ROWS[:3]))
    town.run("registry", "event", "death", "taro")
    town.run("clock", "advance", "5d")
    match(town, "report", BODY, TARO, "seen")
    match(town, "report", BODY, CHILD, "not-mine")
    match(town, "report", BODY, HANAKO, "address", "--address", "東京都港区架空町１番地")
    town.error("network-refused", 1, "network", "match", "report", BODY, HANAKO, "address")
    town.error("network-refused", 1, "network", "match", "report", BODY, "9", "seen")
    found = {one["number"]: (one["signal"], one["days"]) for one in match(town, "check", BODY, expect=1)}
    assert found == {TARO: ("dead-but-seen", 5), CHILD: ("not-mine", 5)}
    town.run("clock", "advance", "15d")
    found = {one["number"]: (one["signal"], one["days"]) for one in match(town, "check", BODY, expect=1)}
    assert found[HANAKO] == ("elsewhere", 20), "the registry had two weeks to hear of the move"
    assert found[TARO] == ("dead-but-seen", 5)


def test_who_takes_people_off_the_list_ends_their_ties(town: Program, tmp_path: Path) -> None:
    match(town, "run", BODY, records(tmp_path, *ROWS[:2]))
    town.run("network", "people", "remove", BODY, "taro")
    assert [one["number"] for one in match(town, "list", BODY)] == [TARO]
    assert match(town, "trail", BODY, TARO)[-1]["step"] == "ended"
    town.run("network", "body", "remove", BODY)
    assert "not on the network" in town.error("network-refused", 1, "network", "match", "list", BODY)


def test_what_a_user_enters_wrong_is_refused(town: Program, tmp_path: Path) -> None:
    match(town, "run", BODY, records(tmp_path, *ROWS))
    decide = ("network", "match", "decide", BODY)
    why = ("--by", "担当", "--reason", "理由")
    town.error("usage", 2, *decide, "000000004", "tie", *why)
    town.error("usage", 2, *decide, "000000004", "leave", "--to", "hanako", *why)
    town.error("no-such-resident", 2, *decide, "000000004", "tie", "--to", "nobody", *why)
    for number, outcome in (("9", "leave"), (HANAKO, "leave"), (HANAKO, "reopen")):
        town.error("network-refused", 1, *decide, number, outcome, *why)
    assert "must not be empty" in town.error(
        "network-refused", 1, *decide, "000000004", "leave", "--by", "担当", "--reason", " "
    )
    assert "is tied, not open" in town.error("network-refused", 1, *decide, HANAKO, "tie", "--to", "taro", *why)
    assert "is open, not tied" in town.error("network-refused", 1, "network", "match", "undo", BODY, "000000004", *why)
    assert "hears of its people" in town.error("network-refused", 1, "network", "match", "run", TOWN)
    town.run("clock", "advance", "2000d")
    assert "impact assessment" in town.error("network-refused", 1, "network", "match", "run", BODY)


def test_records_of_the_world_s_own_people_are_matched_as_well_as_the_truth_says(town: Program, tmp_path: Path) -> None:
    drafted = town.run("registry", "draft", "25", "--municipality", "13113").stdout
    (tmp_path / "people.jsonl").write_text(drafted, encoding="utf-8")
    town.run("registry", "import", str(tmp_path / "people.jsonl"))
    town.run("clock", "advance", "1d")
    file, truth = tmp_path / "records.csv", tmp_path / "truth.csv"
    town.run("network", "match", "records", BODY, "--out", str(file), "--truth", str(truth), "--failing", "0.5")
    with truth.open(encoding="utf-8") as lines:
        of = {line["number"]: line["person"] for line in csv.DictReader(lines)}
    done = match(town, "run", BODY, str(file))
    assert done["compared"] == len(of) >= 28
    assert done["tied"] > done["by_rule"]["exact"], "the records have noise"
    tied = {one["number"]: one["detail"]["address_number"] for one in match(town, "trail", BODY)}
    people = {one["address_number"]: one["individual_number"] for one in town.json("network", "people", "list", BODY)}
    aliases = {one["individual_number"]: one["alias"] for one in town.json("registry", "list", "--limit", "100")}
    right = sum(aliases[people[address]] == of[number] for number, address in tied.items())
    assert right == done["tied"] > 20


def test_x18_the_quality_is_measured_with_intervals(town: Program, tmp_path: Path) -> None:
    """A bounded sample of the table in docs/network.md."""
    work = tmp_path / "work.csv"
    found = match(town, "quality", "--records", "1000", "--work-list", str(work))
    assert found["exact_match_fails"]["value"] == pytest.approx(0.2, abs=0.03)
    check_intervals(found, "exact", "matcher")
    assert found["matcher"]["precision"]["low"] > 0.99
    assert found["matcher"]["recall"]["value"] > 0.97 > found["exact"]["recall"]["high"]
    assert found["blocking"]["pairs_completeness"] > 0.98
    assert found["blocking"]["reduction_ratio"] > 0.99
    with work.open(encoding="utf-8") as lines:
        assert len(list(csv.DictReader(lines))) == found["left_to_people"]


@pytest.mark.long
def test_x18_splink_is_measured_on_the_same_records(town: Program) -> None:
    alone = match(town, "quality", "--records", "2000")
    found = match(town, "quality", "--records", "2000", "--beside", "splink")
    assert {**found, "splink": None} == {**alone, "splink": None}
    check_intervals(found, "splink")
    assert found["splink"]["recall"]["total"] == found["matcher"]["recall"]["total"]
    assert found["splink"]["precision"]["low"] > 0.99
    assert found["splink"]["recall"]["value"] > found["exact"]["recall"]["high"]


def check_intervals(found: Any, *names: str) -> None:
    for name in names:
        for measure in ("precision", "recall", "f1"):
            one = found[name][measure]
            assert 0 <= one["low"] <= one["value"] <= one["high"] + 1e-9 < 1.1
            assert one["low"] < one["high"]


def test_n2_the_time_to_detection_is_shown_by_command(town: Program) -> None:
    measured = match(town, "detection", "--ties", "20", "--covered", "0", "--years", "2")
    assert [one["kind"] for one in measured] == ["right", "namesake", "household", "row"]
    assert measured[3]["found"]["value"] > measured[1]["found"]["value"]
