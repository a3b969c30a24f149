"""A temporary PostgreSQL server for tests and benchmarks."""

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
    """The PostgreSQL server is not installed, or did not start. The message says which."""


def binaries() -> Path:
    """The directory in which Debian installed the newest server's programs. Raises ServerMissing."""
    directories = [path for path in _HOMES.glob("*/bin") if (path / "initdb").exists()]
    if not directories:
        raise ServerMissing("the PostgreSQL server is missing; install the Debian package postgresql")
    return max(directories, key=lambda path: [int(part) for part in re.findall(r"\d+", path.parent.name)])


@contextmanager
def server(*settings: str) -> Iterator[str]:
    """Run a server as long as the block lasts, and return the URL of its database. Raises ServerMissing.

    The server listens only on a Unix socket in its own directory. `settings` are more settings of the server, such as
    "port=5432".
    """
    programs = binaries()
    # The path must be short, because a socket's path has at most 107 bytes.
    home = Path(tempfile.mkdtemp(prefix="kazashi-postgresql-"))
    prefix, data = _as_ordinary_user(home), home / "data"
    control = [*prefix, str(programs / "pg_ctl"), "-D", str(data)]
    options = f"-c listen_addresses='' -c unix_socket_directories='{home}' -c max_connections=200"
    options += "".join(f" -c {setting}" for setting in settings)
    try:
        _run([*prefix, str(programs / "initdb"), "--auth=trust", "--no-sync", "--username=kazashi", "-E", "UTF8",
              "--no-locale", "-D", str(data)])  # fmt: skip
        _run([*control, "-w", "-l", str(home / "log"), "-o", options, "start"])
        try:
            yield f"postgresql://kazashi@/postgres?host={home}"
        finally:
            subprocess.run([*control, "-m", "immediate", "stop"], check=False, capture_output=True, cwd="/")
    finally:
        shutil.rmtree(home, ignore_errors=True)


def _as_ordinary_user(home: Path) -> list[str]:
    """Return a prefix for commands that runs them as an ordinary user, because PostgreSQL refuses to run as root.

    For root, that is the user that Debian's package created, who becomes the owner of the directory.
    """
    if os.geteuid() != 0:
        return []
    user = pwd.getpwnam("postgres")
    os.chown(home, user.pw_uid, user.pw_gid)
    home.chmod(0o755)
    return ["setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups", "--"]


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd="/", stdin=subprocess.DEVNULL)
    if done.returncode:
        raise ServerMissing(f"{command[-1]} failed: {' '.join((done.stderr or done.stdout).split())}")
