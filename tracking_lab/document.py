"""Results as JSON documents: each dataclass becomes an object whose keys are its fields."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from datetime import date
from enum import Enum
from typing import Any

from kazashi.tracking_lab.countermeasures import Countermeasure
from kazashi.tracking_lab.metrics import Share
from kazashi.tracking_lab.plan import Plan
from kazashi.tracking_lab.results import Examination, LogExamination, TrackingReport

FORMAT, VERSION = "kazashi-tracking", 3
"""The name and version of the documents. The version changes when a key or a meaning does. Version 1 had words for
people as keys, and version 2 the sentences of the ruling."""


def as_document(result: Examination | LogExamination | TrackingReport) -> dict[str, Any]:
    """The JSON document of a result: `format`, `version` and `result`.

    Shares have `value`, `low` and `high` beside `count` and `total`; a countermeasure is its id. Floats are rounded to
    nine digits, because sums of fractions depend on the order in which threads add them up. NaN is null.
    """
    return {"format": FORMAT, "version": VERSION, "result": json_value(result)}


def as_json(result: Examination | LogExamination | TrackingReport) -> str:
    """The document of a result as text, with sorted keys."""
    return json.dumps(as_document(result), ensure_ascii=False, indent=1, sort_keys=True) + "\n"


def json_value(value: Any) -> Any:
    """A value as JSON values."""
    match value:
        case Share(count, total):
            low, high = value.interval
            return {"count": count, "total": total, **json_value({"value": value.value, "low": low, "high": high})}
        case Countermeasure():
            return value.id
        case Plan():
            return json_value(value.as_dict())
        case Enum():
            return value.value
        case date():
            return value.isoformat()
        case float():
            return round(value, 9) if math.isfinite(value) else None
        case Mapping():
            return {name: json_value(one) for name, one in value.items()}
        case list() | tuple():
            return [json_value(one) for one in value]
    if is_dataclass(value):
        return {field.name: json_value(getattr(value, field.name)) for field in fields(value)}
    return value
