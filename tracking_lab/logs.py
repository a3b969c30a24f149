"""Your own logs: CSV or Parquet files, and a mapping that says what each column means.

Logs are imported into the same tables as a generated population, so the same linkers work on them. Files with a column
that looks like individual numbers are refused before anything is written.
"""

from __future__ import annotations

import json
import shutil
import unicodedata
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields
from enum import Enum
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import yaml

from kazashi.resident_registry.number import IndividualNumber
from kazashi.tracking_lab.accounts import ATTRIBUTES
from kazashi.tracking_lab.engine import literal, quoted
from kazashi.tracking_lab.laboratory import IMPORTED, Laboratory, PopulationUnusable, PopulationUnusableReason
from kazashi.tracking_lab.plan import DAY, EPOCH
from kazashi.world.atomic_file import write_whole
from kazashi.world.reasoned import ReasonedError

SAMPLE, LOOKS_LIKE = 10_000, 0.5
"""How many distinct values of a column are checked, and the share of them that must look like individual numbers for
the column to be refused. Of random twelve-digit numbers, one in eleven has a correct check digit."""

_JAPAN = "+09:00"
_BACKWARDS = 3_600
"""A clock that jumps back by more than this many seconds within a file is reported."""


class LogsUnusableReason(Enum):
    """Why logs or their mapping cannot be imported."""

    MAPPING_UNREADABLE = "mapping-unreadable"
    """The mapping is missing, is not YAML or JSON, or has missing or unknown fields."""
    SERVICE_OR_CONSTANT = "service-or-constant"
    """The mapping has both `service` and `constant`, or neither."""
    UNKNOWN_ATTRIBUTE = "unknown-attribute"
    WRONG_SERVICE = "wrong-service"
    """An entry of `services` is not a mapping, or its `clock` is not a number."""
    WRONG_ZONE = "wrong-zone"
    MISSING_FILE = "missing-file"
    MISSING_COLUMN = "missing-column"
    """The mapping names a column that the files do not have."""
    INDIVIDUAL_NUMBERS = "individual-numbers"
    """A column looks like individual numbers."""
    NO_ROWS = "no-rows"
    NO_USABLE_ROWS = "no-usable-rows"
    """No row has a readable time, a service and a handle."""
    UNREADABLE = "unreadable"
    """DuckDB cannot read a file."""


class LogsUnusable(ReasonedError[LogsUnusableReason]):
    """The files or the mapping cannot be used for `reason`; the message says what to change."""


