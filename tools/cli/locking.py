"""The lock file, made anew: the newest versions, their hashes, and how large each part is once installed."""

from __future__ import annotations

import configparser
import importlib.metadata
import json
import subprocess
import sys
from pathlib import Path

from kazashi.assembly.errors import InstallationFailed
from kazashi.tools.installation.lock import BUILD, NAME, SIZES, Pin, needed, normalised, pins
from kazashi.tools.installation.parts import BASE, PARTS

OLDEST_PYTHON = "3.11"
_COMPILE = ("pip", "compile", "setup.cfg", "--all-extras", "--python-version", OLDEST_PYTHON, "--generate-hashes",
            "--no-header", "--quiet")  # fmt: skip


def write_lock(root: Path) -> None:
    """Resolve the newest versions of everything that setup.cfg names, for all platforms, into the lock file, and
    measure the parts' sizes in the running environment. Raises InstallationFailed."""
    compiled(root, "--universal", "--upgrade", "--output-file", NAME)
    sizes = json.dumps(measured(root), indent=2)
    SIZES.write_text(f"{sizes}\n", encoding="utf-8")


def lowest(root: Path) -> str:
    """Return a requirements file with the lowest versions that setup.cfg allows, and the newest of everything that
    these need. Raises InstallationFailed."""
    return compiled(root, "--resolution", "lowest-direct")


def compiled(root: Path, *options: str) -> str:
    """Run uv's resolver on setup.cfg. Returns its output. Raises InstallationFailed."""
    uv = Path(sys.prefix) / "bin" / "uv"
    done = subprocess.run([uv, *_COMPILE, *options], cwd=root, capture_output=True, text=True, check=False)
    if done.returncode:
        raise InstallationFailed(f"uv could not resolve setup.cfg: {done.stderr.strip()}")
    return done.stdout


def measured(root: Path) -> dict[str, int]:
    """Return how many megabytes the Python packages of each part take beyond the base's, in the running
    environment."""
    setup = configparser.ConfigParser()
    setup.read(root / "setup.cfg", encoding="utf-8")
    lock = pins((root / NAME).read_text(encoding="utf-8"))
    base = _names(lock, setup, [BUILD])
    result = {BASE: _megabytes(base)}
    for part in PARTS.values():
        if part.extra:
            result[part.name] = _megabytes(_names(lock, setup, [part.extra, BUILD]) - base)
    return result


def _names(lock: list[Pin], setup: configparser.ConfigParser, extras: list[str]) -> set[str]:
    return {pin.name for pin in needed(lock, setup, extras)}


def _megabytes(names: set[str]) -> int:
    total = 0
    for distribution in importlib.metadata.distributions():
        if normalised(distribution.name) in names:
            for path in distribution.files or []:
                file = Path(str(path.locate()))
                total += file.stat().st_size if file.exists() else 0
    return -(-total // 1_000_000)
