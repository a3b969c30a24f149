"""pcscd with virtual readers: the system's, or a private one. Their driver is our own, or vpcd.

The path of pcscd's socket is fixed. A private pcscd therefore runs in a mount namespace that maps this path to another
directory; clients find it by PCSCLITE_CSOCK_NAME. It needs no privilege except to create a namespace, and does not
affect any other pcscd.

The readers of our driver are directories in pcscd's own (driver/ifd_kazashi.c), which is therefore the same for pcscd
and its hosts, whatever the path of the world is.
"""

from __future__ import annotations

import fcntl
import functools
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from kazashi.reader_bridge import doorway
from kazashi.reader_bridge.driver.build import DriverUnavailable, built_driver
from kazashi.reader_bridge.endpoint import SOCKET_NAME, SYSTEM_DIRECTORY, DriverEndpoint, VpcdEndpoint
from kazashi.reader_bridge.pcscd_view import SOCKET_VARIABLE, readers_of

SYSTEM_CONFIGURATION = Path("/etc/reader.conf.d")
VPCD = Path("/usr/lib/pcsc/drivers/serial/libifdvpcd.so")
FIRST_PORT = int(os.environ.get("KAZASHI_VPCD_PORT", "35963"))
"""The first port to try for a pcscd that Kazashi starts: vpcd's usual one, unless KAZASHI_VPCD_PORT is set."""
MAX_SLOTS = 16
"""pcscd supports 16 slots."""
VPCD_SLOTS = 2
"""Each reader of vpcd has two slots."""
MAX_NAME_BYTES = 100
"""The longest name of a reader. pcscd's limit is 127 bytes, to which it adds the numbers of reader and slot."""
_START_SECONDS = 10
# $1 replaces pcscd's fixed directory $2. An empty directory replaces the drivers' directory $3, so that a private
# pcscd never takes a real USB reader from the system's; vpcd's driver is loaded from a copy. $4 is empty, or the door
# that Python ($5) opens into the network namespace with the program $6.
_IN_NAMESPACE = """
[ -d "$2" ] || { mount -t tmpfs tmpfs /run && mkdir -p "$2"; } || exit
mount --bind "$1" "$2" && mount -t tmpfs tmpfs "$3" || exit
if [ -n "$4" ]; then setpriv --pdeathsig TERM -- "$5" -I -S "$6" "$4" & fi
shift 6 && exec setpriv --pdeathsig TERM -- "$@"
"""
_DOOR = "vpcd.door"
_MAX_SOCKET_PATH = 100


class PcscdUnavailable(Exception):
    """There is no pcscd with a virtual reader, and none can be started; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class RunningPcscd:
    """A pcscd with virtual readers. `process` is None for the system's, which `stop` does not end."""

    socket_path: Path
    endpoints: tuple[DriverEndpoint | VpcdEndpoint, ...]
    process: subprocess.Popen[bytes] | None = None
    lock: IO[bytes] | None = None
    """The lock of a pcscd in the system's place. Only one program at a time may start one."""
    stand_in: str = ""
    """Why the readers are vpcd's although our own driver was wanted."""

    @property
    def open_ports(self) -> tuple[int, ...]:
        """vpcd's ports that everybody can connect to who can reach this machine."""
        return tuple(endpoint.open_port for endpoint in self.endpoints if endpoint.open_port is not None)

    @property
    def driver(self) -> str:
        """The name of the readers' driver."""
        return "kazashi" if isinstance(self.endpoints[0], DriverEndpoint) else "vpcd"

    @property
    def has_ended(self) -> bool:
        """Whether a pcscd that was started here has ended by itself. The system's may be started again at any time."""
        return self.process is not None and self.process.poll() is not None

    @property
    def is_default(self) -> bool:
        """Whether clients find it without an environment variable."""
        return self.socket_path.parent == SYSTEM_DIRECTORY

    def client_environment(self) -> dict[str, str]:
        """Return the environment variables that a client needs to find it."""
        return {} if self.is_default else {SOCKET_VARIABLE: str(self.socket_path)}

    def stop(self) -> None:
        """End it, unless it is the system's."""
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(5)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        if self.lock is not None:
            self.lock.close()


def system_pcscd() -> RunningPcscd | None:
    """Return the pcscd at the system's path, or None unless it has virtual readers of the system's configuration."""
    path = SYSTEM_DIRECTORY / SOCKET_NAME
    if not listens(path):
        return None
    # The request also wakes a socket-activated pcscd. And another program's pcscd may have other readers.
    present = readers_of(path)
    endpoints = tuple(
        endpoint
        for endpoint in configured_endpoints(SYSTEM_CONFIGURATION)
        if endpoint.reader in present and _may_host(endpoint)
    )
    return RunningPcscd(path, endpoints) if endpoints else None


