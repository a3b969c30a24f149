"""Files of logs: their kind, encoding and compression, and the SQL that reads them, one row for each record.

Text files that DuckDB reads without loss are read where they are. All others (compressed, in another encoding, with
line breaks inside quotes, with quotes that never close) are copied to a temporary file first: UTF-8, one record a line.
"""

from __future__ import annotations

import codecs
import csv
import json
from array import array
from bisect import bisect_left
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import BinaryIO, cast

import pyarrow as pa

from kazashi.tracking_lab.engine import literal, quoted
from kazashi.tracking_lab.logs.log_format import POSTGRESQL, POSTGRESQL_COLUMNS, LogFormat
from kazashi.tracking_lab.logs.unusable import LogsUnusable, LogsUnusableReason

_CHUNK = 4 << 20
_HEAD = 64 << 10
_LONGEST_RECORD = 200
"""The most lines of a record with line breaks inside quotes. A quote that is open for longer was never closed."""

_MAGIC = ((b"\x1f\x8b", "gzip"), (b"\x28\xb5\x2f\xfd", "zstd"))
_MARKS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))
_NAMES = {"utf-8": "UTF-8", "utf-8-sig": "UTF-8", "utf-16": "UTF-16", "utf-16-le": "UTF-16", "utf-16-be": "UTF-16",
          "cp932": "CP932"}  # fmt: skip
_DELIMITERS = ",;\t|"
_SAMPLED = 1_000


class FileKind(Enum):
    """What a file of logs is."""

    CSV = "CSV"
    JSON_LINES = "JSON lines"
    PARQUET = "Parquet"
    LOG = "log"


@dataclass(frozen=True, slots=True)
class LogFile:
    """A file of logs. `columns` are its columns' names; `relation` is the SQL that returns them all as text, with
    `whole`, which is false for a record that cannot be read. `encoding` and `compression` are words for the reader,
    and `encoding` is empty for Parquet. `records` is the number of records in it at most."""

    path: Path
    kind: FileKind
    columns: tuple[str, ...]
    relation: str
    records: int
    encoding: str = ""
    compression: str = ""
    rejects: str = ""
    """The table in which DuckDB lists the lines that it rejected, if it has one."""
    lines: Lines = field(default_factory=lambda: Lines(0, None, ()))


@dataclass(frozen=True, slots=True)
class Lines:
    """The line numbers of a text file: `heading` lines before the first record, the line at which each line of the copy
    begins in the file (None without a copy), and the lines that were dropped from the copy, because they are not text
    or have a quote that is never closed."""

    heading: int
    begins: array[int] | None
    dropped: tuple[int, ...]

    def original(self, line: int) -> int:
        """The line of the file from which a line of the copy comes; both count from 1."""
        return line if self.begins is None else self.begins[line - 1]

    def of_records(self, records: list[int], rejected: list[int]) -> list[int]:
        """The lines of records, which count from 0. `rejected` are the lines of the copy that DuckDB rejected,
        sorted."""
        found = []
        for record in records:
            line = self.heading + record + 1
            # Each rejected line before it moves it down by one.
            while (moved := self.heading + record + 1 + bisect_left(rejected, line + 1)) != line:
                line = moved
            found.append(self.original(line))
        return found


def check_file(path: Path) -> None:
    """Raise LogsUnusable if a path is not that of a file that can be read more than once."""
    wrong = "does not exist" if not path.exists() else "is a directory; name the files in it" if path.is_dir() else ""
    if wrong or not path.is_file():
        raise LogsUnusable(
            LogsUnusableReason.MISSING_FILE,
            f"{path} {wrong or 'is not a regular file; it is read more than once, so write its content to a file'}",
        )


def open_log(path: Path, number: int, log: str | LogFormat, directory: Path) -> LogFile:
    """Look at a file that `check_file` passed, and say how to read it. `number` tells files apart, `log` is the
    mapping's log format or empty, and a copy is written to `directory` if one is needed. Raises LogsUnusable and
    OSError."""
    with path.open("rb") as file:
        start = file.read(4)
    if start == b"PAR1":
        return _parquet(path)
    compression = next((name for magic, name in _MAGIC if start.startswith(magic)), "")
    text = _text_file(path, compression, number, directory, quotes=not isinstance(log, LogFormat))
    if isinstance(log, LogFormat):
        return _server_log(text, log, number)
    if log == POSTGRESQL:
        return _csv(text, number, postgresql=True)
    if text.head.lstrip().startswith("{"):
        return _json_lines(text, number)
    return _csv(text, number, postgresql=False)


