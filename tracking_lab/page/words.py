"""The words of pages, in English and Japanese, by id."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from enum import Enum
from functools import cache
from importlib.resources import files
from typing import Any

OWN = "kazashi.tracking_lab.page"
"""The package with the words of the report."""


class Language(Enum):
    """A language of the report, by its ISO 639 code."""

    ENGLISH = "en"
    JAPANESE = "ja"


class Words:
    """The texts of one language, by key: `page.title`, `results.T5.chain`. Raises KeyError for a key that has none.
    `packages` have texts of their own in a folder `words`, beside those of the report."""

    def __init__(self, language: Language, *packages: str) -> None:
        self.language = language
        self._texts = {key: text for package in (OWN, *packages) for key, text in catalog(package)[language].items()}

    def __call__(self, key: str, **values: object) -> str:
        """A text with its fields filled in."""
        return self._texts[key].format(**values)

    def __contains__(self, key: str) -> bool:
        return key in self._texts

    def first(self, default: str, *keys: str) -> str:
        """The text of the first key that has one, or `default`: names in stores and in logs have none."""
        return next((self(key) for key in keys if key in self), default)

    def get(self, key: str, default: str) -> str:
        """The text of a key, or `default`."""
        return self.first(default, key)

    def join(self, parts: list[str]) -> str:
        """The parts as a list in a sentence."""
        return self("page.list").join(parts)


@cache
def catalog(package: str = OWN) -> Mapping[Language, Mapping[str, str]]:
    """All texts of a package by language and key, from the files in its folder `words`. A text has a version in each
    language."""
    texts: dict[Language, dict[str, str]] = {language: {} for language in Language}
    for file in sorted(files(package).joinpath("words").iterdir(), key=lambda one: one.name):
        if file.name.endswith(".toml"):
            for key, versions in _flat("", tomllib.loads(file.read_text(encoding="utf-8"))):
                for language, text in zip(Language, versions, strict=True):
                    texts[language][key] = text
    return texts


def _flat(prefix: str, table: Mapping[str, Any]) -> Iterator[tuple[str, list[str]]]:
    for key, value in table.items():
        if isinstance(value, Mapping):
            yield from _flat(f"{prefix}{key}.", value)
        else:
            yield f"{prefix}{key}", value
