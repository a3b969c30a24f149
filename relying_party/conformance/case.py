"""A case: the rule in its docstring, how its material is made, and the verdict that is right."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass

from kazashi.relying_party.conformance.authority import Bench, Material
from kazashi.relying_party.verify.finding import INDETERMINATE, Finding, Outcome

Builder = Callable[[Bench], Material]


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


def case(finding: Finding | None = None) -> Callable[[Builder], Builder]:
    """Make a function a case; its docstring is the rule, with the source in parentheses at its end."""

    def register(build: Builder) -> Builder:
        rule = inspect.getdoc(build)
        assert rule, f"{build.__name__} states no rule"
        area = build.__module__.rpartition(".")[2].removeprefix("cases_")
        CASES.append(Case(f"{area}/{build.__name__.replace('_', '-')}", " ".join(rule.split()), finding, build))
        return build

    return register
