"""Revocation lists: encoding of entries, the nightly batch, and recovery after an interruption."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path

import numpy as np
import pytest
import sqlalchemy as sa
from asn1crypto import crl as asn1_crl
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp
from hypothesis import example, given, settings
from hypothesis import strategies as st

from kazashi.assembly.institutions import Institutions
from kazashi.card.certification_request import certification_request
from kazashi.jpki.profile import Medium
from kazashi.jpki.state import Reason
from kazashi.pki import asn1
from kazashi.pki.certificate import CertificateRequest
from kazashi.pki.certificate_database import AUTHORITY_LIST, FULL_LIST
from kazashi.pki.crl import read_list, without
from kazashi.pki.crl_entries import Entries, encode_entries
from kazashi.pki.publication import Publication, list_path
from kazashi.pki.responder import Responder
from kazashi.world.clock import epoch
from kazashi.world.home import open_world
from kazashi.world.key_source import KeySource, SharedKeySource, generate
from kazashi.world.schedule import AT_ONCE
from tests.support import run
from tests.town import AUTHENTICATION, MORNING, SIGNATURE, certificates, clock_of, later, loaded, new_institutions

LAST_INSTANT = int(datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC).timestamp())
FIRST_OF_2050 = int(datetime(2050, 1, 1, tzinfo=UTC).timestamp())
_ENTRY = st.tuples(
    st.integers(1, 64).flatmap(lambda bits: st.integers(1 << (bits - 1), (1 << bits) - 1)),
    st.integers(0, LAST_INSTANT),
    st.sampled_from(Reason),
)


def columns(entries: list[tuple[int, int, Reason]]) -> Entries:
    return Entries(
        np.array([entry[0] for entry in entries], np.uint64).view(np.int64),
        np.array([entry[1] for entry in entries], np.int64),
        np.array([entry[2] for entry in entries], np.int64),
    )


def encoded(entries: list[tuple[int, int, Reason]]) -> bytes:
    return b"".join(encode_entries(columns(entries)))


@example([(number << 63 | 1, at, reason) for number in (0, 1) for reason in Reason
          for at in (FIRST_OF_2050 - 1, FIRST_OF_2050, LAST_INSTANT)])  # fmt: skip
@given(st.lists(_ENTRY, max_size=40))
def test_asn1crypto_reads_the_encoded_entries(entries: list[tuple[int, int, Reason]]) -> None:
    data = asn1.sequence(encoded(entries))
    parsed = asn1_crl.RevokedCertificates.load(data, strict=True)
    read = []
    for entry in parsed:
        reason = entry.crl_reason_value
        assert (reason is None) == (len(entry["crl_entry_extensions"]) == 0)
        name = "UNSPECIFIED" if reason is None else str(reason.native).upper()
        at = int(entry["revocation_date"].native.timestamp())
        assert entry["revocation_date"].name == ("utc_time" if at < FIRST_OF_2050 else "general_time")
        read.append((entry["user_certificate"].native, at, Reason[name]))
    assert read == entries
    assert parsed.dump(force=True) == data


@given(st.lists(_ENTRY, max_size=30, unique_by=lambda entry: entry[0]), st.data())
def test_removing_entries_keeps_the_others(entries: list[tuple[int, int, Reason]], data: st.DataObject) -> None:
    # A short entry could occur inside a longer serial number; serial numbers of equal length exclude this.
    entries = [(serial | 1 << 62, at, reason) for serial, at, reason in entries]
    removed = data.draw(st.sets(st.sampled_from(range(len(entries))))) if entries else set()
    whole = encoded(entries)
    kept = without(whole, (0, len(whole)), [encoded([entries[place]]) for place in sorted(removed)])
    assert b"".join(kept) == encoded([entry for place, entry in enumerate(entries) if place not in removed])


def test_removing_a_missing_entry_raises_key_error() -> None:
    whole = encoded([(5, 0, Reason.SUPERSEDED), (6, 0, Reason.SUPERSEDED)])
    with pytest.raises(KeyError):
        without(whole, (0, len(whole)), [encoded([(7, 0, Reason.SUPERSEDED)])])
    with pytest.raises(KeyError):
        without(whole, (0, len(whole)), [encoded([(5, 0, Reason.KEY_COMPROMISE)])])


def test_pieces_of_many_entries_join_correctly() -> None:
    size = 150_000
    entries = Entries(
        np.arange(1, size + 1, dtype=np.int64), np.full(size, epoch(MORNING)), np.arange(size, dtype=np.int64) % 7
    )
    pieces = list(encode_entries(entries))
    assert len(pieces) > 1
    reader, read = asn1.Reader(b"".join(pieces)), []
    while reader.more:
        read.append(reader.inside(asn1.SEQUENCE).number())
    assert read == list(range(1, size + 1))


@pytest.mark.parametrize("data", [b"", b"\x30\x00", b"\x30\x02\x30\x00", bytes(40)])
def test_invalid_list_raises_malformed_der(data: bytes) -> None:
    with pytest.raises(asn1.MalformedDer):
        read_list(data)


# The batch


def entries_of(path: Path) -> bytes:
    data = path.read_bytes()
    first, end = read_list(data).entries
    return data[first:end]


def serials_of(path: Path) -> list[int]:
    return [entry.serial_number for entry in x509.load_der_x509_crl(path.read_bytes())]


def number_of(path: Path) -> int:
    listed = x509.load_der_x509_crl(path.read_bytes())
    return listed.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number


_NUMBERS = count()


def phone_certificates(institutions: Institutions, keys: KeySource, lasts: list[int]) -> list[int]:
    """Issue phones' authentication certificates in two municipalities, valid for `lasts` days; return their serials."""
    now = institutions.world.clock.now()
    requests = [
        CertificateRequest(
            institutions.resident(("hanako", "leap-day")[place % 2]), certification_request(keys.take()), now,
            now + timedelta(days=days), Medium.PHONE, f"phone {place % 2}", identifier=f"request {next(_NUMBERS)}",
        )
        for place, days in enumerate(lasts)
    ]  # fmt: skip
    issued = institutions.authorities[AUTHENTICATION].issue_many(requests)
    return [x509.load_der_x509_certificate(certificate).serial_number for certificate in issued]


