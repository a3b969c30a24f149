"""Fault scripts in YAML, validated when read; errors name the line (docs/faults.md)."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import yaml

from kazashi.applets.install import structure
from kazashi.card.atr import CONTACT_ATRS
from kazashi.card.file import PinFile
from kazashi.card.status_word import StatusWord
from kazashi.card.store import Reference
from kazashi.reader_bridge.fault import FaultPlan
from kazashi.reader_bridge.fault_kind import (
    GLITCHES,
    Bounce,
    ContendForReader,
    Fault,
    FaultType,
    Glitch,
    Moment,
    Mute,
    Negotiation,
    Occasion,
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
    occasion_of,
)
from kazashi.reader_bridge.interface import CONTACTLESS_ATQBS, contactless_atr
from kazashi.world.input_file import read_text_input
from kazashi.world.yaml_script import ScriptReader

ATRS = {
    **CONTACT_ATRS,
    **{f"contactless-{name}": contactless_atr(atqb) for name, atqb in CONTACTLESS_ATQBS.items()},
    "T=0": bytes.fromhex("3B600000"),
    "T=0 and T=1": bytes.fromhex("3B80800101"),
}
"""ATRs by name: those seen from cards, and two that were not: one that offers T=0 only, and one that offers both
protocols."""

_LONGEST_SECONDS = 600.0

UNKIND = """
seed: 1
faults:
  - {slow: 300 ms, when: {chance: 0.02}}
  - {wait: 2, each: 200 ms, when: {matching: 802A, chance: 0.1}}
  - {status: 6F00, when: {matching: 00B0, chance: 0.01}}
  - {tear: during, away: 1 s, when: {chance: 0.003}}
