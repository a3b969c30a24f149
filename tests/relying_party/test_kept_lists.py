"""Caching of revocation lists, and new certificates of authorities."""

from __future__ import annotations

import shutil
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from kazashi.assembly.institutions import Institutions
from kazashi.pki.certificate_database import FULL_LIST
from kazashi.relying_party.conformance.authority import NOW, PLACE, ListTemplate, TestAuthority
from kazashi.relying_party.verify.anchors import Anchors, AnchorsInDirectory, read_anchor
from kazashi.relying_party.verify.policy import VerificationPolicy
from kazashi.relying_party.verify.sources import Lists, lists_in, lists_over_http
from kazashi.relying_party.verify.verdict import Finding, Outcome, Verdict
from kazashi.relying_party.verify.verification import Verifier
from kazashi.tools.daemon.services import Services
from kazashi.world.clock import FixedClock
from kazashi.world.key_source import SharedKeySource, generate
from tests.relying_party.test_verification import verifier
from tests.town import AUTHENTICATION, MORNING, certificates, clock_of, later


def verdict_by(town: Institutions, source: Lists) -> Verdict:
    (issued,) = certificates(town, "hanako", AUTHENTICATION)
    return verifier(town, source).certificate(issued.certificate)


@pytest.fixture(scope="module")
def ca() -> TestAuthority:
    return TestAuthority(SharedKeySource([generate() for _ in range(7)]))


@pytest.fixture
def hanako(town: Institutions) -> Institutions:
    town.issue_card("hanako", "hanako")
    town.settle()
    return town


@pytest.mark.parametrize("full", [False, True])
def test_a_list_with_a_smaller_number_is_rejected(hanako: Institutions, tmp_path: Path, full: bool) -> None:
    copy, former = tmp_path / "copy", tmp_path / "former"
    publication = hanako.world.publication
    shutil.copytree(publication, former)
    later(hanako, days=1)
    shutil.copytree(publication, copy)
    source = lists_in(copy, full=full)
    assert verdict_by(hanako, source).outcome is Outcome.GOOD
    shutil.copytree(former, copy, dirs_exist_ok=True)
    assert verdict_by(hanako, source).outcome is Outcome.GOOD, "the cached list is not a day old"
    later(hanako, days=1)
    verdict = verdict_by(hanako, source)
    assert (verdict.outcome, verdict.finding) == (Outcome.INDETERMINATE, Finding.UNTRUSTED_INFORMATION)
    shutil.copytree(publication, copy, dirs_exist_ok=True)
    assert verdict_by(hanako, source).outcome is Outcome.GOOD, "a rejected list is not cached"


DAY = timedelta(days=1)


@pytest.mark.parametrize(
    ("number", "later_by", "place", "words"),
    [
        (8, DAY, PLACE, None),
        (7, timedelta(), PLACE, None),
        (6, DAY, PLACE, "number 6, lower than 7"),
        (8, -timedelta(seconds=1), PLACE, "older than one already seen"),
        (7, DAY, PLACE, "two lists have number 7"),
        (3, DAY, None, None),  # the full list has numbers of its own
        (8, -timedelta(seconds=1), None, "older than one already seen"),
    ],
)
def test_a_list_older_than_one_already_seen_is_rejected(
    ca: TestAuthority, number: int, later_by: timedelta, place: tuple[str, str] | None, words: str | None
) -> None:
    """Both lists are signed by the authority and valid at that time."""
    holder = ca.holder(ca.generation(AUTHENTICATION))
    made = NOW - timedelta(hours=12)
    first = ListTemplate(number=7, this_update=made, next_update=made + 4 * DAY)
    second = ListTemplate(number=number, this_update=made + later_by, next_update=made + 4 * DAY, place=place)
    given = [ca.list(holder.issuer, (), first), ca.list(holder.issuer, (), second)]
    clock = FixedClock(NOW)
    anchor = read_anchor(holder.issuer.certificate.public_bytes(Encoding.DER))
    verifier = Verifier(Anchors([anchor]), [Lists("given", lambda *_: given.pop(0))], clock)
    assert verifier.certificate(holder.der).outcome is Outcome.GOOD
    clock.stand(NOW + DAY)
    verdict = verifier.certificate(holder.der)
    assert given == []
    if words is None:
        assert verdict.outcome is Outcome.GOOD
    else:
        assert (verdict.outcome, verdict.finding) == (Outcome.INDETERMINATE, Finding.UNTRUSTED_INFORMATION)
        assert words in verdict.detail


