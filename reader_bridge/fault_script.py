"""Fault scripts: YAML, checked when they are read; whatever is wrong is told with its line (docs/faults.md)."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from kazashi.applets.install import structure
from kazashi.card.atr import CONTACT_ATRS
from kazashi.card.file import PinFile
from kazashi.card.status_word import StatusWord
from kazashi.card.store import Reference
from kazashi.reader_bridge.fault import (
    GLITCHES,
    ContendForReader,
    Fault,
    FaultPlan,
    FaultType,
    Glitch,
    Moment,
    Mute,
    Overlong,
    Slow,
    Tear,
    Truncate,
    Wait,
    When,
    WrongStatus,
)
from kazashi.reader_bridge.interface import CONTACTLESS_ATQBS, contactless_atr

ATRS = {
    **CONTACT_ATRS,
    **{f"contactless-{name}": contactless_atr(atqb) for name, atqb in CONTACTLESS_ATQBS.items()},
    "T=0": bytes.fromhex("3B600000"),
    "T=0 and T=1": bytes.fromhex("3B80800101"),
}
"""The ATRs of cards by name, and two that no such card was seen with: one that offers T=0 alone, one that offers
both."""

_LONGEST_SECONDS = 600.0
_LONGEST_SCRIPT = 1 << 20

UNKIND = """
seed: 1
faults:
  - {slow: 300 ms, when: {chance: 0.02}}
  - {wait: 2, each: 200 ms, when: {matching: 802A, chance: 0.1}}
  - {status: 6F00, when: {matching: 00B0, chance: 0.01}}
  - {tear: during, away: 1 s, when: {chance: 0.003}}
