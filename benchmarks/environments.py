"""Python packages for programs that benchmarks and tests start: environments of their own, pinned by a lock file with
hashes, because they are large or need other versions than Kazashi does."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from benchmarks.user_cache import installed_once


class EnvironmentUnavailable(Exception):
    """The packages could not be installed."""


def python_with(lock: Path) -> Path:
    """Return the Python of an environment with what a lock file names. It is installed the first time, in the user's
    cache. Raises EnvironmentUnavailable."""
    content = lock.read_bytes() + sys.version.encode()
    return installed_once("python", content, lambda directory: _install(lock, directory)) / "bin" / "python"


def _install(lock: Path, directory: Path) -> None:
    uv = str(Path(sys.prefix) / "bin" / "uv")
    for command in (
        (uv, "venv", "--quiet", "--clear", "--python", sys.executable, str(directory)),
        (uv, "pip", "install", "--quiet", "--require-hashes", "--only-binary", ":all:",
         "--python", str(directory / "bin" / "python"), "--requirement", str(lock)),
    ):  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
        if done.returncode:
            raise EnvironmentUnavailable(f"{' '.join(command)} exited with {done.returncode}: {done.stderr}")