def assert_matches_store(publication: Publication) -> int:
    """Compare every published list with one built from the store; return the size of all entries in bytes."""
    size, table = 0, publication.authority.ledger.revocation_list
    in_parts = Publication(publication.authority, read_at_once=3)  # several queries even for a short list
    with publication.authority.ledger.store.reading() as connection:
        rows = connection.execute(sa.select(table)).all()
    for row in rows:
        entries = entries_of(publication.path(row.generation, row.name))
        parts: tuple[bytes, ...] = ()
        if row.name != AUTHORITY_LIST:
            parts = in_parts.entries_in_store(row.generation, row.name, row.position, row.expires_from)
        assert entries == b"".join(parts), row.name
        size += len(entries)
    return size


@contextmanager
def recording_rebuilds(publication: Publication) -> Iterator[list[str]]:
    """Record the names of the lists that are built from the store instead of from the previous list."""
    built: list[str] = []
    read = publication.entries_in_store

    def recording(generation: str, name: str, upto: int, expires_from: int) -> tuple[bytes, ...]:
        built.append(name)
        return read(generation, name, upto, expires_from)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(publication, "entries_in_store", recording)
        yield built


@pytest.fixture(scope="module")
def shared_town(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Institutions]:
    """A town that all examples of a property test share. All its lists have been made."""
    keys = SharedKeySource([generate() for _ in range(5)])
    institutions = new_institutions(tmp_path_factory.mktemp("lists") / "w", keys)
    phone_certificates(institutions, keys, [1, 1])
    institutions.settle()
    yield institutions
    institutions.world.close()


_STEP = st.sampled_from(["revoke", "hold", "release"])
_ALLOWED = {"good": ("revoke", "hold"), "held": ("revoke", "release")}