@dataclass(frozen=True, slots=True)
class LogMapping:
    """What each column means.

    * `moment`: the column of the time. `form` is `iso` (2026-04-01T09:00:00+09:00), `epoch` (seconds), or a strptime
      format. `zone` is the UTC offset of times that name none.
    * `service`: the column of the service, or `constant`: the service's name if all rows belong to one service.
    * `handle`: the column of the identifier under which the service knows the user.
    * `person`: the column of the actual person, if the ground truth is known. Linkers never see it.
    * `row`: the column of a row's own id, if it has one; rows with the same id count once.
    * `attributes`: the columns of attributes that people gave, by name: family, given, born, sex, town, street.
    * `services`: what is known about services, by name: `kind`, `sector`, `asks`, and `clock`, the seconds to add to
      the service's times.
    """

    moment: str
    handle: str
    service: str = ""
    constant: str = ""
    form: str = "iso"
    zone: str = _JAPAN
    person: str = ""
    row: str = ""
    attributes: dict[str, str] = field(default_factory=dict)
    services: dict[str, dict[str, Any]] = field(default_factory=dict)

    @classmethod
    def read(cls, path: Path) -> LogMapping:
        """Read a mapping from a YAML or JSON file. Raises LogsUnusable."""
        try:
            given = yaml.safe_load(path.read_text(encoding="utf-8"))
        except (OSError, ValueError, yaml.YAMLError) as error:
            raise LogsUnusable(
                LogsUnusableReason.MAPPING_UNREADABLE, f"{path} cannot be read as a mapping: {error}"
            ) from error
        keys = [column.name for column in fields(cls)]
        if not isinstance(given, dict) or given.keys() - set(keys) or not {"moment", "handle"} <= given.keys():
            raise LogsUnusable(
                LogsUnusableReason.MAPPING_UNREADABLE,
                f"{path} must have `moment` and `handle`, and may have {', '.join(keys)}; it has "
                f"{', '.join(map(str, given)) if isinstance(given, dict) else 'no keys at all'}",
            )
        mapping = cls(**given)
        for name, value in (("attributes", mapping.attributes), ("services", mapping.services)):
            if not isinstance(value, dict):
                raise LogsUnusable(
                    LogsUnusableReason.MAPPING_UNREADABLE, f"`{name}` in {path} must be a mapping, not {value!r}"
                )
        if bool(mapping.service) == bool(mapping.constant):
            raise LogsUnusable(
                LogsUnusableReason.SERVICE_OR_CONSTANT, f"{path} must have either `service` or `constant`, not both"
            )
        if unknown := set(mapping.attributes) - set(ATTRIBUTES):
            raise LogsUnusable(
                LogsUnusableReason.UNKNOWN_ATTRIBUTE,
                f"{path} maps unknown attributes: {', '.join(sorted(unknown))}; use {', '.join(ATTRIBUTES)}",
            )
        for name, known in mapping.services.items():
            if not isinstance(known, dict) or not isinstance(known.get("clock", 0), int | float):
                raise LogsUnusable(
                    LogsUnusableReason.WRONG_SERVICE,
                    f"the entry of {name} in {path} is wrong; give kind, sector, asks, and clock in seconds",
                )
        return mapping

    @property
    def columns(self) -> list[str]:
        """Every column that the mapping names."""
        return [name for name in (self.moment, self.handle, self.service, self.person, self.row,
                                  *self.attributes.values()) if name]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Imported:
    """The result of an import: how many rows there were, how many were imported, how many were left out and why, and
    notes for the reviewer."""

    rows: int
    uses: int
    services: int
    handles: int
    persons: int
    left_out: dict[str, int]
    notes: list[str]


def import_logs(
    laboratory: Laboratory, files: Sequence[Path], mapping: LogMapping, *, individual_numbers: bool = False,
    memory: str = "4GB",
) -> Imported:  # fmt: skip
    """Import logs into a laboratory; they replace any that were imported before.

    `individual_numbers` accepts columns that look like individual numbers. `memory` is DuckDB's limit. Raises
    LogsUnusable, PopulationUnusable if the laboratory holds a generated population, and OSError if the disk is full; in
    each case nothing is imported.
    """
    directory = laboratory.directory
    if laboratory.begun:
        raise PopulationUnusable(
            PopulationUnusableReason.GENERATED,
            f"{directory} holds a generated population; import the logs under another name",
        )
    building = directory.with_name(f".{directory.name}.new")
    shutil.rmtree(building, ignore_errors=True)
    building.mkdir(parents=True)
    connection = duckdb.connect(config={"memory_limit": memory, "temp_directory": str(building / "spill")})
    try:
        imported = _imported(connection, building, files, mapping, individual_numbers)
    except duckdb.Error as error:
        if "No space left" in str(error):
            raise OSError(f"the disk is full; nothing was imported ({str(error).splitlines()[0]})") from error
        raise LogsUnusable(LogsUnusableReason.UNREADABLE, str(error).splitlines()[0]) from error
    finally:
        connection.close()
        shutil.rmtree(building / "spill", ignore_errors=True)
        if not (building / IMPORTED).exists():
            shutil.rmtree(building, ignore_errors=True)
    shutil.rmtree(directory, ignore_errors=True)
    building.replace(directory)
    return imported


