"""A case of the conformance pack: its rule, how its material is made, and the right verdict."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from kazashi.relying_party.conformance.authority import CaseInput, TestAuthority
from kazashi.relying_party.verify.finding import INDETERMINATE, Finding, Outcome

Builder = Callable[[TestAuthority], CaseInput]


class RequiredBy(StrEnum):
    """What demands that a case is refused. Only the first two bind a validator that does not know the profile."""

    PATH_VALIDATION = "path-validation"
    """RFC 5280, section 6.1: path validation."""
    REVOCATION_CHECKING = "revocation-checking"
    """RFC 5280, section 6.3 (revocation lists), or RFC 6960 (OCSP), where revocation checking is mandatory."""
    PROFILE = "profile"
    """A rule of the profile, or one that those two do not check: of encoding, for issuers, or of caution. A general
    validator may accept the case and leave the rule to its caller."""
    LOGIN = "login"
    """The rules for a challenge and its response."""
    DOCUMENT = "document"
    """The rules for a signed document."""


_AREAS = {
    "certificate": RequiredBy.PATH_VALIDATION, "attributes": RequiredBy.PROFILE,
    "revocation": RequiredBy.REVOCATION_CHECKING, "login": RequiredBy.LOGIN, "document": RequiredBy.DOCUMENT,
}  # fmt: skip
"""What demands the refusal of an area's cases, unless the case names something else."""


@dataclass(frozen=True, slots=True)
class Case:
    """A case. `finding` is None where the right outcome is good. `breaks` is the code of the profile's rule that the
    certificate breaks, if its finding is OFF_PROFILE."""

    identifier: str
    rule: str
    finding: Finding | None
    breaks: str | None
    required_by: RequiredBy | None
    build: Builder

    @property
    def area(self) -> str:
        """The part of the identifier before the slash."""
        return self.identifier.partition("/")[0]

    @property
    def outcome(self) -> Outcome:
        """The right outcome."""
        if self.finding is None:
            return Outcome.GOOD
        return Outcome.INDETERMINATE if self.finding in INDETERMINATE else Outcome.BAD


CASES: list[Case] = []
"""Every case, in the order in which the modules that hold them are imported."""


def case(
    identifier: str, rule: str, finding: Finding | None = None, *, breaks: str | None = None,
    required_by: RequiredBy | None = None,
) -> Callable[[Builder], Builder]:  # fmt: skip
    """Register a function as a case.

    `identifier` is `AREA/NAME` and never changes. `rule` ends with its source in parentheses. `breaks` stands for the
    finding OFF_PROFILE. `required_by` is the area's by default, and the profile for a case that breaks one of its
    rules.
    """
    if breaks is not None:
        finding = Finding.OFF_PROFILE
    if finding is not None and required_by is None:
        required_by = RequiredBy.PROFILE if breaks is not None else _AREAS[identifier.partition("/")[0]]

    def register(build: Builder) -> Builder:
        CASES.append(Case(identifier, rule, finding, breaks, required_by, build))
        return build

    return register
