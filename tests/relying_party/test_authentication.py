"""Logins: the signed message, the single use of challenges, and malformed responses."""

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
def test_different_challenges_have_different_messages(one: Challenge, other: Challenge) -> None:
    assume(one != other)
    assert one.message != other.message


@given(CHALLENGES, st.data())
def test_moving_text_between_parts_changes_the_message(challenge: Challenge, data: st.DataObject) -> None:
    """Even if the concatenation of the parts is the same."""
    joined = challenge.origin + challenge.text
    cut = data.draw(st.integers(0, len(joined)))
    moved = Challenge(joined[:cut], challenge.nonce, challenge.issued_at, challenge.kind, joined[cut:])
    assert (moved.message == challenge.message) == (cut == len(challenge.origin))


@given(CHALLENGES)
def test_a_message_has_a_unique_beginning(challenge: Challenge) -> None:
    """It differs from signed attributes (31), XML and text."""
    assert challenge.message.startswith(b"\x00\x00\x00")


# Logins


@dataclass
class Site:
    """A site's verifier with its clock, and an authority that issues certificates."""

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
    return {generation.identifier: ca.list(generation) for generation in ca.generations.values()}


@pytest.fixture
def site(ca: TestAuthority, lists: dict[bytes, bytes]) -> Site:
    clock = FixedClock(NOW)
    certificates = [generation.certificate.public_bytes(Encoding.DER) for generation in ca.generations.values()]
    source = Lists("given", lambda _, anchor: lists[anchor.key_identifier])
    return Site(ca, clock, Verifier(Anchors(map(read_anchor, certificates)), [source], clock))


@pytest.fixture(params=["in memory", "in a store"])
def login(site: Site, tmp_path: Any, request: pytest.FixtureRequest) -> Iterator[Authentication]:
    if request.param == "in memory":
        yield Authentication(site.verifier)
        return
    world = new_world(tmp_path / "w")
    yield Authentication(site.verifier, StoredChallenges(world))
    world.close()


def respond(holder: HolderKey, challenge: Challenge) -> Response:
    return Response(challenge.nonce, sign(holder.key, challenge.message), holder.der)


@pytest.mark.parametrize("number", ["02", "03", "next"])
def test_a_holder_logs_in(site: Site, login: Authentication, number: str) -> None:
    holder = site.holder(number)
    verdict = login.verdict(ORIGIN, respond(holder, login.challenge(ORIGIN)))
    assert (verdict.outcome, verdict.finding, verdict.at) == (Outcome.GOOD, None, NOW), verdict.detail
    assert verdict.certificate is not None
    assert verdict.certificate.serial == holder.certificate.serial_number
    assert verdict.certificate.attributes is None, "a login does not reveal the name"


def test_a_holder_signs_a_text_with_the_signature_key(site: Site, login: Authentication) -> None:
    holder = site.holder(kind=CertificateType.SIGNATURE)
    challenge = login.challenge(ORIGIN, CertificateType.SIGNATURE, "架空町図書館の利用を申し込みます")
    assert login.verdict(ORIGIN, respond(holder, challenge)).outcome is Outcome.GOOD
    other = login.challenge(ORIGIN, CertificateType.SIGNATURE, "すべてに同意します")
    wrong = Challenge(ORIGIN, other.nonce, other.issued_at, other.kind, challenge.text)
    assert login.verdict(ORIGIN, respond(holder, wrong)).finding is Finding.WRONG_SIGNATURE
    assert login.verdict(ORIGIN, respond(holder, login.challenge(ORIGIN))).finding is Finding.WRONG_KIND
    challenge = login.challenge(ORIGIN, CertificateType.SIGNATURE, "申込み")
    assert login.verdict(ORIGIN, respond(site.holder(), challenge)).finding is Finding.WRONG_KIND


def test_issued_challenges_are_unique(login: Authentication) -> None:
    issued = [login.challenge(ORIGIN) for _ in range(100)]
    assert len({challenge.nonce for challenge in issued}) == 100
    assert {(len(challenge.nonce), challenge.origin, challenge.issued_at) for challenge in issued} == {
        (32, ORIGIN, NOW)
    }


def test_a_challenge_is_valid_until_its_last_second(site: Site, login: Authentication) -> None:
    holder = site.holder()
    early, late = login.challenge(ORIGIN), login.challenge(ORIGIN)
    site.clock.stand(NOW + LIFETIME)
    assert login.verdict(ORIGIN, respond(holder, early)).outcome is Outcome.GOOD
    site.clock.stand(NOW + LIFETIME + SECOND)
    assert login.verdict(ORIGIN, respond(holder, late)).finding is Finding.STALE_CHALLENGE


def test_the_policy_sets_the_lifetime_of_challenges(site: Site) -> None:
    clock = FixedClock(NOW)
    login = Authentication(Verifier(Anchors([]), [], clock, policy=VerificationPolicy(challenge_lifetime=SECOND)))
    holder, challenges = site.holder(), [login.challenge(ORIGIN) for _ in range(2)]
    findings = []
    for challenge, seconds in zip(challenges, (1, 2), strict=True):
        clock.stand(NOW + seconds * SECOND)
        findings.append(login.verdict(ORIGIN, respond(holder, challenge)).finding)
    assert findings == [Finding.WRONG_AUTHORITY, Finding.STALE_CHALLENGE], "the authority is checked after the time"


