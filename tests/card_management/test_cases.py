"""Cases: one order makes one card, with one certificate per key, whatever faults occur."""

from __future__ import annotations

import subprocess
import sys
from base64 import b64encode
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import date, timedelta
from itertools import product
from pathlib import Path

import pytest
import sqlalchemy as sa
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from hypothesis import given, settings
from hypothesis import strategies as st

from kazashi.applets import jpki
from kazashi.assembly.institutions import Institutions
from kazashi.card.certification_request import certification_request
from kazashi.card.image import ImageExists, read_image
from kazashi.card_management.case import CaseState, CaseType
from kazashi.card_management.consequence import CardState
from kazashi.card_management.entitlement import ApplicationRejected
from kazashi.card_management.order import image_path, usual_order
from kazashi.card_management.production import SENDINGS
from kazashi.card_management.records import NoSuchCard
from kazashi.card_management.relay import RelayFailed, RelayFault
from kazashi.jpki.profile import NEXT, CertificateType
from kazashi.pki.authority import FIRST_SERIAL, RequestConflict
from kazashi.pki.certificate import CertificateRequest, NoProofOfPossession
from kazashi.resident_registry.event import Channel, Death
from kazashi.resident_registry.registry import NoSuchResident
from kazashi.resident_registry.sample_residents import SAMPLE_RESIDENTS
from kazashi.world.key_source import KeySource, generate
from kazashi.world.schedule import AT_ONCE
from tests.card_management.support import (
    NAMES,
    assert_serials_gapless,
    certificate_in,
    contents,
    everything_issued,
    key_in,
    key_on_card,
    on_card,
    with_faults,
)
from tests.town import AUTHENTICATION, MORNING, SIGNATURE, certificates, later, loaded, new_institutions

# Keys and certificates


@pytest.mark.parametrize("who", ["hanako", "rare-kanji", "short-stay"])
def test_keys_are_generated_on_the_card_and_certified(distinct_keys_town: Institutions, who: str) -> None:
    path = distinct_keys_town.issue_card(who, who)
    assert path == image_path(distinct_keys_town.world, who)
    for kind in CertificateType:
        (issued,) = certificates(distinct_keys_town, who, kind)
        certificate = on_card(distinct_keys_town, who, kind)
        assert certificate == loaded(issued)
        assert certificate.public_key() == key_on_card(distinct_keys_town, who, kind)
        assert issued.medium_id == read_image(path)[1]["card number"]
        assert issued.not_before == MORNING
    assert key_on_card(distinct_keys_town, who, SIGNATURE) != key_on_card(distinct_keys_town, who, AUTHENTICATION)
    assert not list(distinct_keys_town.world.cards.glob(".*.keys")), "the keys are only on the card"
    assert_serials_gapless(distinct_keys_town)


def test_card_image_describes_holder_and_expiry(town: Institutions) -> None:
    path = town.issue_card("mine", "hanako")
    _, about = read_image(path)
    person = town.registry.find("hanako")
    assert about["resident"] == "hanako"
    assert about["individual number"] == person.individual_number
    assert (about["expiry"], about["issued"]) == ("20360417", "2026-11-24T10:00:00+09:00")
    assert path.stat().st_mode & 0o077 == 0


def test_card_is_made_once_the_registration_has_arrived(tmp_path: Path, keys: KeySource) -> None:
    town = new_institutions(tmp_path / "w", keys, hop_minutes=10)
    added = town.registry.add(SAMPLE_RESIDENTS["hanako"])
    order = usual_order(town.world, added)
    with pytest.raises(NoSuchResident):
        town.cards.issue("hanako", order)
    later(town, hours=1)
    assert image_path(town.world, "hanako").exists()
    assert [len(certificates(town, "hanako", kind)) for kind in CertificateType] == [1, 1]
    town.world.close()


