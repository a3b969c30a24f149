"""Installs what a command needs, if the user agrees, and then becomes the program."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from io import StringIO
from pathlib import Path
from typing import NoReturn

from kazashi.assembly.errors import InstallationFailed, NotInstalled
from kazashi.tools.installation import debian
from kazashi.tools.installation.environment import STAMP, Environments
from kazashi.tools.installation.lock import megabytes, requirements
from kazashi.tools.installation.parts import (
    BASE,
    PARTS,
    called,
    command_words,
    debian_packages,
    is_consent,
    later_parts_of,
    parts_of,
    with_included,
)
from kazashi.tools.installation.progress import Progress, is_terminal

ENVIRONMENT, INTERRUPTED = 3, 130
"""Exit statuses: a problem of the environment, and Ctrl-C."""

AGREED = "--yes"
BROUGHT = "KAZASHI_BROUGHT"
"""The variable that says that the program itself has started this, because it lacks packages that should be there."""


def main(root: Path, arguments: list[str]) -> NoReturn:
    """Install what a command needs and become the program, or say in one line why not, and exit with status 3."""
    if sys.stderr is None:  # it was closed
        sys.stderr = StringIO()
    try:
        install(root, arguments)
    except (NotInstalled, InstallationFailed, OSError) as error:
        code = "not-installed" if isinstance(error, NotInstalled) else "installation-failed"
        print(f"kazashi: {error} [{code}]", file=sys.stderr)
        sys.exit(ENVIRONMENT)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)


def environments_of(root: Path) -> Environments:
    """Return the environments of a clone: beside it, or at KAZASHI_VENV."""
    path = Path.cwd() / (os.environ.get("KAZASHI_VENV") or root / ".venv")
    return Environments(root, path.parent.resolve() / path.name)


def install(root: Path, arguments: Sequence[str]) -> NoReturn:
    """Install what a command needs, and replace this process by the program. Raises NotInstalled and
    InstallationFailed."""
    words = command_words(arguments)
    before = arguments[: arguments.index(words[0])] if words else arguments
    agreed = AGREED in before or is_consent(words)
    settings = f"KAZASHI_VENV={shlex.quote(value)} " if (value := os.environ.get("KAZASHI_VENV")) else ""
    again = f"{settings}{called()} {AGREED} {shlex.join(word for word in arguments if word != AGREED)}"
    if words[:2] == ["self", "remove"] and not environments_of(root).folder.exists():
        print("Nothing is installed.")
        sys.exit()
    parts = parts_of(words)
    if debian.prefix() is None and (
        packages := debian.missing(debian_packages([BASE, *parts, *later_parts_of(words, arguments)]))
    ):
        raise debian.refusal(packages)
    repair = words[:1] == ["doctor"] or BROUGHT in os.environ
    with provided(root, parts, agreed, again, repair=repair) as target:
        # The lock is released by this call, so that nobody removes the environment before the program runs from it.
        os.execv(target / "bin" / "kazashi", [str(target / "bin" / "kazashi"), *arguments])


@contextmanager
def provided(
    root: Path,
    parts: Sequence[str],
    agreed: bool,
    again: str,
    *,
    repair: bool = False,
    progress: Progress | None = None,
) -> Iterator[Path]:
    """Install parts besides the base and those that are there. Yields the environment, while nobody may remove it.

    `agreed` is whether the user has agreed; otherwise a question on the terminal decides, and `again` is the command to
    name where there is no terminal. With `repair`, an environment with missing files is built again. Raises
    NotInstalled and InstallationFailed.
    """
    environments, progress = environments_of(root), progress or Progress()
    environments.check()
    present, python = environments.parts(), base_python()
    new = [part for part in dict.fromkeys([BASE, *parts]) if part not in with_included(present)]
    packages = debian.missing(debian_packages([BASE, *parts]))
    if (new or packages) and not (agreed or _asked(_described(environments, new, packages))):
        raise NotInstalled(f"{_described(environments, new, packages)}; to install them, run: {again}")
    damaged = repair and environments.damaged()
    if damaged:
        print(f"kazashi: files of {environments.link} are damaged; it is built again", file=sys.stderr, flush=True)
    wanted = environments.directory(requirements(root, together([*present, *parts])), python)
    if not (packages or damaged) and environments.current in (wanted, *wanted.parent.glob(f"{wanted.name}-*")):
        with suppress(OSError):  # another user's, perhaps; then the next start takes this way again
            os.utime(environments.link / STAMP)
        yield environments.link.resolve()
        return
    with environments.locked() as lock:
        everything = together([*present, *environments.parts(), *parts])  # another process may have installed something
        try:
            with ThreadPoolExecutor(1) as beside:
                systems = beside.submit(_install_debian, environments, packages, lock, progress)
                if set(packages) & set(PARTS[BASE].debian):
                    systems.result()  # Python packages are built with these
                target = environments.build(everything, python, lock, progress, anew=damaged)
                systems.result()
            environments.use(target)
        finally:
            progress.end()
        yield target


def together(parts: Sequence[str]) -> list[str]:
    """Return the base and these parts, in the order of their table, without those that another one contains."""
    every = {BASE, *parts}
    included = {inner for part in every for inner in with_included(PARTS[part].includes)}
    return [part for part in PARTS if part in every - included]


def _install_debian(environments: Environments, packages: Sequence[str], lock: int, progress: Progress) -> None:
    if still := debian.missing(packages):
        debian.install(still, environments.log, lock, progress)


def base_python() -> str:
    """Return the path of the interpreter that runs this, or of the one that its environment was made from."""
    return str(Path(getattr(sys, "_base_executable", sys.executable)).resolve())


def _described(environments: Environments, new: Sequence[str], packages: Sequence[str]) -> str:
    """Describe in one sentence what is missing, and how large it is."""
    missing = []
    if new:
        names = ", ".join(f"{part} ({PARTS[part].about})" for part in new)
        missing.append(f"the Python packages for {names}: {megabytes(new)} MB in {environments.folder}")
    if packages:
        size = debian.download_megabytes(packages)
        about = "" if size is None else f", {size} MB to download"
        missing.append(f"{len(packages)} Debian packages ({' '.join(packages)}{about})")
    return f"not installed yet: {', and '.join(missing)}"


def _asked(described: str) -> bool:
    """Ask on the terminal whether to install. Returns False if there is no terminal."""
    if not (is_terminal(sys.stdin) and is_terminal(sys.stderr)):
        return False
    print(f"kazashi: {described}", file=sys.stderr)
    print("Install them now? [Y/n] ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().lower() in ("\n", "y\n", "yes\n")  # the end of input is not a yes