def test_a_cached_list_is_used_until_next_update_without_the_server(hanako: Institutions) -> None:
    services = Services(hanako.world)
    http = str(services.status["http"])
    sources = [lists_over_http(http), lists_over_http(http, full=True)]
    try:
        before = [verdict_by(hanako, source) for source in sources]
    finally:
        services.stop()
    ages = [timedelta(hours=23), timedelta(days=1), timedelta(hours=48)]
    for age in ages:
        clock_of(hanako.world).stand(MORNING + age)
        verdicts = [verdict_by(hanako, source) for source in sources]
        assert [verdict.outcome for verdict in verdicts] == [Outcome.GOOD] * 2
        assert [verdict.evidence for verdict in verdicts] == [verdict.evidence for verdict in before]
        assert [verdict.age for verdict in verdicts] == [age] * 2
    clock_of(hanako.world).stand(MORNING + ages[-1] + timedelta(seconds=1))
    for verdict in (verdict_by(hanako, source) for source in sources):
        assert (verdict.outcome, verdict.finding) == (Outcome.INDETERMINATE, Finding.NO_INFORMATION)
        assert http in verdict.detail


def test_the_policy_sets_cache_time_and_clock_tolerance_of_lists(hanako: Institutions, tmp_path: Path) -> None:
    later(hanako, days=1)
    copy = shutil.copytree(hanako.world.publication, tmp_path / "copy")
    (issued,) = certificates(hanako, "hanako", AUTHENTICATION)
    anchors, hour = AnchorsInDirectory(copy / "ca"), timedelta(hours=1)
    evidence = verdict_by(hanako, lists_in(copy)).evidence
    assert evidence is not None

    def finding(source: Lists, age: timedelta, policy: VerificationPolicy) -> Finding | None:
        clock_of(hanako.world).stand(evidence.produced + age)
        return Verifier(anchors, [source], hanako.world.clock, policy=policy).certificate(issued.certificate).finding

    short_cache, lenient = VerificationPolicy(lists_fresh_for=hour), VerificationPolicy(clock_tolerance=hour)
    assert finding(lists_in(copy), -hour, lenient) is None
    assert finding(lists_in(copy), -hour - timedelta(seconds=1), lenient) is Finding.STALE_INFORMATION
    source = lists_in(copy)
    assert finding(source, timedelta(), short_cache) is None
    for path in copy.rglob("*.crl"):
        path.write_bytes(b"another list")
    assert finding(source, hour - timedelta(seconds=1), short_cache) is None, "it is not an hour old"
    assert finding(source, timedelta(hours=49), short_cache) is Finding.UNTRUSTED_INFORMATION


def test_a_cached_list_is_used_until_next_update_without_its_file(hanako: Institutions, tmp_path: Path) -> None:
    copy = shutil.copytree(hanako.world.publication, tmp_path / "copy")
    source = lists_in(copy)
    assert verdict_by(hanako, source).outcome is Outcome.GOOD
    shutil.rmtree(copy)
    clock_of(hanako.world).stand(MORNING + timedelta(days=1))
    assert verdict_by(hanako, source).outcome is Outcome.GOOD
    clock_of(hanako.world).stand(MORNING + timedelta(hours=48, seconds=1))
    assert verdict_by(hanako, source).finding is Finding.NO_INFORMATION


def test_another_municipalitys_list_is_rejected(hanako: Institutions) -> None:
    hanako.issue_card("leap-day", "leap-day")
    later(hanako, days=1)
    publication = hanako.publications[AUTHENTICATION]
    places = [certificates(hanako, alias, AUTHENTICATION)[0].partition for alias in ("hanako", "leap-day")]
    paths = [publication.path("03", name) for name in (*places, FULL_LIST)]
    assert len({path.read_bytes() for path in paths}) == 3
    for given, finding in zip(paths, (None, Finding.UNTRUSTED_INFORMATION, None), strict=True):
        assert verdict_by(hanako, Lists("given", lambda certificate, anchor, given=given: given)).finding is finding  # type: ignore[misc]


def test_a_certificate_of_a_new_generation_is_found_later(hanako: Institutions, tmp_path: Path) -> None:
    (issued,) = certificates(hanako, "hanako", AUTHENTICATION)
    publication = hanako.world.publication
    copy = shutil.copytree(publication / "ca", tmp_path / "ca")
    (copy / AUTHENTICATION.code / "03.cer").unlink()
    verifier = Verifier(AnchorsInDirectory(copy), [lists_in(publication)], hanako.world.clock)
    assert verifier.certificate(issued.certificate).finding is Finding.WRONG_AUTHORITY
    shutil.copytree(publication / "ca", copy, dirs_exist_ok=True)
    assert verifier.certificate(issued.certificate).outcome is Outcome.GOOD
