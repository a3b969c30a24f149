"""Sentences for what stores show."""

from __future__ import annotations

from kazashi.tracking_lab.facts import StoreFact
from kazashi.tracking_lab.page.words import Words

_NAMED = {
    "who": "actors", "holder": "actors", "handle": "handles", "sectors": "data-sectors", "form": "forms",
    "sort": "sorts", "why": "denials",
}  # fmt: skip
"""The values that have words of their own, and the tables of these words."""


def sentence(words: Words, fact: StoreFact) -> str:
    """The sentence of a fact. What has no words, such as the name of a table or of a town, stands as it is."""
    said = {name: _said(words, name, value) for name, value in fact.values.items()}
    return words(f"facts.{fact.id}", **said)


def _said(words: Words, name: str, value: str | int) -> str:
    if isinstance(value, int):
        return f"{value:,}"
    if name not in _NAMED:
        return value
    return words("page.plus").join(words.get(f"{_NAMED[name]}.{one}", one) for one in value.split(" + "))
