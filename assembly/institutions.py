"""The institutions of one world put together: who notifies whom, and the scheduled jobs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kazashi.card_management.case import CaseState, CaseType
from kazashi.card_management.drivers_licence import LicencePolice
from kazashi.card_management.free_area import MunicipalCounters
from kazashi.card_management.management import CardManagement
from kazashi.card_management.order import Order, usual_order
from kazashi.card_management.phones import PhoneOffice
from kazashi.card_management.relay import DirectRelay
from kazashi.jpki.profile import CertificateType
from kazashi.jpki.serial_number import serial_text
from kazashi.pki.authority import Authority
from kazashi.pki.certificate_database import Issued
from kazashi.pki.publication import Publication
from kazashi.pki.revocation import Revocations
from kazashi.resident_registry.event import Channel, Renewal, event_type
from kazashi.resident_registry.juki_net import JukiNet
from kazashi.resident_registry.number import ResidentRecordCode
from kazashi.resident_registry.registry import NoSuchResident, Registry
from kazashi.resident_registry.rejection import EventRejected, RejectionReason
from kazashi.resident_registry.resident import Resident
from kazashi.resident_registry.sample_residents import SAMPLE_RESIDENTS
from kazashi.world.clock import WorldClock
from kazashi.world.home import World
from kazashi.world.outbox import Receive
from kazashi.world.schedule import Job, Schedule

if TYPE_CHECKING:
    from kazashi.assembly.network_offices import NetworkOffices
    from kazashi.card_management.mdoc_issuer import MdocIssuer


class Institutions:
    """The registry, Juki-Net, both authorities, the card management and the provision network's offices of a world.

    Each opens its store when it is first needed.
    """

    def __init__(self, world: World) -> None:
        self.world = world

    @cached_property
    def authorities(self) -> dict[CertificateType, Authority]:
        """Both authorities, by certificate type."""
        return {kind: Authority(self.world, kind) for kind in CertificateType}

    @cached_property
    def revocations(self) -> dict[CertificateType, Revocations]:
        """The certificate revocations of each authority."""
        return {kind: authority.revocations for kind, authority in self.authorities.items()}

    @cached_property
    def publications(self) -> dict[CertificateType, Publication]:
        """The publications of each authority: its certificates and revocation lists."""
        return {kind: Publication(authority) for kind, authority in self.authorities.items()}

    @cached_property
    def juki_net(self) -> JukiNet:
        """Juki-Net, with the authorities, the card management and the provision network as subscribers."""

        def authority(kind: CertificateType) -> Receive:
            return lambda messages: self.revocations[kind].receive(messages)

        subscribers = {f"authority:{kind.code}": authority(kind) for kind in CertificateType}
        return JukiNet(self.world, {
            **subscribers, "card-management": lambda messages: self.cards.receive(messages),
            "addresses": lambda messages: self.offices.receive(messages),
            "provision-core": lambda messages: self.offices.core.receive(messages),
        })  # fmt: skip

    @cached_property
    def offices(self) -> NetworkOffices:
        """The offices through which the provision network hears of people."""
        # Imported here because worlds without a network do not need it.
        from kazashi.assembly.network_offices import NetworkOffices

        return NetworkOffices(self.world, self.juki_net)

    @property
    def registry(self) -> Registry:
        """The municipalities' registry."""
        return self.juki_net.registry

    @cached_property
    def cards(self) -> CardManagement:
        """The card management."""
        return CardManagement(self.world, self.juki_net.j_lis.identity, self.authorities, DirectRelay(self.authorities))

    @cached_property
    def counters(self) -> MunicipalCounters:
        """The municipalities' card counters."""
        return MunicipalCounters(self.world, self.cards, self._holder_of_card)

    @cached_property
    def police(self) -> LicencePolice:
        """The police, who write driver's licences onto cards."""
        return LicencePolice(self.world, self.cards, self._holder_of_card)

    def _holder_of_card(self, number: str) -> Resident:
        """The holder of the card with a number, which the authority has in its records of certificates."""
        issued = self.authorities[CertificateType.AUTHENTICATION].of_medium(number)
        return self.juki_net.j_lis.identity(ResidentRecordCode(issued[-1].holder))

    @cached_property
    def phones(self) -> PhoneOffice:
        """The office that issues phones' certificates."""
        return PhoneOffice(self.world, self.authorities, self.juki_net.j_lis.identity)

    @cached_property
    def mdocs(self) -> MdocIssuer:
        """The issuer of mdocs for phones."""
        # Imported here because few programs issue mdocs, and it loads CBOR and the pictures.
        from kazashi.card_management.mdoc_issuer import MdocIssuer

        return MdocIssuer(self.world, self.authorities, self.phones, self.juki_net.j_lis.identity)

    @cached_property
    def schedule(self) -> Schedule:
        """The world's scheduled jobs."""
        registry = self.registry
        jobs = [
            Job("deadlines", registry.next_lapse, registry.lapse),
            Job("Juki-Net", self.juki_net.next_due, self.juki_net.deliver),
            Job("provision network", self._network_due, lambda: self.offices.run()),
            Job("card management", self.cards.due, self.cards.resume),
            *(Job(f"{kind.code} lists", one.due, one.publish) for kind, one in self.publications.items()),
        ]
        return Schedule(self.world.run / "schedule.lock", jobs)

    def _network_due(self) -> datetime | None:
        return self.offices.due() if self.registry.has_subscribers() else None

    def settle(self) -> None:
        """Run all jobs that are due by now."""
        self.schedule.run_due(self.world.clock.now())

    def advance(self, until: datetime, progress: Callable[[datetime], None] = lambda _: None) -> int:
        """Move the world's clock to an instant, run every job that becomes due, and return how many were run."""
        clock = self.world.clock
        if not isinstance(clock, WorldClock):
            raise TypeError("only a world's own clock can be advanced")
        return self.schedule.advance(clock, until, progress)

    def resident(self, who: str) -> Resident:
        """Return a person in the registry. A sample resident is registered if necessary. Raises NoSuchResident."""
        try:
            return self.registry.find(who)
        except NoSuchResident:
            if who not in SAMPLE_RESIDENTS:
                raise
        try:
            registered = self.registry.add(SAMPLE_RESIDENTS[who])
        except EventRejected as rejected:
            if rejected.reason is not RejectionReason.ALIAS:
                raise
            registered = self.registry.find(who)  # another program has registered them since we looked
        self.juki_net.deliver()
        return registered

    def issue_card(self, name: str, who: str, order: Order | None = None) -> Path:
        """Issue a card to a person in the registry or to a sample resident, and return the path of its image."""
        resident = self.resident(who)
        return self.cards.issue(name, order or usual_order(self.world, resident))

    def certificates(self, holder: str, mark: datetime | None = None) -> list[dict[str, Any]]:
        """The certificates of a resident record code as JSON objects, with the status of each.

        With `mark`, they also have the status at that instant, which is what OCSP reports until the next such instant.
        """
        rows = []
        for kind, authority in self.authorities.items():
            for certificate in authority.of_holder(holder):
                row = self._row(kind, certificate)
                if mark is not None:
                    row["ocsp"] = self.revocations[kind].status(certificate.serial, mark).state.value
                rows.append(row)
        return rows

    def certificates_with(self, serials: Sequence[int]) -> list[dict[str, Any]]:
        """The certificates of both authorities with these serial numbers as JSON objects, with their holders: an alias,
        a resident record code, or the authority's own name for its root and its OCSP responder."""
        rows = []
        for kind, authority in self.authorities.items():
            for certificate in authority.with_serials(serials):
                try:
                    holder = self.registry.find(certificate.holder).alias or certificate.holder
                except NoSuchResident:
                    holder = certificate.holder
                rows.append({"holder": holder, **self._row(kind, certificate)})
            for own in authority.own_certificates():
                if own.serial in serials:
                    ended = self.world.clock.now() > own.not_after
                    rows.append({
                        "holder": own.owner, "kind": kind.code, "serial": serial_text(own.serial),
                        "generation": own.generation, "medium": None, "state": "expired" if ended else "good",
                        "reason": None, "since": None, "not_before": own.not_before.isoformat(),
                        "not_after": own.not_after.isoformat(),
                    })  # fmt: skip
        return rows

    def _row(self, kind: CertificateType, certificate: Issued) -> dict[str, Any]:
        status = self.revocations[kind].status(certificate.serial)
        return {
            "kind": kind.code, "serial": serial_text(certificate.serial), "generation": certificate.generation,
            "medium": certificate.medium.value, "state": status.state.value,
            "reason": status.reason.asn1_name if status.reason is not None else None,
            "since": status.since.isoformat() if status.since else None,
            "not_before": certificate.not_before.isoformat(), "not_after": certificate.not_after.isoformat(),
        }  # fmt: skip

    def happen(
        self, who: str, code: str, values: dict[str, Any], day: date | None = None, channel: Channel | None = None
    ) -> dict[str, Any]:
        """Record an event of a person, run all jobs that are then due, and return the result as a JSON object.

        `code` is the event code and `values` are the event's fields. Raises NoSuchResident, EventRejected, and
        ValueError for invalid values.
        """
        event = event_type(code).from_dict(values)
        after = self.registry.record(self.registry.find(who).code, event, day, channel)
        self.settle()
        waiting = self.juki_net.next_due()
        renewals = [case for case in self.cards.cases(after.code) if case.what is CaseType.RENEWAL][-1:]
        refused = [case.note for case in renewals if case.state is CaseState.REFUSED]
        return {
            "resident": after.alias or after.code, "event": event.code, "status": after.status.value,
            "waits_until": waiting.isoformat() if waiting else None,
            "refused": refused if isinstance(event, Renewal) else [],
        }  # fmt: skip
