"""Bodies by command: registered, given people, copies and systems, asked by command and over HTTPS, and removed."""

from __future__ import annotations

import csv
import io
import json
import random
import shlex
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from kazashi.assembly.institutions import Institutions
from kazashi.assembly.network import Network, served
from kazashi.assembly.served import ServedProcess, free_port
from kazashi.provision_network.assessments import sample_assessment
from kazashi.provision_network.law.tables import TAX_ITEM, Purpose, table_of_affairs
from kazashi.provision_network.law.versions import VERSIONS, ProvisionItem
from kazashi.web.mutual_tls import Credentials, JsonConnection
from kazashi.web.ports import AGENT, CORE, DESK, PORTS
from kazashi.world.home import open_world
from tests.cli.program import Program, new_world
from tests.polling import LIMIT, until
from tests.support import run

LAW = VERSIONS[-1].cite(ProvisionItem.NETWORK)
AFFAIRS = 20
EXAMPLE = Path(__file__).parents[2] / "examples" / "node" / "ask.js"
CLINIC, FUND = "架空健康保険組合", "架空年金基金"


def network(program: Program, *words: str, expect: int = 0) -> Any:
    """Run a command of `kazashi network` and return its JSON output."""
    return program.json("network", *words, expect=expect)


def refused(program: Program, status: int, code: str, *words: str) -> str:
    return program.error(code, status, "network", *words)


@pytest.fixture
def town(tmp_path: Path) -> Program:
    """A world with three people and a network."""
    program = new_world(tmp_path / "w")
    for who in ("hanako", "taro", "child"):
        program.run("registry", "add", who)
    program.run("clock", "advance", "1d")
    assert all(gate["ok"] for gate in network(program, "setup"))
    return program


def add_body(program: Program, folder: Path, name: str, kind: str, *options: str) -> Any:
    """Register a body with a made-up impact assessment."""
    draft = folder / f"{name}.json"
    draft.write_text(sample_assessment(name, kind, date(2026, 11, 24)).document(), encoding="utf-8")
    return network(program, "body", "add", name, "--kind", kind, "--assessment", str(draft), *options)


def copies(folder: Path, *rows: tuple[str, str, str, str], header: str = "person") -> str:
    written = io.StringIO()
    csv.writer(written).writerows([(header, "item", "content", "hold"), *rows])
    path = folder / "copies.csv"
    path.write_text(written.getvalue(), encoding="utf-8")
    return str(path)


def test_an_answer_held_and_released_by_command(town: Program, tmp_path: Path) -> None:
    added = add_body(town, tmp_path, CLINIC, "健康保険組合")
    assert (added["kind"], added["interface"], added["lacks"]) == ("健康保険組合", "body1", "")
    add_body(town, tmp_path, "架空町", "市町村長")
    for name in (CLINIC, "架空町"):
        assert network(town, "people", "add", name, "hanako", "taro")["added"] == 2
        assert network(town, "people", "add", name, "taro")["added"] == 0
    item = "住民票関係情報"
    file = copies(tmp_path, ("hanako", item, "架空町1丁目", "yes"), ("taro", item, "架空町2丁目", "no"))
    assert network(town, "copies", "架空町", file)["registered"] == 2
    words = ("--from", CLINIC, "--to", "架空町", "--item", item)
    asked = network(town, "ask", "taro", *words)
    assert (asked["stage"], asked["content"]) == ("answered", "架空町2丁目")
    assert asked["rule"] == f"{LAW}, 主務省令の表 (formerly 別表第二 3), unverified"
    lacking = ("--from", "東京都渋谷区", "--to", "架空町", "--item", "地方税関係情報", "--affair", "74")
    without = network(town, "ask", "taro", *lacking)
    assert (without["content"], without["words"]) == (None, "the provider has no copy")
    held = network(town, "ask", "hanako", *words)
    assert (held["stage"], held["content"], held["denial"]) == ("held", None, "")
    assert " is held; ask for it again with" in town.run("network", "ask", "hanako", *words).stdout
    waiting = network(town, "held", "架空町")
    assert [(one["by"], one["item"]) for one in waiting] == [(CLINIC, item)] * 2
    assert network(town, "process", CLINIC, str(held["process"]), "--wait", "0")["stage"] == "held"
    assert "not-held" not in refused(town, 1, "network-refused", "release", CLINIC, str(waiting[0]["number"]))
    assert network(town, "release", "架空町", str(waiting[0]["number"]))["released"] == waiting[0]["number"]
    answered = network(town, "process", CLINIC, str(held["process"]))
    assert (answered["stage"], answered["content"]) == ("answered", "架空町1丁目")
    assert len(network(town, "held")) == 1
    shown = [(record["by"], record["state"]) for record in network(town, "records", "hanako") if record["by"] == CLINIC]
    assert shown == [(CLINIC, "provided"), (CLINIC, "held")]
    assert network(town, "basis", CLINIC) == {LAW: 3}


