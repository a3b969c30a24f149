"""Jinja environments for page templates. All HTML is in templates, and the values that Python passes are escaped."""

from __future__ import annotations

from datetime import datetime

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined

from kazashi.world.clock import JST


def environment(package: str) -> Environment:
    """An environment for the templates in the folder `templates` of a package, and for the shared ones of `web`.

    Every value is escaped, and an undefined name raises UndefinedError. It has two filters in addition to Jinja's:
    `formatted` is Python's `format` (`{{ 4000|formatted(",") }}`), and `in_japan` converts an instant to Japanese time.
    """
    templates = Environment(
        loader=ChoiceLoader([PackageLoader(package), PackageLoader("kazashi.web")]), autoescape=True,
        undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True,
    )  # fmt: skip
    templates.filters |= {"formatted": format, "in_japan": _in_japan}
    return templates


def _in_japan(instant: datetime) -> datetime:
    return instant.astimezone(JST)
