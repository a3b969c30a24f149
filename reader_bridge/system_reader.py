"""Readers of our driver in the system's pcscd: their configuration, and the directories in which users host cards."""

from __future__ import annotations

import contextlib
import os
import pwd
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from kazashi.reader_bridge.driver.build import DriverUnavailable, built_driver
from kazashi.reader_bridge.pcscd import MAX_SLOTS, SYSTEM_CONFIGURATION, checked_reader_name

CONFIGURATION = SYSTEM_CONFIGURATION / "kazashi"
"""All readers are in one file, because pcscd numbers readers in the order in which it finds the files."""
TMPFILES = Path("/etc/tmpfiles.d/kazashi.conf")
"""What makes the directories again when the machine starts (tmpfiles.d(5))."""
DRIVER = Path("/usr/local/lib/kazashi/ifd_kazashi.so")
"""A copy of the driver. The system's pcscd may not be able to look into the folder of a user."""
DIRECTORIES = Path("/run/kazashi")
"""Not under a home or /tmp, which newer units of pcscd do not see (ProtectHome, PrivateTmp)."""
_ENTRY = re.compile(r'^FRIENDLYNAME "(.+)"\nDEVICENAME (/\S+):(\d+)$', re.MULTILINE)
_OWNER = re.compile(r"^d (/\S+) 0755 (\S+) - -$", re.MULTILINE)


class ReaderNotInstalled(Exception):
    """A reader cannot be installed in or removed from the system's pcscd; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class SystemReader:
    """A reader of the system's pcscd, in whose directory `user` hosts the cards of its slots."""

    name: str
    directory: Path
    slots: int
    user: str


def installed_readers() -> list[SystemReader]:
    """Return the readers that `install_reader` has configured."""
    owners = dict(_OWNER.findall(TMPFILES.read_text())) if TMPFILES.exists() else {}
    entries = _ENTRY.findall(CONFIGURATION.read_text()) if CONFIGURATION.exists() else []
    return [
        SystemReader(name, Path(directory), int(slots), owners.get(directory, "root"))
        for name, directory, slots in entries
    ]


def install_reader(name: str, user: str, slots: int = 1) -> SystemReader:
    """Configure a reader for the system's pcscd, which has it from its next start on. Raises ReaderNotInstalled."""
    try:
        checked_reader_name(name)
    except ValueError as error:
        raise ReaderNotInstalled(str(error)) from None
    try:
        pwd.getpwnam(user)
    except KeyError:
        raise ReaderNotInstalled(f"there is no user {user!r}") from None
    readers = installed_readers()
    if any(reader.name == name for reader in readers):
        raise ReaderNotInstalled(f"there is a reader {name!r} already; remove it first: kazashi reader uninstall")
    free = MAX_SLOTS - sum(reader.slots for reader in readers)
    if not 1 <= slots <= free:
        raise ReaderNotInstalled(f"pcscd supports {MAX_SLOTS} slots, of which {free} are free")
    taken = {reader.directory for reader in readers}
    directory = next(place for n in range(MAX_SLOTS) if (place := DIRECTORIES / f"reader-{n:02d}") not in taken)
    reader = SystemReader(name, directory, slots, user)
    try:
        library = built_driver()
        DRIVER.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        _write(DRIVER, library.read_bytes(), 0o755)
        DIRECTORIES.mkdir(mode=0o755, exist_ok=True)
        directory.mkdir(mode=0o755, exist_ok=True)
        shutil.chown(directory, user)
        _configure([*readers, reader])
    except DriverUnavailable as error:
        raise ReaderNotInstalled(str(error)) from error
    except OSError as error:
        raise _refused(error) from error
    return reader


def uninstall_reader(name: str) -> SystemReader:
    """Remove a reader from the configuration, and with the last one the driver. Raises ReaderNotInstalled."""
    readers = installed_readers()
    found = next((reader for reader in readers if reader.name == name), None)
    if found is None:
        names = ", ".join(reader.name for reader in readers) or "none"
        raise ReaderNotInstalled(f"there is no reader {name!r}; installed: {names}")
    try:
        _configure([reader for reader in readers if reader != found])
        shutil.rmtree(found.directory, ignore_errors=True)
        if len(readers) == 1:
            DRIVER.unlink(missing_ok=True)
            for directory in (DRIVER.parent, DIRECTORIES):
                with contextlib.suppress(OSError):  # something else is in it
                    directory.rmdir()
    except OSError as error:
        raise _refused(error) from error
    return found


def _configure(readers: list[SystemReader]) -> None:
    configuration = "".join(
        f'FRIENDLYNAME "{reader.name}"\nDEVICENAME {reader.directory}:{reader.slots}\nLIBPATH {DRIVER}\n'
        f"CHANNELID {number:#06x}\n"
        for number, reader in enumerate(readers)
    )
    directories = "".join(f"d {reader.directory} 0755 {reader.user} - -\n" for reader in readers)
    for path, text in ((CONFIGURATION, configuration), (TMPFILES, f"d {DIRECTORIES} 0755 root - -\n{directories}")):
        if readers:
            path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
            _write(path, text.encode(), 0o644)
        else:
            path.unlink(missing_ok=True)


def _write(path: Path, contents: bytes, mode: int) -> None:
    """Write a file that appears whole or not at all."""
    made = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        made.write_bytes(contents)
        made.chmod(mode)
        made.replace(path)
    finally:
        made.unlink(missing_ok=True)


def _refused(error: OSError) -> ReaderNotInstalled:
    return ReaderNotInstalled(
        f"{error.filename} cannot be changed: {error.strerror}; only root can configure the system's pcscd (sudo)"
    )
