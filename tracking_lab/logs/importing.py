"""Importing logs: from files and a mapping to the tables of a laboratory.

Each file is read once (scan.py). What depends on all rows comes after that, on distinct values: readings of serial
numbers, numbers of handles, people and services. The tables are written beside the laboratory, and take its place when
they are complete.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import duckdb

from kazashi.tracking_lab.accounts import ATTRIBUTES
from kazashi.tracking_lab.engine import exhausted, literal
from kazashi.tracking_lab.laboratory import IMPORTED, Laboratory, PopulationUnusable, PopulationUnusableReason
from kazashi.tracking_lab.logs import checks, serial_digits
from kazashi.tracking_lab.logs.handle_forms import OPEN, detect
from kazashi.tracking_lab.logs.imported import FileRead, Imported
from kazashi.tracking_lab.logs.log_file import LogFile, check_file, open_log
from kazashi.tracking_lab.logs.log_format import POSTGRESQL, log_format
from kazashi.tracking_lab.logs.mapping import HandleForm, LogMapping
from kazashi.tracking_lab.logs.moments import Zone, zone_of
from kazashi.tracking_lab.logs.progress import ImportProgress, Progress
from kazashi.tracking_lab.logs.replacing import Building
from kazashi.tracking_lab.logs.scan import AUTHORITY, PLACE, Forms, RecordStatus, scan
from kazashi.tracking_lab.logs.unusable import LogsUnusable, LogsUnusableReason
from kazashi.tracking_lab.memory import DEFAULT, MemoryLimit
from kazashi.tracking_lab.plan import DAY, EPOCH
from kazashi.world.atomic_file import write_whole

_SAMPLE = 10_000
"""How many rows at the beginning of each file are looked at to detect the form of the handles."""

_TOLERATED = 0.01
"""The share of rows whose serial number may have two readings; they are left out. If there are more, nothing is
imported."""

LEFT_OUT = {
    RecordStatus.BROKEN: "a broken line",
    RecordStatus.NO_TIME: "no time that can be read",
    RecordStatus.NO_SERVICE: "no service",
    RecordStatus.NO_HANDLE: "no handle",
    RecordStatus.UNREADABLE_HANDLE: "a handle that cannot be read",
}
TWO_READINGS, SAME_ROW, SAME_USE = "a serial number with two readings", "the same row id", "the same use again"


def import_logs(
    laboratory: Laboratory, files: Sequence[Path], mapping: LogMapping, *, individual_numbers: bool = False,
    strict: bool = False, memory: MemoryLimit = DEFAULT, progress: Progress = lambda _, __: None,
) -> Imported:  # fmt: skip
    """Import logs into a laboratory; they replace any that were imported before.

    `individual_numbers` accepts columns that look like individual numbers. `strict` refuses to detect the form of the
    handles, and refuses rows that cannot be read. `memory` bounds the process. `progress` is called with the name of
    each step, and the share of the import that is done. Raises LogsUnusable, PopulationUnusable if the laboratory holds
    a generated population, OutOfMemory, OSError if the disk is full, and KeyboardInterrupt; in each case nothing is
    imported, and the former import stays.
    """
    mapping.check()
    if laboratory.begun:
        raise PopulationUnusable(
            PopulationUnusableReason.GENERATED,
            f"{laboratory.directory} holds a generated population; import the logs under another name",
        )
    with Building(laboratory.directory) as building:
        connection = duckdb.connect(config=memory.duckdb(building.scratch))
        try:
            for setting in ("TimeZone = 'UTC'", "enable_progress_bar = true", "enable_progress_bar_print = false"):
                connection.execute(f"SET {setting}")
            with ImportProgress(connection, progress) as told:
                task = _Import(connection, building.directory, building.scratch, mapping, strict, told)
                imported = task.run(files, individual_numbers)
        except (duckdb.InterruptException, RuntimeError) as error:  # on Ctrl-C, DuckDB raises either
            if "interrupt" not in str(error).lower():
                raise
            raise KeyboardInterrupt from error
        except duckdb.OutOfMemoryException as error:
            raise exhausted(error) from error
        except duckdb.Error as error:
            if "No space left" in str(error):
                raise OSError(f"the disk is full; nothing was imported ({reason_of(error)})") from error
            raise LogsUnusable(LogsUnusableReason.UNREADABLE, reason_of(error)) from error
        finally:
            connection.close()
        building.finish()
    return imported


def reason_of(error: duckdb.Error) -> str:
    """DuckDB's reason in one line, without the lines that quote a log or list its settings."""
    kept = []
    for line in str(error).splitlines():
        if line.startswith(("Possible", "LINE ", "  ")):
            break
        if line.strip() and not line.startswith("Original Line"):
            kept.append(line.strip())
    return " ".join(kept)


