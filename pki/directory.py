"""The authorities' LDAP directory: a slapd with every revocation list under the name that certificates give for it.

A client takes the directory name from a certificate's distribution point and reads the entry's
`certificateRevocationList`. An entry has one list per generation of the authority's key.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from base64 import b64encode
from collections.abc import Iterable, Iterator, Sequence

from kazashi.jpki.profile import EMULATED, CertificateType
from kazashi.pki import der
from kazashi.pki.certificate_database import AUTHORITY_LIST, FULL_LIST
from kazashi.pki.publication import Publication
from kazashi.resident_registry.municipality import municipality
from kazashi.web.ports import DIRECTORY, HOST
from kazashi.world.home import World

_SUFFIX = "c=JP"
_ROOT = "cn=authorities,c=JP"
_CLASSES = {"C": "country", "O": "organization", "OU": "organizationalUnit", "CN": "cRLDistributionPoint"}
_SBIN = "/usr/sbin:/sbin"


class DirectoryUnavailable(Exception):
    """slapd is missing, did not start or rejected the lists; the message includes its output."""


class Directory:
    """A slapd for one world, which serves on loopback and accepts writes only over a socket in the world directory."""

    def __init__(self, world: World, port: int = DIRECTORY.number) -> None:
        self._home = world.run / "directory"
        self._port = port
        self._process: subprocess.Popen[bytes] | None = None
        self._loaded: dict[str, dict[str, bytes]] = {}
        self._failed = False

    @property
    def uri(self) -> str:
        """The LDAP URI for clients."""
        return f"ldap://{HOST}:{self._port}"

    @property
    def _socket(self) -> str:
        return "ldapi://" + str(self._home / "slapd.sock").replace("/", "%2F")

    def start(self, publications: Iterable[Publication]) -> None:
        """Start slapd and load the published lists. Raises DirectoryUnavailable."""
        slapd = shutil.which("slapd", path=f"{os.environ.get('PATH', '')}:{_SBIN}")
        if slapd is None or shutil.which("ldapmodify") is None:
            raise DirectoryUnavailable("slapd or ldapmodify is missing; run: apt-get install slapd ldap-utils")
        shutil.rmtree(self._home, ignore_errors=True)
        self._loaded.clear()
        (self._home / "data").mkdir(parents=True, mode=0o700)
        configuration = self._home / "slapd.conf"
        configuration.write_text(
            _CONFIGURATION.format(home=self._home, suffix=_SUFFIX, root=_ROOT, uid=os.getuid(), gid=os.getgid()),
            encoding="ascii",
        )
        log = (self._home / "slapd.log").open("wb")
        with log:
            self._process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "TERM", "--", slapd, "-d", "0", "-f", str(configuration),
                 "-h", f"ldap://{HOST}:{self._port} {self._socket}"],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip
        self._wait()
        self.load(publications)

    def stop(self) -> None:
        """Stop slapd."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(10)
            self._process = None

    def load(self, publications: Iterable[Publication]) -> int:
        """Update the entries to the published lists; return how many were written. Raises DirectoryUnavailable."""
        if self._failed:  # nobody knows how much slapd accepted, so it is restarted empty
            self.stop()
            self._failed = False
            self.start(publications)
            return len(self._loaded)
        changed: list[str] = []
        written = 0
        for name, lists in _entries(publications).items():
            if self._loaded.get(name) == lists:
                continue
            changed += self._ldif(name, lists)
            self._loaded[name] = lists
            written += 1
        if changed:
            done = subprocess.run(
                ["ldapmodify", "-Q", "-Y", "EXTERNAL", "-H", self._socket],
                input="\n".join(changed).encode(), capture_output=True, check=False,
            )  # fmt: skip
            if done.returncode:
                self._failed = True
                output = " ".join(done.stderr.decode(errors="replace").split())
                raise DirectoryUnavailable(f"slapd rejected the lists: {output}")
        return written

    def _wait(self) -> None:
        assert self._process is not None
        for _ in range(200):
            reply = subprocess.run(
                ["ldapwhoami", "-Q", "-Y", "EXTERNAL", "-H", self._socket], capture_output=True, check=False
            )
            if reply.returncode == 0:
                return
            try:
                self._process.wait(0.05)
            except subprocess.TimeoutExpired:
                continue
            break
        output = (self._home / "slapd.log").read_text(errors="replace").strip().splitlines() or ["no error output"]
        raise DirectoryUnavailable(f"slapd did not start on port {self._port}: {output[-1]}")

    def _ldif(self, name: str, lists: dict[str, bytes]) -> Iterator[str]:
        """The LDIF lines that create an entry and its missing ancestors, and set its lists."""
        parts = name.split(",")
        for depth in range(len(parts) - 1, -1, -1):
            above = ",".join(parts[depth:])
            if above not in self._loaded:
                yield from _added(above)
                self._loaded[above] = {}
        yield f"dn: {name}"
        yield "changetype: modify"
        for attribute in sorted({key.partition(" ")[0] for key in lists}):
            yield f"replace: {attribute}"
            for key, value in lists.items():
                if key.partition(" ")[0] == attribute:
                    yield f"{attribute}:: {b64encode(value).decode('ascii')}"
            yield "-"
        yield ""


def _entries(publications: Iterable[Publication]) -> dict[str, dict[str, bytes]]:
    """The wanted values of each entry, by attribute and generation."""
    entries: dict[str, dict[str, bytes]] = {}
    for publication in publications:
        kind = publication.authority.kind
        for generation in publication.authority.generations():
            own = distinguished_name(der.authority_attributes(generation.profile, kind))
            certificate = {f"cACertificate;binary {generation.name}": generation.certificate}
            entries.setdefault(own, {}).update(certificate)
            for name in publication.names(generation.name):
                path = publication.path(generation.name, name)
                if name == FULL_LIST or not path.exists():
                    continue
                attribute = "authority" if name == AUTHORITY_LIST else "certificate"
                where = own if name == AUTHORITY_LIST else partition_entry(kind, name)
                value = {f"{attribute}RevocationList;binary {generation.name}": path.read_bytes()}
                entries.setdefault(where, {}).update(value)
    return entries


def partition_entry(kind: CertificateType, code: str) -> str:
    """The distinguished name, in LDAP notation, of the entry with a municipality's lists."""
    place = municipality(code)
    return distinguished_name(der.partition_attributes(EMULATED, kind, place.prefecture_romaji, place.romaji))


def distinguished_name(attributes: Sequence[der.Relative]) -> str:
    """A name in LDAP notation, most specific part first. None of our values needs escaping."""
    return ",".join(f"{kind.lower()}={value}" for kind, value in reversed(attributes))


def _added(name: str) -> Iterator[str]:
    kind, _, value = name.partition(",")[0].partition("=")
    yield f"dn: {name}"
    yield "changetype: add"
    yield f"objectClass: {_CLASSES[kind.upper()]}"
    if value == EMULATED.operator:
        yield "objectClass: pkiCA"
    yield f"{kind}: {value}"
    yield ""


_CONFIGURATION = """\
include /etc/ldap/schema/core.schema
modulepath /usr/lib/ldap
moduleload back_mdb
pidfile {home}/slapd.pid
argsfile {home}/slapd.args
authz-regexp "gidNumber={gid}\\\\+uidNumber={uid},cn=peercred,cn=external,cn=auth" "{root}"
disallow bind_simple
database mdb
suffix "{suffix}"
rootdn "{root}"
directory {home}/data
maxsize 1073741824
dbnosync
access to * by * read
"""
