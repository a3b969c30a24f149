"""The card management's promise: one order is one card, with one certificate to each key, whatever fails on the way."""

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
from kazashi.assembly.error_codes import code_of
from kazashi.assembly.institutions import Institutions
from kazashi.card.certification_request import certification_request
from kazashi.card.image import ImageExists, read_image
from kazashi.card_management.consequence import CardState
from kazashi.card_management.management import SENDINGS, CaseState, CaseType, NoSuchCard
from kazashi.card_management.order import image_path, usual_order
from kazashi.card_management.relay import RelayFailed, RelayFault
from kazashi.jpki.profile import NEXT, CertificateType
from kazashi.pki.authority import FIRST_SERIAL, RequestConflict
from kazashi.pki.certificate import CertificateRequest, NoProofOfPossession
from kazashi.resident_registry.sample_residents import SAMPLE_RESIDENTS
from kazashi.world.key_source import KeySource, generate
from kazashi.world.schedule import AT_ONCE
from tests.card_management.support import (
    NAMES,
    certificate_in,
    contents,
    everything_issued,
    key_in,
    key_on_card,
    no_serial_is_missing_or_double,
    on_card,
    with_faults,
)
from tests.town import AUTHENTICATION, MORNING, SIGNATURE, certificates, later, loaded, new_institutions

# Keys and certificates


@pytest.mark.parametrize("who", ["hanako", "rare-kanji", "short-stay"])
def test_keys_are_made_on_the_card_and_certified(various: Institutions, who: str) -> None:
    path = various.issue_card(who, who)
    assert path == image_path(various.world, who)
    for kind in CertificateType:
        (issued,) = certificates(various, who, kind)
        certificate = on_card(various, who, kind)
        assert certificate == loaded(issued)
        assert certificate.public_key() == key_on_card(various, who, kind)
        assert issued.medium_id == read_image(path)[1]["card number"]
        assert issued.not_before == MORNING
    assert key_on_card(various, who, SIGNATURE) != key_on_card(various, who, AUTHENTICATION)
    assert not list(various.world.cards.glob(".*.keys")), "the keys are on the card and nowhere else"
    no_serial_is_missing_or_double(various)


def test_a_card_says_who_holds_it_and_until_when(town: Institutions) -> None:
    path = town.issue_card("mine", "hanako")
    _, about = read_image(path)
    person = town.registry.find("hanako")
    assert about["resident"] == "hanako"
    assert about["individual number"] == person.individual_number
    assert (about["expiry"], about["issued"]) == ("20360417", "2026-11-24T10:00:00+09:00")
    assert path.stat().st_mode & 0o077 == 0


def test_a_card_waits_for_the_registration_to_arrive(tmp_path: Path, keys: KeySource) -> None:
    town = new_institutions(tmp_path / "w", keys, hop_minutes=10)
    added = town.registry.add(SAMPLE_RESIDENTS["hanako"])
    order = usual_order(town.world, added)
    with pytest.raises(Exception, match="J-LIS does not know the resident") as refused:
        town.cards.issue("hanako", order)
    assert code_of(refused.value) == "no-such-resident"
    later(town, hours=1)
    assert image_path(town.world, "hanako").exists(), "and is made once it has arrived"
    assert [len(certificates(town, "hanako", kind)) for kind in CertificateType] == [1, 1]
    town.world.close()


def test_there_is_one_card_to_a_name(town: Institutions) -> None:
    town.issue_card("x", "hanako")
    with pytest.raises(ImageExists, match="'x' already"):
        town.issue_card("x", "taro")
    assert read_image(image_path(town.world, "x"))[1]["resident"] == "hanako"
    for name in ("", ".x", "a/b", "a\0b"):
        with pytest.raises(ValueError, match="name of a card"):
            town.issue_card(name, "taro")
    assert not certificates(town, "taro", SIGNATURE)


def tampered(request: bytes) -> bytes:
    return request[:-1] + bytes([request[-1] ^ 1])


def of_key(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey) -> bytes:
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    digest = None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    return builder.sign(key, digest).public_bytes(serialization.Encoding.DER)


def somebody_else_s_signature(request: bytes, other: bytes) -> bytes:
    """A request for one key with the signature of another's."""
    return request[:-256] + other[-256:]


