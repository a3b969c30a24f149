"""A small population is generated twice: in bulk, and day by day through registry, card management, authorities and
services. Both ways give the same certificates and the same successful uses."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import date, datetime, timedelta
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from kazashi.assembly.institutions import Institutions
from kazashi.assembly.relying import direct_linkage
from kazashi.card.certification_request import certification_request
from kazashi.jpki.linkage import Follow
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
from kazashi.resident_registry.made_up_names import FAMILIES, GIVEN
from kazashi.resident_registry.municipality import municipality
from kazashi.resident_registry.resident import Name, Resident, Sex
from kazashi.tracking_lab.certificates import CARD, EndReason
from kazashi.tracking_lab.laboratory import Laboratory
from kazashi.tracking_lab.people import NEVER, ON_PAPER, LifeEvent
from kazashi.tracking_lab.plan import BEGINS, DAY, EPOCH, Plan
from kazashi.tracking_lab.uses import tries
from kazashi.world.clock import JST
from kazashi.world.home import open_world
from kazashi.world.key_source import SharedKeySource, generate
from kazashi.world.settings import Settings
from tests.town import clock_of

pytestmark = pytest.mark.load

LARGER = Plan(14, 9, "both ways", moves=0.2, renames=0.06, losses=0.06, phones=0.5, forgets=0.2, first_days=60,
              municipalities=4)  # fmt: skip
SMALLER = replace(LARGER, residents=7, years=6, seed="both ways 147")
"""Both have every event and every reason for which a certificate ends."""
TOWNS = ("13113", "14104", "27127", "01101")
DAWN, NOON = timedelta(hours=5), timedelta(hours=12)
_MEDIA = {CARD: Medium.CARD, 1: Medium.PHONE}


class Lived:
    """The population's events and uses, run through the services themselves."""

    def __init__(self, directory: Path, keys: SharedKeySource, people: pl.DataFrame, plan: Plan) -> None:
        self.plan = plan
        self.town = Institutions(open_world(directory, settings=Settings("both ways"), keys=keys))
        self._keys = keys
        self._stand(datetime.combine(BEGINS, datetime.min.time(), JST))
        for authority in self.town.authorities.values():  # each generation of an authority has its own key
            for year in range(plan.years + 1):
                authority.issuing(datetime(BEGINS.year + year, BEGINS.month, BEGINS.day, tzinfo=JST))
        for row in people.iter_rows(named=True):
            self.town.registry.add(_resident(row))
        self._settle()
        self.cards: dict[int, str] = {}
        self.platform = Platform(self.town.world, direct_linkage(self.town, "both-ways"))

    @cached_property
    def _verifier(self) -> Verifier:
        """The services' verifier. It needs the certificates that the authorities publish."""
        responders = {kind.code: Responder(authority) for kind, authority in self.town.authorities.items()}
        ask = Ocsp(lambda kind, request: responders[kind].answer(request).response)
        return Verifier(AnchorsInDirectory(self.town.world.publication / "ca"), [ask], self.town.world.clock)

    def run(self, events: pl.DataFrame, used: pl.DataFrame) -> list[tuple[dict[str, Any], bool, str]]:
        """Run everything in the order of time. Returns each use with whether it succeeded, and the tenant's user id."""
        steps: list[tuple[datetime, int, int, int, Callable[[], None]]] = []
        outcomes: list[tuple[dict[str, Any], bool, str]] = []
        for row in events.iter_rows(named=True):
            what, day = LifeEvent(row["word"]), BEGINS + timedelta(days=row["day"])
            at = datetime.combine(day, datetime.min.time(), JST) + (NOON if what in ON_PAPER else DAWN)
            steps.append((at, 0, row["person"], row["round"], partial(self._happen, row, what)))
            if what in ON_PAPER:
                steps.append((at + timedelta(hours=17), 0, -1, 0, lambda: None))  # the next dawn
        for row in used.iter_rows(named=True):
            at = datetime.fromtimestamp(EPOCH + row["moment"], JST)
            steps.append((at, 1, row["person"], 0, partial(self._used, row, outcomes)))
        until = datetime.combine(BEGINS + timedelta(days=self.plan.days), datetime.min.time(), JST)
        for at, is_use, _, _, act in sorted(steps, key=lambda step: step[:4]):
            if at >= until:
                break
            self._stand(at)
            act()
            if not is_use:
                self._settle()
        return outcomes

    def _used(self, row: dict[str, Any], outcomes: list[tuple[dict[str, Any], bool, str]]) -> None:
        outcomes.append((row, *self._use(row)))

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
        """Issue certificates on a phone. No office of the instance does that, so they come from the authorities."""
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
        status = self.town.revocations[kind].status(issued.serial)
        return status.reason is None and issued.not_after > self.town.world.clock.now()

    def _use(self, row: dict[str, Any]) -> tuple[bool, str]:
        """Show the person's latest certificate on card or phone to the service, which asks the authority about it."""
        kind = CertificateType.SIGNATURE if row["kind"] else CertificateType.AUTHENTICATION
        code = self.town.registry.find(f"p{row['person']}").code
        issued = [one for one in self.town.authorities[kind].of_holder(code) if one.medium is _MEDIA[row["medium"]]]
        if not issued:
            return False, ""
        verdict = self._verifier.certificate(issued[-1].certificate, kind)
        if verdict.outcome is not Outcome.GOOD or verdict.certificate is None:
            return False, ""
        return True, self.platform.identify(f"service-{row['service']}", verdict.certificate).identifier

    def _stand(self, at: datetime) -> None:
        clock_of(self.town.world).stand(at)

    def _settle(self) -> None:
        """Process everything that is due, and go to the next time on OCSP's grid, from which OCSP reports it."""
        self.town.settle()
        self._stand(self.town.world.clock.now() + GRID)


