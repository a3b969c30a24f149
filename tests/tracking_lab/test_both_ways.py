"""A small population lives twice: in bulk, and day by day through registry, card management, authorities and services.
Both ways it gets the same certificates, and the same uses work."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime, timedelta
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from kazashi.assembly.institutions import Institutions
from kazashi.assembly.relying import direct_linkage
from kazashi.card.certification_request import certification_request
from kazashi.jpki.profile import CertificateType, Medium
from kazashi.pki.certificate import CertificateRequest
from kazashi.pki.certificate_database import Issued
from kazashi.pki.responder import GRID, Responder
from kazashi.relying_party.platform.platform import Platform
from kazashi.relying_party.verify.anchors import AnchorsInDirectory
from kazashi.relying_party.verify.sources import Ocsp
from kazashi.relying_party.verify.verdict import Outcome
from kazashi.relying_party.verify.verification import Verifier
from kazashi.resident_registry.birth_date import BirthDate
from kazashi.resident_registry.event import CardReturn, Death, MoveIn, MoveOut, MoveWithin, NameChange, Theft
from kazashi.resident_registry.municipality import municipality
from kazashi.resident_registry.resident import Name, Resident, Sex
from kazashi.tracking_lab.certificates import CARD, EndReason
from kazashi.tracking_lab.laboratory import Laboratory
from kazashi.tracking_lab.names import FAMILIES, GIVEN
from kazashi.tracking_lab.people import NEVER, ON_PAPER, LifeEvent
from kazashi.tracking_lab.plan import BEGINS, DAY, EPOCH, Plan
from kazashi.tracking_lab.uses import tries
from kazashi.world.clock import JST
from kazashi.world.home import open_world
from kazashi.world.key_source import SharedKeySource, generate
from kazashi.world.settings import Settings
from tests.town import clock_of

pytestmark = pytest.mark.load

PLAN = Plan(14, 9, "both ways", moves=0.2, renames=0.06, losses=0.06, phones=0.5, forgets=0.2, first_days=60,
            municipalities=4)  # fmt: skip
TOWNS = ("13113", "14104", "27127", "01101")
DAWN, NOON = timedelta(hours=5), timedelta(hours=12)
_MEDIA = {CARD: Medium.CARD, 1: Medium.PHONE}


class Lived:
    """The population's script, acted out with the services themselves."""

    def __init__(self, directory: Path, keys: SharedKeySource, people: pl.DataFrame) -> None:
        self.town = Institutions(open_world(directory, settings=Settings("both ways"), keys=keys))
        self._keys = keys
        self._stand(datetime.combine(BEGINS, datetime.min.time(), JST))
        for authority in self.town.authorities.values():  # each generation with a key that no other one has
            for year in range(PLAN.years + 1):
                authority.issuing(datetime(BEGINS.year + year, BEGINS.month, BEGINS.day, tzinfo=JST))
        for row in people.iter_rows(named=True):
            self.town.registry.add(_resident(row))
        self._settle()
        self.cards: dict[int, str] = {}
        self.platform = Platform(self.town.world, direct_linkage(self.town, "both-ways"))

    @cached_property
    def _verifier(self) -> Verifier:
        """What services check certificates with; to be had once the authorities have published their own."""
        responders = {kind.code: Responder(authority) for kind, authority in self.town.authorities.items()}
        ask = Ocsp(lambda kind, request: responders[kind].answer(request).response)
        return Verifier(AnchorsInDirectory(self.town.world.publication / "ca"), [ask], self.town.world.clock)

    def run(self, events: pl.DataFrame, used: pl.DataFrame) -> list[tuple[dict[str, Any], bool, str]]:
        """Everything in the order of time; answers of each use whether it worked, and the tenant's user id."""
        steps: list[tuple[datetime, int, int, int, Callable[[], None]]] = []
        answers: list[tuple[dict[str, Any], bool, str]] = []
        for row in events.iter_rows(named=True):
            what, day = LifeEvent(row["word"]), BEGINS + timedelta(days=row["day"])
            at = datetime.combine(day, datetime.min.time(), JST) + (NOON if what in ON_PAPER else DAWN)
            steps.append((at, 0, row["person"], row["round"], partial(self._happen, row, what)))
            if what in ON_PAPER:
                steps.append((at + timedelta(hours=17), 0, -1, 0, lambda: None))  # the next dawn
        for row in used.iter_rows(named=True):
            at = datetime.fromtimestamp(EPOCH + row["moment"], JST)
            steps.append((at, 1, row["person"], 0, partial(self._used, row, answers)))
        until = datetime.combine(BEGINS + timedelta(days=PLAN.days), datetime.min.time(), JST)
        for at, is_use, _, _, act in sorted(steps, key=lambda step: step[:4]):
            if at >= until:
                break
            self._stand(at)
            act()
            if not is_use:
                self._settle()
        return answers

    def _used(self, row: dict[str, Any], answers: list[tuple[dict[str, Any], bool, str]]) -> None:
        answers.append((row, *self._use(row)))

    def _happen(self, row: dict[str, Any], what: LifeEvent) -> None:
        who, registry, today = f"p{row['person']}", self.town.registry, self.town.world.clock.now().astimezone(JST)
        if what in (LifeEvent.MOVE_WITHIN, LifeEvent.MOVE_IN):
            street = f"架空町{row['street'] + 1}番地"
            if what is LifeEvent.MOVE_IN:
                to = TOWNS[row["town"]]
                registry.record(who, MoveOut(to, today.date()))
                registry.record(who, MoveIn(to, street))
            else:
                registry.record(who, MoveWithin(street))
        elif what is LifeEvent.NAME_CHANGE:
            registry.record(who, NameChange(family=FAMILIES[row["family"]][0]))
        elif what is LifeEvent.THEFT:
            registry.record(who, Theft())
        elif what is LifeEvent.DEATH:
            registry.record(who, Death())
        elif what is LifeEvent.RETURN:
            registry.record(who, CardReturn())
        elif what is LifeEvent.ISSUE:
            number = len([name for name in self.cards.values() if name.startswith(f"{who}-")])
            self.cards[row["person"]] = f"{who}-{number}-{today:%Y%m%d}"
            self.town.issue_card(self.cards[row["person"]], who)
        elif what is LifeEvent.RENEWAL:
            assert self.town.cards.renew(self.cards[row["person"]])
        else:
            self._to_phone(row["person"], who)

    def _to_phone(self, person: int, who: str) -> None:
        """Certificates on a phone, which no desk of the bench hands out: asked of the authorities themselves."""
        resident, now = self.town.registry.find(who), self.town.world.clock.now()
        phone = f"phone beside {self.cards[person]}"
        for kind, authority in self.town.authorities.items():
            card = [one for one in authority.of_holder(resident.code) if one.medium is Medium.CARD][-1]
            mine = [one for one in authority.of_medium(phone) if self._is_good(kind, one)]
            if not mine:
                former = authority.of_medium(phone)
                authority.issue(CertificateRequest(
                    resident, certification_request(self._keys.take()), now, card.not_after, Medium.PHONE, phone,
                    former[-1].serial if former else None, identifier=f"{phone} {kind.code} {len(former)}",
                ))  # fmt: skip

    def _is_good(self, kind: CertificateType, issued: Issued) -> bool:
        standing = self.town.revocations[kind].status(issued.serial)
        return standing.reason is None and issued.not_after > self.town.world.clock.now()

    def _use(self, row: dict[str, Any]) -> tuple[bool, str]:
        """The person shows the latest certificate on card or phone, and the service asks the authority about it."""
        kind = CertificateType.SIGNATURE if row["kind"] else CertificateType.AUTHENTICATION
        code = self.town.registry.find(f"p{row['person']}").code
        held = [one for one in self.town.authorities[kind].of_holder(code) if one.medium is _MEDIA[row["medium"]]]
        if not held:
            return False, ""
        verdict = self._verifier.certificate(held[-1].certificate, kind)
        if verdict.outcome is not Outcome.GOOD or verdict.certificate is None:
            return False, ""
        return True, self.platform.identify(f"service-{row['service']}", verdict.certificate).identifier

    def _stand(self, at: datetime) -> None:
        clock_of(self.town.world).stand(at)

    def _settle(self) -> None:
        """What is due is done; OCSP tells of it from its next mark."""
        self.town.settle()
        self._stand(self.town.world.clock.now() + GRID)


