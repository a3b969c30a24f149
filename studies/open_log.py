"""A published open log as anybody can read it: the rows, and how many others look the same as a row."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from kazashi.provision_network.open_log import FORMAT, META, OpenLogUnusable, Precision
from kazashi.tracking_lab.metrics import Anonymity, Share, anonymity

COLUMNS = {
    "requestInTs": pl.Int64, "requestInDate": pl.String, "clientMemberCode": pl.String,
    "clientSubsystemCode": pl.String, "serviceMemberCode": pl.String, "serviceCode": pl.String,
    "totalDurationClass": pl.String, "succeeded": pl.Boolean,
}  # fmt: skip
"""The columns of a row with their types."""

LOOKS = ("clientMemberCode", "serviceMemberCode", "serviceCode", "requestInTs")
"""What an outsider may know about a request: the two bodies, the item and the time."""

FEW = 5
"""Rows that fewer than this many share would have to be withheld in a log in which every row hides among as many."""


@dataclass(frozen=True, slots=True)
class PublishedLog:
    """An open log: its precision, its delay in days, and its rows (see COLUMNS)."""

    precision: Precision
    delay_days: int
    rows: pl.DataFrame


@dataclass(frozen=True, slots=True)
class RowProtection:
    """How far rows hide among others with the same bodies, item and time: the anonymity sets of rows, and the share of
    rows in sets that are smaller than FEW."""

    sets: Anonymity
    small: Share


def read_open_log(directory: Path) -> PublishedLog:
    """Read an open log. Raises OpenLogUnusable."""
    try:
        meta = json.loads((directory / META).read_text(encoding="utf-8"))
        if meta["format"] != FORMAT:
            raise OpenLogUnusable(f"{directory / META} has format {meta['format']!r}; this program reads {FORMAT}")
        frames = [_day(directory, day) for day in meta["days"]]
        log = PublishedLog(Precision(meta["precision"]), int(meta["delay_days"]), pl.concat(frames or [_none()]))
    except FileNotFoundError as error:
        words = f"{error.filename} is missing; make an open log with: kazashi network open-log --out DIR"
        raise OpenLogUnusable(words) from error
    except (OSError, EOFError, ValueError, KeyError, TypeError, pl.exceptions.PolarsError) as error:
        words = " ".join(str(error).split())[:120]
        raise OpenLogUnusable(f"{directory} is not an open log, or is damaged ({words})") from error
    return log


def protection(rows: pl.DataFrame) -> RowProtection:
    """Count the rows that look the same as others by LOOKS."""
    sizes = rows.select(size=pl.len().over(*LOOKS))["size"]
    return RowProtection(anonymity(rows, LOOKS), Share(int((sizes < FEW).sum()), rows.height))


def _day(directory: Path, day: dict[str, Any]) -> pl.DataFrame:
    path = directory / Path(day["file"]).name
    content = path.read_bytes()
    if hashlib.sha256(content).hexdigest() != day["sha256"]:
        raise OpenLogUnusable(f"{path} is not the file that {META} describes; its digest differs")
    return pl.read_ndjson(io.BytesIO(gzip.decompress(content)), schema=COLUMNS).select(*COLUMNS)


def _none() -> pl.DataFrame:
    return pl.DataFrame(schema=COLUMNS)