def _follow(service: int) -> Follow:
    """How far a service follows its users: every other one only on a card or phone."""
    return Follow.MEDIUM if service % 2 else Follow.PERSON


def _resident(row: dict[str, Any]) -> Resident:
    born: date = row["born"]
    family, given = FAMILIES[row["family"]], GIVEN[row["given"]]
    return Resident(
        f"p{row['person']}", "", Name(family[0], given[0], kana=f"{family[1]}　{given[1]}"),
        BirthDate(born.year, born.month, born.day), Sex(str(row["sex"])), municipality(TOWNS[row["town"]]),
        f"架空町{row['street'] + 1}番地", household=f"h{row['household']}",
    )  # fmt: skip


@pytest.fixture(scope="module", params=[SMALLER, pytest.param(LARGER, marks=pytest.mark.long)],
                ids=["smaller", "larger"])  # fmt: skip
def both(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Laboratory, pl.DataFrame, Lived, Any]:
    home = tmp_path_factory.mktemp("both")
    lab = Laboratory(home / "bulk")
    plan: Plan = request.param
    lab.populate(plan)
    people, events, certificates = (pl.read_parquet(lab.file(name)) for name in ("person", "event", "certificate"))
    tried = tries(plan, 0, certificates, people["town"].to_numpy())
    media = certificates.select("shown", "medium")
    signing = pl.read_parquet(lab.file("service")).filter(kind="signing")["service"].to_list()
    tried = tried.join(media, on="shown", how="left").with_columns(
        pl.col("medium").fill_null(CARD), kind=pl.col("service").is_in(signing)
    ).sort("moment", "person")  # fmt: skip
    lived = Lived(home / "services", SharedKeySource([generate() for _ in range(23)]), people, plan)
    for service in pl.read_parquet(lab.file("service"))["service"]:
        lived.platform.add_tenant(f"service-{service}", follow=_follow(service))
    return lab, certificates, lived, lived.run(events, tried)


def test_the_population_has_every_event_and_end_reason(both: tuple[Laboratory, pl.DataFrame, Lived, Any]) -> None:
    lab, certificates, _, outcomes = both
    assert set(pl.read_parquet(lab.file("event"))["word"]) == set(LifeEvent)
    assert set(certificates["reason"]) == set(EndReason)
    assert len(outcomes) > 250


def test_both_ways_issue_the_same_certificates(both: tuple[Laboratory, pl.DataFrame, Lived, Any]) -> None:
    _, certificates, lived, _ = both
    for kind in CertificateType:
        bulk = certificates.filter(kind=kind is CertificateType.SIGNATURE).sort("serial")
        issued = []
        for person in range(lived.plan.residents):
            code = lived.town.registry.find(f"p{person}").code
            issued += [(one.serial, person, one) for one in lived.town.authorities[kind].of_holder(code)]
        seen = [(person, one.medium, day_of(one.not_before), day_of(one.not_after), _ended(lived, kind, one))
                for _, person, one in sorted(issued, key=lambda row: row[0])]  # fmt: skip
        expected = [(row["person"], _MEDIA[row["medium"]], row["begins"], row["ends"], row["ended"])
                    for row in bulk.iter_rows(named=True)]  # fmt: skip
        assert seen == expected


def _ended(lived: Lived, kind: CertificateType, issued: Issued) -> int:
    """The first day of the plan on which a certificate is no longer good, NEVER if that is after the plan."""
    status = lived.town.revocations[kind].status(issued.serial)
    end = day_of(issued.not_after) + 1
    if status.since is not None and status.reason is not None:
        end = min(end, day_of(status.since))
    return end if end <= lived.plan.days else NEVER


def day_of(moment: datetime) -> int:
    return (moment.astimezone(JST).date() - BEGINS).days


def test_both_ways_the_same_uses_work(both: tuple[Laboratory, pl.DataFrame, Lived, Any]) -> None:
    _, _, _, outcomes = both
    differ = [(row, worked) for row, worked, _ in outcomes if worked != (row["shown"] > 0)]
    assert not differ
    assert sum(not worked for _, worked, _ in outcomes) > 10, "some attempts fail both ways"


def test_a_tenant_s_user_id_is_one_person_at_one_service(
    both: tuple[Laboratory, pl.DataFrame, Lived, Any]
) -> None:  # fmt: skip
    """The countermeasure `tenant-user-id` assumes this, over renewals, both kinds of certificate, lost cards and
    phones. At a service that follows a card or phone only, it is one chain: the next card is not a renewal."""
    _, certificates, lived, outcomes = both
    chains = {row["shown"]: (row["medium"], row["chain"]) for row in certificates.iter_rows(named=True)}
    seen: dict[str, set[tuple[int, int, tuple[int, int] | None]]] = {}
    for row, worked, identifier in outcomes:
        if worked:
            chain = chains[row["shown"]] if _follow(row["service"]) is Follow.MEDIUM else None
            seen.setdefault(identifier, set()).add((row["service"], row["person"], chain))
    assert all(len(who) == 1 for who in seen.values()), "one service, one person or chain"
    assert len(set().union(*seen.values())) == len(seen), "one id for each"
    assert DAY * lived.plan.days > max(row["moment"] for row, _, _ in outcomes)
