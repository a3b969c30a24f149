"""The first pass over a file of logs: DuckDB reads it once and writes one row of values for each record.

The rows go to a temporary Parquet file, in the order of the records, with these columns: `status`, `local` (seconds
since 1970 by the local clock), `offset` (seconds, null if the text names no zone), `service`, `key` (handle_forms.py),
`spelling` (a digest of the handle's text), `long_decimal` (whether it is a serial number of more than 16 digits),
`person`, `row_id`, `network`, `agent`, the attributes, and `sample1` ... of every column.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum

from kazashi.tracking_lab.accounts import ATTRIBUTES
from kazashi.tracking_lab.engine import literal, quoted
from kazashi.tracking_lab.logs import moments
from kazashi.tracking_lab.logs.handle_forms import OPEN, key_columns, trimmed
from kazashi.tracking_lab.logs.log_file import LogFile
from kazashi.tracking_lab.logs.mapping import HandleColumn, HandleForm, LogMapping

SAMPLED_ROWS = 200_000
"""How many values of each column are kept, about, to look for individual numbers in them."""

AUTHORITY, PLACE = "\x02", "\x03"
"""What stands in a key before its authority, and before its service if it has two readings."""


class RecordStatus(IntEnum):
    """Whether a record is a use of a handle, or why it is not."""

    USE = 0
    BROKEN = 1
    """It has too many or too few fields, a quote in the wrong place, or is not in the log's format."""
    NO_TIME = 2
    NO_SERVICE = 3
    NO_HANDLE = 4
    UNREADABLE_HANDLE = 5


@dataclass(frozen=True, slots=True)
class Forms:
    """The forms of the handles: of a service that the mapping names, or `other` of all other services."""

    other: HandleColumn
    own: dict[str, HandleColumn]

    @property
    def all(self) -> list[HandleColumn]:
        """Each form once."""
        return list(dict.fromkeys([self.other, *self.own.values()]))

    def cases(self, values: Iterable[tuple[HandleColumn, str]]) -> str:
        """An SQL expression that chooses between the values (SQL) of each form by the column `service`."""
        value = dict(values)
        cases = "".join(f" WHEN {literal(name)} THEN {value[form]}" for name, form in self.own.items()
                        if value[form] != value[self.other])  # fmt: skip
        return f"CASE service{cases} ELSE {value[self.other]} END" if cases else value[self.other]

    @property
    def serial(self) -> str:
        """The SQL condition that the handle is a serial number."""
        return self.cases((form, "true" if form.form is HandleForm.SERIAL else "false") for form in self.all)


def scan(file: LogFile, mapping: LogMapping, forms: Forms) -> str:
    """The SQL that reads a file."""
    moment, handle = mapping.moments, mapping.handles
    service = literal(mapping.constant) if mapping.constant else f"nullif({trimmed(quoted(mapping.service))}, '')"
    text = trimmed(quoted(handle.column))
    if handle.pattern:
        text = trimmed(f"regexp_extract({text}, {literal(handle.pattern)}, 1)")
    optional = {"person": mapping.person, "row_id": mapping.row, "address": mapping.address, "agent": mapping.agent}
    optional |= {name: mapping.attributes.get(name, "") for name in ATTRIBUTES}
    plain = {name: f"nullif({trimmed(quoted(column))}, '')" if column else "NULL::VARCHAR"
             for name, column in optional.items()}  # fmt: skip
    every = max(1, file.records // SAMPLED_ROWS)
    samples = {
        f"sample{place}": f"CASE WHEN hash({quoted(name)}) % {every} = 0 THEN {quoted(name)} END" if every > 1
        else quoted(name) for place, name in enumerate(file.columns, 1)
    }  # fmt: skip
    columns = [(form, key_columns("handle", form.form or HandleForm.OPAQUE, form.digits)) for form in forms.all]
    part, numeral, key = (forms.cases((form, one[place]) for form, one in columns) for place in range(3))
    authority = forms.cases(
        (form, literal(f"{AUTHORITY}{form.authority.value}" if form.authority else "")) for form in forms.all
    )
    times = moments.columns(moment, "written")
    words = {word.strip().lower() for word in (*handle.missing, "")}
    missing = (
        f"handle IS NULL OR CASE WHEN length(handle) <= {max(map(len, words))} "
        f"THEN lower(handle) IN ({', '.join(map(literal, words))}) ELSE false END"
    )
    tagged = "key" if authority == "''" else f"concat(key, {authority})"
    stages = [
        {"written": trimmed(quoted(moment.column)), "service": service, "handle": text, **plain, **samples},
        {"shape": times.shape, "part": part, "missing": missing},
        {"parts": times.parts, "numeral": numeral},
        {"second": times.local, '"offset"': times.offset, "key": key},
        {"local": moments.whole_seconds("second")},
    ]
    rows = f"({file.relation})"
    for number, stage in enumerate(stages):
        before = "*" if number else "whole"
        rows = f"(SELECT {before}, {', '.join(f'{value} AS {name}' for name, value in stage.items())} FROM {rows})"
    kept = {name: name for name in (*plain, *samples) if name != "address"} | {"network": _network("address")}
    return f"""
        SELECT CASE WHEN NOT whole THEN {RecordStatus.BROKEN} WHEN local IS NULL THEN {RecordStatus.NO_TIME}
                    WHEN service IS NULL THEN {RecordStatus.NO_SERVICE} WHEN missing THEN {RecordStatus.NO_HANDLE}
                    WHEN key IS NULL THEN {RecordStatus.UNREADABLE_HANDLE}
                    ELSE {RecordStatus.USE} END::UTINYINT AS status,
               local, "offset"::INTEGER AS "offset", service,
               CASE WHEN key IS NULL OR missing THEN NULL WHEN key[1] = '{OPEN}'
                    THEN concat({tagged}, '{PLACE}', service) ELSE {tagged} END AS key,
               CASE WHEN NOT missing THEN hash(handle) END AS spelling,
               CASE WHEN length(part) > 16 THEN part[1] <> '0' AND TRY_CAST(part AS UBIGINT) IS NOT NULL
                    ELSE false END AS long_decimal,
               {", ".join(f"{value} AS {name}" for name, value in kept.items())}
        FROM {rows}
    """


def _network(address: str) -> str:
    """The SQL expression of the prefix of an address: the first 24 bits of IPv4 (also where it is mapped into IPv6),
    the first 48 of IPv6."""
    octet = "[0-9]{1,3}"
    dotted = rf"^(?:::ffff:)?({octet}\.{octet}\.{octet})\.{octet}$"
    four = f"nullif(regexp_extract({address}, '{dotted}', 1), '')"
    front = f"string_split(split_part(lower({address}), '::', 1), ':')"
    three = ", ':', ".join(f"ltrim(coalesce({front}[{place}], ''), '0')" for place in (1, 2, 3))
    six = f"CASE WHEN regexp_full_match({address}, '[0-9A-Fa-f:]*:[0-9A-Fa-f:.]*') THEN concat({three}) END"
    return f"CASE WHEN {address} IS NOT NULL THEN coalesce({four}, {six}) END"