@dataclass(frozen=True, slots=True)
class _Import:
    """An import that is running."""

    connection: duckdb.DuckDBPyConnection
    directory: Path
    scratch: Path
    mapping: LogMapping
    strict: bool
    progress: ImportProgress

    def run(self, paths: Sequence[Path], individual_numbers: bool) -> Imported:
        mapping, log = self.mapping, self.mapping.log
        form = log_format(log) if log and log != POSTGRESQL else None
        if form is not None:
            handles = replace(mapping.handles, column=mapping.handles.column or form.serial)
            if handles.column == form.serial and handles.form is None:
                handles = replace(handles, form=HandleForm.SERIAL)
            moment = mapping.moments
            if not moment.column:
                moment = replace(moment, column=form.moment, form=form.moment_form)
            mapping = replace(mapping, moment=moment, handle=handles)
        checks.check_expressions(self.connection, mapping)
        for path in paths:
            check_file(path)
        files = []
        for number, path in enumerate(paths):
            self.progress.step("looking", f"looking at {path.name}", 1 / len(paths))
            files.append(open_log(path, number, form or log, self.scratch))
        missing = self._missing(files, mapping)
        if missing:
            raise missing
        forms, detected = self._forms(files, mapping)
        records = sum(file.records for file in files)
        for number, file in enumerate(files):
            self.progress.step("reading", f"reading {file.path.name}", file.records / max(1, records))
            target = literal(str(self.scratch / f"rows-{number}.parquet"))
            self.connection.execute(f"COPY ({scan(file, mapping, forms)}) TO {target} (FORMAT parquet)")
        self._rows(files)
        found: list[str] = []
        if not individual_numbers:
            self.progress.step("checking", "looking for individual numbers", 0.25)
            found = list(checks.individual_numbers(self.connection, files, self.scratch))
        return self._written(files, mapping, forms, detected, found)

    def _missing(self, files: list[LogFile], mapping: LogMapping) -> LogsUnusable | None:
        if not any(file.columns for file in files):
            return LogsUnusable(LogsUnusableReason.NO_ROWS, "the files have no rows")
        for file in files:
            missing = [name for name in mapping.columns if name not in file.columns]
            if not mapping.moments.column or not mapping.handles.column:
                missing.append("with the time" if not mapping.moments.column else "with the handle")
            if missing:
                return LogsUnusable(
                    LogsUnusableReason.MISSING_COLUMN,
                    f"{file.path.name} has no column {', '.join(missing)}; its columns are {', '.join(file.columns)}",
                )
        return None

    def _forms(self, files: list[LogFile], mapping: LogMapping) -> tuple[Forms, bool]:
        """The form of each service's handles, and whether one was detected."""
        forms = Forms(mapping.handles, {name: mapping.handle_of(name) for name in mapping.services})
        if all(form.form is not None for form in forms.all):
            return forms, False
        if self.strict:
            raise LogsUnusable(
                LogsUnusableReason.FORM_WANTED,
                "a strict import needs the form of the handles; write handle: {column: ..., form: "
                f"{' | '.join(form.value for form in HandleForm)}}}",
            )
        plain = Forms(replace(mapping.handles, form=HandleForm.OPAQUE), {})
        texts = set()
        for file in files:
            first = scan(replace(file, relation=f"{file.relation} LIMIT {_SAMPLE}"), mapping, plain)
            rows = self.connection.execute(f"SELECT DISTINCT key FROM ({first}) WHERE key IS NOT NULL")
            texts |= {str(row[0]) for row in rows.fetchall()}
        found = detect({text.partition(AUTHORITY)[0] for text in texts})
        return Forms(
            replace(forms.other, form=forms.other.form or found),
            {name: replace(one, form=one.form or found) for name, one in forms.own.items()},
        ), True  # fmt: skip

    def _rows(self, files: list[LogFile]) -> None:
        """Create the view `rows` of the rows of all files, with `file` and `record`, and `line`, which orders them."""
        parts = []
        for number in range(len(files)):
            source = literal(str(self.scratch / f"rows-{number}.parquet"))
            parts.append(
                f"SELECT {number} AS file, file_row_number AS record, {number << 40} + file_row_number AS line, "
                f"* EXCLUDE (file_row_number) FROM read_parquet({source}, file_row_number=true)"
            )
        self.connection.execute(f"CREATE VIEW rows AS {' UNION ALL BY NAME '.join(parts)}")

    def _written(
        self, files: list[LogFile], mapping: LogMapping, forms: Forms, detected: bool, found: list[str]
    ) -> Imported:
        connection = self.connection
        survey = checks.survey(connection, files)
        if not survey.rows:
            raise LogsUnusable(LogsUnusableReason.NO_ROWS, "the files have no rows")
        if self.strict and survey.unreadable:
            raise LogsUnusable(
                LogsUnusableReason.UNREADABLE_ROWS,
                f"{survey.unreadable} of {survey.rows} rows cannot be read: {'; '.join(survey.places)}",
            )
        left_out = {reason: survey.counts[status] for status, reason in LEFT_OUT.items()}
        if not survey.counts[RecordStatus.USE]:
            raise checks.no_usable_rows(connection, files, mapping, survey)
        self.progress.step("handles", "reading the handles")
        digits = self._numbered(forms)
        open_rows = self._open_rows(digits, survey.rows)
        left_out[TWO_READINGS] = open_rows
        zone = zone_of(mapping.moments.zone, survey.first, survey.last)
        self.progress.step("uses", "removing duplicates")
        left_out[SAME_ROW] = self._good(mapping, zone)
        uses = self._count("SELECT count(*) FROM once")
        left_out[SAME_USE] = survey.counts[RecordStatus.USE] - open_rows - left_out[SAME_ROW] - uses
        begins = self._tables(mapping)
        persons = self._count("SELECT count(DISTINCT person) FROM rows WHERE status = 0") if mapping.person else 0
        self.progress.step("checking", "checking the result", 0.75)
        skipped, repeated = checks.clock_changes(connection, zone)
        imported = Imported(
            survey.rows, uses, self._count("SELECT count(*) FROM numbered_service"),
            self._count("SELECT count(*) FROM numbered_handle"), persons,
            self._count("SELECT count(DISTINCT spelling) FROM rows WHERE status = 0"),
            sorted({form.form.value for form in forms.all if form.form}), detected, digits.decimal, digits.hexadecimal,
            zone.name, skipped, repeated, survey.unreadable > _TOLERATED * survey.rows,
            {reason: number for reason, number in left_out.items() if number},
            [self._file(file, survey.of_file(number)) for number, file in enumerate(files)],
        )  # fmt: skip
        notes = found + checks.notes(connection, imported, mapping, forms, files, survey, zone)
        imported = replace(imported, notes=notes)
        document = {"begins": begins, "truth": bool(mapping.person), "mapping": mapping.as_dict(), **asdict(imported)}
        write_whole(self.directory / IMPORTED, json.dumps(document, ensure_ascii=False))
        return imported

    def _file(self, file: LogFile, counted: checks.FileSurvey) -> FileRead:
        return FileRead(
            str(file.path), file.kind.value, file.encoding, file.compression, counted.rows, counted.zoned,
            counted.unzoned, counted.unreadable,
        )  # fmt: skip

    def _count(self, query: str) -> int:
        (number,) = self.connection.execute(query).fetchone() or (0,)
        return int(number or 0)

    def _numbered(self, forms: Forms) -> serial_digits.DigitsRead:
        """Create the tables `numbered_handle` (`handle`, `authority`, `number`), `numbers` (`key`, `number`, `n`) and
        `numbered_service` (`service`, `number`)."""
        connection = self.connection
        connection.execute(f"""
            CREATE TABLE numbered_service AS SELECT service, row_number() OVER (ORDER BY service) AS number
            FROM (SELECT DISTINCT service FROM rows WHERE status = 0);
            CREATE TABLE keys AS SELECT key, count(*) AS n FROM rows WHERE status = 0 GROUP BY key;
            CREATE TEMP TABLE open AS
            SELECT key, split_part(key, '{PLACE}', 2) AS service,
                   regexp_extract(key, '^{OPEN}([0-9]+)', 1) AS digits,
                   regexp_extract(key, '{AUTHORITY}[a-z]+') AS authority
            FROM keys WHERE key[1] = '{OPEN}'
        """)
        if self._count("SELECT count(*) FROM open"):
            connection.execute(f"""
                CREATE TEMP TABLE known AS SELECT serial, CAST(concat('0x', serial) AS UBIGINT) AS number FROM (
                    SELECT DISTINCT split_part(key, '{AUTHORITY}', 1) AS serial FROM rows
                    WHERE status = 0 AND {forms.serial} AND key[1] <> '{OPEN}');
                CREATE TEMP TABLE written AS SELECT service, count(*) FILTER (long_decimal) AS decimals,
                    count(*) FILTER (NOT long_decimal) AS hexadecimals
                FROM rows WHERE status = 0 AND {forms.serial} AND key[1] <> '{OPEN}' GROUP BY service
            """)
            digits = serial_digits.settle(connection)
        else:
            connection.execute("CREATE TEMP TABLE settled (key VARCHAR, serial VARCHAR)")
            digits = serial_digits.DigitsRead(0, 0, 0)
        connection.execute(f"""
            CREATE TABLE folded AS SELECT key, key AS handle, n FROM keys WHERE key[1] <> '{OPEN}'
            UNION ALL SELECT o.key, CASE WHEN s.serial IS NOT NULL THEN concat(s.serial, o.authority) END, k.n
            FROM open o JOIN settled s ON s.key = o.key JOIN keys k ON k.key = o.key;
            DROP TABLE keys; DROP TABLE open; DROP TABLE settled;
            CREATE TABLE numbered_handle AS SELECT handle, row_number() OVER (ORDER BY handle) AS number, n
            FROM (SELECT handle, sum(n) AS n FROM folded WHERE handle IS NOT NULL GROUP BY handle);
            CREATE TABLE numbers AS SELECT f.key, f.n, h.number FROM folded f
            LEFT JOIN numbered_handle h ON h.handle = f.handle;
            DROP TABLE folded
        """)
        return digits

    def _open_rows(self, digits: serial_digits.DigitsRead, rows: int) -> int:
        """The number of rows whose serial number has two readings. Raises LogsUnusable if it is large."""
        if not digits.open:
            return 0
        number = self._count("SELECT sum(n) FROM numbers WHERE number IS NULL")
        if self.strict or number > _TOLERATED * rows:
            raise LogsUnusable(
                LogsUnusableReason.DIGITS_WANTED,
                f"{digits.open} serial numbers in {number} rows have digits only, and neither their length nor the "
                "other rows tell whether they are hexadecimal or decimal; write handle: {column: ..., form: serial, "
                "digits: hex} or digits: decimal, or name it for one service under `services`",
            )
        return number

    def _good(self, mapping: LogMapping, zone: Zone) -> int:
        """Create the view `good` of the rows to import, and the table `once` of their uses. Returns the number of rows
        that were left out because they have an earlier row's id."""
        clocks = "".join(f" WHEN {literal(name)} THEN {float(known['clock'])}"
                         for name, known in mapping.services.items() if known.get("clock"))  # fmt: skip
        second = f'r.local - coalesce(r."offset", {zone.offset("r.local")})'
        if clocks:
            second = f"CAST(floor({second} + CASE r.service{clocks} ELSE 0 END) AS BIGINT)"
        columns, joins = [], []
        if mapping.person:
            self._number("person")
            joins.append("LEFT JOIN numbered_person p ON p.person = r.person")
            # A handle whose person is not known counts as a person.
            columns.append("coalesce(p.number, (SELECT count(*) FROM numbered_person) + n.number)::UINTEGER AS person")
        for name in _extras(mapping):
            self._number(name)
            joins.append(f"LEFT JOIN numbered_{name} AS by_{name} ON by_{name}.{name} = r.{name}")
            columns.append(f"by_{name}.number::BIGINT AS {name}")
        columns += [f"r.{name}" for name in (*["row_id"] * bool(mapping.row), *mapping.attributes)]
        good = f"""
            SELECT {second} AS second, s.number::UINTEGER AS service, n.number::UINTEGER AS shown,
                   r.line{"".join(f", {column}" for column in columns)}
            FROM rows r JOIN numbers n ON n.key = r.key JOIN numbered_service s ON s.service = r.service
            {" ".join(joins)} WHERE r.status = {RecordStatus.USE} AND n.number IS NOT NULL
        """
        self.connection.execute(f"CREATE VIEW good AS {good}")
        again = 0
        if mapping.row:
            self.connection.execute(f"""
                CREATE TABLE again AS SELECT row_id, min(line) AS line FROM good WHERE row_id IS NOT NULL
                GROUP BY row_id HAVING count(*) > 1;
                CREATE OR REPLACE VIEW good AS SELECT g.* FROM ({good}) AS g LEFT JOIN again a ON a.row_id = g.row_id
                WHERE a.line IS NULL OR a.line = g.line
            """)
            again = self._count("SELECT count(*) FROM rows r JOIN again a ON a.row_id = r.row_id "
                                "JOIN numbers n ON n.key = r.key AND n.number IS NOT NULL "
                                f"WHERE r.status = {RecordStatus.USE} AND r.line <> a.line")  # fmt: skip
        kept = "".join(f", arg_min({name}, line) AS {name}" for name in (*["person"] * bool(mapping.person),
                                                                         *_extras(mapping)))  # fmt: skip
        same = "second, service, shown" + (", row_id" if mapping.row else "")
        self.connection.execute(f"CREATE TABLE once AS SELECT second, service, shown{kept} FROM good GROUP BY {same}")
        return again

    def _number(self, name: str) -> None:
        """Create the table of the numbers of a column's values, in an order that tells nothing of them."""
        self.connection.execute(
            f"CREATE TABLE numbered_{name} AS "
            f"SELECT {name}, row_number() OVER (ORDER BY hash({name}), {name}) AS number "
            f"FROM (SELECT DISTINCT {name} FROM rows WHERE status = {RecordStatus.USE} AND {name} IS NOT NULL)"
        )

    def _tables(self, mapping: LogMapping) -> int:
        """Write the tables of the laboratory. Returns its first second."""
        first = self._count("SELECT min(second) FROM once")
        begins = min(EPOCH, first - first % DAY)
        asking = ", ".join(literal(name) for name, known in mapping.services.items() if known.get("asks")) or "NULL"
        # Null if nobody said of any service whether it asks.
        said = any("asks" in known for known in mapping.services.values())
        asks = f"service IN ({asking}) IS TRUE" if said else "NULL::BOOLEAN"
        # The first value by time, and by place in the files at the same time.
        order = f"second::HUGEINT * {1 << 60} + line"
        attributes = ", ".join(
            f"arg_min({name}, {order}) FILTER ({name} IS NOT NULL) AS {name}" if name in mapping.attributes
            else f"NULL::VARCHAR AS {name}" for name in ATTRIBUTES
        )  # fmt: skip
        person = "person" if mapping.person else "shown"
        extras = "".join(f", {name}" for name in _extras(mapping))
        queries = {
            "uses": f"SELECT second - {begins} AS moment, service::BIGINT AS service, shown::BIGINT AS shown, "
                    f"{person}::BIGINT AS person{extras} FROM once ORDER BY moment, service, shown",
            "service": f"SELECT number AS service, service AS name, {_known(mapping, 'kind')} AS kind, "
                       f"{_known(mapping, 'sector')} AS sector, CAST(NULL AS USMALLINT) AS town, "
                       f"{asks} AS asks FROM numbered_service ORDER BY number",
            "handle": f"SELECT number AS shown, split_part(handle, '{AUTHORITY}', 1) AS handle, "
                      f"nullif(split_part(handle, '{AUTHORITY}', 2), '') AS authority FROM numbered_handle "
                      "ORDER BY number",
            "person": f"SELECT DISTINCT {person}::BIGINT AS person FROM once ORDER BY person",
            "account": f"SELECT service::BIGINT AS service, {person}::BIGINT AS person, "
                       f"min(second) - {begins} AS since, {attributes} "
                       f"FROM {'good' if mapping.attributes else 'once'} GROUP BY service, {person} ORDER BY 1, 2",
        }  # fmt: skip
        for name, query in queries.items():
            self.progress.step("tables", f"writing the table {name}", 1 / len(queries))
            (self.directory / name).mkdir()
            target = literal(str(self.directory / name / "all.parquet"))
            self.connection.execute(f"COPY ({query}) TO {target} (FORMAT parquet)")
        return begins


def _extras(mapping: LogMapping) -> list[str]:
    """The optional columns of `uses` that the mapping fills."""
    return [name for name, column in (("network", mapping.address), ("agent", mapping.agent)) if column]


def _known(mapping: LogMapping, key: str) -> str:
    """The SQL expression of a service's `kind` or `sector`, as the mapping gives it."""
    cases = "".join(f" WHEN {literal(name)} THEN {literal(str(known[key]))}"
                    for name, known in mapping.services.items() if key in known)  # fmt: skip
    return f"CASE service{cases} ELSE 'unknown' END" if cases else "'unknown'"