def test_what_a_user_enters_wrong_is_refused_in_one_line(town: Program, tmp_path: Path) -> None:
    assert "no affair of the table" in refused(town, 2, "usage", "body", "add", "x", "--kind", "探偵")
    for name in ("", " x", "x" * 65, "架" * 22, "a\nb"):
        refused(town, 2, "usage", "body", "add", name, "--kind", "市町村長")
    for interface in ("portal", "core", "Body", "日本", "../x", "x" * 31):
        refused(town, 2, "usage", "body", "add", "架空町", "--kind", "市町村長", "--interface", interface)
    assert "not a date" in refused(town, 2, "usage", "body", "add", "架空町", "--kind", "市町村長", "--starts", "soon")
    network(town, "body", "add", CLINIC, "--kind", "健康保険組合")
    assert "remove it first" in refused(town, 1, "network-refused", "body", "add", CLINIC, "--kind", "市町村長")
    assert "impact assessment" in refused(town, 1, "network-refused", "people", "add", CLINIC, "hanako")
    assert network(town, "people", "list", CLINIC) == [], "a body that may not use the network gets nobody"
    for words in (("people", "add", "x", "hanako"), ("people", "list", "x"), ("body", "remove", "x"), ("held", "x"),
                  ("system", "add", "x", "--out", str(tmp_path / "s")), ("protected", "x"), ("inspect", "x"),
                  ("process", "x", "1"), ("copies", "x", copies(tmp_path))):  # fmt: skip
        assert "not on the network" in refused(town, 1, "network-refused", *words)
    assert not (tmp_path / "s").exists()
    refused(town, 2, "no-such-resident", "people", "add", "日本年金機構", "nobody")
    refused(town, 2, "usage", "people", "add", "日本年金機構")
    refused(town, 1, "network-refused", "process", "日本年金機構", "99")
    refused(town, 1, "network-refused", "release", "日本年金機構", "99")
    refused(town, 1, "network-refused", "system", "remove", "abc")
    refused(town, 2, "usage", "ask", "hanako", "--from", "東京都渋谷区")
    ask = ("ask", "hanako", "--from", "東京都渋谷区", "--to", "東京都港区", "--item")
    assert "no affair lets" in refused(town, 2, "usage", *ask, "病歴")
    assert "choose with --affair" in refused(town, 2, "usage", *ask, "地方税関係情報")
    assert "the affair 120 does not" in refused(town, 2, "usage", *ask, "地方税関係情報", "--affair", "120")
    denied = network(town, *ask, "病歴", "--affair", "好奇心法/調査", expect=1)
    assert (denied["stage"], denied["denial"]) == ("refused", "unknown-purpose")
    assert network(town, "records", "hanako")[-1]["state"] == "denied", "a denied request is recorded"
    file = tmp_path / "bad.json"
    for content in (b"\xff", b"{", b'{"body": "x"}'):
        file.write_bytes(content)
        status, code = (2, "usage") if content == b"\xff" else (2, "bad-document")
        refused(town, status, code, "assessment", "add", str(file))
        refused(town, status, code, "ordinance", "add", str(file))


def test_a_body_cannot_ask_itself_over_the_network(town: Program) -> None:
    """Which of several affairs it would be for does not matter."""
    ask = ("ask", "hanako", "--from", "東京都渋谷区", "--to", "東京都渋谷区", "--item", "地方税関係情報")
    for words in (ask, (*ask, "--affair", "74")):
        assert "cannot request its own information" in refused(town, 1, "network-refused", *words)


def test_copies_are_registered_all_or_none_and_errors_name_the_line(town: Program, tmp_path: Path) -> None:
    item = "国民年金法による障害基礎年金の支給に関する情報"
    good = ("hanako", item, "老齢年金", "no")
    for row, word in [
        (("nobody", item, "x", "no"), "line 3: there is no resident"), (("taro", "病歴", "x", "no"), "line 3: '病歴'"),
        (("taro", item, "x" * 10_001, "no"), "line 3:"), (("taro", item, "x", "maybe"), "line 3: hold"),
        (good, "line 3: there is an earlier copy"),
    ]:  # fmt: skip
        assert word in refused(town, 2, "bad-document", "copies", "日本年金機構", copies(tmp_path, good, row))
    assert "line 1: the columns" in refused(town, 2, "bad-document", "copies", "日本年金機構",
                                            copies(tmp_path, good, header="who"))  # fmt: skip
    (tmp_path / "short.csv").write_text("person,item,content,hold\nhanako,x\n", encoding="utf-8")
    assert "line 2: there are 2 values" in refused(town, 2, "bad-document", "copies", "日本年金機構",
                                                   str(tmp_path / "short.csv"))  # fmt: skip
    before = network(town, "people", "list", "日本年金機構")
    assert {one["copies"] for one in before} == {1}, "nothing of a bad list was registered"
    address = before[0]["address_number"]
    network(town, "copies", "日本年金機構", copies(tmp_path, (address, item, "x", ""), header="address_number"))
    assert {one["address_number"]: one["copies"] for one in network(town, "people", "list", "日本年金機構")}[
        address
    ] == 2


