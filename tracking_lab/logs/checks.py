"""What an import tells its reviewer: rows that cannot be read and their lines, columns that hold something else than
the mapping says, suspect clocks. Nothing here shows a handle."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import duckdb
import numpy as np

from kazashi.resident_registry.number import IndividualNumber
from kazashi.tracking_lab.engine import literal, quoted
from kazashi.tracking_lab.logs import moments
from kazashi.tracking_lab.logs.handle_forms import detect
from kazashi.tracking_lab.logs.imported import Imported
from kazashi.tracking_lab.logs.log_file import FileKind, LogFile
from kazashi.tracking_lab.logs.mapping import HandleForm, LogMapping, MomentColumn
from kazashi.tracking_lab.logs.moments import Zone, zone_of
from kazashi.tracking_lab.logs.scan import Forms, RecordStatus
from kazashi.tracking_lab.logs.unusable import LogsUnusable, LogsUnusableReason
from kazashi.tracking_lab.plan import DAY

SAMPLE, LOOKS_LIKE = 10_000, 0.5
"""How many distinct values of a column are checked, and the share of them that must look like individual numbers for
the column to be refused. Of random twelve-digit numbers, one in eleven has a correct check digit."""

_NOTED, _NOTED_VALUES, _NOTED_OF_TWELVE = 0.02, 10, 1 / 3
"""A column with fewer is noted from this share of the values and this number of them, if they are also more than this
share of the texts of twelve digits: other numbers of twelve digits are not taken for individual numbers."""

_TWELVE_DIGITS = re.compile("[0-9]{12}")

LISTED = 10
"""How many lines of each kind are listed."""

_BACKWARDS = 3_600
"""A clock that jumps back by more than this many seconds within a file is reported."""

_PLAUSIBLE = (946_684_800, 4_133_980_800)
"""The years 2000 to 2100, in seconds since 1970."""

_APART = 30 * DAY
"""A service whose times are further than this from those of all others is reported."""

_NEVER = np.iinfo(np.int64).min

_HEAVY, _LEAST_USES, _LEAST_HANDLES = 0.01, 1_000, 500
"""A handle with more than this share of the uses is reported, if there are at least this number of uses and handles."""

_MANY_SERVICES, _TIMES_THE_HANDLES = 100, 10
"""More services than this, and more than this multiple of the handles, are taken for a swapped column."""

_LISTED = {
    RecordStatus.BROKEN: ("broken line", "broken lines"),
    RecordStatus.NO_TIME: ("time that cannot be read", "times that cannot be read"),
    RecordStatus.NO_SERVICE: ("row without a service", "rows without a service"),
    RecordStatus.UNREADABLE_HANDLE: ("handle that cannot be read", "handles that cannot be read"),
}


def check_expressions(connection: duckdb.DuckDBPyConnection, mapping: LogMapping) -> None:
    """Raise LogsUnusable if DuckDB does not understand the mapping's pattern, form of the time or zone."""
    moment, pattern = mapping.moments, mapping.handles.pattern
    if pattern:
        try:
            connection.execute(f"SELECT regexp_extract('', {literal(pattern)}, ['handle'])")
        except duckdb.Error as error:
            raise LogsUnusable(
                LogsUnusableReason.WRONG_HANDLE,
                f"`pattern` of `handle` is {pattern!r}, which is not a regular expression (RE2) with a group for the "
                f"handle: {_after_colon(error)}",
            ) from error
    times = moments.columns(moment, "''")
    try:
        connection.execute(f"SELECT {times.parts} FROM (SELECT 0 AS shape)")
    except duckdb.Error as error:
        raise LogsUnusable(
            LogsUnusableReason.WRONG_MOMENT,
            f"`form` of `moment` is {moment.form!r}, which is not a strptime format: {_after_colon(error)}",
        ) from error
    zone_of(moment.zone, 0, 0)


def _after_colon(error: duckdb.Error) -> str:
    """DuckDB's reason without its kind."""
    return str(error).splitlines()[0].partition(": ")[2].removeprefix("Failed to parse format specifier ")


@dataclass(frozen=True, slots=True)
class FileSurvey:
    """The rows of one file: all of them, those whose time names its zone and those whose time does not, and those that
    cannot be read."""

    rows: int
    zoned: int
    unzoned: int
    unreadable: int


