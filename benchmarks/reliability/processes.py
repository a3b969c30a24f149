"""The memory and the descriptors of other processes, from /proc."""

from __future__ import annotations

from pathlib import Path


def resident_megabytes(process: int) -> float:
    """Return the resident size of a process in megabytes. Raises OSError if there is no such process."""
    return _of(process, "status", "VmRSS")


def proportional_megabytes(process: int) -> float:
    """Return the resident size of a process, with its share of what several processes share. Raises OSError."""
    return _of(process, "smaps_rollup", "Pss")


def descriptors(process: int) -> int:
    """Return the number of open descriptors of a process. Raises OSError."""
    return len(list(Path(f"/proc/{process}/fd").iterdir()))


def descendants(process: int) -> list[int]:
    """Return a process and all that it has started, directly or not."""
    children = [int(child) for task in Path(f"/proc/{process}/task").iterdir()
                for child in (task / "children").read_text(encoding="ascii").split()]  # fmt: skip
    return [process, *(below for child in children for below in descendants(child))]


def _of(process: int, file: str, name: str) -> float:
    for line in Path(f"/proc/{process}/{file}").read_text(encoding="ascii").splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) / 1024
    raise OSError(f"/proc/{process}/{file} has no line {name}")
