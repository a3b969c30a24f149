"""pcscd with virtual readers: the system's, or one of our own.

pcscd's socket has a fixed path. One of our own therefore runs in a mount namespace in which that path is a directory
of ours; clients find it by PCSCLITE_CSOCK_NAME. It needs no right but that to a namespace, and touches no other pcscd.
"""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from smartcard.scard import (
    SCARD_S_SUCCESS,
    SCARD_SCOPE_SYSTEM,
    SCardEstablishContext,
    SCardListReaders,
    SCardReleaseContext,
)

from kazashi.reader_bridge.endpoint import Endpoint

SYSTEM_DIRECTORY = Path("/run/pcscd")
SYSTEM_CONFIGURATION = Path("/etc/reader.conf.d")
SOCKET_NAME = "pcscd.comm"
SOCKET_VARIABLE = "PCSCLITE_CSOCK_NAME"
DRIVER = Path("/usr/lib/pcsc/drivers/serial/libifdvpcd.so")
FIRST_PORT = int(os.environ.get("KAZASHI_VPCD_PORT", "35963"))
"""From where on ports are looked for, for pcscd's of our own; vpcd's usual one unless KAZASHI_VPCD_PORT says
otherwise."""
MAX_READERS = 8
"""pcscd takes 16 readers; each vpcd entry makes two."""
_START_SECONDS = 10
# $1 stands in for pcscd's fixed directory $2. An empty directory stands in for the drivers' $3, so that a private
# pcscd never takes a real USB reader away from the system's; vpcd's driver comes from a copy of ours.
_IN_NAMESPACE = """
[ -d "$2" ] || { mount -t tmpfs tmpfs /run && mkdir -p "$2"; } || exit
mount --bind "$1" "$2" && mount -t tmpfs tmpfs "$3" && shift 3 && exec setpriv --pdeathsig TERM -- "$@"
"""
_MAX_SOCKET_PATH = 100


class PcscdUnavailable(Exception):
    """No pcscd with a virtual reader can be had; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class RunningPcscd:
    """A pcscd with virtual readers. `process` is None for the system's, which is not ours to end."""

    socket_path: Path
    endpoints: tuple[Endpoint, ...]
    process: subprocess.Popen[bytes] | None = None

    @property
    def is_default(self) -> bool:
        """Whether clients find it without being told where."""
        return self.socket_path.parent == SYSTEM_DIRECTORY

    def client_environment(self) -> dict[str, str]:
        """What a client needs in its environment to find it."""
        return {} if self.is_default else {SOCKET_VARIABLE: str(self.socket_path)}

    def stop(self) -> None:
        """End it, if it is ours."""
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(5)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


def system_pcscd() -> RunningPcscd | None:
    """The pcscd at the system's path, if it runs with the virtual readers of the system's configuration."""
    path = SYSTEM_DIRECTORY / SOCKET_NAME
    if not listens(path):
        return None
    # Asking it also wakes one that systemd listens for; and another program's pcscd may have other readers.
    present = _reader_names()
    endpoints = tuple(found for found in configured_endpoints(SYSTEM_CONFIGURATION) if found.reader in present)
    return RunningPcscd(path, endpoints) if endpoints else None


def _reader_names() -> list[str]:
    result, context = SCardEstablishContext(SCARD_SCOPE_SYSTEM)
    if result != SCARD_S_SUCCESS:
        return []
    try:
        result, names = SCardListReaders(context, [])
        return list(names) if result == SCARD_S_SUCCESS else []
    finally:
        SCardReleaseContext(context)


def configured_endpoints(directory: Path) -> list[Endpoint]:
    """The slots of the vpcd entries in a directory of reader configuration."""
    found = []
    for file in sorted(directory.glob("*")) if directory.is_dir() else []:
        text = file.read_text(encoding="utf-8", errors="replace")
        lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
        names = re.findall(r'^\s*FRIENDLYNAME\s+"?([^"\n]+?)"?\s*$', "\n".join(lines), re.MULTILINE)
        ports = re.findall(r"^\s*DEVICENAME\s+/dev/null:(0x[0-9A-Fa-f]+|\d+)\s*$", "\n".join(lines), re.MULTILINE)
        if "libifdvpcd" not in text:
            continue
        for name, port in zip(names, ports, strict=False):
            found += _slots(name, int(port, 0))
    return found


