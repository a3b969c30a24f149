"""The first matching of a body on one world's network: files of records, ties and codes, the work list, and ties that
are wrong.

The attributes come from J-LIS, and the ties stay at the body. Codes come from the core by way of J-LIS, which hears of
the ties in messages: whatever is interrupted goes on with the next command of the body's matching.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from kazashi.assembly.network import Network
from kazashi.provision_network.codes import InstitutionCode
from kazashi.provision_network.match_file import MatchFile, MatchFileRejected, digest_of, read
from kazashi.provision_network.match_register import (
    HolderReport,
    MatchRegister,
    NewTie,
    RegisteredRecord,
    Report,
    as_match_record,
)
from kazashi.provision_network.match_trail import PROGRAM, MatchState, TrailEntry, TrailStep
from kazashi.provision_network.matching import Attributes, Matched, attributes_of, match
from kazashi.provision_network.terms import J_LIS, NetworkRejected, ProvisionRecord, RequestOutcome, text_of
from kazashi.provision_network.tie_checks import (
    Answered,
    RegistryNow,
    Suspicion,
    TieEvidence,
    agreed_attributes,
    suspicions,
)
from kazashi.resident_registry.juki_net import ProvidedIdentity
from kazashi.resident_registry.number import IndividualNumber
from kazashi.resident_registry.resident import Resident
from kazashi.world.clock import JST
from kazashi.world.process_lock import exclusive


@dataclass(frozen=True, slots=True)
class MatchRun:
    """The result of a matching: how many records were compared and tied, by which rule, how many are on the work list
    now, and how many of the tied people have a code."""

    compared: int
    tied: int
    by_rule: Mapping[str, int]
    work_list: int
    codes: int


@dataclass(frozen=True, slots=True)
class OpenRecord:
    """A record on the work list, and the people that may be meant."""

    record: RegisteredRecord
    candidates: tuple[ProvidedIdentity, ...]


@dataclass(frozen=True, slots=True)
class Suspected:
    """A suspicion against a tie. `tied` and `noticed` are when the record was tied, and when a check first found the
    signal; `uses` counts the exchanges about the person in between."""

    number: str
    address_number: str
    suspicion: Suspicion
    tied: datetime
    noticed: datetime
    uses: int


@dataclass(frozen=True, slots=True)
class Undone:
    """A tie that was removed: what the body had received about the person, what it had provided about them, and the
    number of copies that are deleted."""

    number: str
    received: tuple[ProvisionRecord, ...]
    provided: tuple[ProvisionRecord, ...]
    copies: int


class NetworkMatching:
    """The first matching of one body. Raises NetworkRejected if it is not on the network, or hears of its people from
    the registry."""

    def __init__(self, network: Network, body: str) -> None:
        self.network = self._network = network
        self._offices = network.institutions.offices
        self._j_lis = network.institutions.juki_net.j_lis
        self._member = network.member(body)
        if body in self._offices.bodies():
            words = f"{body} hears of its people from the registry, and has no records to match"
            raise NetworkRejected("no-matching", words)
        self._hub = network.linkage(body)
        self._addresses = self._hub.addresses
        self._server = network.interface_of(body).server(body)
        self.register = MatchRegister(self._addresses, network.world.clock)

    # Matching

    def run(self, content: bytes | None, who: str) -> MatchRun:
        """Take a file of records, if one is given, and match everything that is on the work list, but for records whose
        tie was undone: about those people decide.

        The file and the ties are stored together, or nothing is. A file that was taken before only goes on with what
        was interrupted. Raises MatchFileRejected, after the refusal was recorded, and NetworkRejected if the body may
        not use the network.
        """
        self._member.check(self._network.now())
        with self._alone():
            return self._run(content, who)

    def _run(self, content: bytes | None, who: str) -> MatchRun:
        file = None if content is None else self._file(content, who)
        waiting = [as_match_record(one) for one in self.register.records([MatchState.OPEN])]
        records = [*waiting, *(file.records if file is not None else ())]
        people = self._people()
        matched = match(records, people, self._tied()).without(self._undone())
        written = {one.number: one.attributes for one in records}
        ties = [
            NewTie(number, IndividualNumber(person), matched.rules[number],
                   agreed_attributes(written[number], people[person]))
            for number, person in matched.pairs.items()
        ]  # fmt: skip
        self.register.apply(file, ties, PROGRAM, who)
        self._carry_on()
        return self._summary(len(records), matched)

    def _file(self, content: bytes, who: str) -> MatchFile | None:
        """Return a file, or None if it was taken before."""
        digest = digest_of(content)
        if self.register.is_taken(digest):
            return None
        try:
            file = read(content, self.register.body)
            self.register.check_new(file)
        except MatchFileRejected as rejected:
            self.register.refuse(digest, rejected.rule, who)
            raise
        return file

    def _people(self) -> dict[str, Attributes]:
        """The attributes of everybody who is alive, by individual number, as J-LIS provides them."""
        provided = self._j_lis.provide(self.register.body)
        return {str(one.resident.individual_number): attributes_of(one.resident) for one in provided}

    def _tied(self) -> list[str]:
        """The individual numbers of the people to whom a record is tied."""
        numbers = {address: number for number, address in self._addresses.by_number().items()}
        tied = (one.tie for one in self.register.records([MatchState.TIED, MatchState.UNDOING]))
        return [numbers[tie.address_number] for tie in tied if tie is not None and tie.address_number in numbers]

    def _undone(self) -> set[str]:
        return {one.number for one in self.register.trail() if one.step is TrailStep.UNDONE}

    def _summary(self, compared: int, matched: Matched) -> MatchRun:
        by_rule: dict[str, int] = {}
        for rule in matched.rules.values():
            by_rule[rule] = by_rule.get(rule, 0) + 1
        tied = self.register.records([MatchState.TIED])
        addresses = {one.tie.address_number for one in tied if one.tie is not None}
        codes = len(addresses) - len(self._server.without_code(addresses))
        return MatchRun(compared, len(matched.pairs), by_rule, len(self.register.records([MatchState.OPEN])), codes)

    # What follows

    def carry_on(self) -> None:
        """Deliver everything that follows from the ties, ask again for codes that have not come, and complete the
        removals of ties that were interrupted."""
        with self._alone():
            self._carry_on()

    def _alone(self) -> AbstractContextManager[None]:
        """A context in which no other process decides about ties in this world."""
        return exclusive(self._network.world.run / "network-matching.lock")

    def _carry_on(self) -> None:
        self._deliver()
        for record, decision in self.register.undoing():
            self._complete(record, decision)
        numbers = {address: number for number, address in self._addresses.by_number().items()}
        tied = {one.tie.address_number for one in self.register.records([MatchState.TIED]) if one.tie is not None}
        if lacking := [address for address in self._server.without_code(tied) if address in numbers]:
            self.register.ask_again({numbers[address]: address for address in lacking})
            self._deliver()

    def _deliver(self) -> None:
        addresses, now = self._addresses, self._network.now
        addresses.outbox.deliver(addresses.store, now(), {J_LIS: self._j_lis.receive})
        self._network.institutions.juki_net.deliver()
        self._network.carry()

    # The work list

    def work_list(self) -> list[OpenRecord]:
        """Return the records on the work list, each with the people that may be meant."""
        waiting = self.register.records([MatchState.OPEN])
        people = self._people()
        matched = match([as_match_record(one) for one in waiting], people, self._tied())
        some = sorted(
            {number for found in matched.work_list.values() for number in found} | set(matched.pairs.values())
        )
        provided = {str(one.resident.individual_number): one for one in self._j_lis.provide(self.register.body, some)}
        found = {**matched.work_list, **{number: (person,) for number, person in matched.pairs.items()}}
        return [OpenRecord(one, tuple(provided[person] for person in found[one.number])) for one in waiting]

    def tie(self, number: str, person: Resident, who: str, why: str) -> None:
        """Tie a record on the work list to a person whom somebody has chosen, and get a code. Raises
        NetworkRejected."""
        self._member.check(self._network.now())
        if person.individual_number is None:
            raise NetworkRejected("no-number", f"{person.alias or person.code} has no individual number yet")
        record, reason = self.register.record(number), _reason(why)
        agreed = agreed_attributes(record.attributes, attributes_of(person))
        with self._alone():
            self.register.tie(NewTie(number, person.individual_number, reason, agreed), who)
            self._carry_on()

    def leave(self, number: str, who: str, why: str) -> None:
        """Decide that a record belongs to nobody in the registry. Raises NetworkRejected."""
        self.register.leave(number, who, _reason(why))

    def reopen(self, number: str, who: str, why: str) -> None:
        """Put a record that was left back on the work list. Raises NetworkRejected."""
        self.register.reopen(number, who, _reason(why))

    # Wrong ties

    def report(self, number: str, kind: HolderReport, day: date, address: str = "") -> None:
        """Register what the holder of a record has told the body. Raises NetworkRejected."""
        if (kind is HolderReport.ADDRESS) != bool(address):
            raise NetworkRejected("bad-request", "a report of an address, and no other, needs the address")
        self.register.report(Report(number, kind, day, _text(address, "the address") if address else ""))

    def check(self) -> list[Suspected]:
        """Return the suspicions against the ties, and note in the trail those that are new."""
        now = self._network.now()
        tied = self.register.records([MatchState.TIED])
        exchanges = self._exchanges(tied)
        evidence = self._evidence(tied, exchanges)
        noted = self._noted(tied)
        fresh: list[TrailEntry] = []
        found: list[Suspected] = []
        for record in tied:
            assert record.tie is not None
            for one in suspicions(evidence[record.number], now.astimezone(JST).date()):
                noticed = noted.get((record.number, one.signal.value))
                uses = [use for use in exchanges.get(record.number, []) if use.requested_at <= (noticed or now)]
                if noticed is None:
                    detail = {"words": one.words, "since": one.since.isoformat(), "uses": len(uses)}
                    fresh.append(TrailEntry(record.number, now, TrailStep.SUSPECTED, PROGRAM, one.signal.value, detail))
                found.append(Suspected(record.number, record.tie.address_number, one, record.tie.at, noticed or now,
                                       len(uses)))  # fmt: skip
        self.register.suspect(fresh)
        return found

    def _noted(self, tied: Sequence[RegisteredRecord]) -> dict[tuple[str, str], datetime]:
        """When the signals against the present ties were first noticed, by number and signal."""
        since = {one.number: one.tie.at for one in tied if one.tie is not None}
        noted: dict[tuple[str, str], datetime] = {}
        for entry in self.register.trail():
            if entry.step is TrailStep.UNDONE:
                noted = {key: at for key, at in noted.items() if key[0] != entry.number}
            elif entry.step is TrailStep.SUSPECTED and entry.at >= since.get(entry.number, entry.at):
                noted.setdefault((entry.number, entry.why), entry.at)
        return noted

    def _exchanges(self, tied: Sequence[RegisteredRecord]) -> dict[str, list[ProvisionRecord]]:
        """The exchanges about the person of each tie since it was made, by number, as the core has recorded them."""
        ties = {one.number: one.tie for one in tied if one.tie is not None}
        codes = self._server.known_codes({one.address_number for one in ties.values()})
        about = self._network.core.records.about(self._member, list(dict.fromkeys(codes.values())))
        found: dict[str, list[ProvisionRecord]] = {}
        for number, tie in ties.items():
            code: InstitutionCode | None = codes.get(tie.address_number)
            records = about.get(code, []) if code is not None else []
            found[number] = [one for one in records if one.requested_at >= tie.at
                             and one.outcome is not RequestOutcome.DENIED]  # fmt: skip
        return found

    def _evidence(
        self, tied: Sequence[RegisteredRecord], exchanges: Mapping[str, Sequence[ProvisionRecord]]
    ) -> dict[str, TieEvidence]:  # fmt: skip
        by_address = {address: number for number, address in self._addresses.by_number().items()}
        shared: dict[str, list[str]] = {}
        for one in tied:
            shared.setdefault(one.tie.address_number if one.tie else "", []).append(one.number)
        numbers = [by_address[address] for address in shared if address in by_address]
        registry = self._registry(numbers)
        asking = self._network.interface_of(self.register.body).asking
        processes = asking.processes_of(self.register.body)
        answered = self._server.received_all(list(processes.values()))
        reports: dict[str, list[Report]] = {}
        for report in self.register.reports():
            reports.setdefault(report.number, []).append(report)
        evidence = {}
        for one in tied:
            assert one.tie is not None
            answers = []
            for record in exchanges.get(one.number, ()):
                answer = (
                    answered.get(processes.get(record.number, -1)) if record.requester == self.register.body else None
                )
                if answer is not None and answer.content is not None:
                    answers.append(Answered(_day(answer.received_at), answer.provider, answer.content))
            person = registry.get(by_address.get(one.tie.address_number, ""))
            evidence[one.number] = TieEvidence(
                one.attributes, one.tie.agreed, _day(one.tie.at), person, answers, reports.get(one.number, []),
                [other for other in shared[one.tie.address_number] if other != one.number],
            )  # fmt: skip
        return evidence

    def _registry(self, numbers: Sequence[str]) -> dict[str, RegistryNow]:
        """What J-LIS provides about people, by the individual number by which the body knows them."""
        current = self._j_lis.current_numbers(numbers)
        provided = {str(one.resident.individual_number): one
                    for one in self._j_lis.provide(self.register.body, numbers)}  # fmt: skip
        found = {number: provided.get(str(current.get(number, number))) for number in numbers}
        return {number: RegistryNow(attributes_of(one.resident), one.ended, one.resident.since)
                for number, one in found.items() if one is not None}  # fmt: skip

    def undo(self, number: str, who: str, why: str) -> Undone:
        """Remove a tie that is wrong. The person's code at the body ends and their copies go, those who had received
        them are told, and the record returns to the work list.

        The decision is recorded first with what has been provided meanwhile; an interrupted removal goes on with the
        next command. Raises NetworkRejected if the record is not tied.
        """
        record, reason = self.register.record(number), _reason(why)
        exchanges = self._exchanges([record]).get(number, [])
        ours = [one for one in exchanges if one.outcome is RequestOutcome.PROVIDED]
        received = tuple(one for one in ours if one.requester == self.register.body)
        provided = tuple(one for one in ours if one.provider == self.register.body)
        copies = len(self._server.copies_of(record.tie.address_number)) if record.tie is not None else 0
        detail = {"received": [_listed(one) for one in received], "provided": [_listed(one) for one in provided],
                  "copies": copies}  # fmt: skip
        with self._alone():
            self.register.begin_undo(number, who, reason, detail)
            self._carry_on()
        return Undone(number, received, provided, copies)

    def _complete(self, record: RegisteredRecord, decision: TrailEntry) -> None:
        """Carry out the removal of a tie: tell who has received copies, delete them, and end the code."""
        number: str | None = None
        if record.tie is not None:
            address = record.tie.address_number
            number = {one: by for by, one in self._addresses.by_number().items()}.get(address)
            interface = self._network.interface_of(self.register.body)
            if (code := self._server.known_codes([address]).get(address)) is not None:
                for item in dict.fromkeys(one["item"] for one in decision.detail["provided"]):
                    reference = f"record {record.number} tied at {record.tie.at.isoformat()}"
                    interface.report_correction(self.register.body, code, item, reference)
            for item in self._server.copies_of(address):
                self._server.erase(address, item)
            self._deliver()
        self.register.undo(record.number, number, decision.who, decision.why)
        self._deliver()


def _listed(one: ProvisionRecord) -> dict[str, Any]:
    return {"record": one.number, "by": one.requester, "of": one.provider, "item": one.item,
            "at": one.requested_at.isoformat()}  # fmt: skip


def _day(at: datetime) -> date:
    return at.astimezone(JST).date()


def _reason(text: str) -> str:
    return _text(text, "the reason")


def _text(text: str, what: str) -> str:
    """Return a text. Raises NetworkRejected if it is empty, or cannot be stored."""
    try:
        checked = text_of(text)
    except ValueError as error:
        raise NetworkRejected("bad-request", f"{what}: {error}") from None
    if not checked.strip():
        raise NetworkRejected("bad-request", f"{what} must not be empty")
    return checked
