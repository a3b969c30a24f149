"""`kazashi doctor`: what is installed, what is missing, and how to fix it."""

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
    "softhsm2-util": ("softhsm2", "keys in a PKCS#11 token, and the tests"),
    "certtool": ("gnutls-bin", "the tests"),
    "chromium": ("chromium", "the demo and the tests"),
    "nginx": ("nginx-light", "the tests"),
    "apache2": ("apache2-bin libapache2-mod-auth-openidc", "the tests"),
    "curl": ("curl libengine-pkcs11-openssl", "the tests"),
    "tshark": ("tshark", "the tests, and packet captures"),
    "java": ("default-jdk-headless", "the examples"),
    "node": ("nodejs", "the examples"),
    "go": ("golang-go", "the examples"),
    "ldapsearch": ("ldap-utils", "kazashi verify --lists ldap://..."),
}
"""Programs that only some commands need: the Debian package, and what needs it."""


@dataclass(frozen=True, slots=True)
class DoctorCheck:
    """The result of one check. `remedy` is empty if there is nothing to do. A failed check that is `essential` makes
    `kazashi doctor` exit with status 3."""

    check: str
    ok: bool
    detail: str
    remedy: str = ""
    essential: bool = True


def examine(world: World | None) -> list[DoctorCheck]:
    """Run all checks. The running instance is checked only if there is a world."""
    return [*_programs(), *_optional_programs(), *_files(), _namespaces(), *_pcscd(), *_instance(world)]


def _programs() -> Iterator[DoctorCheck]:
    path = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
    for name, package in _PROGRAMS.items():
        executable = shutil.which(name, path=path)
        remedy = "" if executable else f"apt-get install {package}"
        yield DoctorCheck(f"program {name}", executable is not None, executable or "not found", remedy)


def _optional_programs() -> Iterator[DoctorCheck]:
    path = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
    for name, (package, need) in _OPTIONAL_PROGRAMS.items():
        executable = shutil.which(name, path=path)
        remedy = "" if executable else f"apt-get install {package} (for {need})"
        yield DoctorCheck(f"program {name}", executable is not None, executable or "not found", remedy, essential=False)
    try:
        yield DoctorCheck("postgresql", True, str(binaries()), essential=False)
    except ServerMissing as error:
        yield DoctorCheck(
            "postgresql", False, str(error), "apt-get install postgresql (for the tests)", essential=False
        )


def _files() -> Iterator[DoctorCheck]:
    for name, path, package in (
        ("vpcd driver", DRIVER, "vsmartcard-vpcd"),
        ("family register font", FONT, FONT_PACKAGE),
    ):
        exists = path.exists()
        yield DoctorCheck(
            name, exists, str(path) if exists else f"{path} is missing", "" if exists else f"apt-get install {package}"
        )
    try:
        yield DoctorCheck("stock vicc", True, f"{program()}, modules in {modules_directory()}", essential=False)
    except ViccMissing as error:
        yield DoctorCheck("stock vicc", False, str(error), "needed only by benchmarks against it", essential=False)


def _namespaces() -> DoctorCheck:
    arguments = ["--mount"] if os.geteuid() == 0 else ["--map-root-user", "--mount"]
    works = subprocess.run(["unshare", *arguments, "true"], capture_output=True, check=False).returncode == 0
    return DoctorCheck(
        "private pcscd",
        works,
        "can run beside the system's pcscd" if works else "this process may not create a mount namespace",
        ""
        if works
        else "run as root, allow user namespaces (sysctl kernel.unprivileged_userns_clone=1; on Ubuntu also"
        " kernel.apparmor_restrict_unprivileged_userns=0), or use the in-process connection",
    )


def _pcscd() -> Iterator[DoctorCheck]:
    pcscd = system_pcscd()
    if pcscd is None:
        listening = listens(SYSTEM_DIRECTORY / SOCKET_NAME)
        yield DoctorCheck(
            "system's pcscd",
            True,
            "is running, without the virtual readers of /etc/reader.conf.d"
            if listening
            else "is not running; kazashi up starts its own",
            essential=False,
        )
    else:
        readers = ", ".join(endpoint.reader for endpoint in pcscd.endpoints)
        yield DoctorCheck("system's pcscd", True, f"is running, with the virtual slots {readers}", essential=False)
    yield DoctorCheck(
        "vpcd's ports",
        False,
        "while a pcscd with virtual readers is running, vpcd listens on every network interface without"
        " authentication: anyone who can reach its ports (35963 and up, two for each reader) can insert a card",
        "on a machine that others can reach, close the ports to all but loopback: nft add table inet kazashi;"
        " nft 'add chain inet kazashi in { type filter hook input priority 0; }';"
        " nft add rule inet kazashi in iifname != lo tcp dport 35963-35994 drop",
        essential=False,
    )


def _instance(world: World | None) -> Iterator[DoctorCheck]:
    if world is None:
        yield DoctorCheck("world", True, "there is no world in the directory yet", "kazashi up", essential=False)
        return
    yield DoctorCheck("world", True, str(world.directory), essential=False)
    try:
        status = control.request(control_path(world), "status")
    except control.NotRunning:
        yield DoctorCheck("instance", True, "is not running", "kazashi up --detach", essential=False)
        return
    yield DoctorCheck("instance", True, f"is running as process {status['pid']}", essential=False)
