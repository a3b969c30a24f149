"""The parts of an examination: each is computed once, and kept on disk, so that a run that was killed continues."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from datetime import date
from enum import Enum
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeVar

from kazashi.tracking_lab import coalitions, exposure, metrics, results
from kazashi.tracking_lab.countermeasures import Countermeasure, countermeasure
from kazashi.tracking_lab.laboratory import Laboratory
from kazashi.world.atomic_file import make_directory, write_whole

Result = TypeVar("Result")

_KEPT = "examined"
_TYPE, _TUPLE = "", "tuple"
_TYPES: dict[str, Any] = {
    name: one for module in (coalitions, exposure, metrics, results) for name, one in vars(module).items()
    if isinstance(one, type)
}  # fmt: skip
_NAMES = {one: name for name, one in _TYPES.items()}


class Parts:
    """The parts of one examination, in order. `begin` is called with the name of each before it starts; `done` and
    `total` are the numbers of parts then. Without a `directory` nothing is kept."""

    def __init__(self, begin: Callable[[str], object] = lambda _: None, directory: Path | None = None) -> None:
        self._begin, self._directory = begin, directory
        self.done = self.total = 0

    @classmethod
    def kept(cls, laboratory: Laboratory, begin: Callable[[str], object], *parameters: str) -> Parts:
        """Parts that are kept with a laboratory's data. They are computed anew if the data, the code or the parameters
        have changed."""
        directory = laboratory.directory / _KEPT
        key = sha256("\0".join([*_content(laboratory), *_code(), *parameters]).encode()).hexdigest()[:32]
        for other in directory.glob("*") if directory.is_dir() else ():
            if other.name != key:
                shutil.rmtree(other, ignore_errors=True)
        return cls(begin, directory / key)

    def run(self, name: str, compute: Callable[[], Result], keep: Callable[[Result], bool] = lambda _: True) -> Result:
        """Return the result of a part: the kept one, or a new one, which is kept if `keep` says so. Raises what
        `compute` raises, and OSError if the disk is full."""
        self._begin(name)
        if self._directory is None:
            result = compute()
        else:
            file = self._directory / f"{name}.json"
            try:
                result = _decoded(json.loads(file.read_text(encoding="utf-8")))
            except (OSError, ValueError, KeyError, TypeError):
                result = compute()
                if keep(result):
                    make_directory(self._directory)
                    write_whole(file, json.dumps(_encoded(result), ensure_ascii=False))
        self.done += 1
        return result


def _content(laboratory: Laboratory) -> list[str]:
    """What identifies a laboratory's data: the names, sizes and times of its files."""
    files = sorted(path for path in laboratory.directory.glob("*/*.parquet") if path.is_file())
    return [
        f"{path.relative_to(laboratory.directory)} {path.stat().st_size} {path.stat().st_mtime_ns}" for path in files
    ]


def _code() -> list[str]:
    """What identifies the code: the versions of the packages, and the laboratory's own source."""
    packages = [f"{name} {version(name)}" for name in ("kazashi", "duckdb", "numpy", "polars", "splink")]
    sources = sorted(Path(__file__).parent.rglob("*.py"))
    return [*packages, sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()]


def _encoded(value: Any) -> Any:
    """A result as JSON values, with the names of its types. Raises TypeError if it has others than those of results."""
    name = _NAMES.get(type(value), "")
    match value:
        case Countermeasure():
            return {_TYPE: "Countermeasure", "id": value.id}
        case Enum():
            return {_TYPE: name, "value": value.value}
        case date():
            return {_TYPE: "date", "value": value.isoformat()}
        case tuple():
            return {_TYPE: _TUPLE, "value": [_encoded(one) for one in value]}
        case list():
            return [_encoded(one) for one in value]
        case frozenset():
            return {_TYPE: "frozenset", "value": [_encoded(one) for one in sorted(value)]}
        case Mapping():
            return {_TYPE: "dict", "value": [[_encoded(key), _encoded(one)] for key, one in value.items()]}
    if is_dataclass(value) and name:
        return {_TYPE: name, **{field.name: _encoded(getattr(value, field.name)) for field in fields(value)}}
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise TypeError(f"a result of {type(value)} cannot be kept")


def _decoded(value: Any) -> Any:
    """The result that `_encoded` made JSON values of. Raises KeyError, TypeError and ValueError if it is damaged."""
    if isinstance(value, list):
        return [_decoded(one) for one in value]
    if not isinstance(value, dict):
        return value
    match name := value[_TYPE]:
        case "tuple" | "frozenset":
            return {"tuple": tuple, "frozenset": frozenset}[name](_decoded(one) for one in value["value"])
        case "dict":
            return {_decoded(key): _decoded(one) for key, one in value["value"]}
        case "Countermeasure":
            return countermeasure(value["id"])
        case "date":
            return date.fromisoformat(value["value"])
    kind = _TYPES[name]
    if issubclass(kind, Enum):
        return kind(value["value"])
    return kind(**{field: _decoded(one) for field, one in value.items() if field != _TYPE})
