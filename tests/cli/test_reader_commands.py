"""`kazashi reader check`, `compare` and `script`. Every command runs in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import pytest

from kazashi.reader_bridge.check.probe import ACCEPTED_RISK, CardType
from kazashi.reader_bridge.check.result import CheckOutcome, CheckReport
from tests.cli.program import SELECT_JPKI, Program
from tests.polling import LIMIT
from tests.support import send

pytestmark = pytest.mark.reader

Case = TypeVar("Case")
CONTACT_ATR = "3BE000FF8131FE4514"
CONTACTLESS_ATR = "3B888001000005E0B381A1007F"


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Program:
    return Program(tmp_path_factory.mktemp("reader") / "w")


@pytest.fixture(scope="module")
def reader(program: Program) -> Iterator[str]:
    """The contactless reader of a running instance, with a card."""
    status = program.json("up", "--detach", "--pcscd", "private", "--no-services", "--contactless",
                          "--reader", "Counter", "--reader", "Counter")  # fmt: skip
    yield str(status["slots"][0]["reader"])
    program.run("down")


@pytest.fixture(scope="module")
def reports(program: Program, reader: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the files and the output of two checks: of an emulated reader, and of the instance's reader."""
    directory = tmp_path_factory.mktemp("reports")
    output = program.run(
        "reader", "check", "--emulated", "--pin", "1234", "--password", "abc123",
        "--out", str(directory / "contact.json"), "--html", str(directory / "contact.html"),
        "--junit", str(directory / "contact.xml"),
    )  # fmt: skip
    (directory / "contact.txt").write_text(output.stdout)
    reply = program.run("reader", "check", "--reader", reader, "--json", "--out", str(directory / "contactless.json"))
    (directory / "contactless-output.json").write_text(reply.stdout)
    return directory


def in_parallel(do: Callable[[Case], None], cases: Iterable[Case]) -> None:
    """Handle each case in a thread of its own, because most of the time goes into starting the program."""
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(do, cases))


def report_in(path: Path) -> CheckReport:
    return CheckReport.from_json(path.read_text(encoding="utf-8"), str(path))


def test_check_of_emulated_reader_passes(reports: Path) -> None:
    report = report_in(reports / "contact.json")
    assert report.good
    assert report.card == CardType.EMULATED.value
    assert report.atr == CONTACT_ATR
    assert {result.outcome for result in report.results} == {CheckOutcome.PASSED, CheckOutcome.OBSERVED}
    lines = (reports / "contact.txt").read_text().splitlines()
    for result, line in zip(report.results, lines, strict=False):
        assert line.startswith(result.outcome.value)
        assert result.check in line
        assert result.title in line
    assert lines[-2] == f"{report.reader}: {report.card}, ATR {report.atr}"
    assert lines[-1].startswith(
        f"{report.count(CheckOutcome.PASSED)} passed, {report.count(CheckOutcome.OBSERVED)} observed, in "
    )
    assert len(lines) == len(report.results) + 2


def test_check_writes_html_and_junit_of_the_same_run(reports: Path) -> None:
    report = report_in(reports / "contact.json")
    page = (reports / "contact.html").read_text(encoding="utf-8")
    suite = ET.parse(reports / "contact.xml").getroot()
    assert suite.attrib["tests"] == str(len(report.results))
    assert suite.attrib["failures"] == suite.attrib["errors"] == suite.attrib["skipped"] == "0"
    cases = [case.attrib["name"] for case in suite.iter("testcase")]
    assert cases == [f"{result.check}: {result.title}" for result in report.results]
    assert all(result.check in page for result in report.results)
    assert report.reader in page


def test_check_as_json_is_the_report_and_nothing_else(reports: Path) -> None:
    reply = json.loads((reports / "contactless-output.json").read_text())
    assert reply == json.loads((reports / "contactless.json").read_text(encoding="utf-8"))
    report = report_in(reports / "contactless.json")
    assert report.good
    assert report.atr == CONTACTLESS_ATR
    assert report.count(CheckOutcome.NOT_APPLICABLE) == 3, "no PIN was given"