def _parquet(path: Path) -> LogFile:
    import pyarrow.parquet as pq

    try:
        about = pq.ParquetFile(path)
    except (OSError, pa.ArrowInvalid) as error:
        raise LogsUnusable(LogsUnusableReason.UNREADABLE, f"{path} cannot be read: {error}") from error
    columns = tuple(about.schema_arrow.names)
    texts = ", ".join(f"CAST({quoted(name)} AS VARCHAR) AS {quoted(name)}" for name in columns)
    relation = f"SELECT {texts}, true AS whole FROM read_parquet({literal(str(path))})"
    return LogFile(path, FileKind.PARQUET, columns, relation, about.metadata.num_rows)


@dataclass(frozen=True, slots=True)
class _Text:
    """A text file: where it can be read as UTF-8 with one record a line, its beginning, and the facts about it."""

    path: Path
    readable: Path
    head: str
    newlines: int
    encoding: str
    compression: str
    begins: array[int] | None
    dropped: tuple[int, ...]

    def log_file(self, kind: FileKind, columns: tuple[str, ...], relation: str, heading: int, rejects: str) -> LogFile:
        return LogFile(
            self.path, kind, columns, relation, self.newlines + 1 - heading, self.encoding, self.compression, rejects,
            Lines(heading, self.begins, self.dropped),
        )  # fmt: skip


def _opened(path: Path, compression: str) -> BinaryIO:
    if not compression:
        return path.open("rb")
    return cast(BinaryIO, pa.input_stream(str(path), compression=compression))


def _text_file(path: Path, compression: str, number: int, directory: Path, quotes: bool) -> _Text:
    encoding = _encoding(path, compression)
    quotes = quotes and not _head(path, compression, encoding).lstrip().startswith("{")
    plain = encoding == "utf-8" and not compression
    newlines, clean = _looked_at(path, quotes) if plain else (0, False)
    begins: array[int] | None = None
    dropped: tuple[int, ...] = ()
    readable = path
    if not clean:
        readable = directory / f"file-{number}.txt"
        begins, dropped = _copied(path, compression, encoding, readable, quotes)
        newlines = len(begins)
    head = _head(readable, "", "utf-8")
    return _Text(path, readable, head, newlines, _NAMES[encoding], compression, begins, dropped)


def _head(path: Path, compression: str, encoding: str) -> str:
    with _opened(path, compression) as file:
        return file.read(_HEAD * 16).decode(encoding, errors="replace").removeprefix("\ufeff")


def _encoding(path: Path, compression: str) -> str:
    """The encoding of a text file: by its byte order mark, by NUL bytes, or because the whole file can be decoded."""
    try:
        with _opened(path, compression) as file:
            start = file.read(_HEAD)
            for mark, name in _MARKS:
                if start.startswith(mark):
                    return name
            if start.count(0) > len(start) // 4:
                encoding = "utf-16-le" if start[1:2] == b"\0" else "utf-16-be"
                text = start.decode(encoding, errors="replace")
                if text.count("\0") + text.count("\ufffd") > len(text) // 100 + 1:
                    raise _not_text(path)
                return encoding
            if _decodes(start, file, "utf-8"):
                return "utf-8"
        with _opened(path, compression) as file:
            readable, mostly_utf8 = _readable_lines(file)
            if mostly_utf8:
                return "utf-8"
        with _opened(path, compression) as file:
            if _decodes(b"", file, "cp932"):
                return "cp932"
        if readable:
            return "utf-8"
    except (OSError, pa.ArrowInvalid) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise LogsUnusable(LogsUnusableReason.UNREADABLE, f"{path} is damaged: {error}") from error
    raise _not_text(path)


def _not_text(path: Path) -> LogsUnusable:
    return LogsUnusable(
        LogsUnusableReason.UNREADABLE, f"{path} is not Parquet, and not a text file in UTF-8, CP932 or UTF-16"
    )


def _readable_lines(file: BinaryIO) -> tuple[bool, bool]:
    """Whether at least half of a file's lines are UTF-8, and whether more of those that are not ASCII are than are not.
    Most UTF-8 can be decoded as CP932."""
    ascii_lines = good = bad = 0
    for line in _split(file, None):
        if line.isascii():
            ascii_lines += 1
        else:
            try:
                line.decode("utf-8")
                good += 1
            except UnicodeDecodeError:
                bad += 1
    return ascii_lines + good >= bad, good > bad


