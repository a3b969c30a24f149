"""Verdicts on the certificates of a town, with every source of the revocation status."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from kazashi.assembly.institutions import Institutions
from kazashi.assembly.served import free_port
from kazashi.card.certification_request import certification_request
from kazashi.jpki.profile import NEXT, CertificateType, Medium
from kazashi.jpki.state import Reason
from kazashi.pki.callers import Callers
from kazashi.pki.certificate import CertificateRequest
from kazashi.pki.directory import Directory
from kazashi.pki.responder import GRID
from kazashi.relying_party.verify.anchors import Anchors, AnchorsInDirectory
from kazashi.relying_party.verify.sources import Source, lists_in, lists_in_directory, lists_over_http, ocsp_over_http
from kazashi.relying_party.verify.verdict import Finding, Outcome, Verdict
from kazashi.relying_party.verify.verification import Verifier
from kazashi.resident_registry.event import LossReport, MoveWithin
from kazashi.tools.daemon.services import Services
from kazashi.world.clock import instant_of
from kazashi.world.key_source import SharedKeySource, generate, new_p384_key
from tests.town import AUTHENTICATION, MORNING, SIGNATURE, certificates, later, new_institutions

OCSP = "ocsp"
SOURCES = {
    OCSP: "ocsp", "lists": "partition-list", "full list": "full-list", "lists over HTTP": "partition-list",
    "full list over HTTP": "full-list", "directory": "directory",
}  # fmt: skip
"""Every source, and the name of its evidence."""

LIST_SOURCES = [name for name in SOURCES if name != OCSP]


LONG_AGO = instant_of("2023-07-20")
"""A time at which the previous generation issued."""

BEFORE, MARK, NEXT_DAY = "before the move", "after 15 minutes", "on the next day"


def verifier(town: Institutions, *sources: Source) -> Verifier:
    return Verifier(AnchorsInDirectory(town.world.publication / "ca"), sources, town.world.clock)


@dataclass
class Timeline:
    """A town with running services: six certificates, every source, and the verdicts at three times."""

    town: Institutions
    services: Services
    directory: Directory
    sources: dict[str, Source]
    certificates: dict[str, bytes]
    moved: datetime = MORNING
    at: dict[str, datetime] = field(default_factory=dict)
    verdicts: dict[tuple[str, str, str], Verdict] = field(default_factory=dict)

    @property
    def http(self) -> str:
        return str(self.services.status["http"])

    def verify(self, when: str) -> None:
        """Store the verdict on every certificate with every source."""
        self.directory.load(self.town.publications.values())
        self.at[when] = self.town.world.clock.now()
        for name, source in self.sources.items():
            checker = verifier(self.town, source)
            for which, certificate in self.certificates.items():
                self.verdicts[when, name, which] = checker.certificate(certificate)


REVOKED = {
    "hanako signature": (Finding.REVOKED, Reason.AFFILIATION_CHANGED),
    "leap-day signature": (Finding.HELD, Reason.CERTIFICATE_HOLD),
    "leap-day authentication": (Finding.HELD, Reason.CERTIFICATE_HOLD),
    "older generation": (Finding.REVOKED, Reason.SUPERSEDED),
    "next card": (Finding.REVOKED, Reason.KEY_COMPROMISE),
}
"""The finding and reason of each certificate in the end. Hanako's authentication certificate stays good."""


