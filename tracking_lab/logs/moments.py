"""Times as programs write them, read by DuckDB: a row's local time, and its UTC offset if the text names one."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from kazashi.tracking_lab.engine import literal
from kazashi.tracking_lab.logs.mapping import JAPAN, MomentColumn
from kazashi.tracking_lab.logs.unusable import LogsUnusable, LogsUnusableReason

ISO, UNIX, EXCEL = "iso", "epoch", "excel"

_ISO = r"\d{4}[-/]\d{1,2}[-/]\d{1,2}(?:[T ]+\d{1,2}:\d{2}(?::\d{2})?)?"
_ACCESS_LOG = r"\d{1,2}/[A-Za-z]{3}/\d{4}:\d{2}:\d{2}:\d{2}"
_HTTP = r"\d{1,2} [A-Za-z]{3} \d{4} \d{2}:\d{2}:\d{2}"
_ZONE = r"(?i:UTC|GMT|JST|Z)|[+-]\d{2}(?::?\d{2}(?::?\d{2})?)?"
_WRITTEN = (
    rf"^\[?(?:({_ISO})|({_ACCESS_LOG})|(?:[A-Za-z]{{3,9}}, )?({_HTTP}))(?:[.,]\d+)? ?({_ZONE})?(?:\[[\w/+-]+\])?\]?$"
)
"""Dates of ISO 8601, RFC 3339, PostgreSQL and Excel; of access logs; and of HTTP (RFC 9110, 5.6.7). A name of a region
may follow the offset, as Java writes it."""

_NAMED_ZONES = {"UTC": 0, "GMT": 0, "Z": 0, "JST": 9 * 3600}
"""The zones that are read by name, in seconds. Other abbreviations mean different zones in different countries."""

_NUMBER = r"\d+(\.\d*)?([eE]\+?\d+)?"
_EXCEL_1970 = 25_569
"""The day number of 1970-01-01 in Excel."""

_OFFSET = re.compile(r"([+-])(\d{2}):?(\d{2})?")
_FARTHEST = 18 * 3600
_EARLIEST, _LATEST = -2_208_988_800, 7_258_118_400
"""1900 and 2200: a mistyped year does not make the search for changes of a zone long."""


_YEAR_1, _YEAR_10000 = -62_135_596_800, 253_402_300_800


@dataclass(frozen=True, slots=True)
class MomentColumns:
    """SQL expressions for a column of times (trimmed). `shape` and `parts` are evaluated first and second under these
    names; then `local`, the local time in seconds since 1970 (DOUBLE), null if it cannot be read; and `offset`, its UTC
    offset in seconds, null if the text names no zone. A time that DuckDB has already converted to UTC has the offset 0.
    """

    shape: str
    parts: str
    local: str
    offset: str


def whole_seconds(seconds: str) -> str:
    """The SQL expression of seconds since 1970 (DOUBLE) as BIGINT; null outside the years 1 to 9999."""
    return f"CASE WHEN {seconds} >= {_YEAR_1} AND {seconds} < {_YEAR_10000} THEN CAST({seconds} AS BIGINT) END"


def columns(moment: MomentColumn, text: str) -> MomentColumns:
    """The expressions for a form. Raises LogsUnusable if it is not known."""
    number = f"CASE WHEN regexp_full_match({text}, '{_NUMBER}') THEN TRY_CAST({text} AS DOUBLE) END"
    if moment.form == UNIX:
        scaled = ("CASE WHEN parts >= 1e17 THEN parts / 1e9 WHEN parts >= 1e14 THEN parts / 1e6 "
                  "WHEN parts >= 1e11 THEN parts / 1e3 ELSE parts END")  # fmt: skip
        return MomentColumns("0", number, f"floor({scaled})", "0")
    if moment.form == EXCEL:
        local = f"round((parts - {_EXCEL_1970}) * 86400)"
        return MomentColumns("0", number, local, "NULL::INTEGER")
    if moment.form == ISO:
        return _written(text)
    if "%" not in moment.form:
        raise LogsUnusable(
            LogsUnusableReason.WRONG_MOMENT,
            f"the form of the time is {moment.form!r}; use {ISO}, {UNIX}, {EXCEL} or a strptime format",
        )
    zoned = re.search("%[zZ]", moment.form) is not None
    form = literal(moment.form.replace("%Z", "%z"))
    if zoned:  # DuckDB's %z reads offsets only, and returns UTC
        text = f"regexp_replace(regexp_replace({text}, '\\b(UTC|GMT|Z)\\b', '+00:00'), '\\bJST\\b', '+09:00')"
    return MomentColumns("0", f"epoch(try_strptime({text}, {form}))", "floor(parts)", "0" if zoned else "NULL::INTEGER")


def _written(text: str) -> MomentColumns:
    """The expressions for a written date. Regular expressions with groups are slow, so that they are kept for texts
    that are not in one of the most frequent shapes: 2026-05-01T09:00:00 alone (1), or with Z or an offset of hours and
    minutes (2), which DuckDB converts to UTC."""
    date = "____-__-_____:__:__"
    shape = (
        f"CASE WHEN length({text}) = 25 AND {text} LIKE '{date}___:__' AND contains('+-', {text}[20]) THEN 2 "
        f"WHEN length({text}) = 20 AND {text} LIKE '{date}Z' THEN 2 "
        f"WHEN length({text}) = 19 AND {text} LIKE '{date}' THEN 1 ELSE 0 END"
    )
    parts = f"CASE WHEN shape = 0 THEN regexp_extract({text}, '{_WRITTEN}', ['iso', 'log', 'http', 'zone']) END"
    digits = "replace(parts.zone[2:], ':', '')"
    names = " ".join(f"WHEN '{name}' THEN {seconds}" for name, seconds in _NAMED_ZONES.items())
    offset = (
        "CASE WHEN parts.zone = '' THEN NULL WHEN contains('+-', parts.zone[1]) THEN "
        f"(CASE parts.zone[1] WHEN '-' THEN -1 ELSE 1 END) * (TRY_CAST({digits}[1:2] AS INTEGER) * 3600 + "
        f"coalesce(TRY_CAST({digits}[3:4] AS INTEGER), 0) * 60 + coalesce(TRY_CAST({digits}[5:6] AS INTEGER), 0)) "
        f"ELSE CASE upper(parts.zone) {names} END END"
    )
    local = (
        f"CASE WHEN abs({offset}) > {_FARTHEST} THEN NULL "
        "WHEN parts.iso <> '' THEN epoch(TRY_CAST(parts.iso AS TIMESTAMP)) "
        "WHEN parts.log <> '' THEN epoch(try_strptime(parts.log, '%d/%b/%Y:%H:%M:%S')) "
        "ELSE epoch(try_strptime(parts.http, '%d %b %Y %H:%M:%S')) END"
    )
    by_shape = (
        f"CASE shape WHEN 2 THEN epoch(TRY_CAST({text} AS TIMESTAMPTZ)) "
        f"WHEN 1 THEN epoch(TRY_CAST({text} AS TIMESTAMP)) ELSE {local} END"
    )
    return MomentColumns(shape, parts, by_shape, f"CASE shape WHEN 2 THEN 0 WHEN 1 THEN NULL ELSE {offset} END")


@dataclass(frozen=True, slots=True)
class Zone:
    """The zone of times that name none. `spans` are its UTC offsets in seconds by local time: from which second since
    1970 (as a local clock shows it) each is taken. `skipped` and `repeated` are the local times, from and until, that
    do not exist and that exist twice."""

    name: str
    spans: tuple[tuple[int, int], ...]
    skipped: tuple[tuple[int, int], ...] = ()
    repeated: tuple[tuple[int, int], ...] = ()

    def offset(self, local: str) -> str:
        """The SQL expression of the offset at a local time."""
        first, *later = self.spans
        cases = "".join(f" WHEN {local} >= {begin} THEN {offset}" for begin, offset in reversed(later))
        return f"CASE{cases} ELSE {first[1]} END" if cases else str(first[1])

    @staticmethod
    def within(local: str, spans: tuple[tuple[int, int], ...]) -> str:
        """The SQL condition that a local time is in one of the spans."""
        return " OR ".join(f"{local} >= {begin} AND {local} < {end}" for begin, end in spans) or "false"


def zone_of(name: str, first: int, last: int) -> Zone:
    """The zone for local times from `first` to `last`, in seconds since 1970. Raises LogsUnusable.

    A time that exists twice is read as the earlier one, and one that does not exist by the offset before the change
    (PEP 495, fold 0).
    """
    match = _OFFSET.fullmatch(name)
    if match is not None and int(match[2]) * 3600 <= _FARTHEST:
        seconds = int(match[2]) * 3600 + int(match[3] or 0) * 60
        return Zone(name, ((first, -seconds if match[1] == "-" else seconds),))
    try:
        region = ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise LogsUnusable(
            LogsUnusableReason.WRONG_ZONE, f"the zone {name!r} is wrong; write it as {JAPAN!r} or as 'Europe/Vienna'"
        ) from error
    begin, end = max(first, _EARLIEST) - 2 * _FARTHEST, min(last, _LATEST) + 2 * _FARTHEST
    before = _offset(region, begin)
    spans = [(begin, before)]
    skipped: list[tuple[int, int]] = []
    repeated: list[tuple[int, int]] = []
    for second, after in _changes(region, begin, end):
        # With fold 0, the new offset begins where the old one's clock shows a time that the new one's has as well.
        spans.append((second + max(before, after), after))
        if after != before:
            (skipped if after > before else repeated).append((second + min(before, after), second + max(before, after)))
        before = after
    return Zone(name, tuple(spans), tuple(skipped), tuple(repeated))


def _offset(region: ZoneInfo, second: int) -> int:
    shown = (datetime.fromtimestamp(0, UTC) + timedelta(seconds=second)).astimezone(region)
    return int((shown.utcoffset() or timedelta()).total_seconds())


def _changes(region: ZoneInfo, first: int, last: int) -> list[tuple[int, int]]:
    """The seconds since 1970 at which a region's offset changes, and the new offsets."""
    changes, day = [], 86_400
    second, offset = first, _offset(region, first)
    while second < last:
        later = min(second + day, last)
        if _offset(region, later) != offset:
            low, high = second, later
            while high - low > 1:
                middle = (low + high) // 2
                low, high = (middle, high) if _offset(region, middle) == offset else (low, middle)
            offset = _offset(region, high)
            changes.append((high, offset))
        second = later
    return changes
