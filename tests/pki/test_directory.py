"""The LDAP directory: a real slapd, queried by `ldapsearch` as an anonymous client."""

from __future__ import annotations

import os
import subprocess
from base64 import b64decode
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography import x509

from kazashi.assembly.institutions import Institutions
from kazashi.assembly.served import free_port
from kazashi.jpki.profile import CertificateType
from kazashi.jpki.state import Reason
from kazashi.pki.certificate_database import AUTHORITY_LIST, Issued
from kazashi.pki.directory import Directory, DirectoryUnavailable, partition_entry
from kazashi.world.key_source import SharedKeySource, generate
from tests.support import run
from tests.town import AUTHENTICATION, SIGNATURE, certificates, later, loaded, new_institutions

NO_SUCH_OBJECT, CANNOT_CONNECT = 32, 255
"""Exit codes of `ldapsearch`."""


@dataclass
class TownDirectory:
    """A town with its directory."""

    town: Institutions
    directory: Directory

    def search(self, entry: str, *attributes: str) -> dict[str, list[bytes]]:
        """Return an entry's values by attribute."""
        text = run(
            "ldapsearch", "-x", "-LLL", "-o", "ldif-wrap=no", "-H", self.directory.uri, "-b", entry, "-s", "base",
            "(objectClass=*)", *attributes,
        )  # fmt: skip
        values: dict[str, list[bytes]] = {}
        for line in text.splitlines():
            name, colon, value = line.partition(": ")
            if colon:
                binary = name.endswith(":")
                values.setdefault(name.rstrip(":"), []).append(b64decode(value) if binary else value.encode())
        return values

    def search_fails(self, entry: str, code: int) -> None:
        """Search for an entry and expect an exit code."""
        run("ldapsearch", "-x", "-LLL", "-H", self.directory.uri, "-b", entry, "-s", "base", expect=code)

    def list_of(self, issued: Issued, kind: CertificateType) -> bytes:
        return self.town.publications[kind].path(issued.generation, issued.partition).read_bytes()

    def load(self) -> int:
        return self.directory.load(self.town.publications.values())


@pytest.fixture(scope="module")
def ldap(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TownDirectory]:
    town = new_institutions(tmp_path_factory.mktemp("directory") / "w", SharedKeySource([generate() for _ in range(5)]))
    for alias in ("hanako", "long-name", "expired"):
        town.issue_card(alias, alias)
    town.settle()
    directory = Directory(town.world, free_port())
    directory.start(town.publications.values())
    yield TownDirectory(town, directory)
    directory.stop()
    town.world.close()


def entry_of(issued: Issued) -> str:
    """The LDAP name (RFC 4514) of a certificate's distribution point."""
    (point,) = loaded(issued).extensions.get_extension_for_class(x509.CRLDistributionPoints).value
    assert point.full_name is not None
    (name,) = point.full_name
    assert isinstance(name, x509.DirectoryName)
    return name.value.rfc4514_string()


@pytest.mark.parametrize("alias", ["hanako", "long-name"])
@pytest.mark.parametrize("kind", CertificateType)
def test_list_is_at_the_certificates_distribution_point(ldap: TownDirectory, alias: str, kind: CertificateType) -> None:
    (issued,) = certificates(ldap.town, alias, kind)
    entry = entry_of(issued)
    assert entry.lower() == partition_entry(kind, issued.partition).lower()
    values = ldap.search(entry, "certificateRevocationList")
    assert ldap.list_of(issued, kind) in values["certificateRevocationList;binary"]
    listed = [x509.load_der_x509_crl(value) for value in values["certificateRevocationList;binary"]]
    assert {crl.issuer for crl in listed} == {loaded(issued).issuer}


@pytest.mark.parametrize("kind", CertificateType)
def test_two_generations_have_two_lists_in_one_entry(ldap: TownDirectory, kind: CertificateType) -> None:
    (present,), (former,) = (certificates(ldap.town, alias, kind) for alias in ("long-name", "expired"))
    assert (present.generation, former.generation) == ("03", "02")
    assert entry_of(present) == entry_of(former)
    values = ldap.search(entry_of(present))["certificateRevocationList;binary"]
    assert sorted(values) == sorted((ldap.list_of(present, kind), ldap.list_of(former, kind)))
    (only,) = ldap.search(entry_of(certificates(ldap.town, "hanako", kind)[0]))["certificateRevocationList;binary"]
    assert only == ldap.list_of(certificates(ldap.town, "hanako", kind)[0], kind)