@pytest.fixture(scope="module")
def timeline(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Timeline]:
    keys = SharedKeySource([generate() for _ in range(9)])
    town = new_institutions(tmp_path_factory.mktemp("verification") / "w", keys)
    for authority in town.authorities.values():  # each with its own key
        authority.issuing()
        authority.issuing(LONG_AGO)
    issued_certificates = {}
    for alias in ("hanako", "leap-day"):
        town.issue_card(alias, alias)
        for kind in (SIGNATURE, AUTHENTICATION):
            (issued,) = certificates(town, alias, kind)
            issued_certificates[f"{alias} {kind.code}"] = issued.certificate
    old = CertificateRequest(town.resident("hanako"), certification_request(keys.take()), LONG_AGO,
                  MORNING + timedelta(days=400), Medium.PHONE, "phone")  # fmt: skip
    issued_certificates["older generation"] = town.authorities[AUTHENTICATION].issue(old)
    new = CertificateRequest(town.resident("hanako"), certification_request(new_p384_key()), MORNING,
                  MORNING + timedelta(days=3600), medium_id="next")  # fmt: skip
    issued_certificates["next card"] = town.authorities[SIGNATURE].issue(new, NEXT)
    town.settle()
    services, directory = Services(town.world), None
    try:
        directory = Directory(town.world, free_port([services.port]))
        directory.start(town.publications.values())
        http, publication = str(services.status["http"]), town.world.publication
        yield run(Timeline(town, services, directory, {
            OCSP: ocsp_over_http(http, Callers(town.world).register("library")), "lists": lists_in(publication),
            "full list": lists_in(publication, full=True), "lists over HTTP": lists_over_http(http),
            "full list over HTTP": lists_over_http(http, full=True), "directory": lists_in_directory(directory.uri),
        }, issued_certificates))  # fmt: skip
    finally:
        services.stop()
        if directory is not None:
            directory.stop()
        town.world.close()


def run(timeline: Timeline) -> Timeline:
    """Verify before the revocations, 15 minutes after the start, and a day later. Hanako moves, and the other
    certificates are revoked or put on hold."""
    town = timeline.town
    later(town, minutes=1)
    timeline.verify(BEFORE)
    later(town, minutes=1)
    timeline.moved = town.world.clock.now()
    town.registry.record("hanako", MoveWithin("架空町１丁目１番１号"))
    town.registry.record("leap-day", LossReport())
    revoke(timeline, "older generation", Reason.SUPERSEDED)
    revoke(timeline, "next card", Reason.KEY_COMPROMISE)
    town.settle()
    later(town, minutes=13)
    timeline.verify(MARK)
    later(town, days=1)
    timeline.verify(NEXT_DAY)
    return timeline


def revoke(timeline: Timeline, which: str, reason: Reason) -> None:
    read = verifier(timeline.town).read(timeline.certificates[which])
    timeline.town.revocations[read.kind].revoke(read.serial, reason)


# At the three times


@pytest.mark.parametrize("source", SOURCES)
def test_every_source_gives_good_for_all_before_the_revocations(timeline: Timeline, source: str) -> None:
    for which in timeline.certificates:
        verdict = timeline.verdicts[BEFORE, source, which]
        assert (verdict.outcome, verdict.finding, verdict.detail) == (Outcome.GOOD, None, ""), which
        assert (verdict.reason, verdict.since) == (None, None)
        assert verdict.evidence is not None
        assert verdict.evidence.source == SOURCES[source]


@pytest.mark.parametrize("which", REVOKED)
def test_ocsp_has_a_revocation_in_15_minutes_and_lists_the_next_day(timeline: Timeline, which: str) -> None:
    finding, reason = REVOKED[which]
    verdict = timeline.verdicts[MARK, OCSP, which]
    assert (verdict.outcome, verdict.finding, verdict.reason) == (Outcome.BAD, finding, reason)
    for source in LIST_SOURCES:
        assert timeline.verdicts[MARK, source, which].outcome is Outcome.GOOD, source
        verdict = timeline.verdicts[NEXT_DAY, source, which]
        assert (verdict.outcome, verdict.finding, verdict.reason) == (Outcome.BAD, finding, reason), source


@pytest.mark.parametrize("source", SOURCES)
def test_a_move_leaves_the_authentication_certificate_good(timeline: Timeline, source: str) -> None:
    for when in (BEFORE, MARK, NEXT_DAY):
        assert timeline.verdicts[when, source, "hanako authentication"].outcome is Outcome.GOOD


