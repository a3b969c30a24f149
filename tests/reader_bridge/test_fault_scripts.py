"""Fault scripts: the plan for each line, and errors that name the line."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from kazashi.applets import input_support, jpki
from kazashi.card.atr import CONTACT_ATRS
from kazashi.card.status_word import StatusWord
from kazashi.card.store import Reference
from kazashi.card_management.relay_script import parse_relay_script
from kazashi.reader_bridge.fault import FaultPlan
from kazashi.reader_bridge.fault_kind import (
    Bounce,
    ContendForReader,
    Fault,
    FaultType,
    Glitch,
    Moment,
    Mute,
    Negotiation,
    Overlong,
    SecondCard,
    Silent,
    Slow,
    Tear,
    Timeout,
    Truncate,
    Wait,
    Weak,
    When,
    WrongStatus,
)
from kazashi.reader_bridge.fault_script import ATRS, UNKIND, BadFaultScript, parse_fault_script, read_fault_script
from kazashi.reader_bridge.interface import CONTACTLESS_ATQBS, contactless_atr

pytestmark = pytest.mark.unit

VERIFY = When(matching=re.compile("0020"))
CHANGE = When(matching=re.compile("0024|8032"))


@pytest.mark.parametrize(
    ("line", "kind", "when"),
    [
        ("{tear: before}", Tear(Moment.BEFORE, 0.5), When()),
        ("{tear: during, away: 50 ms}", Tear(Moment.DURING, 0.05), When()),
        ("{tear: after, away: 2s}", Tear(Moment.AFTER, 2.0), When()),
        ("{mute: 600 s}", Mute(600.0), When()),
        ("{slow: 0 ms}", Slow(0.0), When()),
        ("{slow: 1.5 s}", Slow(1.5), When()),
        ("{wait: 1}", Wait(1, 0.4), When()),
        ("{wait: 100, each: 250ms}", Wait(100, 0.25), When()),
        ("{truncate: 65538}", Truncate(65538), When()),
        ("{overlong: 1}", Overlong(1), When()),
        ("{status: 6f00}", WrongStatus(StatusWord(0x6F00)), When()),
        ("{status: 9000}", WrongStatus(StatusWord(0x9000)), When()),
        ("{glitch: verify}", Glitch(0.5), VERIFY),
        ("{glitch: change, away: 1 s}", Glitch(1.0), CHANGE),
        ("{glitch: verify, when: {command: 3}}", Glitch(0.5), When(nth=3, matching=re.compile("0020"))),
        ("{glitch: verify, when: {matching: '0020??98'}}", Glitch(0.5), When(matching=re.compile("0020..98"))),
        ("{steal: 5 ms}", ContendForReader(0.005), When()),
        ("{timeout: 3 s, when: {command: 2}}", Timeout(3.0), When(nth=2)),
        ("{tear: power-up, when: {nth: 1}}", Tear(Moment.POWER_UP, 0.5), When(nth=1)),
        ("{tear: reset, away: 1 s}", Tear(Moment.RESET, 1.0), When()),
        ("{silent: power-up, when: {every: 2}}", Silent(warm=False), When(every=2)),
        ("{silent: reset}", Silent(warm=True), When()),
        ("{bounce: 3}", Bounce(3, 0.02), When()),
        ("{bounce: 3, each: 5 ms, when: {chance: 0.5}}", Bounce(3, 0.005), When(chance=0.5)),
        ("{weak: 2 s}", Weak(2.0, 0.1), When()),
        ("{weak: 2 s, away: 1 s}", Weak(2.0, 1.0), When()),
        ("{second-card: chosen}", SecondCard(chosen=True), When()),
        ("{second-card: collides, for: 2 s, away: 1 s}", SecondCard(chosen=False, lasts=2.0, away=1.0), When()),
        ("{negotiation: refused}", Negotiation(refused=True), When()),
        ("{negotiation: fails}", Negotiation(refused=False), When()),
        ("{slow: 1 s, when: {}}", Slow(1.0), When()),
        ("{slow: 1 s, when: {command: 1}}", Slow(1.0), When(nth=1)),
        ("{slow: 1 s, when: {every: 7}}", Slow(1.0), When(every=7)),
        ("{slow: 1 s, when: {matching: 00 b0}}", Slow(1.0), When(matching=re.compile("00B0"))),
        ("{slow: 1 s, when: {matching: '?0b0 8?'}}", Slow(1.0), When(matching=re.compile(".0B08."))),
        ("{slow: 1 s, when: {chance: 0}}", Slow(1.0), When(chance=0.0)),
        ("{slow: 1 s, when: {chance: .25}}", Slow(1.0), When(chance=0.25)),
        (
            "{slow: 1 s, when: {command: 2, every: 2, matching: 80, chance: 1.0}}",
            Slow(1.0),
            When(nth=2, every=2, matching=re.compile("80"), chance=1.0),
        ),
    ],
)
def test_every_fault_is_parsed(line: str, kind: FaultType, when: When) -> None:
    assert parse_fault_script(f"faults:\n  - {line}\n").faults == (Fault(kind, when),)


def test_faults_keep_their_order() -> None:
    plan = parse_fault_script("faults:\n- slow: 1 s\n  when:\n    every: 2\n- mute: 2 s\n")
    assert plan.faults == (Fault(Slow(1.0), When(every=2)), Fault(Mute(2.0), When()))


@pytest.mark.parametrize(("name", "atr"), ATRS.items())
def test_every_atr_can_be_named(name: str, atr: bytes) -> None:
    assert parse_fault_script(f"atr: {name}").atr == atr


def test_atrs_are_those_of_cards_and_two_more() -> None:
    assert CONTACT_ATRS.items() <= ATRS.items()
    assert {f"contactless-{name}": contactless_atr(atqb) for name, atqb in CONTACTLESS_ATQBS.items()}.items() <= (
        ATRS.items()
    )
    assert len(ATRS) == len(CONTACT_ATRS) + len(CONTACTLESS_ATQBS) + 2
    assert all(2 <= len(atr) <= 33 and atr[0] in (0x3B, 0x3F) for atr in ATRS.values())


def test_permanent_settings_are_parsed() -> None:
    plan = parse_fault_script(
        "seed: 9223372036854775808\n"
        "atr: 3b 65 00 00\n"
        "warm-atr: plain\n"
        "chaining: true\n"
        "limit: 261\n"
        "tries: {JPKI authentication PIN: 0, text text PIN: 15}\n"
    )
    assert plan.seed == 2**63
    assert (plan.atr, plan.warm_atr) == (bytes.fromhex("3B650000"), ATRS["plain"])
    assert (plan.chaining, plan.limit) == (True, 261)
    assert plan.tries == {
        Reference(jpki.AID, jpki.AUTHENTICATION_PIN): 0,
        Reference(input_support.AID, input_support.PIN): 15,
    }
    assert not plan.faults


@pytest.mark.parametrize(
    ("protocol", "atr", "chaining"),
    [("T=0", ATRS["T=0"], True), ("T=1", ATRS["plain"], False), ("T=0 and T=1", ATRS["T=0 and T=1"], False)],
)
def test_protocol_sets_atr_and_chaining(protocol: str, atr: bytes, chaining: bool) -> None:
    plan = parse_fault_script(f"protocol: {protocol}")
    assert (plan.atr, plan.chaining) == (atr, chaining)
    assert parse_fault_script(f"protocol: {protocol}\nchaining: true").chaining
    assert parse_fault_script(f"protocol: {protocol}\nchaining: false").chaining is chaining


@pytest.mark.parametrize("script", ["", "   \n\n", "# nothing yet\n", "{}"])
def test_empty_script_is_an_empty_plan(script: str) -> None:
    assert parse_fault_script(script) == FaultPlan()


def test_script_is_read_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "f.yaml"
    path.write_text("# Störung\nseed: 4\n", encoding="utf-8")
    assert read_fault_script(path) == FaultPlan(seed=4)
    path.write_text("seed: 4\nwrong: 5\n")
    with pytest.raises(BadFaultScript, match=r"^/.*/f\.yaml line 2: unknown key 'wrong'"):
        read_fault_script(path)
    path.write_bytes(b"seed: 4\n\xff: 5\n")
    with pytest.raises(BadFaultScript, match=r"f\.yaml line 2"):
        read_fault_script(path)
    with pytest.raises(FileNotFoundError):
        read_fault_script(tmp_path / "missing.yaml")


@pytest.mark.parametrize(
    ("script", "line", "words"),
    [
        # structure
        ("- slow: 1 s", 1, "keys with values"),
        ("slow", 1, "keys with values"),
        ("\n\nnonsense: 1", 3, "unknown key 'nonsense'; known keys: atr, chaining, faults"),
        ("seed: 1\nlimit: 256\nseed: 1", 3, "'seed' occurs twice"),
        ("seed: 1\n? [a]\n: 1", 2, "one word or number"),
        # YAML itself
        ("seed: 1\nfaults: [", 2, "not valid YAML"),
        ("seed: 1\na: b: c", 2, "not valid YAML"),
        ("seed: 1\n\tlimit: 1", 2, "not valid YAML"),
        ("seed: 1\nlimit: *nothing", 2, "not valid YAML"),
        ("seed: 1\nlimit: 'a", 2, "not valid YAML"),
        ("seed: 1\n---\nlimit: 256", 2, "not valid YAML"),
        ("seed: 1\n# \x01", 2, "not valid YAML"),
        ("seed: 1\nfaults: [{slow: 1 s, when: {matching: 00??}}]", 2, "not valid YAML"),
        # one value
        ("seed: [1]", 1, "one word or number"),
        ("seed: -1", 1, "'-1' is not a number from 0 to 9223372036854775808"),
        ("seed: 1.5", 1, "is not a number"),
        ("seed: 9223372036854775809", 1, "is not a number"),
        ("seed: " + "9" * 5000, 1, "is not a number"),
        ("seed: ''", 1, "is not a number"),
        ("limit: 4", 1, "'4' is not a number from 5 to 65544"),
        ("limit: 65545", 1, "is not a number"),
        ("chaining: maybe", 1, "'maybe' is not one of true, false"),
        ("chaining: 1", 1, "is not one of"),
        ("\natr: 3Z00", 2, "neither an ATR in hexadecimal nor one of plain"),
        ("atr: 4B6000", 1, "neither an ATR"),
        ("atr: 3B", 1, "neither an ATR"),
        ("atr: 3B" + "00" * 33, 1, "neither an ATR"),
        ("atr: 3B600", 1, "neither an ATR"),
        ("protocol: T=2", 1, "not one of T=0, T=1, T=0 and T=1"),
        ("atr: plain\nseed: 2\nprotocol: T=1", 3, "the ATR determines the protocol"),
        ("tries: 3", 1, "keys with values"),
        ("tries:\n  JPKI authentication PIN: 3\n  JPKI nothing: 3", 3, "unknown key 'JPKI nothing'"),
        ("tries: {JPKI authentication PIN: 16}", 1, "not a number from 0 to 15"),
        ("tries:\n  text text PIN: 1\n  text text PIN: 1", 3, "occurs twice"),
        # faults
        ("seed: 1\nfaults: 3", 2, "expected a list"),
        ("faults: {slow: 1 s}", 1, "expected a list"),
        ("faults:\n  - slow: 1 s\n  - 3", 3, "keys with values"),
        ("faults:\n  - {}", 2, "a fault must be exactly one of tear, mute, .*; this one has 0"),
        ("faults:\n  - when: {every: 2}", 2, "this one has 0"),
        ("faults:\n  - slow: 1 s\n  - {mute: 1 s, slow: 1 s}", 3, "this one has 2"),
        ("faults:\n  - slow: 1 s\n    fast: 1 s", 3, "unknown key 'fast'"),
        ("faults:\n  - slow: 1 s\n    slow: 1 s", 3, "occurs twice"),
        ("faults:\n  - mute: 1 s\n    away: 1 s", 3, "mute does not take 'away'"),
        ("faults:\n  - tear: after\n    each: 1 s", 3, "tear does not take 'each'"),
        ("faults:\n  - wait: 1\n    away: 1 s", 3, "wait does not take 'away'"),
        ("faults:\n  - steal: 1 s\n    each: 1 s", 3, "steal does not take 'each'"),
        ("faults:\n  - tear: soon", 2, "'soon' is not one of before, during, after"),
        ("faults:\n  - glitch: read", 2, "'read' is not one of verify, change"),
        ("faults:\n  - wait: 0", 2, "not a number from 1 to 100"),
        ("faults:\n  - wait: 101", 2, "not a number"),
        ("faults:\n  - truncate: 0", 2, "not a number from 1 to 65538"),
        ("faults:\n  - overlong: 65001", 2, "not a number from 1 to 65000"),
        ("faults:\n  - status: 90", 2, "not valid hexadecimal"),
        ("faults:\n  - status: 9G00", 2, "not valid hexadecimal"),
        ("faults:\n  - status: 900000", 2, "not valid hexadecimal"),
        ("faults:\n  - slow: 3", 2, "not a time such as 300 ms or 1.5 s"),
        ("faults:\n  - slow: 3 minutes", 2, "not a time"),
        ("faults:\n  - slow: -1 s", 2, "not a time"),
        ("faults:\n  - slow: .5 s", 2, "not a time"),
        ("faults:\n  - slow: 601 s", 2, "longer than 600 s"),
        ("faults:\n  - slow: 600001 ms", 2, "longer than 600 s"),
        ("faults:\n  - mute: [1 s]", 2, "one word or number"),
        ("faults:\n  - tear: during\n    away: soon", 3, "not a time"),
        ("faults:\n  - wait: 1\n    each: fast", 3, "not a time"),
        ("faults:\n  - timeout: soon", 2, "not a time"),
        ("faults:\n  - silent: always", 2, "'always' is not one of power-up, reset"),
        ("faults:\n  - bounce: 0", 2, "not a number from 1 to 100"),
        ("faults:\n  - bounce: 2\n    away: 1 s", 3, "bounce does not take 'away'"),
        ("faults:\n  - weak: 0 s", 2, "must be longer than 0 s"),
        ("faults:\n  - second-card: mine", 2, "'mine' is not one of chosen, collides"),
        ("faults:\n  - negotiation: slow", 2, "'slow' is not one of refused, fails"),
        ("faults:\n  - tear: after\n    for: 1 s", 3, "tear does not take 'for'"),
        ("warm-atr: warm", 1, "neither an ATR in hexadecimal nor one of"),
        (
            "faults:\n  - silent: reset\n    when: {command: 1}",
            3,
            "unknown key 'command'; known keys: chance,",
        ),
        ("faults:\n  - bounce: 2\n    when: {matching: 0020}", 3, "unknown key 'matching'"),
        ("faults:\n  - slow: 1 s\n    when: {nth: 1}", 3, "unknown key 'nth'"),
        # when
        ("faults:\n  - slow: 1 s\n    when: always", 3, "keys with values"),
        ("faults:\n  - slow: 1 s\n    when: {never: 1}", 3, "unknown key 'never'; known keys: chance, command, every"),
        ("faults:\n  - slow: 1 s\n    when: {command: 0}", 3, "not a number from 1"),
        ("faults:\n  - slow: 1 s\n    when: {every: 0}", 3, "not a number from 1"),
        ("faults:\n  - slow: 1 s\n    when: {chance: 1.01}", 3, "not a number from 0 to 1"),
        ("faults:\n  - slow: 1 s\n    when: {chance: often}", 3, "not a number"),
        ("faults:\n  - slow: 1 s\n    when: {chance: -0.5}", 3, "not a number"),
        ("faults:\n  - slow: 1 s\n    when: {chance: nan}", 3, "not a number"),
        ("faults:\n  - slow: 1 s\n    when: {matching: 00B}", 3, "not valid hexadecimal"),
        ("faults:\n  - slow: 1 s\n    when: {matching: '00.*'}", 3, "not valid hexadecimal"),
        ("faults:\n  - slow: 1 s\n    when: {matching: ''}", 3, "not valid hexadecimal"),
    ],
)
def test_error_names_the_line(script: str, line: int, words: str) -> None:
    with pytest.raises(BadFaultScript, match=rf"^my\.yaml line {line}\b.*{words}"):
        parse_fault_script(script, "my.yaml")


@pytest.mark.parametrize(
    "script",
    ["[" * 1500, "- " * 1500, "{" * 1500 + "}" * 1500, 'atr: "\\UFFFFFFFF"', f"%YAML 1.{'9' * 5000}\n---\n{{}}",
     "#" * (2 << 20)],
)  # fmt: skip
def test_failure_of_the_yaml_reader_is_a_bad_script(script: str) -> None:
    with pytest.raises(BadFaultScript, match=r"^my\.yaml"):
        parse_fault_script(script, "my.yaml")


PIECES = st.sampled_from([
    "faults", "seed", "atr", "tries", "when", "slow", "tear", "glitch", "wait", "status", "steal", "matching", "chance",
    "command", "verify", "during", "plain", "T=0", "protocol", "limit", "JPKI authentication PIN", "1 s", "5", "00B0",
    "0.5", ": ", ": ", ": ", "\n", "\n  ", "\n  - ", "- ", "[", "]", "{", "}", ", ", "&a ", "*a", "!!int ", "'", '"',
    "#", "?", "|", "---\n", "%YAML 1.1\n", "\\", "\t", "\0", "\ufeff", "か",
])  # fmt: skip


@settings(max_examples=700)
@given(script=st.one_of(st.text(max_size=60), st.lists(PIECES, max_size=24).map("".join)))
@example(script="&a [*a]")
@example(script="faults: &a [*a]")
@example(script="&a {faults: *a}")
@example(script="<<: {seed: 1}")
@example(script="seed: !!python/object/apply:os.getcwd []")
def test_any_text_is_a_plan_or_a_bad_script(script: str) -> None:
    try:
        plan = parse_fault_script(script, "my.yaml")
    except BadFaultScript as error:
        valid = str(error).startswith("my.yaml line ")
    else:
        valid = isinstance(plan, FaultPlan)
    assert valid


def test_unkind_script_is_valid() -> None:
    plan = parse_fault_script(UNKIND)
    assert {type(fault.kind) for fault in plan.faults} == {Slow, Wait, WrongStatus, Tear}
    assert all(fault.when.chance is not None and fault.when.chance <= 0.1 for fault in plan.faults)
    assert not plan.tries
    assert (plan.atr, plan.limit, plan.chaining) == (None, None, False)


DOCUMENTED = re.compile(r"```yaml\n(.*?)```", re.DOTALL)


def test_documented_scripts_are_valid() -> None:
    document = (Path(__file__).parent.parent.parent / "docs" / "faults.md").read_text(encoding="utf-8")
    of_cards, _, of_the_relay = document.partition("## Faults of the relay")
    for part, parse in ((of_cards, parse_fault_script), (of_the_relay, parse_relay_script)):
        scripts = DOCUMENTED.findall(part)
        assert scripts
        for script in scripts:
            assert parse(script) != parse("")
