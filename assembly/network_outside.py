"""Provision outside the network between the parties of one world: who they are and what they may do follows from the
registers of bodies, contracts, consents and ordinances, and not from what somebody states."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date
from itertools import product

from kazashi.assembly.errors import UsageError
from kazashi.assembly.network import Network
from kazashi.assembly.network_bodies import NetworkBodies
from kazashi.assembly.network_offices import OUTSIDE_ADDRESSES
from kazashi.provision_network.body_registers import BodyRegisters
from kazashi.provision_network.consents import Consents
from kazashi.provision_network.inquiries import Inquiries, RegisteredInquiry
from kazashi.provision_network.law.provisions import (
    REGISTRATION_ACT_PURPOSE,
    TAXES_PURPOSE,
    Party,
    PersonField,
    Policy,
    Provision,
    decide_provision,
)
from kazashi.provision_network.law.versions import ProvisionItem, version_on
from kazashi.provision_network.municipal import AddressSystem
from kazashi.provision_network.off_network import Given, OffNetwork
from kazashi.provision_network.on_line_rules import OnLineRules
from kazashi.provision_network.party_roles import roles_of, same_government
from kazashi.provision_network.terms import NetworkRejected
from kazashi.resident_registry.resident import Resident
from kazashi.world.clock import today

REFUSED_BY_BODY = "refused-by-body"
"""The denial of an inquiry that the body has refused of its own accord."""

_USUAL = {ProvisionItem.TAXES: TAXES_PURPOSE, ProvisionItem.REGISTRATION_ACT: REGISTRATION_ACT_PURPOSE}
"""The only purpose of some items, which need not be stated."""


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What is particular about a provision, in words; empty if it does not apply.

    `law` is the law of the receiver's affair and `ordinance` a filing of the sender. `danger` says what is in danger,
    `hard_to_obtain` why consent is, `identity` how it was checked, `council` when the council was heard about online
    provision, and `safeguards` which ones there are.
    """

    law: str = ""
    ordinance: str = ""
    danger: str = ""
    hard_to_obtain: str = ""
    identity: str = ""
    council: str = ""
    safeguards: str = ""
    rule: int | None = None
    on_line: bool = False

    @property
    def reason(self) -> str:
        """What was stated in words, for the log."""
        words = {"danger": self.danger, "consent is hard to obtain": self.hard_to_obtain, "identity": self.identity,
                 "council": self.council, "safeguards": self.safeguards}  # fmt: skip
        return "; ".join(f"{name}: {text}" for name, text in words.items() if text)


@dataclass(frozen=True, slots=True)
class Provided:
    """A line of the provider's log, and the content that was given, None if the provider has no copy of it."""

    line: Given
    content: str | None


def item_of(text: str, on: date) -> ProvisionItem:
    """Return the item of article 19 with a name, or with a number in the version of the law that applies on a day.
    Raises UsageError."""
    version = version_on(on)
    if version is not None and text.isdecimal() and (found := version.item(int(text))) is not None:
        return found
    named = next((item for item in ProvisionItem if item.value == text), None)
    if named is None:
        known = [] if version is None else [f"{number} {item.value}" for number, item in enumerate(version.items, 1)]
        raise UsageError(f"article 19 of {on} has no item {text}; its items are {', '.join(known) or 'not known here'}")
    return named


def outside_addresses(network: Network, party: str) -> AddressSystem:
    """Return the address system of a party that is not on the network, which has heard from J-LIS of changed numbers:
    a person keeps the party's own number."""
    addresses = AddressSystem(network.world, party, OUTSIDE_ADDRESSES)
    addresses.renumber(network.institutions.juki_net.j_lis.current_numbers(list(addresses.by_number())))
    return addresses


