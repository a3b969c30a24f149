"""Files of residents to import: JSON lines, or CSV with a header."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from typing import IO, Any

from kazashi.resident_registry.registry import ImportRejected


def documents_in(file: IO[bytes]) -> Iterator[tuple[int, dict[str, Any]]]:
    """The residents' documents in a seekable file, each with its line number. Raises ImportRejected."""
    first = file.read(1)
    file.seek(0)
    at = 0

    def lines() -> Iterator[str]:
        nonlocal at
        for line in file:
            at += 1
            yield line.decode("utf-8-sig")

    text = lines()
    try:
        if first == b"{":
            for number, line in enumerate(text, start=1):
                if line.strip():
                    yield number, json.loads(line)
            return
        for number, row in enumerate(csv.DictReader(text, strict=True), start=2):
            if None in row:
                raise ImportRejected(f"line {number} has more fields than the header; nothing was registered")
            yield number, {key: value for key, value in row.items() if value}
    except (ValueError, csv.Error) as error:
        raise ImportRejected(
            f"the file is neither JSON lines nor CSV in UTF-8 (line {at}); nothing was registered"
        ) from error