@pytest.mark.parametrize("source", SOURCES)
def test_a_verdict_has_reason_time_source_and_age(timeline: Timeline, source: str) -> None:
    verdict = timeline.verdicts[NEXT_DAY, source, "hanako signature"]
    assert verdict.at == timeline.at[NEXT_DAY]
    assert verdict.since == timeline.moved
    assert verdict.reason is Reason.AFFILIATION_CHANGED
    assert verdict.evidence is not None
    produced = timeline.at[NEXT_DAY] if source == OCSP else instant_of("2026-11-25T00:30+09:00")
    holds = GRID if source == OCSP else timedelta(hours=48)
    assert (verdict.evidence.source, verdict.evidence.produced) == (SOURCES[source], produced)
    assert verdict.evidence.until == produced + holds
    assert verdict.age == timeline.at[NEXT_DAY] - produced
    content = json.loads(json.dumps(verdict.as_dict()))
    assert (content["outcome"], content["finding"], content["reason"]) == ("bad", "revoked", "affiliationChanged")
    assert content["source_age_seconds"] == int(verdict.age.total_seconds())
    assert content["certificate"]["municipality"] == "Tokyo-to/Shibuya-ku"
    assert content["certificate"]["attributes"]["address"] == "東京都渋谷区架空町９丁目９９番９９号", (
        "as on the day of issue"
    )


@pytest.mark.parametrize("source", SOURCES)
def test_as_of_before_the_move_the_certificate_is_good(timeline: Timeline, source: str) -> None:
    checker = verifier(timeline.town, timeline.sources[source])
    second = timedelta(seconds=1)
    for at in (timeline.at[BEFORE], timeline.moved - second):
        verdict = checker.certificate(timeline.certificates["hanako signature"], SIGNATURE, at)
        assert (verdict.outcome, verdict.finding, verdict.at) == (Outcome.GOOD, None, at)
        assert (verdict.since, verdict.reason) == (timeline.moved, Reason.AFFILIATION_CHANGED)
        assert verdict.age == timedelta()
    for at in (timeline.moved, timeline.moved + second):
        verdict = checker.certificate(timeline.certificates["hanako signature"], SIGNATURE, at)
        assert (verdict.outcome, verdict.finding) == (Outcome.BAD, Finding.REVOKED)


@pytest.mark.parametrize("source", SOURCES)
def test_no_source_is_used_for_an_instant_after_its_next_update(timeline: Timeline, source: str) -> None:
    checker = verifier(timeline.town, timeline.sources[source])
    verdict = checker.certificate(
        timeline.certificates["hanako authentication"], at=timeline.at[NEXT_DAY] + timedelta(days=3)
    )
    assert (verdict.outcome, verdict.finding) == (Outcome.INDETERMINATE, Finding.STALE_INFORMATION)


def test_generations_are_distinguished_by_their_keys(timeline: Timeline) -> None:
    checker = verifier(timeline.town)
    read = {which: checker.read(certificate) for which, certificate in timeline.certificates.items()}
    generation = {which: checker.issuer(holder, MORNING).generation for which, holder in read.items()}
    assert generation == {"older generation": "02", "next card": "next"} | {
        f"{alias} {kind.code}": "03" for alias in ("hanako", "leap-day") for kind in (SIGNATURE, AUTHENTICATION)
    }
    assert len({anchor.name for anchor in checker.anchors.of_kind(AUTHENTICATION)}) == 1
    fewer = [
        anchor for kind in CertificateType for anchor in checker.anchors.of_kind(kind) if anchor.generation != "02"
    ]
    without = Verifier(Anchors(fewer), [], timeline.town.world.clock)
    assert without.certificate(timeline.certificates["older generation"]).finding is Finding.WRONG_AUTHORITY


@pytest.mark.parametrize(("which", "wanted"), [("hanako signature", AUTHENTICATION), ("next card", AUTHENTICATION),
                                               ("hanako authentication", SIGNATURE)])  # fmt: skip
def test_a_certificate_of_the_other_type_is_bad(timeline: Timeline, which: str, wanted: CertificateType) -> None:
    verdict = verifier(timeline.town, *timeline.sources.values()).certificate(timeline.certificates[which], wanted)
    assert (verdict.outcome, verdict.finding, verdict.certificate) == (Outcome.BAD, Finding.WRONG_KIND, None)