def test_a_challenge_is_used_up_by_any_response(site: Site, login: Authentication) -> None:
    holder = site.holder()
    wrong: dict[Finding, Callable[[Challenge], tuple[str, Response]]] = {
        Finding.WRONG_ORIGIN: lambda challenge: (ELSEWHERE, respond(holder, challenge)),
        Finding.WRONG_SIGNATURE: lambda challenge: (ORIGIN, Response(challenge.nonce, bytes(256), holder.der)),
        Finding.MALFORMED: lambda challenge: (ORIGIN, Response(challenge.nonce, bytes(256), b"")),
    }
    for finding, change in wrong.items():
        challenge = login.challenge(ORIGIN)
        assert login.verdict(*change(challenge)).finding is finding
        assert login.verdict(ORIGIN, respond(holder, challenge)).finding is Finding.UNKNOWN_CHALLENGE


def test_of_twenty_concurrent_responses_one_is_accepted(site: Site, login: Authentication) -> None:
    holder = site.holder()
    for _ in range(5):
        response = respond(holder, login.challenge(ORIGIN))
        barrier = threading.Barrier(20)

        def log_in(_: int, response: Response = response, barrier: threading.Barrier = barrier) -> Finding | None:
            barrier.wait()
            return login.verdict(ORIGIN, response).finding

        with ThreadPoolExecutor(20) as threads:
            findings = list(threads.map(log_in, range(20)))
        assert sorted(findings, key=str) == [None, *[Finding.UNKNOWN_CHALLENGE] * 19]


def test_challenges_without_a_response_are_deleted(site: Site, login: Authentication) -> None:
    holder = site.holder()
    first, second = login.challenge(ORIGIN), login.challenge(ORIGIN)
    site.clock.stand(NOW + LIFETIME)
    third = login.challenge(ORIGIN)
    assert login.challenges.take(first.nonce) == first, "it has not expired yet"
    site.clock.stand(NOW + LIFETIME + SECOND)
    login.challenge(ORIGIN)
    assert login.challenges.take(second.nonce) is None
    assert login.verdict(ORIGIN, respond(holder, third)).outcome is Outcome.GOOD


def test_the_number_of_challenges_in_memory_is_bounded(site: Site) -> None:
    challenges = ChallengesInMemory()
    login = Authentication(site.verifier, challenges)
    for minute in range(60):
        site.clock.stand(NOW + timedelta(minutes=minute))
        for _ in range(10):
            login.challenge(ORIGIN)
    assert len(challenges) == 10 * (LIFETIME // timedelta(minutes=1) + 1)


@pytest.fixture
def frequent_switches() -> Iterator[None]:
    """Make the interpreter switch threads far more often than by default."""
    usual = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(usual)


def test_threads_can_add_and_delete_challenges_concurrently(frequent_switches: None) -> None:
    challenges: Challenges = ChallengesInMemory()

    def add_and_delete(thread: int) -> None:
        for number in range(4000):
            challenges.put(Challenge(ORIGIN, b"%d %d" % (thread, number), NOW))
            challenges.forget(NOW + SECOND)

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(add_and_delete, range(8)))
    challenges.forget(NOW + SECOND)
    assert challenges.take(b"0 0") is None


# Responses from the network

WELL_FORMED = {"nonce": "00ff", "signature": "0a0B", "certificate": "30"}


def test_a_response_is_read_from_json() -> None:
    assert Response.from_json(WELL_FORMED) == Response(b"\x00\xff", b"\x0a\x0b", b"\x30")
    assert Response.from_json({**WELL_FORMED, "more": 1}) == Response.from_json(WELL_FORMED)


@pytest.mark.parametrize("name", WELL_FORMED)
@pytest.mark.parametrize("value", [None, 5, 1.5, True, [], {}, ["00"], "0", "zz", "０１", "\ud800", "0x00", b"00"])
def test_a_response_with_an_invalid_value_is_malformed(name: str, value: object) -> None:
    with pytest.raises(VerificationFailed) as failure:
        Response.from_json({**WELL_FORMED, name: value})
    assert failure.value.finding is Finding.MALFORMED
    assert failure.value.outcome is Outcome.BAD


@pytest.mark.parametrize("name", WELL_FORMED)
def test_a_response_with_a_missing_field_is_malformed(name: str) -> None:
    with pytest.raises(VerificationFailed):
        Response.from_json({key: value for key, value in WELL_FORMED.items() if key != name})


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from([*WELL_FORMED, "x"]), inner),
    max_leaves=8,
)


@given(JSON)
def test_any_json_is_a_response_or_malformed(value: Any) -> None:
    response: Response | None = None
    finding: Finding | None = None
    try:
        response = Response.from_json(value)
    except VerificationFailed as failure:
        finding = failure.finding
    assert (response is None) == (finding is Finding.MALFORMED)


@given(nonce=st.binary(max_size=40), signature=st.binary(max_size=300), certificate=st.binary(max_size=100))
def test_a_response_without_a_challenge_is_unknown(nonce: bytes, signature: bytes, certificate: bytes) -> None:
    login = Authentication(Verifier(Anchors([]), [], FixedClock(NOW)))
    assert login.verdict(ORIGIN, Response(nonce, signature, certificate)).finding is Finding.UNKNOWN_CHALLENGE
    challenge = login.challenge(ORIGIN)
    assert login.verdict(ORIGIN, Response(challenge.nonce, signature, certificate)).finding is Finding.MALFORMED
