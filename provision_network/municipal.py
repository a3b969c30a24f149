"""Inside a municipality: one address number per person, and one connection from its offices' systems to the network.

The integrated address system (団体内統合宛名システム) links each office's own number for a person to one address number
of the municipality. Only it also stores the individual number. The number-linkage server (番号連携サーバー) stands
between the offices' systems, which use their own numbers, and the intermediate server, which uses codes.
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
"""The name of the address system's store."""

OWNERS = {
    "core": "総務省", "interface system": "各機関", "intermediate platform": "地方公共団体情報システム機構",
    "intermediate server": "市町村", "integrated address system": "市町村", "number-linkage server": "市町村",
    "portal": "内閣官房", "J-LIS office": "地方公共団体情報システム機構",
}  # fmt: skip
"""The organisation that procures and runs each part (調達・管理分担)."""

IssueCodes = Callable[[Sequence[str]], Sequence[InstitutionCode]]
"""A function that returns the body's codes for resident record codes, in the same order."""


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
        """Return a person's address number by the individual number. A person who is new, or had left, gets a new
        one."""
        table = self._addressee
        resident = (table.c.body == self.body) & (table.c.individual_number == number) & sa.not_(table.c.left_us)
        with self.store.alone() as connection:
            position = connection.scalar(sa.select(table.c.position).where(resident))
            if position is None:
                row = {"body": self.body, "individual_number": number, "left_us": False}
                position = connection.execute(sa.insert(table).returning(table.c.position), row).scalar_one()
        return _written(position)

    def leave(self, address_number: str) -> None:
        """End the address number of a person who has moved away. They get a new one if they come back."""
        table = self._addressee
        resident = (table.c.body == self.body) & (table.c.position == _read(address_number))
        with self.store.alone() as connection:
            connection.execute(sa.update(table).where(resident).values(left_us=True))
            links = (self._business.c.body == self.body) & (self._business.c.addressee == _read(address_number))
            connection.execute(sa.delete(self._business).where(links))

    def tie(self, business: str, local_number: str, address_number: str) -> None:
        """Link an office's own number for a person to an address number. Raises NetworkRejected if it is linked to
        another one."""
        table = self._business
        with self.store.alone() as connection:
            link = ((table.c.body == self.body) & (table.c.business == business)
                    & (table.c.local_number == local_number))  # fmt: skip
            known = connection.scalar(sa.select(table.c.addressee).where(link))
            if known not in (None, _read(address_number)):
                raise NetworkRejected("wrong-tie", f"{business} {local_number} is linked to another address number")
            if known is None:
                row = {"body": self.body, "business": business, "local_number": local_number,
                       "addressee": _read(address_number)}  # fmt: skip
                connection.execute(sa.insert(table), row)

    def resolve(self, business: str, local_number: str) -> str:
        """Return the address number for an office's own number. Raises NetworkRejected if it is not linked."""
        table = self._business
        link = (table.c.body == self.body) & (table.c.business == business) & (table.c.local_number == local_number)
        with self.store.reading() as connection:
            position = connection.scalar(sa.select(table.c.addressee).where(link))
        if position is None:
            raise NetworkRejected("not-tied", f"{business} {local_number} is not linked to anybody at {self.body}")
        return _written(position)

    def search(self, number: IndividualNumber, use: Use) -> str | None:
        """Return a person's address number by the individual number, or None.

        The use must be allowed by article 9, and the search is logged. Raises NetworkRejected if the use is not
        allowed.
        """
        decision = decide_use(use)
        if not decision.allowed or use.deed is not Deed.SEARCH:
            raise NetworkRejected("no-basis", decision.words if not decision.allowed else "the use is not a search")
        table = self._addressee
        resident = (table.c.body == self.body) & (table.c.individual_number == number) & sa.not_(table.c.left_us)
        with self.store.transaction() as connection:
            self._log(connection, self._world.clock.now(), "searched", {"body": self.body, "rule": decision.rule})
            position = connection.scalar(sa.select(table.c.position).where(resident))
        return None if position is None else _written(position)

    def note(self, business: str, what: str) -> None:
        """Log that an office has used the number-linkage server."""
        with self.store.transaction() as connection:
            self._log(connection, self._world.clock.now(), what, {"body": self.body, "business": business})

    def here(self) -> list[str]:
        """Return the address numbers of all current residents."""
        table = self._addressee.c
        query = sa.select(table.position).where(table.body == self.body, sa.not_(table.left_us))
        with self.store.reading() as connection:
            return [_written(position) for position in connection.scalars(query.order_by(table.position))]


class NumberLinkageServer:
    """The hub of one municipality: its offices use the network only through this server."""

    def __init__(self, addresses: AddressSystem, interface: InterfaceSystem) -> None:
        self.addresses = addresses
        self._interface = interface
        self._server = interface.server(addresses.body)

    def acquire(self, persons: Sequence[tuple[str, str]], issue: IssueCodes) -> int:
        """Obtain the codes of people, given as pairs of address number and resident record code.

        The resident record codes are not stored. Returns the number of residents who still have no code.
        """
        if persons:
            codes = issue([record_code for _, record_code in persons])
            self._server.take_codes(zip((address for address, _ in persons), codes, strict=True))
        return len(self._server.without_code(self.addresses.here()))

    def register(
        self, business: str, local_number: str, item: str, content: str, *, by_hand: bool = False
    ) -> None:  # fmt: skip
        """Register an office's information about a person as a copy for other bodies (副本登録). Raises
        NetworkRejected."""
        self.addresses.note(business, "register")
        address = self.addresses.resolve(business, local_number)
        self._server.register(self._server.code_of(address), address, item, content, by_hand=by_hand)

    def ask(
        self, business: str, local_number: str, purpose: Purpose, provider: str, *, consent: bool = False
    ) -> int:  # fmt: skip
        """Request an item from another body for an office. Returns the process number. Raises NetworkRejected."""
        self.addresses.note(business, "ask")
        code = self._server.code_of(self.addresses.resolve(business, local_number))
        return self._interface.ask(self.addresses.body, code, purpose, [provider], consent=consent)

    def fetch(self, business: str, process: int) -> tuple[OutgoingRequest, Received | None]:
        """Return the state of a process, and the answer if it has arrived. Raises NetworkRejected."""
        self.addresses.note(business, "fetch")
        request = self._interface.asked(process)
        if request.body != self.addresses.body:
            raise NetworkRejected("unknown-process", f"{self.addresses.body} has no process {process}")
        return request, self._server.received(process)

    def depart(self, address_number: str) -> None:
        """Delete the links, code and copies of a person who has moved away, and end their address number."""
        self.addresses.leave(address_number)
        self._server.forget(address_number)

    def protect(self, address_number: str, *, on: bool = True) -> None:
        """Set or clear the protection of a person who must not be found: the portal then shows neither records nor own
        information."""
        code = self._server.code_of(address_number)
        self._interface.set_undisclosed(self.addresses.body, code, on=on)
        self._server.withhold(address_number, on=on)


def by_owner() -> dict[str, list[str]]:
    """Return the parts of the system by owner."""
    parts: dict[str, list[str]] = {}
    for part, owner in OWNERS.items():
        parts.setdefault(owner, []).append(part)
    return parts


def _written(position: int) -> str:
    return f"{position:010d}"


def _read(address_number: str) -> int:
    return int(address_number)


def copies_lag(received: Iterable[Received]) -> list[float]:
    """Return the age in days of the copies with which requests were answered."""
    return [
        (one.received_at - one.registered_at).total_seconds() / 86400 for one in received if one.registered_at
    ]  # fmt: skip
