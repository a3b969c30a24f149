"""Lists of copies that a body registers at once: from a file, or from its own system over HTTP. All or none of a list
are registered."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from kazashi.provision_network.documents import DocumentRejected
from kazashi.provision_network.interface_system import InterfaceSystem
from kazashi.provision_network.terms import NetworkRejected, text_of

COLUMNS = ("item", "content", "hold")
"""The columns of a list beside the one that names the person."""

PERSON, ADDRESS_NUMBER = "person", "address_number"
"""The column that names the person: as a person in the registry, or by the body's own address number."""

MOST_COPIES = 10_000
"""The maximum number of copies in one list."""

_HOLD = {"": False, "no": False, "false": False, "0": False, "yes": True, "true": True, "1": True}


@dataclass(frozen=True, slots=True)
class ListedCopy:
    """A line of a list: the person's address number, the item, the content, and whether a person must check each
    request for it (自動応答不可)."""

    address_number: str
    item: str
    content: str
    hold: bool

    @classmethod
    def of(cls, entry: Any) -> ListedCopy:
        """Parse a JSON object. Raises KeyError, TypeError and ValueError."""
        content, hold = entry["content"], entry.get("hold", False)
        if not isinstance(content, str) or not isinstance(hold, bool):
            raise ValueError("content must be a text, and hold must be true or false")
        return cls(text_of(entry["address_number"]), text_of(entry["item"]), content, hold)


def copies_in(text: str, address_of: Callable[[str], str]) -> tuple[list[ListedCopy], Callable[[int], str]]:
    """Parse a list in CSV with a line of column names. `address_of` returns the address number for a value of the
    column `person`.

    Returns the copies, and a function that names the line of each. Raises DocumentRejected.
    """
    reader = csv.reader(io.StringIO(text.removeprefix("\ufeff"), newline=""), strict=True)
    copies: list[ListedCopy] = []
    lines: list[int] = []
    try:
        names = [name.strip() for name in next(reader, [])]
        if sorted(names) not in (sorted((PERSON, *COLUMNS)), sorted((ADDRESS_NUMBER, *COLUMNS))):
            raise DocumentRejected(f"line 1: the columns must be {PERSON} or {ADDRESS_NUMBER}, {', '.join(COLUMNS)}")
        for values in reader:
            if not values:
                continue
            where = f"line {reader.line_num}"
            if len(values) != len(names):
                raise DocumentRejected(f"{where}: there are {len(values)} values for {len(names)} columns")
            line = dict(zip(names, values, strict=True))
            hold = _HOLD.get(line["hold"].strip().lower())
            if hold is None:
                raise DocumentRejected(f"{where}: hold must be yes or no, not {line['hold'][:40]!r}")
            try:
                address = line[ADDRESS_NUMBER].strip() if ADDRESS_NUMBER in line else address_of(line[PERSON].strip())
            except NetworkRejected as rejected:
                raise DocumentRejected(f"{where}: {rejected}") from rejected
            copies.append(ListedCopy(address, line["item"].strip(), line["content"], hold))
            lines.append(reader.line_num)
    except csv.Error as error:
        raise DocumentRejected(f"line {reader.line_num}: {error}") from error
    return copies, lambda place: f"line {lines[place]}"


def register_copies(
    interface: InterfaceSystem, body: str, copies: Sequence[ListedCopy], place: Callable[[int], str]
) -> int:  # fmt: skip
    """Register a body's copies, all or none, and return their number. `place` names a copy by its index in messages.

    Raises DocumentRejected for an unknown person or item, content that cannot be stored, and two copies of one item for
    one person; and NetworkRejected if the body is not behind this interface system.
    """
    server, items = interface.server(body), interface.items()
    if not 1 <= len(copies) <= MOST_COPIES:
        raise DocumentRejected(f"a list must have 1 to {MOST_COPIES} copies, not {len(copies)}")
    codes = server.known_codes({copy.address_number for copy in copies})
    seen: set[tuple[str, str]] = set()
    for index, copy in enumerate(copies):
        if copy.address_number not in codes:
            raise DocumentRejected(f"{place(index)}: {body} has no code for {copy.address_number[:40]!r}")
        if copy.item not in items:
            words = f"{copy.item[:40]!r} is not an item of the table of affairs or of a published ordinance"
            raise DocumentRejected(f"{place(index)}: {words}")
        if (copy.address_number, copy.item) in seen:
            raise DocumentRejected(f"{place(index)}: there is an earlier copy of {copy.item} for the same person")
        seen.add((copy.address_number, copy.item))
        try:
            server.check(copy.item, copy.content)
        except NetworkRejected as rejected:
            raise DocumentRejected(f"{place(index)}: {rejected}") from rejected
    server.register_all([(codes[one.address_number], one.address_number, one.item, one.content, one.hold)
                         for one in copies])  # fmt: skip
    return len(copies)
