"""Files between bodies, by command: the tax agency's returns with name matching, and health checks between insurers."""

from __future__ import annotations

import json
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from random import Random
from typing import Any

import pytest

from tests.cli.program import Program, new_world
from tests.cli.test_network_bodies import add_body, network, refused, serving

SHIBUYA, MINATO, PENSION = "東京都渋谷区", "東京都港区", "日本年金機構"
FORMER, NEW = "架空旧健保組合", "架空新健保組合"
CHECK, ARTICLE = "特定健康診査の記録", "高齢者の医療の確保に関する法律27条"
PEOPLE = 40
_FAMILIES = (("佐藤", "サトウ"), ("髙橋", "タカハシ"), ("渡邉", "ワタナベ"), ("斎藤", "サイトウ"))
_GIVEN = (("結衣", "ユイ", "2"), ("大輔", "ダイスケ", "1"), ("静", "シズカ", "2"))


def residents() -> Iterator[str]:
    """Made-up residents, one a line of JSON."""
    chance = Random("residents")
    for number in range(PEOPLE):
        (family, reading), (given, own, sex) = chance.choice(_FAMILIES), chance.choice(_GIVEN)
        day = f"{chance.randrange(1930, 2005)}-{chance.randrange(1, 13):02}-{chance.randrange(1, 29):02}"
        block = "１２３４５６７８９"[chance.randrange(9)]
        yield json.dumps({
            "alias": f"p{number}", "family": family, "given": given, "kana": f"{reading}　{own}", "birth": day,
            "sex": sex, "municipality": "13113", "street": f"架空町{block}丁目{block}番{block}号",
        })  # fmt: skip


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Program:
    """A world with a town of 40 people, its network, and two insurers that both know three of them."""
    folder = tmp_path_factory.mktemp("files")
    program = new_world(folder / "w")
    (folder / "people.jsonl").write_text("\n".join(residents()))
    program.run("registry", "import", str(folder / "people.jsonl"))
    program.run("clock", "advance", "1d")
    assert all(gate["ok"] for gate in network(program, "setup"))
    for body in (FORMER, NEW):
        add_body(program, folder, body, "健康保険組合")
        network(program, "people", "add", body, "p0", "p1", "p2")
    return program


@pytest.fixture(scope="module")
def returns(town: Program) -> Path:
    """The tax agency's file for the town."""
    path = town.world.parent / "returns.csv"
    written = network(town, "tax", "write", SHIBUYA, str(path), "--year", "2025")
    assert written["records"] == PEOPLE
    return path


def test_i1_by_number_every_record_with_one_matches_and_by_attributes_on_the_same_file(
    town: Program, returns: Path
) -> None:
    ways = {one["way"]: one for one in network(town, "tax", "quality", SHIBUYA, str(returns))}
    written = [line.split(",")[3] for line in returns.read_text().splitlines()[1:-1]]
    numbered = len({number for number in written if number})
    by_number, by_attributes, both = (ways[name] for name in ("by number", "by attributes", "number, else attributes"))
    assert 0 < numbered < PEOPLE, "some people write no number"
    assert by_number["precision"]["count"] == by_number["precision"]["of"] == by_number["recall"]["count"]
    assert by_number["recall"]["count"] == numbered - 1, "all that have a number, but one with that of somebody else"
    for way in ways.values():
        assert way["recall"]["of"] == PEOPLE
        for share in (way["precision"], way["recall"], way["by_hand"]):
            low, high = share["interval"]
            assert 0 <= low <= share["value"] <= high <= 1
    assert by_attributes["recall"]["count"] >= 30, "the notation differs in a third"
    assert both["recall"]["count"] >= by_number["recall"]["count"]
    assert both["recall"]["count"] >= by_attributes["recall"]["count"] - 1, "but for the number of somebody else"
    assert network(town, "tax", "files", SHIBUYA) == [], "nothing is stored"