"""
"""The script of `kazashi up --unkind`: a small share of the faults that real cards and their users cause."""


class BadFaultScript(Exception):
    """The fault script is not valid; the message names the file and, if possible, the line."""


def read_fault_script(path: Path) -> FaultPlan:
    """Read a plan from a file. Raises BadFaultScript, FileUnusable and OSError."""
    return parse_fault_script(read_text_input(path, errors="replace"), str(path))


def parse_fault_script(text: str, name: str = "the script") -> FaultPlan:
    """Read a plan from text; `name` is its name in errors. Raises BadFaultScript."""
    return _Reader(name).read(text)


class _Reader(ScriptReader[FaultPlan]):
    rejected = BadFaultScript

    def script(self, root: yaml.Node | None) -> FaultPlan:
        if root is None:
            return FaultPlan()
        top = self.mapping(root, {"seed", "atr", "warm-atr", "protocol", "chaining", "limit", "tries", "faults"})
        atr = self._atr(top["atr"]) if "atr" in top else None
        chaining = bool(self.choice(top["chaining"], {"true": True, "false": False})) if "chaining" in top else False
        t0 = False
        if "protocol" in top:
            if atr is not None:
                raise self.wrong(top["protocol"], "the ATR determines the protocol; give only one of them")
            atr_name = self.choice(top["protocol"], {"T=0": "T=0", "T=1": "plain", "T=0 and T=1": "T=0 and T=1"})
            atr = ATRS[atr_name]
            t0 = atr_name == "T=0"
            chaining = chaining or t0
        return FaultPlan(
            faults=tuple(self._fault(node) for node in self.sequence(top["faults"])) if "faults" in top else (),
            seed=self.integer(top["seed"], 0, 2**63) if "seed" in top else 0,
            atr=atr,
            warm_atr=self._atr(top["warm-atr"]) if "warm-atr" in top else None,
            chaining=chaining,
            t0=t0,
            limit=self.integer(top["limit"], 5, 65544) if "limit" in top else None,
            tries=self._tries(top["tries"]) if "tries" in top else {},
        )

    def _fault(self, node: yaml.Node) -> Fault:
        kinds: dict[str, Callable[[yaml.Node, dict[str, yaml.Node]], FaultType]] = {
            "tear": lambda value, rest: Tear(
                Moment(self.choice(value, {moment.value: moment.value for moment in Moment})),
                self._seconds_of(rest, "away", 0.5),
            ),
            "mute": lambda value, _: Mute(self._seconds(value)),
            "slow": lambda value, _: Slow(self._seconds(value)),
            "wait": lambda value, rest: Wait(self.integer(value, 1, 100), self._seconds_of(rest, "each", 0.4)),
            "truncate": lambda value, _: Truncate(self.integer(value, 1, 65538)),
            "overlong": lambda value, _: Overlong(self.integer(value, 1, 65000)),
            "status": lambda value, _: WrongStatus(StatusWord(int(self._matched(value, "[0-9A-Fa-f]{4}"), 16))),
            "glitch": lambda _, rest: Glitch(self._seconds_of(rest, "away", 0.5)),
            "steal": lambda value, _: ContendForReader(self._seconds(value)),
            "timeout": lambda value, _: Timeout(self._seconds(value)),
            "silent": lambda value, _: Silent(self.choice(value, {"power-up": False, "reset": True})),
            "bounce": lambda value, rest: Bounce(self.integer(value, 1, 100), self._seconds_of(rest, "each", 0.02)),
            "weak": lambda value, rest: Weak(self._some_seconds(value), self._seconds_of(rest, "away", 0.1)),
            "second-card": lambda value, rest: SecondCard(
                self.choice(value, {"chosen": True, "collides": False}),
                self._seconds(rest["for"]) if "for" in rest else None,
                self._seconds_of(rest, "away", 0.5),
            ),
            "negotiation": lambda value, _: Negotiation(self.choice(value, {"refused": True, "fails": False})),
        }
        extras = {"tear": {"away"}, "wait": {"each"}, "glitch": {"away"}, "bounce": {"each"}, "weak": {"away"},
                  "second-card": {"for", "away"}}  # fmt: skip
        entries = self.mapping(node, {*kinds, "when", "away", "each", "for"})
        named = [key for key in entries if key in kinds]
        if len(named) != 1:
            raise self.wrong(node, f"a fault must be exactly one of {', '.join(kinds)}; this one has {len(named)}")
        (kind,) = named
        for key in entries.keys() - {kind, "when"} - extras.get(kind, set()):
            raise self.wrong(entries[key], f"{kind} does not take {key!r}")
        fault = kinds[kind](entries[kind], entries)
        when = self._when(entries["when"], occasion_of(fault)) if "when" in entries else When()
        if kind == "glitch":
            patterns = {name: "|".join(f"{code:04X}" for code in codes) for name, codes in GLITCHES.items()}
            pattern = self.choice(entries[kind], patterns)
            when = replace(when, matching=when.matching or re.compile(pattern))
        return Fault(fault, when)

    def _when(self, node: yaml.Node, occasion: Occasion) -> When:
        of_commands = occasion is Occasion.COMMAND
        nth = "command" if of_commands else "nth"
        entries = self.mapping(node, {nth, "every", "chance", *(("matching",) if of_commands else ())})
        matching = None
        if "matching" in entries:
            prefix = self._matched(entries["matching"], r"([0-9A-Fa-f?]{2}\s*)+").upper()
            matching = re.compile(re.sub(r"\s", "", prefix).replace("?", "."))
        chance = None
        if "chance" in entries:
            chance = self.number(entries["chance"], 0.0, 1.0)
        return When(
            nth=self.integer(entries[nth], 1, 2**31) if nth in entries else None,
            every=self.integer(entries["every"], 1, 2**31) if "every" in entries else None,
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
        return {known[key]: self.integer(value, 0, 15) for key, value in self.mapping(node, set(known)).items()}

    def _atr(self, node: yaml.Node) -> bytes:
        value = self.scalar(node)
        if value in ATRS:
            return ATRS[value]
        digits = re.sub(r"\s", "", value)
        if not re.fullmatch(r"3[BFbf]([0-9A-Fa-f]{2}){1,32}", digits):
            raise self.wrong(node, f"{value!r} is neither an ATR in hexadecimal nor one of {', '.join(ATRS)}")
        return bytes.fromhex(digits)

    def _matched(self, node: yaml.Node, pattern: str) -> str:
        value = self.scalar(node)
        if not re.fullmatch(pattern, value):
            raise self.wrong(node, f"{value!r} is not valid hexadecimal for this key")
        return value

    def _seconds(self, node: yaml.Node) -> float:
        value = self.scalar(node)
        match = re.fullmatch(r"(\d{1,7}(?:\.\d+)?)\s*(ms|s)", value)
        if match is None:
            raise self.wrong(node, f"{value!r} is not a time such as 300 ms or 1.5 s")
        seconds = float(match[1]) / (1000 if match[2] == "ms" else 1)
        if seconds > _LONGEST_SECONDS:
            raise self.wrong(node, f"{value!r} is longer than {_LONGEST_SECONDS:g} s")
        return seconds

    def _some_seconds(self, node: yaml.Node) -> float:
        seconds = self._seconds(node)
        if not seconds:
            raise self.wrong(node, "this time must be longer than 0 s")
        return seconds

    def _seconds_of(self, entries: dict[str, yaml.Node], key: str, default: float) -> float:
        return self._seconds(entries[key]) if key in entries else default
