"""The institutions of one world, put together: who tells whom, and what happens by the clock."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from kazashi.card_management.management import CardManagement, CaseState, CaseType
from kazashi.card_management.order import Order, usual_order
from kazashi.card_management.relay import DirectRelay
from kazashi.jpki.profile import CertificateType
from kazashi.pki.authority import Authority
from kazashi.pki.publication import Publication
from kazashi.pki.revocation import Revocations
from kazashi.resident_registry.event import Channel, Renewal, event_type
from kazashi.resident_registry.juki_net import JukiNet
from kazashi.resident_registry.registry import NoSuchResident, Registry
from kazashi.resident_registry.resident import Resident
from kazashi.resident_registry.sample_residents import SAMPLE_RESIDENTS
from kazashi.world.clock import WorldClock
from kazashi.world.home import World
from kazashi.world.schedule import Job, Schedule


class Institutions:
    """The registry, Juki-Net, both authorities and the card management of a world. Each opens its store when it is
    first needed."""

    def __init__(self, world: World) -> None:
        self.world = world

    @cached_property
    def authorities(self) -> dict[CertificateType, Authority]:
        """Both authorities."""
        return {kind: Authority(self.world, kind) for kind in CertificateType}

    @cached_property
    def revocations(self) -> dict[CertificateType, Revocations]:
        """What changes the standing of their certificates."""
        return {kind: authority.revocations for kind, authority in self.authorities.items()}

    @cached_property
    def publications(self) -> dict[CertificateType, Publication]:
        """What they publish."""
        return {kind: Publication(authority) for kind, authority in self.authorities.items()}

    @cached_property
    def juki_net(self) -> JukiNet:
        """The network, with those who act on what it carries."""
        return JukiNet(
            self.world,
            {
                "authority:signature": lambda told: self.revocations[CertificateType.SIGNATURE].receive(told),
                "authority:authentication": lambda told: self.revocations[CertificateType.AUTHENTICATION].receive(told),
                "card-management": lambda told: self.cards.receive(told),
            },
        )

    @property
    def registry(self) -> Registry:
        """The municipalities' registry."""
        return self.juki_net.registry

    @cached_property
    def cards(self) -> CardManagement:
        """The card management."""
        return CardManagement(self.world, self.juki_net.j_lis.identity, self.authorities, DirectRelay(self.authorities))

    @cached_property
    def schedule(self) -> Schedule:
        """What happens by the clock."""
        registry = self.registry
        jobs = [
            Job("deadlines", registry.next_lapse, registry.lapse),
            Job("Juki-Net", self.juki_net.next_due, self.juki_net.deliver),
            Job("card management", self.cards.due, self.cards.resume),
            *(Job(f"{kind.code} lists", found.due, found.publish) for kind, found in self.publications.items()),
        ]
        return Schedule(self.world.run / "schedule.lock", jobs)

    def settle(self) -> None:
        """Do everything that is due by now."""
        self.schedule.run_due(self.world.clock.now())

    def advance(self, until: datetime, progress: Callable[[datetime], None] = lambda _: None) -> int:
        """Take the world's clock to an instant, and do on the way what is due; answers how many jobs were run."""
        clock = self.world.clock
        if not isinstance(clock, WorldClock):
            raise TypeError("only a world's own clock can be advanced")
        return self.schedule.advance(clock, until, progress)

    def resident(self, who: str) -> Resident:
        """A person of the registry; a member of the cast who is not in it yet is registered. Raises NoSuchResident."""
        try:
            return self.registry.find(who)
        except NoSuchResident:
            if who not in SAMPLE_RESIDENTS:
                raise
        registered = self.registry.add(SAMPLE_RESIDENTS[who])
        self.juki_net.deliver()
        return registered

    def issue_card(self, name: str, who: str, order: Order | None = None) -> Path:
        """Issue a card to a person of the registry or the cast; answers its image."""
        resident = self.resident(who)
        return self.cards.issue(name, order or usual_order(self.world, resident))

    def certificates(self, holder: str, mark: datetime | None = None) -> list[dict[str, Any]]:
        """The certificates of a resident record code, and how each stands; with a `mark`, also how it stood then,
        which is what OCSP tells until the next one."""
        rows = []
        for kind, authority in self.authorities.items():
            for found in authority.of_holder(holder):
                standing = self.revocations[kind].status(found.serial)
                row = {
                    "kind": kind.code, "serial": f"{found.serial:X}", "generation": found.generation,
                    "medium": found.medium.value, "state": standing.state.value,
                    "reason": standing.reason.asn1_name if standing.reason is not None else None,
                    "since": standing.since.isoformat() if standing.since else None,
                    "not_before": found.not_before.isoformat(), "not_after": found.not_after.isoformat(),
                }  # fmt: skip
                if mark is not None:
                    row["ocsp"] = self.revocations[kind].status(found.serial, mark).state.value
                rows.append(row)
        return rows

    def happen(
        self, who: str, word: str, given: dict[str, Any], day: date | None = None, channel: Channel | None = None
    ) -> dict[str, Any]:
        """Something happens to somebody, and all that follows at once; answers what became of it. `given` are the
        fields of the event of that word. Raises NoSuchResident, EventRejected, and ValueError for values that make no
        sense."""
        event = event_type(word).from_dict(given)
        after = self.registry.record(self.registry.find(who).code, event, day, channel)
        self.settle()
        waiting = self.juki_net.next_due()
        renewals = [found for found in self.cards.cases(after.code) if found.what is CaseType.RENEWAL][-1:]
        refused = [found.note for found in renewals if found.state is CaseState.REFUSED]
        return {
            "resident": after.alias or after.code, "event": event.code, "status": after.status.value,
            "waits_until": waiting.isoformat() if waiting else None,
            "refused": refused if isinstance(event, Renewal) else [],
        }  # fmt: skip
