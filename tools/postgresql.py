"""A PostgreSQL server of our own, for tests and measurements: started in a directory, ended with its user."""

from __future__ import annotations

import os
import pwd
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_HOMES = Path("/usr/lib/postgresql")


class ServerMissing(Exception):
    """PostgreSQL's server is not installed, or did not start; the message says which."""


def binaries() -> Path:
    """Where Debian put the newest server's programs. Raises ServerMissing."""
    found = [path for path in _HOMES.glob("*/bin") if (path / "initdb").exists()]
    if not found:
        raise ServerMissing("PostgreSQL's server is missing; install the Debian package postgresql")
    return max(found, key=lambda path: [int(part) for part in re.findall(r"\d+", path.parent.name)])


@contextmanager
def server(directory: Path) -> Iterator[str]:
    """A server with its files in `directory`, reached by a socket there alone; answers the URL of its database. Raises
    ServerMissing."""
    programs, data = binaries(), directory / "data"
    prefix, user = _as_ordinary_user(directory)
    # A socket's path has at most 107 bytes, and test directories are deep.
    sockets = Path(tempfile.mkdtemp(prefix="kazashi-"))
    if prefix:
        shutil.chown(sockets, user)
    try:
        _run(
            [
                *prefix,
                str(programs / "initdb"),
                "--auth=trust",
                "--no-sync",
                "--username=kazashi",
                "-E",
                "UTF8",
                "--no-locale",
                "-D",
                str(data),
            ]
        )
        options = f"-c listen_addresses='' -c unix_socket_directories='{sockets}' -c max_connections=200"
        _run(
            [
                *prefix,
                str(programs / "pg_ctl"),
                "-D",
                str(data),
                "-w",
                "-l",
                str(directory / "log"),
                "-o",
                options,
                "start",
            ]
        )
        try:
            yield f"postgresql://kazashi@/postgres?host={sockets}"
        finally:
            subprocess.run([*prefix, str(programs / "pg_ctl"), "-D", str(data), "-m", "immediate", "stop"],
                           check=False, capture_output=True, cwd="/")  # fmt: skip
    finally:
        shutil.rmtree(sockets, ignore_errors=True)


def _as_ordinary_user(directory: Path) -> tuple[list[str], str]:
    """PostgreSQL refuses to run as root: then it runs as the user that Debian's package made, in a directory of that
    user's."""
    directory.mkdir(parents=True, exist_ok=True)
    if os.geteuid() != 0:
        return [], ""
    user = pwd.getpwnam("postgres")
    os.chown(directory, user.pw_uid, user.pw_gid)
    for parent in directory.parents:
        if parent.stat().st_mode & 0o001 == 0 and parent != Path("/"):
            parent.chmod(parent.stat().st_mode | 0o011)
    return ["setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups", "--"], "postgres"


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd="/", stdin=subprocess.DEVNULL)
    if done.returncode:
        raise ServerMissing(f"{command[-1]} failed: {' '.join((done.stderr or done.stdout).split())}")