NO_PROOF: list[tuple[str, Callable[[], bytes], str]] = [
    ("a tampered signature", lambda: tampered(certification_request(generate())), "not by the key"),
    ("another's signature", lambda: somebody_else_s_signature(
        certification_request(generate()), certification_request(generate())), "not by the key"),
    ("another curve", lambda: of_key(ec.generate_private_key(ec.SECP256R1())), "certifies rsa-2048"),
    ("the next card's algorithm", lambda: of_key(ec.generate_private_key(ec.SECP384R1())), "certifies rsa-2048"),
    ("a longer key", lambda: of_key(rsa.generate_private_key(65537, 3072)), "certifies rsa-2048"),
    ("another exponent", lambda: of_key(rsa.generate_private_key(3, 2048)), "certifies rsa-2048"),
    ("an Edwards curve", lambda: of_key(ed25519.Ed25519PrivateKey.generate()), "."),
    ("garbage", lambda: b"garbage", "no PKCS#10"),
    ("nothing", lambda: b"", "no PKCS#10"),
    ("a truncated request", lambda: certification_request(generate())[:-10], "no PKCS#10"),
    ("more than a request", lambda: certification_request(generate()) + b"\0", "no PKCS#10"),
    ("a key and no request", generate, "no PKCS#10"),
]  # fmt: skip


@pytest.mark.parametrize(("made", "words"), [row[1:] for row in NO_PROOF], ids=[row[0] for row in NO_PROOF])
def test_without_proof_of_possession_no_certificate_and_no_serial(
    town: Institutions, made: Callable[[], bytes], words: str
) -> None:
    person = town.resident("hanako")
    authority = town.authorities[SIGNATURE]
    good = CertificateRequest(person, certification_request(generate()), MORNING, MORNING + timedelta(days=9))
    with pytest.raises(NoProofOfPossession, match=words):
        authority.issue_many([good, replace(good, certification_request=made())])
    assert not everything_issued(authority), "nor the one beside it"
    authority.issue(good)
    assert everything_issued(authority) == [FIRST_SERIAL + 1]
    no_serial_is_missing_or_double(town)


def test_the_next_card_s_authority_takes_its_own_algorithm_alone(town: Institutions) -> None:
    person, authority = town.resident("hanako"), town.authorities[SIGNATURE]
    made = of_key(ec.generate_private_key(ec.SECP384R1()))
    asked = CertificateRequest(person, made, MORNING, MORNING + timedelta(days=9))
    assert x509.load_der_x509_certificate(authority.issue(asked, NEXT)).public_key()
    with pytest.raises(NoProofOfPossession, match="certifies p-384"):
        authority.issue(replace(asked, certification_request=certification_request(generate())), NEXT)


# One request, one certificate


def test_a_request_is_answered_once_however_often_it_is_sent(institutions: Institutions) -> None:
    person, authority = institutions.resident("hanako"), institutions.authorities[SIGNATURE]
    asked = CertificateRequest(
        person, certification_request(generate()), MORNING, MORNING + timedelta(days=9), identifier="case 1"
    )
    first = authority.issue(asked)
    later(institutions, minutes=5)
    assert authority.issue(asked) == first
    assert authority.issue_many([asked, asked]) == [first, first]
    assert everything_issued(authority) == [FIRST_SERIAL + 1]
    with pytest.raises(RequestConflict, match="another key or another person"):
        authority.issue(replace(asked, certification_request=certification_request(generate())))
    with pytest.raises(RequestConflict):
        authority.issue(replace(asked, resident=institutions.resident("taro")))
    assert everything_issued(authority) == [FIRST_SERIAL + 1]
    assert authority.issue(replace(asked, identifier="case 2")) != first
    no_serial_is_missing_or_double(institutions)


def issued_whatever_comes(institutions: Institutions, name: str, who: str, faults: Sequence[RelayFault]) -> int:
    """Order a card over a relay that fails, and resume until it is there; answers how often the case was laid aside."""
    cards = with_faults(institutions, faults)
    aside = 0
    with suppress(RelayFailed):
        cards.issue(name, usual_order(institutions.world, institutions.resident(who)))
    while cards.due() is not None:
        aside += 1
        assert aside <= len(faults)
        cards.resume()
    return aside


def issued_so_far(institutions: Institutions) -> dict[CertificateType, int]:
    counted = {}
    for kind, authority in institutions.authorities.items():
        with authority.ledger.store.reading() as connection:
            found = connection.scalar(sa.select(sa.func.count()).select_from(authority.ledger.certificate))
        counted[kind] = int(found or 0)
    return counted


def the_card_is_whole(institutions: Institutions, name: str, before: dict[CertificateType, int]) -> None:
    found, about = read_image(image_path(institutions.world, name))
    for kind, authority in institutions.authorities.items():
        (issued,) = authority.of_medium(about["card number"])
        assert certificate_in(found, kind) == loaded(issued)
        assert loaded(issued).public_key() == key_in(found, kind)
    assert issued_so_far(institutions) == {kind: number + 1 for kind, number in before.items()}


