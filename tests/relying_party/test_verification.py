"""Verdicts on certificates of a living town, by every source that the authorities offer."""

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
from kazashi.pki.signing_key import new_p384_key
from kazashi.relying_party.verify.anchors import Anchors, AnchorsInDirectory
from kazashi.relying_party.verify.sources import Source, lists_in, lists_in_directory, lists_over_http, ocsp_over_http
from kazashi.relying_party.verify.verdict import Finding, Outcome, Verdict
from kazashi.relying_party.verify.verification import Verifier
from kazashi.resident_registry.event import LossReport, MoveWithin
from kazashi.tools.daemon.services import Services
from kazashi.world.clock import instant_of
from kazashi.world.key_source import SharedKeySource, generate
from tests.town import AUTHENTICATION, MORNING, SIGNATURE, certificates, later, new_institutions

OCSP = "ocsp"
SOURCES = {
    OCSP: "ocsp", "lists": "partition-list", "full list": "full-list", "lists over HTTP": "partition-list",
    "full list over HTTP": "full-list", "directory": "directory",
}  # fmt: skip
"""Every source, and what its evidence is called."""

DIRECTORY_AND_LISTS = [name for name in SOURCES if name != OCSP]
EVERYBODYS = ("full list", "full list over HTTP")

LONG_AGO = instant_of("2023-07-20")
"""When the generation before the present one issued."""

BEFORE, MARK, NEXT_DAY = "before the move", "at the next mark", "on the next day"


def verifier(town: Institutions, *sources: Source) -> Verifier:
    return Verifier(AnchorsInDirectory(town.world.publication / "ca"), sources, town.world.clock)


@dataclass
class Scene:
    """A town on line: six certificates, every source, and what each said of each as time went on."""

    town: Institutions
    services: Services
    directory: Directory
    sources: dict[str, Source]
    certificates: dict[str, bytes]
    moved: datetime = MORNING
    at: dict[str, datetime] = field(default_factory=dict)
    said: dict[tuple[str, str, str], Verdict] = field(default_factory=dict)

    @property
    def http(self) -> str:
        return str(self.services.status["http"])

    def ask(self, stage: str) -> None:
        """Ask every source about every certificate."""
        self.directory.load(self.town.publications.values())
        self.at[stage] = self.town.world.clock.now()
        for name, source in self.sources.items():
            asking = verifier(self.town, source)
            for which, certificate in self.certificates.items():
                self.said[stage, name, which] = asking.certificate(certificate)


REVOKED = {
    "hanako signature": (Finding.REVOKED, Reason.AFFILIATION_CHANGED),
    "leap-day signature": (Finding.HELD, Reason.CERTIFICATE_HOLD),
    "leap-day authentication": (Finding.HELD, Reason.CERTIFICATE_HOLD),
    "older generation": (Finding.REVOKED, Reason.SUPERSEDED),
    "next card": (Finding.REVOKED, Reason.KEY_COMPROMISE),
}
"""What becomes of the certificates; that of hanako's authentication key stays good."""


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    keys = SharedKeySource([generate() for _ in range(9)])
    town = new_institutions(tmp_path_factory.mktemp("verification") / "w", keys)
    for authority in town.authorities.values():  # each with a key that nobody else has
        authority.issuing()
        authority.issuing(LONG_AGO)
    found = {}
    for alias in ("hanako", "leap-day"):
        town.issue_card(alias, alias)
        for kind in (SIGNATURE, AUTHENTICATION):
            (issued,) = certificates(town, alias, kind)
            found[f"{alias} {kind.code}"] = issued.certificate
    old = CertificateRequest(town.resident("hanako"), certification_request(keys.take()), LONG_AGO,
                  MORNING + timedelta(days=400), Medium.PHONE, "phone")  # fmt: skip
    found["older generation"] = town.authorities[AUTHENTICATION].issue(old)
    new = CertificateRequest(town.resident("hanako"), certification_request(new_p384_key()), MORNING,
                  MORNING + timedelta(days=3600), medium_id="next")  # fmt: skip
    found["next card"] = town.authorities[SIGNATURE].issue(new, NEXT)
    town.settle()
    services, directory = Services(town.world), None
    try:
        directory = Directory(town.world, free_port([services.port]))
        directory.start(town.publications.values())
        http, publication = str(services.status["http"]), town.world.publication
        yield tell(Scene(town, services, directory, {
            OCSP: ocsp_over_http(http, Callers(town.world).register("library")), "lists": lists_in(publication),
            "full list": lists_in(publication, full=True), "lists over HTTP": lists_over_http(http),
            "full list over HTTP": lists_over_http(http, full=True), "directory": lists_in_directory(directory.uri),
        }, found))  # fmt: skip
    finally:
        services.stop()
        if directory is not None:
            directory.stop()
        town.world.close()


