"""What a check is: a title, where its expectation comes from, and a function that looks."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum, auto

from kazashi.reader_bridge.check.probe import Probe
from kazashi.reader_bridge.check.result import CheckOutcome, CheckResult


class Needs(Enum):
    """What a check has to have before it means anything."""

    ANY_CARD = auto()
    NUMBER_CARD = auto()
    AUTHENTICATION_PIN = auto()
    SIGNATURE_PASSWORD = auto()


class NotApplicable(Exception):
    """The check finds that it has no meaning here; the message says why."""


@dataclass
class Findings:
    """What a check writes down as it looks."""

    observed: list[str] = field(default_factory=list)
    expected: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    measured: dict[str, float] = field(default_factory=dict)
    only_observes: bool = False

    def note(self, seen: str) -> None:
        """Something that is to be compared and about which nothing is expected."""
        self.observed.append(seen)

    def expect(self, seen: str, wanted: str, what: str = "") -> bool:
        """Something seen, and the pattern (a regular expression of the whole) that it should follow."""
        self.observed.append(f"{what}: {seen}" if what else seen)
        self.expected.append(f"{what}: {wanted}" if what else wanted)
        if re.fullmatch(wanted, seen):
            return True
        self.wrong.append(f"{what or 'the answer'} is {seen!r}, not {wanted!r}")
        return False

    def require(self, true: bool, what: str) -> None:
        """Something that must be so; `what` says it in words."""
        self.expected.append(what)
        self.observed.append(f"{what}: {'yes' if true else 'no'}")
        if not true:
            self.wrong.append(f"not so: {what}")


Look = Callable[[Probe, Findings], None]


@dataclass(frozen=True, slots=True)
class CheckCase:
    """One check. `cold` has the card begin without anything selected; `verifies` says that it sends VERIFY, be it an
    empty one: then the card is looked at anew first, because another may lie there by now."""

    name: str
    title: str
    source: str
    look: Look
    needs: Needs = Needs.NUMBER_CARD
    cold: bool = False
    verifies: bool = False

    @property
    def group(self) -> str:
        """The first part of the name."""
        return self.name.partition(".")[0]

    def result(self, findings: Findings, outcome: CheckOutcome, detail: str) -> CheckResult:
        """What came of it."""
        return CheckResult(
            self.name, self.group, self.title, self.source, outcome, tuple(findings.observed),
            tuple(findings.expected), detail, {name: round(value, 3) for name, value in findings.measured.items()},
        )  # fmt: skip


def answered(response: bytes) -> str:
    """An answer as a check notes it: how much data, and the status word. The data themselves may be somebody's."""
    if len(response) < 2:
        return "nothing"
    size = len(response) - 2
    return f"{f'{size} bytes, ' if size else ''}{response[-2:].hex().upper()}"


def exchanges(name: str, title: str, source: str, *steps: tuple[str, str], cold: bool = False,
              needs: Needs = Needs.NUMBER_CARD, verifies: bool = False) -> CheckCase:  # fmt: skip
    """A check that sends commands in turn and compares each answer, in the form of `answered`, with a pattern."""

    def look(probe: Probe, findings: Findings) -> None:
        for command, wanted in steps:
            findings.expect(
                answered(probe.send(command)), wanted, command if len(command) <= 40 else command[:36] + "..."
            )

    return CheckCase(name, title, source, look, needs, cold, verifies)
