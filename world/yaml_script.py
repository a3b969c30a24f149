"""Scripts that a user writes in YAML, read by their nodes: a node knows its line, so that every error names one."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from typing import Any, ClassVar, Generic, TypeVar

import yaml

from kazashi.world.place_in_file import place_of

_Read = TypeVar("_Read")
_LONGEST = 1 << 20


class ScriptReader(ABC, Generic[_Read]):
    """Reads one script. Every problem is raised as `rejected`, with the script's name and, if possible, the line."""

    rejected: ClassVar[type[Exception]]

    def __init__(self, name: str) -> None:
        self._name = name

    def read(self, text: str) -> _Read:
        """Return what a script says. Raises `rejected`."""
        if len(text) > _LONGEST:
            raise self.rejected(f"{self._name} is not a fault script: it has more than a million characters")
        try:
            return self.script(yaml.compose(text, Loader=yaml.SafeLoader))
        except yaml.MarkedYAMLError as error:
            line = f" line {error.problem_mark.line + 1}" if error.problem_mark else ""
            raise self.rejected(f"{self._name}{line} is not valid YAML") from error
        except yaml.reader.ReaderError as error:
            at = text.count("\n", 0, error.position) + 1
            raise self.rejected(
                f"{self._name} line {at} is not valid YAML: it has a character that YAML does not allow"
            ) from error
        except (ValueError, OverflowError, RecursionError) as error:  # such as too deep for the parser
            raise self.rejected(f"{self._name} is not a fault script{place_of(error)}") from error

    @abstractmethod
    def script(self, root: yaml.Node | None) -> _Read:
        """Return what the script's root says; it is None for an empty script. Raises `rejected`."""

    def wrong(self, node: yaml.Node, words: str) -> Exception:
        """Return the error for a node."""
        return self.rejected(f"{self._name} line {node.start_mark.line + 1}: {words}")

    def mapping(self, node: yaml.Node, known: set[str]) -> dict[str, yaml.Node]:
        """Return the values of a mapping by its keys, which are among the known ones."""
        if not isinstance(node, yaml.MappingNode):
            raise self.wrong(node, "expected keys with values")
        entries: dict[str, yaml.Node] = {}
        for key, value in node.value:
            name = self.scalar(key)
            if name not in known:
                raise self.wrong(key, f"unknown key {name!r}; known keys: {', '.join(sorted(known))}")
            if name in entries:
                raise self.wrong(key, f"the key {name!r} occurs twice")
            entries[name] = value
        return entries

    def sequence(self, node: yaml.Node) -> list[yaml.Node]:
        """Return the items of a list."""
        if not isinstance(node, yaml.SequenceNode):
            raise self.wrong(node, "expected a list")
        return list(node.value)

    def scalar(self, node: yaml.Node) -> str:
        """Return a word or number as its text."""
        if not isinstance(node, yaml.ScalarNode):
            raise self.wrong(node, "expected one word or number")
        return str(node.value)

    def choice(self, node: yaml.Node, choices: dict[str, Any]) -> Any:
        """Return what a word stands for."""
        value = self.scalar(node)
        if value not in choices:
            raise self.wrong(node, f"{value!r} is not one of {', '.join(choices)}")
        return choices[value]

    def integer(self, node: yaml.Node, least: int, most: int) -> int:
        """Return a number in decimal digits."""
        value = self.scalar(node)
        if not re.fullmatch(r"\d{1,19}", value) or not least <= int(value) <= most:
            raise self.wrong(node, f"{value!r} is not a number from {least} to {most}")
        return int(value)

    def number(self, node: yaml.Node, least: float, most: float) -> float:
        """Return a number that may have a decimal point."""
        value = self.scalar(node)
        if not re.fullmatch(r"\d+(\.\d+)?|\.\d+", value) or not least <= float(value) <= most:
            raise self.wrong(node, f"{value!r} is not a number from {least:g} to {most:g}")
        return float(value)
