"""Impact assessments (特定個人情報保護評価, 番号法28条): a published document for each body, with its day, version and
scope. Without one in force that covers an affair or an item, the network does not link it.

An assessment must be made again within five years of its publication (特定個人情報保護評価に関する規則15条).
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from functools import lru_cache
from typing import Any, Self

import sqlalchemy as sa

from kazashi.provision_network.core_store import IMPACT_ASSESSMENT
from kazashi.provision_network.documents import DocumentRejected, checked_text, day_of, field_of, parsed, word_of
from kazashi.provision_network.law.tables import Purpose, table_of_affairs

_YEARS = 5


@dataclass(frozen=True, slots=True)
class ImpactAssessment:
    """A body's impact assessment. `affairs` are pairs of law and affair for which it may request information, and
    `items` is what it may provide."""

    body: str
    published: date
    version: int
    affairs: frozenset[tuple[str, str]]
    items: frozenset[str]

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse a document (JSON or TOML). Raises DocumentRejected."""
        document = parsed(text)
        version = field_of(document, "version")
        if not isinstance(version, int) or isinstance(version, bool) or version < 1:
            raise DocumentRejected("version must be a whole number from 1")
        return cls(
            word_of(document, "body"), day_of(document, "published"), version,
            frozenset(_pair(entry) for entry in _list(document, "affairs")),
            frozenset(checked_text(entry, "an item") for entry in _list(document, "items")),
        )  # fmt: skip

    def document(self) -> str:
        """Return the assessment as a JSON document."""
        content = {
            "body": self.body, "published": self.published.isoformat(), "version": self.version,
            "affairs": sorted(map(list, self.affairs)), "items": sorted(self.items),
        }  # fmt: skip
        return json.dumps(content, ensure_ascii=False, indent=1)

    def outdated(self, on: date) -> str:
        """Return why the assessment is not in force on a day, or an empty text."""
        if on < self.published:
            return f"its impact assessment is only published on {self.published}"
        if on >= _years_after(self.published):
            return f"its impact assessment of {self.published} is older than {_YEARS} years"
        return ""


def sample_assessment(body: str, kind: str, on: date, purposes: Iterable[Purpose] | None = None) -> ImpactAssessment:
    """Return a made-up assessment of version 1 that covers everything that a body of that kind may request and provide
    by the table of affairs, or by other `purposes`."""
    affairs, items = _scope(kind) if purposes is None else _scope_of(kind, purposes)
    return ImpactAssessment(body, on, 1, affairs, items)


def assessments_in(connection: sa.Connection) -> dict[str, ImpactAssessment]:
    """Return the last version of each body's assessment in the core's store."""
    return {row.body: ImpactAssessment.parse(row.document) for row in connection.execute(sa.select(IMPACT_ASSESSMENT))}


def store_assessment(connection: sa.Connection, assessment: ImpactAssessment) -> None:
    """Store an assessment in place of the body's last one. Storing the same one again changes nothing. Raises
    DocumentRejected if its version is not higher."""
    this = IMPACT_ASSESSMENT.c.body == assessment.body
    last = connection.scalar(sa.select(IMPACT_ASSESSMENT.c.document).where(this))
    known = None if last is None else ImpactAssessment.parse(last)
    if known is not None and known != assessment and known.version >= assessment.version:
        words = f"{assessment.body} has version {known.version} already; a new document needs a higher version"
        raise DocumentRejected(words)
    connection.execute(sa.delete(IMPACT_ASSESSMENT).where(this))
    connection.execute(sa.insert(IMPACT_ASSESSMENT), {"body": assessment.body, "document": assessment.document()})


@lru_cache
def _scope(kind: str) -> tuple[frozenset[tuple[str, str]], frozenset[str]]:
    return _scope_of(kind, [row.purpose for row in table_of_affairs()])


def _scope_of(kind: str, purposes: Iterable[Purpose]) -> tuple[frozenset[tuple[str, str]], frozenset[str]]:
    known = list(purposes)
    return (
        frozenset((one.law, one.affair) for one in known if one.requester == kind),
        frozenset(one.item for one in known if one.provider == kind),
    )


def _list(document: Any, name: str) -> list[Any]:
    value = field_of(document, name)
    if not isinstance(value, list):
        raise DocumentRejected(f"{name} must be a list")
    return value


def _pair(entry: Any) -> tuple[str, str]:
    if not isinstance(entry, list) or len(entry) != 2:
        raise DocumentRejected('an entry of affairs must be a law and an affair, like ["児童手当法", "児童手当の支給"]')
    return checked_text(entry[0], "a law"), checked_text(entry[1], "an affair")


def _years_after(day: date) -> date:
    try:
        return day.replace(year=day.year + _YEARS)
    except ValueError:  # the 29th of February
        return day.replace(year=day.year + _YEARS, month=3, day=1)
