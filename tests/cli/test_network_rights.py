"""People's requests, entrustment, inspection, and who has looked, by command; and affairs by ordinance."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest

from tests.cli.program import Program, new_world
from tests.cli.test_network_bodies import add_body, copies, network, refused

SHIBUYA, MINATO, ITEM = "東京都渋谷区", "東京都港区", "地方税関係情報"
ASK = ("ask", "hanako", "--from", SHIBUYA, "--to", MINATO, "--item", ITEM, "--affair", "74")
FILING = {
    "identifier": "渋谷区-1", "body": SHIBUYA, "law": "渋谷区医療費助成条例", "affair": "医療費の助成",
    "provider": "市町村長", "item": "住民票関係情報", "like": "9", "field": "福祉",
}  # fmt: skip
OPTIONS = ("--identifier", "渋谷区-2", "--body", SHIBUYA, "--law", "渋谷区奨学金条例", "--affair", "奨学金の貸与",
           "--provider", "市町村長", "--item", ITEM, "--field", "福祉", "--like", "106")  # fmt: skip


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Program:
    """A world with a person and a network. Its tests use different people and bodies, or only read."""
    program = new_world(tmp_path_factory.mktemp("rights") / "w")
    for who in ("hanako", "taro"):
        program.run("registry", "add", who)
    program.run("clock", "advance", "1d")
    assert all(gate["ok"] for gate in network(program, "setup"))
    return program


def test_a_correction_replaces_the_copy_and_tells_who_has_received_it(town: Program) -> None:
    before = network(town, *ASK)["content"]
    added = network(town, "request", "add", MINATO, "hanako", "correction", "--item", ITEM, "--content", "所得 1円")
    assert (added["received"], added["deadline"]) == ("2026-11-25", "2026-12-25")
    assert network(town, *ASK)["content"] == before, "it is not decided yet"
    number = str(added["number"])
    assert "needs a reason" in refused(town, 1, "network-refused", "request", "decide", MINATO, number, "refused")
    decided = network(town, "request", "decide", MINATO, number, "granted")
    assert (decided["granted"], decided["overdue"]) == (True, False)
    assert "decided already" in refused(town, 1, "network-refused", "request", "decide", MINATO, number, "granted")
    assert network(town, *ASK)["content"] == "所得 1円"
    seen = network(town, "inspect", MINATO)
    told = [(one["told"], one["item"], one["reference"]) for one in seen["corrections"]]
    assert set(told) == {(SHIBUYA, ITEM, f"request {number}")}
    provided = [one for one in seen["records"] if (one["of"], one["state"]) == (MINATO, "provided")]
    assert len(told) == len(provided) - 1, "everybody but who has asked after the correction"


def test_a_disclosure_shows_the_copy_and_a_stop_of_use_deletes_it(town: Program) -> None:
    item = "年金給付関係情報"
    kind = ("日本年金機構", "taro")
    shown = network(town, "request", "add", *kind, "disclosure", "--item", item)["number"]
    disclosed = network(town, "request", "decide", "日本年金機構", str(shown), "granted")["disclosed"]
    assert disclosed[item].endswith("加入中")
    stopped = network(town, "request", "add", *kind, "stop-use", "--item", item)["number"]
    network(town, "request", "decide", "日本年金機構", str(stopped), "granted")
    again = network(town, "request", "add", *kind, "disclosure", "--item", item)["number"]
    assert "has no copy" in refused(
        town, 1, "network-refused", "request", "decide", "日本年金機構", str(again), "granted"
    )
    done = network(town, "request", "decide", "日本年金機構", str(again), "refused", "--reason", "消去済み")
    assert (done["granted"], done["reason"]) == (False, "消去済み")
    assert "does not mention matching" in refused(town, 1, "network-refused", "request", "add", *kind, "stop-matching",
                                                  "--item", item)  # fmt: skip


def test_a_request_is_overdue_after_thirty_days(town: Program) -> None:
    words = ("request", "add", SHIBUYA, "hanako", "disclosure", "--item", ITEM)
    late = network(town, *words, "--on", "2026-10-25")
    assert (late["deadline"], late["overdue"]) == ("2026-11-24", False)
    assert {one["number"]: one["overdue"] for one in network(town, "request", "list", SHIBUYA)}[late["number"]]
    assert [one["number"] for one in network(town, "inspect", SHIBUYA)["requests"] if one["overdue"]] == [
        late["number"]
    ]


def test_an_entrusted_party_uses_a_system_of_the_body_and_is_recorded(town: Program, tmp_path: Path) -> None:
    add = ("system", "add", SHIBUYA, "--for", "架空計算センター", "--out")
    assert "entrusted nothing" in refused(town, 1, "network-refused", *add, str(tmp_path / "early"))
    network(town, "entrust", "add", SHIBUYA, "架空計算センター", "--contract", "契約1号")
    refused(town, 1, "network-refused", "entrust", "add", SHIBUYA, "架空計算センター", "--contract", "契約2号")
    system = network(town, *add, str(tmp_path / "center"))
    refused(town, 2, "usage", *add, str(tmp_path / "center"))
    (listed,) = [one for one in network(town, "system", "list", SHIBUYA) if one["used_by"] == "架空計算センター"]
    assert (listed["fingerprint"], listed["removed"]) == (system["fingerprint"], None)
    assert network(town, "inspect", SHIBUYA)["entrustments"][0]["contract"] == "契約1号"
    network(town, "entrust", "end", SHIBUYA, "架空計算センター")
    assert [one["removed"] is not None for one in network(town, "system", "list", SHIBUYA)] == [True]
    assert network(town, "entrust", "list", SHIBUYA)[0]["ended"] == "2026-11-25"
    refused(town, 1, "network-refused", "entrust", "end", SHIBUYA, "架空計算センター")


def test_who_looks_at_records_is_recorded(town: Program) -> None:
    network(town, *ASK)
    network(town, "records", "hanako", "--as", "渋谷区の職員")
    network(town, "records", "hanako")
    actors = [one["actor"] for one in network(town, "inspect", MINATO)["looks"]]
    assert actors[-2:] == ["渋谷区の職員", "the operator of the core (総務省)"]
    refused(town, 2, "usage", "records", "hanako", "--as", "a\nb")
    assert len(network(town, "inspect", MINATO)["looks"]) == len(actors), "nothing was shown"


def test_a_body_without_assessment_stops_the_rehearsal(tmp_path: Path) -> None:
    program = new_world(tmp_path / "w")
    program.run("registry", "add", "hanako")
    program.run("clock", "advance", "1d")
    network(program, "setup")
    network(program, "body", "add", "架空町", "--kind", "市町村長")
    gates = {gate["stage"]: gate for gate in network(program, "setup", expect=1)}
    assert list(gates)[-1] == "impact assessments checked"
    assert "架空町 has no impact assessment" in gates["impact assessments checked"]["words"]
    document = json.loads(program.run("network", "assessment", "draft", "架空町", "--kind", "市町村長").stdout)
    path = tmp_path / "assessment.json"
    path.write_text(json.dumps(document), encoding="utf-8")
    network(program, "assessment", "add", str(path))
    assert all(gate["ok"] for gate in network(program, "setup"))
    assert network(program, "assessment", "show", "架空町") == document
    path.write_text(json.dumps({**document, "items": []}), encoding="utf-8")
    assert "version 1 already" in refused(program, 2, "bad-document", "assessment", "add", str(path))


def test_an_affair_by_ordinance_is_filed_published_asked_and_withdrawn(tmp_path: Path) -> None:
    program = new_world(tmp_path / "w")
    program.run("registry", "add", "hanako")
    program.run("clock", "advance", "1d")
    network(program, "setup")
    add_body(program, tmp_path, "架空町", "市町村長")
    network(program, "people", "add", "架空町", "hanako")
    network(program, "copies", "架空町", copies(tmp_path, ("hanako", "住民票関係情報", "架空町1丁目", "no"),
                                              ("hanako", ITEM, "0円", "no")))  # fmt: skip
    path = tmp_path / "filing.json"
    path.write_text(json.dumps(FILING), encoding="utf-8")
    assert network(program, "ordinance", "add", str(path))[0]["filed"] == "2026-11-25"
    assert "渋谷区-1 was filed already" in refused(program, 1, "network-refused", "ordinance", "add", str(path))
    network(program, "ordinance", "add", *OPTIONS)
    assert "--like" in refused(program, 2, "usage", "ordinance", "add", *OPTIONS[:-2])
    refused(program, 2, "usage", "ordinance", "add")
    assert [one["missing"] for one in network(program, "ordinance", "list")] == ["accepted, published"] * 2
    for name in ("渋谷区-1", "渋谷区-2"):
        network(program, "ordinance", "accept", name)
        network(program, "ordinance", "publish", name)
    published = network(program, "ordinance", "list", "--published")
    assert [(one["identifier"], one["body"], one["published"]) for one in published] == [
        ("渋谷区-1", SHIBUYA, "2026-11-25"), ("渋谷区-2", SHIBUYA, "2026-11-25"),
    ]  # fmt: skip
    written = program.run("network", "ordinance", "list", "--published", "--csv").stdout
    assert list(csv.DictReader(io.StringIO(written))) == published
    ask = ("ask", "hanako", "--from", SHIBUYA, "--to", "架空町", "--item")
    lacking = network(program, *ask, "住民票関係情報", "--affair", "渋谷区-1", expect=1)
    assert (lacking["denial"], "医療費の助成" in lacking["words"]) == ("no-assessment", True)
    assess(program, tmp_path, [[FILING["law"], FILING["affair"]], ["渋谷区奨学金条例", "奨学金の貸与"]])
    asked = network(program, *ask, "住民票関係情報", "--affair", "渋谷区-1")
    assert (asked["content"], asked["rule"]) == (
        "架空町1丁目",
        "番号法19条9号 (2024-05-27), 渋谷区-1 (like 別表第二 9)",
    )
    taxes = (*ask, ITEM, "--affair", "渋谷区-2")
    assert network(program, *taxes, expect=1)["denial"] == "tax-secrecy"
    assert network(program, *taxes, "--consent")["content"] == "0円"
    network(program, "limit", "add", "架空町", "住民票関係情報", "--notified", "2026-11-24")
    assert network(program, "limit", "list")[0]["provider"] == "架空町"
    assert network(program, *ask, "住民票関係情報", "--affair", "渋谷区-1", expect=1)["denial"] == "limited"
    network(program, "limit", "remove", "架空町", "住民票関係情報")
    network(program, "ordinance", "withdraw", "渋谷区-1")
    assert network(program, *ask, "住民票関係情報", "--affair", "渋谷区-1", expect=1)["denial"] == "conditions"
    assert [one["identifier"] for one in network(program, "ordinance", "list", "--published")] == ["渋谷区-2"]
    assert network(program, "basis", "架空町") == {"番号法19条9号 (2024-05-27)": 2}
    for words in (("ordinance", "publish", "x"), ("ordinance", "withdraw", "渋谷区-1"), ("limit", "remove", "x", "y"),
                  ("limit", "add", "x", ITEM), ("limit", "add", "架空町", "病歴")):  # fmt: skip
        refused(program, 1, "network-refused", *words)


def assess(program: Program, folder: Path, affairs: list[list[Any]]) -> None:
    """Store the next version of the assessment of Shibuya with further affairs."""
    document = network(program, "assessment", "show", SHIBUYA)
    newer = {**document, "version": document["version"] + 1, "affairs": [*document["affairs"], *affairs]}
    path = folder / "newer.json"
    path.write_text(json.dumps(newer), encoding="utf-8")
    network(program, "assessment", "add", str(path))
