"""Inside a municipality: one address number to a person, and one way from its offices' systems to the network.

The integrated address system (団体内統合宛名システム) ties each office's own number for a person to one address number
of the municipality; it alone has the individual number beside it. The number-linkage server (番号連携サーバー) stands
between the offices' systems and the intermediate server: they speak of their own numbers, and the network of codes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import sqlalchemy as sa

from kazashi.provision_network.codes import InstitutionCode
from kazashi.provision_network.interface_system import InterfaceSystem, OutgoingRequest
from kazashi.provision_network.intermediate import Received
from kazashi.provision_network.rules import Purpose
from kazashi.provision_network.terms import NetworkRejected
from kazashi.provision_network.uses import Deed, Use, decide_use
from kazashi.resident_registry.number import IndividualNumber
from kazashi.world.event_log import event_table
from kazashi.world.home import World
from kazashi.world.storage import Position

ACTOR = "integrated_addresses"
"""The name of this actor's store."""

OWNERS = {
    "core": "総務省", "interface system": "各機関", "intermediate platform": "地方公共団体情報システム機構",
    "intermediate server": "市町村", "integrated address system": "市町村", "number-linkage server": "市町村",
    "portal": "内閣官房", "desk between certificates and codes": "地方公共団体情報システム機構",
}  # fmt: skip
"""Who buys and runs which part (調達・管理分担, E6)."""

IssueCodes = Callable[[Sequence[str]], Sequence[InstitutionCode]]
"""The network's answer to resident record codes: the body's codes for these persons, in the same order."""


class AddressSystem:
    """The integrated address system of one municipality."""

    def __init__(self, world: World, body: str) -> None:
        self._world = world
        self.body = body
        metadata = sa.MetaData()
        self._addressee = sa.Table(
            "addressee", metadata,
            sa.Column("position", Position, primary_key=True),
            sa.Column("body", sa.Text, nullable=False),
            sa.Column("individual_number", sa.Text, nullable=False),
            sa.Column("left_us", sa.Boolean, nullable=False),
            sa.Index("addressee_now", "body", "individual_number"),
        )  # fmt: skip
        self._business = sa.Table(
            "business_number", metadata,
            sa.Column("body", sa.Text, primary_key=True),
            sa.Column("business", sa.Text, primary_key=True),
            sa.Column("local_number", sa.Text, primary_key=True),
            sa.Column("addressee", sa.BigInteger, nullable=False),
        )  # fmt: skip
        _, self._log = event_table(metadata)
        self.store = world.store(ACTOR, metadata)

    def admit(self, number: IndividualNumber) -> str:
        """The address number of whoever has an individual number; made where there is none, or the person had left."""
        table = self._addressee
        here = (table.c.body == self.body) & (table.c.individual_number == number) & sa.not_(table.c.left_us)
        with self.store.alone() as connection:
            position = connection.scalar(sa.select(table.c.position).where(here))
            if position is None:
                row = {"body": self.body, "individual_number": number, "left_us": False}
                position = connection.execute(sa.insert(table).returning(table.c.position), row).scalar_one()
        return _written(position)

    def leave(self, address_number: str) -> None:
        """A person has moved away: the address number ends, and another one begins if he comes back."""
        table = self._addressee
        here = (table.c.body == self.body) & (table.c.position == _read(address_number))
        with self.store.alone() as connection:
            connection.execute(sa.update(table).where(here).values(left_us=True))
            gone = (self._business.c.body == self.body) & (self._business.c.addressee == _read(address_number))
            connection.execute(sa.delete(self._business).where(gone))

    def tie(self, business: str, local_number: str, address_number: str) -> None:
        """An office's own number for a person is that address number's. Raises NetworkRejected where it is
        another's."""
        table = self._business
        with self.store.alone() as connection:
            here = ((table.c.body == self.body) & (table.c.business == business)
                    & (table.c.local_number == local_number))  # fmt: skip
            known = connection.scalar(sa.select(table.c.addressee).where(here))
            if known not in (None, _read(address_number)):
                raise NetworkRejected("wrong-tie", f"{business} {local_number} is tied to somebody else")
            if known is None:
                row = {"body": self.body, "business": business, "local_number": local_number,
                       "addressee": _read(address_number)}  # fmt: skip
                connection.execute(sa.insert(table), row)

    def resolve(self, business: str, local_number: str) -> str:
        """The address number of an office's own. Raises NetworkRejected where it is not tied."""
        table = self._business
        here = (table.c.body == self.body) & (table.c.business == business) & (table.c.local_number == local_number)
        with self.store.reading() as connection:
            found = connection.scalar(sa.select(table.c.addressee).where(here))
        if found is None:
            raise NetworkRejected("not-tied", f"{business} {local_number} is tied to nobody at {self.body}")
        return _written(found)

    def search(self, number: IndividualNumber, use: Use) -> str | None:
        """Somebody's address number by the individual number, for a use that article 9 allows; it is logged. Raises
        NetworkRejected for one that it does not."""
        decision = decide_use(use)
        if not decision.allowed or use.deed is not Deed.SEARCH:
            raise NetworkRejected("no-basis", decision.words if not decision.allowed else "that use is no search")
        table = self._addressee
        here = (table.c.body == self.body) & (table.c.individual_number == number) & sa.not_(table.c.left_us)
        with self.store.transaction() as connection:
            self._log(connection, self._world.clock.now(), "searched", {"body": self.body, "rule": decision.rule})
            found = connection.scalar(sa.select(table.c.position).where(here))
        return None if found is None else _written(found)

    def note(self, business: str, what: str) -> None:
        """An office has done something over the number-linkage server; it is logged."""
        with self.store.transaction() as connection:
            self._log(connection, self._world.clock.now(), what, {"body": self.body, "business": business})

    def here(self) -> list[str]:
        """The address numbers of everybody who lives here."""
        table = self._addressee.c
        query = sa.select(table.position).where(table.body == self.body, sa.not_(table.left_us))
        with self.store.reading() as connection:
            return [_written(position) for position in connection.scalars(query.order_by(table.position))]