def test_card_names_are_unique_and_valid(town: Institutions) -> None:
    town.issue_card("x", "hanako")
    with pytest.raises(ImageExists):
        town.issue_card("x", "taro")
    assert read_image(image_path(town.world, "x"))[1]["resident"] == "hanako"
    for name in ("", ".x", "a/b", "a\0b"):
        with pytest.raises(ValueError, match="valid card name"):
            town.issue_card(name, "taro")
    assert not certificates(town, "taro", SIGNATURE)


def tampered(request: bytes) -> bytes:
    return request[:-1] + bytes([request[-1] ^ 1])


def of_key(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey) -> bytes:
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    digest = None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    return builder.sign(key, digest).public_bytes(serialization.Encoding.DER)


def with_signature_of(request: bytes, other: bytes) -> bytes:
    """A request for one key with the signature of a request for another key."""
    return request[:-256] + other[-256:]


NO_PROOF: list[tuple[str, Callable[[], bytes], str]] = [
    ("a tampered signature", lambda: tampered(certification_request(generate())), "does not verify"),
    ("another's signature", lambda: with_signature_of(
        certification_request(generate()), certification_request(generate())), "does not verify"),
    ("another curve", lambda: of_key(ec.generate_private_key(ec.SECP256R1())), "certifies rsa-2048"),
    ("the next card's algorithm", lambda: of_key(ec.generate_private_key(ec.SECP384R1())), "certifies rsa-2048"),
    ("a longer key", lambda: of_key(rsa.generate_private_key(65537, 3072)), "certifies rsa-2048"),
    ("another exponent", lambda: of_key(rsa.generate_private_key(3, 2048)), "certifies rsa-2048"),
    ("an Edwards curve", lambda: of_key(ed25519.Ed25519PrivateKey.generate()), "."),
    ("garbage", lambda: b"garbage", "PKCS#10"),
    ("nothing", lambda: b"", "PKCS#10"),
    ("a truncated request", lambda: certification_request(generate())[:-10], "PKCS#10"),
    ("trailing bytes", lambda: certification_request(generate()) + b"\0", "PKCS#10"),
    ("a key instead of a request", generate, "PKCS#10"),
]  # fmt: skip


@pytest.mark.parametrize(("made", "message"), [row[1:] for row in NO_PROOF], ids=[row[0] for row in NO_PROOF])
def test_no_proof_of_possession_means_no_certificate_and_no_serial(
    town: Institutions, made: Callable[[], bytes], message: str
) -> None:
    person = town.resident("hanako")
    authority = town.authorities[SIGNATURE]
    good = CertificateRequest(person, certification_request(generate()), MORNING, MORNING + timedelta(days=9))
    with pytest.raises(NoProofOfPossession, match=message):
        authority.issue_many([good, replace(good, certification_request=made())])
    assert not everything_issued(authority), "the good request in the same call is not issued either"
    authority.issue(good)
    assert everything_issued(authority) == [FIRST_SERIAL + 1]
    assert_serials_gapless(town)


def test_next_profile_certifies_only_its_own_algorithm(town: Institutions) -> None:
    person, authority = town.resident("hanako"), town.authorities[SIGNATURE]
    p384_request = of_key(ec.generate_private_key(ec.SECP384R1()))
    request = CertificateRequest(person, p384_request, MORNING, MORNING + timedelta(days=9))
    assert x509.load_der_x509_certificate(authority.issue(request, NEXT)).public_key()
    with pytest.raises(NoProofOfPossession, match="certifies p-384"):
        authority.issue(replace(request, certification_request=certification_request(generate())), NEXT)


# One request, one certificate


def test_repeated_request_returns_the_same_certificate(institutions: Institutions) -> None:
    person, authority = institutions.resident("hanako"), institutions.authorities[SIGNATURE]
    request = CertificateRequest(
        person, certification_request(generate()), MORNING, MORNING + timedelta(days=9), identifier="case 1"
    )
    first = authority.issue(request)
    later(institutions, minutes=5)
    assert authority.issue(request) == first
    assert authority.issue_many([request, request]) == [first, first]
    assert everything_issued(authority) == [FIRST_SERIAL + 1]
    with pytest.raises(RequestConflict):
        authority.issue(replace(request, certification_request=certification_request(generate())))
    with pytest.raises(RequestConflict):
        authority.issue(replace(request, resident=institutions.resident("taro")))
    assert everything_issued(authority) == [FIRST_SERIAL + 1]
    assert authority.issue(replace(request, identifier="case 2")) != first
    assert_serials_gapless(institutions)


