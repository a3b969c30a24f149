"""The rules behind status words: every response of the chip has one, with a source that exists."""

from __future__ import annotations

import ast
import pickle
import random
import re
from pathlib import Path

import pytest

from kazashi.applets.install import install, load_card
from kazashi.assembly.cards import make_card
from kazashi.assembly.institutions import Institutions
from kazashi.card import apdu, rejection
from kazashi.card.chip import Chip
from kazashi.card.contents import CardContents
from kazashi.card.image import read_image
from kazashi.card.rule import RuledResponse, RuleSource, rule_of
from kazashi.card.status_word import Status
from kazashi.card.store import StoreFailure
from tests.card import test_commands
from tests.card.test_any_bytes import commands

pytestmark = pytest.mark.unit

ROOT = Path(__file__).parent.parent.parent
SOURCES = {str(source) for source in RuleSource}
REJECTIONS = {name for name, value in vars(rejection).items()
              if isinstance(value, type) and issubclass(value, rejection.CommandRejected)}  # fmt: skip
CODE = {path: ast.parse(path.read_text(encoding="utf-8")) for folder in ("card", "applets", "reader_bridge")
        for path in sorted((ROOT / folder).rglob("*.py"))}  # fmt: skip

IMPORTED = {"TOO_SHORT": apdu.TOO_SHORT}


@pytest.fixture
def contents(image: Path) -> CardContents:
    return read_image(image)[0]


FIRST = [bytes.fromhex(command) for command in (
    test_commands.JPKI, "0024019804" + b"5678".hex(), "00A4020C020016", "80A206C10100", "80A200C1045F370100",
    test_commands.RIGHT, "0024019804" + b"5678".hex(), "0024019803" + b"567".hex(),
    "0020009811" + "30" * 17, "802A0097F6" + "00" * 0xF6 + "00",
    test_commands.TEXT, "0020009104" + b"1234".hex(), "80AE0000000100" + "00" * 256,
)]  # fmt: skip
"""Commands that need a PIN which later commands will block."""

ELSEWHERE = {
    "a write to the durable store failed",
    "a bug in the emulation; see the log",
    "another holder of the card blocked the PIN after it was verified",
    "the file holds no key",
    "the card knows no authority for terminals",
    # of test_terminal
    "P1 is 00, and P2 names the key of an authority",
    "the authority did not sign the certificate",
    "the authority in the current file signed the terminal's certificate",
    "the first part of a terminal's certificate is its body",
    "the terminal did not sign this challenge",
    "the terminal signed the challenge with the key in its certificate",
    # of test_secure_messaging
    "the command cannot be decrypted under this counter, which ends the session",
    "the session key is set, and the counter of commands begins",
}
"""Rules for which a card needs a failing store, a second holder, a file that personalisation left empty, or a terminal
with a key."""


def stated() -> list[tuple[str, str]]:
    """Return the words of every rule in the code of the chip, with their place.

    Fails for a rule that is not a text in the code, which could contain a PIN or a name, and for one without a source.
    """
    found = []
    for path, tree in CODE.items():
        texts = {ast.unparse(node.targets[0]): node.value.value for node in tree.body
                 if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant)}  # fmt: skip
        for node in ast.walk(tree):
            if not isinstance(node, ast.Call) or path.name in ("rule.py", "rejection.py"):
                continue
            called, arguments = ast.unparse(node.func), node.args
            if called == "partial":
                called, arguments = ast.unparse(arguments[0]), arguments[1:]
            if called in REJECTIONS | {"success", "StatusRule"}:
                words, source = arguments[-2:]
                text = words.value if isinstance(words, ast.Constant) else {**texts, **IMPORTED}[ast.unparse(words)]
                assert isinstance(text, str)
                assert text
                assert ast.unparse(source).startswith("RuleSource."), f"{path} line {node.lineno}"
                if path.relative_to(ROOT).parts[0] != "reader_bridge":
                    found.append((text, f"{path} line {node.lineno}"))
    return found


def known_commands() -> list[bytes]:
    """Return the commands of `test_commands` in their order."""
    texts = re.findall(r'"([0-9A-F ]{8,})"', Path(test_commands.__file__).read_text(encoding="utf-8"))
    return [bytes.fromhex(text) for text in texts if len(text.replace(" ", "")) % 2 == 0]