# Sources without information


def test_ocsp_rejects_an_unregistered_caller(timeline: Timeline) -> None:
    verdict = verifier(timeline.town, ocsp_over_http(timeline.http, "wrong")).certificate(
        timeline.certificates["hanako signature"]
    )
    assert (verdict.outcome, verdict.finding) == (Outcome.INDETERMINATE, Finding.NO_INFORMATION)
    assert "unauthorized" in verdict.detail, "as RFC 6960 calls it"
    assert verdict.evidence is None
    assert verdict.certificate is not None


def test_lists_are_used_if_ocsp_has_no_information(timeline: Timeline) -> None:
    unregistered = ocsp_over_http(timeline.http, "wrong")
    checker = verifier(timeline.town, unregistered, timeline.sources["lists"], timeline.sources["full list"])
    for which, finding in (("hanako signature", Finding.REVOKED), ("hanako authentication", None)):
        verdict = checker.certificate(timeline.certificates[which])
        assert verdict.finding is finding
        assert verdict.evidence is not None
        assert verdict.evidence.source == "partition-list"


def test_the_first_source_with_a_status_decides(timeline: Timeline) -> None:
    checker = verifier(timeline.town, *(timeline.sources[name] for name in ("full list", OCSP)))
    verdict = checker.certificate(timeline.certificates["hanako signature"])
    assert verdict.evidence is not None
    assert verdict.evidence.source == "full-list"


def test_the_details_of_all_failed_sources_are_reported(timeline: Timeline, tmp_path: Path) -> None:
    sources = (ocsp_over_http(timeline.http, "wrong"), lists_in(tmp_path))
    certificate = timeline.certificates["hanako authentication"]
    verdict = verifier(timeline.town, *sources).certificate(certificate)
    assert (verdict.outcome, verdict.finding) == (Outcome.INDETERMINATE, Finding.NO_INFORMATION)
    for source in sources:
        alone = verifier(timeline.town, source).certificate(certificate)
        assert alone.detail
        assert alone.detail in verdict.detail
    assert verifier(timeline.town).certificate(timeline.certificates["hanako authentication"]).finding is (
        Finding.NO_INFORMATION
    )


CLOSED: dict[str, Callable[[int], Source]] = {
    OCSP: lambda port: ocsp_over_http(f"http://127.0.0.1:{port}", "key"),
    "lists over HTTP": lambda port: lists_over_http(f"http://127.0.0.1:{port}"),
    "full list over HTTP": lambda port: lists_over_http(f"http://127.0.0.1:{port}", full=True),
    "directory": lambda port: lists_in_directory(f"ldap://127.0.0.1:{port}"),
}


@pytest.mark.parametrize("source", CLOSED)
def test_an_unreachable_server_is_named(timeline: Timeline, source: str) -> None:
    port = free_port()
    verdict = verifier(timeline.town, CLOSED[source](port)).certificate(timeline.certificates["hanako authentication"])
    assert (verdict.outcome, verdict.finding) == (Outcome.INDETERMINATE, Finding.NO_INFORMATION)
    assert f"127.0.0.1:{port}" in verdict.detail


def test_a_server_of_another_protocol_gives_no_information(timeline: Timeline) -> None:
    ldap, http = timeline.directory.uri.replace("ldap:", "http:"), timeline.http.replace("http:", "ldap:")
    for source in (ocsp_over_http(ldap, "key"), lists_over_http(ldap), lists_in_directory(http)):
        verdict = verifier(timeline.town, source).certificate(timeline.certificates["hanako authentication"])
        assert (verdict.outcome, verdict.finding) == (Outcome.INDETERMINATE, Finding.NO_INFORMATION)


def test_a_verdict_has_no_truth_value(timeline: Timeline) -> None:
    for when in (BEFORE, NEXT_DAY):
        with pytest.raises(TypeError):
            bool(timeline.verdicts[when, OCSP, "hanako signature"])