def _imported(
    connection: duckdb.DuckDBPyConnection, directory: Path, files: Sequence[Path], mapping: LogMapping, allowed: bool
) -> Imported:  # fmt: skip
    _read(connection, files, mapping)
    if not allowed:
        _refuse_individual_numbers(connection)
    total, counts = _rows(connection, mapping)
    if not total:
        raise LogsUnusable(LogsUnusableReason.NO_ROWS, "the files have no rows")
    (first,) = connection.execute("SELECT min(second) FROM good").fetchone() or (None,)
    if first is None:
        raise LogsUnusable(
            LogsUnusableReason.NO_USABLE_ROWS,
            f"none of the {total} rows has a readable time, a service and a handle: {counts}",
        )
    _number(connection)
    notes = [*_clocks(connection), *_silent(connection, mapping)]
    begins = min(EPOCH, int(first) - int(first) % DAY)
    for name, query in _tables(mapping, begins).items():
        (directory / name).mkdir()
        target = literal(str(directory / name / "all.parquet"))
        connection.execute(f"COPY ({query}) TO {target} (FORMAT parquet)")
    sizes = connection.execute(
        "SELECT count(*), count(DISTINCT service), count(DISTINCT handle), count(DISTINCT person) FROM good"
    ).fetchone()
    assert sizes is not None
    uses, services, handles, persons = sizes
    imported = Imported(total, uses, services, handles, persons if mapping.person else 0, counts, notes)
    document = {"begins": begins, "truth": bool(mapping.person), "mapping": asdict(mapping), **asdict(imported)}
    write_whole(directory / IMPORTED, json.dumps(document, ensure_ascii=False))
    return imported


def _read(connection: duckdb.DuckDBPyConnection, files: Sequence[Path], mapping: LogMapping) -> None:
    """Create the view `raw` of all files, with every column as text. Raises LogsUnusable."""
    parts = []
    for path in files:
        if not path.exists():
            raise LogsUnusable(LogsUnusableReason.MISSING_FILE, f"{path} does not exist")
        parts.append(
            f"SELECT * FROM read_parquet({literal(str(path))})" if path.suffix == ".parquet"
            else f"SELECT * FROM read_csv({literal(str(path))}, header=true, all_varchar=true)"
        )  # fmt: skip
    union = " UNION ALL BY NAME ".join(parts)
    names = [row[0] for row in connection.execute(f"DESCRIBE {union}").fetchall()]
    if missing := [name for name in mapping.columns if name not in names]:
        raise LogsUnusable(
            LogsUnusableReason.MISSING_COLUMN,
            f"the files have no column {', '.join(missing)}; their columns are {', '.join(names)}",
        )
    texts = ", ".join(f"CAST({quoted(name)} AS VARCHAR) AS {quoted(name)}" for name in names)
    connection.execute(f"CREATE VIEW raw AS SELECT {texts} FROM ({union})")


def _refuse_individual_numbers(connection: duckdb.DuckDBPyConnection) -> None:
    for name in [row[0] for row in connection.execute("DESCRIBE raw").fetchall()]:
        rows = connection.execute(
            f"SELECT DISTINCT {quoted(name)} FROM raw WHERE {quoted(name)} IS NOT NULL LIMIT {SAMPLE}"
        ).fetchall()
        if rows and sum(looks_like_an_individual_number(row[0]) for row in rows) >= LOOKS_LIKE * len(rows):
            raise LogsUnusable(
                LogsUnusableReason.INDIVIDUAL_NUMBERS,
                f"the column {name!r} looks like individual numbers, which do not belong in logs; remove it, or pass "
                "--individual-numbers if they are made up",
            )


def looks_like_an_individual_number(text: str) -> bool:
    """Whether a text is twelve digits with a correct check digit; spaces, hyphens and full-width digits are allowed."""
    digits = "".join(letter for letter in unicodedata.normalize("NFKC", text) if letter not in " -‐－　")
    try:
        return bool(IndividualNumber(digits))
    except ValueError:
        return False