NEXT_CARD = [bytes.fromhex(command) for command in (
    test_commands.JPKI, test_commands.RIGHT, "00A4020C020017", "002A9E9A30" + "00" * 48 + "00", "002A808600",
    "002A9E9A20" + "00" * 32 + "00", "002A9E9A30" + "00" * 48,
)]  # fmt: skip
"""Commands that only the next card knows."""


def test_every_status_word_comes_with_a_rule_and_its_source(contents: CardContents, town: Institutions) -> None:
    """Also: one rule decides one status word, so that no rule is stated at the wrong place."""
    next_chip = Chip(load_card(make_card(town, "next", "hanako", model="next")))
    next_chip.power_on()
    chip = Chip(install(contents))
    chip.power_on()
    chance = random.Random(20260401)
    known = known_commands()
    assert len(known) > 100
    decided: dict[str, set[int]] = {}
    for number in range(30_000 + len(NEXT_CARD)):
        command = commands(chance) if number % 2 else known[number // 2 % len(known)]
        if number < len(FIRST):
            command = FIRST[number]
        is_next = number >= 30_000
        response = next_chip.transmit(NEXT_CARD[number - 30_000]) if is_next else chip.transmit(command)
        assert isinstance(response, RuledResponse), command.hex()
        assert response.rule.words, command.hex()
        assert response.rule.source in SOURCES, command.hex()
        status = int.from_bytes(response[-2:])
        decided.setdefault(response.rule.words, set()).add(0x63C0 if status & 0xFFF0 == 0x63C0 else status)
    assert {words: found for words, found in decided.items() if len(found) > 1} == {}
    assert {words for words, _ in stated()} - decided.keys() == ELSEWHERE
    assert len({status for found in decided.values() for status in found}) > 18


def test_failing_store_and_bugs_have_rules(chip: Chip, monkeypatch: pytest.MonkeyPatch) -> None:
    verify = bytes.fromhex("0020009804" + b"1234".hex())
    chip.transmit(bytes.fromhex(test_commands.JPKI))
    for error, status in ((StoreFailure("full"), Status.MEMORY_FAILURE), (ValueError("bug"), Status.INTERNAL_ERROR)):

        def fail(*_: object, error: Exception = error) -> None:
            raise error

        monkeypatch.setattr(type(chip.card.store), "spend_try", fail)
        response = chip.transmit(verify)
        assert response == status.to_bytes(2)
        assert response.rule.source in SOURCES


def test_no_rejection_is_raised_without_its_rule() -> None:
    assert len(stated()) > 80
    for path, tree in CODE.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Name):
                assert node.exc.id not in REJECTIONS, f"{path} line {node.lineno}"


def test_every_source_exists_and_is_used() -> None:
    differences = (ROOT / "docs" / "differences.md").read_text(encoding="utf-8")
    rows = set(re.findall(r"^\| (.+?) \|", differences, re.MULTILINE))
    code = "".join(path.read_text(encoding="utf-8") for path in CODE)
    for source in RuleSource:
        document, _, row = source.partition(": ")
        if document == "docs/differences.md":
            assert row in rows, f"docs/differences.md has no row for {source.name}"
        elif document.startswith("docs/"):
            assert (ROOT / document.partition(",")[0]).exists(), source.name
        assert f"RuleSource.{source.name}" in code, f"no rule has the source {source.name}"


def test_only_the_whole_response_has_a_rule(chip: Chip) -> None:
    response = chip.transmit(bytes.fromhex(test_commands.JPKI))
    assert rule_of(response) is not None
    assert rule_of(response[:1]) is None
    assert rule_of(b"\0" + response) is None
    assert rule_of(bytes.fromhex("9000")) is None


@pytest.mark.parametrize("command", [test_commands.JPKI, "00B0000001"])
def test_response_keeps_its_rule_in_another_process(chip: Chip, command: str) -> None:
    response = chip.transmit(bytes.fromhex(command))
    sent = pickle.loads(pickle.dumps(response))
    assert (sent, rule_of(sent)) == (response, response.rule)
