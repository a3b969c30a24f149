"""A person's row in the registry's store, and the part of it that is sent over Juki-Net."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

COLUMNS = ("alias", "record_code", "individual_number", "municipality", "document")
"""The columns of a row that events change."""


def columns_of(document: Mapping[str, Any]) -> dict[str, object]:
    """A resident's document as a row. The two numbers are only in their own columns."""
    rest = {key: value for key, value in document.items() if key not in ("record_code", "individual_number")}
    return {
        "alias": document.get("alias"),
        "record_code": document["record_code"],
        "individual_number": document.get("individual_number"),
        "municipality": document["municipality"],
        "document": as_json(rest),
    }


_STAYS_HOME = frozenset(
    ("about", "household", "nationality", "residence_status", "residences", "individual_number", "protected")
)


def identity_of(document: Mapping[str, Any], *without: str) -> dict[str, Any]:
    """What is sent over Juki-Net of a document: identity data, but no household, nationality or former addresses."""
    return {key: value for key, value in document.items() if key not in _STAYS_HOME and key not in without}


def as_json(document: Mapping[str, Any]) -> str:
    """Return a document as JSON text."""
    return json.dumps(document, ensure_ascii=False)