class NumberLinkageServer:
    """The hub of one municipality: all that an office has to do with the network goes over it (E5)."""

    def __init__(self, addresses: AddressSystem, interface: InterfaceSystem) -> None:
        self.addresses = addresses
        self._interface = interface
        self._server = interface.server(addresses.body)

    def acquire(self, persons: Sequence[tuple[str, str]], issue: IssueCodes) -> int:
        """Get the codes of persons (address number, resident record code). The latter are thrown away at once; answers
        how many persons of this municipality have no code then (E9)."""
        if persons:
            codes = issue([record_code for _, record_code in persons])
            self._server.take_codes(zip((address for address, _ in persons), codes, strict=True))
        return len(self._server.without_code(self.addresses.here()))

    def register(
        self, business: str, local_number: str, item: str, content: str, *, by_hand: bool = False
    ) -> None:  # fmt: skip
        """An office has something new of a person: a copy for whoever may ask (副本登録). Raises NetworkRejected."""
        self.addresses.note(business, "register")
        address = self.addresses.resolve(business, local_number)
        self._server.register(self._server.code_of(address), address, item, content, by_hand=by_hand)

    def ask(
        self, business: str, local_number: str, purpose: Purpose, provider: str, *, consent: bool = False
    ) -> int:  # fmt: skip
        """An office asks another body; answers the number of the process. Raises NetworkRejected."""
        self.addresses.note(business, "ask")
        code = self._server.code_of(self.addresses.resolve(business, local_number))
        return self._interface.ask(self.addresses.body, code, purpose, [provider], consent=consent)

    def fetch(self, business: str, process: int) -> tuple[OutgoingRequest, Received | None]:
        """How far that has come, and what was answered. Raises NetworkRejected."""
        self.addresses.note(business, "fetch")
        asked = self._interface.asked(process)
        if asked.body != self.addresses.body:
            raise NetworkRejected("unknown-process", f"{self.addresses.body} has no process {process}")
        return asked, self._server.received(process)

    def depart(self, address_number: str) -> None:
        """A person has moved away: number, code and copies go."""
        self.addresses.leave(address_number)
        self._server.forget(address_number)

    def protect(self, address_number: str, *, on: bool = True) -> None:
        """A person who must not be found: neither records nor own information are shown in the portal."""
        code = self._server.code_of(address_number)
        self._interface.set_undisclosed(self.addresses.body, code, on=on)
        self._server.withhold(address_number, on=on)


def by_owner() -> dict[str, list[str]]:
    """The parts of the system by who owns them."""
    found: dict[str, list[str]] = {}
    for part, owner in OWNERS.items():
        found.setdefault(owner, []).append(part)
    return found


def _written(position: int) -> str:
    return f"{position:010d}"


def _read(address_number: str) -> int:
    return int(address_number)


def copies_lag(received: Iterable[Received]) -> list[float]:
    """How old the copies were with which requests were answered, in days (E7)."""
    return [
        (one.received_at - one.registered_at).total_seconds() / 86400 for one in received if one.registered_at
    ]  # fmt: skip