def test_comparison_shows_contact_and_contactless_differences(program: Program, reports: Path, tmp_path: Path) -> None:
    pair = (str(reports / "contact.json"), str(reports / "contactless.json"))
    page = tmp_path / "compared.html"
    output = program.run("reader", "compare", *pair, "--html", str(page), expect=1).stdout
    assert "reader.pseudo-commands" in output
    assert "unique identifier: 6E00" in output
    assert "unique identifier: 4 bytes, 9000" in output
    assert "atr.known" in output
    assert CONTACT_ATR in output
    assert CONTACTLESS_ATR in output
    assert "selection.whole-name" not in output
    assert "credentials.authentication" in output
    differences, _, _ = page.read_text(encoding="utf-8").partition("<h2>Time</h2>")
    for word in ("reader.pseudo-commands", CONTACT_ATR, CONTACTLESS_ATR, "unique identifier: 6E00"):
        assert word in differences
    assert "selection.whole-name" not in differences

    reply = program.json("reader", "compare", *pair, expect=1)
    (commands,) = [difference for difference in reply if difference["check"] == "reader.pseudo-commands"]
    assert (commands["a"], commands["b"]) == ("observed", "observed")
    assert "unique identifier: 6E00" in commands["only_a"]
    assert "unique identifier: 4 bytes, 9000" in commands["only_b"]
    assert "0 of" not in output.splitlines()[-1]
    assert f"{len(reply)} of " in output.splitlines()[-1]


def test_report_does_not_differ_from_itself(program: Program, reports: Path) -> None:
    report = str(reports / "contact.json")
    assert program.json("reader", "compare", report, report) == []
    assert "0 of " in program.run("reader", "compare", report, report).stdout.splitlines()[-1]


def test_malformed_report_is_rejected(program: Program, reports: Path, tmp_path: Path) -> None:
    report = str(reports / "contact.json")
    whole = (reports / "contact.json").read_bytes()
    rubbish = [b"", b"\xff\xfe\0", b"[" * 100_000, whole.replace(b'"passed"', b'"great"')]
    for number, content in enumerate(rubbish):
        (tmp_path / f"{number}.json").write_bytes(content)

    def refused(path: Path) -> None:
        assert str(path) in program.error("bad-report", 2, "reader", "compare", report, str(path))

    in_parallel(refused, tmp_path.iterdir())
    assert "0.json" in program.error("bad-report", 2, "reader", "compare", str(tmp_path / "0.json"), report)
    program.run("reader", "compare", report, str(tmp_path / "missing.json"), expect=2)


def test_check_with_wrong_options_does_not_start(program: Program, tmp_path: Path) -> None:
    out = tmp_path / "report.json"

    def refused(case: tuple[str, list[str]]) -> None:
        words, arguments = case
        assert words in program.error("usage", 2, "reader", "check", *arguments, "--out", str(out))

    in_parallel(
        refused,
        [
            ("concurrency", ["--emulated", "--group", "nonsense"]),
            ("contradict", ["--emulated", "--reader", "Kazashi"]),
            ("--contactless needs --emulated", ["--contactless"]),
            (ACCEPTED_RISK, ["--emulated", "--risk", ACCEPTED_RISK.upper()]),
            ("nothing was sent", ["--emulated", "--pin", "１２３４"]),
            ("nothing was sent", ["--emulated", "--password", "short"]),
            ("set KAZASHI_PIN; nothing was sent", ["--pin", "5555"]),
            ("set KAZASHI_PASSWORD; nothing was sent", ["--password", "SECRET99", "--risk", ACCEPTED_RISK]),
            ("set KAZASHI_PIN; nothing was sent", ["--pin"]),
        ],
    )
    assert not out.exists()


def test_unusable_reader_is_reported(program: Program, reader: str) -> None:
    empty = "Counter 01 00"

    def refused(case: tuple[str, str, int, list[str]]) -> None:
        name, code, status, command = case
        output = program.error(code, status, "reader", *command, "--reader", name)
        assert name in output
        assert reader in output or code != "no-such-reader", "the message lists the readers"

    in_parallel(
        refused,
        [
            ("Nowhere", "no-such-reader", 2, ["check"]),
            ("Nowhere", "no-such-reader", 2, ["script", "/dev/null"]),
            ("Counter", "no-such-reader", 2, ["check"]),
            (empty, "check-impossible", 3, ["check"]),
            (empty, "pcsc-failed", 3, ["script", "/dev/null"]),
        ],
    )