@settings(max_examples=10)
@given(
    st.lists(st.integers(1, 8), min_size=2, max_size=6),
    st.lists(
        st.tuples(st.integers(1, 4), st.lists(st.tuples(st.integers(0, 5), _STEP), max_size=6)), min_size=2, max_size=5
    ),
)
def test_updated_lists_equal_lists_built_from_the_store(
    shared_town: Institutions, keys: SharedKeySource, lasts: list[int], batches: list[tuple[int, list[tuple[int, str]]]]
) -> None:
    """Each batch comes `days` after the one before: those between are missed."""
    revocations, publication = shared_town.revocations[AUTHENTICATION], shared_town.publications[AUTHENTICATION]
    serials = phone_certificates(shared_town, keys, lasts)
    later(shared_town, days=1)
    for days, steps in batches:
        for place, step in steps:
            serial = serials[place % len(serials)]
            if step not in _ALLOWED.get(revocations.status(serial).state.value, ()):
                continue
            if step == "release":
                revocations.release(serial)
            else:
                revocations.revoke(serial, Reason.CERTIFICATE_HOLD if step == "hold" else Reason.SUPERSEDED)
        before = full_list(publication)
        clock = clock_of(shared_town.world)
        clock.stand(clock.now() + timedelta(days=days))
        with recording_rebuilds(publication) as built:
            shared_town.settle()
        assert built == []
        assert_matches_store(publication)
        assert_leaves_in_time(shared_town, before, full_list(publication))


def full_list(publication: Publication) -> x509.CertificateRevocationList:
    return x509.load_der_x509_crl(publication.path("03", FULL_LIST).read_bytes())


def assert_leaves_in_time(
    town: Institutions, before: x509.CertificateRevocationList, after: x509.CertificateRevocationList
) -> None:
    """Between two lists, exactly the entries leave that were released, or that the first list contained after their
    certificates' end (RFC 5280, 3.3)."""
    left = {entry.serial_number for entry in before} - {entry.serial_number for entry in after}
    for entry in before:
        not_after = loaded(town.authorities[AUTHENTICATION].find(entry.serial_number)).not_valid_after_utc
        released = town.revocations[AUTHENTICATION].status(entry.serial_number).since is None
        assert (entry.serial_number in left) == (released or before.last_update_utc > not_after)


def test_an_entry_leaves_after_the_first_list_that_follows_its_certificates_end(
    town: Institutions, keys: SharedKeySource
) -> None:
    short, long = phone_certificates(town, keys, [3, 30])
    publication = town.publications[AUTHENTICATION]
    for serial in (short, long):
        town.revocations[AUTHENTICATION].revoke(serial, Reason.KEY_COMPROMISE)
    ends = town.authorities[AUTHENTICATION].find(short).not_after
    seen = []
    for _ in range(5):
        later(town, days=1)
        path = publication.path("03", FULL_LIST)
        seen.append((full_list(publication).last_update_utc > ends, serials_of(path)))
        assert serials_of(publication.path("03", "13113")) == [serial for serial in seen[-1][1] if serial == short]
        assert assert_matches_store(publication) > 0
    both = [short, long]
    assert seen == [(False, both), (False, both), (False, both), (True, both), (True, [long])]
    assert town.revocations[AUTHENTICATION].status(short).reason is Reason.KEY_COMPROMISE, "the record is kept"


@pytest.mark.parametrize("damaged", [False, True])
def test_an_entry_is_in_one_list_after_missed_batches(town: Institutions, keys: SharedKeySource, damaged: bool) -> None:
    """Its certificate was revoked and ended while no batch ran. With a damaged file, the list is made from the
    store."""
    listed, unlisted, long = phone_certificates(town, keys, [3, 3, 30])
    publication, revocations = town.publications[AUTHENTICATION], town.revocations[AUTHENTICATION]
    for serial in (listed, long):
        revocations.revoke(serial, Reason.KEY_COMPROMISE)
    later(town, days=1)
    revocations.revoke(unlisted, Reason.SUPERSEDED)
    clock, path, seen = clock_of(town.world), publication.path("03", FULL_LIST), []
    for days in (9, 1):
        if damaged:
            path.write_bytes(b"")
        clock.stand(clock.now() + timedelta(days=days))
        town.settle()
        seen.append(serials_of(path))
        assert assert_matches_store(publication) > 0
    assert seen == [[listed, long, unlisted], [long]]


def test_lists_of_an_older_store_are_continued(town: Institutions, keys: SharedKeySource) -> None:
    """A store of version 1 did not say which entries a list has."""
    short, long = phone_certificates(town, keys, [3, 30])
    for serial in (short, long):
        town.revocations[AUTHENTICATION].revoke(serial, Reason.SUPERSEDED)
    later(town, days=2)
    with town.authorities[AUTHENTICATION].ledger.store.transaction() as connection:
        connection.execute(sa.text("ALTER TABLE revocation_list DROP COLUMN expires_from"))
        connection.execute(sa.text("UPDATE schema_version SET version = 1"))
    town.world.close()
    town = Institutions(open_world(town.world.directory, keys=keys))
    publication, seen = town.publications[AUTHENTICATION], []
    with recording_rebuilds(publication) as built:
        for _ in range(3):
            later(town, days=1)
            seen.append(serials_of(publication.path("03", FULL_LIST)))
            assert assert_matches_store(publication) > 0
    assert (built, seen) == ([], [[short, long], [short, long], [long]])
    town.world.close()