def _decodes(start: bytes, file: BinaryIO, encoding: str) -> bool:
    decoder = codecs.getincrementaldecoder(encoding)()
    with suppress(UnicodeDecodeError):
        while start or (start := file.read(_CHUNK)):
            if not start.isascii() or decoder.getstate()[0]:
                decoder.decode(start)
            start = b""
        decoder.decode(b"", final=True)
        return True
    return False


def _looked_at(path: Path, quotes: bool) -> tuple[int, bool]:
    """The number of line breaks of a plain UTF-8 file, and whether each line is one record: no empty lines, one kind of
    line break, and (if quotes count) no quote that is open at the end of a line."""
    newlines = returns = 0
    quoting, last = False, b"\n"
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            newlines += chunk.count(b"\n")
            returns += chunk.count(b"\r")
            joined = last + chunk
            if b"\n\n" in joined or b"\n\r" in joined:
                return 0, False
            quoting = quoting or (quotes and b'"' in chunk)
            last = chunk[-1:]
    if returns not in (0, newlines):
        return 0, False
    if quoting:
        with path.open("rb") as file:
            if any(line.count(b'"') % 2 for line in file):
                return 0, False
    return newlines - (last == b"\n"), True


def _copied(
    path: Path, compression: str, encoding: str, target: Path, quotes: bool
) -> tuple[array[int], tuple[int, ...]]:
    """Write a copy in UTF-8 with one record a line. Returns the line at which each record begins, and the lines that
    were left out."""
    begins: array[int] = array("L")
    dropped: list[int] = []
    with _opened(path, compression) as file, target.open("w", encoding="utf-8", newline="\n") as copy:
        for number, record in _records(_decoded(file, encoding), quotes):
            if record is None:
                dropped.append(number)
            else:
                begins.append(number)
                copy.write(f"{record}\n")
    return begins, tuple(dropped)


def _decoded(file: BinaryIO, encoding: str) -> Iterator[tuple[int, str | None]]:
    """The lines that are not empty, with their numbers; None for one that is not in the encoding."""
    wide = encoding.startswith("utf-16")
    lines = _split(file, codecs.getincrementaldecoder(encoding)("replace") if wide else None)
    for number, raw in enumerate(lines, 1):
        try:
            line: str | None = raw.decode("cp932" if encoding == "cp932" else "utf-8" if number > 1 else "utf-8-sig")
        except UnicodeDecodeError:
            line = None
        if line is None or line.strip():
            yield number, None if line is None else line.strip("\r").replace("\r", " ")


def _split(file: BinaryIO, decoder: codecs.IncrementalDecoder | None) -> Iterator[bytes]:
    """The lines of a stream without their line feeds; in UTF-8 if there is a decoder."""
    rest = b""
    while chunk := file.read(_CHUNK):
        if decoder is not None:
            chunk = decoder.decode(chunk).encode()
        *lines, rest = (rest + chunk).split(b"\n")
        yield from lines
    if rest:
        yield rest


def _records(lines: Iterator[tuple[int, str | None]], quotes: bool) -> Iterator[tuple[int, str | None]]:
    """Join the lines of records with line breaks inside quotes. A quote that is not closed within _LONGEST_RECORD lines
    spoils its own line only."""
    width = 0
    waiting: list[tuple[int, str | None]] = []
    while True:
        first = waiting.pop(0) if waiting else next(lines, None)
        if first is None:
            return
        number, record = first
        if record is None or not quotes or record.count('"') % 2 == 0:
            width = width or (0 if record is None else _fields(record))
            yield number, record
            continue
        joined, taken = record, 0
        for place in range(_LONGEST_RECORD):
            if place == len(waiting):
                more = next(lines, None)
                if more is None:
                    break
                waiting.append(more)
            text = waiting[place][1]
            joined = f"{joined} {text}"
            if text is not None and text.count('"') % 2:
                taken = place + 1
                break
        if taken and (width in (0, _fields(joined))):
            del waiting[:taken]
            yield number, joined
        else:
            yield number, None