def test_every_order_of_up_to_three_faults(town: Institutions) -> None:
    for number, faults in enumerate(found for length in (1, 2, 3) for found in product(RelayFault, repeat=length)):
        before = issued_so_far(town)
        aside = issued_whatever_comes(town, f"card{number}", "hanako", faults)
        assert aside == 0, "three faults are got over within one go"
        the_card_is_whole(town, f"card{number}", before)
    assert number == 4 + 16 + 64 - 1
    no_serial_is_missing_or_double(town)


@settings(max_examples=25, deadline=None)
@given(faults=st.lists(st.sampled_from([*RelayFault, RelayFault.REQUEST_LOST, RelayFault.REPLY_LOST]), max_size=30))
def test_any_order_of_faults(long_lived: Institutions, faults: list[RelayFault]) -> None:
    before = issued_so_far(long_lived)
    name = f"any{next(NAMES)}"
    issued_whatever_comes(long_lived, name, "taro", faults)
    the_card_is_whole(long_lived, name, before)


@pytest.mark.parametrize("fault", [RelayFault.REQUEST_LOST, RelayFault.REPLY_LOST])
def test_a_case_without_an_answer_stays_open_and_is_taken_up_where_it_stands(
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
    (workpiece,) = town.world.cards.glob(".hanako.*.keys")
    assert workpiece.stat().st_mode & 0o077 == 0
    made = workpiece.read_bytes()
    assert len(certificates(town, "hanako", SIGNATURE)) == (1 if fault is RelayFault.REPLY_LOST else 0)
    early = certificates(town, "hanako", SIGNATURE)
    assert with_faults(town, [RelayFault.REQUEST_LOST] * SENDINGS).resume() == 0
    assert workpiece.read_bytes() == made
    assert town.cards.resume() == 1
    assert [found.state for found in town.cards.cases()] == [CaseState.DONE]
    assert certificates(town, "hanako", SIGNATURE)[: len(early)] == early
    the_card_is_whole(town, "hanako", dict.fromkeys(CertificateType, 0))
    no_serial_is_missing_or_double(town)
    on_chip = contents(town, "hanako")[jpki.AID].keys[jpki.SIGNATURE_KEY]
    assert b64encode(on_chip) in made, "the key that was made first"
    assert not workpiece.exists()
    assert town.cards.card_state("hanako") is CardState.ACTIVE
    assert town.cards.resume() == 0
    town.world.close()


def test_a_case_left_open_is_finished_by_the_clock(town: Institutions) -> None:
    cards = with_faults(town, [RelayFault.REPLY_LOST] * SENDINGS)
    with pytest.raises(RelayFailed):
        cards.issue("hanako", usual_order(town.world, town.resident("hanako")))
    town.settle()
    assert image_path(town.world, "hanako").exists()
    the_card_is_whole(town, "hanako", dict.fromkeys(CertificateType, 0))
    no_serial_is_missing_or_double(town)


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


def test_two_programs_that_carry_out_one_case_make_one_card(tmp_path: Path, storage: str, keys: KeySource) -> None:
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
        _, complaint = program.communicate(timeout=60)
        assert (program.returncode, complaint) == (0, "")
    assert [case.state for case in town.cards.cases()] == [CaseState.DONE] * 3
    for name, who in (("a", "hanako"), ("b", "taro"), ("c", "leap-day")):
        assert town.cards.card_state(name) is CardState.ACTIVE
        for kind in CertificateType:
            (issued,) = certificates(town, who, kind)
            assert on_card(town, name, kind) == loaded(issued)
    no_serial_is_missing_or_double(town)
    town.world.close()


# Cases that cannot be carried out


def test_an_order_that_cannot_be_met_is_refused_and_stands_in_nobody_s_way(town: Institutions) -> None:
    town.registry.add(replace(SAMPLE_RESIDENTS["hanako"], alias="far", street="あ" * 250))
    town.registry.add(replace(SAMPLE_RESIDENTS["single-name"], alias="over", stay_end=date(2026, 11, 1)))
    town.juki_net.deliver()
    for who in ("far", "over"):
        with pytest.raises(Exception, match=r"200 characters|ends after it begins") as refused:
            town.issue_card(who, who)
        assert code_of(refused.value) is not None, "it is the user's affair, and no defect"
        assert not image_path(town.world, who).exists()
    town.settle()
    assert town.cards.due() is None
    assert not everything_issued(town.authorities[SIGNATURE])
