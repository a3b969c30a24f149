"""Inside a body: one address number per person, and one connection from its offices' systems to the network.

The integrated address system (団体内統合宛名システム) links each office's own number for a person to one address number
of the body. Only it also stores the individual number. It hears from the resident registry, or from J-LIS, who has
arrived and who has left, and sends J-LIS for whom the body needs a code, and whose code has ended. The number-linkage
server (番号連携サーバー) stands between the offices' systems, which use their own numbers, and the intermediate server,
which uses codes.

Address numbers and offices' numbers are drawn at random. A number that is computed from another, or counted, tells what
the codes of the network are there to hide: whoever holds the numbers of two bodies could join them without the network.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from kazashi.provision_network.address_store import (
    ACTOR,
    ADDRESSEE,
    BUSINESS_NUMBER,
    INBOX,
    MATCH_FILE,
    MATCH_RECORD,
    MATCH_REPORT,
    MATCH_TIE,
    METADATA,
    OUTBOX,
    address_number,
    log,
    to_2,
)
from kazashi.provision_network.asking import OutgoingRequest
from kazashi.provision_network.codes import InstitutionCode
from kazashi.provision_network.interface_system import InterfaceSystem
from kazashi.provision_network.intermediate import Received
from kazashi.provision_network.law.rules import OrdinanceAffair
from kazashi.provision_network.law.tables import Purpose
from kazashi.provision_network.law.uses import Deed, Use, decide_use
from kazashi.provision_network.match_trail import end_ties
from kazashi.provision_network.terms import J_LIS, NetworkRejected
from kazashi.resident_registry.number import IndividualNumber
from kazashi.world.clock import today
from kazashi.world.home import World
from kazashi.world.outbox import Message
from kazashi.world.rng import secure_random
from kazashi.world.storage import insert_many

_ADDRESSES, _LOCAL_NUMBERS = 10**10, 10**9
"""How many address numbers there are (ten digits), and how many numbers of an office (nine digits)."""

OWNERS = {
    "core": "総務省", "interface system": "各機関", "intermediate platform": "地方公共団体情報システム機構",
    "intermediate server": "市町村", "integrated address system": "市町村", "number-linkage server": "市町村",
    "portal": "内閣官房", "J-LIS office": "地方公共団体情報システム機構",
}  # fmt: skip
"""The organisation that procures and runs each part (調達・管理分担)."""

_PEOPLE = 1_000
"""The maximum number of people in one message to J-LIS."""

_CHUNK = 5_000
_SOME: sa.BindParameter[Sequence[Any]] = sa.bindparam("some", expanding=True)
"""The keys for which a query is run."""

IssueCodes = Callable[[Sequence[str]], Sequence[InstitutionCode]]
"""A function that returns the body's codes for resident record codes, in the same order."""


_Change = tuple[str, str, bool, bool | None]
"""What has changed about a person: the individual number, the address number, whether the body knows the person now,
and whether the person is protected (None: the message does not say)."""