def _fields(record: str) -> int:
    """The number of fields of a record, whichever delimiter it has."""
    with suppress(csv.Error):
        return len(next(csv.reader([record], delimiter=_delimiter(record)), []))
    return 0


def _delimiter(header: str) -> str:
    return max(_DELIMITERS, key=header.count)


def _reader(text: _Text, options: str, number: int) -> str:
    return (
        f"read_csv({literal(str(text.readable))}, auto_detect=false, {options}, store_rejects=true, "
        f"rejects_table='rejects_{number}', rejects_scan='scan_{number}', rejects_line_size_limit=1)"
    )


def _csv(text: _Text, number: int, *, postgresql: bool) -> LogFile:
    lines = text.head.splitlines()
    skipped = 1 if lines and lines[0].lower().startswith("sep=") and not postgresql else 0
    header = lines[skipped] if len(lines) > skipped else ""
    delimiter = lines[0][4:5] if skipped else "," if postgresql else _delimiter(header)
    names = next(csv.reader([header], delimiter=delimiter or ","), [])
    if postgresql:
        names = list(POSTGRESQL_COLUMNS[: len(names)])
    columns = _distinct(names)
    types = ", ".join(f"{literal(name)}: 'VARCHAR'" for name in columns)
    heading = 0 if postgresql else skipped + 1
    options = (
        f"header={str(not postgresql).lower()}, skip={skipped}, delim={literal(delimiter or ',')}, quote='\"', "
        f"escape='\"', columns={{{types}}}"
    )
    relation = f"SELECT *, true AS whole FROM {_reader(text, options, number)}"
    if not columns:
        relation = "SELECT true AS whole WHERE false"
    return text.log_file(FileKind.CSV, columns, relation, heading, f"rejects_{number}" if columns else "")


def _distinct(names: list[str]) -> tuple[str, ...]:
    """Column names as they are written, and with a number where one is empty or comes again."""
    seen: dict[str, int] = {}
    columns = []
    for place, name in enumerate(names):
        base = name.strip() or f"column{place}"
        seen[base] = seen.get(base, 0) + 1
        columns.append(base if seen[base] == 1 else f"{base}_{seen[base]}")
    return tuple(columns)


_LINE = "header=false, delim='\x01', quote='', escape='', columns={'line': 'VARCHAR'}"


def _json_lines(text: _Text, number: int) -> LogFile:
    columns: dict[str, str] = {}
    for line in text.head.splitlines()[:_SAMPLED]:
        with suppress(ValueError):
            _paths(json.loads(line), "", "$", columns)
    paths = "[" + ", ".join(literal(path) for path in columns.values()) + "]"
    values = ", ".join(f"found[{place}] AS {quoted(name)}" for place, name in enumerate(columns, 1))
    relation = (
        f"SELECT {values}{', ' if values else ''}whole FROM (SELECT whole, CASE WHEN whole THEN "
        f"json_extract_string(line, {paths}) END AS found FROM (SELECT line, line IS NOT NULL AND json_valid(line) "
        f"AND json_type(line) = 'OBJECT' AS whole FROM {_reader(text, _LINE, number)}))"
    )
    return text.log_file(FileKind.JSON_LINES, tuple(columns), relation, 0, f"rejects_{number}")


def _paths(found: object, name: str, path: str, columns: dict[str, str]) -> None:
    """Collect the columns of a JSON object, with the paths of their values; members of nested objects have dotted
    names."""
    if isinstance(found, dict):
        for key, value in found.items():
            escaped = str(key).replace("\\", "\\\\").replace('"', '\\"')
            _paths(value, f"{name}.{key}" if name else str(key), f'{path}."{escaped}"', columns)
    elif name:
        columns.setdefault(name, path)


def _server_log(text: _Text, log: LogFormat, number: int) -> LogFile:
    columns = _distinct(list(log.variables))
    groups = "[" + ", ".join(f"'g{place}'" for place in range(len(columns))) + "]"
    values = ", ".join(f"nullif(found.g{place}, '') AS {quoted(name)}" for place, name in enumerate(columns))
    relation = (
        f"SELECT {values}, whole FROM (SELECT regexp_matches(line, {literal(log.pattern)}) IS TRUE AS whole, "
        f"regexp_extract(line, {literal(log.pattern)}, {groups}) AS found FROM {_reader(text, _LINE, number)})"
    )
    return text.log_file(FileKind.LOG, columns, relation, 0, f"rejects_{number}")
