"""`kazashi card relay`: faults that a user switches on, what the commands at the counter say then, and load."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest

from kazashi.card_management.relay import RelayFault
from kazashi.card_management.relay_script import SESSIONS_EACH, UNKIND, BadRelayScript, parse_relay_script
from tests.cli.program import Program


def script(tmp_path: Path, text: str) -> str:
    path = tmp_path / "relay.yaml"
    path.write_text(text, encoding="utf-8")
    return str(path)


def test_requests_wait_for_a_crashed_relay_and_none_is_answered_twice(new: Program, tmp_path: Path) -> None:
    new.run("clock", "stand", "2026-12-01T10:00")
    faults = "faults: [{lost: reply, when: {nth: 1}}, {crash: 10 min, when: {nth: 4}}, {twice: request}]"
    new.run("card", "relay", "set", "--faults", script(tmp_path, faults))
    new.run("card", "new", "hanako")  # its first reply is lost, and requested again
    refused = new.error("relay-down", 3, "card", "new", "taro")
    assert "2026-12-01 10:10:00" in refused
    assert "continued" in refused
    new.error("relay-down", 3, "card", "new", "leap-day")
    shown = new.json("card", "relay", "show")
    assert shown["waiting"] == ["taro", "leap-day"]
    assert shown["down until"] == "2026-12-01T10:10:00+09:00"
    assert shown["faults"] == {"reply lost": 1, "sent twice": 2, "crash": 1}
    assert new.json("card", "list")[0]["card"] == "hanako"
    assert len(new.json("card", "list")) == 1
    new.run("clock", "stand", "2026-12-01T10:09")
    assert new.json("card", "relay", "show")["waiting"] == ["taro", "leap-day"]
    new.run("clock", "stand", "2026-12-01T10:11")
    assert new.json("card", "relay", "show")["waiting"] == []
    for who in ("hanako", "taro", "leap-day"):
        assert [row["kind"] for row in new.json("ca", "show", who)] == ["signature", "authentication"]
        assert new.json("card", "history", who)[-1]["what"] == "new done"
    new.run("card", "relay", "set", "--off")
    assert new.json("card", "relay", "show") == {
        "script": "", "sessions each": SESSIONS_EACH, "sessions all": 400, "requests": 0, "faults": {},
        "down until": None, "waiting": [],
    }  # fmt: skip
    new.error("usage", 2, "card", "relay", "set", "--off", "--unkind")


def test_load_stays_within_a_municipalitys_sessions(new: Program, tmp_path: Path) -> None:
    limits = script(tmp_path, "sessions: {each: 2}\nfaults: [{lost: reply, when: {every: 5}}]")
    done = new.json(
        "card", "relay", "load", "--faults", limits, "--municipalities", "2", "--terminals", "6", "--requests", "2"
    )
    assert (done["requests"], done["certificates"]) == (24, 24)
    assert (done["most_sessions"], done["limit"]) == (2, 2)
    assert done["busy"] > 0, "six terminals of a municipality that may have two sessions"
    assert done["failures"] >= 24 // 5
    assert done["median_ms"] <= done["p95_ms"] <= done["seconds"] * 1000


def test_unkind_script_is_valid_and_has_every_fault() -> None:
    plan = parse_relay_script(UNKIND)
    assert {rule.fault for rule in plan.rules} == set(RelayFault) - {RelayFault.NONE}
    chance = Random(1)
    faults = [plan.fault_of(number, chance).fault for number in range(1, 2001)]
    assert 0.02 < sum(fault is not RelayFault.NONE for fault in faults) / 2000 < 0.3


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("faults: {lost: reply}", "line 1: expected a list"),
        ("seed: 1\nfaults:\n  - {lost: both}", "line 3: 'both' is not one of request, reply"),
        ("faults: [{lost: reply, crash: 1 s}]", "exactly one of lost, twice, crash; this one has 2"),
        ("faults: [{when: {nth: 1}}]", "this one has 0"),
        ("faults: [{crash: soon}]", "'soon' is not a time"),
        ("faults: [{crash: 1 s, when: {chance: 2}}]", "'2' is not a number from 0 to 1"),
        ("faults: [{crash: 1 s, when: {nth: 0}}]", "'0' is not a number from 1"),
        ("sessions: {each: 0}", "'0' is not a number from 1"),
        ("sessions: {every: 1}", "unknown key 'every'"),
        ("seed: 1\nseed: 2", "line 2: the key 'seed' occurs twice"),
        ("seed: [", "line 1 is not valid YAML"),
        ("- lost", "expected keys with values"),
        ("\0", "not valid YAML"),
    ],
)
def test_wrong_script_is_refused_with_its_line(text: str, message: str) -> None:
    with pytest.raises(BadRelayScript, match=r"^the script") as refused:
        parse_relay_script(text)
    assert message in str(refused.value)
