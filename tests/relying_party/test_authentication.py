"""Logins: what is signed, that a challenge is good for one answer, and what an answer is not."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import assume, given
from hypothesis import strategies as st

from kazashi.jpki.profile import CertificateType
from kazashi.relying_party.conformance.authority import NOW, CertificateTemplate, HolderKey, TestAuthority, sign
from kazashi.relying_party.verify.anchors import Anchors, read_anchor
from kazashi.relying_party.verify.authentication import (
    Authentication,
    Challenge,
    Challenges,
    ChallengesInMemory,
    Response,
)
from kazashi.relying_party.verify.challenges import StoredChallenges
from kazashi.relying_party.verify.finding import Finding, Outcome, VerificationFailed
from kazashi.relying_party.verify.policy import DEFAULT_POLICY, VerificationPolicy
from kazashi.relying_party.verify.sources import Lists
from kazashi.relying_party.verify.verification import Verifier
from kazashi.world.clock import FixedClock
from kazashi.world.key_source import SharedKeySource, generate
from tests.town import new_world

pytestmark = pytest.mark.unit

ORIGIN, ELSEWHERE = "https://library.example", "https://library.example.net"
SECOND = timedelta(seconds=1)
LIFETIME = DEFAULT_POLICY.challenge_lifetime

CHALLENGES = st.builds(
    Challenge,
    st.text(max_size=12),
    st.binary(max_size=12),
    st.datetimes(datetime(1970, 1, 2), datetime(2100, 1, 1), timezones=st.just(UTC)).map(
        lambda at: at.replace(microsecond=0)
    ),
    st.sampled_from(CertificateType),
    st.text(max_size=12),
)


@given(CHALLENGES, CHALLENGES)
def test_no_two_challenges_have_one_message(one: Challenge, other: Challenge) -> None:
    assume(one != other)
    assert one.message != other.message


@given(CHALLENGES, st.data())
def test_what_moves_from_one_part_into_another_changes_the_message(challenge: Challenge, data: st.DataObject) -> None:
    """The parts put together may well be the same."""
    joined = challenge.origin + challenge.text
    cut = data.draw(st.integers(0, len(joined)))
    moved = Challenge(joined[:cut], challenge.nonce, challenge.issued_at, challenge.kind, joined[cut:])
    assert (moved.message == challenge.message) == (cut == len(challenge.origin))


@given(CHALLENGES)
def test_a_message_begins_as_nothing_else_does_that_is_signed(challenge: Challenge) -> None:
    """Neither signed attributes (31), nor XML, nor a text."""
    assert challenge.message.startswith(b"\x00\x00\x00")


# Logins


@dataclass
class Door:
    """A site's door, and the clock above it."""

    ca: TestAuthority
    clock: FixedClock
    verifier: Verifier

    def holder(self, number: str = "03", kind: CertificateType = CertificateType.AUTHENTICATION) -> HolderKey:
        key = ec.generate_private_key(ec.SECP384R1()) if number == "next" else None
        return self.ca.holder(self.ca.generation(kind, number), CertificateTemplate(key=key))


@pytest.fixture(scope="module")
def ca() -> TestAuthority:
    return TestAuthority(SharedKeySource([generate() for _ in range(7)]))


@pytest.fixture(scope="module")
def lists(ca: TestAuthority) -> dict[bytes, bytes]:
    return {found.identifier: ca.list(found) for found in ca.generations.values()}


@pytest.fixture
def door(ca: TestAuthority, lists: dict[bytes, bytes]) -> Door:
    clock = FixedClock(NOW)
    anchors = Anchors(read_anchor(found.certificate.public_bytes(Encoding.DER)) for found in ca.generations.values())
    given = Lists("given", lambda _, anchor: lists[anchor.key_identifier])
    return Door(ca, clock, Verifier(anchors, [given], clock))


@pytest.fixture(params=["in memory", "in a store"])
def login(door: Door, tmp_path: Any, request: pytest.FixtureRequest) -> Iterator[Authentication]:
    if request.param == "in memory":
        yield Authentication(door.verifier)
        return
    world = new_world(tmp_path / "w")
    yield Authentication(door.verifier, StoredChallenges(world))
    world.close()


def answer(holder: HolderKey, challenge: Challenge) -> Response:
    return Response(challenge.nonce, sign(holder.key, challenge.message), holder.der)


