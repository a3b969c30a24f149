"""Debian packages: which are missing, how much there is to download, and their installation."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import IO

from kazashi.assembly.errors import InstallationFailed
from kazashi.tools.installation.progress import Progress, is_terminal

_APT = ("apt-get", "-o", "DPkg::Lock::Timeout=600")
_LISTS_SECONDS = 600
"""How long to wait for another program that reads the package lists; apt itself does not wait for that lock."""


def is_debian() -> bool:
    """Whether this system has Debian's package manager."""
    return shutil.which("dpkg-query") is not None and shutil.which("apt-get") is not None


def missing(packages: Iterable[str]) -> list[str]:
    """Return the packages that are not installed. `a | b` is installed if either is; `a` is returned if neither is.
    Returns none on a system without Debian's package manager."""
    choices = [entry.split(" | ") for entry in packages if not (entry == "golang-go" and shutil.which("go"))]
    if not choices or not is_debian():
        return []
    done = subprocess.run(
        ["dpkg-query", "-W", "-f", "${Package} ${db:Status-Status}\n", *(name for names in choices for name in names)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    installed = {line.split()[0] for line in done.stdout.splitlines() if line.endswith(" installed")}
    return [names[0] for names in choices if installed.isdisjoint(names)]


def download_megabytes(packages: Sequence[str]) -> int | None:
    """Return how many megabytes apt would download, with everything that the packages need in turn. Returns None if
    apt has no package lists yet."""
    done = subprocess.run(
        [*_APT, "install", "--print-uris", "-qq", "--no-install-recommends", *packages],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    sizes = [int(match[1]) for match in re.finditer(r"^'\S+' \S+ (\d+) ", done.stdout, re.MULTILINE)]
    return None if done.returncode else round(sum(sizes) / 1e6)


def command(packages: Sequence[str], *options: str) -> str:
    """Return the command with which root installs packages."""
    return " ".join(("apt-get", "install", *options, "--no-install-recommends", *packages))


def prefix() -> list[str] | None:
    """Return what to put before a command so that root runs it, or None if this user may not."""
    if os.geteuid() == 0:
        return []
    if shutil.which("sudo") is None:
        return None
    quiet = subprocess.run(["sudo", "-n", "true"], capture_output=True, check=False).returncode == 0
    return ["sudo"] if quiet or is_terminal(sys.stdin) else None


def refusal(packages: Sequence[str]) -> InstallationFailed:
    """Return the error for a user who may not install packages."""
    return InstallationFailed(
        f"{len(packages)} Debian packages are missing, and only root can install them; "
        f"run: sudo apt-get update && sudo {command(packages)}"
    )


def install(packages: Sequence[str], log: Path, lock: int, progress: Progress) -> None:
    """Install packages. apt's own words go to `log`; it inherits the file descriptor `lock`, so that the lock is held
    for as long as it works. Raises InstallationFailed."""
    root = prefix()
    if root is None:
        raise refusal(packages)
    with log.open("a", encoding="utf-8") as words:
        # Package lists that are there are tried first: to read new ones takes longer than most installations.
        if not _installed(root, packages, words, lock, progress):
            _update(root, words, lock)
            if not _installed(root, packages, words, lock, progress):
                words.flush()
                raise InstallationFailed(f"apt-get could not install {' '.join(packages)}: {_reason(log)}; {_REMEDY}")


_REMEDY = "mend that, for example with apt-get --fix-broken install, and run this again"


def _installed(root: Sequence[str], packages: Sequence[str], words: IO[str], lock: int, progress: Progress) -> bool:
    work = f"{len(packages)} Debian packages"
    progress.show(work, 0)
    process = subprocess.Popen(
        [*root, "env", "DEBIAN_FRONTEND=noninteractive", *_APT, "-o", "APT::Status-Fd=1",
         *command(packages, "-y").split()[1:]],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=words, pass_fds=(lock,),
        encoding="utf-8", errors="replace",
    )  # fmt: skip
    assert process.stdout is not None
    for line in process.stdout:
        kind, *fields = line.split(":")
        if kind in ("dlstatus", "pmstatus") and len(fields) > 1:
            # Downloading counts as the first half, unpacking and configuring as the second.
            progress.show(work, float(fields[1]) / 200 + (0.5 if kind == "pmstatus" else 0))
        else:
            words.write(line)
    return process.wait() == 0


def _update(root: Sequence[str], words: IO[str], lock: int) -> None:
    """Read the package lists. apt does not wait for another program that reads them, so this tries again."""
    ends = time.monotonic() + _LISTS_SECONDS
    while True:
        done = subprocess.run([*root, *_APT, "update", "-qq"], stdin=subprocess.DEVNULL, capture_output=True,
                              text=True, check=False, pass_fds=(lock,))  # fmt: skip
        words.write(done.stdout + done.stderr)
        words.flush()
        if "Could not get lock" not in done.stderr or time.monotonic() > ends:
            return  # if there is no network, the installation says so
        time.sleep(1)


def _reason(log: Path) -> str:
    """Return apt's last error."""
    errors = re.findall(r"^E: (.+)$", log.read_text(encoding="utf-8", errors="replace"), re.MULTILINE)
    return errors[-1] if errors else f"see {log}"
