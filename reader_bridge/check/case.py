"""A check: its title, the source of its expectation, and the function that carries it out."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum, auto

from kazashi.reader_bridge.check.probe import Probe
from kazashi.reader_bridge.check.result import CheckOutcome, CheckResult


class Needs(Enum):
    """What a check requires: a kind of card, or a PIN."""

    ANY_CARD = auto()
    NUMBER_CARD = auto()
    AUTHENTICATION_PIN = auto()
    SIGNATURE_PASSWORD = auto()


class NotApplicable(Exception):
    """The check does not apply to this reader or card; the message says why."""


@dataclass
class Findings:
    """The observations of one check."""

    observed: list[str] = field(default_factory=list)
    expected: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    measured: dict[str, float] = field(default_factory=dict)
    only_observes: bool = False

    def note(self, seen: str) -> None:
        """Record an observation for comparisons, without an expectation."""
        self.observed.append(seen)

    def expect(self, seen: str, wanted: str, what: str = "") -> bool:
        """Record an observation and compare it with a regular expression, which must match all of it.

        Returns whether it matches. `what` names the observation.
        """
        self.observed.append(f"{what}: {seen}" if what else seen)
        self.expected.append(f"{what}: {wanted}" if what else wanted)
        if re.fullmatch(wanted, seen):
            return True
        self.wrong.append(f"{what or 'the response'} is {seen!r}, not {wanted!r}")
        return False

    def require(self, true: bool, what: str) -> None:
        """Record whether a required condition is true; `what` is the condition in words."""
        self.expected.append(what)
        self.observed.append(f"{what}: {'yes' if true else 'no'}")
        if not true:
            self.wrong.append(f"not true: {what}")


Look = Callable[[Probe, Findings], None]


@dataclass(frozen=True, slots=True)
class CheckCase:
    """One check.

    `cold` powers the card off and on first, so that nothing is selected. `verifies` says that the check sends VERIFY,
    even an empty one: the card is then identified again first, because it may have been exchanged.
    """

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
        """Return the result of this check."""
        return CheckResult(
            self.name, self.group, self.title, self.source, outcome, tuple(findings.observed),
            tuple(findings.expected), detail, {name: round(value, 3) for name, value in findings.measured.items()},
        )  # fmt: skip


def answered(response: bytes) -> str:
    """Return a response as checks record it: the size of its data, and the status word.

    The data is not recorded, because it may be personal.
    """
    if len(response) < 2:
        return "nothing"
    size = len(response) - 2
    return f"{f'{size} bytes, ' if size else ''}{response[-2:].hex().upper()}"


def exchanges(name: str, title: str, source: str, *steps: tuple[str, str], cold: bool = False,
              needs: Needs = Needs.NUMBER_CARD, verifies: bool = False) -> CheckCase:  # fmt: skip
    """Return a check that sends commands in turn and compares each response, in the form of `answered`, with a
    pattern."""

    def look(probe: Probe, findings: Findings) -> None:
        for command, wanted in steps:
            findings.expect(
                answered(probe.send(command)), wanted, command if len(command) <= 40 else command[:36] + "..."
            )

    return CheckCase(name, title, source, look, needs, cold, verifies)
