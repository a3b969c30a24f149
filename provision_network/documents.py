"""Documents that people hand in, as TOML or JSON: impact assessments, and affairs by ordinance."""

from __future__ import annotations

import json
import tomllib
from datetime import date
from typing import Any

from kazashi.provision_network.terms import NetworkRejected, text_of


class DocumentRejected(NetworkRejected):
    """A document, or a line of a list, cannot be used. The message says where and why. Nothing of it was stored."""

    def __init__(self, words: str) -> None:
        super().__init__("bad-document", words)


def parsed(text: str) -> Any:
    """Parse JSON, or else TOML. Raises DocumentRejected."""
    try:
        if text.lstrip()[:1] in ("{", "["):
            try:
                return json.loads(text)
            except ValueError:
                return tomllib.loads(text)  # a TOML document may begin with a table in brackets
        return tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise DocumentRejected(f"the document is neither JSON nor TOML: {error}") from error


def field_of(document: Any, name: str) -> Any:
    """Return a field of a document. Raises DocumentRejected."""
    if not isinstance(document, dict):
        raise DocumentRejected("the document must be an object with named fields")
    try:
        return document[name]
    except KeyError:
        raise DocumentRejected(f"the document has no field {name}") from None


def word_of(document: Any, name: str) -> str:
    """Return a field of a document that is a text. Raises DocumentRejected."""
    return checked_text(field_of(document, name), name)


def day_of(document: Any, name: str) -> date:
    """Return a field of a document that is a day. Raises DocumentRejected."""
    value = field_of(document, name)
    try:
        return value if type(value) is date else date.fromisoformat(value)
    except (TypeError, ValueError):
        raise DocumentRejected(f"{name} must be a day like 2026-11-24") from None


def checked_text(value: Any, name: str) -> str:
    """Return a text that is neither empty nor too long and has no control characters. Raises DocumentRejected."""
    try:
        text = text_of(value)
    except ValueError as error:
        raise DocumentRejected(f"{name}: {error}") from None
    if not text.strip():
        raise DocumentRejected(f"{name} must not be empty")
    return text
