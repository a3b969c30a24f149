"""The MyKey platform: one identifier to a person, the table of correspondence, and no history."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import date
from functools import partial

import pytest

from kazashi.assembly.institutions import Institutions
from kazashi.jpki.state import Reason
from kazashi.pki.callers import Callers
from kazashi.relying_party.mykey.mykey import (
    ALPHABET,
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
def everywhere(institutions: Institutions) -> Institutions:
    """The same on each kind of storage."""
    return ready(institutions)


def platform_of(town: Institutions) -> MyKeyPlatform:
    return MyKeyPlatform(town.world, TownLinkage(town))


def auth(town: Institutions, who: str = "hanako") -> Verdict:
    verdict = verdict_on(town, who)
    assert verdict.outcome is Outcome.GOOD
    return verdict


# Identifiers


def test_an_identifier_has_eight_characters_of_digits_and_capitals(hanako: Institutions) -> None:
    platform = platform_of(hanako)
    proposed = [platform.propose() for _ in range(400)]
    assert all(re.fullmatch("[0-9A-Z]{8}", identifier) for identifier in proposed)
    assert len(set(proposed)) == 400, "the chance of two alike is one in thirty million"
    assert set("".join(proposed)) == set(ALPHABET)
    given = platform.register(auth(hanako))
    assert re.fullmatch(f"[{ALPHABET}]{{{LENGTH}}}", given)
    assert platform.register(auth(hanako, "taro")) != given
    assert platform.find(certificates(hanako, "hanako", AUTHENTICATION)[0].serial) == given


@pytest.mark.parametrize("wish", ["", "HANAKO1", "HANAKO001", "hanako01", "HANAKO-1", "HANAKO1\n", "ＨＡＮＡＫＯ０１"])
def test_a_wish_of_another_form_is_refused(hanako: Institutions, wish: str) -> None:
    platform = platform_of(hanako)
    with pytest.raises(MalformedIdentifier):
        platform.register(auth(hanako), wish)
    assert not any(platform.exposure().values())


def test_a_wish_is_granted_once_and_a_person_has_one_identifier(everywhere: Institutions) -> None:
    platform = platform_of(everywhere)
    assert platform.register(auth(everywhere), "HANAKO01") == "HANAKO01"
    before = platform.exposure()
    with pytest.raises(IdentifierTaken):
        platform.register(auth(everywhere, "taro"), "HANAKO01")
    for wish in ("HANAKO02", "HANAKO01", None):
        with pytest.raises(AlreadyRegistered):
            platform.register(auth(everywhere), wish)
    assert platform.exposure() == before
    assert platform.register(auth(everywhere, "taro"), "HANAKO02") == "HANAKO02"


def test_an_identifier_stays_after_a_renewal_once_the_night_batch_ran(hanako: Institutions) -> None:
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


def test_one_person_who_has_two_identifiers_does_not_keep_others_from_theirs(hanako: Institutions) -> None:
    """The night batch after the chain has been cut for a while: hanako comes first, and taro's turn comes as well."""
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


# Voiding


def test_a_void_identifier_is_worth_nothing_and_never_given_out_again(everywhere: Institutions) -> None:
    platform = platform_of(everywhere)
    platform.register(auth(everywhere), "HANAKO01")
    platform.enrol(auth(everywhere), "library", "00012", BIRTH)
    assert platform.void(auth(everywhere)) == "HANAKO01"
    exposure = platform.exposure()
    assert exposure["identifier"] == [{"identifier": "HANAKO01", "head": None, "birth_digest": None, "voided": True}]
    assert exposure["serial"] == exposure["member"] == []
    actions: list[Callable[[], object]] = [
        lambda: platform.void(auth(everywhere)), lambda: platform.enrol(auth(everywhere), "library", "00012"),
        lambda: platform.tap(auth(everywhere), "library"), lambda: platform.member(auth(everywhere), "library"),
        lambda: platform.leave(auth(everywhere), "library"),
    ]  # fmt: skip
    for action in actions:
        with pytest.raises(MyKeyNotFound):
            action()
    assert not platform.confirms_birth("HANAKO01", BIRTH)
    for who in ("hanako", "taro"):
        with pytest.raises(IdentifierTaken):
            platform.register(auth(everywhere, who), "HANAKO01")
    assert platform.adopt_renewals() == 0
    assert platform.register(auth(everywhere), "HANAKO02") == "HANAKO02"
    platform.enrol(auth(everywhere), "library", "00012")
    with pytest.raises(TapUseNotOpen):
        platform.tap(auth(everywhere), "library")
    assert platform.void(auth(everywhere)) == "HANAKO02", "a second one can be void beside the first"
    assert platform.register(auth(everywhere)) not in ("HANAKO01", "HANAKO02")


# Services


