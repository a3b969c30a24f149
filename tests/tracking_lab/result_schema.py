"""The JSON Schema of the documents, derived from the types of the results. To publish a change of them, count VERSION
up and write it anew: python -m tests.tracking_lab.result_schema > tracking_lab/report.schema.json"""

from __future__ import annotations

import json
import types
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from datetime import date
from enum import Enum
from inspect import getdoc
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

from kazashi.tracking_lab.countermeasures import Countermeasure
from kazashi.tracking_lab.document import FORMAT, VERSION
from kazashi.tracking_lab.metrics import Share
from kazashi.tracking_lab.plan import Plan
from kazashi.tracking_lab.results import Examination, LogExamination, TrackingReport

_NUMBER = {"type": ["number", "null"]}
_SCALARS: dict[Any, dict[str, Any]] = {
    int: {"type": "integer"}, float: _NUMBER, bool: {"type": "boolean"}, str: {"type": "string"},
    type(None): {"type": "null"}, date: {"type": "string", "format": "date"}, Any: {},
    Plan: {"type": "object", "description": "The plan of the population."},
    Countermeasure: {"type": "string", "description": "The id of a countermeasure."},
}  # fmt: skip
_SHARE = {
    "type": "object", "description": "A share with Wilson's interval at 95 %; the value is null if the total is 0.",
    "properties": {"count": _SCALARS[int], "total": _SCALARS[int], "value": _NUMBER, "low": _NUMBER, "high": _NUMBER},
    "required": ["count", "total", "value", "low", "high"], "additionalProperties": False,
}  # fmt: skip


def json_schema() -> dict[str, Any]:
    """The JSON Schema (2020-12) of the documents of `document.as_document`. Numbers with a unit have the key `unit`."""
    definitions: dict[str, Any] = {}
    results = [_schema(kind, definitions) for kind in (TrackingReport, Examination, LogExamination)]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema", "title": f"{FORMAT} {VERSION}", "type": "object",
        "properties": {"format": {"const": FORMAT}, "version": {"const": VERSION}, "result": {"anyOf": results}},
        "required": ["format", "version", "result"], "additionalProperties": False,
        "$defs": dict(sorted(definitions.items())),
    }  # fmt: skip


def _schema(kind: Any, definitions: dict[str, Any]) -> dict[str, Any]:
    if kind in _SCALARS:
        return _SCALARS[kind]
    if kind is Share:
        definitions.setdefault("Share", _SHARE)
        return {"$ref": "#/$defs/Share"}
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Annotated:
        return {**_schema(arguments[0], definitions), "unit": arguments[1]}
    if origin in (Union, types.UnionType):
        return {"anyOf": [_schema(one, definitions) for one in arguments]}
    if origin in (tuple, list):
        return {"type": "array", "items": _schema(arguments[0], definitions)}
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return {"type": "object", "additionalProperties": _schema(arguments[1], definitions)}
    if issubclass(kind, Enum):
        return {"enum": [one.value for one in kind]}
    assert isinstance(kind, type), kind
    assert is_dataclass(kind), kind
    if kind.__name__ not in definitions:
        definitions[kind.__name__] = {}  # a type may contain itself
        hints = get_type_hints(kind, include_extras=True)
        names = [field.name for field in fields(kind)]
        definitions[kind.__name__] = {
            "type": "object", "description": " ".join((getdoc(kind) or "").split()),
            "properties": {name: _schema(hints[name], definitions) for name in names},
            "required": names, "additionalProperties": False,
        }  # fmt: skip
    return {"$ref": f"#/$defs/{kind.__name__}"}


def as_text() -> str:
    """The schema as the text of the published file."""
    return json.dumps(json_schema(), ensure_ascii=False, indent=1) + "\n"


if __name__ == "__main__":
    print(as_text(), end="")
