"""Where the stock `vicc` of virtualsmartcard is installed. It is GPL-3, and nothing of ours imports it."""

from __future__ import annotations

import subprocess
from pathlib import Path

_PACKAGE = "python3-virtualsmartcard"
_PROGRAM_PACKAGE = "vsmartcard-vpicc"


class ViccMissing(Exception):
    """vicc is not installed."""


def modules_directory() -> Path:
    """Where Debian put vicc's modules, which is off the interpreter's path."""
    listed = subprocess.run(["dpkg", "-L", _PACKAGE], capture_output=True, text=True, check=False).stdout
    for line in listed.splitlines():
        if line.endswith("/virtualsmartcard/VirtualSmartcard.py"):
            return Path(line).parent.parent
    raise ViccMissing(f"vicc's modules are missing; install the Debian package {_PACKAGE}")


def program() -> Path:
    """The stock program."""
    path = Path("/usr/bin/vicc")
    if not path.exists():
        raise ViccMissing(f"{path} is missing; install the Debian package {_PROGRAM_PACKAGE}")
    return path