def test_a_member_number_is_one_members_at_a_service(everywhere: Institutions) -> None:
    platform = platform_of(everywhere)
    platform.register(auth(everywhere), "HANAKO01")
    platform.register(auth(everywhere, "taro"), "TARO0001")
    assert platform.enrol(auth(everywhere), "library", "00012") == MyKeyEntry("HANAKO01", "library", "00012")
    before = platform.exposure()
    with pytest.raises(AlreadyAMember):
        platform.enrol(auth(everywhere, "taro"), "library", "00012", BIRTH)
    with pytest.raises(AlreadyAMember):
        platform.enrol(auth(everywhere), "library", "00013", BIRTH)
    for service, number in (("", "00014"), ("library", "")):
        with pytest.raises(MalformedIdentifier):
            platform.enrol(auth(everywhere, "taro"), service, number)
    assert platform.exposure() == before
    platform.enrol(auth(everywhere, "taro"), "gymnasium", "00012")
    platform.enrol(auth(everywhere, "taro"), "library", "00013")
    assert platform.member(auth(everywhere, "taro"), "library") == MyKeyEntry("TARO0001", "library", "00013")
    platform.leave(auth(everywhere), "library")
    for action in (platform.leave, platform.member):
        with pytest.raises(NotAMember):
            action(auth(everywhere), "library")
    assert platform.enrol(auth(everywhere), "library", "00012").member_number == "00012"


def test_tap_use_opens_with_the_date_of_birth_and_stays_open_over_a_renewal(hanako: Institutions) -> None:
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


def test_nothing_is_written_about_taps(hanako: Institutions) -> None:
    platform = platform_of(hanako)
    platform.register(auth(hanako), "HANAKO01")
    platform.enrol(auth(hanako), "library", "00012", BIRTH)
    later(hanako, hours=1)
    asked, before = len(list(Callers(hanako.world).queries())), platform.exposure()
    for _ in range(3):
        platform.tap(auth(hanako), "library")
        platform.member(auth(hanako), "library")
    assert platform.exposure() == before
    assert len(list(Callers(hanako.world).queries())) == asked, "nor does the authority hear of any"
    assert [row["what"] for row in before["event"]] == ["registered", "enrolled"]


# Whose certificate is not good


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
def test_a_verdict_that_is_not_good_entitles_to_nothing(
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


# Several at once


def attempt(action: Callable[[], object]) -> str:
    """What an action gives, or the name of the refusal."""
    try:
        return str(action())
    except MyKeyRejected as refused:
        return type(refused).__name__


def test_one_person_who_registers_many_times_at_once_gets_one_identifier(everywhere: Institutions) -> None:
    platform, verdict = platform_of(everywhere), auth(everywhere)

    def register(world: World, linkage: Linkage, number: int) -> str:
        wish = None if number % 2 else f"HANAKO{number:02d}"
        return attempt(lambda: MyKeyPlatform(world, linkage).register(verdict, wish))

    got = at_once(everywhere.world, TownLinkage(everywhere), register)
    (mine,) = [found for found in got if found != "AlreadyRegistered"]
    exposure = platform.exposure()
    assert [row["identifier"] for row in exposure["identifier"]] == [mine]
    assert [(row["serial"], row["identifier"]) for row in exposure["serial"]] == [
        (certificates(everywhere, "hanako", AUTHENTICATION)[0].serial, mine)
    ]
    assert len(exposure["event"]) == 1


def test_many_who_wish_for_one_identifier_at_once_do_not_share_it(everywhere: Institutions) -> None:
    platform, verdicts = platform_of(everywhere), [auth(everywhere), auth(everywhere, "taro")]

    def register(world: World, linkage: Linkage, number: int) -> str:
        return attempt(lambda: MyKeyPlatform(world, linkage).register(verdicts[number % 2], "WISHED01"))

    got = at_once(everywhere.world, TownLinkage(everywhere), register)
    assert got.count("WISHED01") == 1
    assert got.count("IdentifierTaken") == THREADS // 2
    assert len(platform.exposure()["identifier"]) == 1


def test_two_night_batches_at_once_adopt_each_renewal_once(everywhere: Institutions) -> None:
    platform = platform_of(everywhere)
    platform.register(auth(everywhere), "HANAKO01")
    renewed_by_time(everywhere, "hanako")
    linkage = TownLinkage(everywhere)
    adopted = at_once(everywhere.world, linkage, lambda world, asked, _: MyKeyPlatform(world, asked).adopt_renewals())
    assert sorted(adopted) == [0] * (THREADS - 1) + [1]
    assert platform.find(certificates(everywhere, "hanako", AUTHENTICATION)[-1].serial) == "HANAKO01"


def test_no_membership_outlives_its_identifier(everywhere: Institutions) -> None:
    platform, verdict = platform_of(everywhere), auth(everywhere)
    for number in range(10):
        platform.register(verdict)
        enrol = partial(platform.enrol, verdict, "library", f"{number}", BIRTH)
        together(partial(platform.void, verdict), partial(attempt, enrol))
        exposure = platform.exposure()
        assert exposure["member"] == []
        assert all(row["voided"] and row["birth_digest"] is None for row in exposure["identifier"])
