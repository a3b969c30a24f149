"""The core's mediation of exchanges (媒介): it decides requests by the rules, converts the code, and notifies the
provider. It never sees a content."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from kazashi.provision_network.codes import Coder, InstitutionCode, PortalCode
from kazashi.provision_network.core_store import log
from kazashi.provision_network.ended_codes import EndedCodes
from kazashi.provision_network.law.rules import Decision
from kazashi.provision_network.law.tables import Purpose
from kazashi.provision_network.membership import Members, Membership
from kazashi.provision_network.ordinances import OrdinanceRegister
from kazashi.provision_network.provision_records import ProvisionRecords
from kazashi.provision_network.terms import (
    OWN_INFORMATION,
    PORTAL_KIND,
    NetworkRejected,
    Notification,
    RequestOutcome,
    number_of,
    own_body,
    text_of,
)
from kazashi.world.clock import Clock, today
from kazashi.world.outbox import Message, Send
from kazashi.world.storage import Store


@dataclass(frozen=True, slots=True)
class Context:
    """What handlers of messages work with: the transaction, the network's members, and a function to send messages."""

    connection: sa.Connection
    members: Members
    send: Send


Handler = Callable[[Context, Message], None]
"""Handles a message. Raises NetworkRejected, ForeignCode, and AttributeError, KeyError, TypeError or ValueError for a
malformed message."""


class Mediation:
    """Decides and mediates the requests of bodies."""

    def __init__(
        self, store: Store, clock: Clock, ordinances: OrdinanceRegister, coder: Coder, members: Membership,
        records: ProvisionRecords, ended: EndedCodes,
    ) -> None:  # fmt: skip
        self._store = store
        self._clock = clock
        self._ordinances = ordinances
        self._coder = coder
        self._members = members
        self._records = records
        self._ended = ended
        self.handlers: Mapping[str, Handler] = {
            "request": self._on_request,
            "own-information": self._on_own_information,
            "settled": self._on_settled,
            "disputed": self._on_disputed,
            "undisclosed": self._on_undisclosed,
        }

    def request(
        self, requester: str, code: InstitutionCode, purpose: Purpose, providers: Sequence[str], *,
        consent: bool = False, ordinary: bool = False, process: int = 0,
    ) -> Notification:  # fmt: skip
        """Decide a request to one provider and return the notification for it (steps 2 and 3 of the five-step flow). A
        request that a rule denies is recorded too. Raises NetworkRejected and ForeignCode."""
        with self._store.transaction() as connection:
            members = self._members.within(connection)
            result = self._request(connection, members, requester, code, purpose, providers, process, consent, ordinary)
        if isinstance(result, NetworkRejected):
            raise result
        return result

    def _request(
        self, connection: sa.Connection, members: Members, requester: str, code: InstitutionCode, purpose: Purpose,
        providers: Sequence[str], process: int, consent: bool, ordinary: bool,
    ) -> Notification | NetworkRejected:  # fmt: skip
        if len(providers) != 1:
            raise NetworkRejected("broadcast", f"a request must name one provider, not {len(providers)}")
        ours, theirs = members.active(requester), members.active(providers[0])
        if ours == theirs:
            raise own_body(requester)
        linkage = self._coder.linkage(code, ours.group)
        if (ours.kind, theirs.kind) != (purpose.requester, purpose.provider):
            words = f"{ours.name} ({ours.kind}) and {theirs.name} ({theirs.kind}) are not the bodies of the affair"
            raise NetworkRejected("another-body", words)
        decision = self._ended.denial(connection, linkage, (ours, theirs))
        if decision is None:
            day = today(self._clock)
            decision = self._ordinances.within(connection).decide(
                purpose, day, consent=consent, requester_name=ours.name, provider_name=theirs.name, ordinary=ordinary
            )
        if decision.allowed:
            ours.check_scope(purpose, provides=False)
            theirs.check_scope(purpose, provides=True)
        number = self._records.add(connection, linkage, requester, theirs.name, purpose.item, decision)
        if decision.denial is not None:
            return NetworkRejected(decision.denial.value, decision.words)
        converted = self._coder.institution(linkage, theirs.group)
        return Notification(number, converted, theirs.name, requester, process, purpose.item, decision.rule)

    def _on_request(self, context: Context, message: Message) -> None:
        body = message.body
        context.members.check_speaks_for(message.sender, body["requester"])
        code = InstitutionCode.parse(body["code"])
        purpose = Purpose(**{name: text_of(value) for name, value in body["purpose"].items()})
        for provider in body["providers"]:
            context.members.check_connected(provider)
        result = self._request(
            context.connection, context.members, body["requester"], code, purpose, list(body["providers"]),
            number_of(body["process"]), bool(body.get("consent")), bool(body.get("ordinary")),
        )  # fmt: skip
        if isinstance(result, NetworkRejected):
            raise result
        _notify(context, message.sender, result)

    def _on_own_information(self, context: Context, message: Message) -> None:
        """Handle the portal's request for a person's own information: an exchange like any other, with a record."""
        body = message.body
        context.members.check_speaks_for(message.sender, body["requester"])
        ours, theirs = (context.members.active(body[name]) for name in ("requester", "provider"))
        context.members.check_connected(theirs.name)
        if ours.kind != PORTAL_KIND:
            raise NetworkRejected("not-entitled", "only the portal may request a person's own information")
        linkage = self._coder.linkage(PortalCode.parse(body["code"]))
        item, decision = text_of(body["item"]), self._ended.denial(context.connection, linkage, (theirs,))
        decision = decision or Decision(OWN_INFORMATION, None, "one's own information")
        number = self._records.add(context.connection, linkage, ours.name, theirs.name, item, decision)
        if decision.denial is not None:
            raise NetworkRejected(decision.denial.value, decision.words)
        code = self._coder.institution(linkage, theirs.group)
        notification = Notification(
            number, code, theirs.name, ours.name, number_of(body["process"]), item, decision.rule
        )  # fmt: skip
        _notify(context, message.sender, notification)

    def _on_settled(self, context: Context, message: Message) -> None:
        body = message.body
        context.members.check_speaks_for(message.sender, body["provider"])
        outcome = RequestOutcome(body["outcome"])
        self._records.settle_in(context.connection, body["provider"], number_of(body["number"]), outcome)

    def _on_disputed(self, context: Context, message: Message) -> None:
        """Log a requester's report that an answer does not match its request."""
        context.members.check_speaks_for(message.sender, message.body["requester"])
        detail = {name: text_of(message.body[name]) for name in ("requester", "why")}
        detail["number"] = str(number_of(message.body["number"]))
        log(context.connection, self._clock.now(), "disputed", detail)

    def _on_undisclosed(self, context: Context, message: Message) -> None:
        body = message.body
        context.members.check_speaks_for(message.sender, body["body"])
        ours = context.members.active(body["body"])
        linkage = self._coder.linkage(InstitutionCode.parse(body["code"]), ours.group)
        self._ended.set_undisclosed(context.connection, linkage, ours.name, on=bool(body["on"]))


def _notify(context: Context, requester: str, notification: Notification) -> None:
    """Send the Minister's notification to the provider (21条2項), and an acceptance to the requester."""
    context.send(context.members.by_name[notification.provider].interface, "notification", notification.as_dict())
    accepted = {"process": notification.process, "number": notification.number, "rule": notification.rule}
    context.send(requester, "accepted", accepted)
