"""A case: the rule, how its material is made, and the verdict that is right."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from kazashi.relying_party.conformance.authority import CaseInput, TestAuthority
from kazashi.relying_party.verify.finding import INDETERMINATE, Finding, Outcome

Builder = Callable[[TestAuthority], CaseInput]


@dataclass(frozen=True, slots=True)
class Case:
    """One case. `finding` is None where the verdict is good; other libraries may find other words for why it is not."""

    identifier: str
    rule: str
    finding: Finding | None
    build: Builder

    @property
    def outcome(self) -> Outcome:
        """The right verdict."""
        if self.finding is None:
            return Outcome.GOOD
        return Outcome.INDETERMINATE if self.finding in INDETERMINATE else Outcome.BAD


CASES: list[Case] = []
"""Every case, in the order in which the modules that hold them are read."""


def case(identifier: str, rule: str, finding: Finding | None = None) -> Callable[[Builder], Builder]:
    """Make a function a case. `identifier` is `AREA/NAME` and stays the same for good; `rule` ends with its source in
    parentheses."""

    def register(build: Builder) -> Builder:
        CASES.append(Case(identifier, rule, finding, build))
        return build

    return register