"""
"""What `kazashi up --unkind` does: a small share of what real cards and hands do."""


class BadFaultScript(Exception):
    """The script is no fault script; the message names file and line."""


def read_fault_script(path: Path) -> FaultPlan:
    """The plan in a file. Raises BadFaultScript and OSError."""
    return parse_fault_script(path.read_text(encoding="utf-8", errors="replace"), str(path))


def parse_fault_script(text: str, name: str = "the script") -> FaultPlan:
    """The plan in a text, called `name` in errors. Raises BadFaultScript."""
    if len(text) > _LONGEST_SCRIPT:
        raise BadFaultScript(f"{name} is no fault script: it has more than a million characters")
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        line = f" line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise BadFaultScript(f"{name}{line} is no YAML: {error.problem or error.context}") from error
    except yaml.reader.ReaderError as error:
        at = text.count("\n", 0, error.position) + 1
        raise BadFaultScript(f"{name} line {at} is no YAML: {error.reason}") from error
    except (ValueError, OverflowError, RecursionError) as error:  # numbers and depths that the YAML reader chokes on
        raise BadFaultScript(f"{name} is no fault script: {error}") from error
    try:
        return _Reader(name).plan(root)
    except RecursionError as error:
        raise BadFaultScript(f"{name} is no fault script: {error}") from error


class _Reader:
    """Walks the nodes of one script, each of which knows its line."""

    def __init__(self, name: str) -> None:
        self._name = name

    def plan(self, root: yaml.Node | None) -> FaultPlan:
        if root is None:
            return FaultPlan()
        top = self._mapping(root, {"seed", "atr", "protocol", "chaining", "limit", "tries", "faults"})
        atr = self._atr(top["atr"]) if "atr" in top else None
        chaining = bool(self._choice(top["chaining"], {"true": True, "false": False})) if "chaining" in top else False
        t0 = False
        if "protocol" in top:
            if atr is not None:
                raise self._wrong(top["protocol"], "the protocol is the ATR's; give one of them")
            word = self._choice(top["protocol"], {"T=0": "T=0", "T=1": "plain", "T=0 and T=1": "T=0 and T=1"})
            atr = ATRS[word]
            t0 = word == "T=0"
            chaining = chaining or t0
        return FaultPlan(
            faults=tuple(self._fault(node) for node in self._sequence(top["faults"])) if "faults" in top else (),
            seed=self._integer(top["seed"], 0, 2**63) if "seed" in top else 0,
            atr=atr,
            chaining=chaining,
            t0=t0,
            limit=self._integer(top["limit"], 5, 65544) if "limit" in top else None,
            tries=self._tries(top["tries"]) if "tries" in top else {},
        )

    def _fault(self, node: yaml.Node) -> Fault:
        kinds: dict[str, Callable[[yaml.Node, dict[str, yaml.Node]], FaultType]] = {
            "tear": lambda value, rest: Tear(
                Moment(self._choice(value, {moment.value: moment.value for moment in Moment})),
                self._seconds_of(rest, "away", 0.5),
            ),
            "mute": lambda value, _: Mute(self._seconds(value)),
            "slow": lambda value, _: Slow(self._seconds(value)),
            "wait": lambda value, rest: Wait(self._integer(value, 1, 100), self._seconds_of(rest, "each", 0.4)),
            "truncate": lambda value, _: Truncate(self._integer(value, 1, 65538)),
            "overlong": lambda value, _: Overlong(self._integer(value, 1, 65000)),
            "status": lambda value, _: WrongStatus(StatusWord(int(self._matched(value, "[0-9A-Fa-f]{4}"), 16))),
            "glitch": lambda _, rest: Glitch(self._seconds_of(rest, "away", 0.5)),
            "steal": lambda value, _: ContendForReader(self._seconds(value)),
        }
        extras = {"tear": {"away"}, "wait": {"each"}, "glitch": {"away"}}
        entries = self._mapping(node, {*kinds, "when", "away", "each"})
        named = [key for key in entries if key in kinds]
        if len(named) != 1:
            raise self._wrong(node, f"a fault is one of {', '.join(kinds)}; here are {len(named)}")
        (kind,) = named
        for key in entries.keys() - {kind, "when"} - extras.get(kind, set()):
            raise self._wrong(entries[key], f"{kind} has no {key!r}")
        when = self._when(entries["when"]) if "when" in entries else When()
        if kind == "glitch":
            patterns = {word: "|".join(f"{code:04X}" for code in codes) for word, codes in GLITCHES.items()}
            of = self._choice(entries[kind], patterns)
            when = replace(when, matching=when.matching or re.compile(of))
        return Fault(kinds[kind](entries[kind], entries), when)

    def _when(self, node: yaml.Node) -> When:
        entries = self._mapping(node, {"command", "every", "matching", "chance"})
        matching = None
        if "matching" in entries:
            words = self._matched(entries["matching"], r"([0-9A-Fa-f?]{2}\s*)+").upper()
            matching = re.compile(re.sub(r"\s", "", words).replace("?", "."))
        chance = None
        if "chance" in entries:
            chance = self._number(entries["chance"], 0.0, 1.0)
        return When(
            command=self._integer(entries["command"], 1, 2**31) if "command" in entries else None,
            every=self._integer(entries["every"], 1, 2**31) if "every" in entries else None,
            matching=matching,
            chance=chance,
        )

    def _tries(self, node: yaml.Node) -> dict[Reference, int]:
        known = {
            f"{application.name} {file.name}": Reference(application.aid, file.fid)
            for application in structure()
            for file in application.files.values()
            if isinstance(file, PinFile)
        }
        return {known[key]: self._integer(value, 0, 15) for key, value in self._mapping(node, set(known)).items()}

    def _atr(self, node: yaml.Node) -> bytes:
        word = self._scalar(node)
        if word in ATRS:
            return ATRS[word]
        digits = re.sub(r"\s", "", word)
        if not re.fullmatch(r"3[BFbf]([0-9A-Fa-f]{2}){1,32}", digits):
            raise self._wrong(node, f"{word!r} is no ATR in hexadecimal, nor one of {', '.join(ATRS)}")
        return bytes.fromhex(digits)

    def _mapping(self, node: yaml.Node, known: set[str]) -> dict[str, yaml.Node]:
        if not isinstance(node, yaml.MappingNode):
            raise self._wrong(node, "here should be keys with values")
        found: dict[str, yaml.Node] = {}
        for key, value in node.value:
            word = self._scalar(key)
            if word not in known:
                raise self._wrong(key, f"unknown key {word!r}; known here: {', '.join(sorted(known))}")
            if word in found:
                raise self._wrong(key, f"{word!r} stands here twice")
            found[word] = value
        return found

    def _sequence(self, node: yaml.Node) -> list[yaml.Node]:
        if not isinstance(node, yaml.SequenceNode):
            raise self._wrong(node, "here should be a list")
        return list(node.value)

    def _scalar(self, node: yaml.Node) -> str:
        if not isinstance(node, yaml.ScalarNode):
            raise self._wrong(node, "here should be one word or number")
        return str(node.value)

    def _matched(self, node: yaml.Node, pattern: str) -> str:
        word = self._scalar(node)
        if not re.fullmatch(pattern, word):
            raise self._wrong(node, f"{word!r} is not in hexadecimal as it should be here")
        return word

    def _choice(self, node: yaml.Node, choices: dict[str, Any]) -> Any:
        word = self._scalar(node)
        if word not in choices:
            raise self._wrong(node, f"{word!r} is none of {', '.join(choices)}")
        return choices[word]

    def _integer(self, node: yaml.Node, least: int, most: int) -> int:
        word = self._scalar(node)
        if not re.fullmatch(r"\d{1,19}", word) or not least <= int(word) <= most:
            raise self._wrong(node, f"{word!r} is not a number from {least} to {most}")
        return int(word)

    def _number(self, node: yaml.Node, least: float, most: float) -> float:
        word = self._scalar(node)
        if not re.fullmatch(r"\d+(\.\d+)?|\.\d+", word) or not least <= float(word) <= most:
            raise self._wrong(node, f"{word!r} is not a number from {least:g} to {most:g}")
        return float(word)

    def _seconds(self, node: yaml.Node) -> float:
        word = self._scalar(node)
        found = re.fullmatch(r"(\d{1,7}(?:\.\d+)?)\s*(ms|s)", word)
        if found is None:
            raise self._wrong(node, f"{word!r} is no time such as 300 ms or 1.5 s")
        seconds = float(found[1]) / (1000 if found[2] == "ms" else 1)
        if seconds > _LONGEST_SECONDS:
            raise self._wrong(node, f"{word!r} is longer than {_LONGEST_SECONDS:g} s")
        return seconds

    def _seconds_of(self, entries: dict[str, yaml.Node], key: str, usual: float) -> float:
        return self._seconds(entries[key]) if key in entries else usual

    def _wrong(self, node: yaml.Node, words: str) -> BadFaultScript:
        return BadFaultScript(f"{self._name} line {node.start_mark.line + 1}: {words}")
