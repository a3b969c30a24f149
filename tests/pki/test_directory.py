"""The directory: a real slapd, asked by `ldapsearch` as a client without any rights."""

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
"""How `ldapsearch` ends."""


@dataclass
class Asked:
    """A town with its directory."""

    town: Institutions
    directory: Directory

    def search(self, entry: str, *attributes: str) -> dict[str, list[bytes]]:
        """An entry's values by attribute."""
        text = run(
            "ldapsearch", "-x", "-LLL", "-o", "ldif-wrap=no", "-H", self.directory.uri, "-b", entry, "-s", "base",
            "(objectClass=*)", *attributes,
        )  # fmt: skip
        found: dict[str, list[bytes]] = {}
        for line in text.splitlines():
            name, colon, value = line.partition(": ")
            if colon:
                binary = name.endswith(":")
                found.setdefault(name.rstrip(":"), []).append(b64decode(value) if binary else value.encode())
        return found

    def refused(self, entry: str, code: int) -> None:
        """The same search, which must end with an error."""
        run("ldapsearch", "-x", "-LLL", "-H", self.directory.uri, "-b", entry, "-s", "base", expect=code)

    def list_of(self, issued: Issued, kind: CertificateType) -> bytes:
        return self.town.publications[kind].path(issued.generation, issued.partition).read_bytes()

    def load(self) -> int:
        return self.directory.load(self.town.publications.values())


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Asked]:
    town = new_institutions(tmp_path_factory.mktemp("directory") / "w", SharedKeySource([generate() for _ in range(5)]))
    for alias in ("hanako", "long-name", "expired"):
        town.issue_card(alias, alias)
    town.settle()
    directory = Directory(town.world, free_port())
    directory.start(town.publications.values())
    yield Asked(town, directory)
    directory.stop()
    town.world.close()


def entry_of(issued: Issued) -> str:
    """The LDAP name that follows from what a certificate says of its list, as RFC 4514 writes it."""
    (point,) = loaded(issued).extensions.get_extension_for_class(x509.CRLDistributionPoints).value
    assert point.full_name is not None
    (name,) = point.full_name
    assert isinstance(name, x509.DirectoryName)
    return name.value.rfc4514_string()


@pytest.mark.parametrize("alias", ["hanako", "long-name"])
@pytest.mark.parametrize("kind", CertificateType)
def test_the_distribution_point_of_a_certificate_is_where_its_list_is(
    asked: Asked, alias: str, kind: CertificateType
) -> None:
    (issued,) = certificates(asked.town, alias, kind)
    entry = entry_of(issued)
    assert entry.lower() == partition_entry(kind, issued.partition).lower()
    found = asked.search(entry, "certificateRevocationList")
    assert asked.list_of(issued, kind) in found["certificateRevocationList;binary"]
    listed = [x509.load_der_x509_crl(value) for value in found["certificateRevocationList;binary"]]
    assert {crl.issuer for crl in listed} == {loaded(issued).issuer}


@pytest.mark.parametrize("kind", CertificateType)
def test_two_generations_have_two_lists_in_one_entry(asked: Asked, kind: CertificateType) -> None:
    (present,), (former,) = (certificates(asked.town, alias, kind) for alias in ("long-name", "expired"))
    assert (present.generation, former.generation) == ("03", "02")
    assert entry_of(present) == entry_of(former)
    values = asked.search(entry_of(present))["certificateRevocationList;binary"]
    assert sorted(values) == sorted((asked.list_of(present, kind), asked.list_of(former, kind)))
    (only,) = asked.search(entry_of(certificates(asked.town, "hanako", kind)[0]))["certificateRevocationList;binary"]
    assert only == asked.list_of(certificates(asked.town, "hanako", kind)[0], kind)


@pytest.mark.parametrize("kind", CertificateType)
def test_an_authoritys_entry_holds_its_certificates_and_their_list(asked: Asked, kind: CertificateType) -> None:
    generations = asked.town.authorities[kind].generations()
    (point,) = (
        x509.load_der_x509_certificate(generations[-1].certificate)
        .extensions.get_extension_for_class(x509.CRLDistributionPoints)
        .value
    )
    assert point.full_name is not None
    found = asked.search(point.full_name[0].value.rfc4514_string())
    assert b"pkiCA" in found["objectClass"]
    assert sorted(found["cACertificate;binary"]) == sorted(generation.certificate for generation in generations)
    publication = asked.town.publications[kind]
    lists = [publication.path(generation.name, AUTHORITY_LIST).read_bytes() for generation in generations]
    assert sorted(found["authorityRevocationList;binary"]) == sorted(lists)