def test_i1_i2_a_file_is_received_whole_once_and_matched_and_what_is_left_is_assigned_by_hand(
    town: Program, returns: Path, tmp_path: Path
) -> None:
    whole = returns.read_bytes()
    lines = whole.splitlines(keepends=True)
    bad = {
        "truncated": whole[:-20], "wrong-count": b"".join([*lines[:5], *lines[6:]]),
        "wrong-checksum": whole.replace(b",2,", b",1,", 1), "wrong-kind": whole.replace(b"tax-returns", b"other", 1),
        "bad-file": b"\xff", "wrong-sender": whole.replace("国税庁".encode(), "図書館".encode(), 1),
    }  # fmt: skip
    path = tmp_path / "bad.csv"
    for denial, content in bad.items():
        path.write_bytes(content)
        refused(town, 1, "file-refused", "tax", "receive", SHIBUYA, str(path))
        assert network(town, "tax", "files", SHIBUYA)[-1]["denial"] == denial
    refused(town, 1, "file-refused", "tax", "receive", MINATO, str(returns))
    assert network(town, "tax", "work-list", SHIBUYA) == [], "nothing half done"
    first = lines[1].decode().split(",")
    unknown = ",".join([*first[:3], "", "別の", "ベツノ", "19000101", *first[7:]])
    other = tmp_path / "other.csv"
    other.write_bytes(b"".join(_with_records([unknown.encode(), *lines[2:-1]], lines[0])))
    taken = network(town, "tax", "receive", SHIBUYA, str(other))
    assert (taken["records"], taken["work_list"]) == (PEOPLE, 1 + _unmatched(taken))
    work = network(town, "tax", "work-list", SHIBUYA)
    assert len(work) == taken["work_list"]
    assert {one["local_number"] for one in work} == {None}
    number = str(next(one["number"] for one in work if one["name"] == "別の"))
    assert network(town, "tax", "assign", SHIBUYA, number, "p0")["how"] == "by hand"
    assert "not on the work list" in refused(town, 1, "network-refused", "tax", "assign", SHIBUYA, number, "p0")
    assert "was taken before" in refused(town, 1, "file-refused", "tax", "receive", SHIBUYA, str(other))
    denials = [one["denial"] for one in network(town, "tax", "files")]
    assert denials == [*bad, "wrong-receiver", "", "sent-twice"], "all of it is recorded"


def _unmatched(taken: dict[str, Any]) -> int:
    """The records on the work list but for the one that was made for it."""
    return taken["work_list"] - 1 if taken["work_list"] else 0


def _with_records(records: list[bytes], header: bytes) -> list[bytes]:
    """The lines of a file with other records."""
    fields = header.rstrip(b"\n").split(b",")
    fields[-1] = sha256(b"".join(records)).hexdigest().encode()
    return [b",".join(fields) + b"\n", *records, b"T,%d\n" % len(records)]


def test_i1_x19_the_agency_logs_each_return_and_no_portal_shows_it(town: Program, returns: Path) -> None:
    log = network(town, "outside", "list", "国税庁")
    assert len(log) == PEOPLE
    assert {(one["to"], one["rule"], one["with"]) for one in log} == {
        (SHIBUYA, "番号法19条10号 (2024-05-27)", "個人番号")
    }
    network(town, "tax", "write", SHIBUYA, str(returns), "--year", "2025")
    assert len(network(town, "outside", "list", "国税庁")) == PEOPLE, "the same file is logged once"
    seen = network(town, "blind-spots", "p0")
    assert [one["why"] for one in seen["flows"] if one["from"] == "国税庁"] == [
        "19条10号: not over the network, so that the core has no record (23条)"
    ]
    town.run("registry", "event", "number-change", "p4")
    again = network(town, "blind-spots", "p4")["flows"]
    assert [one["from"] for one in again if one["store"] == "off_network"] == ["国税庁"], "also after another number"
    assert "no returns are for it" in refused(town, 1, "network-refused", "tax", "write", MINATO, str(returns))