def issue_with_faults(institutions: Institutions, name: str, who: str, faults: Sequence[RelayFault]) -> int:
    """Order a card over a faulty relay and resume the case until it is done; return how often it was resumed."""
    cards = with_faults(institutions, faults)
    resumed = 0
    with suppress(RelayFailed):
        cards.issue(name, usual_order(institutions.world, institutions.resident(who)))
    while cards.due() == AT_ONCE:
        resumed += 1
        assert resumed <= len(faults)
        cards.resume()
    return resumed


def count_issued(institutions: Institutions) -> dict[CertificateType, int]:
    counts = {}
    for kind, authority in institutions.authorities.items():
        with authority.ledger.store.reading() as connection:
            count = connection.scalar(sa.select(sa.func.count()).select_from(authority.ledger.certificate))
        counts[kind] = int(count or 0)
    return counts


def assert_card_complete(institutions: Institutions, name: str, before: dict[CertificateType, int]) -> None:
    """The card has one certificate per key, and exactly one per type was issued since the counts `before`."""
    card, about = read_image(image_path(institutions.world, name))
    for kind, authority in institutions.authorities.items():
        (issued,) = authority.of_medium(about["card number"])
        assert certificate_in(card, kind) == loaded(issued)
        assert loaded(issued).public_key() == key_in(card, kind)
    assert count_issued(institutions) == {kind: number + 1 for kind, number in before.items()}


def test_every_sequence_of_up_to_three_faults_makes_one_card(town: Institutions) -> None:
    faults = [fault for fault in RelayFault if fault is not RelayFault.CRASH]  # for a case, it is a lost reply
    sequences = (sequence for length in (1, 2, 3) for sequence in product(faults, repeat=length))
    for number, sequence in enumerate(sequences):
        before = count_issued(town)
        resumed = issue_with_faults(town, f"card{number}", "hanako", sequence)
        assert resumed == 0, "three faults do not exhaust the retries"
        assert_card_complete(town, f"card{number}", before)
    assert number == 4 + 16 + 64 - 1
    assert_serials_gapless(town)


@settings(max_examples=25)
@given(faults=st.lists(st.sampled_from([*RelayFault, RelayFault.REQUEST_LOST, RelayFault.REPLY_LOST]), max_size=30))
def test_any_sequence_of_faults_makes_one_card(shared_town: Institutions, faults: list[RelayFault]) -> None:
    before = count_issued(shared_town)
    name = f"any{next(NAMES)}"
    issue_with_faults(shared_town, name, "taro", faults)
    assert_card_complete(shared_town, name, before)


@pytest.mark.parametrize("fault", [RelayFault.REQUEST_LOST, RelayFault.REPLY_LOST])
def test_case_without_a_reply_stays_open_and_can_be_resumed(
    tmp_path: Path, storage: str, many_keys: KeySource, fault: RelayFault
) -> None:
    town = new_institutions(tmp_path / "w", many_keys, storage)
    cards = with_faults(town, [fault] * (SENDINGS * 2))
    order = usual_order(town.world, town.resident("hanako"))
    for _ in range(2):
        with pytest.raises(RelayFailed, match="lost"):
            cards.issue("hanako", order)
        (case,) = cards.cases()
        assert (case.state, case.what, case.name) == (CaseState.OPEN, CaseType.NEW, "hanako")
        assert cards.due() == AT_ONCE
        assert not image_path(town.world, "hanako").exists()
        with pytest.raises(NoSuchCard):
            cards.card_state("hanako")
    (keys_file,) = town.world.cards.glob(".hanako.*.keys")
    assert keys_file.stat().st_mode & 0o077 == 0
    keys = keys_file.read_bytes()
    assert len(certificates(town, "hanako", SIGNATURE)) == (1 if fault is RelayFault.REPLY_LOST else 0)
    early = certificates(town, "hanako", SIGNATURE)
    assert with_faults(town, [RelayFault.REQUEST_LOST] * SENDINGS).resume() == 0
    assert keys_file.read_bytes() == keys
    assert town.cards.resume() == 1
    assert [case.state for case in town.cards.cases()] == [CaseState.DONE]
    assert certificates(town, "hanako", SIGNATURE)[: len(early)] == early
    assert_card_complete(town, "hanako", dict.fromkeys(CertificateType, 0))
    assert_serials_gapless(town)
    on_chip = contents(town, "hanako")[jpki.AID].keys[jpki.SIGNATURE_KEY]
    assert b64encode(on_chip) in keys, "the key that was generated first"
    assert not keys_file.exists()
    assert town.cards.card_state("hanako") is CardState.ACTIVE
    assert town.cards.resume() == 0
    town.world.close()


