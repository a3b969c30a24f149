"""Reading of revocation lists that the authorities write, and rejection of malformed ones."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from hypothesis import example, given, settings
from hypothesis import strategies as st

from kazashi.jpki.profile import NEXT, CertificateType
from kazashi.jpki.state import Reason
from kazashi.pki.crl import EVERYTHING, sign_list
from kazashi.pki.crl_entries import Entries, encode_entries
from kazashi.pki.generation import Generation
from kazashi.relying_party.conformance.authority import NOW, HolderKey, ListTemplate, TestAuthority
from kazashi.relying_party.verify.anchors import Anchor, Anchors, read_anchor
from kazashi.relying_party.verify.finding import Finding, Outcome, VerificationFailed
from kazashi.relying_party.verify.revocation_list import RevocationList, RevokedEntry, read_revocation_list
from kazashi.relying_party.verify.sources import Lists
from kazashi.relying_party.verify.verdict import Verdict
from kazashi.relying_party.verify.verification import Verifier
from kazashi.world.clock import FixedClock, epoch, from_epoch
from kazashi.world.key_source import SharedKeySource, generate
from tests.support import run
from tests.town import MORNING, SIGNATURE, new_institutions

pytestmark = pytest.mark.unit

FIRST_OF_2050 = epoch(datetime(2050, 1, 1, tzinfo=UTC))
LAST_INSTANT = (1 << 32) - 1
"""In February 2106; the reader keeps four bytes."""

UPDATES = (MORNING, MORNING + timedelta(hours=48))
LONGEST_ENTRY = 50
"""Bytes of an entry with a serial number of nine bytes and a reason, rounded up."""

Entry = tuple[int, int, Reason]

ENTRY = st.tuples(
    st.integers(1, 64).flatmap(lambda bits: st.integers(1 << (bits - 1), (1 << bits) - 1)),
    st.integers(0, LAST_INSTANT),
    st.sampled_from(Reason),
)
ENTRIES = st.lists(ENTRY, max_size=40, unique_by=lambda entry: entry[0])
PIECES = st.tuples(st.integers(LONGEST_ENTRY, 4 * LONGEST_ENTRY), st.integers(1, 12))
"""How many bytes are read at a time, and how many entries a segment has."""


@dataclass(frozen=True)
class Signing:
    """A generation of an authority, and its anchor for a relying party."""

    generation: Generation
    anchor: Anchor

    def written(self, entries: Sequence[Entry], number: int = 7) -> bytes:
        """A full list as the authority writes it."""
        columns = Entries(
            np.array([entry[0] for entry in entries], np.uint64).view(np.int64),
            np.array([entry[1] for entry in entries], np.int64),
            np.array([entry[2] for entry in entries], np.int64),
        )
        pieces = tuple(encode_entries(columns)) if entries else ()
        return bytes(sign_list(self.generation, SIGNATURE, EVERYTHING, number, UPDATES, pieces))


@pytest.fixture(scope="module")
def generations(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Signing]]:
    """A generation that signs with RSA, and one that signs with P-384."""
    town = new_institutions(tmp_path_factory.mktemp("read") / "w", SharedKeySource([generate() for _ in range(2)]))
    ca = town.authorities[SIGNATURE]
    issuing = [ca.issuing(), ca.issuing(profile=NEXT)]
    yield [Signing(generation, read_anchor(generation.certificate)) for generation in issuing]
    town.world.close()


def agrees(crl: RevocationList, entries: Sequence[Entry]) -> None:
    """Assert that the list has exactly these entries."""
    assert len(crl) == len(entries)
    assert {serial: crl.find(serial) for serial, _, _ in entries} == {
        serial: RevokedEntry(from_epoch(at), reason) for serial, at, reason in entries
    }
    listed = {serial for serial, _, _ in entries}
    for serial in {near for number in (*listed, 1, (1 << 64) - 1) for near in (number - 1, number + 1)} - listed:
        assert not 0 < serial < 1 << 64 or crl.find(serial) is None


@settings(max_examples=60)
@example([(number << 63 | 1 + reason, LAST_INSTANT, reason) for number in (0, 1) for reason in Reason], (64, 5))
@example([(1 + 8 * year + reason, FIRST_OF_2050 - 1 + year, reason) for year in (0, 1) for reason in Reason], (64, 5))
@example([], (LONGEST_ENTRY, 1))
@given(entries=ENTRIES, pieces=PIECES)
def test_a_list_is_read_as_it_was_written(
    generations: list[Signing], entries: list[Entry], pieces: tuple[int, int]
) -> None:
    for signing in generations:
        data = signing.written(entries)
        whole = read_revocation_list(data, signing.anchor)
        piece, segment = pieces
        in_pieces = read_revocation_list(data, signing.anchor, piece=piece, segment=segment)
        from_file = read_revocation_list(BytesIO(data), signing.anchor, piece=piece, segment=segment)
        for crl in (whole, in_pieces, from_file):
            agrees(crl, entries)
            assert (crl.number, crl.this_update, crl.next_update) == (7, *UPDATES)
            assert crl.partition is None


@settings(max_examples=20)
@given(entries=ENTRIES)
def test_a_list_is_read_as_another_library_reads_it(generations: list[Signing], entries: list[Entry]) -> None:
    data = generations[0].written(entries)
    crl = read_revocation_list(data, generations[0].anchor)
    listed = list(x509.load_der_x509_crl(data))
    assert [entry.serial_number for entry in listed] == [serial for serial, _, _ in entries]
    for entry in listed:
        revoked = crl.find(entry.serial_number)
        assert revoked is not None
        assert revoked.at == entry.revocation_date_utc


def test_a_list_in_a_file_is_read_like_one_in_memory(generations: list[Signing], tmp_path: Path) -> None:
    entries = [(1 + 3 * place, epoch(MORNING) + place, Reason(place % 7)) for place in range(30_000)]
    data = generations[0].written(entries)
    path = tmp_path / "list.crl"
    path.write_bytes(data)
    with path.open("rb") as file:
        agrees(read_revocation_list(file, generations[0].anchor, piece=1 << 16, segment=1 << 13), entries)
    agrees(read_revocation_list(data, generations[0].anchor), entries)


def test_a_list_of_after_2049_is_read_as_fast(generations: list[Signing]) -> None:
    """Its times have another form. Entry by entry it would take a hundred times as long."""

    def seconds(first: int) -> float:
        data = generations[0].written([(1 + 3 * place, first + place, Reason(place % 7)) for place in range(20_000)])
        begun = time.process_time()
        read_revocation_list(data, generations[0].anchor)
        return time.process_time() - begun

    assert seconds(FIRST_OF_2050) < 10 * seconds(epoch(MORNING))


def test_a_revocation_after_2106_is_rejected(generations: list[Signing]) -> None:
    for instant in (LAST_INSTANT + 1, epoch(datetime(9999, 12, 31, tzinfo=UTC))):
        refused(generations[0].written([(5, instant, Reason.SUPERSEDED)]), generations[0].anchor)


# Malformed and foreign lists

SOME: list[Entry] = [(5 + place, epoch(MORNING) - place, reason) for place, reason in enumerate(Reason)]


def refused(data: bytes, anchor: Anchor) -> None:
    """Assert that the list is rejected with VerificationFailed, read as a whole and in chunks."""
    with pytest.raises(VerificationFailed) as whole:
        read_revocation_list(data, anchor)
    assert whole.value.finding is Finding.UNTRUSTED_INFORMATION
    with pytest.raises(VerificationFailed):
        read_revocation_list(BytesIO(data), anchor, piece=64, segment=5)


@pytest.mark.parametrize("place", [0, 1], ids=["RSA", "P-384"])
def test_a_truncated_list_is_rejected(generations: list[Signing], place: int) -> None:
    data = generations[place].written(SOME)
    for length in range(len(data)):
        refused(data[:length], generations[place].anchor)


@settings(max_examples=300)
@given(which=st.integers(0, 1), place=st.integers(0, 1 << 16), change=st.integers(1, 255))
def test_a_list_with_a_changed_byte_is_rejected(
    generations: list[Signing], which: int, place: int, change: int
) -> None:
    data = bytearray(generations[which].written(SOME))
    data[place % len(data)] ^= change
    refused(bytes(data), generations[which].anchor)


@pytest.mark.parametrize("change", [0x01, 0x80, 0xFF])
def test_a_change_of_any_single_byte_of_a_list_is_rejected(generations: list[Signing], change: int) -> None:
    data, anchor = generations[0].written(SOME), generations[0].anchor
    accepted = []
    for place in range(len(data)):
        try:
            read_revocation_list(data[:place] + bytes((data[place] ^ change,)) + data[place + 1 :], anchor)
        except VerificationFailed:
            continue
        accepted.append(place)
    assert accepted == []


@settings(max_examples=200)
@given(
    data=st.one_of(st.binary(max_size=300), st.binary(max_size=100).map(lambda rest: b"\x30\x82\x01\x00\x30" + rest))
)
def test_anything_that_is_not_a_list_is_rejected(generations: list[Signing], data: bytes) -> None:
    refused(data, generations[0].anchor)


def test_a_list_with_trailing_bytes_is_rejected(generations: list[Signing]) -> None:
    for signing in generations:
        refused(signing.written(SOME) + b"\x00", signing.anchor)
        refused(signing.written(SOME) * 2, signing.anchor)


def test_a_list_of_another_generation_is_rejected(generations: list[Signing]) -> None:
    first, second = generations
    refused(first.written(SOME), second.anchor)
    refused(second.written(SOME), first.anchor)


# Unusual lists that the authority has signed


@pytest.fixture(scope="module")
def ca() -> TestAuthority:
    return TestAuthority(SharedKeySource([generate() for _ in range(7)]))


@pytest.fixture(scope="module")
def holder(ca: TestAuthority) -> HolderKey:
    return ca.holder(ca.generation(CertificateType.SIGNATURE))


def verdict(holder: HolderKey, data: bytes) -> Verdict:
    anchor = read_anchor(holder.issuer.certificate.public_bytes(Encoding.DER))
    return Verifier(Anchors([anchor]), [Lists("given", lambda *_: data)], FixedClock(NOW)).certificate(holder.der)


@pytest.mark.parametrize(
    "reason", [reason for reason in x509.ReasonFlags if reason is not x509.ReasonFlags.remove_from_crl]
)
def test_an_entry_revokes_whatever_its_reason(ca: TestAuthority, holder: HolderKey, reason: x509.ReasonFlags) -> None:
    """RFC 5280 has reasons that JPKI does not use."""
    entry = (holder.certificate.serial_number, NOW - timedelta(days=1), reason)
    result = verdict(holder, ca.list(holder.issuer, [entry]))
    assert result.outcome is not Outcome.GOOD
    if reason.value in {known.asn1_name for known in Reason}:
        assert result.outcome is Outcome.BAD


@pytest.mark.parametrize("year", [1950, 1969, 1970, 2026])
def test_an_entry_revokes_however_old_it_is(ca: TestAuthority, holder: HolderKey, year: int) -> None:
    """UTCTime begins in 1950."""
    entry = (holder.certificate.serial_number, datetime(year, 1, 2, tzinfo=UTC), None)
    assert verdict(holder, ca.list(holder.issuer, [entry])).outcome is not Outcome.GOOD


@pytest.mark.parametrize("critical", [True, False])
def test_a_delta_list_is_rejected_in_words_of_its_own(
    ca: TestAuthority, holder: HolderKey, tmp_path: Path, critical: bool
) -> None:
    """It has only what changed since the complete list of its base number (RFC 5280, 5.2.4): a certificate that is not
    in it may be revoked. The extension is critical; a list in which it is not is still a delta list."""
    delta = ca.list(holder.issuer, (), ListTemplate(extra=[(x509.DeltaCRLIndicator(6), critical)]))
    (tmp_path / "delta.crl").write_bytes(delta)
    text = run("openssl", "crl", "-inform", "DER", "-in", str(tmp_path / "delta.crl"), "-noout", "-text")
    assert "X509v3 Delta CRL Indicator" in text
    result = verdict(holder, delta)
    assert (result.outcome, result.finding) == (Outcome.INDETERMINATE, Finding.UNTRUSTED_INFORMATION)
    assert "delta list" in result.detail


def test_a_complete_list_may_say_where_its_deltas_are(ca: TestAuthority, holder: HolderKey) -> None:
    """RFC 5280, 5.2.6: a verifier need not use them."""
    place = x509.DistributionPoint([x509.UniformResourceIdentifier("http://ca.example/d.crl")], None, None, None)
    freshest = (x509.FreshestCRL([place]), False)
    assert verdict(holder, ca.list(holder.issuer, (), ListTemplate(extra=[freshest]))).outcome is Outcome.GOOD


def test_a_relative_distribution_point_is_rejected(ca: TestAuthority, holder: HolderKey) -> None:
    relative = x509.RelativeDistinguishedName([x509.NameAttribute(NameOID.COMMON_NAME, "Shibuya-ku CRLDP")])
    point = x509.IssuingDistributionPoint(None, relative, True, False, None, False, False)
    result = verdict(holder, ca.list(holder.issuer, (), ListTemplate(point=(point, True))))
    assert (result.outcome, result.finding) == (Outcome.INDETERMINATE, Finding.UNTRUSTED_INFORMATION)
