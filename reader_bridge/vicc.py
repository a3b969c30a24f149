"""The location of virtualsmartcard's `vicc`. It is licensed under GPL-3, and Kazashi does not import it."""

from __future__ import annotations

import subprocess
from pathlib import Path

_PACKAGE = "python3-virtualsmartcard"
_PROGRAM_PACKAGE = "vsmartcard-vpicc"


class ViccMissing(Exception):
    """vicc is not installed."""


def modules_directory() -> Path:
    """Return the directory of vicc's modules, which Debian installs outside the interpreter's path.

    Raises ViccMissing.
    """
    listed = subprocess.run(["dpkg", "-L", _PACKAGE], capture_output=True, text=True, check=False).stdout
    for line in listed.splitlines():
        if line.endswith("/virtualsmartcard/VirtualSmartcard.py"):
            return Path(line).parent.parent
    raise ViccMissing(f"vicc's modules are missing; install the Debian package {_PACKAGE}")


def program() -> Path:
    """Return the path of the vicc program. Raises ViccMissing."""
    path = Path("/usr/bin/vicc")
    if not path.exists():
        raise ViccMissing(f"{path} is missing; install the Debian package {_PROGRAM_PACKAGE}")
    return path