def _may_host(endpoint: DriverEndpoint | VpcdEndpoint) -> bool:
    """Return whether this process may host the slot: a reader's directory belongs to one user."""
    return not isinstance(endpoint, DriverEndpoint) or os.access(endpoint.directory, os.W_OK)


def configured_endpoints(directory: Path) -> list[DriverEndpoint | VpcdEndpoint]:
    """Return the slots of our driver's and vpcd's entries in a directory of reader configuration files."""
    endpoints: list[DriverEndpoint | VpcdEndpoint] = []
    readers = 0
    for file in directory.iterdir() if directory.is_dir() else ():  # pcscd does not sort them either
        text = file.read_text(encoding="utf-8", errors="replace")
        lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
        names = re.findall(r'^\s*FRIENDLYNAME\s+"?([^"\n]+?)"?\s*$', "\n".join(lines), re.MULTILINE)
        devices = re.findall(r"^\s*DEVICENAME\s+(/\S+):(0x[0-9A-Fa-f]+|\d+)\s*$", "\n".join(lines), re.MULTILINE)
        for name, (device, number) in zip(names, devices, strict=False):
            if "ifd_kazashi" in text:
                endpoints += _driver_slots(name, Path(device), int(number, 0), readers)
                readers += 1
            elif "libifdvpcd" in text and device == "/dev/null":
                endpoints += _vpcd_slots(name, int(number, 0), SYSTEM_DIRECTORY / SOCKET_NAME)
    return endpoints


def start_pcscd(
    directory: Path,
    readers: Sequence[str],
    *,
    private: bool,
    slots: int | Sequence[int] = 1,
    vpcd: bool = False,
    first_port: int = FIRST_PORT,
    dials: str | None = None,
    log: Path | None = None,
    open_ports: bool = False,
) -> RunningPcscd:
    """Start a pcscd with a reader for each name; it ends with this process. Raises PcscdUnavailable.

    `directory` is for its socket, readers and configuration. If `private`, it runs beside the system's pcscd;
    otherwise it takes the system's place, which needs root. The readers have `slots` slots each of our own driver, or
    as many as a sequence has for each. With `vpcd`, or where our driver cannot be built or loaded, which `stand_in`
    then says, they have two each of vpcd, whose ports start at `first_port`. Those are open to everybody who can reach
    this machine, unless pcscd is private, a network namespace can be made for it, and not `open_ports`, which other
    hosts of cards need. With `dials`, vpcd does not listen: it connects to that host, at two ports for each reader.
    Call this from the main thread: the kernel ends pcscd when the calling thread ends.
    """
    start = functools.partial(
        _start, directory, readers, slots, private=private, first_port=first_port, dials=dials, log=log,
        open_ports=open_ports,
    )  # fmt: skip
    if vpcd or open_ports or dials is not None:
        return start(None)
    try:
        return start(built_driver())
    except DriverUnavailable as error:
        return start(None, str(error))


