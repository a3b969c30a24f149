"""A reviewer's own logs: CSV or Parquet files, and a mapping that says which column is what.

Logs become the same tables as a made-up population's, so that the same linkers work on them. Files that hold what looks
like individual numbers are refused before anything is written.
"""

from __future__ import annotations

import json
import shutil
import unicodedata
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import yaml

from kazashi.resident_registry.number import IndividualNumber
from kazashi.tracking_lab.accounts import ATTRIBUTES
from kazashi.tracking_lab.engine import literal, quoted
from kazashi.tracking_lab.laboratory import IMPORTED, Laboratory, PopulationUnusable
from kazashi.tracking_lab.plan import DAY, EPOCH
from kazashi.world.atomic_file import write_whole

SAMPLE, LOOKS_LIKE = 10_000, 0.5
"""How many values of a column are looked at, and what share of them makes it one of individual numbers: of twelve
digits drawn at random one in eleven has a check digit that fits."""

_JAPAN = "+09:00"
_BACKWARDS = 3_600
"""Seconds by which a clock must jump back within a file to be told of."""


class LogsUnusable(Exception):
    """The files or the mapping cannot be used as they are; the message says what to change."""


@dataclass(frozen=True, slots=True)
class LogMapping:
    """Which column is what.

    `moment`   the column of the time; `form` is `iso` (2026-04-01T09:00:00+09:00), `epoch` (seconds), or a form as of
               strptime; `zone` is that of times which name none.
    `service`  the column of the service, or `constant` where all rows are of one.
    `handle`   the column of that by which the service knows the user.
    `person`   the column of who it really was, where the truth is known: for the judge alone.
    `row`      the column of a row's own id, where it has one: rows of the same id are one.
    `attributes`  columns of what people told of themselves, by name: family, given, born, sex, town, street.
    `services` what is known of services by name: `kind`, `sector`, `asks`, and `clock`, the seconds to be added to its
               times.
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
        """A mapping from a YAML or JSON file. Raises LogsUnusable."""
        try:
            told = yaml.safe_load(path.read_text(encoding="utf-8"))
            found = cls(**told)
        except (OSError, ValueError, TypeError, yaml.YAMLError) as error:
            raise LogsUnusable(f"{path} is no mapping: {error}") from error
        if bool(found.service) == bool(found.constant):
            raise LogsUnusable(f"{path} must name either a column `service` or a `constant` one")
        if unknown := set(found.attributes) - set(ATTRIBUTES):
            raise LogsUnusable(f"{path} maps {', '.join(sorted(unknown))}; there are {', '.join(ATTRIBUTES)}")
        for name, said in found.services.items():
            if not isinstance(said, dict) or not isinstance(said.get("clock", 0), int | float):
                raise LogsUnusable(f"{path} says of {name} what is none of kind, sector, asks, and clock in seconds")
        return found

    @property
    def columns(self) -> list[str]:
        """Every column that it names."""
        return [name for name in (self.moment, self.handle, self.service, self.person, self.row,
                                  *self.attributes.values()) if name]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Imported:
    """What became of the rows: how many there were, how many were taken, how many left out and why, and what else a
    reviewer should know."""

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
    """Take logs into a laboratory, in place of what was imported there before. Raises LogsUnusable, PopulationUnusable
    where a made-up population lies there, and OSError for a disk that is full: then nothing is there."""
    directory = laboratory.directory
    if laboratory.begun:
        raise PopulationUnusable(f"{directory} holds a made-up population; import under another name")
    building = directory.with_name(f".{directory.name}.new")
    shutil.rmtree(building, ignore_errors=True)
    building.mkdir(parents=True)
    connection = duckdb.connect(config={"memory_limit": memory, "temp_directory": str(building / "spill")})
    try:
        found = _imported(connection, building, files, mapping, individual_numbers)
    except duckdb.Error as error:
        if "No space left" in str(error):
            raise OSError(f"the disk is full: nothing was imported ({str(error).splitlines()[0]})") from error
        raise LogsUnusable(str(error).splitlines()[0]) from error
    finally:
        connection.close()
        shutil.rmtree(building / "spill", ignore_errors=True)
        if not (building / IMPORTED).exists():
            shutil.rmtree(building, ignore_errors=True)
    shutil.rmtree(directory, ignore_errors=True)
    building.replace(directory)
    return found


def _imported(
    connection: duckdb.DuckDBPyConnection, directory: Path, files: Sequence[Path], mapping: LogMapping, allowed: bool
) -> Imported:  # fmt: skip
    _read(connection, files, mapping)
    if not allowed:
        _refuse_individual_numbers(connection)
    total, counts = _rows(connection, mapping)
    if not total:
        raise LogsUnusable("there is no row in these files")
    (first,) = connection.execute("SELECT min(second) FROM good").fetchone() or (None,)
    if first is None:
        raise LogsUnusable(f"of {total} rows none has a time, a service and a handle that can be read: {counts}")
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
    found = Imported(total, uses, services, handles, persons if mapping.person else 0, counts, notes)
    told = {"begins": begins, "truth": bool(mapping.person), "mapping": asdict(mapping), **asdict(found)}
    write_whole(directory / IMPORTED, json.dumps(told, ensure_ascii=False))
    return found


def _read(connection: duckdb.DuckDBPyConnection, files: Sequence[Path], mapping: LogMapping) -> None:
    """All files as one view, every column as text. Raises LogsUnusable."""
    parts = []
    for path in files:
        if not path.exists():
            raise LogsUnusable(f"there is no file {path}")
        parts.append(
            f"SELECT * FROM read_parquet({literal(str(path))})" if path.suffix == ".parquet"
            else f"SELECT * FROM read_csv({literal(str(path))}, header=true, all_varchar=true)"
        )  # fmt: skip
    union = " UNION ALL BY NAME ".join(parts)
    names = [row[0] for row in connection.execute(f"DESCRIBE {union}").fetchall()]
    if missing := [name for name in mapping.columns if name not in names]:
        raise LogsUnusable(f"there is no column {', '.join(missing)}; the files have {', '.join(names)}")
    texts = ", ".join(f"CAST({quoted(name)} AS VARCHAR) AS {quoted(name)}" for name in names)
    connection.execute(f"CREATE VIEW raw AS SELECT {texts} FROM ({union})")


def _refuse_individual_numbers(connection: duckdb.DuckDBPyConnection) -> None:
    for name in [row[0] for row in connection.execute("DESCRIBE raw").fetchall()]:
        rows = connection.execute(
            f"SELECT DISTINCT {quoted(name)} FROM raw WHERE {quoted(name)} IS NOT NULL LIMIT {SAMPLE}"
        ).fetchall()
        if rows and sum(looks_like_an_individual_number(row[0]) for row in rows) >= LOOKS_LIKE * len(rows):
            raise LogsUnusable(
                f"the column {name!r} looks like one of individual numbers, which have no place in logs; leave it out, "
                "or say --individual-numbers if they are made up"
            )


def looks_like_an_individual_number(text: str) -> bool:
    """Whether a text is twelve digits of which the last checks the others, however it is written."""
    digits = "".join(letter for letter in unicodedata.normalize("NFKC", text) if letter not in " -‐－　")
    try:
        return bool(IndividualNumber(digits))
    except ValueError:
        return False


def _rows(connection: duckdb.DuckDBPyConnection, mapping: LogMapping) -> tuple[int, dict[str, int]]:
    """The rows that can be used, as the table `good`; answers how many there were, and how many were left out why."""
    service = literal(mapping.constant) if mapping.constant else f"nullif(trim({quoted(mapping.service)}), '')"
    offsets = "".join(
        f" WHEN {literal(name)} THEN {float(told['clock'])}"
        for name, told in mapping.services.items() if told.get("clock")
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
    words = ("no time that can be read", "no service", "no handle", "the same row id", "the same use again")
    left = dict(zip(words, (*bad, total - sum(bad) - before, before - after), strict=True))
    return total, {name: number for name, number in left.items() if number}


def _moment(mapping: LogMapping) -> str:
    """The SQL of a row's time, in seconds since 1970; null where it cannot be read. Raises LogsUnusable."""
    column = f"trim({quoted(mapping.moment)})"
    sign, hours, minutes = mapping.zone[:1], mapping.zone[1:3], mapping.zone[4:6]
    if sign not in ("+", "-") or not (hours + minutes).isdigit() or len(mapping.zone) != 6:
        raise LogsUnusable(f"a zone is written like {_JAPAN}, and not {mapping.zone!r}")
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
    """Numbers for services, handles and people."""
    for name in ("service", "handle"):
        connection.execute(
            f"CREATE TABLE numbered_{name} AS SELECT {name}, row_number() OVER (ORDER BY {name}) AS number "
            f"FROM (SELECT DISTINCT {name} FROM good)"
        )
    # Where nobody knows who is who, a handle counts as a person.
    connection.execute("""
        CREATE VIEW known AS SELECT *, coalesce('person ' || person, 'handle ' || handle) AS who FROM good;
        CREATE TABLE numbered_who AS SELECT who, row_number() OVER (ORDER BY who) AS number
        FROM (SELECT DISTINCT who FROM known);
        CREATE VIEW numbered AS SELECT k.*, s.number AS service_number, h.number AS shown, w.number AS person_number
        FROM known k JOIN numbered_service s ON s.service = k.service JOIN numbered_handle h ON h.handle = k.handle
        JOIN numbered_who w ON w.who = k.who
    """)


