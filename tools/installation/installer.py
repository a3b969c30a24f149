"""How the running program was installed (clone, pip, pipx, uv), and the commands that update and remove it."""

from __future__ import annotations

import importlib.metadata
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

from kazashi.tools.installation.environment import in_use
from kazashi.tools.installation.errors import InstallationFailed
from kazashi.tools.installation.running import clone
from kazashi.tools.installation.start import environments_of

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


def update_command(wheel: str | None) -> list[str]:
    """Return the command that installs a newer version. `wheel` is its file or address; the default is where this
    version came from. Raises InstallationFailed if that is not known."""
    how, new = installer(), wheel or source()
    if new is None:
        raise InstallationFailed("where this version came from is not known; name the wheel: kazashi self update WHEEL")
    return {
        "pipx": ["pipx", "install", "--force", new],
        "uv tool": ["uv", "tool", "install", "--force", new],
        "uv": ["uv", "pip", "install", "--python", sys.executable, "--reinstall-package", NAME, new],
    }.get(how, [sys.executable, "-m", "pip", "install", "--force-reinstall", "--no-deps", new])


def remove_command() -> list[str]:
    """Return the command that removes the program where it was not installed by a clone."""
    return {
        "pipx": ["pipx", "uninstall", NAME],
        "uv tool": ["uv", "tool", "uninstall", NAME],
        "uv": ["uv", "pip", "uninstall", "--python", sys.executable, NAME],
    }.get(installer(), [sys.executable, "-m", "pip", "uninstall", "--yes", NAME])


def update_clone(root: Path) -> None:
    """Pull the newest commit of a clone. Raises InstallationFailed."""
    done = subprocess.run(["git", "-C", str(root), "pull", "--ff-only"], check=False)
    if done.returncode:
        raise InstallationFailed(f"git could not update {root}; see its words above")


def remove_clones_environments(root: Path) -> Path:
    """Remove the virtual environments of a clone, except its source. Returns the folder that is gone. Raises
    InstallationFailed if another process runs from one of them."""
    environments = environments_of(root)
    with environments.locked():
        busy = [path for path in environments.folder.iterdir() if path.is_dir() and in_use(path, but=os.getpid())]
        if busy:
            raise InstallationFailed(f"a program runs from {busy[0]}; end it (kazashi down), and run this again")
        environments.link.unlink(missing_ok=True)
        shutil.rmtree(environments.folder)
    return environments.folder
