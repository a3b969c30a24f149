"""The card management's promise: one order is one card, with one certificate to each key, whatever fails on the way."""

from __future__ import annotations

import subprocess
import sys
from base64 import b64encode
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import date, timedelta
from itertools import count, product
from pathlib import Path

import pytest
import sqlalchemy as sa
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from hypothesis import given, settings
from hypothesis import strategies as st

from kazashi.applets import jpki
from kazashi.applets.holder import Pins
from kazashi.applets.install import load
from kazashi.assembly.error_codes import code_of
from kazashi.assembly.institutions import Institutions
from kazashi.card.certification_request import certification_request
from kazashi.card.chip import Chip
from kazashi.card.contents import CardContents
from kazashi.card.image import ImageExists, read_image
from kazashi.card.request import select, verify
from kazashi.card_management.management import SENDINGS, CardManagement, CardState, NoSuchCard, RenewalRefused
from kazashi.card_management.order import Order, image_path, usual_order
from kazashi.card_management.relay import DirectRelay, Fault, FaultyRelay, RelayFailed
from kazashi.jpki.profile import NEXT, Kind
from kazashi.jpki.state import Reason, State
from kazashi.pki.authority import FIRST_SERIAL, Authority, RequestConflict
from kazashi.pki.certificate import NoProofOfPossession, Request
from kazashi.resident_registry.birth_date import BirthDate
from kazashi.resident_registry.cast import CAST
from kazashi.resident_registry.event import (
    CardReturn,
    Channel,
    Death,
    Deletion,
    Emigration,
    Event,
    Found,
    LossReport,
    MoveWithin,
    NumberChange,
    Renewal,
    Theft,
)
from kazashi.world.clock import instant_of
from kazashi.world.home import open_world
from kazashi.world.key_source import KeySource, SharedKeySource, generate
from kazashi.world.schedule import AT_ONCE
from tests.town import (
    AUTHENTICATION,
    MORNING,
    SIGNATURE,
    certificates,
    clock_of,
    later,
    loaded,
    new_institutions,
    standing,
)

FILES = {
    SIGNATURE: (jpki.SIGNATURE_CERTIFICATE, jpki.SIGNATURE_KEY),
    AUTHENTICATION: (jpki.AUTHENTICATION_CERTIFICATE, jpki.AUTHENTICATION_KEY),
}
SELECT = select(jpki.AID)


@pytest.fixture(scope="module")
def many_keys() -> SharedKeySource:
    """So many keys that none comes twice in a test."""
    return SharedKeySource([generate() for _ in range(18)])


@pytest.fixture
def various(tmp_path: Path, many_keys: KeySource) -> Iterator[Institutions]:
    """A town whose every key is another."""
    found = new_institutions(tmp_path / "w", many_keys)
    yield found
    found.world.close()


def contents(institutions: Institutions, name: str) -> CardContents:
    return read_image(image_path(institutions.world, name))[0]


def on_card(institutions: Institutions, name: str, kind: Kind) -> x509.Certificate | None:
    """The certificate in a card's image; None where there is none."""
    return certificate_in(contents(institutions, name), kind)


def certificate_in(found: CardContents, kind: Kind) -> x509.Certificate | None:
    data = found[jpki.AID].data[FILES[kind][0]]
    return x509.load_der_x509_certificate(data[: int.from_bytes(data[2:4]) + 4]) if data.strip(b"\0\xff") else None


def key_on_card(institutions: Institutions, name: str, kind: Kind) -> rsa.RSAPublicKey:
    return key_in(contents(institutions, name), kind)


def key_in(found: CardContents, kind: Kind) -> rsa.RSAPublicKey:
    key = serialization.load_der_private_key(
        found[jpki.AID].keys[FILES[kind][1]], None, unsafe_skip_rsa_key_validation=True
    )
    assert isinstance(key, rsa.RSAPrivateKey)
    return key.public_key()


def everything_issued(authority: Authority) -> list[int]:
    with authority.ledger.store.reading() as connection:
        return sorted(found.serial for found in authority.ledger.issued(connection))


def no_serial_is_missing_or_double(institutions: Institutions) -> None:
    for authority in institutions.authorities.values():
        serials = everything_issued(authority) + [found.serial for found in authority.generations()]
        assert sorted(serials) == list(range(FIRST_SERIAL, FIRST_SERIAL + len(serials)))


def order_of(institutions: Institutions, who: str, issued: str) -> Order:
    return replace(usual_order(institutions.world, institutions.resident(who)), issued=instant_of(issued))