def test_open_case_is_finished_by_the_clock(town: Institutions) -> None:
    cards = with_faults(town, [RelayFault.REPLY_LOST] * SENDINGS)
    with pytest.raises(RelayFailed):
        cards.issue("hanako", usual_order(town.world, town.resident("hanako")))
    town.settle()
    assert image_path(town.world, "hanako").exists()
    assert_card_complete(town, "hanako", dict.fromkeys(CertificateType, 0))
    assert_serials_gapless(town)


RESUME = """
import sys
from pathlib import Path
from kazashi.assembly.institutions import Institutions
from kazashi.world.home import open_world
town = Institutions(open_world(Path(sys.argv[1])))
town.cards
print("ready", flush=True)
sys.stdin.readline()
print(town.cards.resume())
"""


def test_two_processes_resuming_one_case_make_one_card(tmp_path: Path, storage: str, keys: KeySource) -> None:
    town = new_institutions(tmp_path / "w", keys, storage)
    for name, who in (("a", "hanako"), ("b", "taro"), ("c", "leap-day")):
        with pytest.raises(RelayFailed):
            with_faults(town, [RelayFault.REQUEST_LOST] * SENDINGS).issue(
                name, usual_order(town.world, town.resident(who))
            )
    programs = [
        subprocess.Popen(
            [sys.executable, "-c", RESUME, str(town.world.directory)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for _ in range(2)
    ]  # fmt: skip
    for program in programs:
        assert program.stdout is not None
        assert program.stdout.readline() == "ready\n"
    for program in programs:
        assert program.stdin is not None
        program.stdin.write("\n")
        program.stdin.flush()
    for program in programs:
        _, stderr = program.communicate(timeout=60)
        assert (program.returncode, stderr) == (0, "")
    assert [case.state for case in town.cards.cases()] == [CaseState.DONE] * 3
    for name, who in (("a", "hanako"), ("b", "taro"), ("c", "leap-day")):
        assert town.cards.card_state(name) is CardState.ACTIVE
        for kind in CertificateType:
            (issued,) = certificates(town, who, kind)
            assert on_card(town, name, kind) == loaded(issued)
    assert_serials_gapless(town)
    town.world.close()


# Cases that cannot be carried out


def test_impossible_order_is_refused_and_does_not_block_others(town: Institutions) -> None:
    town.registry.add(replace(SAMPLE_RESIDENTS["single-name"], alias="over", stay_end=date(2026, 11, 1)))
    town.registry.add(replace(SAMPLE_RESIDENTS["hanako"], alias="dead"))
    town.registry.record("dead", Death(), channel=Channel.COUNTER)
    town.juki_net.deliver()
    for who in ("dead", "over"):
        with pytest.raises(ApplicationRejected):
            town.issue_card(who, who)
        assert not image_path(town.world, who).exists()
        assert not list(town.world.cards.glob(f".{who}.*")), "its private keys are deleted"
    town.settle()
    assert town.cards.due() != AT_ONCE
    assert not everything_issued(town.authorities[SIGNATURE])
