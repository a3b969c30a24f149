"""What J-LIS tells the core about people: changed record codes, who is registered at a body, and ended people.

Only J-LIS may send these messages. An interface system cannot: its name is an identifier, and J-LIS's has a hyphen.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from kazashi.provision_network.code_issuance import CodeIssuance
from kazashi.provision_network.codes import Coder
from kazashi.provision_network.core_store import log
from kazashi.provision_network.ended_codes import EndedCodes
from kazashi.provision_network.mediation import Context, Handler
from kazashi.provision_network.membership import Institution
from kazashi.provision_network.terms import J_LIS, PORTAL_KIND, NetworkRejected, text_of
from kazashi.world.clock import Clock
from kazashi.world.outbox import Message


@dataclass(frozen=True, slots=True)
class _Entry:
    """What an address system says about a person. `reference` is the body's own number for the person. `here` says
    whether the person is registered at the body, and `protected` whether they are protected, or None."""

    record_code: str
    reference: str
    here: bool
    protected: bool | None

    def __post_init__(self) -> None:
        text_of(self.record_code), text_of(self.reference)
        if not isinstance(self.here, bool) or not isinstance(self.protected, bool | None):
            raise ValueError("a person's flags must be true or false")


class NoticesOfPeople:
    """Acts on what J-LIS tells about people."""

    def __init__(self, clock: Clock, coder: Coder, codes: CodeIssuance, ended: EndedCodes) -> None:
        self._clock = clock
        self._coder = coder
        self._codes = codes
        self._ended = ended
        self.handlers: Mapping[str, Handler] = {
            "code-change": self._on_code_change,
            "codes": self._on_codes,
            "person-ended": self._on_person_ended,
        }

    def _on_code_change(self, context: Context, message: Message) -> None:
        _check_sender(message)
        self._codes.recode(context.connection, str(message.body["former"]), str(message.body["new"]))

    def _on_codes(self, context: Context, message: Message) -> None:
        """Issue codes to a body for people who are registered there, and end those of people who are not any more.

        A body that may not use the network gets no codes, but codes end there, too.
        """
        _check_sender(message)
        people = [_Entry(*entry) for entry in message.body["people"]]
        body = context.members.by_name.get(text_of(message.body["body"]))
        if body is None:
            raise NetworkRejected("unknown-institution", f"{message.body['body']} is not on the network")
        self._apply(context, body, [one for one in people if not one.here])
        if here := [one for one in people if one.here]:
            self._apply(context, context.members.active(body.name), here)

    def _apply(self, context: Context, body: Institution, people: list[_Entry]) -> None:
        if not people:
            return
        connection = context.connection
        linkages = self._codes.linkages(connection, [one.record_code for one in people])
        codes = self._coder.issue(linkages, body.group)
        here, gone = (
            [linkage for linkage, one in zip(linkages, people, strict=True) if one.here is wanted]
            for wanted in (True, False)
        )
        self._ended.update(connection, body, here, gone)
        for linkage, one in zip(linkages, people, strict=True):
            if one.here and one.protected is not None:
                self._ended.set_undisclosed(connection, linkage, body.name, on=one.protected)
        log(connection, self._clock.now(), "codes", {"institution": body.name, "here": len(here), "gone": len(gone)})
        if body.interface:
            entries = [
                [one.reference, str(code) if one.here else None, one.protected]
                for one, code in zip(people, codes, strict=True)
            ]
            context.send(body.interface, "codes", {"body": body.name, "people": entries})

    def _on_person_ended(self, context: Context, message: Message) -> None:
        """Let the portals close the person's folder. Their records stay."""
        _check_sender(message)
        day, linkage = text_of(message.body["day"]), self._codes.known(context.connection, message.body["record_code"])
        if linkage is None:
            raise NetworkRejected("unknown-person", "the core does not know the person")
        for body in context.members.by_name.values():
            if body.kind == PORTAL_KIND and body.interface:
                closed = {"code": str(self._coder.portal(linkage)), "day": day}
                context.send(body.interface, "closed", closed)


def _check_sender(message: Message) -> None:
    if message.sender != J_LIS:
        raise NetworkRejected("not-entitled", f"{message.sender} is not J-LIS")
