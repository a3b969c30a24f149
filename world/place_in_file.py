"""Where a file is wrong, by the exception of a parser, without the parser's own words."""

from __future__ import annotations

import re

_AT = re.compile(r"line (\d+),? (?:and )?column (\d+)")


def place_of(error: Exception) -> str:
    """Return where a parser stopped, such as " (line 3, column 5)" or " (byte 17)", or an empty string.

    It knows the exceptions of json, tomllib, PyYAML, and of decoding UTF-8.
    """
    if isinstance(error, UnicodeDecodeError):
        return f" (byte {error.start})"
    mark = getattr(error, "problem_mark", None)
    if mark is not None:
        return f" (line {mark.line + 1}, column {mark.column + 1})"
    found = _AT.search(str(error))
    return f" (line {found[1]}, column {found[2]})" if found else ""
