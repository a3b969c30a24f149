"""The language of a page that exists in Japanese and English: the user's choice, or else the browser's."""

from __future__ import annotations

from starlette.requests import Request

LANGUAGES = ("ja", "en")
"""The languages, the default first."""

PARAMETER = "lang"
"""The query parameter and the cookie with the user's choice."""


def language_of(request: Request) -> str:
    """Return `ja` or `en`: by the query parameter `lang`, else by the cookie of that name, else the first of the two
    that the header Accept-Language prefers (RFC 9110, 12.5.4), else `ja`."""
    for chosen in (request.query_params.get(PARAMETER), request.cookies.get(PARAMETER)):
        if chosen in LANGUAGES:
            return chosen
    accepted = sorted(map(_weighed, request.headers.get("accept-language", "").split(",")), reverse=True, key=_weight)
    named = (tag.partition("-")[0].lower() for tag, weight in accepted if weight > 0)
    return next((tag for tag in named if tag in LANGUAGES), LANGUAGES[0])


def _weighed(part: str) -> tuple[str, float]:
    tag, _, parameter = part.strip().partition(";")
    try:
        return tag.strip(), float(parameter.strip().removeprefix("q=") or 1)
    except ValueError:
        return tag.strip(), 0.0


def _weight(entry: tuple[str, float]) -> float:
    return entry[1]
