"""Fault scripts for the relay, in YAML, validated when they are read; errors name the line (docs/faults.md)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import timedelta
from random import Random
from typing import Any

import yaml

from kazashi.card_management.relay import RelayFault

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

_LONGEST_SCRIPT = 1 << 20
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
    if len(text) > _LONGEST_SCRIPT:
        raise BadRelayScript(f"{name} is not a fault script: it has more than a million characters")
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f" line {mark.line + 1}" if mark else ""
        raise BadRelayScript(f"{name}{line} is not valid YAML: {getattr(error, 'problem', error)}") from error
    except (ValueError, OverflowError, RecursionError) as error:
        raise BadRelayScript(f"{name} is not a fault script: {error}") from error
    return _Reader(name).plan(root)


class _Reader:
    """Converts the YAML nodes of one script. Nodes rather than values, because a node knows its line."""

    def __init__(self, name: str) -> None:
        self._name = name

    def plan(self, root: yaml.Node | None) -> RelayPlan:
        if root is None:
            return RelayPlan()
        top = self._mapping(root, {"seed", "sessions", "faults"})
        sessions = self._mapping(top["sessions"], {"each", "all"}) if "sessions" in top else {}
        faults = top.get("faults")
        if faults is not None and not isinstance(faults, yaml.SequenceNode):
            raise self._wrong(faults, "expected a list")
        return RelayPlan(
            tuple(self._rule(node) for node in faults.value) if faults is not None else (),
            self._integer(top["seed"], 0) if "seed" in top else 0,
            self._integer(sessions["each"], 1) if "each" in sessions else SESSIONS_EACH,
            self._integer(sessions["all"], 1) if "all" in sessions else SESSIONS_ALL,
        )

    def _rule(self, node: yaml.Node) -> RelayRule:
        entries = self._mapping(node, {"lost", "twice", "crash", "when"})
        named = entries.keys() - {"when"}
        if len(named) != 1:
            raise self._wrong(node, f"a fault must be exactly one of lost, twice, crash; this one has {len(named)}")
        when = self._mapping(entries["when"], {"nth", "every", "chance"}) if "when" in entries else {}
        fault, away = RelayFault.SENT_TWICE, timedelta()
        if "lost" in entries:
            fault = self._choice(entries["lost"], {"request": RelayFault.REQUEST_LOST, "reply": RelayFault.REPLY_LOST})
        elif "crash" in entries:
            fault, away = RelayFault.CRASH, self._time(entries["crash"])
        else:
            self._choice(entries["twice"], {"request": None})
        return RelayRule(
            fault, away,
            self._integer(when["nth"], 1) if "nth" in when else None,
            self._integer(when["every"], 1) if "every" in when else None,
            self._share(when["chance"]) if "chance" in when else None,
        )  # fmt: skip

    def _mapping(self, node: yaml.Node, known: set[str]) -> dict[str, yaml.Node]:
        if not isinstance(node, yaml.MappingNode):
            raise self._wrong(node, "expected keys with values")
        entries: dict[str, yaml.Node] = {}
        for key, value in node.value:
            name = self._scalar(key)
            if name not in known:
                raise self._wrong(key, f"unknown key {name!r}; known keys: {', '.join(sorted(known))}")
            if name in entries:
                raise self._wrong(key, f"the key {name!r} occurs twice")
            entries[name] = value
        return entries

    def _scalar(self, node: yaml.Node) -> str:
        if not isinstance(node, yaml.ScalarNode):
            raise self._wrong(node, "expected one word or number")
        return str(node.value)

    def _choice(self, node: yaml.Node, choices: dict[str, Any]) -> Any:
        value = self._scalar(node)
        if value not in choices:
            raise self._wrong(node, f"{value!r} is not one of {', '.join(choices)}")
        return choices[value]

    def _integer(self, node: yaml.Node, least: int) -> int:
        value = self._scalar(node)
        if not re.fullmatch(r"\d{1,9}", value, re.ASCII) or int(value) < least:
            raise self._wrong(node, f"{value!r} is not a number from {least} to 999999999")
        return int(value)

    def _share(self, node: yaml.Node) -> float:
        value = self._scalar(node)
        if not re.fullmatch(r"(0|1|0?\.\d+|1\.0+)", value, re.ASCII):
            raise self._wrong(node, f"{value!r} is not a share from 0 to 1")
        return float(value)

    def _time(self, node: yaml.Node) -> timedelta:
        value = self._scalar(node)
        match = re.fullmatch(r"(\d{1,5})\s*(s|min|h)", value, re.ASCII)
        if match is None:
            raise self._wrong(node, f"{value!r} is not a time such as 30 s, 10 min or 2 h")
        return timedelta(seconds=int(match[1]) * _SECONDS[match[2]])

    def _wrong(self, node: yaml.Node, words: str) -> BadRelayScript:
        return BadRelayScript(f"{self._name} line {node.start_mark.line + 1}: {words}")
