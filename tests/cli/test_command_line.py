"""The program as users run it: every command in a process of its own, with an instance of its own."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kazashi.card.image import read_image
from kazashi.tools.cli.doctor import examine
from kazashi.world.home import open_world
from tests.cli.program import RIGHT, SELECT_JPKI, TRIES, WRONG, Program
from tests.polling import LIMIT, until
from tests.support import send


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Program:
    program = Program(tmp_path_factory.mktemp("cli") / "w")
    program.run("card", "new", "hanako")
    return program


@pytest.fixture
def instance(program: Program) -> Iterator[dict[str, Any]]:
    yield program.json("up", "--detach", "--pcscd", "private", "--reader", "Kazashi", "--reader", "Kazashi")
    if subprocess.run([sys.executable, "-m", "kazashi", "--world", str(program.world), "status"],
                      capture_output=True, check=False).returncode == 0:  # fmt: skip
        program.run("down")


def test_card_is_made_shown_and_listed(program: Program) -> None:
    made = program.json("card", "new", "leap-day", "--name", "mine", "--pin", "9876", "--password", "SECRET99",
                        "--atr", "extended")  # fmt: skip
    assert made["authentication PIN"] == "9876"
    _, about = read_image(program.world / "cards" / "mine.card")
    assert about["signature password"] == "SECRET99"
    shown = program.json("card", "show", "mine")
    assert {**shown, **made} == shown, "and its state in the card management"
    assert shown["tries left"]["JPKI authentication PIN"] == "3 of 3"
    assert "birth PIN" in program.run("card", "show", "mine").stdout
    assert {card["card"] for card in program.json("card", "list")} >= {"hanako", "mine"}
    assert len(program.json("card", "list", "--samples")) >= 16
    assert "閏" in program.run("card", "list").stdout


def test_the_next_card_is_made_shown_and_renewed_by_the_same_commands(program: Program) -> None:
    made = program.json("card", "new", "taro", "--name", "next", "--model", "next", "--pin", "9876")
    assert (made["model"], made["authentication PIN"]) == ("next card", "9876")
    assert re.fullmatch(r"[0-9]{6}", made["reference number"])
    assert made["tries left"] == {
        "authentication authentication PIN": "3 of 3", "authentication signature password": "5 of 5",
        "card face reference number": "10 of 10",
    }  # fmt: skip
    shown = program.json("card", "show", "next")
    assert {**shown, **made} == shown
    assert (shown["last day"], shown["issued again from"]) == ("2036-12-03", "2035-12-03"), "from a year before its end"
    assert "renewed from" in program.error("renewal-refused", 1, "card", "renew", "next")
    assert program.json("card", "new", "taro", "--name", "today").keys() & {"model", "reference number"} == set()


def test_wrong_use(program: Program) -> None:
    assert "--name" in program.error("card-exists", 2, "card", "new", "hanako")
    assert "card new" in program.error("card-missing", 2, "card", "insert", "nothere")
    program.error("card-missing", 2, "card", "show", "nothere")
    program.error("no-such-resident", 2, "card", "new", "nobody")
    program.error("usage", 2, "card", "new", "taro", "--name", "../escape")
    program.error("usage", 2, "card", "new", "taro", "--pin", "12")
    program.error("usage", 2, "card", "new", "taro", "--password", "short")
    program.error("usage", 2, "up", "--empty", "--card", "hanako")
    program.run("card", "insert", expect=2)
    program.run("nonsense", expect=2)
    assert not (program.world / "cards" / "taro.card").exists()


def test_commands_need_a_running_instance(program: Program) -> None:
    for command in (["status"], ["down"], ["card", "insert", "hanako"], ["reader", "list"], ["reader", "trace"]):
        assert "kazashi up" in program.error("not-running", 3, *command)


def test_foreign_directory_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "novel.txt").write_text("chapter one")
    Program(tmp_path).error("world-unusable", 3, "card", "list")
    assert [entry.name for entry in tmp_path.iterdir()] == ["novel.txt"]


def test_unusable_store_makes_no_card(tmp_path: Path) -> None:
    program = Program(tmp_path / "w")
    program.run("card", "new", "taro")
    for path in (tmp_path / "w" / "stores").iterdir():
        path.write_bytes(b"not a database")
    program.error("store-failed", 3, "card", "new", "child")
    assert not (tmp_path / "w" / "cards" / "child.card").exists()
    (tmp_path / "w" / "cards" / "child.card").mkdir()
    program.error("card-exists", 2, "card", "new", "child")
    program.error("system", 3, "demo", "--report", str(tmp_path / "no" / "such" / "directory.html"))


def test_damaged_card_is_reported_and_unchanged(tmp_path: Path) -> None:
    program = Program(tmp_path / "w")
    program.run("card", "new", "taro")
    image = tmp_path / "w" / "cards" / "taro.card"
    image.write_bytes(image.read_bytes()[:3000])
    damaged = image.read_bytes()
    program.error("card-damaged", 3, "card", "show", "taro")
    (listed,) = program.json("card", "list")
    assert listed["damage"], "the list goes on after a damaged card"
    output = program.error("pcscd-unavailable", 3, "up", "--detach", "--pcscd", "private", "--card", "taro")
    assert "card-damaged" in output, "the message has the reason"
    program.error("card-damaged", 3, "up", "--pcscd", "private", "--card", "taro")
    assert image.read_bytes() == damaged


def test_too_long_world_path_is_reported(tmp_path: Path) -> None:
    directory = tmp_path / "w"
    room = 100 - len(str(directory / "run/pcscd/pcscd.comm"))
    # A path is as long as its bytes in UTF-8.
    program = Program(directory.with_name("w" + "界" * (room // 3 + 1)))
    output = program.error("pcscd-unavailable", 3, "up", "--pcscd", "private", "--empty")
    assert f"choose a world whose path is shorter by {3 * (room // 3 + 1) - room} bytes" in output


def test_a_readers_name_has_as_many_bytes_as_pcscd_takes(tmp_path: Path) -> None:
    output = Program(tmp_path / "w").error("usage", 2, "up", "--detach", "--reader", "リ" * 34)
    assert "use 1 to 100 bytes" in output


@pytest.mark.reader
def test_running_instance_accepts_card_commands(program: Program, instance: dict[str, Any]) -> None:
    reader = instance["slots"][0]["reader"]
    assert instance["slots"][0]["card"] == "hanako"
    assert instance["slots"][0]["seen"]
    program.error("already-running", 3, "up")
    program.error("already-running", 3, "up", "--detach")
    assert send(instance["pcscd"]["environment"], reader, SELECT_JPKI) == ["9000"]
    exported = program.run("reader", "env").stdout
    assert f"PCSCLITE_CSOCK_NAME={instance['pcscd']['socket']}" in exported
    assert "eval" in program.run("status").stdout
    assert program.json("reader", "list") == program.json("status")["slots"]

    program.run("card", "new", "single-name")
    put = program.json("card", "insert", "single-name", "--contactless")
    assert (put["slot"], put["card"], put["contactless"], put["seen"]) == (1, "single-name", True, True)
    program.error("slot-busy", 2, "card", "insert", "hanako", "--slot", "1")
    program.error("no-such-slot", 2, "card", "insert", "hanako", "--slot", "9")
    assert program.json("card", "reset", "single-name")["seen"]
    assert program.json("card", "remove", "1")["card"] is None
    program.error("no-such-slot", 2, "card", "remove", "1")


@pytest.mark.reader
def test_live_trace_masks_pins(program: Program, instance: dict[str, Any]) -> None:
    trace = subprocess.Popen(
        [sys.executable, "-m", "kazashi", "--world", str(program.world), "reader", "trace", "--follow", "--json"],
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert trace.stdout is not None
    lines: list[dict[str, Any]] = []
    deadline = time.monotonic() + LIMIT
    try:
        os.set_blocking(trace.stdout.fileno(), False)
        while not any("VERIFY" in line["words"] for line in lines) and time.monotonic() < deadline:
            send(instance["pcscd"]["environment"], instance["slots"][0]["reader"], SELECT_JPKI, RIGHT)
            lines += [json.loads(line) for line in trace.stdout.readlines() if line.endswith("\n")]
    finally:
        trace.kill()
        trace.wait()
        trace.stdout.close()
    verify = next(line for line in lines if "VERIFY" in line["words"])
    assert "****" in verify["words"]
    assert verify["command"] == "0020009804********", "no PIN without --unmasked"


@pytest.mark.reader
def test_the_end_of_pcscd_is_told(program: Program, instance: dict[str, Any]) -> None:
    assert not instance["pcscd"]["ended"]
    children = Path(f"/proc/{instance['pid']}/task/{instance['pid']}/children").read_text().split()
    (pcscd,) = (pid for pid in children if Path(f"/proc/{pid}/comm").read_text() == "pcscd\n")
    os.kill(int(pcscd), signal.SIGKILL)
    until(lambda: program.json("status")["pcscd"]["ended"], "the instance notices the end of pcscd")
    assert "pcscd has ended" in program.run("status").stdout
    program.run("card", "remove", "0")
    assert "kazashi down" in program.error("pcscd-unavailable", 3, "card", "insert", "hanako")
    checks = {check["check"]: check for check in program.json("doctor", expect=3)}
    assert checks["instance"]["detail"] == "its pcscd has ended"


@pytest.mark.reader
def test_instance_starts_again_after_sigkill(program: Program, instance: dict[str, Any]) -> None:
    responses = send(instance["pcscd"]["environment"], instance["slots"][0]["reader"], SELECT_JPKI, WRONG)
    assert responses == ["9000", "63c2"]
    before = program.json("card", "show", "hanako")["tries left"]["JPKI authentication PIN"]
    assert before == "2 of 3"
    os.kill(instance["pid"], signal.SIGKILL)
    program.error("not-running", 3, "status")
    again = program.json("up", "--detach", "--pcscd", "private")
    assert again["slots"][0]["seen"]
    responses = send(again["pcscd"]["environment"], again["slots"][0]["reader"], SELECT_JPKI, TRIES, RIGHT)
    assert responses == ["9000", "63c2", "9000"], "no retry was restored"


def test_doctor_suggests_a_remedy_for_each_problem(program: Program, tmp_path: Path) -> None:
    findings = {finding["check"]: finding for finding in program.json("doctor")}
    assert findings["program pcscd"]["ok"]
    assert findings["vpcd driver"]["ok"]
    assert findings["vpcd's ports"]["detail"].startswith("not open")
    assert all(finding["ok"] for finding in findings.values()), "nothing is wrong on this machine"
    for finding in examine(open_world(tmp_path / "w")):
        assert finding.ok or finding.remedy, f"{finding.check} has no remedy"


def test_doctor_reports_missing_programs(program: Program, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("shutil.which", lambda name, path=None: None)
    findings = examine(open_world(tmp_path / "w"))
    programs = {finding.check.removeprefix("program "): finding for finding in findings if "program" in finding.check}
    assert all("apt-get install" in finding.remedy for finding in programs.values())
    wrong = {name for name, finding in programs.items() if not finding.ok}
    assert wrong == {"pcscd", "opensc-tool", "openssl", "unshare", "setpriv"}, "only what a card in a reader needs"
    assert "needed for" in programs["slapd"].detail


def loaded_by(*arguments: str) -> set[str]:
    """The modules that the program has loaded when it has run a command."""
    script = ("import sys\nfrom kazashi.tools.cli.command_line import main\n"
              "try:\n    main()\nfinally:\n    print(*sys.modules, file=sys.stderr)\n")  # fmt: skip
    done = subprocess.run([sys.executable, "-c", script, *arguments], capture_output=True, text=True, check=True)
    return set(done.stderr.split())


def test_start_loads_no_heavy_library() -> None:
    """A heavy library is loaded only when a command needs it."""
    loaded = loaded_by("--help")
    assert "click" in loaded
    assert not {"cryptography", "PIL", "asn1crypto", "smartcard", "rich", "ssl", "email", "http.client", "asyncio",
                "tempfile", "sqlite3"} & loaded  # fmt: skip


def test_listing_cards_loads_no_store_and_no_picture(program: Program) -> None:
    """People and shell prompts list cards often: only what reads an image is loaded."""
    loaded = loaded_by("--world", str(program.world), "card", "list")
    assert "kazashi.card.image" in loaded
    assert not {"sqlalchemy", "PIL", "cryptography.x509", "asn1crypto", "http.client", "ssl", "asyncio",
                "multiprocessing", "kazashi.assembly.institutions"} & loaded  # fmt: skip


@pytest.mark.reader
def test_demo_succeeds_and_leaves_only_its_report(tmp_path: Path) -> None:
    report = tmp_path / "report.html"
    done = subprocess.run(
        [sys.executable, "-m", "kazashi", "demo", "--json", "--report", str(report)],
        capture_output=True, text=True, check=False, timeout=LIMIT, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    steps = json.loads(done.stdout)
    assert len(steps) == 43
    for step in steps:
        assert step.keys() == {"step", "ok", "seconds", "detail"}
        assert step["ok"] is True
        assert step["seconds"] >= 0
        assert step["detail"]
    page = report.read_text(encoding="utf-8")
    assert page.count("<tr") == len(steps)
    assert "http" not in page.replace("http-equiv", ""), "self-contained"
    assert [entry.name for entry in tmp_path.iterdir()] == ["report.html"], "nothing else is left behind"


@pytest.mark.parametrize("called", ["./kazashi", "../clone/kazashi"])
def test_hints_name_the_program_as_it_was_called(called: str, tmp_path: Path) -> None:
    environment = {**os.environ, "KAZASHI_CALLED": called, "KAZASHI_WORLD": str(tmp_path / "w")}

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "kazashi", *arguments]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60)

    assert f"create one with: {called} world new" in run("card", "list").stderr
    run("world", "new")
    assert f"make one with: {called} card new hanako" in run("card", "list").stdout
    assert run("card", "--help").stdout.startswith(f"Usage: {called} card ")
    assert f"Try '{called} --help'" in run("frobnicate").stderr
    assert run("card", "list", "--json").stdout == "[]\n"
