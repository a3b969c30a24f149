"""What stores show, as a value: an id, which has a sentence in the words of the report, and the sentence's values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class StoreFact:
    """A fact that the stores of actors show. Several actors, sectors or handles in one value are joined with ` + `."""

    id: str
    values: Mapping[str, str | int] = field(default_factory=dict)


def several(names: list[str] | set[str] | frozenset[str]) -> str:
    """Names as one value of a fact, sorted."""
    return " + ".join(sorted(names))