@pytest.mark.parametrize("kind", CertificateType)
def test_authoritys_entry_has_its_certificates_and_list(ldap: TownDirectory, kind: CertificateType) -> None:
    generations = ldap.town.authorities[kind].generations()
    (point,) = (
        x509.load_der_x509_certificate(generations[-1].certificate)
        .extensions.get_extension_for_class(x509.CRLDistributionPoints)
        .value
    )
    assert point.full_name is not None
    values = ldap.search(point.full_name[0].value.rfc4514_string())
    assert b"pkiCA" in values["objectClass"]
    assert sorted(values["cACertificate;binary"]) == sorted(generation.certificate for generation in generations)
    publication = ldap.town.publications[kind]
    lists = [publication.path(generation.name, AUTHORITY_LIST).read_bytes() for generation in generations]
    assert sorted(values["authorityRevocationList;binary"]) == sorted(lists)


def test_tree_can_be_searched_from_the_root(ldap: TownDirectory) -> None:
    text = run("ldapsearch", "-x", "-LLL", "-o", "ldif-wrap=no", "-H", ldap.directory.uri, "-b", "c=JP", "dn")
    names = {line.removeprefix("dn: ") for line in text.splitlines() if line.startswith("dn: ")}
    for kind in CertificateType:
        for code in ("13113", "14104"):
            assert partition_entry(kind, code).lower() in {name.lower() for name in names}
    assert sum(name.lower().startswith("cn=") for name in names) == 4


def test_entry_without_lists_does_not_exist(ldap: TownDirectory) -> None:
    ldap.search_fails(partition_entry(SIGNATURE, "47201"), NO_SUCH_OBJECT)


@pytest.mark.parametrize(
    "change",
    [
        "changetype: modify\ndelete: certificateRevocationList;binary\n",
        "changetype: delete\n",
        "changetype: modify\nadd: description\ndescription: mine\n",
    ],
)
@pytest.mark.parametrize(
    "bind", [(), ("-D", "cn=authorities,c=JP", "-w", "secret"), ("-D", "cn=authorities,c=JP", "-w", "")]
)
def test_writes_over_the_network_are_rejected(ldap: TownDirectory, change: str, bind: tuple[str, ...]) -> None:
    (issued,) = certificates(ldap.town, "hanako", SIGNATURE)
    done = subprocess.run(
        ["ldapmodify", "-x", *bind, "-H", ldap.directory.uri],
        input=f"dn: {entry_of(issued)}\n{change}", capture_output=True, text=True, check=False, timeout=30,
    )  # fmt: skip
    assert done.returncode != 0
    values = ldap.search(entry_of(issued))
    assert values["certificateRevocationList;binary"] == [ldap.list_of(issued, SIGNATURE)]
    assert "description" not in values


def test_new_list_appears_after_loading(ldap: TownDirectory) -> None:
    (issued,) = certificates(ldap.town, "hanako", AUTHENTICATION)
    (before,) = ldap.search(entry_of(issued))["certificateRevocationList;binary"]
    assert ldap.load() == 0, "nothing new"
    ldap.town.revocations[AUTHENTICATION].revoke(issued.serial, Reason.KEY_COMPROMISE)
    later(ldap.town, days=1)
    assert ldap.search(entry_of(issued))["certificateRevocationList;binary"] == [before], "not loaded yet"
    assert ldap.load() == 6, "two authorities' own entries, and two municipalities' of each"
    (after,) = ldap.search(entry_of(issued))["certificateRevocationList;binary"]
    assert after == ldap.list_of(issued, AUTHENTICATION) != before
    listed = x509.load_der_x509_crl(after)
    assert listed.get_revoked_certificate_by_serial_number(issued.serial) is not None


def test_municipalitys_first_certificate_adds_an_entry(ldap: TownDirectory) -> None:
    ldap.town.issue_card("leap-day", "leap-day")
    ldap.town.settle()
    assert ldap.load() == 2
    for kind in CertificateType:
        (issued,) = certificates(ldap.town, "leap-day", kind)
        assert ldap.search(entry_of(issued))["certificateRevocationList;binary"] == [ldap.list_of(issued, kind)]


def test_restarted_directory_has_all_lists(ldap: TownDirectory) -> None:
    (issued,) = certificates(ldap.town, "hanako", SIGNATURE)
    ldap.directory.stop()
    ldap.search_fails(entry_of(issued), CANNOT_CONNECT)
    ldap.directory.start(ldap.town.publications.values())
    assert ldap.search(entry_of(issued))["certificateRevocationList;binary"] == [ldap.list_of(issued, SIGNATURE)]


def test_lists_are_reloaded_after_a_failure(
    ldap: TownDirectory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (issued,) = certificates(ldap.town, "hanako", SIGNATURE)
    later(ldap.town, days=1)
    (tmp_path / "ldapmodify").symlink_to("/bin/false")
    with monkeypatch.context() as patch:
        patch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
        with pytest.raises(DirectoryUnavailable):
            ldap.load()
    assert ldap.load() > 0
    assert ldap.search(entry_of(issued))["certificateRevocationList;binary"] == [ldap.list_of(issued, SIGNATURE)]
