"""The result of an import, as it is returned and as it is kept beside the tables."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, fields
from typing import Any

from kazashi.tracking_lab.laboratory import IMPORTED, Laboratory, PopulationUnusable, PopulationUnusableReason


@dataclass(frozen=True, slots=True)
class FileRead:
    """A file that was imported: its name, kind, encoding and compression (empty if they do not apply), its rows, those
    of them whose time names its zone and does not, and the rows that could not be read."""

    name: str
    kind: str
    encoding: str
    compression: str
    rows: int
    zoned: int
    unzoned: int
    unreadable: int


@dataclass(frozen=True, slots=True)
class Imported:
    """The result of an import.

    `rows` are all rows, and `uses` those that were imported; `left_out` are the others, by reason. `spellings` is the
    number of different texts of the `handles`, whose forms are `forms`, and `detected` says that the mapping does not
    name one. `decimal` and `hexadecimal` are the serial numbers of digits only that were read as each. `zone` was taken
    for times that name none; `skipped` and `repeated` of them do not exist there, or exist twice. `partial` says that
    more than 1 % of the rows could not be read. `notes` are for the reviewer.
    """

    rows: int
    uses: int
    services: int
    handles: int
    persons: int
    spellings: int
    forms: list[str]
    detected: bool
    decimal: int
    hexadecimal: int
    zone: str
    skipped: int
    repeated: int
    partial: bool
    left_out: dict[str, int] = field(default_factory=dict)
    files: list[FileRead] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, document: dict[str, Any]) -> Imported:
        """The result in the document that `about` returns."""
        own = {each.name: document[each.name] for each in fields(cls)}
        return cls(**{**own, "files": [FileRead(**read) for read in document["files"]]})


def about(laboratory: Laboratory) -> dict[str, Any]:
    """The document that `import_logs` wrote: the fields of Imported, the mapping, `begins` (the laboratory's first
    second, since 1970) and `truth` (whether the ground truth is known). Raises PopulationUnusable if no logs were
    imported."""
    try:
        document: dict[str, Any] = json.loads((laboratory.directory / IMPORTED).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise PopulationUnusable(
            PopulationUnusableReason.NO_LOGS,
            f"no logs were imported into {laboratory.directory}; try: kazashi tracking import",
        ) from error
    return document