@pytest.mark.parametrize("number", ["02", "03", "next"])
def test_a_holder_logs_in(door: Door, login: Authentication, number: str) -> None:
    holder = door.holder(number)
    verdict = login.verdict(ORIGIN, answer(holder, login.challenge(ORIGIN)))
    assert (verdict.outcome, verdict.finding, verdict.at) == (Outcome.GOOD, None, NOW), verdict.detail
    assert verdict.certificate is not None
    assert verdict.certificate.serial == holder.certificate.serial_number
    assert verdict.certificate.attributes is None, "a login tells nobody's name"


def test_a_holder_signs_a_text_with_the_other_key(door: Door, login: Authentication) -> None:
    holder = door.holder(kind=CertificateType.SIGNATURE)
    challenge = login.challenge(ORIGIN, CertificateType.SIGNATURE, "架空町図書館の利用を申し込みます")
    assert login.verdict(ORIGIN, answer(holder, challenge)).outcome is Outcome.GOOD
    other = login.challenge(ORIGIN, CertificateType.SIGNATURE, "すべてに同意します")
    wrong = Challenge(ORIGIN, other.nonce, other.issued_at, other.kind, challenge.text)
    assert login.verdict(ORIGIN, answer(holder, wrong)).finding is Finding.WRONG_SIGNATURE
    assert login.verdict(ORIGIN, answer(holder, login.challenge(ORIGIN))).finding is Finding.WRONG_KIND
    of_a_login = door.holder()
    asked = login.challenge(ORIGIN, CertificateType.SIGNATURE, "申込み")
    assert login.verdict(ORIGIN, answer(of_a_login, asked)).finding is Finding.WRONG_KIND


def test_no_two_challenges_that_are_given_out_are_alike(login: Authentication) -> None:
    given = [login.challenge(ORIGIN) for _ in range(100)]
    assert len({challenge.nonce for challenge in given}) == 100
    assert {(len(challenge.nonce), challenge.origin, challenge.issued_at) for challenge in given} == {(32, ORIGIN, NOW)}


def test_a_challenge_is_good_until_its_last_second(door: Door, login: Authentication) -> None:
    holder = door.holder()
    early, late = login.challenge(ORIGIN), login.challenge(ORIGIN)
    door.clock.stand(NOW + LIFETIME)
    assert login.verdict(ORIGIN, answer(holder, early)).outcome is Outcome.GOOD
    door.clock.stand(NOW + LIFETIME + SECOND)
    assert login.verdict(ORIGIN, answer(holder, late)).finding is Finding.STALE_CHALLENGE


def test_how_long_a_challenge_is_good_is_the_verifiers_policy(door: Door) -> None:
    clock = FixedClock(NOW)
    login = Authentication(Verifier(Anchors([]), [], clock, policy=VerificationPolicy(challenge_lifetime=SECOND)))
    holder, asked = door.holder(), [login.challenge(ORIGIN) for _ in range(2)]
    found = []
    for challenge, seconds in zip(asked, (1, 2), strict=True):
        clock.stand(NOW + seconds * SECOND)
        found.append(login.verdict(ORIGIN, answer(holder, challenge)).finding)
    assert found == [Finding.WRONG_AUTHORITY, Finding.STALE_CHALLENGE], "nobody is trusted, and that is looked at later"


def test_a_challenge_is_used_up_whatever_the_answer_was(door: Door, login: Authentication) -> None:
    holder = door.holder()
    wrong: dict[Finding, Callable[[Challenge], tuple[str, Response]]] = {
        Finding.WRONG_ORIGIN: lambda given: (ELSEWHERE, answer(holder, given)),
        Finding.WRONG_SIGNATURE: lambda given: (ORIGIN, Response(given.nonce, bytes(256), holder.der)),
        Finding.MALFORMED: lambda given: (ORIGIN, Response(given.nonce, bytes(256), b"")),
    }
    for finding, change in wrong.items():
        challenge = login.challenge(ORIGIN)
        assert login.verdict(*change(challenge)).finding is finding
        assert login.verdict(ORIGIN, answer(holder, challenge)).finding is Finding.UNKNOWN_CHALLENGE


