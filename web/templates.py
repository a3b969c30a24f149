"""Environments for the templates of pages. HTML stands in templates only; what Python passes to them is escaped."""

from __future__ import annotations

from datetime import datetime

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined

from kazashi.world.clock import JST


def environment(package: str) -> Environment:
    """An environment for the templates in the folder `templates` of a package, and for the shared ones of `web`.

    Every value is escaped, and a name that was not passed raises UndefinedError. Two filters beside those of Jinja:
    `formatted` is the built-in `format` (`{{ 4000|formatted(",") }}`), `in_japan` moves an instant to Japanese time.
    """
    found = Environment(
        loader=ChoiceLoader([PackageLoader(package), PackageLoader("kazashi.web")]), autoescape=True,
        undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True,
    )  # fmt: skip
    found.filters |= {"formatted": format, "in_japan": _in_japan}
    return found


def _in_japan(instant: datetime) -> datetime:
    return instant.astimezone(JST)