def test_empty_list_has_no_revoked_certificates_field(town: Institutions, keys: SharedKeySource) -> None:
    phone_certificates(town, keys, [30])
    town.settle()
    for name in ("13113", FULL_LIST, AUTHORITY_LIST):
        data = town.publications[AUTHENTICATION].path("03", name).read_bytes()
        assert read_list(data).entries == (0, 0)
        assert asn1_crl.CertificateList.load(data)["tbs_cert_list"]["revoked_certificates"].native is None


def test_next_batch_is_due_after_midnight_in_japan(town: Institutions, keys: SharedKeySource) -> None:
    phone_certificates(town, keys, [30])
    publication = town.publications[AUTHENTICATION]
    assert publication.due() == AT_ONCE, "a list that was never made is due at once"
    town.settle()
    midnight = MORNING + timedelta(hours=14, minutes=30)
    assert publication.due() == midnight
    later(town, hours=14, minutes=29, seconds=59)
    assert publication.made() == 3
    assert publication.publish() == 0
    later(town, seconds=1)
    assert publication.made() == 6
    assert publication.due() == midnight + timedelta(days=1)


class DiskFull(OSError):
    """The disk is full."""


class FillingDisk(Publication):
    """A publication on a disk with room for `room` more files."""

    room = 0

    def write(self, path: Path, pieces: Sequence[bytes | bytearray | memoryview]) -> None:
        if self.room == 0:
            raise DiskFull
        self.room -= 1
        super().write(path, pieces)


@pytest.mark.parametrize("writes", range(5))
def test_list_numbers_grow_after_an_interrupted_batch(town: Institutions, keys: SharedKeySource, writes: int) -> None:
    serials = phone_certificates(town, keys, [30, 30, 30, 30])
    publication, revocations = FillingDisk(town.authorities[AUTHENTICATION]), town.revocations[AUTHENTICATION]
    town.settle()
    names = publication.names("03")
    assert len(names) == 4
    seen: dict[tuple[str, int], bytes] = {}

    def published_numbers() -> dict[str, int]:
        """The currently published numbers. Two different lists never have the same number."""
        numbers = {}
        for name in names:
            path = publication.path("03", name)
            numbers[name] = number_of(path)
            assert seen.setdefault((name, numbers[name]), path.read_bytes()) == path.read_bytes()
        return numbers

    before = published_numbers()
    clock = clock_of(town.world)
    for serial in serials:
        revocations.revoke(serial, Reason.SUPERSEDED)
        clock.stand(clock.now() + timedelta(days=1))
        publication.room = writes
        if writes < len(names):
            with pytest.raises(DiskFull):
                publication.publish()
        else:
            assert publication.publish() == len(names)
        after = published_numbers()
        assert all(after[name] >= before[name] for name in names)
        assert sum(after[name] > before[name] for name in names) == writes
        before = after
        if writes < len(names):
            assert publication.due() is not None
            assert publication.due() <= clock.now()  # type: ignore[operator]
    publication.room = len(names)
    assert publication.publish() == (len(names) if writes < len(names) else 0)
    assert all(number >= before[name] for name, number in published_numbers().items())
    assert assert_matches_store(publication) > 0
    assert sorted(serials_of(publication.path("03", FULL_LIST))) == sorted(serials)
    assert not list(town.world.publication.rglob(".*.new"))