class AddressSystem:
    """The integrated address system of one body. The municipalities' have a common store; another body has its own."""

    outbox = OUTBOX

    def __init__(self, world: World, body: str, store: str = ACTOR) -> None:
        self._world = world
        self.body = body
        self.store = world.store(store, METADATA, [to_2])

    # Messages

    def receive(self, messages: Sequence[Message]) -> None:
        """Take messages about people, which a registry or J-LIS sends to this body.

        What follows for the people's codes is sent to J-LIS in the same transaction. A message about an unknown person,
        or a malformed one, is logged and changes nothing. Raises MessageGap.
        """
        now = self._world.clock.now()
        with self.store.alone() as connection:
            changes: dict[str, _Change] = {}
            for message in INBOX.fresh(connection, messages):
                try:
                    done = self._handle(connection, message)
                except (KeyError, TypeError, ValueError, NetworkRejected) as error:
                    detail = {"body": self.body, "kind": ascii(message.kind), "why": ascii(str(error))}
                    log(connection, now, "refused", detail)
                    continue
                for change in done:  # what is last said about an address number counts, and comes last
                    changes.pop(change[1], None)
                    changes[change[1]] = change
            if changes:
                receiver = messages[0].receiver
                people = list(changes.values())
                OUTBOX.put_all(connection, receiver, J_LIS, now, [
                    ("codes", {"body": self.body, "people": people[begin : begin + _PEOPLE]})
                    for begin in range(0, len(people), _PEOPLE)
                ])  # fmt: skip

    def _handle(self, connection: sa.Connection, message: Message) -> list[_Change]:
        """Return the people about whose codes something has changed. Raises NetworkRejected for unknown people, and
        KeyError, TypeError and ValueError for a malformed message."""
        body = message.body
        match message.kind:
            case "admit" | "roll":
                people = [(IndividualNumber(number), protected is True) for number, protected in body["people"]]
                gone: list[_Change] = []
                if message.kind == "roll":
                    listed = {number for number, _ in people}
                    absent = [number for number in self.here_in(connection) if number not in listed]
                    gone = [self._departed(connection, number) for number in absent]
                positions = self.admitted_in(connection, [number for number, _ in people])
                return [*gone, *(
                    (number, address_number(position), True, True if protected else None)
                    for (number, protected), position in zip(people, positions, strict=True)
                )]  # fmt: skip
            case "depart":
                return [self._departed(connection, IndividualNumber(body["individual_number"]))]
            case "renumber":
                self._renumber(connection, IndividualNumber(body["former"]), IndividualNumber(body["new"]))
                return []
            case "protect":
                number = IndividualNumber(body["individual_number"])
                return [(number, address_number(self._position(connection, number)), True, bool(body["protected"]))]
            case other:
                raise NetworkRejected("unknown-message", f"there is no message kind {other[:40]!r}")

    def _departed(self, connection: sa.Connection, number: str) -> _Change:
        position = self._position(connection, number)
        self.end_in(connection, position)
        return number, address_number(position), False, None

    def _renumber(self, connection: sa.Connection, former: str, new: str) -> None:
        """Give a person another individual number. The address number stays."""
        here = self.here_in(connection)
        if new in here:
            return
        if former not in here:
            raise NetworkRejected("unknown-person", f"nobody at {self.body} has that former individual number")
        table = ADDRESSEE
        same = table.c.position == here[former]
        connection.execute(sa.update(table).where(same).values(individual_number=new))

    def renumber(self, numbers: Mapping[str, str]) -> list[str]:
        """Give people whose individual number has changed their current one, by former number. Returns the former
        numbers by which this body knew somebody."""
        with self.store.alone() as connection:
            known = [former for former in self.here_in(connection) if former in numbers]
            for former in known:
                self._renumber(connection, former, numbers[former])
        return known

    def receivers(self) -> list[str]:
        """Return the names of all address systems in this store that have received messages."""
        with self.store.reading() as connection:
            return INBOX.receivers(connection)

    # People

    def admit(self, number: IndividualNumber) -> str:
        """Return a person's address number by the individual number. A person who is new, or had left, gets a new
        one."""
        return self.admit_all([number])[0]

    def admit_all(self, numbers: Sequence[IndividualNumber]) -> list[str]:
        """Return the address numbers of people, in the same order. People who are new get one."""
        with self.store.alone() as connection:
            return list(map(address_number, self.admitted_in(connection, numbers)))

    def admitted_in(self, connection: sa.Connection, numbers: Sequence[str]) -> list[int]:
        """Return people's address numbers like `admit_all`, as numbers, within a transaction of the store."""
        table = ADDRESSEE.c
        here = sa.select(table.individual_number, table.position).where(
            table.body == self.body, table.individual_number.in_(_SOME), sa.not_(table.left_us)
        )
        known: dict[str, int] = _pairs(connection, here, numbers)
        new = [number for number in dict.fromkeys(numbers) if number not in known]
        taken = sa.select(table.position, table.position).where(table.position.in_(_SOME))
        drawn = _drawn(_ADDRESSES, len(new), lambda some: _pairs(connection, taken, some))
        rows = [(position, self.body, number, False) for position, number in zip(drawn, new, strict=True)]
        insert_many(connection, ADDRESSEE, ("position", "body", "individual_number", "left_us"), rows)
        known |= dict(zip(new, drawn, strict=True))
        return [known[number] for number in numbers]

    def end_in(self, connection: sa.Connection, position: int) -> None:
        """End the address number of a person who has left, the offices' numbers and the ties of records, within a
        transaction. They get new ones if they come back."""
        table, business = ADDRESSEE, BUSINESS_NUMBER
        resident = (table.c.body == self.body) & (table.c.position == position)
        connection.execute(sa.update(table).where(resident).values(left_us=True))
        links = (business.c.body == self.body) & (business.c.addressee == position)
        connection.execute(sa.delete(business).where(links))
        end_ties(connection, self.body, position, self._world.clock.now())

    def _position(self, connection: sa.Connection, number: str) -> int:
        table = ADDRESSEE.c
        here = (table.body == self.body) & (table.individual_number == number) & sa.not_(table.left_us)
        position = connection.scalar(sa.select(table.position).where(here))
        if position is None:
            raise NetworkRejected("unknown-person", f"{self.body} knows nobody with that individual number")
        return int(position)

    def here_in(self, connection: sa.Connection) -> dict[str, int]:
        """Return the address numbers of all people whom the body knows now, as numbers, by individual number, within a
        transaction."""
        table = ADDRESSEE.c
        query = sa.select(table.individual_number, table.position)
        rows = connection.execute(query.where(table.body == self.body, sa.not_(table.left_us)))
        return {row.individual_number: row.position for row in rows}

    def address_number(self, number: IndividualNumber) -> str:
        """Return a person's address number by the individual number. Raises NetworkRejected if the body does not know
        the person (any more)."""
        with self.store.reading() as connection:
            return address_number(self._position(connection, number))

    def local_number(self, business: str, address_number: str) -> str:
        """Return an office's own number for a person, of nine digits. The office draws one if it has none yet."""
        return self.local_numbers(business, [address_number])[0]

    def local_numbers(self, business: str, address_numbers: Sequence[str]) -> list[str]:
        """Return an office's own numbers for people, in the same order."""
        table, addressees = BUSINESS_NUMBER.c, list(map(_read, address_numbers))
        office = (table.body == self.body) & (table.business == business)
        linked = sa.select(table.addressee, table.local_number).where(office, table.addressee.in_(_SOME))
        taken = sa.select(table.local_number, table.addressee).where(office, table.local_number.in_(_SOME))
        with self.store.alone() as connection:
            known: dict[int, str] = _pairs(connection, linked, addressees)
            new = [addressee for addressee in dict.fromkeys(addressees) if addressee not in known]
            drawn = _drawn(
                _LOCAL_NUMBERS, len(new), lambda some: map(int, _pairs(connection, taken, list(map(_local, some))))
            )
            rows = [(self.body, business, _local(number), one) for number, one in zip(drawn, new, strict=True)]
            insert_many(connection, BUSINESS_NUMBER, ("body", "business", "local_number", "addressee"), rows)
        known |= {one: _local(number) for number, one in zip(drawn, new, strict=True)}
        return [known[addressee] for addressee in addressees]

    def tie(self, business: str, local_number: str, address_number: str) -> None:
        """Link an office's own number for a person to an address number. Raises NetworkRejected if it is linked to
        another one."""
        table = BUSINESS_NUMBER
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
        table = BUSINESS_NUMBER
        link = (table.c.body == self.body) & (table.c.business == business) & (table.c.local_number == local_number)
        with self.store.reading() as connection:
            position = connection.scalar(sa.select(table.c.addressee).where(link))
        if position is None:
            raise NetworkRejected("not-tied", f"{business} {local_number} is not linked to anybody at {self.body}")
        return address_number(position)

    def search(
        self, number: IndividualNumber, use: Use, ordinances: Iterable[OrdinanceAffair] = ()
    ) -> str | None:  # fmt: skip
        """Return a person's address number by the individual number, or None.

        The use must be allowed by article 9, and the search is logged. `ordinances` are those that the body has filed.
        Raises NetworkRejected if the use is not allowed.
        """
        decision = decide_use(use, today(self._world.clock), ordinances)
        if not decision.allowed or use.deed is not Deed.SEARCH:
            raise NetworkRejected("no-basis", decision.words if not decision.allowed else "the use is not a search")
        table = ADDRESSEE
        resident = (table.c.body == self.body) & (table.c.individual_number == number) & sa.not_(table.c.left_us)
        with self.store.transaction() as connection:
            log(connection, self._world.clock.now(), "searched", {"body": self.body, "rule": decision.rule})
            position = connection.scalar(sa.select(table.c.position).where(resident))
        return None if position is None else address_number(position)

    def note(self, business: str, what: str) -> None:
        """Log that an office has used the number-linkage server."""
        with self.store.transaction() as connection:
            log(connection, self._world.clock.now(), what, {"body": self.body, "business": business})

    def leave(self, address_number: str) -> None:
        """End the address number of a person whom the body itself has taken off its list."""
        with self.store.alone() as connection:
            self.end_in(connection, _read(address_number))

    def dissolve(self) -> None:
        """Delete all numbers and records of a body that leaves the network. The trail of its ties stays."""
        with self.store.alone() as connection:
            for table in (ADDRESSEE, BUSINESS_NUMBER, MATCH_TIE, MATCH_RECORD, MATCH_REPORT, MATCH_FILE):
                connection.execute(sa.delete(table).where(table.c.body == self.body))
            log(connection, self._world.clock.now(), "dissolved", {"body": self.body})

    def here(self) -> list[str]:
        """Return the address numbers of all people whom the body knows now."""
        return sorted(self.by_number().values())

    def by_number(self) -> dict[str, str]:
        """Return the address numbers of all people whom the body knows now, by individual number."""
        with self.store.reading() as connection:
            return {number: address_number(position) for number, position in self.here_in(connection).items()}