def start_pcscd(
    directory: Path,
    readers: Sequence[str],
    *,
    private: bool,
    first_port: int = FIRST_PORT,
    dials: str | None = None,
    log: Path | None = None,
) -> RunningPcscd:
    """Start a pcscd with one two-slot reader for each name; it ends with this process. Raises PcscdUnavailable.

    `directory` is for its socket and configuration. `private` keeps it out of the system's way; otherwise it takes
    the system's place, which needs root. With `dials`, vpcd does not listen: it dials that host, at two ports for each
    reader from `first_port` on. Call from the main thread: the kernel ends it when the calling thread ends.
    """
    if not 1 <= len(readers) <= MAX_READERS:
        raise PcscdUnavailable(f"pcscd takes 1 to {MAX_READERS} two-slot readers, not {len(readers)}")
    program = _program("pcscd")
    if not DRIVER.exists():
        raise PcscdUnavailable("vpcd's driver is missing; install the Debian package vsmartcard-vpcd")
    socket_directory = directory / "pcscd" if private else SYSTEM_DIRECTORY
    socket_path = socket_directory / SOCKET_NAME
    if len(str(socket_path)) > _MAX_SOCKET_PATH:
        raise PcscdUnavailable(f"{socket_path} is too long for a socket; choose a world with a shorter path")
    ports = free_ports(len(readers), first_port) if dials is None else range(first_port, 65534, 2)[: len(readers)]
    configuration = directory / "reader.conf.d"
    _write_configuration(configuration, readers, ports, dials or "/dev/null")
    try:
        socket_directory.mkdir(mode=0o755, parents=True, exist_ok=True)
    except OSError as error:
        raise PcscdUnavailable(f"{socket_directory} cannot be made: {error.strerror}") from error
    # A clean stage: a socket or process number left by a killed pcscd would have the new one refuse to start.
    for leftover in (SOCKET_NAME, "pcscd.pid"):
        (socket_directory / leftover).unlink(missing_ok=True)
    command = [program, "--foreground", "--config", str(configuration)]
    if private:
        # Newer ones ask polkit who may use a reader; there is nobody to ask about readers that only we know.
        offered = subprocess.run([program, "--help"], capture_output=True, text=True, check=False).stdout
        if "--disable-polkit" in offered:
            command.append("--disable-polkit")
        rights = ["--mount"] if os.geteuid() == 0 else ["--map-root-user", "--mount"]
        namespace = [_program("unshare"), *rights, "--", "sh", "-c", _IN_NAMESPACE, "sh"]
        command = [*namespace, str(socket_directory), str(SYSTEM_DIRECTORY), str(DRIVER.parent.parent), *command]
    else:
        command = [_program("setpriv"), "--pdeathsig", "TERM", "--", *command]
    log = log or directory / "pcscd.log"
    with log.open("ab") as output:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
    endpoints = tuple(slot for name, port in zip(readers, ports, strict=True) for slot in _slots(name, port))
    running = RunningPcscd(socket_path, endpoints, process)
    deadline = time.monotonic() + _START_SECONDS
    while not listens(socket_path):
        if process.poll() is not None or time.monotonic() > deadline:
            running.stop()
            words = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-1:] or ["it said nothing"]
            raise PcscdUnavailable(f"pcscd did not start: {words[0]} (all of it in {log})")
        time.sleep(0.01)
    return running


def _slots(name: str, port: int) -> list[Endpoint]:
    """The two slots of one vpcd entry, under the names that pcscd gives them."""
    return [Endpoint(f"{name} 00 {number:02d}", "127.0.0.1", port + number) for number in range(2)]


def _write_configuration(directory: Path, readers: Sequence[str], ports: Sequence[int], host: str) -> None:
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    drivers = directory.with_name("drivers")
    drivers.mkdir(exist_ok=True)
    for number, (name, port) in enumerate(zip(readers, ports, strict=True)):
        if not name or '"' in name or not name.isprintable() or len(name.encode()) > 100:
            raise PcscdUnavailable(f"{name!r} cannot be the name of a reader; use up to 100 printable characters")
        # vpcd keeps its slots in one static table, so that two readers on one loaded driver would take each other's
        # place. A copy under another name is loaded apart; a link would not be.
        driver = Path(shutil.copyfile(DRIVER, drivers / f"vpcd-{number:02d}.so"))
        (directory / f"{number:02d}").write_text(
            f'FRIENDLYNAME "{name}"\nDEVICENAME {host}:{port:#06x}\nLIBPATH {driver}\nCHANNELID {port:#06x}\n',
            encoding="utf-8",
        )


def free_ports(count: int, first: int) -> list[int]:
    """Return `count` ports from `first` on, each with its successor free. Raises PcscdUnavailable."""
    found: list[int] = []
    for port in range(first, 65534, 2):
        if _bindable(port) and _bindable(port + 1):
            found.append(port)
            if len(found) == count:
                return found
    raise PcscdUnavailable(f"no {count} pairs of free ports from {first} on")


def _bindable(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("", port))
        except OSError:
            return False
        return True


def listens(path: Path) -> bool:
    """Whether somebody listens at a unix socket."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(str(path))
        except OSError:
            return False
        return True


def _program(name: str) -> str:
    found = shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    if found is None:
        raise PcscdUnavailable(f"the program {name} is missing; run ./kazashi once, or install its Debian package")
    return found