def _rows(connection: duckdb.DuckDBPyConnection, mapping: LogMapping) -> tuple[int, dict[str, int]]:
    """Create the table `good` of the usable rows. Returns the number of all rows, and the number left out by reason."""
    service = literal(mapping.constant) if mapping.constant else f"nullif(trim({quoted(mapping.service)}), '')"
    offsets = "".join(
        f" WHEN {literal(name)} THEN {float(known['clock'])}"
        for name, known in mapping.services.items() if known.get("clock")
    )  # fmt: skip
    clock = f"CASE service {offsets} ELSE 0 END" if offsets else "0"
    person = f"nullif(trim({quoted(mapping.person)}), '')" if mapping.person else "NULL"
    row = f"nullif(trim({quoted(mapping.row)}), '')" if mapping.row else "NULL"
    attributes = "".join(
        f", nullif(trim({quoted(mapping.attributes[name])}), '') AS {name}" if name in mapping.attributes
        else f", CAST(NULL AS VARCHAR) AS {name}" for name in ATTRIBUTES
    )  # fmt: skip
    connection.execute(f"""
        CREATE TABLE lines AS SELECT row_number() OVER () AS line, {_moment(mapping)} AS written, {service} AS service,
            nullif(trim({quoted(mapping.handle)}), '') AS handle, {person} AS person, {row} AS row_id {attributes}
        FROM raw
    """)
    connection.execute(f"""
        CREATE TABLE good AS SELECT * EXCLUDE (written), CAST(floor(written + {clock}) AS BIGINT) AS second FROM lines
        WHERE written IS NOT NULL AND service IS NOT NULL AND handle IS NOT NULL
        QUALIFY row_number() OVER (PARTITION BY coalesce(row_id, 'line ' || line) ORDER BY line) = 1
    """)
    same = "service, handle, second" + (", row_id" if mapping.row else "")
    (before,) = connection.execute("SELECT count(*) FROM good").fetchone() or (0,)
    connection.execute(f"""
        CREATE OR REPLACE TABLE good AS SELECT * FROM good
        QUALIFY row_number() OVER (PARTITION BY {same} ORDER BY line) = 1
    """)
    counted = connection.execute("""
        SELECT count(*), sum(CASE WHEN written IS NULL THEN 1 ELSE 0 END),
               sum(CASE WHEN written IS NOT NULL AND service IS NULL THEN 1 ELSE 0 END),
               sum(CASE WHEN written IS NOT NULL AND service IS NOT NULL AND handle IS NULL THEN 1 ELSE 0 END)
        FROM lines
    """).fetchone()
    assert counted is not None
    total, *bad = (int(number or 0) for number in counted)
    (after,) = connection.execute("SELECT count(*) FROM good").fetchone() or (0,)
    reasons = ("no time that can be read", "no service", "no handle", "the same row id", "the same use again")
    left_out = dict(zip(reasons, (*bad, total - sum(bad) - before, before - after), strict=True))
    return total, {name: number for name, number in left_out.items() if number}


def _moment(mapping: LogMapping) -> str:
    """The SQL expression of a row's time in seconds since 1970, null if it cannot be read. Raises LogsUnusable."""
    column = f"trim({quoted(mapping.moment)})"
    sign, hours, minutes = mapping.zone[:1], mapping.zone[1:3], mapping.zone[4:6]
    if sign not in ("+", "-") or not (hours + minutes).isdigit() or len(mapping.zone) != 6:
        raise LogsUnusable(LogsUnusableReason.WRONG_ZONE, f"the zone {mapping.zone!r} is wrong; write it as {_JAPAN}")
    east = (int(hours) * 3600 + int(minutes) * 60) * (1 if sign == "+" else -1)
    if mapping.form == "epoch":
        return f"TRY_CAST({column} AS DOUBLE)"
    if mapping.form != "iso":
        return f"epoch(try_strptime({column}, {literal(mapping.form)})) - {east}"
    return (
        f"CASE WHEN regexp_matches({column}, '(Z|[+-][0-9][0-9]:?[0-9][0-9])$') "
        f"THEN epoch(TRY_CAST({column} AS TIMESTAMPTZ)) ELSE epoch(TRY_CAST({column} AS TIMESTAMP)) - {east} END"
    )


def _number(connection: duckdb.DuckDBPyConnection) -> None:
    """Number the services, handles and people."""
    for name in ("service", "handle"):
        connection.execute(
            f"CREATE TABLE numbered_{name} AS SELECT {name}, row_number() OVER (ORDER BY {name}) AS number "
            f"FROM (SELECT DISTINCT {name} FROM good)"
        )
    # Without the ground truth, each handle counts as a person.
    connection.execute("""
        CREATE VIEW known AS SELECT *, coalesce('person ' || person, 'handle ' || handle) AS who FROM good;
        CREATE TABLE numbered_who AS SELECT who, row_number() OVER (ORDER BY who) AS number
        FROM (SELECT DISTINCT who FROM known);
        CREATE VIEW numbered AS SELECT k.*, s.number AS service_number, h.number AS shown, w.number AS person_number
        FROM known k JOIN numbered_service s ON s.service = k.service JOIN numbered_handle h ON h.handle = k.handle
        JOIN numbered_who w ON w.who = k.who
    """)


