"""Lists that are read once and kept until they are a day old, and authorities' certificates that come later."""

from __future__ import annotations

import shutil
from datetime import timedelta
from pathlib import Path

import pytest

from kazashi.assembly.institutions import Institutions
from kazashi.pki.certificate_database import FULL_LIST
from kazashi.relying_party.verify.anchors import AnchorsInDirectory
from kazashi.relying_party.verify.policy import VerificationPolicy
from kazashi.relying_party.verify.sources import Lists, lists_in, lists_over_http
from kazashi.relying_party.verify.verdict import Finding, Outcome, Verdict
from kazashi.relying_party.verify.verification import Verifier
from kazashi.tools.daemon.services import Services
from tests.relying_party.test_verification import verifier
from tests.town import AUTHENTICATION, MORNING, certificates, clock_of, later


def listed(town: Institutions, source: Lists) -> Verdict:
    (issued,) = certificates(town, "hanako", AUTHENTICATION)
    return verifier(town, source).certificate(issued.certificate)


@pytest.fixture
def hanako(town: Institutions) -> Institutions:
    town.issue_card("hanako", "hanako")
    town.settle()
    return town


@pytest.mark.parametrize("full", [False, True])
def test_a_list_with_a_smaller_number_is_refused(hanako: Institutions, tmp_path: Path, full: bool) -> None:
    copy, former = tmp_path / "copy", tmp_path / "former"
    publication = hanako.world.publication
    shutil.copytree(publication, former)
    later(hanako, days=1)
    shutil.copytree(publication, copy)
    source = lists_in(copy, full=full)
    assert listed(hanako, source).outcome is Outcome.GOOD
    shutil.copytree(former, copy, dirs_exist_ok=True)
    assert listed(hanako, source).outcome is Outcome.GOOD, "the list that is kept is not a day old"
    later(hanako, days=1)
    verdict = listed(hanako, source)
    assert (verdict.outcome, verdict.finding) == (Outcome.INDETERMINATE, Finding.UNTRUSTED_INFORMATION)
    shutil.copytree(publication, copy, dirs_exist_ok=True)
    assert listed(hanako, source).outcome is Outcome.GOOD, "what is refused is not kept"


def test_a_list_is_used_on_while_it_holds_when_the_server_is_gone(hanako: Institutions) -> None:
    services = Services(hanako.world)
    http = str(services.status["http"])
    sources = [lists_over_http(http), lists_over_http(http, full=True)]
    try:
        before = [listed(hanako, source) for source in sources]
    finally:
        services.stop()
    ages = [timedelta(hours=23), timedelta(days=1), timedelta(hours=48)]
    for age in ages:
        clock_of(hanako.world).stand(MORNING + age)
        verdicts = [listed(hanako, source) for source in sources]
        assert [found.outcome for found in verdicts] == [Outcome.GOOD] * 2
        assert [found.evidence for found in verdicts] == [found.evidence for found in before]
        assert [found.age for found in verdicts] == [age] * 2
    clock_of(hanako.world).stand(MORNING + ages[-1] + timedelta(seconds=1))
    for verdict in (listed(hanako, source) for source in sources):
        assert (verdict.outcome, verdict.finding) == (Outcome.INDETERMINATE, Finding.NO_INFORMATION)
        assert http in verdict.detail


def test_how_long_a_list_is_kept_and_how_early_it_may_be_is_the_verifiers_policy(
    hanako: Institutions, tmp_path: Path
) -> None:
    later(hanako, days=1)
    copy = shutil.copytree(hanako.world.publication, tmp_path / "copy")
    (issued,) = certificates(hanako, "hanako", AUTHENTICATION)
    anchors, hour = AnchorsInDirectory(copy / "ca"), timedelta(hours=1)
    evidence = listed(hanako, lists_in(copy)).evidence
    assert evidence is not None

    def found(source: Lists, age: timedelta, policy: VerificationPolicy) -> Finding | None:
        clock_of(hanako.world).stand(evidence.produced + age)
        return Verifier(anchors, [source], hanako.world.clock, policy=policy).certificate(issued.certificate).finding

    hurried, lenient = VerificationPolicy(lists_fresh_for=hour), VerificationPolicy(clock_tolerance=hour)
    assert found(lists_in(copy), -hour, lenient) is None
    assert found(lists_in(copy), -hour - timedelta(seconds=1), lenient) is Finding.STALE_INFORMATION
    source = lists_in(copy)
    assert found(source, timedelta(), hurried) is None
    for path in copy.rglob("*.crl"):
        path.write_bytes(b"another list")
    assert found(source, hour - timedelta(seconds=1), hurried) is None, "it is not an hour old"
    assert found(source, timedelta(hours=49), hurried) is Finding.UNTRUSTED_INFORMATION


def test_a_list_is_used_on_while_it_holds_when_its_file_is_gone(hanako: Institutions, tmp_path: Path) -> None:
    copy = shutil.copytree(hanako.world.publication, tmp_path / "copy")
    source = lists_in(copy)
    assert listed(hanako, source).outcome is Outcome.GOOD
    shutil.rmtree(copy)
    clock_of(hanako.world).stand(MORNING + timedelta(days=1))
    assert listed(hanako, source).outcome is Outcome.GOOD
    clock_of(hanako.world).stand(MORNING + timedelta(hours=48, seconds=1))
    assert listed(hanako, source).finding is Finding.NO_INFORMATION


def test_a_list_in_anothers_place_is_not_believed(hanako: Institutions) -> None:
    hanako.issue_card("leap-day", "leap-day")
    later(hanako, days=1)
    publication = hanako.publications[AUTHENTICATION]
    places = [certificates(hanako, alias, AUTHENTICATION)[0].partition for alias in ("hanako", "leap-day")]
    paths = [publication.path("03", name) for name in (*places, FULL_LIST)]
    assert len({path.read_bytes() for path in paths}) == 3
    for given, finding in zip(paths, (None, Finding.UNTRUSTED_INFORMATION, None), strict=True):
        assert listed(hanako, Lists("given", lambda certificate, anchor, given=given: given)).finding is finding  # type: ignore[misc]


def test_a_generation_that_begins_later_is_found(hanako: Institutions, tmp_path: Path) -> None:
    (issued,) = certificates(hanako, "hanako", AUTHENTICATION)
    publication = hanako.world.publication
    copy = shutil.copytree(publication / "ca", tmp_path / "ca")
    (copy / AUTHENTICATION.code / "03.cer").unlink()
    asking = Verifier(AnchorsInDirectory(copy), [lists_in(publication)], hanako.world.clock)
    assert asking.certificate(issued.certificate).finding is Finding.WRONG_AUTHORITY
    shutil.copytree(publication / "ca", copy, dirs_exist_ok=True)
    assert asking.certificate(issued.certificate).outcome is Outcome.GOOD