def _resident(row: dict[str, Any]) -> Resident:
    born: date = row["born"]
    family, given = FAMILIES[row["family"]], GIVEN[row["given"]]
    return Resident(
        f"p{row['person']}", "", Name(family[0], given[0], kana=f"{family[1]}　{given[1]}"),
        BirthDate(born.year, born.month, born.day), Sex(str(row["sex"])), municipality(TOWNS[row["town"]]),
        f"架空町{row['street'] + 1}番地", household=f"h{row['household']}",
    )  # fmt: skip


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> tuple[Laboratory, pl.DataFrame, Lived, Any]:
    home = tmp_path_factory.mktemp("both")
    lab = Laboratory(home / "bulk")
    lab.populate(PLAN)
    people, events, certificates = (pl.read_parquet(lab.file(name)) for name in ("person", "event", "certificate"))
    tried = tries(PLAN, 0, certificates, people["town"].to_numpy())
    media = certificates.select("shown", "medium")
    signing = pl.read_parquet(lab.file("service")).filter(kind="signing")["service"].to_list()
    tried = tried.join(media, on="shown", how="left").with_columns(
        pl.col("medium").fill_null(CARD), kind=pl.col("service").is_in(signing)
    ).sort("moment", "person")  # fmt: skip
    lived = Lived(home / "services", SharedKeySource([generate() for _ in range(23)]), people)
    for service in pl.read_parquet(lab.file("service"))["service"]:
        lived.platform.add_tenant(f"service-{service}")
    return lab, certificates, lived, lived.run(events, tried)