def _start(
    directory: Path,
    readers: Sequence[str],
    slots: int | Sequence[int],
    driver: Path | None,
    stand_in: str = "",
    *,
    private: bool,
    first_port: int,
    dials: str | None,
    log: Path | None,
    open_ports: bool,
) -> RunningPcscd:
    """Start a pcscd with our driver's library, or else with vpcd. Raises DriverUnavailable if it does not load it."""
    program = _program("pcscd")
    vpcd = driver is None
    wanted = [slots] * len(readers) if isinstance(slots, int) else slots
    counts = [VPCD_SLOTS if vpcd else count for _, count in zip(readers, wanted, strict=True)]
    if not 1 <= sum(counts) <= MAX_SLOTS:
        raise PcscdUnavailable(f"pcscd supports 1 to {MAX_SLOTS} slots, not {sum(counts)} of {len(readers)} readers")
    if vpcd and not VPCD.exists():
        install = "install the Debian package vsmartcard-vpcd"
        raise PcscdUnavailable(f"{stand_in}; or {install}" if stand_in else f"vpcd's driver is missing; {install}")
    socket_directory = directory / "pcscd" if private else SYSTEM_DIRECTORY
    socket_path = socket_directory / SOCKET_NAME
    if (excess := len(os.fsencode(socket_path)) - _MAX_SOCKET_PATH) > 0:
        raise PcscdUnavailable(
            f"{socket_path} is too long for a socket; choose a world whose path is shorter by {excess} bytes"
        )
    try:
        socket_directory.mkdir(mode=0o755, parents=True, exist_ok=True)
    except OSError as error:
        raise PcscdUnavailable(f"{socket_directory} cannot be created: {error.strerror}") from error
    lock = None if private else _system_place(socket_directory)
    # The socket or PID file of a killed pcscd would prevent the new one from starting.
    for leftover in (SOCKET_NAME, "pcscd.pid"):
        (socket_directory / leftover).unlink(missing_ok=True)
    ports: Sequence[int] = ()
    if driver is not None:
        entries = _driver_entries(driver, readers, counts, socket_directory, private=private)
    else:
        ports = free_ports(len(readers), first_port) if dials is None else range(first_port, 65534, 2)[: len(readers)]
        entries = _vpcd_entries(directory, readers, ports, dials or "/dev/null")
    configuration = directory / "reader.conf.d"
    _write_configuration(configuration, entries)
    command = [program, "--foreground", "--config", str(configuration)]
    door = ""
    if private:
        # Newer versions ask polkit who may use a reader; it cannot ask anyone about readers that only Kazashi knows.
        options = subprocess.run([program, "--help"], capture_output=True, text=True, check=False).stdout
        if "--disable-polkit" in options:
            command.append("--disable-polkit")
        rights = namespace_rights()
        if vpcd and not open_ports and dials is None and network_namespaces():
            rights.append("--net")
            door = str(directory / _DOOR)
            Path(door).unlink(missing_ok=True)
        namespace = [_program("unshare"), *rights, "--", "sh", "-c", _IN_NAMESPACE, "sh"]
        places = (socket_directory, SYSTEM_DIRECTORY, VPCD.parent.parent, door, sys.executable, doorway.__file__)
        command = [*namespace, *map(str, places), *command]
    else:
        command = [_program("setpriv"), "--pdeathsig", "TERM", "--", *command]
    log = log or directory / "pcscd.log"
    with log.open("ab") as output:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
    endpoints: list[DriverEndpoint | VpcdEndpoint] = []
    for number, name in enumerate(readers):
        if vpcd:
            endpoints += _vpcd_slots(name, ports[number], socket_path, door)
        else:
            endpoints += _driver_slots(name, _reader_directory(socket_directory, number), counts[number], number)
    running = RunningPcscd(socket_path, tuple(endpoints), process, lock, stand_in)
    deadline = time.monotonic() + _START_SECONDS
    while not listens(socket_path):
        if process.poll() is not None or time.monotonic() > deadline:
            running.stop()
            lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines() or ["its log is empty"]
            raise PcscdUnavailable(f"pcscd did not start: {lines[-1]} (log: {log})")
        time.sleep(0.01)
    # pcscd loads its drivers before it listens, and goes on without those that it cannot load.
    missing = {entry.library.name if driver is None else driver.name for entry in entries} - _loaded(process.pid)
    if missing:
        running.stop()
        reasons = re.findall(r"DYN_LoadLibrary\(\) \S+ (.+)", log.read_text(encoding="utf-8", errors="replace"))
        message = f"pcscd cannot load {min(missing)}: {reasons[-1] if reasons else 'no reason is known'} (log: {log})"
        raise PcscdUnavailable(message) if driver is None else DriverUnavailable(message)
    return running


def _loaded(process: int) -> set[str]:
    """Return the names of the files whose code a process has mapped."""
    maps = Path(f"/proc/{process}/maps").read_text(encoding="utf-8", errors="replace").splitlines()
    return {Path(line.removesuffix(" (deleted)")).name for line in maps if "x" in line.split()[1]}


def _system_place(directory: Path) -> IO[bytes]:
    """Return the lock on the system pcscd's place. Raises PcscdUnavailable if another program has it."""
    lock = (directory / "kazashi.lock").open("ab")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.close()
        raise PcscdUnavailable(
            "another instance runs a pcscd in the system's place; stop it, or start one beside it: --pcscd private"
        ) from None
    return lock


def system_place_is_free() -> bool:
    """Return whether a pcscd can be started in the system's place."""
    if os.geteuid() != 0 or listens(SYSTEM_DIRECTORY / SOCKET_NAME):
        return False
    try:
        SYSTEM_DIRECTORY.mkdir(mode=0o755, parents=True, exist_ok=True)
        _system_place(SYSTEM_DIRECTORY).close()
    except (OSError, PcscdUnavailable):
        return False
    return True


def namespace_rights() -> list[str]:
    """Return unshare's options for a mount namespace."""
    return ["--mount"] if os.geteuid() == 0 else ["--map-root-user", "--mount"]