@dataclass(frozen=True, slots=True)
class Survey:
    """All rows by status, the first and last local time of the usable ones, each file's rows, and the places of rows
    that cannot be read."""

    counts: Counter[RecordStatus]
    first: int
    last: int
    files: tuple[FileSurvey, ...]
    places: tuple[str, ...]

    @property
    def rows(self) -> int:
        """The number of all rows."""
        return self.counts.total()

    @property
    def unreadable(self) -> int:
        """The number of rows that are broken, or whose time or handle cannot be read."""
        return sum(one.unreadable for one in self.files)

    def of_file(self, number: int) -> FileSurvey:
        """The rows of one file."""
        return self.files[number]


_UNREADABLE = (RecordStatus.BROKEN, RecordStatus.NO_TIME, RecordStatus.UNREADABLE_HANDLE)


def survey(connection: duckdb.DuckDBPyConnection, files: Sequence[LogFile]) -> Survey:
    """Count the rows of the view `rows`, and find the lines of those that cannot be read."""
    rows = connection.execute("""
        SELECT file, status, count(*), count(*) FILTER (local IS NOT NULL AND "offset" IS NOT NULL),
               count(*) FILTER (local IS NOT NULL AND "offset" IS NULL), min(local), max(local)
        FROM rows GROUP BY file, status ORDER BY file, status
    """).fetchall()
    counts: Counter[RecordStatus] = Counter()
    surveys, places = [], dict.fromkeys(_LISTED, "")
    found: dict[RecordStatus, list[str]] = {status: [] for status in _LISTED}
    for number, file in enumerate(files):
        rejected = _rejected(connection, file)
        own = [row for row in rows if row[0] == number]
        counted = Counter({RecordStatus(row[1]): int(row[2]) for row in own})
        counted[RecordStatus.BROKEN] += len(rejected) + len(file.lines.dropped)
        for status, listed in found.items():
            if counted[status] and len(listed) < LISTED:
                listed += _places(connection, file, number, status, rejected)
        counts += counted
        surveys.append(FileSurvey(
            counted.total(), sum(row[3] for row in own), sum(row[4] for row in own),
            sum(counted[status] for status in _UNREADABLE),
        ))  # fmt: skip
    for status, listed in found.items():
        if counts[status]:
            one, several = _LISTED[status]
            more = counts[status] - len(listed[:LISTED])
            places[status] = (
                f"{counts[status]:,} {one if counts[status] == 1 else several}: {', '.join(listed[:LISTED])}"
                + (f" and {more:,} more" if more else "")
            )
    used = [row for row in rows if row[1] == RecordStatus.USE]
    return Survey(
        counts, min((row[5] for row in used), default=0), max((row[6] for row in used), default=0), tuple(surveys),
        tuple(place for place in places.values() if place),
    )  # fmt: skip


def _rejected(connection: duckdb.DuckDBPyConnection, file: LogFile) -> list[int]:
    """The lines that DuckDB rejected, sorted."""
    if not file.rejects:
        return []
    rows = connection.execute(f"SELECT DISTINCT line FROM {file.rejects} ORDER BY 1").fetchall()
    return [int(row[0]) for row in rows]


def _places(
    connection: duckdb.DuckDBPyConnection, file: LogFile, number: int, status: RecordStatus, rejected: list[int]
) -> Iterator[str]:
    """The places of the first rows of a status in a file."""
    records = [int(row[0]) for row in connection.execute(
        f"SELECT record FROM rows WHERE file = {number} AND status = {status} ORDER BY record LIMIT {LISTED}"
    ).fetchall()]  # fmt: skip
    if file.kind is FileKind.PARQUET:
        yield from (f"{file.path.name} row {record + 1}" for record in records)
        return
    lines = file.lines.of_records(records, rejected)
    if status is RecordStatus.BROKEN:
        lines += [*map(file.lines.original, rejected), *file.lines.dropped]
    yield from (f"{file.path.name}:{line}" for line in sorted(lines)[:LISTED])