def test_i3_a_health_check_goes_from_insurer_to_insurer_by_number_with_consent_and_the_portal_has_nothing(
    town: Program, tmp_path: Path
) -> None:
    medium, records = tmp_path / "disc", network(town, "records", "p0")
    for who in ("p0", "p1", "p2"):
        network(town, "health", "ask", NEW, who, "--of", FORMER)
    assert "is not an insurer" in refused(town, 1, "network-refused", "health", "ask", NEW, "p0", "--of", PENSION)
    assert "asked" in refused(town, 1, "network-refused", "health", "ask", NEW, "p0", "--of", FORMER)
    consents = [network(town, "consent", "add", FORMER, who, "--item", CHECK, "--to", NEW, "--for", ARTICLE)
                for who in ("p0", "p1")]  # fmt: skip
    network(town, "consent", "withdraw", FORMER, str(consents[1]["number"]))
    done = network(town, "health", "hand-over", FORMER, "--to", NEW, "--medium", str(medium))
    assert (done["records"], done["without_consent"]) == (1, 2), "also one that was withdrawn in between"
    states = {one["state"] for one in network(town, "health", "list", FORMER)["asked"]}
    assert states == {"handed over", "without consent"}
    log = [(one["with"], one["rule"], one["denial"]) for one in network(town, "outside", "list", FORMER)]
    assert sorted(log) == [("個人番号", "", "consent-needed")] * 2 + [("個人番号", "番号法19条2号 (2024-05-27)", "")]
    assert json.loads((medium / "label.json").read_text())["to"] == NEW
    content = Path(done["file"]).read_text()
    numbers = {row["alias"]: row["individual_number"] for row in [_person(town, who) for who in ("p0", "p1")]}
    assert numbers["p0"] in content
    assert numbers["p1"] not in content
    refused(town, 1, "file-refused", "health", "receive", FORMER, done["file"])
    assert network(town, "health", "receive", NEW, done["file"])["received"] == 1
    assert "taken before" in refused(town, 1, "file-refused", "health", "receive", NEW, done["file"])
    got = [one["content"] for one in network(town, "health", "list", NEW)["awaited"]]
    assert [bool(one) for one in got] == [True, False, False]
    assert network(town, "records", "p0") == records, "the network has no record, and so the portal shows nothing"
    assert "has asked" in refused(town, 1, "network-refused", "health", "hand-over", FORMER, "--to", NEW,
                                  "--medium", str(medium))  # fmt: skip


def _person(program: Program, who: str) -> dict[str, Any]:
    return dict(program.json("registry", "show", who))


@pytest.mark.long
def test_all_of_it_works_while_the_network_runs(town: Program, tmp_path: Path) -> None:
    path = tmp_path / "returns.csv"
    with serving(town, "core", "interface:municipal"):
        network(town, "tax", "write", SHIBUYA, str(path), "--year", "2024")
        assert network(town, "tax", "receive", SHIBUYA, str(path))["records"] == PEOPLE
        flow = ("inside", "provide", SHIBUYA, "p3", "--from", "税務", "--to", "国保", "--item", "地方税関係情報")
        assert network(town, *flow, "--law", "国民健康保険法")["content"].startswith("総所得金額")
        inquiry = ("inquiry", "add", SHIBUYA, "p3", "--from", "警視庁", "--basis", "刑訴197", "--case", "1",
                   "--item", "住民票関係情報", "--reason", "所在の確認")  # fmt: skip
        number = str(network(town, *inquiry)["number"])
        assert network(town, "inquiry", "decide", SHIBUYA, number, "granted", "--by", "課長")["line"]
        assert network(town, "blind-spots", "p3")["hidden"] >= 2


def test_a1_two_years_in_one_agency_are_linked_and_the_identifier_is_named(town: Program, tmp_path: Path) -> None:
    """Linking over years inside one agency; that across agencies is by codes (`test_a1_a_question_across_...`)."""
    for year in ("2022", "2023"):
        path = tmp_path / f"{year}.csv"
        network(town, "tax", "write", SHIBUYA, str(path), "--year", year)
        network(town, "tax", "receive", SHIBUYA, str(path))
    tied: dict[str, set[tuple[int, str]]] = {}
    for person in (f"p{number}" for number in range(10)):
        rows = [one for one in network(town, "tax", "records", SHIBUYA, person) if one["year"] in (2022, 2023)]
        assert len({one["local_number"] for one in rows}) <= 1, "one number of the office's own for both years"
        tied[person] = {(one["year"], one["how"]) for one in rows}
    both = [person for person, found in tied.items() if {year for year, _ in found} == {2022, 2023}]
    assert len(both) >= 8, "a record that matches nobody is on the work list"
    assert {how for found in tied.values() for _, how in found} == {"number", "attributes"}
    refused(town, 2, "no-such-resident", "tax", "records", SHIBUYA, "nobody")


def test_records_of_a_dead_taxpayer_stay_and_it_is_said_that_the_person_has_died(town: Program) -> None:
    before = network(town, "tax", "records", SHIBUYA, "p5")
    town.run("registry", "event", "death", "p5")
    town.run("clock", "advance", "1d")
    assert "has no taxpayer p5 now" in refused(town, 1, "network-refused", "tax", "records", SHIBUYA, "p5")
    everybody = network(town, "tax", "records", SHIBUYA)
    assert before
    assert all(one in everybody for one in before)
    inquiry = ("--from", "警視庁", "--basis", "刑訴197", "--case", "1", "--reason", "x", "--item", "y")
    assert "p5 has died" in refused(town, 1, "network-refused", "inquiry", "add", SHIBUYA, "p5", *inquiry)