def test_a_new_interface_system_gets_no_port_of_another_part(town: Program) -> None:
    network(town, "body", "add", CLINIC, "--kind", "健康保険組合")
    taken = {one["interface"]: one["address"].rpartition(":")[2] for one in network(town, "body", "list")}
    others = {"municipal": taken["municipal"], "body1": taken["body1"]}
    others |= {"desk": str(DESK.number), "core": str(CORE.number), "agent": str(AGENT.number)}
    for owner, port in others.items():
        words = refused(town, 2, "usage", "body", "add", FUND, "--kind", "健康保険組合", "--port", port)
        assert f"port {port} belongs to" in words
        assert owner in words
    assert FUND not in {one["name"] for one in network(town, "body", "list")}
    network(town, "body", "add", FUND, "--kind", "健康保険組合", "--interface", "body1", "--port", taken["body1"])


def test_a_body_with_questions_under_way_is_removed_when_they_are_done(town: Program, tmp_path: Path) -> None:
    add_body(town, tmp_path, "架空町", "市町村長")
    network(town, "people", "add", "架空町", "hanako")
    network(town, "copies", "架空町", copies(tmp_path, ("hanako", "地方税関係情報", "0円", "yes")))
    ask = ("ask", "hanako", "--from", "東京都渋谷区", "--to", "架空町", "--item", "地方税関係情報", "--affair", "74")
    held = network(town, *ask)
    assert held["stage"] == "held"
    assert "1 requests from or to 架空町 are under way" in refused(
        town, 1, "network-refused", "body", "remove", "架空町"
    )
    left = network(town, "body", "remove", "架空町", "--when-done", "--wait", "0", expect=1)
    assert (left["removed"], left["open"], left["held"]) == (False, 1, 1)
    assert network(town, *ask, expect=1)["denial"] == "leaving", "no new request is accepted"
    own_words = (
        "--from",
        "架空町",
        "--to",
        "東京都渋谷区",
        "--item",
        "障害者関係情報",
        "--affair",
        "児童手当法/児童手当又は特例給付の支給",
    )
    own = network(town, "ask", "hanako", *own_words, expect=1)
    (waiting,) = network(town, "held", "架空町")
    network(town, "release", "架空町", str(waiting["number"]))
    assert network(town, "process", "東京都渋谷区", str(held["process"]))["content"] == "0円", "nothing is lost"
    assert network(town, "body", "remove", "架空町")["removed"], "the removal goes on"
    assert "架空町" not in {one["name"] for one in network(town, "body", "list")}
    assert network(town, "process", "東京都渋谷区", str(held["process"]))["content"] == "0円"
    refused(town, 1, "network-refused", *ask)
    stores = [
        *(town.world / "stores").glob("intermediate_municipal.sqlite"),
        *(town.world / "stores").glob("integ*.sqlite"),
    ]
    assert len(stores) == 2
    for store in stores:
        with sqlite3.connect(store) as connection:
            left = [
                row
                for row in connection.iterdump()
                if "架空町" in row and 'INTO "event"' not in row and 'INTO "received" VALUES(\'東京都渋谷区' not in row
            ]
        connection.close()
        assert left == [], "codes, copies and address numbers are gone"
    add_body(town, tmp_path, "架空町", "市町村長")
    assert network(town, "people", "list", "架空町") == [], "it begins anew"
    assert "has no process" in refused(town, 1, "network-refused", "process", "架空町", str(own["process"]))
    network(town, "people", "add", "架空町", "taro")
    again = network(town, "ask", "taro", *own_words, expect=1)
    assert again["process"] > own["process"], "a process number is never used again"


@contextmanager
def serving(program: Program, *parts: str) -> Iterator[None]:
    """Run parts of the network as processes, at the addresses that the core has."""
    world = open_world(program.world)
    world.run.mkdir(exist_ok=True)
    where = Network(Institutions(world)).located()
    processes: list[ServedProcess] = []
    try:
        for number, part in enumerate(parts):
            processes.append(served(world, part, where, world.run / f"{number}.log", "", ""))
        world.close()
        yield
    finally:
        for process in processes:
            process.stop()