def test_failed_check_exits_with_1_and_incomplete_run_with_3(program: Program, reader: str, tmp_path: Path) -> None:
    (tmp_path / "faults.yaml").write_text(FAULTS)
    program.run("card", "new", "taro")
    faulty = program.json("card", "insert", "taro", "--slot", "1", "--faults", str(tmp_path / "faults.yaml"))["reader"]

    reply = program.json("reader", "check", "--reader", faulty, "--group", "files", expect=1)
    failed = [result for result in reply["results"] if result["outcome"] == "failed"]
    assert [result["check"] for result in failed] == ["files.availability"]
    assert "6F00" in failed[0]["detail"]
    assert {result["group"] for result in reply["results"]} == {"files"}

    out, junit = tmp_path / "report.json", tmp_path / "report.xml"
    done = program.run(
        "reader", "check", "--reader", faulty, "--group", "errors", "--group", "pins", "--group", "extended",
        "--out", str(out), "--junit", str(junit), expect=3,
    )  # fmt: skip
    program.run("card", "remove", "1")
    assert "incomplete" in done.stderr
    assert "Traceback" not in done.stderr
    assert "broken" in done.stdout
    report = report_in(out)
    assert not report.complete
    assert report.results[0].outcome is CheckOutcome.PASSED
    assert report.results[-1].outcome is CheckOutcome.BROKEN
    errors = int(ET.parse(junit).getroot().attrib["errors"])
    assert errors == report.count(CheckOutcome.BROKEN) + 1, "the incomplete run counts as one"


FAULTS = """
faults:
  - {status: 6F00, when: {matching: 00A4020C020008}}
  - {tear: before, away: 600 s, when: {matching: 00CA1234}}
"""

SCRIPT = """\
# a comment, and an empty line

reset
{select} # the application
00 a4 02 0C \\
   02 \\
   00 06
00B0000004
  RESET
00B0000004
exit
not a command, but never read
"""


def script_in(path: Path, content: str) -> str:
    path.write_text(content)
    return str(path)


def test_script_is_run_line_by_line(program: Program, reader: str, tmp_path: Path) -> None:
    script = script_in(tmp_path / "script", SCRIPT.format(select=SELECT_JPKI))
    lines = program.run("reader", "script", script, "--reader", reader).stdout.splitlines()
    assert lines[0] == "> RESET"
    assert lines[1] == f"< OK: {bytes.fromhex(CONTACTLESS_ATR).hex(' ').upper()}"
    assert lines[2] == f"> {bytes.fromhex(SELECT_JPKI).hex(' ').upper()}"
    assert lines[3] == "< 90 00 : success"
    assert lines[4:6] == ["> 00 A4 02 0C 02 00 06", "< 90 00 : success"]
    assert lines[6] == "> 00 B0 00 00 04"
    assert lines[7].startswith("< ")
    assert lines[7].endswith(" 90 00 : success")
    assert lines[8:11] == ["> RESET", lines[1], "> 00 B0 00 00 04"]
    assert lines[11].startswith("< 69 86 : "), "the reset clears the current file"
    assert len(lines) == 12


def test_script_is_read_from_stdin(program: Program, reader: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "kazashi", "--world", str(program.world), "reader", "script", "-", "--reader", reader],
        input=SELECT_JPKI, capture_output=True, text=True, check=False, timeout=LIMIT,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "< 90 00 : success"


def test_script_with_a_bad_line_sends_nothing(program: Program, reader: str, tmp_path: Path) -> None:
    def refused(case: tuple[int, tuple[bytes, str]]) -> None:
        number, (content, words) = case
        script = tmp_path / str(number)
        script.write_bytes(SELECT_JPKI.encode() + b"\n" + content)
        done = program.run("reader", "script", str(script), "--reader", reader, expect=2)
        assert done.stderr.strip().endswith("[bad-script]")
        assert str(script) in done.stderr
        assert words in done.stderr
        assert done.stdout == ""

    in_parallel(
        refused,
        enumerate(
            [
                (b"\n00A4 what\n", "line 3"),
                (b"00A4\\\n0400\\\nzz\n", "line 4"),
                (b"00A4\\\nreset\n", "line 3"),
                (b"00A4 \\\n", "backslash"),
                (b"\n\xff\xfe\n", "line 3"),
            ]
        ),
    )


def test_reader_is_unplugged_and_plugged_in(program: Program, reader: str) -> None:
    environment = program.json("status")["pcscd"]["environment"]
    assert program.run("reader", "unplug", "hanako").stdout == f"{reader} is unplugged\n"
    assert "unplugged, with hanako in it" in program.run("reader", "list").stdout
    with pytest.raises(AssertionError, match="unavailable"):
        send(environment, reader, SELECT_JPKI)
    assert program.json("reader", "plug", "0")["unplugged"] is False
    assert send(environment, reader, SELECT_JPKI) == ["9000"]
    assert program.error("no-such-slot", 2, "reader", "unplug", "7")