class NumberLinkageServer:
    """The hub of one body: its offices use the network only through this server."""

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

    def without_code(self) -> list[str]:
        """Return the address numbers of the people who have no code here yet."""
        return self._server.without_code(self.addresses.here())

    def without_copy(self) -> list[str]:
        """Return the address numbers of the people who have no copy here yet."""
        return self._server.without_copy(self.addresses.here())

    def contents(self, item: str) -> dict[str, str]:
        """Return what the body has registered about the people whom it knows, by individual number."""
        registered, people = self._server.contents(item), self.addresses.by_number()
        return {number: registered[address] for number, address in people.items() if address in registered}

    def register(
        self, business: str, local_number: str, item: str, content: str, *, by_hand: bool = False
    ) -> None:  # fmt: skip
        """Register an office's information about a person as a copy for other bodies (副本登録). Raises
        NetworkRejected."""
        self.addresses.note(business, "register")
        address = self.addresses.resolve(business, local_number)
        self._server.register(self._server.code_of(address), address, item, content, by_hand=by_hand)

    def register_lacking(self, business: str, item: str, content: Callable[[str], str]) -> int:
        """Register an item about everybody who has a code and no copy yet, with the content by address number. Returns
        the number of people."""
        lacking = self._server.awaiting_copy()
        if lacking:
            self.addresses.local_numbers(business, [address for address, _ in lacking])
            self.addresses.note(business, "register")
            self._server.register_all([(code, address, item, content(address), False) for address, code in lacking])
        return len(lacking)

    def ask(
        self, business: str, local_number: str, purpose: Purpose, provider: str, *, consent: bool = False
    ) -> int:  # fmt: skip
        """Request an item from another body for an office. Returns the process number. Raises NetworkRejected."""
        self.addresses.note(business, "ask")
        code = self._server.code_of(self.addresses.resolve(business, local_number))
        return self._interface.asking.ask(self.addresses.body, code, purpose, [provider], consent=consent)

    def fetch(self, business: str, process: int) -> tuple[OutgoingRequest, Received | None]:
        """Return the state of a process, and the answer if it has arrived. Raises NetworkRejected."""
        self.addresses.note(business, "fetch")
        request = self._interface.asking.request(process)
        if request.body != self.addresses.body:
            raise NetworkRejected("unknown-process", f"{self.addresses.body} has no process {process}")
        return request, self._server.received(process)

    def depart(self, address_number: str) -> None:
        """Delete the links, code and copies of a person whom the body has taken off its list."""
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


