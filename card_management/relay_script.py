"""Fault scripts for the relay, in YAML, validated when they are read; errors name the line (docs/faults.md)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import timedelta
from random import Random

import yaml

from kazashi.card_management.relay import RelayFault
from kazashi.world.yaml_script import ScriptReader

SESSIONS_EACH, SESSIONS_ALL = 42, 400
"""The sessions that one municipality may have open at the relay, and all together. The first was raised from 30 to 42
in 2016; the second is not known."""

UNKIND = """
seed: 1
faults:
  - {lost: request, when: {chance: 0.03}}
  - {lost: reply, when: {chance: 0.05}}
  - {twice: request, when: {chance: 0.03}}
  - {crash: 5 min, when: {chance: 0.01}}
"""
"""The script of `--unkind`: a small share of the faults that the real relay had in 2016."""

_MOST = 999_999_999
_SECONDS = {"s": 1, "min": 60, "h": 3600}


class BadRelayScript(Exception):
    """The fault script for the relay is not valid; the message names the file and, if possible, the line."""


@dataclass(frozen=True, slots=True)
class RelayRule:
    """A fault, and the conditions for a request to be affected, all of which must hold."""

    fault: RelayFault
    away: timedelta = timedelta()
    """How long the relay is away after a crash."""
    nth: int | None = None
    every: int | None = None
    chance: float | None = None

    def affects(self, number: int, chance: Random) -> bool:
        """Whether the request with this number, from 1, is affected."""
        return (
            (self.nth is None or number == self.nth)
            and (self.every is None or number % self.every == 0)
            and (self.chance is None or chance.random() < self.chance)
        )


@dataclass(frozen=True, slots=True)
class RelayPlan:
    """The faults of a relay, of which the first that affects a request happens, and its limits."""

    rules: tuple[RelayRule, ...] = ()
    seed: int = 0
    each: int = SESSIONS_EACH
    all: int = SESSIONS_ALL

    def fault_of(self, number: int, chance: Random) -> RelayRule:
        """Return the rule that decides a request, or one without a fault."""
        return next((rule for rule in self.rules if rule.affects(number, chance)), RelayRule(RelayFault.NONE))


def parse_relay_script(text: str, name: str = "the script") -> RelayPlan:
    """Read a plan from text; `name` is its name in errors. Raises BadRelayScript."""
    return _Reader(name).read(text)


class _Reader(ScriptReader[RelayPlan]):
    rejected = BadRelayScript

    def script(self, root: yaml.Node | None) -> RelayPlan:
        if root is None:
            return RelayPlan()
        top = self.mapping(root, {"seed", "sessions", "faults"})
        sessions = self.mapping(top["sessions"], {"each", "all"}) if "sessions" in top else {}
        return RelayPlan(
            tuple(self._rule(node) for node in self.sequence(top["faults"])) if "faults" in top else (),
            self.integer(top["seed"], 0, _MOST) if "seed" in top else 0,
            self.integer(sessions["each"], 1, _MOST) if "each" in sessions else SESSIONS_EACH,
            self.integer(sessions["all"], 1, _MOST) if "all" in sessions else SESSIONS_ALL,
        )

    def _rule(self, node: yaml.Node) -> RelayRule:
        entries = self.mapping(node, {"lost", "twice", "crash", "when"})
        named = entries.keys() - {"when"}
        if len(named) != 1:
            raise self.wrong(node, f"a fault must be exactly one of lost, twice, crash; this one has {len(named)}")
        when = self.mapping(entries["when"], {"nth", "every", "chance"}) if "when" in entries else {}
        fault, away = RelayFault.SENT_TWICE, timedelta()
        if "lost" in entries:
            fault = self.choice(entries["lost"], {"request": RelayFault.REQUEST_LOST, "reply": RelayFault.REPLY_LOST})
        elif "crash" in entries:
            fault, away = RelayFault.CRASH, self._time(entries["crash"])
        else:
            self.choice(entries["twice"], {"request": None})
        return RelayRule(
            fault, away,
            self.integer(when["nth"], 1, _MOST) if "nth" in when else None,
            self.integer(when["every"], 1, _MOST) if "every" in when else None,
            self.number(when["chance"], 0, 1) if "chance" in when else None,
        )  # fmt: skip

    def _time(self, node: yaml.Node) -> timedelta:
        value = self.scalar(node)
        match = re.fullmatch(r"(\d{1,5})\s*(s|min|h)", value, re.ASCII)
        if match is None:
            raise self.wrong(node, f"{value!r} is not a time such as 30 s, 10 min or 2 h")
        return timedelta(seconds=int(match[1]) * _SECONDS[match[2]])