def tell(scene: Scene) -> Scene:
    """A minute passes, hanako moves and the others' certificates fare worse; a quarter of an hour, and a day."""
    town = scene.town
    later(town, minutes=1)
    scene.ask(BEFORE)
    later(town, minutes=1)
    scene.moved = town.world.clock.now()
    town.registry.record("hanako", MoveWithin("架空町１丁目１番１号"))
    town.registry.record("leap-day", LossReport())
    revoke(scene, "older generation", Reason.SUPERSEDED)
    revoke(scene, "next card", Reason.KEY_COMPROMISE)
    town.settle()
    later(town, minutes=13)
    scene.ask(MARK)
    later(town, days=1)
    scene.ask(NEXT_DAY)
    return scene


def revoke(scene: Scene, which: str, reason: Reason) -> None:
    read = verifier(scene.town).read(scene.certificates[which])
    scene.town.revocations[read.kind].revoke(read.serial, reason)


# As time goes on


@pytest.mark.parametrize("source", SOURCES)
def test_every_source_says_good_of_all_before_anything_happens(scene: Scene, source: str) -> None:
    for which in scene.certificates:
        verdict = scene.said[BEFORE, source, which]
        assert (verdict.outcome, verdict.finding, verdict.detail) == (Outcome.GOOD, None, ""), which
        assert (verdict.reason, verdict.since) == (None, None)
        assert verdict.evidence is not None
        assert verdict.evidence.source == SOURCES[source]


@pytest.mark.parametrize("which", REVOKED)
def test_ocsp_knows_at_the_next_mark_and_the_lists_on_the_next_day(scene: Scene, which: str) -> None:
    finding, reason = REVOKED[which]
    verdict = scene.said[MARK, OCSP, which]
    assert (verdict.outcome, verdict.finding, verdict.reason) == (Outcome.BAD, finding, reason)
    for source in DIRECTORY_AND_LISTS:
        assert scene.said[MARK, source, which].outcome is Outcome.GOOD, source
        verdict = scene.said[NEXT_DAY, source, which]
        assert (verdict.outcome, verdict.finding, verdict.reason) == (Outcome.BAD, finding, reason), source


@pytest.mark.parametrize("source", SOURCES)
def test_a_move_leaves_the_authentication_certificate_good(scene: Scene, source: str) -> None:
    for stage in (BEFORE, MARK, NEXT_DAY):
        assert scene.said[stage, source, "hanako authentication"].outcome is Outcome.GOOD


@pytest.mark.parametrize("source", SOURCES)
def test_a_verdict_says_why_since_when_by_what_and_how_old_that_was(scene: Scene, source: str) -> None:
    verdict = scene.said[NEXT_DAY, source, "hanako signature"]
    assert verdict.at == scene.at[NEXT_DAY]
    assert verdict.since == scene.moved
    assert verdict.reason is Reason.AFFILIATION_CHANGED
    assert verdict.evidence is not None
    produced = scene.at[NEXT_DAY] if source == OCSP else instant_of("2026-11-25T00:30+09:00")
    holds = GRID if source == OCSP else timedelta(hours=48)
    assert (verdict.evidence.source, verdict.evidence.produced) == (SOURCES[source], produced)
    assert verdict.evidence.until == produced + holds
    assert verdict.age == scene.at[NEXT_DAY] - produced
    told = json.loads(json.dumps(verdict.as_dict()))
    assert (told["outcome"], told["finding"], told["reason"]) == ("bad", "revoked", "affiliationChanged")
    assert told["source_age_seconds"] == int(verdict.age.total_seconds())
    assert told["certificate"]["municipality"] == "Tokyo-to/Shibuya-ku"
    assert told["certificate"]["attributes"]["address"] == "東京都渋谷区架空町９丁目９９番９９号", (
        "as on the day of issue"
    )


@pytest.mark.parametrize("source", SOURCES)
def test_as_of_before_the_move_the_certificate_stays_good(scene: Scene, source: str) -> None:
    asking = verifier(scene.town, scene.sources[source])
    second = timedelta(seconds=1)
    for at in (scene.at[BEFORE], scene.moved - second):
        verdict = asking.certificate(scene.certificates["hanako signature"], SIGNATURE, at)
        assert (verdict.outcome, verdict.finding, verdict.at) == (Outcome.GOOD, None, at)
        assert (verdict.since, verdict.reason) == (scene.moved, Reason.AFFILIATION_CHANGED)
        assert verdict.age == timedelta()
    for at in (scene.moved, scene.moved + second):
        verdict = asking.certificate(scene.certificates["hanako signature"], SIGNATURE, at)
        assert (verdict.outcome, verdict.finding) == (Outcome.BAD, Finding.REVOKED)


@pytest.mark.parametrize("source", SOURCES)
def test_no_source_tells_of_a_time_beyond_what_it_holds_for(scene: Scene, source: str) -> None:
    asking = verifier(scene.town, scene.sources[source])
    verdict = asking.certificate(scene.certificates["hanako authentication"], at=scene.at[NEXT_DAY] + timedelta(days=3))
    assert (verdict.outcome, verdict.finding) == (Outcome.INDETERMINATE, Finding.STALE_INFORMATION)