def network_namespaces() -> bool:
    """Return whether this process may create a network namespace."""
    unshare = shutil.which("unshare")
    if unshare is None:
        return False
    command = [unshare, *namespace_rights(), "--net", "true"]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def _vpcd_slots(name: str, port: int, pcscd: Path, door: str = "") -> list[VpcdEndpoint]:
    """Return the two slots of one vpcd entry, with the names that pcscd gives them."""
    return [
        VpcdEndpoint(f"{name} 00 {number:02X}", "127.0.0.1", port + number, door, pcscd) for number in range(VPCD_SLOTS)
    ]


def _driver_slots(name: str, directory: Path, slots: int, earlier: int) -> list[DriverEndpoint]:
    """Return the slots of one entry of our driver, with the names that pcscd gives them: it numbers the readers of a
    driver, whatever their names are, and `earlier` of them come before this one."""
    return [DriverEndpoint(f"{name} {earlier:02X} {number:02X}", directory, number) for number in range(slots)]


def _reader_directory(directory: Path, number: int) -> Path:
    return directory / f"reader-{number:02d}"


@dataclass(frozen=True, slots=True)
class _Entry:
    """One reader in pcscd's configuration."""

    name: str
    device: str
    library: Path
    channel: int


def _driver_entries(
    library: Path, readers: Sequence[str], slots: Sequence[int], directory: Path, *, private: bool
) -> list[_Entry]:
    """Make the directories of readers, and return their entries.

    pcscd's configuration takes no path with a blank or a Japanese character. It sees `directory` as its own, wherever
    that is, so the readers are there, and for a private pcscd also a link to the library. A copy could not be loaded
    from a file system that was mounted without the right to execute.
    """
    seen = SYSTEM_DIRECTORY
    if private:
        link = directory / "ifd_kazashi.so"
        link.unlink(missing_ok=True)
        link.symlink_to(library)
        library = seen / link.name
    for number in range(len(readers)):
        _reader_directory(directory, number).mkdir(mode=0o755, exist_ok=True)
    return [
        _Entry(name, f"{_reader_directory(seen, number)}:{slots[number]}", library, number)
        for number, name in enumerate(readers)
    ]


def _vpcd_entries(directory: Path, readers: Sequence[str], ports: Sequence[int], host: str) -> list[_Entry]:
    """Copy vpcd's driver for each reader, and return their entries."""
    drivers = directory / "drivers"
    drivers.mkdir(parents=True, exist_ok=True)
    entries = []
    for number, (name, port) in enumerate(zip(readers, ports, strict=True)):
        # vpcd keeps its slots in one static table, so that two readers on one loaded driver would share its slots. A
        # copy with another name is loaded separately; a link would not be.
        library = Path(shutil.copyfile(VPCD, drivers / f"vpcd-{number:02d}.so"))
        entries.append(_Entry(name, f"{host}:{port:#06x}", library, port))
    return entries


def checked_reader_name(name: str) -> str:
    """Return a name that a reader can have in pcscd's configuration. Raises ValueError."""
    if not name or '"' in name or not name.isprintable() or len(name.encode()) > MAX_NAME_BYTES:
        raise ValueError(
            f"{name!r} cannot be the name of a reader; use 1 to {MAX_NAME_BYTES} bytes of visible characters other"
            ' than " in UTF-8, in which a kanji or kana has three bytes'
        )
    return name


def _write_configuration(directory: Path, entries: Sequence[_Entry]) -> None:
    for entry in entries:
        try:
            checked_reader_name(entry.name)
        except ValueError as error:
            raise PcscdUnavailable(str(error)) from None
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    # One file, because pcscd numbers the readers in the order in which it finds the files.
    (directory / "kazashi").write_text(
        "".join(
            f'FRIENDLYNAME "{entry.name}"\nDEVICENAME {entry.device}\nLIBPATH {entry.library}\n'
            f"CHANNELID {entry.channel:#06x}\n"
            for entry in entries
        ),
        encoding="utf-8",
    )


def free_ports(count: int, first: int) -> list[int]:
    """Return `count` free ports from `first` on whose next port is free too. Raises PcscdUnavailable."""
    ports: list[int] = []
    for port in range(first, 65534, 2):
        if _bindable(port) and _bindable(port + 1):
            ports.append(port)
            if len(ports) == count:
                return ports
    raise PcscdUnavailable(f"there are not {count} pairs of free ports from {first} on")


def _bindable(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("", port))
        except OSError:
            return False
        return True


def listens(path: Path) -> bool:
    """Return whether a process listens on a unix socket."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(str(path))
        except OSError:
            return False
        return True


def _program(name: str) -> str:
    path = shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    if path is None:
        raise PcscdUnavailable(f"the program {name} is missing; run ./kazashi once, or install its Debian package")
    return path