# Keys and certificates


@pytest.mark.parametrize("who", ["hanako", "rare-kanji", "short-stay"])
def test_keys_are_made_on_the_card_and_certified(various: Institutions, who: str) -> None:
    path = various.issue_card(who, who)
    assert path == image_path(various.world, who)
    for kind in Kind:
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
    added = town.registry.add(CAST["hanako"])
    order = usual_order(town.world, added)
    with pytest.raises(Exception, match="J-LIS does not know the resident") as refused:
        town.cards.issue("hanako", order)
    assert code_of(refused.value) == "no-such-resident"
    later(town, hours=1)
    assert image_path(town.world, "hanako").exists(), "and is made once it has arrived"
    assert [len(certificates(town, "hanako", kind)) for kind in Kind] == [1, 1]
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
    good = Request(person, certification_request(generate()), MORNING, MORNING + timedelta(days=9))
    with pytest.raises(NoProofOfPossession, match=words):
        authority.issue_many([good, replace(good, certification_request=made())])
    assert not everything_issued(authority), "nor the one beside it"
    authority.issue(good)
    assert everything_issued(authority) == [FIRST_SERIAL + 1]
    no_serial_is_missing_or_double(town)


def test_the_next_card_s_authority_takes_its_own_algorithm_alone(town: Institutions) -> None:
    person, authority = town.resident("hanako"), town.authorities[SIGNATURE]
    made = of_key(ec.generate_private_key(ec.SECP384R1()))
    asked = Request(person, made, MORNING, MORNING + timedelta(days=9))
    assert x509.load_der_x509_certificate(authority.issue(asked, NEXT)).public_key()
    with pytest.raises(NoProofOfPossession, match="certifies p-384"):
        authority.issue(replace(asked, certification_request=certification_request(generate())), NEXT)


# One request, one certificate