def _tables(mapping: LogMapping, begins: int) -> dict[str, str]:
    """The queries of a laboratory's tables, by table name."""
    asks = ", ".join(literal(name) for name, known in mapping.services.items() if known.get("asks")) or "NULL"
    attributes = ", ".join(f"arg_min({name}, second) FILTER ({name} IS NOT NULL) AS {name}" for name in ATTRIBUTES)
    return {
        "uses": f"SELECT second - {begins} AS moment, service_number AS service, shown, person_number AS person "
                "FROM numbered ORDER BY moment, service, shown",
        "service": f"SELECT number AS service, service AS name, {_known(mapping, 'kind')} AS kind, "
                   f"{_known(mapping, 'sector')} AS sector, CAST(NULL AS USMALLINT) AS town, "
                   f"service IN ({asks}) IS TRUE AS asks FROM numbered_service ORDER BY number",
        "handle": "SELECT number AS shown, handle FROM numbered_handle ORDER BY number",
        "person": "SELECT number AS person FROM numbered_who ORDER BY number",
        "account": f"SELECT service_number AS service, person_number AS person, min(second) - {begins} AS since, "
                   f"{attributes} FROM numbered GROUP BY service_number, person_number ORDER BY 1, 2",
    }  # fmt: skip


def _known(mapping: LogMapping, key: str) -> str:
    """The SQL expression of a service's `kind` or `sector`, as the mapping gives it."""
    cases = "".join(f" WHEN {literal(name)} THEN {literal(str(known[key]))}"
                    for name, known in mapping.services.items() if key in known)  # fmt: skip
    return f"CASE service{cases} ELSE 'unknown' END" if cases else "'unknown'"


def _clocks(connection: duckdb.DuckDBPyConnection) -> list[str]:
    """Notes about services whose clocks are suspect: a clock jumps back in an otherwise ordered file, or its times do
    not overlap with those of any other service."""
    rows = connection.execute(f"""
        WITH steps AS (SELECT service, second - lag(second) OVER (PARTITION BY service ORDER BY line) AS step FROM good)
        SELECT service, count(*) FILTER (step < -{_BACKWARDS}) AS backwards, count(*) FILTER (step >= 0) AS onwards
        FROM steps GROUP BY service HAVING backwards > 0 AND onwards > 9 * backwards ORDER BY service
    """).fetchall()
    notes = [f"the clock of {service} jumped back by more than an hour {times} times" for service, times, _ in rows]
    spans = connection.execute(
        "SELECT service, min(second), max(second) FROM good GROUP BY service ORDER BY service"
    ).fetchall()
    for service, first, last in spans:
        others = [row for row in spans if row[0] != service]
        if others and (last < min(row[1] for row in others) or first > max(row[2] for row in others)):
            notes.append(f"the times of {service} do not overlap with those of any other service; check its clock")
    return notes


def _silent(connection: duckdb.DuckDBPyConnection, mapping: LogMapping) -> list[str]:
    """Notes about services of the mapping without a use."""
    known = {row[0] for row in connection.execute("SELECT service FROM numbered_service").fetchall()}
    return [f"the mapping names {name}, but no row does" for name in mapping.services if name not in known]


def about(laboratory: Laboratory) -> dict[str, Any]:
    """The document that `import_logs` wrote: the fields of Imported, the mapping, `begins` (the laboratory's first
    second, since 1970) and `truth` (whether the ground truth is known). Raises PopulationUnusable if no logs were
    imported."""
    try:
        document: dict[str, Any] = json.loads((laboratory.directory / IMPORTED).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise PopulationUnusable(
            PopulationUnusableReason.NO_LOGS,
            f"no logs were imported into {laboratory.directory}; try: kazashi tracking import",
        ) from error
    return document


def handles_look_like_digests(handles: pl.DataFrame) -> bool:
    """Whether more than 95 % of the handles look like hexadecimal digests of 40 or 64 digits."""
    like = handles["handle"].str.contains(r"^(?:[0-9a-fA-F]{40}|[0-9a-fA-F]{64})$").sum()
    return bool(handles.height) and like > 0.95 * handles.height