def test_the_script_has_everything_in_it(both: tuple[Laboratory, pl.DataFrame, Lived, Any]) -> None:
    lab, certificates, _, answers = both
    assert set(pl.read_parquet(lab.file("event"))["word"]) == set(LifeEvent)
    assert set(certificates["reason"]) == set(EndReason)
    assert len(answers) > 1_000


def test_both_ways_issue_the_same_certificates(both: tuple[Laboratory, pl.DataFrame, Lived, Any]) -> None:
    _, certificates, lived, _ = both
    for kind in CertificateType:
        bulk = certificates.filter(kind=kind is CertificateType.SIGNATURE).sort("serial")
        issued = []
        for person in range(PLAN.residents):
            code = lived.town.registry.find(f"p{person}").code
            issued += [(one.serial, person, one) for one in lived.town.authorities[kind].of_holder(code)]
        seen = [(person, one.medium, day_of(one.not_before), day_of(one.not_after), _ended(lived, kind, one))
                for _, person, one in sorted(issued, key=lambda row: row[0])]  # fmt: skip
        expected = [(row["person"], _MEDIA[row["medium"]], row["begins"], row["ends"], row["ended"])
                    for row in bulk.iter_rows(named=True)]  # fmt: skip
        assert seen == expected


def _ended(lived: Lived, kind: CertificateType, issued: Issued) -> int:
    """The first day of the plan on which a certificate is not good any more, NEVER if that is not seen."""
    standing = lived.town.revocations[kind].status(issued.serial)
    end = day_of(issued.not_after) + 1
    if standing.since is not None and standing.reason is not None:
        end = min(end, day_of(standing.since))
    return end if end <= PLAN.days else NEVER


def day_of(moment: datetime) -> int:
    return (moment.astimezone(JST).date() - BEGINS).days


def test_both_ways_the_same_uses_work(both: tuple[Laboratory, pl.DataFrame, Lived, Any]) -> None:
    _, _, _, answers = both
    differ = [(row, worked) for row, worked, _ in answers if worked != (row["shown"] > 0)]
    assert not differ
    assert sum(not worked for _, worked, _ in answers) > 10, "some tries fail either way"


def test_a_tenant_s_user_id_is_the_person_at_that_service(
    both: tuple[Laboratory, pl.DataFrame, Lived, Any]
) -> None:  # fmt: skip
    """What the countermeasure of that name takes for granted, over renewals and both kinds of certificate, until a card
    is lost or ends: its successor is no renewal, and nothing ties the two."""
    _, certificates, _, answers = both
    chains = {row["shown"]: (row["medium"], row["chain"]) for row in certificates.iter_rows(named=True)}
    seen: dict[str, set[tuple[int, int, tuple[int, int]]]] = {}
    for row, worked, identifier in answers:
        if worked:
            seen.setdefault(identifier, set()).add((row["service"], row["person"], chains[row["shown"]]))
    assert all(len(who) == 1 for who in seen.values()), "one service, one person, one chain"
    assert len(set().union(*seen.values())) == len(seen), "and one id to each"
    assert DAY * PLAN.days > max(row["moment"] for row, _, _ in answers)
