"""An interface system (インターフェイスシステム): the only connection between bodies and the core, and between bodies.

For each exchange it stores the requester, the provider, the item and the stage. Answers are encrypted between bodies,
and are decrypted on the requesting body's platform.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache

import sqlalchemy as sa

from kazashi.provision_network.answering import Answering
from kazashi.provision_network.asking import Asking, Result
from kazashi.provision_network.closed_folders import ClosedFolders
from kazashi.provision_network.codes import ForeignCode, InstitutionCode
from kazashi.provision_network.interface_store import BODY, INBOX, METADATA, OUTBOX, log, store_name
from kazashi.provision_network.intermediate import IntermediatePlatform, IntermediateServer, PersonAtBody
from kazashi.provision_network.law.tables import printed_table
from kazashi.provision_network.neighbours import Neighbours
from kazashi.provision_network.terms import CORE, NetworkRejected, number_of, text_of
from kazashi.world.home import World
from kazashi.world.outbox import Message, Send
from kazashi.world.storage import insert_if_absent

_Handler = Callable[[sa.Connection, Send, Message, Result], None]


class InterfaceSystem:
    """An interface system, and the platform with the intermediate servers of its bodies."""

    outbox = OUTBOX

    def __init__(self, world: World, name: str) -> None:
        """Open or create the interface system's store and its platform's."""
        self._clock = world.clock
        self.name = name
        self.platform = IntermediatePlatform(world, name)
        self._servers: dict[str, IntermediateServer] = {}
        self.store = world.store(store_name(name), METADATA)
        self.neighbours = Neighbours(self.store, name, self._servers.clear)
        self.asking = Asking(self.store, world.clock, name, self.server, self.neighbours)
        self.answering = Answering(self.store, world.clock, name, self.platform, self.server, self.neighbours)
        self.closed_folders = ClosedFolders(self.store)
        self._of_core: Mapping[str, _Handler] = {
            "members": self._on_members,
            "left": self._on_left,
            "items": self._on_items,
            "system-removed": self._on_system_removed,
            "corrected": self._on_corrected,
            "accepted": self.asking.on_accepted,
            "refused": self.asking.on_refused,
            "notification": self.answering.on_notification,
            "codes": self._on_codes,
            "closed": self.closed_folders.on_closed,
        }

    def add(self, body: str) -> IntermediateServer:
        """Add a body to this interface system and return its intermediate server."""
        with self.store.alone() as connection:
            if connection.execute(insert_if_absent(BODY), {"name": body}).rowcount:
                self.neighbours.changed(connection)
        return self.server(body)

    def admits(self, connection: sa.Connection, body: str, fingerprint: str) -> bool:
        """Whether a body's business system may send requests: the body is behind this interface system, and the
        certificate was not removed. Works within a transaction of the interface system's store."""
        known = self.neighbours.known(connection)
        return body in known.own and fingerprint not in known.refused

    def items(self) -> frozenset[str]:
        """Return the items of which bodies can register copies: those of the table of affairs and of affairs by
        ordinance."""
        with self.store.reading() as connection:
            return _items_of_the_table() | self.neighbours.known(connection).items

    @property
    def bodies(self) -> list[str]:
        """The names of the bodies behind this interface system."""
        with self.store.reading() as connection:
            return list(connection.scalars(sa.select(BODY.c.name).order_by(BODY.c.name)))

    def server(self, body: str) -> IntermediateServer:
        """Return a body's intermediate server. Raises NetworkRejected if the body is not behind this interface
        system."""
        server = self._servers.get(body)
        if server is None:
            if body not in self.bodies:
                raise NetworkRejected("unknown-institution", f"{body} is not behind the interface system {self.name}")
            server = self._servers.setdefault(body, self.platform.server(body))
        return server

    def set_undisclosed(self, body: str, code: InstitutionCode, *, on: bool) -> None:
        """Set or clear the flag that the portal must not show a person's records (不開示該当フラグ)."""
        self.server(body)
        with self.store.transaction() as connection:
            flag = {"body": body, "code": str(code), "on": on}
            OUTBOX.put(connection, self.name, CORE, self._clock.now(), "undisclosed", flag)

    def report_correction(self, body: str, code: InstitutionCode, item: str, reference: str) -> None:
        """Let the core tell everybody who has received an item of a person from a body that it was corrected.
        `reference` is the body's own number of the correction; reporting it again changes nothing."""
        self.server(body)
        with self.store.transaction() as connection:
            report = {"provider": body, "code": str(code), "item": item, "reference": reference}
            OUTBOX.put(connection, self.name, CORE, self._clock.now(), "corrected", report)

    def receive(self, messages: Sequence[Message]) -> None:
        """Handle messages from the core and other interface systems.

        Raises MessageGap, and StoreFailed if a body's store does not accept an answer; the messages are then delivered
        again.
        """
        with self.store.transaction() as connection:
            self.receive_in(connection, messages)

    def receive_in(self, connection: sa.Connection, messages: Sequence[Message]) -> Result:
        """Handle messages like `receive`, within a transaction of the interface system's store."""
        self.neighbours.known(connection)  # what another process has learnt in the meantime
        with OUTBOX.batch(connection, self.name, self._clock.now()) as send:
            result = Result(send)
            for message in INBOX.fresh(connection, messages):
                try:
                    self._handler(message)(connection, send, message, result)
                except (NetworkRejected, ForeignCode, AttributeError, KeyError, TypeError, ValueError) as error:
                    detail = {"from": message.sender, "kind": ascii(message.kind), "why": ascii(str(error))}
                    log(connection, self._clock.now(), "not understood", detail)
            for body, people in result.people:  # before this store commits that they have arrived
                self.server(body).take(people)
            self.answering.answer(connection, send, result.notified)
        self.platform.keep(result.answers)
        return result

    def _handler(self, message: Message) -> _Handler:
        """Return the handler of a message. Raises NetworkRejected."""
        if message.kind == "answer":
            return self.asking.on_answer
        if message.kind == "held":
            return self.asking.on_held
        if message.sender != CORE:
            raise NetworkRejected("not-entitled", f"{message.sender} is not the core")
        if message.kind not in self._of_core:
            raise NetworkRejected("unknown-message", f"there is no message kind {message.kind[:40]!r}")
        return self._of_core[message.kind]

    def _on_members(self, connection: sa.Connection, _: Send, message: Message, __: Result) -> None:
        self.neighbours.announced(connection, message.body["members"])

    def _on_left(self, connection: sa.Connection, _: Send, message: Message, __: Result) -> None:
        """Forget a body that has left the network, with all that was kept for it here."""
        body = text_of(message.body["body"])
        if connection.execute(sa.delete(BODY).where(BODY.c.name == body)).rowcount:
            self.platform.drop(body)
            self._servers.pop(body, None)
            self.asking.forget(connection, body)
            self.neighbours.changed(connection)
        self.neighbours.left(connection, body)

    def _on_items(self, connection: sa.Connection, _: Send, message: Message, __: Result) -> None:
        self.neighbours.listed_items(connection, [text_of(item) for item in message.body["items"]])

    def _on_system_removed(self, connection: sa.Connection, _: Send, message: Message, __: Result) -> None:
        self.neighbours.refuse(connection, text_of(message.body["fingerprint"]))

    def _on_corrected(self, connection: sa.Connection, _: Send, message: Message, __: Result) -> None:
        """Log that an item which a body here has received was corrected; the body asks again if it needs it."""
        detail = {name: text_of(message.body[name]) for name in ("requester", "provider", "item")}
        log(connection, self._clock.now(), "corrected", {**detail, "number": str(number_of(message.body["number"]))})

    def _on_codes(self, _: sa.Connection, __: Send, message: Message, result: Result) -> None:
        """Handle what the core says about the codes of people at a body."""
        people: list[PersonAtBody] = [
            (text_of(address), code and InstitutionCode.parse(code), protected)
            for address, code, protected in message.body["people"]
        ]
        result.people.append((self.server(message.body["body"]).owner, people))


@lru_cache(maxsize=1)
def _items_of_the_table() -> frozenset[str]:
    return frozenset(row.purpose.item for row in printed_table())