class OutsideProvisions:
    """Provision outside the network in one world."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self._bodies = NetworkBodies(network)
        self._kinds = {one.name: one.kind for one in network.core.members.institutions()}
        world = network.world
        self.log = OffNetwork(world)
        self.consents = Consents(world)
        self.inquiries = Inquiries(world)
        self.rules = OnLineRules(world)
        self._registers = BodyRegisters(world)

    def kind_of(self, party: str) -> str:
        """Return the kind of a body on the network, empty for another party."""
        return self._kinds.get(party, "")

    def subject(self, party: str, person: Resident) -> str:
        """Return a party's own number for a person. A party that is not on the network gets to know them. Raises
        NetworkRejected if a body on the network does not know the person."""
        if party in self._kinds:
            return self._bodies.address_of(party, person)
        if person.individual_number is None:
            raise NetworkRejected("no-number", f"{person.alias or person.code} has no individual number yet")
        return outside_addresses(self._network, party).admit(person.individual_number)

    def provide(
        self, person: Resident, sender: str, receiver: str, item: ProvisionItem, purpose: str, information: str,
        handle: PersonField | None, circumstances: Circumstances | None = None,
    ) -> Provided:  # fmt: skip
        """Give information about a person to another party, if the law allows it, and log it in either case.

        `handle` is the identifier that the information has. The roles of the two parties, their common government, the
        contract and the consent come from the registers. Raises NetworkRejected if the law does not allow it.
        """
        if sender == receiver:
            raise NetworkRejected(
                "own-body", f"{sender} has it itself; inside one body: kazashi network inside provide"
            )
        given, on = circumstances or Circumstances(), today(self._network.world.clock)
        what = information or "個人情報"
        subject, purpose = self.subject(sender, person), purpose or _USUAL.get(item, "")
        contract = self._contract(sender, receiver)
        asked = Provision(
            item, Party.ANYBODY, Party.ANYBODY, purpose, handle, information, law=given.law, contract=contract,
            ordinance=self._ordinance(sender, given.ordinance, on), rule=given.rule, reason=given.reason,
            same_government=same_government(sender, self.kind_of(sender), receiver, self.kind_of(receiver)),
            identity_checked=bool(given.identity), danger=bool(given.danger), hard_to_obtain=bool(given.hard_to_obtain),
            consent=self.consents.given(sender, subject, what, receiver, purpose, on), on_line=given.on_line,
            council_heard=bool(given.council), safeguards=bool(given.safeguards),
        )  # fmt: skip
        policy = self.rules.of(sender)
        more = (Party.ENTRUSTED,) if contract else ()
        provision = self._in_their_roles(asked, sender, receiver, on, policy, more)
        self.log.give(sender, receiver, provision, what, subject, policy=policy)
        return Provided(self.log.about(sender, subject)[-1], self._content(sender, subject, information))

    def _in_their_roles(
        self, asked: Provision, sender: str, receiver: str, on: date, policy: Policy, more: tuple[Party, ...] = ()
    ) -> Provision:  # fmt: skip
        """The provision with those roles of the two parties in which it is allowed, or their first ones."""
        roles = product(roles_of(sender, self.kind_of(sender)), (*roles_of(receiver, self.kind_of(receiver)), *more))
        tried = [replace(asked, sender=one, receiver=other) for one, other in roles]
        return next((one for one in tried if decide_provision(one, on, policy).allowed), tried[0])

    def _contract(self, sender: str, receiver: str) -> str:
        """The registered contract by which a body has entrusted something to a party, empty if there is none now."""
        entrustments = self._registers.entrustments(sender)
        return next((one.contract for one in entrustments if one.party == receiver and one.ended is None), "")

    def _ordinance(self, sender: str, identifier: str, on: date) -> str:
        """The identifier if the body has filed such an ordinance with the Commission and not withdrawn it."""
        filed = (one for one in self._network.core.ordinances.rules().ordinances
                 if (one.body, one.identifier) == (sender, identifier))  # fmt: skip
        in_force = any(one.filed is not None and one.filed <= on and one.withdrawn is None for one in filed)
        return identifier if in_force else ""

    def _content(self, body: str, address_number: str, information: str) -> str | None:
        if body not in self._kinds:
            return None
        copy = self._network.interface_of(body).server(body).copies_of(address_number).get(information)
        return None if copy is None else copy.content

    # Inquiries

    def inquire(
        self, body: str, person: Resident, investigator: str, basis: str, case: str, reason: str, information: str,
        handle: PersonField | None,
    ) -> RegisteredInquiry:  # fmt: skip
        """Register an inquiry at a body. It waits for a person's decision. Raises NetworkRejected."""
        self._network.member(body)
        address, on = self._bodies.address_of(body, person), today(self._network.world.clock)
        return self.inquiries.receive(body, address, investigator, basis, case, reason, information, handle, on)

    def decide(
        self, body: str, number: int, approved_by: str, *, granted: bool
    ) -> tuple[RegisteredInquiry, Provided | None]:
        """Let a person decide an inquiry. A granted one is answered if the law allows it.

        The decision is in the register first, and the log then has what the register says. Repeating an interrupted
        decision completes it. Raises DocumentRejected without a person who decides, and NetworkRejected if the inquiry
        is decided or the law does not allow an answer.
        """
        inquiry, on = self.inquiries.inquiry(body, number), today(self._network.world.clock)
        if not granted and inquiry.decided is None:
            return self.inquiries.decide(inquiry, on, approved_by, "", REFUSED_BY_BODY), None
        asked = inquiry.provision(Party.ANYBODY, Party.ANYBODY, inquiry.approved_by or approved_by)
        provision = self._in_their_roles(asked, body, inquiry.investigator, on, Policy())
        reference, subject, what = f"inquiry {number}", inquiry.address_number, inquiry.information
        if inquiry.decided is None:
            decision = decide_provision(provision, on, Policy())
            denial = "" if decision.denial is None else decision.denial.value
            inquiry = self.inquiries.decide(inquiry, on, approved_by, decision.rule, denial)
        elif not granted or inquiry.denial == REFUSED_BY_BODY or self.log.line_with(body, reference) is not None:
            raise NetworkRejected("decided", f"inquiry {number} of {body} is decided already")
        self.log.give(body, inquiry.investigator, provision, what, subject, reference=reference, policy=Policy())
        line = self.log.line_with(body, reference)
        assert line is not None
        return inquiry, Provided(line, self._content(body, subject, what))
