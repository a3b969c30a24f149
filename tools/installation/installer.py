"""How the running program was installed (clone, pip, pipx, uv), and the commands that update and remove it."""

from __future__ import annotations

import importlib.metadata
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from kazashi.assembly.errors import InstallationFailed
from kazashi.tools.installation import debian
from kazashi.tools.installation.parts import PARTS, called, debian_packages
from kazashi.tools.installation.running import clone, install_packages, lacking
from kazashi.tools.installation.start import environments_of, provided

NAME = "kazashi"


def installer() -> str:
    """Return the program that installed this one: `clone`, `pipx`, `uv tool`, `uv` or `pip`."""
    prefix = Path(sys.prefix)
    if clone() is not None:
        return "clone"
    if (prefix / "pipx_metadata.json").is_file():
        return "pipx"
    if (prefix / "uv-receipt.toml").is_file():
        return "uv tool"
    return (importlib.metadata.distribution(NAME).read_text("INSTALLER") or "pip").strip()


def source() -> str | None:
    """Return the file or address that the program was installed from, or None if it came from a package index."""
    text = importlib.metadata.distribution(NAME).read_text("direct_url.json")
    return None if text is None else str(json.loads(text)["url"])


def install_parts(parts: Sequence[str]) -> None:
    """Install parts of the program: in a clone into its environment, elsewhere with the program that installed this
    one. Raises InstallationFailed."""
    root = clone()
    if root is None:
        extras = ",".join(PARTS[part].extra for part in parts if PARTS[part].extra)
        if extras:
            _run(*_pip("install"), f"{NAME}[{extras}]")
        install_packages(debian.missing(debian_packages(parts)))
    else:
        with provided(root, parts, True, called()):
            pass


def update(wheel: str | None) -> None:
    """Install a newer version: in a clone the newest commit, elsewhere a wheel (its file or address; the default is
    where this version came from). Raises InstallationFailed."""
    root = clone()
    if root is not None:
        _run("git", "-C", str(root), "pull", "--ff-only")
        return
    new = wheel or source()
    if new is None:
        raise InstallationFailed("where this version came from is not known; name the wheel: kazashi self update WHEEL")
    extras = ",".join(part.extra for part in PARTS.values() if part.modules and not lacking([part.name]))
    address = new if "://" in new else Path(new).resolve().as_uri()
    wanted = f"{NAME}[{extras}] @ {address}" if extras else f"{NAME} @ {address}"
    how = installer()
    if how == "pipx":
        _run("pipx", "install", "--force", wanted)
    elif how == "uv tool":
        _run("uv", "tool", "install", "--force", wanted)
    else:
        _run(*_pip("install"), "--upgrade", wanted)


def remove() -> None:
    """Remove the program: in a clone its environments. Raises InstallationFailed."""
    root, how = clone(), installer()
    if root is not None:
        environments_of(root).remove()
    elif how == "pipx":
        _run("pipx", "uninstall", NAME)
    elif how == "uv tool":
        _run("uv", "tool", "uninstall", NAME)
    else:
        _run(*_pip("uninstall"), *([] if how == "uv" else ["--yes"]), NAME)


def what_stays() -> list[str]:
    """Return what is left behind when the program is removed, a line each."""
    from kazashi.world.home import default_directory

    root = clone()
    lines = [] if root is None else [f"{root}, the clone", "Debian packages, which other programs may use"]
    home = default_directory()
    return [*lines, f"{home}, your world"] if home.exists() else lines


def _pip(verb: str) -> list[str]:
    """Return the beginning of a command that changes the environment of this program."""
    if installer() == "pipx":
        return ["pipx", "runpip", NAME, verb]
    if installer() == "pip":
        return [sys.executable, "-m", "pip", verb]
    return ["uv", "pip", verb, "--python", sys.executable]


def _run(*command: str) -> None:
    """Run a command, whose output the user sees on stderr. Raises InstallationFailed."""
    try:
        done = subprocess.run(command, check=False, stdout=sys.stderr)
    except FileNotFoundError as error:
        raise InstallationFailed(f"{command[0]} is not in PATH") from error
    if done.returncode:
        raise InstallationFailed(f"{' '.join(command)} ended with status {done.returncode}; see its words above")