def _tables(mapping: LogMapping, begins: int) -> dict[str, str]:
    """The queries of a laboratory's tables."""
    asks = ", ".join(literal(name) for name, told in mapping.services.items() if told.get("asks")) or "NULL"
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


def _known(mapping: LogMapping, what: str) -> str:
    """The SQL of what a mapping says of services."""
    cases = "".join(f" WHEN {literal(name)} THEN {literal(str(told[what]))}"
                    for name, told in mapping.services.items() if what in told)  # fmt: skip
    return f"CASE service{cases} ELSE 'unknown' END" if cases else "'unknown'"


def _clocks(connection: duckdb.DuckDBPyConnection) -> list[str]:
    """Services whose clocks cannot be right: put back within a file that is in order, or of another time than all
    others."""
    rows = connection.execute(f"""
        WITH steps AS (SELECT service, second - lag(second) OVER (PARTITION BY service ORDER BY line) AS step FROM good)
        SELECT service, count(*) FILTER (step < -{_BACKWARDS}) AS backwards, count(*) FILTER (step >= 0) AS onwards
        FROM steps GROUP BY service HAVING backwards > 0 AND onwards > 9 * backwards ORDER BY service
    """).fetchall()
    found = [f"the clock of {service} was put back {times} times by more than an hour" for service, times, _ in rows]
    spans = connection.execute(
        "SELECT service, min(second), max(second) FROM good GROUP BY service ORDER BY service"
    ).fetchall()
    for service, first, last in spans:
        others = [row for row in spans if row[0] != service]
        if others and (last < min(row[1] for row in others) or first > max(row[2] for row in others)):
            found.append(f"no use at {service} is of the time of any other service; is its clock right?")
    return found


def _silent(connection: duckdb.DuckDBPyConnection, mapping: LogMapping) -> list[str]:
    known = {row[0] for row in connection.execute("SELECT service FROM numbered_service").fetchall()}
    return [f"{name} is in the mapping and in no row" for name in mapping.services if name not in known]


def about(laboratory: Laboratory) -> dict[str, Any]:
    """What was told of logs when they were imported. Raises PopulationUnusable."""
    try:
        told: dict[str, Any] = json.loads((laboratory.directory / IMPORTED).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise PopulationUnusable(f"no logs were imported into {laboratory.directory}") from error
    return told


def handles_look_like_digests(handles: pl.DataFrame) -> bool:
    """Whether nearly all handles are hexadecimal digests, to judge by their look."""
    like = handles["handle"].str.contains(r"^(?:[0-9a-fA-F]{40}|[0-9a-fA-F]{64})$").sum()
    return bool(handles.height) and like > 0.95 * handles.height
