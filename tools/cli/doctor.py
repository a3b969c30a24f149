"""`kazashi doctor`: what is there, what is missing, and what to do about it."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass

from kazashi.applets.pictures import FONT, FONT_PACKAGE
from kazashi.assembly.control_path import control_path
from kazashi.assembly.postgresql import ServerMissing, binaries
from kazashi.reader_bridge import control
from kazashi.reader_bridge.pcscd import DRIVER, SOCKET_NAME, SYSTEM_DIRECTORY, listens, system_pcscd
from kazashi.reader_bridge.vicc import ViccMissing, modules_directory, program
from kazashi.world.home import World

_PROGRAMS = {
    "pcscd": "pcscd",
    "opensc-tool": "opensc",
    "pkcs11-tool": "opensc",
    "pcsc_scan": "pcsc-tools",
    "openssl": "openssl",
    "unshare": "util-linux",
    "setpriv": "util-linux",
}

_OPTIONAL_PROGRAMS = {
    "slapd": ("slapd", "kazashi up --ldap"),
    "ldapmodify": ("ldap-utils", "kazashi up --ldap"),
    "softhsm2-util": ("softhsm2", "keys in a token, and the tests"),
    "certtool": ("gnutls-bin", "the tests"),
    "chromium": ("chromium", "the demonstration's and the tests' browser"),
    "nginx": ("nginx-light", "the tests"),
    "apache2": ("apache2-bin libapache2-mod-auth-openidc", "the tests"),
    "curl": ("curl libengine-pkcs11-openssl", "the tests"),
    "tshark": ("tshark", "the tests, and to look at packet captures"),
    "java": ("default-jdk-headless", "the examples"),
    "node": ("nodejs", "the examples"),
    "ldapsearch": ("ldap-utils", "kazashi verify --lists ldap://..."),
}
"""What only some commands need: its package, and the commands."""


@dataclass(frozen=True, slots=True)
class DoctorCheck:
    """One thing looked at. `remedy` is empty where nothing needs doing; `essential` ones make the doctor exit 3."""

    check: str
    ok: bool
    detail: str
    remedy: str = ""
    essential: bool = True


def examine(world: World | None) -> list[DoctorCheck]:
    """Look at everything; at the running bench only where a world has begun."""
    return [*_programs(), *_optional_programs(), *_files(), _namespaces(), *_pcscd(), *_bench(world)]


def _programs() -> Iterator[DoctorCheck]:
    path = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
    for name, package in _PROGRAMS.items():
        found = shutil.which(name, path=path)
        yield DoctorCheck(
            f"program {name}", found is not None, found or "not found", "" if found else f"apt-get install {package}"
        )


def _optional_programs() -> Iterator[DoctorCheck]:
    path = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
    for name, (package, need) in _OPTIONAL_PROGRAMS.items():
        found = shutil.which(name, path=path)
        remedy = "" if found else f"apt-get install {package} (for {need})"
        yield DoctorCheck(f"program {name}", found is not None, found or "not found", remedy, essential=False)
    try:
        yield DoctorCheck("postgresql", True, str(binaries()), essential=False)
    except ServerMissing as error:
        yield DoctorCheck(
            "postgresql", False, str(error), "apt-get install postgresql (for the tests)", essential=False
        )


def _files() -> Iterator[DoctorCheck]:
    for name, path, package in (
        ("vpcd driver", DRIVER, "vsmartcard-vpcd"),
        ("register font", FONT, FONT_PACKAGE),
    ):
        there = path.exists()
        yield DoctorCheck(
            name, there, str(path) if there else f"{path} is missing", "" if there else f"apt-get install {package}"
        )
    try:
        yield DoctorCheck("stock vicc", True, f"{program()}, modules in {modules_directory()}", essential=False)
    except ViccMissing as error:
        yield DoctorCheck("stock vicc", False, str(error), "only measurements against it need it", essential=False)


def _namespaces() -> DoctorCheck:
    arguments = ["--mount"] if os.geteuid() == 0 else ["--map-root-user", "--mount"]
    works = subprocess.run(["unshare", *arguments, "true"], capture_output=True, check=False).returncode == 0
    return DoctorCheck(
        "private pcscd",
        works,
        "a pcscd of our own can run beside the system's" if works else "this process may not make a mount namespace",
        ""
        if works
        else "run as root, allow user namespaces (sysctl kernel.unprivileged_userns_clone=1; on Ubuntu also"
        " kernel.apparmor_restrict_unprivileged_userns=0), or use the in-process connection",
    )


def _pcscd() -> Iterator[DoctorCheck]:
    found = system_pcscd()
    if found is None:
        listening = listens(SYSTEM_DIRECTORY / SOCKET_NAME)
        yield DoctorCheck(
            "system's pcscd",
            True,
            "runs, without the virtual readers of /etc/reader.conf.d"
            if listening
            else "does not run; kazashi up starts one of its own",
            essential=False,
        )
    else:
        readers = ", ".join(endpoint.reader for endpoint in found.endpoints)
        yield DoctorCheck("system's pcscd", True, f"runs, with the virtual slots {readers}", essential=False)
    yield DoctorCheck(
        "vpcd's ports",
        False,
        "while a pcscd with virtual readers runs, vpcd listens on every network interface without authentication:"
        " whoever reaches its ports (35963 and up, two for each reader) can put a card into the reader",
        "on a machine that others can reach, close the ports to all but loopback: nft add table inet kazashi;"
        " nft 'add chain inet kazashi in { type filter hook input priority 0; }';"
        " nft add rule inet kazashi in iifname != lo tcp dport 35963-35994 drop",
        essential=False,
    )


def _bench(world: World | None) -> Iterator[DoctorCheck]:
    if world is None:
        yield DoctorCheck("world", True, "none has begun in the directory yet", "kazashi up", essential=False)
        return
    yield DoctorCheck("world", True, str(world.directory), essential=False)
    try:
        status = control.request(control_path(world), "status")
    except control.NotRunning:
        yield DoctorCheck("bench", True, "does not run", "kazashi up --detach", essential=False)
        return
    yield DoctorCheck("bench", True, f"runs as process {status['pid']}", essential=False)
