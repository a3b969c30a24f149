"""The MyKey platform: one identifier per person, the table of memberships, and no history."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import date, timedelta
from functools import partial

import pytest

from kazashi.assembly.institutions import Institutions
from kazashi.jpki.state import Reason
from kazashi.pki.callers import Callers
from kazashi.relying_party.mykey.mykey import (
    ALPHABET,
    GUESSES_AT_ONE,
    GUESSES_OF_ONE,
    LENGTH,
    AlreadyAMember,
    AlreadyRegistered,
    CertificateNotAccepted,
    IdentifierTaken,
    MalformedIdentifier,
    MyKeyEntry,
    MyKeyNotFound,
    MyKeyPlatform,
    MyKeyRejected,
    NotAMember,
    TapUseNotOpen,
)
from kazashi.relying_party.verify.anchors import AnchorsInDirectory
from kazashi.relying_party.verify.linkage import Linkage, NoLinkage
from kazashi.relying_party.verify.verdict import Finding, Outcome, Verdict
from kazashi.relying_party.verify.verification import Verifier
from kazashi.world.clock import WorldClock
from kazashi.world.guesses import TooManyGuesses
from kazashi.world.home import World
from tests.relying_party.test_platform import (
    LONG_ENOUGH,
    THREADS,
    TownLinkage,
    at_once,
    ready,
    renewed_by_time,
    together,
    verdict_on,
)
from tests.town import AUTHENTICATION, SIGNATURE, certificates, later

BIRTH = date(1988, 4, 17)


@pytest.fixture
def hanako(town: Institutions) -> Institutions:
    return ready(town)


@pytest.fixture
def stored_hanako(institutions: Institutions) -> Institutions:
    """The town of `hanako`, once with each kind of storage."""
    return ready(institutions)


def platform_of(town: Institutions) -> MyKeyPlatform:
    return MyKeyPlatform(town.world, TownLinkage(town))


def auth(town: Institutions, who: str = "hanako") -> Verdict:
    verdict = verdict_on(town, who)
    assert verdict.outcome is Outcome.GOOD
    return verdict


# Identifiers


def test_an_identifier_has_eight_digits_and_capital_letters(hanako: Institutions) -> None:
    platform = platform_of(hanako)
    proposed = [platform.propose() for _ in range(400)]
    assert all(re.fullmatch("[0-9A-Z]{8}", identifier) for identifier in proposed)
    assert len(set(proposed)) == 400, "the probability of two equal ones is one in thirty million"
    assert set("".join(proposed)) == set(ALPHABET)
    given = platform.register(auth(hanako))
    assert re.fullmatch(f"[{ALPHABET}]{{{LENGTH}}}", given)
    assert platform.register(auth(hanako, "taro")) != given
    assert platform.find(certificates(hanako, "hanako", AUTHENTICATION)[0].serial) == given


@pytest.mark.parametrize("wish", ["", "HANAKO1", "HANAKO001", "hanako01", "HANAKO-1", "HANAKO1\n", "ＨＡＮＡＫＯ０１"])
def test_a_malformed_wish_is_rejected(hanako: Institutions, wish: str) -> None:
    platform = platform_of(hanako)
    with pytest.raises(MalformedIdentifier):
        platform.register(auth(hanako), wish)
    assert not any(platform.exposure().values())


def test_an_identifier_is_issued_once_and_a_person_has_only_one(stored_hanako: Institutions) -> None:
    platform = platform_of(stored_hanako)
    assert platform.register(auth(stored_hanako), "HANAKO01") == "HANAKO01"
    before = platform.exposure()
    with pytest.raises(IdentifierTaken):
        platform.register(auth(stored_hanako, "taro"), "HANAKO01")
    for wish in ("HANAKO02", "HANAKO01", None):
        with pytest.raises(AlreadyRegistered):
            platform.register(auth(stored_hanako), wish)
    assert platform.exposure() == before
    assert platform.register(auth(stored_hanako, "taro"), "HANAKO02") == "HANAKO02"


def test_an_identifier_survives_a_renewal_after_the_nightly_batch(hanako: Institutions) -> None:
    platform = platform_of(hanako)
    platform.register(auth(hanako), "HANAKO01")
    platform.register(auth(hanako, "taro"), "TARO0001")
    assert platform.adopt_renewals() == 0
    renewed_by_time(hanako, "hanako")
    former, present = (issued.serial for issued in certificates(hanako, "hanako", AUTHENTICATION))
    assert (platform.find(former), platform.find(present)) == ("HANAKO01", None)
    with pytest.raises(MyKeyNotFound):
        platform.member(auth(hanako), "library")
    with pytest.raises(AlreadyRegistered):
        platform.register(auth(hanako), "HANAKO02")
    assert platform.adopt_renewals() == 1
    assert platform.find(former) == platform.find(present) == "HANAKO01"
    assert platform.adopt_renewals() == 0
    with pytest.raises(AlreadyRegistered):
        platform.register(auth(hanako), "HANAKO02")
    assert [row["identifier"] for row in platform.exposure()["identifier"]] == ["HANAKO01", "TARO0001"]


def test_without_linkage_a_renewed_card_is_a_new_person(hanako: Institutions) -> None:
    platform = MyKeyPlatform(hanako.world, NoLinkage())
    platform.register(auth(hanako), "HANAKO01")
    renewed_by_time(hanako, "hanako")
    assert platform.adopt_renewals() == 0
    platform.register(auth(hanako), "HANAKO02")
    serials = [issued.serial for issued in certificates(hanako, "hanako", AUTHENTICATION)]
    assert [platform.find(serial) for serial in serials] == ["HANAKO01", "HANAKO02"]


def test_a_person_with_two_identifiers_does_not_stop_the_nightly_batch(hanako: Institutions) -> None:
    """The nightly batch after the chain was cut for a while: it skips hanako, who comes first, and handles taro."""
    unlinked = MyKeyPlatform(hanako.world, NoLinkage())
    unlinked.register(auth(hanako), "HANAKO01")
    unlinked.register(auth(hanako, "taro"), "TARO0001")
    renewed_by_time(hanako, "hanako", "taro", after=LONG_ENOUGH)
    unlinked.register(auth(hanako), "HANAKO02")
    platform = platform_of(hanako)
    platform.adopt_renewals()
    assert platform.find(certificates(hanako, "taro", AUTHENTICATION)[-1].serial) == "TARO0001"
    serials = [issued.serial for issued in certificates(hanako, "hanako", AUTHENTICATION)]
    assert [platform.find(serial) for serial in serials] == ["HANAKO01", "HANAKO02"], "nobody is merged"
    assert platform.void(auth(hanako)) == "HANAKO02"
    with pytest.raises(AlreadyRegistered, match="HANAKO01"):
        platform.register(auth(hanako))
    assert platform.adopt_renewals() == 1
    assert [platform.find(serial) for serial in serials] == ["HANAKO01"] * 2, "the person has decided"


# Voiding


def test_a_voided_identifier_is_useless_and_never_issued_again(stored_hanako: Institutions) -> None:
    platform = platform_of(stored_hanako)
    platform.register(auth(stored_hanako), "HANAKO01")
    platform.enrol(auth(stored_hanako), "library", "00012", BIRTH)
    assert platform.void(auth(stored_hanako)) == "HANAKO01"
    exposure = platform.exposure()
    assert exposure["identifier"] == [{"identifier": "HANAKO01", "head": None, "birth_digest": None, "voided": True}]
    assert exposure["serial"] == exposure["member"] == []
    actions: list[Callable[[], object]] = [
        lambda: platform.void(auth(stored_hanako)), lambda: platform.enrol(auth(stored_hanako), "library", "00012"),
        lambda: platform.tap(auth(stored_hanako), "library"), lambda: platform.member(auth(stored_hanako), "library"),
        lambda: platform.leave(auth(stored_hanako), "library"),
    ]  # fmt: skip
    for action in actions:
        with pytest.raises(MyKeyNotFound):
            action()
    assert not platform.confirms_birth("HANAKO01", BIRTH)
    for who in ("hanako", "taro"):
        with pytest.raises(IdentifierTaken):
            platform.register(auth(stored_hanako, who), "HANAKO01")
    assert platform.adopt_renewals() == 0
    assert platform.register(auth(stored_hanako), "HANAKO02") == "HANAKO02"
    platform.enrol(auth(stored_hanako), "library", "00012")
    with pytest.raises(TapUseNotOpen):
        platform.tap(auth(stored_hanako), "library")
    assert platform.void(auth(stored_hanako)) == "HANAKO02", "a person can void a second one"
    assert platform.register(auth(stored_hanako)) not in ("HANAKO01", "HANAKO02")


# Services


def test_a_member_number_belongs_to_one_member_of_a_service(stored_hanako: Institutions) -> None:
    platform = platform_of(stored_hanako)
    platform.register(auth(stored_hanako), "HANAKO01")
    platform.register(auth(stored_hanako, "taro"), "TARO0001")
    assert platform.enrol(auth(stored_hanako), "library", "00012") == MyKeyEntry("HANAKO01", "library", "00012")
    before = platform.exposure()
    with pytest.raises(AlreadyAMember):
        platform.enrol(auth(stored_hanako, "taro"), "library", "00012", BIRTH)
    with pytest.raises(AlreadyAMember):
        platform.enrol(auth(stored_hanako), "library", "00013", BIRTH)
    for service, number in (("", "00014"), ("library", "")):
        with pytest.raises(MalformedIdentifier):
            platform.enrol(auth(stored_hanako, "taro"), service, number)
    assert platform.exposure() == before
    platform.enrol(auth(stored_hanako, "taro"), "gymnasium", "00012")
    platform.enrol(auth(stored_hanako, "taro"), "library", "00013")
    assert platform.member(auth(stored_hanako, "taro"), "library") == MyKeyEntry("TARO0001", "library", "00013")
    platform.leave(auth(stored_hanako), "library")
    for action in (platform.leave, platform.member):
        with pytest.raises(NotAMember):
            action(auth(stored_hanako), "library")
    assert platform.enrol(auth(stored_hanako), "library", "00012").member_number == "00012"


def test_guesses_at_a_date_of_birth_are_limited_on_disk(hanako: Institutions) -> None:
    platform = platform_of(hanako)
    platform.register(auth(hanako), "HANAKO01")
    platform.enrol(auth(hanako), "library", "00012", BIRTH)
    for _ in range(3 * GUESSES_AT_ONE):
        assert platform.confirms_birth("HANAKO01", BIRTH, "library"), "right answers are not guesses"
    for day in range(GUESSES_AT_ONE):
        assert not platform.confirms_birth("HANAKO01", date(1990, 1, 1 + day), f"192.0.2.{day}")
    for who in ("192.0.2.77", "library"):
        with pytest.raises(TooManyGuesses):
            platform_of(hanako).confirms_birth("HANAKO01", BIRTH, who)
    for number in range(GUESSES_OF_ONE):
        assert not platform.confirms_birth(f"OTHER{number:03}", BIRTH, "198.51.100.1")
    with pytest.raises(TooManyGuesses):
        platform.confirms_birth("OTHER999", BIRTH, "198.51.100.1")
    clock = hanako.world.clock
    assert isinstance(clock, WorldClock)
    clock.move(clock.now() + timedelta(days=1))
    assert platform.confirms_birth("HANAKO01", BIRTH, "library")


def test_the_date_of_birth_enables_tap_use_also_after_a_renewal(hanako: Institutions) -> None:
    platform = platform_of(hanako)
    with pytest.raises(MyKeyNotFound):
        platform.tap(auth(hanako), "library")
    platform.register(auth(hanako), "HANAKO01")
    platform.enrol(auth(hanako), "gymnasium", "7")
    for service in ("library", "gymnasium"):
        with pytest.raises(TapUseNotOpen):
            platform.tap(auth(hanako), service)
    platform.enrol(auth(hanako), "library", "00012", BIRTH)
    assert platform.confirms_birth("HANAKO01", BIRTH)
    assert not platform.confirms_birth("HANAKO01", date(1988, 4, 18))
    member = MyKeyEntry("HANAKO01", "library", "00012")
    assert platform.tap(auth(hanako), "library") == platform.member(auth(hanako), "library") == member
    assert platform.tap(auth(hanako), "gymnasium").member_number == "7"
    with pytest.raises(NotAMember):
        platform.tap(auth(hanako), "theatre")
    renewed_by_time(hanako, "hanako")
    with pytest.raises(MyKeyNotFound):
        platform.tap(auth(hanako), "library")
    platform.adopt_renewals()
    assert platform.tap(auth(hanako), "library") == member


def test_taps_are_not_recorded(hanako: Institutions) -> None:
    platform = platform_of(hanako)
    platform.register(auth(hanako), "HANAKO01")
    platform.enrol(auth(hanako), "library", "00012", BIRTH)
    later(hanako, hours=1)
    queries, before = len(list(Callers(hanako.world).queries())), platform.exposure()
    for _ in range(3):
        platform.tap(auth(hanako), "library")
        platform.member(auth(hanako), "library")
    assert platform.exposure() == before
    assert len(list(Callers(hanako.world).queries())) == queries, "the authority gets no query either"
    assert [row["what"] for row in before["event"]] == ["registered", "enrolled"]


# Verdicts that are not good


def bad_verdict(town: Institutions, what: str) -> Verdict:
    if what == "wrong kind":
        return verdict_on(town, "hanako", SIGNATURE)
    if what == "indeterminate":
        anchors = AnchorsInDirectory(town.world.publication / "ca")
        return Verifier(anchors, [], town.world.clock).certificate(auth(town).certificate.der)  # type: ignore[union-attr]
    town.revocations[AUTHENTICATION].revoke(
        certificates(town, "hanako", AUTHENTICATION)[0].serial, Reason.KEY_COMPROMISE
    )
    later(town, days=1)
    return verdict_on(town, "hanako")


@pytest.mark.parametrize(
    ("what", "outcome", "finding"),
    [
        ("wrong kind", Outcome.GOOD, None),
        ("indeterminate", Outcome.INDETERMINATE, Finding.NO_INFORMATION),
        ("revoked", Outcome.BAD, Finding.REVOKED),
    ],
)
def test_a_verdict_that_is_not_good_is_rejected_everywhere(
    hanako: Institutions, what: str, outcome: Outcome, finding: Finding | None
) -> None:
    platform = platform_of(hanako)
    platform.register(auth(hanako), "HANAKO01")
    platform.enrol(auth(hanako), "library", "00012", BIRTH)
    before, verdict = platform.exposure(), bad_verdict(hanako, what)
    assert (verdict.outcome, verdict.finding) == (outcome, finding)
    assert verdict.certificate is not None
    actions: list[Callable[[], object]] = [
        lambda: platform.register(verdict), lambda: platform.register(verdict, "HANAKO02"),
        lambda: platform.void(verdict), lambda: platform.enrol(verdict, "gymnasium", "1", BIRTH),
        lambda: platform.leave(verdict, "library"), lambda: platform.member(verdict, "library"),
        lambda: platform.tap(verdict, "library"),
    ]  # fmt: skip
    for action in actions:
        with pytest.raises(CertificateNotAccepted):
            action()
    assert platform.exposure() == before


# Concurrency


def attempt(action: Callable[[], object]) -> str:
    """The result of an action as a string, or the name of its exception."""
    try:
        return str(action())
    except MyKeyRejected as error:
        return type(error).__name__


def test_concurrent_registrations_of_a_person_give_one_identifier(stored_hanako: Institutions) -> None:
    platform, verdict = platform_of(stored_hanako), auth(stored_hanako)

    def register(world: World, linkage: Linkage, number: int) -> str:
        wish = None if number % 2 else f"HANAKO{number:02d}"
        return attempt(lambda: MyKeyPlatform(world, linkage).register(verdict, wish))

    results = at_once(stored_hanako.world, TownLinkage(stored_hanako), register)
    (identifier,) = [result for result in results if result != "AlreadyRegistered"]
    exposure = platform.exposure()
    assert [row["identifier"] for row in exposure["identifier"]] == [identifier]
    assert [(row["serial"], row["identifier"]) for row in exposure["serial"]] == [
        (certificates(stored_hanako, "hanako", AUTHENTICATION)[0].serial, identifier)
    ]
    assert len(exposure["event"]) == 1


def test_concurrent_wishes_for_an_identifier_are_granted_once(stored_hanako: Institutions) -> None:
    platform, verdicts = platform_of(stored_hanako), [auth(stored_hanako), auth(stored_hanako, "taro")]

    def register(world: World, linkage: Linkage, number: int) -> str:
        return attempt(lambda: MyKeyPlatform(world, linkage).register(verdicts[number % 2], "WISHED01"))

    results = at_once(stored_hanako.world, TownLinkage(stored_hanako), register)
    assert results.count("WISHED01") == 1
    assert results.count("IdentifierTaken") == THREADS // 2
    assert len(platform.exposure()["identifier"]) == 1


def test_concurrent_nightly_batches_adopt_each_renewal_once(stored_hanako: Institutions) -> None:
    platform = platform_of(stored_hanako)
    platform.register(auth(stored_hanako), "HANAKO01")
    renewed_by_time(stored_hanako, "hanako")

    def adopt(world: World, linkage: Linkage, _: int) -> int:
        return MyKeyPlatform(world, linkage).adopt_renewals()

    adopted = at_once(stored_hanako.world, TownLinkage(stored_hanako), adopt)
    assert sorted(adopted) == [0] * (THREADS - 1) + [1]
    assert platform.find(certificates(stored_hanako, "hanako", AUTHENTICATION)[-1].serial) == "HANAKO01"


def test_no_membership_survives_the_voiding_of_its_identifier(stored_hanako: Institutions) -> None:
    platform, verdict = platform_of(stored_hanako), auth(stored_hanako)
    for number in range(10):
        platform.register(verdict)
        enrol = partial(platform.enrol, verdict, "library", f"{number}", BIRTH)
        together(partial(platform.void, verdict), partial(attempt, enrol))
        exposure = platform.exposure()
        assert exposure["member"] == []
        assert all(row["voided"] and row["birth_digest"] is None for row in exposure["identifier"])