def test_a_request_is_answered_once_however_often_it_is_sent(institutions: Institutions) -> None:
    person, authority = institutions.resident("hanako"), institutions.authorities[SIGNATURE]
    asked = Request(
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


def with_faults(institutions: Institutions, faults: Iterable[Fault]) -> CardManagement:
    """The town's card management over a relay that fails."""
    relay = FaultyRelay(DirectRelay(institutions.authorities), faults)
    return CardManagement(institutions.world, institutions.juki_net.j_lis.identity, institutions.authorities, relay)


def issued_whatever_comes(institutions: Institutions, name: str, who: str, faults: Sequence[Fault]) -> int:
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


def issued_so_far(institutions: Institutions) -> dict[Kind, int]:
    counted = {}
    for kind, authority in institutions.authorities.items():
        with authority.ledger.store.reading() as connection:
            found = connection.scalar(sa.select(sa.func.count()).select_from(authority.ledger.certificate))
        counted[kind] = int(found or 0)
    return counted


def the_card_is_whole(institutions: Institutions, name: str, before: dict[Kind, int]) -> None:
    found, about = read_image(image_path(institutions.world, name))
    for kind, authority in institutions.authorities.items():
        (issued,) = authority.of_medium(about["card number"])
        assert certificate_in(found, kind) == loaded(issued)
        assert loaded(issued).public_key() == key_in(found, kind)
    assert issued_so_far(institutions) == {kind: number + 1 for kind, number in before.items()}


def test_every_order_of_up_to_three_faults(town: Institutions) -> None:
    for number, faults in enumerate(found for length in (1, 2, 3) for found in product(Fault, repeat=length)):
        before = issued_so_far(town)
        aside = issued_whatever_comes(town, f"card{number}", "hanako", faults)
        assert aside == 0, "three faults are got over within one go"
        the_card_is_whole(town, f"card{number}", before)
    assert number == 4 + 16 + 64 - 1
    no_serial_is_missing_or_double(town)


@pytest.fixture(scope="module")
def long_lived(tmp_path_factory: pytest.TempPathFactory, keys: KeySource) -> Iterator[Institutions]:
    found = new_institutions(tmp_path_factory.mktemp("faults") / "w", keys)
    yield found
    no_serial_is_missing_or_double(found)
    found.world.close()


NAMES = count()


@settings(max_examples=25, deadline=None)
@given(faults=st.lists(st.sampled_from([*Fault, Fault.REQUEST_LOST, Fault.REPLY_LOST]), max_size=30))
def test_any_order_of_faults(long_lived: Institutions, faults: list[Fault]) -> None:
    before = issued_so_far(long_lived)
    name = f"any{next(NAMES)}"
    issued_whatever_comes(long_lived, name, "taro", faults)
    the_card_is_whole(long_lived, name, before)


@pytest.mark.parametrize("fault", [Fault.REQUEST_LOST, Fault.REPLY_LOST])
def test_a_case_without_an_answer_stays_open_and_is_taken_up_where_it_stands(
    tmp_path: Path, storage: str, many_keys: KeySource, fault: Fault
) -> None:
    town = new_institutions(tmp_path / "w", many_keys, storage)
    cards = with_faults(town, [fault] * (SENDINGS * 2))
    order = usual_order(town.world, town.resident("hanako"))
    for _ in range(2):
        with pytest.raises(RelayFailed, match="lost"):
            cards.issue("hanako", order)
        (case,) = cards.cases()
        assert (case.state, case.what, case.name) == ("open", "new", "hanako")
        assert cards.due() == AT_ONCE
        assert not image_path(town.world, "hanako").exists()
        with pytest.raises(NoSuchCard):
            cards.card_state("hanako")
    (workpiece,) = town.world.cards.glob(".hanako.*.keys")
    assert workpiece.stat().st_mode & 0o077 == 0
    made = workpiece.read_bytes()
    assert len(certificates(town, "hanako", SIGNATURE)) == (1 if fault is Fault.REPLY_LOST else 0)
    early = certificates(town, "hanako", SIGNATURE)
    assert with_faults(town, [Fault.REQUEST_LOST] * SENDINGS).resume() == 0
    assert workpiece.read_bytes() == made
    assert town.cards.resume() == 1
    assert [found.state for found in town.cards.cases()] == ["done"]
    assert certificates(town, "hanako", SIGNATURE)[: len(early)] == early
    the_card_is_whole(town, "hanako", dict.fromkeys(Kind, 0))
    no_serial_is_missing_or_double(town)
    on_chip = contents(town, "hanako")[jpki.AID].keys[jpki.SIGNATURE_KEY]
    assert b64encode(on_chip) in made, "the key that was made first"
    assert not workpiece.exists()
    assert town.cards.card_state("hanako") is CardState.ACTIVE
    assert town.cards.resume() == 0
    town.world.close()


def test_a_case_left_open_is_finished_by_the_clock(town: Institutions) -> None:
    cards = with_faults(town, [Fault.REPLY_LOST] * SENDINGS)
    with pytest.raises(RelayFailed):
        cards.issue("hanako", usual_order(town.world, town.resident("hanako")))
    town.settle()
    assert image_path(town.world, "hanako").exists()
    the_card_is_whole(town, "hanako", dict.fromkeys(Kind, 0))
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
            with_faults(town, [Fault.REQUEST_LOST] * SENDINGS).issue(name, usual_order(town.world, town.resident(who)))
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
    assert [case.state for case in town.cards.cases()] == ["done"] * 3
    for name, who in (("a", "hanako"), ("b", "taro"), ("c", "leap-day")):
        assert town.cards.card_state(name) is CardState.ACTIVE
        for kind in Kind:
            (issued,) = certificates(town, who, kind)
            assert on_card(town, name, kind) == loaded(issued)
    no_serial_is_missing_or_double(town)
    town.world.close()


# Cases that cannot be carried out


def test_an_order_that_cannot_be_met_is_refused_and_stands_in_nobody_s_way(town: Institutions) -> None:
    town.registry.add(replace(CAST["hanako"], alias="far", street="あ" * 250))
    town.registry.add(replace(CAST["single-name"], alias="over", stay_end=date(2026, 11, 1)))
    town.juki_net.deliver()
    for who in ("far", "over"):
        with pytest.raises(Exception, match=r"200 characters|ends after it begins") as refused:
            town.issue_card(who, who)
        assert code_of(refused.value) is not None, "it is the user's affair, and no defect"
        assert not image_path(town.world, who).exists()
    town.settle()
    assert town.cards.due() is None
    assert not everything_issued(town.authorities[SIGNATURE])


def test_a_renewal_that_cannot_be_met_is_refused_and_stands_in_nobody_s_way(town: Institutions) -> None:
    for who in ("short-stay", "taro", "hanako"):
        town.issue_card(who, who)
    clock_of(town.world).stand(instant_of("2031-09-01"))
    image_path(town.world, "taro").unlink()
    for who in ("short-stay", "taro", "hanako"):
        town.registry.record(who, Renewal())
    town.settle()
    assert [case.state for case in town.cards.cases()][3:] == ["refused", "refused", "done"]
    assert all(case.note for case in town.cards.cases()[3:5])
    assert standing(town, "hanako", SIGNATURE).state is State.GOOD


# Renewal


def test_a_renewal_comes_within_the_last_three_months_and_counts_from_the_old_end(various: Institutions) -> None:
    clock_of(various.world).stand(instant_of("2027-01-16T23:59:59+09:00"))
    order = order_of(various, "hanako", "2022-11-24T10:00+09:00")
    path = various.issue_card("hanako", "hanako", order)
    before, about = read_image(path)
    with pytest.raises(RenewalRefused, match="both certificates are good, and can be renewed from 2027-01-17 on"):
        various.cards.renew("hanako")
    assert [case.what for case in various.cards.cases()] == ["new"], "it was not even begun"
    various.advance(instant_of("2027-01-17"))
    assert set(various.cards.renew("hanako")) == set(Kind)
    for kind in Kind:
        old, new = certificates(various, "hanako", kind)
        assert new.not_after == instant_of("2032-04-17T23:59:59+09:00")
        assert (new.predecessor, new.medium_id) == (old.serial, old.medium_id)
        assert on_card(various, "hanako", kind) == loaded(new)
        assert key_on_card(various, "hanako", kind) == loaded(new).public_key() != loaded(old).public_key()
        assert various.revocations[kind].standing(old.serial).reason is Reason.SUPERSEDED
        assert standing(various, "hanako", kind).state is State.GOOD
    after, about_now = read_image(path)
    assert about_now == about
    assert {aid: found for aid, found in after.items() if aid != jpki.AID} == {
        aid: found for aid, found in before.items() if aid != jpki.AID
    }
    assert after[jpki.AID].pins == before[jpki.AID].pins
    assert after[jpki.AID].objects == before[jpki.AID].objects
    assert not list(various.world.cards.glob(".*.keys"))
    with pytest.raises(RenewalRefused, match="2032-01-17"):
        various.cards.renew("hanako")
    no_serial_is_missing_or_double(various)


def test_an_expired_certificate_is_renewed_as_well(town: Institutions) -> None:
    clock_of(town.world).stand(instant_of("2026-04-18"))
    town.issue_card("hanako", "hanako", order_of(town, "hanako", "2022-03-01"))
    assert standing(town, "hanako", SIGNATURE).state is State.EXPIRED
    town.cards.renew("hanako")
    old, new = certificates(town, "hanako", SIGNATURE)
    assert (old.not_after, new.not_after) == (
        instant_of("2026-04-17T23:59:59+09:00"), instant_of("2031-04-17T23:59:59+09:00"),
    )  # fmt: skip
    assert standing(town, "hanako", SIGNATURE).state is State.GOOD


def test_nothing_outlasts_the_card(town: Institutions) -> None:
    clock_of(town.world).stand(instant_of("2036-02-01"))
    path = town.issue_card("hanako", "hanako", order_of(town, "hanako", "2026-11-24"))
    assert read_image(path)[1]["expiry"] == "20360417"
    town.cards.renew("hanako")
    assert certificates(town, "hanako", SIGNATURE)[-1].not_after == instant_of("2036-04-17T23:59:59+09:00")
    clock_of(town.world).stand(instant_of("2036-04-18"))
    with pytest.raises(RenewalRefused, match="itself ended on 2036-04-17"):
        town.cards.renew("hanako")
    assert read_image(path)[1]["expiry"] == "20360417"


def test_after_a_move_the_signature_certificate_alone_is_made_anew(various: Institutions) -> None:
    path = various.issue_card("hanako", "hanako")
    before = contents(various, "hanako")[jpki.AID]
    various.registry.record("hanako", MoveWithin("架空町１丁目"))
    various.settle()
    assert various.cards.renew("hanako") == [SIGNATURE]
    old, new = certificates(various, "hanako", SIGNATURE)
    assert various.revocations[SIGNATURE].standing(old.serial).reason is Reason.AFFILIATION_CHANGED, "it stays so"
    assert on_card(various, "hanako", SIGNATURE) == loaded(new)
    assert new.not_after == old.not_after
    assert len(certificates(various, "hanako", AUTHENTICATION)) == 1
    after = read_image(path)[0][jpki.AID]
    assert after.keys[jpki.AUTHENTICATION_KEY] == before.keys[jpki.AUTHENTICATION_KEY]
    assert after.data[jpki.AUTHENTICATION_CERTIFICATE] == before.data[jpki.AUTHENTICATION_CERTIFICATE]
    assert after.keys[jpki.SIGNATURE_KEY] != before.keys[jpki.SIGNATURE_KEY]
    with pytest.raises(RenewalRefused, match="both certificates are good"):
        various.cards.renew("hanako")


def test_pins_and_tries_survive_a_renewal(town: Institutions) -> None:
    path = town.issue_card("hanako", "hanako")
    chip = Chip(load(path))
    chip.power_on()
    for command, answer in (
        (SELECT, "9000"),
        (verify(jpki.AUTHENTICATION_PIN, b"1234"), "9000"),
        (bytes.fromhex("0024019804") + b"5678", "9000"),
        (verify(jpki.AUTHENTICATION_PIN, b"0000"), "63C2"),
        (verify(jpki.SIGNATURE_PIN, b"WRONG1"), "63C4"),
    ):
        assert chip.transmit(command) == bytes.fromhex(answer)
    before = read_image(path)[0][jpki.AID].pins
    town.registry.record("hanako", MoveWithin("架空町１丁目"))
    town.settle()
    town.cards.renew("hanako")
    after = read_image(path)[0][jpki.AID].pins
    assert after == before
    state = after[jpki.AUTHENTICATION_PIN]
    assert (state.value, state.tries_left, after[jpki.SIGNATURE_PIN].tries_left) == (b"5678", 2, 4)
    again = Chip(load(path))
    again.power_on()
    assert again.transmit(SELECT) == bytes.fromhex("9000")
    assert again.transmit(verify(jpki.AUTHENTICATION_PIN, b"5678")) == bytes.fromhex("9000")


def test_a_renewal_that_was_cut_off_is_finished_with_the_same_keys(various: Institutions) -> None:
    path = various.issue_card("hanako", "hanako")
    untouched = path.read_bytes()
    various.registry.record("hanako", MoveWithin("架空町１丁目"))
    various.settle()
    with pytest.raises(RelayFailed):
        with_faults(various, [Fault.REPLY_LOST] * SENDINGS).renew("hanako")
    assert path.read_bytes() == untouched
    assert len(certificates(various, "hanako", SIGNATURE)) == 2, "issued, and lost on its way"
    assert various.cards.resume() == 1
    issued = certificates(various, "hanako", SIGNATURE)
    assert len(issued) == 2
    assert on_card(various, "hanako", SIGNATURE) == loaded(issued[-1])
    assert loaded(issued[-1]).public_key() == key_on_card(various, "hanako", SIGNATURE)
    no_serial_is_missing_or_double(various)


@settings(max_examples=12, deadline=None)
@given(faults=st.lists(st.sampled_from([*Fault, Fault.REQUEST_LOST, Fault.REPLY_LOST]), max_size=16))
def test_any_order_of_faults_at_a_renewal(long_lived: Institutions, faults: list[Fault]) -> None:
    name = f"renewed{next(NAMES)}"
    long_lived.issue_card(name, "leap-day")
    number = read_image(image_path(long_lived.world, name))[1]["card number"]
    for kind, authority in long_lived.authorities.items():
        long_lived.revocations[kind].revoke(authority.of_medium(number)[-1].serial, Reason.UNSPECIFIED)
    cards = with_faults(long_lived, faults)
    with suppress(RelayFailed):
        cards.renew(name)
    while cards.due() is not None:
        cards.resume()
    for kind, authority in long_lived.authorities.items():
        old, new = authority.of_medium(number)
        assert new.predecessor == old.serial
        assert on_card(long_lived, name, kind) == loaded(new)
        assert long_lived.revocations[kind].standing(new.serial).state is State.GOOD


def test_a_child_gets_no_signature_certificate_until_it_is_fifteen(town: Institutions) -> None:
    town.registry.add(replace(CAST["child"], alias="x", birth=BirthDate(2012, 1, 1)))
    town.juki_net.deliver()
    path = town.issue_card("x", "x")
    assert read_image(path)[1]["expiry"] == "20310101", "a minor's card lasts five birthdays"
    assert on_card(town, "x", SIGNATURE) is None
    assert not certificates(town, "x", SIGNATURE)
    assert on_card(town, "x", AUTHENTICATION) is not None
    clock_of(town.world).stand(instant_of("2026-12-30T23:59:59+09:00"))
    with pytest.raises(RenewalRefused, match="can be renewed from 2030-10-01"):
        town.cards.renew("x")
    clock_of(town.world).stand(instant_of("2026-12-31"))
    assert town.cards.renew("x") == [SIGNATURE], "the law completes a year on the eve of the birthday"
    (issued,) = certificates(town, "x", SIGNATURE)
    assert on_card(town, "x", SIGNATURE) == loaded(issued)
    assert (issued.predecessor, len(certificates(town, "x", AUTHENTICATION))) == (None, 1)
    chip = Chip(load(path))
    chip.power_on()
    chip.transmit(SELECT)
    password = Pins().signature.encode()
    assert chip.transmit(verify(jpki.SIGNATURE_PIN, password)) == bytes.fromhex("9000")
    assert read_image(path)[1]["signature password"] == Pins().signature, "and the bench tells it"


# What a card is worth


@pytest.mark.parametrize(
    ("events", "state"),
    [
        ((MoveWithin("架空町１丁目"),), CardState.ACTIVE),
        ((LossReport(),), CardState.STOPPED),
        ((LossReport(), LossReport()), CardState.STOPPED),
        ((LossReport(), Found()), CardState.ACTIVE),
        ((LossReport(), Found(), LossReport()), CardState.STOPPED),
        ((Theft(),), CardState.ENDED),
        ((LossReport(), Theft()), CardState.ENDED),
        ((Theft(), Found()), CardState.ENDED),
        ((CardReturn(), LossReport()), CardState.ENDED),
        ((CardReturn(), Renewal()), CardState.ENDED),
        ((Death(),), CardState.ENDED),
        ((Deletion(),), CardState.ENDED),
        ((NumberChange(),), CardState.ENDED),
        ((Emigration(continued=False),), CardState.ENDED),
        ((Emigration(continued=True),), CardState.ACTIVE),
    ],
)
def test_what_becomes_of_the_card(town: Institutions, events: tuple[Event, ...], state: CardState) -> None:
    town.issue_card("hanako", "hanako")
    town.issue_card("taro", "taro")
    for event in events:
        town.registry.record("hanako", event, channel=Channel.COUNTER)
        town.settle()
    assert town.cards.card_state("hanako") is state
    assert town.cards.card_state("taro") is CardState.ACTIVE
    assert town.cards.due() is None
    if state is not CardState.ACTIVE:
        count_before = len(certificates(town, "hanako", SIGNATURE))
        with pytest.raises(RenewalRefused, match=f"is {state.value}"):
            town.cards.renew("hanako")
        assert len(certificates(town, "hanako", SIGNATURE)) == count_before


def test_a_new_card_after_an_ended_one(town: Institutions) -> None:
    town.issue_card("old", "hanako")
    town.registry.record("hanako", NumberChange())
    town.settle()
    path = town.issue_card("new", "hanako")
    assert [town.cards.card_state(name) for name in ("old", "new")] == [CardState.ENDED, CardState.ACTIVE]
    assert read_image(path)[1]["individual number"] == town.registry.find("hanako").individual_number
    town.registry.record("hanako", LossReport())
    town.settle()
    assert [town.cards.card_state(name) for name in ("old", "new")] == [CardState.ENDED, CardState.STOPPED]
    assert [town.revocations[SIGNATURE].standing(found.serial).reason for found in certificates(
        town, "hanako", SIGNATURE)] == [Reason.CESSATION_OF_OPERATION, Reason.CERTIFICATE_HOLD]  # fmt: skip


def test_cards_that_are_not_there(institutions: Institutions) -> None:
    for ask in (institutions.cards.card_state, institutions.cards.renew):
        with pytest.raises(NoSuchCard, match="no card 'x'"):
            ask("x")
    assert institutions.cards.cases() == []
    assert institutions.cards.due() is None
    assert institutions.cards.resume() == 0


def test_cases_outlive_the_program(tmp_path: Path, storage: str, keys: KeySource) -> None:
    town = new_institutions(tmp_path / "w", keys, storage)
    town.issue_card("hanako", "hanako")
    cases = town.cards.cases()
    town.world.close()
    again = Institutions(open_world(tmp_path / "w", keys=keys))
    assert again.cards.cases() == cases
    assert again.cards.cases(str(again.registry.find("hanako").code)) == cases
    assert again.cards.cases("someone") == []
    assert again.cards.card_state("hanako") is CardState.ACTIVE
    again.world.close()