@pytest.mark.parametrize("damage", ["missing", "empty", "truncated", "another day's", "another list", "entry missing"])
def test_damaged_list_is_rebuilt_from_the_store(town: Institutions, keys: SharedKeySource, damage: str) -> None:
    serials = phone_certificates(town, keys, [30, 30, 30, 1])
    publication, revocations = town.publications[AUTHENTICATION], town.revocations[AUTHENTICATION]
    revocations.revoke(serials[0], Reason.CERTIFICATE_HOLD)
    revocations.revoke(serials[3], Reason.KEY_COMPROMISE)
    town.settle()
    path = publication.path("03", FULL_LIST)
    former = path.read_bytes()
    revocations.revoke(serials[2], Reason.SUPERSEDED)
    later(town, days=1)
    data = path.read_bytes()
    if damage == "missing":
        path.unlink()
    elif damage == "entry missing":
        entry = encoded([(serials[0], epoch(MORNING), Reason.CERTIFICATE_HOLD)])
        assert entry in data
        path.write_bytes(data.replace(entry, bytes(len(entry))))
    else:
        path.write_bytes({
            "empty": b"", "truncated": data[:60], "another day's": former,
            "another list": publication.path("03", AUTHORITY_LIST).read_bytes(),
        }[damage])  # fmt: skip
    revocations.release(serials[0])
    revocations.revoke(serials[1], Reason.CESSATION_OF_OPERATION)
    with recording_rebuilds(publication) as built:
        later(town, days=1)
    assert built == [FULL_LIST]
    assert sorted(serials_of(path)) == sorted(serials[1:])
    assert assert_matches_store(publication) > 0


def test_list_path_follows_from_the_distribution_point() -> None:
    assert list_path(SIGNATURE, "03", "14104") == Path("crl/signature/03/Kanagawa-ken/Yokohama-shi-Naka-ku.crl")
    assert list_path(AUTHENTICATION, "03", FULL_LIST) == Path("crl/authentication/03/full.crl")


def test_key_compromise_revokes_all_certificates_of_a_generation(town: Institutions) -> None:
    for alias in ("hanako", "leap-day"):
        town.issue_card(alias, alias)
    assert town.revocations[SIGNATURE].compromise("03") == 2
    later(town, days=1)
    listed = x509.load_der_x509_crl(town.publications[SIGNATURE].path("03", FULL_LIST).read_bytes())
    reasons = [entry.extensions.get_extension_for_class(x509.CRLReason).value.reason for entry in listed]
    assert reasons == [x509.ReasonFlags.ca_compromise] * 2


# Random serial numbers


def test_random_serial_numbers_work_in_lists_and_ocsp(tmp_path: Path, keys: SharedKeySource) -> None:
    town = new_institutions(tmp_path / "w", keys, serials="random")
    for name in range(8):
        town.issue_card(f"card {name}", "hanako")
    publication, revocations = town.publications[SIGNATURE], town.revocations[SIGNATURE]
    # Lists keep the order of revocation, so the certificates are revoked in another order than that of their numbers.
    all_issued = sorted(certificates(town, "hanako", SIGNATURE), key=lambda issued: issued.serial, reverse=True)
    serials = [issued.serial for issued in all_issued]
    assert len(set(serials)) == 8
    assert max(serials) >= 1 << 60, "the chance that eight random 64-bit numbers are all less is one in 2**32"
    for issued in all_issued:
        assert loaded(issued).serial_number == issued.serial
        assert town.authorities[SIGNATURE].find(issued.serial) == issued
    for serial in serials[:5]:
        revocations.revoke(serial, Reason.SUPERSEDED)
    later(town, days=1)
    revocations.revoke(serials[5], Reason.KEY_COMPROMISE)
    with recording_rebuilds(publication) as built:
        later(town, days=1)
    assert built == []
    assert serials_of(publication.path("03", "13113")) == serials[:6]
    assert assert_matches_store(publication) > 0
    issuer = x509.load_der_x509_certificate(town.authorities[SIGNATURE].root())
    statuses = {}
    for issued in all_issued:
        request = ocsp.OCSPRequestBuilder().add_certificate(loaded(issued), issuer, hashes.SHA256()).build()
        answer = Responder(town.authorities[SIGNATURE]).answer(request.public_bytes(Encoding.DER))
        statuses[issued.serial] = answer.asked[0].said
    assert list(statuses.values()) == ["superseded"] * 5 + ["keyCompromise"] + ["good"] * 2
    path = str(publication.path("03", FULL_LIST))
    text = run("openssl", "crl", "-inform", "DER", "-noout", "-text", "-in", path)
    assert all(
        f"Serial Number: {serial:X}" in text.replace("Serial Number: 0", "Serial Number: ") for serial in serials[:6]
    )
    town.world.close()