def individual_numbers(
    connection: duckdb.DuckDBPyConnection, files: Sequence[LogFile], directory: Path
) -> Iterator[str]:  # fmt: skip
    """Notes about columns with individual numbers among other values, whether or not the mapping names them. Raises
    LogsUnusable if a column looks like individual numbers as a whole."""
    for number, file in enumerate(files):
        rows = f"read_parquet({literal(str(directory / f'rows-{number}.parquet'))})"
        for place, name in enumerate(file.columns, 1):
            query = f"SELECT DISTINCT sample{place} FROM {rows} WHERE sample{place} IS NOT NULL LIMIT {SAMPLE}"
            values = [row[0] for row in connection.execute(query).fetchall()]
            found = sum(map(looks_like_an_individual_number, values))
            if values and found >= LOOKS_LIKE * len(values):
                raise LogsUnusable(
                    LogsUnusableReason.INDIVIDUAL_NUMBERS,
                    f"the column {name!r} of {file.path.name} looks like individual numbers, which do not belong in "
                    "logs; remove it, or pass --individual-numbers if they are made up",
                )
            twelve = sum(bool(_TWELVE_DIGITS.fullmatch(_digits(value))) for value in values)
            if found >= max(_NOTED_VALUES, _NOTED * len(values)) and found > _NOTED_OF_TWELVE * twelve:
                yield (f"the column {name!r} of {file.path.name} has what looks like individual numbers among other "
                       f"values ({found:,} of {len(values):,} distinct values that were checked); they do not belong "
                       "in logs, so remove them before you pass this on")  # fmt: skip


def looks_like_an_individual_number(text: str) -> bool:
    """Whether a text is twelve digits with a correct check digit; spaces, hyphens and full-width digits are allowed."""
    try:
        return bool(IndividualNumber(_digits(text)))
    except ValueError:
        return False


def _digits(text: str) -> str:
    return "".join(letter for letter in unicodedata.normalize("NFKC", text) if letter not in " -‐－　")


def no_usable_rows(
    connection: duckdb.DuckDBPyConnection, files: Sequence[LogFile], mapping: LogMapping, survey: Survey
) -> LogsUnusable:
    """The error that no row is usable, with the columns that look like the ones that are wanted."""
    words = [f"none of the {survey.rows:,} rows has a readable time, a service and a handle", *survey.places]
    if absent := survey.counts[RecordStatus.NO_HANDLE]:
        words.append(f"{absent:,} {'row' if absent == 1 else 'rows'} without a handle")
    moment = mapping.moments.column
    if survey.counts[RecordStatus.NO_TIME] > survey.rows // 2:
        words += [
            f"the column {name!r} has times: are the columns swapped?" for name in files[0].columns
            if name != moment and _are_mostly(connection, files[0], MomentColumn(name))
        ]  # fmt: skip
        if _are_mostly(connection, files[0], MomentColumn(moment, moments.UNIX)):
            words.append("the times are numbers: write moment: {column: ..., form: epoch} or form: excel")
    return LogsUnusable(LogsUnusableReason.NO_USABLE_ROWS, "; ".join(words))


def _are_mostly(connection: duckdb.DuckDBPyConnection, file: LogFile, moment: MomentColumn) -> bool:
    """Whether 90 % of the first values of a column can be read as times of a form."""
    times = moments.columns(moment, "text")
    row = connection.execute(f"""
        SELECT count({times.local}) >= 0.9 * count(*) AND count(*) > 0 FROM (SELECT *, {times.parts} AS parts FROM (
            SELECT *, {times.shape} AS shape FROM (
                SELECT {quoted(moment.column)} AS text FROM ({file.relation}) LIMIT 1000)))
    """).fetchone()
    return row is not None and bool(row[0])


def clock_changes(connection: duckdb.DuckDBPyConnection, zone: Zone) -> tuple[int, int]:
    """How many times that name no zone do not exist in the zone, and how many exist twice."""
    if not zone.skipped and not zone.repeated:
        return 0, 0
    row = connection.execute(f"""
        SELECT count(*) FILTER ({zone.within("local", zone.skipped)}),
               count(*) FILTER ({zone.within("local", zone.repeated)})
        FROM rows WHERE status = {RecordStatus.USE} AND "offset" IS NULL
    """).fetchone() or (0, 0)
    return int(row[0]), int(row[1])