def curl(command: str) -> Any:
    done = subprocess.run([*shlex.split(command), "-sS"], capture_output=True, text=True, check=False, timeout=LIMIT)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def drawn(seed: str) -> list[Purpose]:
    """Twenty affairs of the table, each of another law and affair, with one item each that needs no consent."""
    purposes = {
        (row.purpose.requester, row.purpose.law, row.purpose.affair): row.purpose
        for row in table_of_affairs() if row.purpose.item != TAX_ITEM
    }  # fmt: skip
    return random.Random(seed).sample(sorted(purposes.values(), key=str), AFFAIRS)


def ask_over_https(directory: Path, url: str, questions: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Send questions with the certificate that `network system add` has written."""
    files = [(directory / name).read_bytes() for name in ("system.pem", "system.key", "authority.pem")]
    connection = JsonConnection(Credentials(*files), url)
    status, content = connection.post("/v1/ask?wait=30", {"questions": questions})
    connection.close()
    assert status == 200, content
    answers: list[dict[str, Any]] = json.loads(content)["answers"]
    return answers


def test_twenty_affairs_are_asked_by_bodies_set_up_by_command(town: Program, tmp_path: Path) -> None:
    """The bodies are behind two new interface systems, which are served together with the core."""
    purposes, sides = drawn("twenty affairs"), {"requester": "asking", "provider": "asked"}
    kinds = sorted({kind for one in purposes for kind in (one.requester, one.provider)})
    keys = {kind: f"system-{place}" for place, kind in enumerate(kinds)}
    names = {(kind, side): f"架空{place}の{side}" for place, kind in enumerate(kinds) for side in sides}
    ports: list[int] = []
    kept = [port.number for port in PORTS]
    for side, interface in sides.items():
        ports.append(free_port([*kept, *ports]))
        for kind in sorted({getattr(one, side) for one in purposes}):
            add_body(town, tmp_path, names[kind, side], kind, "--interface", interface, "--port", str(ports[-1]))
            assert network(town, "people", "add", names[kind, side], "hanako")["added"] == 1
    for kind in sorted({one.provider for one in purposes}):
        items = sorted({one.item for one in purposes if one.provider == kind})
        rows = [("hanako", item, f"{names[kind, 'provider']} {item}", "no") for item in items]
        assert network(town, "copies", names[kind, "provider"], copies(tmp_path, *rows))["registered"] == len(items)

    def content_of(purpose: Purpose) -> str:
        return f"{names[purpose.provider, 'provider']} {purpose.item}"

    url, systems, asked = f"https://localhost:{ports[0]}", {}, []
    for kind in sorted({one.requester for one in purposes}):
        systems[kind] = network(town, "system", "add", names[kind, "requester"], "--out", str(tmp_path / keys[kind]))
    with serving(town, "core", "interface:asking", "interface:asked"):
        for kind in systems:
            ours = [one for one in purposes if one.requester == kind]
            address = network(town, "people", "list", names[kind, "requester"])[0]["address_number"]
            questions = [{"address_number": address, "provider": names[one.provider, "provider"],
                          "purpose": asdict(one)} for one in ours]  # fmt: skip
            for one, answer in zip(ours, ask_over_https(tmp_path / keys[kind], url, questions), strict=True):
                assert (answer["stage"], answer["content"]) == ("answered", content_of(one)), answer
                assert answer["rule"].startswith(f"{LAW}, 主務省令の表 (formerly 別表第二 ")
                asked.append(one)
        assert len(asked) == AFFAIRS
        sides_of = ("--from", names[one.requester, "requester"], "--to", names[one.provider, "provider"])
        words = (*sides_of, "--item", one.item)
        by_command = network(town, "ask", "hanako", *words, "--affair", f"{one.law}/{one.affair}")
        assert by_command["content"] == content_of(one), "the commands work while servers run"
        assert curl(systems[kind]["curl"])["stage"] == "answered"
        assert (tmp_path / keys[kind] / "system.key").stat().st_mode & 0o777 == 0o600
        said = run("node", str(EXAMPLE), str(tmp_path / keys[kind]), url, address, names[one.provider, "provider"],
                   one.requester, one.law, one.affair, one.provider, one.item)  # fmt: skip
        assert said.startswith(f"{one.item}: {content_of(one)} ({LAW}")
        network(town, "system", "remove", systems[kind]["fingerprint"][:12])
        until(lambda: curl(systems[kind]["curl"]).get("denial") == "not-entitled", "the certificate is refused")
    assert sum(network(town, "basis", names[kind, "requester"]).values()) == len(ours) + 3