def _pairs(connection: sa.Connection, query: sa.Select[Any], some: Sequence[Any]) -> dict[Any, Any]:
    """Run a query of two columns for some keys, a chunk at a time, and return the rows as a dictionary."""
    found: dict[Any, Any] = {}
    for begin in range(0, len(some), _CHUNK):
        found.update(
            (row[0], row[1]) for row in connection.execute(query, {"some": list(some[begin : begin + _CHUNK])})
        )
    return found


def _drawn(count: int, amount: int, taken: Callable[[Sequence[int]], Iterable[int]]) -> list[int]:
    """Different random numbers from 1 to `count` - 1, of which none is taken."""
    drawn: dict[int, None] = {}
    while missing := amount - len(drawn):
        fresh = dict.fromkeys(1 + secure_random(64) % (count - 1) for _ in range(missing))
        unusable = {*taken(list(fresh)), *drawn}
        drawn |= dict.fromkeys(number for number in fresh if number not in unusable)
    return list(drawn)


def _local(number: int) -> str:
    return f"{number:09d}"


def _read(address_number: str) -> int:
    return int(address_number)


def copies_lag(received: Iterable[Received]) -> list[float]:
    """Return the age in days of the copies with which requests were answered."""
    return [
        (one.received_at - one.registered_at).total_seconds() / 86400 for one in received if one.registered_at
    ]  # fmt: skip
