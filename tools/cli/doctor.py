"""`kazashi doctor`: what is installed, what is missing, and how to fix it."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass

from kazashi.applets.pictures import FONT, FONT_PACKAGE
from kazashi.assembly.actors import actors_of
from kazashi.assembly.cards import described as described_card
from kazashi.assembly.control_path import control_path
from kazashi.assembly.postgresql import ServerMissing, binaries
from kazashi.card_management.order import card_names
from kazashi.reader_bridge import control
from kazashi.reader_bridge.driver.build import BUILD_PACKAGES, DriverUnavailable, built_driver
from kazashi.reader_bridge.endpoint import SOCKET_NAME, SYSTEM_DIRECTORY
from kazashi.reader_bridge.pcscd import (
    VPCD,
    listens,
    namespace_rights,
    network_namespaces,
    system_pcscd,
)
from kazashi.reader_bridge.vicc import ViccMissing, modules_directory, program
from kazashi.tools.installation.running import described
from kazashi.world.home import World
from kazashi.world.storage import StoreFailed

_PROGRAMS = {
    "pcscd": "pcscd",
    "opensc-tool": "opensc",
    "openssl": "openssl",
    "unshare": "util-linux",
    "setpriv": "util-linux",
}
"""Programs that a card in a reader needs, and the Debian package of each."""

_OPTIONAL_PROGRAMS = {
    "pcsc_scan": ("pcsc-tools", "the tests"),
    "slapd": ("slapd", "kazashi up --ldap"),
    "ldapmodify": ("ldap-utils", "kazashi up --ldap"),
    "softhsm2-util": ("softhsm2", "keys in a PKCS#11 token, and the tests"),
    "certtool": ("gnutls-bin", "the tests"),
    "chromium-headless-shell": ("chromium-headless-shell", "the demo"),
    "chromium": ("chromium", "the tests"),
    "nginx": ("nginx-light", "the tests"),
    "apache2": ("apache2-bin libapache2-mod-auth-openidc", "the tests"),
    "curl": ("curl libengine-pkcs11-openssl", "the tests"),
    "tshark": ("tshark", "the tests, and packet captures"),
    "xmlsec1": ("xmlsec1", "the tests"),
    "pdfsig": ("poppler-utils", "the tests"),
    "gpgsm": ("gpgsm gpg-agent", "the long tests"),
    "mvn": ("maven", "the long tests"),
    "debootstrap": ("debootstrap", "the long tests"),
    "ssh-agent": ("openssh-client scdaemon", "the long tests"),
    "java": ("default-jdk-headless", "the examples"),
    "node": ("nodejs", "the examples"),
    "go": ("golang-go", "the examples"),
    "ldapsearch": ("ldap-utils", "kazashi verify --lists ldap://..."),
}
"""Programs that only some commands need: the Debian package, and what needs it."""


@dataclass(frozen=True, slots=True)
class DoctorCheck:
    """The result of one check. `ok` is False only if something is wrong; `kazashi doctor` then exits with status 3.

    `remedy` says what to do; if `ok`, it is a hint. `packages` are the Debian packages that would mend it.
    """

    check: str
    ok: bool
    detail: str
    remedy: str = ""
    packages: tuple[str, ...] = ()


def examine(world: World | None) -> list[DoctorCheck]:
    """Run all checks. The running instance is checked only if there is a world."""
    driver = _driver()
    return [
        _installation(),
        *_programs(),
        *_optional_programs(),
        driver,
        *_files(),
        _namespaces(),
        *_pcscd(driver),
        *_instance(world),
        *_stores(world),
        *_cards(world),
    ]


def _installation() -> DoctorCheck:
    return DoctorCheck("installation", True, described())


def _programs() -> Iterator[DoctorCheck]:
    for name, package in _PROGRAMS.items():
        executable = _found(name)
        yield DoctorCheck(f"program {name}", True, executable) if executable else _missing(f"program {name}", package)


def _optional_programs() -> Iterator[DoctorCheck]:
    for name, (package, need) in _OPTIONAL_PROGRAMS.items():
        executable = _found(name)
        hint = "" if executable else f"apt-get install {package}"
        yield DoctorCheck(f"program {name}", True, executable or f"not installed; needed for {need}", hint)
    try:
        yield DoctorCheck("postgresql", True, str(binaries()))
    except ServerMissing:
        hint = "apt-get install postgresql"
        yield DoctorCheck("postgresql", True, "not installed; needed for stores by URL and the tests", hint)


def _found(program: str) -> str:
    """Return the path of a program, or an empty string. Programs for root are found without root's PATH."""
    return shutil.which(program, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin") or ""


def _missing(check: str, package: str, what: str = "not found") -> DoctorCheck:
    return DoctorCheck(check, False, what, f"apt-get install {package}", (package,))


def _driver() -> DoctorCheck:
    """Build the driver if it is not built yet, which takes a second."""
    try:
        return DoctorCheck("reader driver", True, str(built_driver()))
    except DriverUnavailable as error:
        detail, _, remedy = str(error).rpartition("; ")
        return DoctorCheck("reader driver", True, f"{detail}; vpcd's readers stand in for it", remedy, BUILD_PACKAGES)


def _files() -> Iterator[DoctorCheck]:
    for name, path, package in (
        ("vpcd driver", VPCD, "vsmartcard-vpcd"),
        ("family register font", FONT, FONT_PACKAGE),
    ):
        exists = path.exists()
        yield DoctorCheck(name, True, str(path)) if exists else _missing(name, package, f"{path} is missing")
    try:
        yield DoctorCheck("stock vicc", True, f"{program()}, modules in {modules_directory()}")
    except ViccMissing:
        hint = "apt-get install vsmartcard-vpicc python3-virtualsmartcard"
        yield DoctorCheck("stock vicc", True, "not installed; needed for benchmarks against it", hint)


def _namespaces() -> DoctorCheck:
    works = subprocess.run(["unshare", *namespace_rights(), "true"], capture_output=True, check=False).returncode == 0
    return DoctorCheck(
        "private pcscd",
        works,
        "can run beside the system's pcscd" if works else "this process may not create a mount namespace",
        ""
        if works
        else "run as root, allow user namespaces (sysctl kernel.unprivileged_userns_clone=1; on Ubuntu also"
        " kernel.apparmor_restrict_unprivileged_userns=0), or use the in-process connection",
    )


def _pcscd(driver: DoctorCheck) -> Iterator[DoctorCheck]:
    pcscd = system_pcscd()
    if pcscd is None:
        listening = listens(SYSTEM_DIRECTORY / SOCKET_NAME)
        yield DoctorCheck(
            "system's pcscd",
            True,
            "is running, without the virtual readers of /etc/reader.conf.d"
            if listening
            else "is not running; kazashi up starts its own",
        )
    else:
        readers = ", ".join(endpoint.reader for endpoint in pcscd.endpoints)
        yield DoctorCheck("system's pcscd", True, f"is running, with the virtual slots {readers}")
    if not driver.remedy and (pcscd is None or pcscd.driver != "vpcd"):
        detail = "not open: the readers are of our own driver, unless up is called with --vpcd or --open-ports"
        yield DoctorCheck("vpcd's ports", True, detail)
        return
    closed = network_namespaces()
    yield DoctorCheck(
        "vpcd's ports",
        True,
        f"a private pcscd {'closes' if closed else 'cannot close'} them. Those of the system's, or of one in its place,"
        " are open on every network interface: everybody who can reach them (35963 and up, two for each reader) can"
        " insert a card",
        "on a machine that others can reach: kazashi up --pcscd private, or a packet filter: nft add table inet vpcd;"
        " nft 'add chain inet vpcd in { type filter hook input priority 0; }';"
        " nft add rule inet vpcd in iifname != lo tcp dport 35963-35994 drop",
    )


def _instance(world: World | None) -> Iterator[DoctorCheck]:
    if world is None:
        yield DoctorCheck("world", True, "there is no world in the directory yet", "kazashi up")
        return
    yield DoctorCheck("world", True, str(world.directory))
    try:
        status = control.request(control_path(world), "status")
    except control.NotRunning:
        yield DoctorCheck("instance", True, "is not running", "kazashi up --detach")
        return
    if status["pcscd"]["ended"]:
        yield DoctorCheck("instance", False, "its pcscd has ended", "kazashi down, then kazashi up")
    else:
        yield DoctorCheck("instance", True, f"is running as process {status['pid']}")


def _stores(world: World | None) -> Iterator[DoctorCheck]:
    """Open every store of the world, and let SQLite check its files."""
    if world is None:
        return
    try:
        actors = actors_of(world)
    except StoreFailed as error:
        yield DoctorCheck("stores", False, str(error), "see to the database, and try again")
        return
    good = 0
    for actor in actors:
        try:
            world.store_to_study(actor.store).check()
            good += 1
        except StoreFailed as error:
            yield DoctorCheck(f"store of {actor.label}", False, str(error), "restore the file, or see to its disk")
    yield DoctorCheck("stores", True, f"{good} of {len(actors)} can be read")


def _cards(world: World | None) -> Iterator[DoctorCheck]:
    if world is None:
        return
    names = card_names(world)
    damage = [text for name in names if (text := described_card(world, name).get("damage"))]
    for text in damage:
        yield DoctorCheck("card image", False, text, "restore the file, or issue another card")
    yield DoctorCheck("card images", True, f"{len(names) - len(damage)} of {len(names)} can be read")