def notes(
    connection: duckdb.DuckDBPyConnection, imported: Imported, mapping: LogMapping, forms: Forms,
    files: Sequence[LogFile], survey: Survey, zone: Zone,
) -> list[str]:  # fmt: skip
    """Everything that the reviewer should know before they believe a result."""
    return [
        *_about_files(imported, files), *survey.places, *_about_handles(connection, imported, mapping, forms),
        *_clocks(connection, zone), *_silent(connection, mapping),
    ]  # fmt: skip


def _about_files(imported: Imported, files: Sequence[LogFile]) -> Iterator[str]:
    unreadable = sum(file.unreadable for file in imported.files)
    if imported.partial:
        yield f"{unreadable / imported.rows:.1%} of the rows could not be read: every result is partial"
    for file, read in zip(files, imported.files, strict=True):
        if file.encoding not in ("", "UTF-8"):
            yield f"{file.path.name} is not in UTF-8; it was read as {file.encoding}"
        if read.zoned and read.unzoned:
            yield (f"in {file.path.name}, {read.zoned:,} times name their zone and {read.unzoned:,} do not; those were "
                   f"read as times of {imported.zone}")  # fmt: skip
    earlier = "exist twice, and were read as the earlier"
    for number, words in ((imported.skipped, "do not exist"), (imported.repeated, earlier)):
        if number:
            yield f"{number:,} times {words}, because the clocks of {imported.zone} were changed"


def _about_handles(
    connection: duckdb.DuckDBPyConnection, imported: Imported, mapping: LogMapping, forms: Forms
) -> Iterator[str]:  # fmt: skip
    if imported.detected:
        yield f"the mapping does not name the form of the handles; they were read as {', '.join(imported.forms)}"
    if imported.spellings != imported.handles:
        yield f"{imported.spellings:,} spellings -> {imported.handles:,} handles"
    if imported.decimal or imported.hexadecimal:
        yield (f"of the serial numbers of digits only, {imported.hexadecimal:,} spellings agree with the others as "
               f"hexadecimal and {imported.decimal:,} as decimal")  # fmt: skip
    if any(form.form is HandleForm.SERIAL and form.authority is None for form in forms.all):
        yield ("the mapping does not name the authority of the serial numbers; if one service has signature "
               "certificates and another authentication certificates, equal numbers are different people")  # fmt: skip
    if imported.handles == 1:
        yield "all uses have one handle, so that nothing can be linked; is it the right column?"
    row = connection.execute("SELECT max(n), arg_max(number, n), sum(n) FROM numbered_handle").fetchone()
    assert row is not None
    most, number, total = (int(value) for value in row)
    if most > _HEAVY * total and total >= _LEAST_USES and imported.handles >= _LEAST_HANDLES:
        yield (f"one handle (number {number} of the table of handles) has {most / total:.1%} of the rows; if it means "
               "that there is no certificate, name it in `missing`")  # fmt: skip
    if imported.services > 1 and imported.handles > 1 and not _any_is_shared(connection):
        yield ("no two services share a handle; before you take this for a result, check that all of them write the "
               "same identifier, and the `form` and `authority` of each")  # fmt: skip
    names = [row[0] for row in connection.execute("SELECT service FROM numbered_service LIMIT 1000").fetchall()]
    many = imported.services > _MANY_SERVICES and imported.services > _TIMES_THE_HANDLES * imported.handles
    if mapping.service and (many or detect(names) in (HandleForm.SERIAL, HandleForm.UUID, HandleForm.HASH)):
        raise LogsUnusable(
            LogsUnusableReason.SWAPPED_COLUMNS,
            f"there are {imported.services} services and {imported.handles} handles, and the services look like "
            f"handles; are the columns {mapping.service!r} and {mapping.handles.column!r} swapped?",
        )


def _any_is_shared(connection: duckdb.DuckDBPyConnection) -> bool:
    query = "SELECT 1 FROM once GROUP BY shown HAVING min(service) <> max(service) LIMIT 1"
    return connection.execute(query).fetchone() is not None