def test_of_twenty_who_answer_at_once_one_gets_in(door: Door, login: Authentication) -> None:
    holder = door.holder()
    for _ in range(5):
        response = answer(holder, login.challenge(ORIGIN))
        together = threading.Barrier(20)

        def enter(_: int, response: Response = response, together: threading.Barrier = together) -> Finding | None:
            together.wait()
            return login.verdict(ORIGIN, response).finding

        with ThreadPoolExecutor(20) as threads:
            findings = list(threads.map(enter, range(20)))
        assert sorted(findings, key=str) == [None, *[Finding.UNKNOWN_CHALLENGE] * 19]


def test_challenges_that_nobody_answers_are_forgotten(door: Door, login: Authentication) -> None:
    holder = door.holder()
    first, second = login.challenge(ORIGIN), login.challenge(ORIGIN)
    door.clock.stand(NOW + LIFETIME)
    third = login.challenge(ORIGIN)
    assert login.challenges.take(first.nonce) == first, "it was not too late for it yet"
    door.clock.stand(NOW + LIFETIME + SECOND)
    login.challenge(ORIGIN)
    assert login.challenges.take(second.nonce) is None
    assert login.verdict(ORIGIN, answer(holder, third)).outcome is Outcome.GOOD


def test_what_waits_in_memory_is_bounded_by_the_time_it_may_wait(door: Door) -> None:
    waiting = ChallengesInMemory()
    login = Authentication(door.verifier, waiting)
    for minute in range(60):
        door.clock.stand(NOW + timedelta(minutes=minute))
        for _ in range(10):
            login.challenge(ORIGIN)
    assert len(waiting) == 10 * (LIFETIME // timedelta(minutes=1) + 1)


@pytest.fixture
def hurried() -> Iterator[None]:
    """Threads that take turns far more often than they would."""
    usual = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(usual)


def test_many_may_give_out_and_forget_at_once(hurried: None) -> None:
    challenges: Challenges = ChallengesInMemory()

    def give(thread: int) -> None:
        for number in range(4000):
            challenges.put(Challenge(ORIGIN, b"%d %d" % (thread, number), NOW))
            challenges.forget(NOW + SECOND)

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(give, range(8)))
    challenges.forget(NOW + SECOND)
    assert challenges.take(b"0 0") is None


# What comes over the network

WELL_FORMED = {"nonce": "00ff", "signature": "0a0B", "certificate": "30"}


def test_an_answer_is_read_out_of_json() -> None:
    assert Response.from_json(WELL_FORMED) == Response(b"\x00\xff", b"\x0a\x0b", b"\x30")
    assert Response.from_json({**WELL_FORMED, "more": 1}) == Response.from_json(WELL_FORMED)


@pytest.mark.parametrize("name", WELL_FORMED)
@pytest.mark.parametrize("value", [None, 5, 1.5, True, [], {}, ["00"], "0", "zz", "０１", "\ud800", "0x00", b"00"])
def test_an_answer_with_anything_else_in_it_is_malformed(name: str, value: object) -> None:
    with pytest.raises(VerificationFailed) as refuted:
        Response.from_json({**WELL_FORMED, name: value})
    assert refuted.value.finding is Finding.MALFORMED
    assert refuted.value.outcome is Outcome.BAD


@pytest.mark.parametrize("name", WELL_FORMED)
def test_an_answer_that_lacks_something_is_malformed(name: str) -> None:
    with pytest.raises(VerificationFailed):
        Response.from_json({key: value for key, value in WELL_FORMED.items() if key != name})


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from([*WELL_FORMED, "x"]), inner),
    max_leaves=8,
)


@given(JSON)
def test_whatever_json_there_is_is_an_answer_or_malformed(value: Any) -> None:
    response: Response | None = None
    finding: Finding | None = None
    try:
        response = Response.from_json(value)
    except VerificationFailed as refuted:
        finding = refuted.finding
    assert (response is None) == (finding is Finding.MALFORMED)


@given(nonce=st.binary(max_size=40), signature=st.binary(max_size=300), certificate=st.binary(max_size=100))
def test_answers_to_nothing_are_answers_to_no_challenge(nonce: bytes, signature: bytes, certificate: bytes) -> None:
    login = Authentication(Verifier(Anchors([]), [], FixedClock(NOW)))
    assert login.verdict(ORIGIN, Response(nonce, signature, certificate)).finding is Finding.UNKNOWN_CHALLENGE
    given = login.challenge(ORIGIN)
    assert login.verdict(ORIGIN, Response(given.nonce, signature, certificate)).finding is Finding.MALFORMED