def test_the_whole_tree_can_be_walked(asked: Asked) -> None:
    text = run("ldapsearch", "-x", "-LLL", "-o", "ldif-wrap=no", "-H", asked.directory.uri, "-b", "c=JP", "dn")
    names = {line.removeprefix("dn: ") for line in text.splitlines() if line.startswith("dn: ")}
    for kind in CertificateType:
        for code in ("13113", "14104"):
            assert partition_entry(kind, code).lower() in {name.lower() for name in names}
    assert sum(name.lower().startswith("cn=") for name in names) == 4


def test_an_entry_that_nobody_made_is_not_there(asked: Asked) -> None:
    asked.refused(partition_entry(SIGNATURE, "47201"), NO_SUCH_OBJECT)


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
def test_nobody_writes_over_the_network(asked: Asked, change: str, bind: tuple[str, ...]) -> None:
    (issued,) = certificates(asked.town, "hanako", SIGNATURE)
    done = subprocess.run(
        ["ldapmodify", "-x", *bind, "-H", asked.directory.uri],
        input=f"dn: {entry_of(issued)}\n{change}", capture_output=True, text=True, check=False, timeout=30,
    )  # fmt: skip
    assert done.returncode != 0
    found = asked.search(entry_of(issued))
    assert found["certificateRevocationList;binary"] == [asked.list_of(issued, SIGNATURE)]
    assert "description" not in found


def test_the_next_days_list_is_there_after_it_is_loaded(asked: Asked) -> None:
    (issued,) = certificates(asked.town, "hanako", AUTHENTICATION)
    (before,) = asked.search(entry_of(issued))["certificateRevocationList;binary"]
    assert asked.load() == 0, "nothing new"
    asked.town.revocations[AUTHENTICATION].revoke(issued.serial, Reason.KEY_COMPROMISE)
    later(asked.town, days=1)
    assert asked.search(entry_of(issued))["certificateRevocationList;binary"] == [before], "not loaded yet"
    assert asked.load() == 6, "two authorities' own entries, and two municipalities' of each"
    (after,) = asked.search(entry_of(issued))["certificateRevocationList;binary"]
    assert after == asked.list_of(issued, AUTHENTICATION) != before
    listed = x509.load_der_x509_crl(after)
    assert listed.get_revoked_certificate_by_serial_number(issued.serial) is not None


def test_a_municipality_whose_first_certificate_is_issued_gets_an_entry(asked: Asked) -> None:
    asked.town.issue_card("leap-day", "leap-day")
    asked.town.settle()
    assert asked.load() == 2
    for kind in CertificateType:
        (issued,) = certificates(asked.town, "leap-day", kind)
        assert asked.search(entry_of(issued))["certificateRevocationList;binary"] == [asked.list_of(issued, kind)]


def test_a_directory_that_was_ended_starts_again_with_everything(asked: Asked) -> None:
    (issued,) = certificates(asked.town, "hanako", SIGNATURE)
    asked.directory.stop()
    asked.refused(entry_of(issued), CANNOT_CONNECT)
    asked.directory.start(asked.town.publications.values())
    assert asked.search(entry_of(issued))["certificateRevocationList;binary"] == [asked.list_of(issued, SIGNATURE)]


def test_a_directory_that_did_not_take_the_lists_takes_them_later(
    asked: Asked, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (issued,) = certificates(asked.town, "hanako", SIGNATURE)
    later(asked.town, days=1)
    (tmp_path / "ldapmodify").symlink_to("/bin/false")
    with monkeypatch.context() as patch:
        patch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
        with pytest.raises(DirectoryUnavailable):
            asked.load()
    assert asked.load() > 0
    assert asked.search(entry_of(issued))["certificateRevocationList;binary"] == [asked.list_of(issued, SIGNATURE)]
