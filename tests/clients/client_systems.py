"""Card programs of two systems, this machine and a root of Debian 13, each with its own pcscd and the same cards.

The root is made once, in the user's cache, by root with debootstrap. Its programs see this machine's network, the
directory of their pcscd's socket, and the directory of their files, which is their working directory, too.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

from benchmarks.roots import Failed, Machine, Root
from benchmarks.user_cache import installed_once
from kazashi.reader_bridge.endpoint import SYSTEM_DIRECTORY
from kazashi.reader_bridge.host import ReaderHost
from kazashi.reader_bridge.pcscd import RunningPcscd, start_pcscd
from kazashi.world.home import World
from tests.clients.test_opensc import put
from tests.polling import LIMIT

SUITE = "trixie"
MIRROR = "http://deb.debian.org/debian"
PACKAGES = (
    "netbase",  # /etc/hosts, without which localhost has no address
    "pcscd", "pcsc-tools", "opensc", "opensc-pkcs11", "libnss3-tools", "gnutls-bin", "openssh-client",
    "openssl", "pkcs11-provider", "libengine-pkcs11-openssl", "curl", "poppler-utils", "gpg", "gpgsm", "gpg-agent",
    "scdaemon",
)  # fmt: skip
"""What the root has of Debian 13. Another list is another root."""

_FILES = "/mnt"
# A program of the root, outside it: pcscd has to see this machine's files, where its configuration and driver are.
_OUTSIDE = """#!/bin/sh
exec {loader} --library-path {libraries} {root}/usr/sbin/pcscd "$@"
"""


def debian_13() -> Root:
    """Return the root of Debian 13, which takes some minutes to make the first time. Raises Failed."""
    if os.geteuid():
        raise Failed("only root can make a root of Debian 13 and enter it; run this test as root")
    lock = "\n".join((SUITE, MIRROR, *PACKAGES)).encode()
    made = installed_once("roots", lock, lambda fresh: Machine(fresh, MIRROR, keep=False).equipped(SUITE, PACKAGES))
    return Root(made / f"{SUITE}-bare", made / "run.log")


@dataclass(frozen=True, slots=True)
class ClientSystem:
    """A system whose programs use the cards in two readers.

    `root` is None for this machine. `files` is the working directory of its programs and their home.
    """

    root: Root | None
    pcscd: RunningPcscd
    host: ReaderHost
    world: World
    files: Path

    @property
    def opensc(self) -> tuple[int, int]:
        """The version of OpenSC, as (0, 23)."""
        found = re.search(r"OpenSC (\d+)\.(\d+)", self.run("opensc-tool", "--info"))
        assert found
        return int(found[1]), int(found[2])

    @property
    def home(self) -> str:
        """The path of `files` as the system's programs see it."""
        return _FILES if self.root else str(self.files)

    def library(self, name: str) -> str:
        """Return the path of a shared object below the directory of libraries, as the system's programs see it."""
        top = self.root.path if self.root else Path("/")
        return "/" + str(next(top.glob(f"usr/lib/*/{name}")).relative_to(top))

    @property
    def module(self) -> str:
        """The path of OpenSC's PKCS#11 module."""
        return self.library("opensc-pkcs11.so")

    def insert(self, resident: str, slot: int = 0, *, contactless: bool = False) -> Path:
        """Put a new copy of a resident's card into a slot, and return its image. The slot before the first is the
        last."""
        if self.host.inserted(self.host.slots[slot]):
            self.host.remove(self.host.slots[slot])
        put(self.world, self.files, self.host, slot % len(self.host.slots), resident, contactless=contactless)
        return self.files / f"{resident}.card"

    def run(
        self, *command: str, expect: int | None = 0, answer: str = "", environment: Mapping[str, str] | None = None
    ) -> str:
        """Run a program of the system with `answer` on its stdin, and return its output on both streams. It must exit
        with status `expect`, unless that is None."""
        if self.root is None:
            home = {"HOME": self.home, "LANG": "C.UTF-8"}
            ended = subprocess.run(
                command, input=answer, capture_output=True, text=True, errors="replace", check=False, timeout=LIMIT,
                cwd=self.files, env={**os.environ, **self.pcscd.client_environment(), **home, **(environment or {})},
            )  # fmt: skip
            code, output = ended.returncode, ended.stdout + ended.stderr
        else:
            binds = {str(SYSTEM_DIRECTORY): self.pcscd.socket_path.parent, _FILES: self.files}
            done = self.root.run(
                "timeout", f"{LIMIT:.0f}", *command, directory=_FILES, answer=answer, check=False, binds=binds,
                environment={"HOME": self.home, **(environment or {})},
            )  # fmt: skip
            code, output = done.code, done.output + done.errors
        assert expect is None or code == expect, f"{' '.join(command)} exited with {code}: {output}"
        return output


@contextmanager
def client_system(root: Root | None, world: World, directory: Path) -> Iterator[ClientSystem]:
    """Run a pcscd of this machine, or of the root, with two empty readers."""
    path = os.environ["PATH"]
    if root is not None:
        root = Root(root.path, directory / "programs.log")
        program = directory / "programs" / "pcscd"
        program.parent.mkdir(parents=True)
        loader = next(root.path.glob("usr/lib*/ld-linux-*.so.*"))
        libraries = next(root.path.glob("usr/lib/*/libc.so.6")).parent
        program.write_text(_OUTSIDE.format(root=root.path, loader=loader, libraries=libraries), encoding="utf-8")
        program.chmod(0o755)
        path = f"{program.parent}:{path}"
    files = directory / "files"
    files.mkdir(parents=True)
    with mock.patch.dict(os.environ, PATH=path):
        pcscd = start_pcscd(directory, ["Kazashi A", "Kazashi B"], private=True)
    host = ReaderHost(pcscd.endpoints)
    try:
        yield ClientSystem(root, pcscd, host, world, files)
    finally:
        host.close()
        pcscd.stop()


def lines_with(output: str, words: Sequence[str]) -> list[str]:
    """Return the lines of an output that contain one of some words."""
    return [line.strip() for line in output.splitlines() if any(word in line for word in words)]