def test_generations_are_told_apart_by_their_keys(scene: Scene) -> None:
    asking = verifier(scene.town)
    read = {which: asking.read(certificate) for which, certificate in scene.certificates.items()}
    generation = {which: asking.issuer(found, MORNING).generation for which, found in read.items()}
    assert generation == {"older generation": "02", "next card": "next"} | {
        f"{alias} {kind.code}": "03" for alias in ("hanako", "leap-day") for kind in (SIGNATURE, AUTHENTICATION)
    }
    assert len({anchor.name for anchor in asking.anchors.of_kind(AUTHENTICATION)}) == 1
    fewer = [anchor for kind in CertificateType for anchor in asking.anchors.of_kind(kind) if anchor.generation != "02"]
    without = Verifier(Anchors(fewer), [], scene.town.world.clock)
    assert without.certificate(scene.certificates["older generation"]).finding is Finding.WRONG_AUTHORITY


@pytest.mark.parametrize(("which", "wanted"), [("hanako signature", AUTHENTICATION), ("next card", AUTHENTICATION),
                                               ("hanako authentication", SIGNATURE)])  # fmt: skip
def test_a_certificate_of_the_other_kind_is_refused(scene: Scene, which: str, wanted: CertificateType) -> None:
    verdict = verifier(scene.town, *scene.sources.values()).certificate(scene.certificates[which], wanted)
    assert (verdict.outcome, verdict.finding, verdict.certificate) == (Outcome.BAD, Finding.WRONG_KIND, None)


# Sources that do not know


def test_a_stranger_is_told_nothing_by_ocsp(scene: Scene) -> None:
    verdict = verifier(scene.town, ocsp_over_http(scene.http, "wrong")).certificate(
        scene.certificates["hanako signature"]
    )
    assert (verdict.outcome, verdict.finding) == (Outcome.INDETERMINATE, Finding.NO_INFORMATION)
    assert "unauthorized" in verdict.detail, "as RFC 6960 calls it"
    assert verdict.evidence is None
    assert verdict.certificate is not None


def test_where_ocsp_does_not_know_the_lists_may(scene: Scene) -> None:
    stranger = ocsp_over_http(scene.http, "wrong")
    asking = verifier(scene.town, stranger, scene.sources["lists"], scene.sources["full list"])
    for which, finding in (("hanako signature", Finding.REVOKED), ("hanako authentication", None)):
        verdict = asking.certificate(scene.certificates[which])
        assert verdict.finding is finding
        assert verdict.evidence is not None
        assert verdict.evidence.source == "partition-list"


def test_the_first_source_that_knows_decides(scene: Scene) -> None:
    asking = verifier(scene.town, *(scene.sources[name] for name in ("full list", OCSP)))
    verdict = asking.certificate(scene.certificates["hanako signature"])
    assert verdict.evidence is not None
    assert verdict.evidence.source == "full-list"


def test_where_no_source_knows_all_that_they_said_is_told(scene: Scene, tmp_path: Path) -> None:
    sources = (ocsp_over_http(scene.http, "wrong"), lists_in(tmp_path))
    certificate = scene.certificates["hanako authentication"]
    verdict = verifier(scene.town, *sources).certificate(certificate)
    assert (verdict.outcome, verdict.finding) == (Outcome.INDETERMINATE, Finding.NO_INFORMATION)
    for source in sources:
        alone = verifier(scene.town, source).certificate(certificate)
        assert alone.detail
        assert alone.detail in verdict.detail
    assert verifier(scene.town).certificate(scene.certificates["hanako authentication"]).finding is (
        Finding.NO_INFORMATION
    )


CLOSED: dict[str, Callable[[int], Source]] = {
    OCSP: lambda port: ocsp_over_http(f"http://127.0.0.1:{port}", "key"),
    "lists over HTTP": lambda port: lists_over_http(f"http://127.0.0.1:{port}"),
    "full list over HTTP": lambda port: lists_over_http(f"http://127.0.0.1:{port}", full=True),
    "directory": lambda port: lists_in_directory(f"ldap://127.0.0.1:{port}"),
}


@pytest.mark.parametrize("source", CLOSED)
def test_a_server_that_is_not_there_is_named(scene: Scene, source: str) -> None:
    port = free_port()
    verdict = verifier(scene.town, CLOSED[source](port)).certificate(scene.certificates["hanako authentication"])
    assert (verdict.outcome, verdict.finding) == (Outcome.INDETERMINATE, Finding.NO_INFORMATION)
    assert f"127.0.0.1:{port}" in verdict.detail


def test_a_server_that_speaks_of_something_else_knows_nothing(scene: Scene) -> None:
    ldap, http = scene.directory.uri.replace("ldap:", "http:"), scene.http.replace("http:", "ldap:")
    for source in (ocsp_over_http(ldap, "key"), lists_over_http(ldap), lists_in_directory(http)):
        verdict = verifier(scene.town, source).certificate(scene.certificates["hanako authentication"])
        assert (verdict.outcome, verdict.finding) == (Outcome.INDETERMINATE, Finding.NO_INFORMATION)


def test_a_verdict_is_no_truth_value(scene: Scene) -> None:
    for stage in (BEFORE, NEXT_DAY):
        with pytest.raises(TypeError):
            bool(scene.said[stage, OCSP, "hanako signature"])