def _clocks(connection: duckdb.DuckDBPyConnection, zone: Zone) -> Iterator[str]:
    """Notes about suspect clocks: uses are in an implausible year, a service's clock jumps back in an otherwise
    ordered file, or its times are far from those of all other services."""
    backwards = _jumps(connection, zone)
    names = dict(connection.execute("SELECT number, service FROM numbered_service").fetchall())
    row = connection.execute(
        f"SELECT count(*) FROM once WHERE second < {_PLAUSIBLE[0]} OR second >= {_PLAUSIBLE[1]}"
    ).fetchone()
    if row is not None and row[0]:
        yield f"{row[0]:,} uses are before the year 2000 or after 2100; check the form of the times, and the clocks"
    for service, times in sorted(backwards.items()):
        yield f"the clock of {service} jumped back by more than an hour {times} times"
    spans = connection.execute(
        "SELECT service, min(second), max(second) FROM once GROUP BY service ORDER BY service"
    ).fetchall()
    starts, ends = sorted(row[1] for row in spans), sorted(row[2] for row in spans)
    for service, first, last in spans if len(spans) > 1 else ():
        next_start = starts[0] if starts[0] != first else starts[1]
        last_end = ends[-1] if ends[-1] != last else ends[-2]
        apart = next_start - last if last < next_start else first - last_end if first > last_end else 0
        if apart > _APART:
            yield (f"the times of {names[service]} do not overlap with those of any other service "
                   f"({apart // DAY:,} days between them); check its clock")  # fmt: skip


def _jumps(connection: duckdb.DuckDBPyConnection, zone: Zone) -> dict[str, int]:
    """How often each service's clock jumped back, for services whose clock otherwise runs on. Rows come in the order of
    the files; each file begins anew."""
    numbers: dict[tuple[int, str], int] = {}
    rows = connection.cursor().sql(f"""
        SELECT file, service, local - coalesce("offset", {zone.offset("local")}) AS second FROM rows
        WHERE status = {RecordStatus.USE}
    """)
    last, counted = np.empty(0, np.int64), np.zeros((2, 0), np.int64)
    for batch in rows.to_arrow_reader(1_000_000):
        file, second = (batch.column(place).to_numpy(zero_copy_only=False) for place in (0, 2))
        services = batch.column(1).dictionary_encode()
        names, files = services.dictionary.to_pylist(), np.unique(file).tolist()
        known = np.array([[numbers.setdefault((one, name), len(numbers)) for name in names] for one in files])
        last = np.r_[last, np.full(len(numbers) - len(last), _NEVER)]
        counted = np.pad(counted, ((0, 0), (0, len(numbers) - counted.shape[1])))
        own = known[np.searchsorted(files, file), services.indices.to_numpy()]
        _count_jumps(own, second, last, counted)
    totals: dict[str, np.ndarray] = {}
    for (_, name), place in numbers.items():
        totals[name] = totals.get(name, 0) + counted[:, place]
    return {name: int(back) for name, (back, onward) in totals.items() if back and onward > 9 * back}


def _count_jumps(service: np.ndarray, second: np.ndarray, last: np.ndarray, counted: np.ndarray) -> None:
    """Count the steps back (first row of `counted`) and onward (second row) of each service; `last` holds each one's
    last time before, and is updated."""
    order = np.argsort(service, kind="stable")
    service, second = service[order], second[order]
    first = np.flatnonzero(np.r_[True, service[1:] != service[:-1]])
    former = np.r_[np.int64(0), second[:-1]]
    former[first] = last[service[first]]
    known = former != _NEVER
    step = np.where(known, second - np.where(known, former, 0), -1)
    counted[0] += np.bincount(service[known & (step < -_BACKWARDS)], minlength=len(last))
    counted[1] += np.bincount(service[known & (step >= 0)], minlength=len(last))
    ends = np.r_[first[1:], len(service)] - 1
    last[service[ends]] = second[ends]


def _silent(connection: duckdb.DuckDBPyConnection, mapping: LogMapping) -> Iterator[str]:
    """Notes about services of the mapping without a use."""
    known = {row[0] for row in connection.execute("SELECT service FROM numbered_service").fetchall()}
    yield from (f"the mapping names {name}, but no row does" for name in mapping.services if name not in known)
