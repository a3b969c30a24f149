"""The applications in a card's free area, as the texts about the card describe them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date

from kazashi.applets.free_area import TEXT_PREFIX, Definition, loaded


@dataclass(frozen=True, slots=True)
class LoadedApplication:
    """An application in a card's free area: who loaded it, and when."""

    definition: Definition
    municipality: str
    loaded: date

    def as_dict(self) -> dict[str, str]:
        """Return it as JSON values."""
        return {
            "application": self.definition.name, "title": self.definition.title, "aid": self.definition.aid,
            "municipality": self.municipality, "loaded": self.loaded.isoformat(),
        }  # fmt: skip


def applications_in(about: Mapping[str, str]) -> list[LoadedApplication]:
    """Return the applications that the texts about a card describe. Raises BadDefinition."""
    return [
        LoadedApplication(
            Definition.from_document(row.get("definition")), str(row["municipality"]), date.fromisoformat(row["loaded"])
        )
        for row in loaded(about).values()
    ]


def without_applications(about: Mapping[str, str]) -> dict[str, str]:
    """Return the texts about a card without those that describe applications in its free area."""
    return {name: text for name, text in about.items() if not name.startswith(TEXT_PREFIX)}
