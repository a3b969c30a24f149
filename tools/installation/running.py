"""The parts that the running program lacks: where it was installed from, and how to get them."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib import invalidate_caches
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

from kazashi.tools.installation import debian
from kazashi.tools.installation.environment import read_stamp
from kazashi.tools.installation.parts import BASE, PARTS, called, command_words, debian_packages, is_consent, parts_of
from kazashi.tools.installation.progress import Progress
from kazashi.tools.installation.start import BROUGHT, base_python, environments_of, provided


def clone() -> Path | None:
    """Return the clone whose bootstrap built the environment that this program runs from, or None for one that was
    installed in another way (pip, pipx, uv)."""
    built = read_stamp(Path(sys.prefix))
    return None if built is None else Path(built.root)


def lacking(parts: Sequence[str]) -> list[str]:
    """Return those of the parts whose Python packages are not installed."""
    return [part for part in parts if any(find_spec(module) is None for module in PARTS[part].modules)]


def bring(arguments: Sequence[str]) -> None:
    """Replace this process by one that has what a command needs, if this one lacks it and runs from a clone. Raises
    PackageMissing if it was installed in another way."""
    words = command_words(arguments)
    parts = parts_of(words)
    root = clone()
    missing = lacking(parts)
    if os.environ.pop(BROUGHT, None) or root is None:
        check_parts(parts)
    elif missing or (is_consent(words) and debian.missing(debian_packages(parts))):
        python = base_python()
        os.environ[BROUGHT] = "1"
        os.execv(python, [python, "-I", str(root / "tools" / "installation"), *arguments])


def check_parts(parts: Sequence[str]) -> None:
    """Check that parts are there or can be installed. Raises PackageMissing and InstallationFailed."""
    missing = lacking(parts)
    if missing and clone() is None:
        from kazashi.tools.installation.missing import package_missing

        module = next(module for module in PARTS[missing[0]].modules if find_spec(module) is None)
        raise package_missing("this command", module) or AssertionError(module)
    packages = debian.missing(debian_packages(parts))
    if packages and (clone() is None or debian.prefix() is None):
        raise debian.refusal(packages)


class Widening:
    """Parts that are installed while the program runs, and that this process and its children use afterwards.

    The environment that the process started from stays as it is. The new one has the same versions of the same
    packages, because both come from one lock file; so what is imported already fits what is imported from then on.
    """

    def __init__(self, parts: Sequence[str]) -> None:
        """Begin to install the parts that are missing, in a thread."""
        self._progress = Progress(visible=False)
        root = clone()
        needed = root is not None and (lacking(parts) or debian.missing(debian_packages(parts)))
        self._thread = ThreadPoolExecutor(1)
        self._built = self._thread.submit(self._install, root, parts) if root and needed else None

    def _install(self, root: Path, parts: Sequence[str]) -> Path:
        with provided(root, parts, True, called(), progress=self._progress) as environment:
            return environment

    def show_progress(self) -> None:
        """Show the progress from now on: the program waits for the installation also if it ends early."""
        if self._built is not None and not self._built.done():
            self._progress.reveal()

    def finish(self) -> None:
        """Wait until the parts are there, with the progress on stderr, and use them. Raises InstallationFailed."""
        if self._built is None:
            return
        self.show_progress()
        old, new = sys.prefix, str(self._built.result())
        sys.path[:] = [path.replace(old, new, 1) if path.startswith(f"{old}/") else path for path in sys.path]
        sys.executable = sys.executable.replace(old, new, 1)
        invalidate_caches()


def install_packages(packages: Sequence[str]) -> None:
    """Install Debian packages, if there are any to install. Raises InstallationFailed."""
    if not packages:
        return
    root = clone()
    if root is None:
        with TemporaryDirectory() as name, (Path(name) / "lock").open("w", encoding="utf-8") as lock:
            debian.install(packages, Path(name) / "log", lock.fileno(), Progress())
        return
    environments = environments_of(root)
    with environments.locked() as descriptor:
        debian.install(debian.missing(packages), environments.log, descriptor, Progress())


def described() -> str:
    """Describe how the running program was installed, and with which parts."""
    parts = [name for name, part in PARTS.items() if not part.modules or not lacking([name])]
    names = ", ".join(name for name in parts if PARTS[name].extra or name == BASE)
    return f"Kazashi {version('kazashi')} in {sys.prefix}, with the parts {names}"
