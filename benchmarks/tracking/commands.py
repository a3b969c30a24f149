"""The commands of the tracking laboratory on large data: their time and their peak memory."""

from __future__ import annotations

import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import duckdb


@dataclass(frozen=True, slots=True)
class Run:
    """The seconds that a command took, and the peak resident size of its process and its children together, in
    megabytes."""

    seconds: float
    megabytes: float


def run(world: Path, *words: str) -> Run:
    """Run `kazashi tracking` on a world. Raises CalledProcessError."""
    command = [sys.executable, "-m", "kazashi", "--world", str(world), "tracking", *words]
    begun, most = time.perf_counter(), 0
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        while process.poll() is None:
            most = max(most, sum(_resident(member) for member in _family(process.pid)))
            time.sleep(0.02)
        error = process.stderr.read() if process.stderr else ""
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command, stderr=error)
    return Run(time.perf_counter() - begun, most / 1000)


def _family(process: int) -> list[int]:
    """A process and its descendants."""
    try:
        children = Path(f"/proc/{process}/task/{process}/children").read_text(encoding="ascii").split()
    except OSError:
        children = []
    return [process, *(member for child in children for member in _family(int(child)))]


def _resident(process: int) -> int:
    """The resident kilobytes of a process; 0 if it has ended."""
    try:
        lines = Path(f"/proc/{process}/status").read_text(encoding="ascii").splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) for line in lines if line.startswith("VmRSS:"))


MAPPING = "moment: time\nservice: shop\nhandle: serial\n"


def write_log(file: Path, rows: int, handles: int) -> None:
    """Write a log of three shops as CSV, whose serial numbers are in six spellings, one row in a hundred without."""
    connection = duckdb.connect()
    connection.execute("SELECT setseed(0.5)")
    connection.execute(f"""
        COPY (
            WITH draws AS (SELECT CAST(floor(power(random(), 1.5) * {handles}) AS BIGINT) AS person,
                                  CAST(floor(random() * 3) AS INT) AS shop,
                                  CAST(floor(random() * 31536000) AS BIGINT) AS t,
                                  CAST(floor(random() * 6) AS INT) AS form, random() < 0.01 AS none FROM range({rows})),
                 numbers AS (SELECT *, 1879048192 + person AS n, printf('%08X', 1879048192 + person) AS hex FROM draws)
            SELECT strftime(make_timestamp((1777593600 + t) * 1000000), '%Y-%m-%dT%H:%M:%S+00:00') AS time,
                   'shop' || shop AS shop,
                   CASE WHEN none THEN '-' WHEN form = 0 THEN hex WHEN form = 1 THEN lower(hex)
                        WHEN form = 2 THEN hex[1:2] || ':' || hex[3:4] || ':' || hex[5:6] || ':' || hex[7:8]
                        WHEN form = 3 THEN CAST(n AS VARCHAR) WHEN form = 4 THEN '00' || hex
                        ELSE '0x' || lower(hex) END AS serial
            FROM numbers
        ) TO '{file}' (HEADER)
    """)
    connection.close()
