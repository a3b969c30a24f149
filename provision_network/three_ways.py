"""One question, answered in three ways: from a common database, from separate databases by the individual number, and
from separate databases by tokens that a core converts. Every identifier and value that a party sees is recorded, so
that the exposure of the three ways can be compared."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum

from kazashi.provision_network.exchange import FlowTrace

OPERATOR = "whoever runs the database"


class Way(Enum):
    """The architecture that answers the question."""

    COMMON_DATABASE = "common database"
    BY_NUMBER = "scattered databases, by number"
    BY_TOKENS = "scattered databases, by tokens"


@dataclass(frozen=True, slots=True)
class Sight:
    """One observation: the party, the person's identifier, and the value of an item; either can be empty."""

    who: str
    identifier: str
    value: str = ""


@dataclass
class Seen:
    """The answer by one way, and what each party has seen."""

    way: Way
    answer: dict[str, str] = field(default_factory=dict)
    sights: list[Sight] = field(default_factory=list)

    def by_whom(self) -> dict[str, dict[str, list[str]]]:
        """Return the identifiers and the values that each party has seen."""
        parties: dict[str, dict[str, list[str]]] = {}
        for sight in self.sights:
            entry = parties.setdefault(sight.who, {"identifiers": [], "values": []})
            for name, value in (("identifiers", sight.identifier), ("values", sight.value)):
                if value and value not in entry[name]:
                    entry[name].append(value)
        return parties

    def shared_identifiers(self) -> list[str]:
        """Return the identifiers that several parties have seen, and by which they could link their data."""
        holders: dict[str, set[str]] = {}
        for sight in self.sights:
            if sight.identifier:
                holders.setdefault(sight.identifier, set()).add(sight.who)
        return sorted(identifier for identifier, who in holders.items() if len(who) > 1)


def ask_common_database(requester: str, number: str, rows: Mapping[tuple[str, str], Mapping[str, str]]) -> Seen:
    """Answer from one database of everything. `rows` has the items by body and number."""
    seen = Seen(Way.COMMON_DATABASE)
    seen.sights += [Sight(requester, number), Sight(OPERATOR, number)]
    for (_, whose), items in rows.items():
        for item, value in items.items():
            # One table with one key: the operator, who can find a row, can read all rows.
            seen.sights.append(Sight(OPERATOR, whose, value))
            if whose == number:
                seen.answer[item] = value
                seen.sights.append(Sight(requester, number, value))
    return seen


def ask_by_number(requester: str, number: str, rows: Mapping[tuple[str, str], Mapping[str, str]]) -> Seen:
    """Answer from each body's own rows: the requester sends the number to every body that has rows for it."""
    seen = Seen(Way.BY_NUMBER)
    for (body, whose), items in rows.items():
        if whose != number:
            continue
        seen.sights += [Sight(requester, number), Sight(body, number)]
        for item, value in items.items():
            seen.answer[item] = value
            seen.sights += [Sight(body, number, value), Sight(requester, number, value)]
    return seen


def seen_by_tokens(answer: Mapping[str, str], trace: FlowTrace, code_of: Callable[[str], str]) -> Seen:
    """Return what the network exposed, read from the trace of an exchange. `code_of` returns a body's code for the
    person."""
    seen = Seen(Way.BY_TOKENS, dict(answer))
    for step in trace.steps:
        codes = [code_of(word.removeprefix("code of ")) for word in step.tells if word.startswith("code of ")]
        contents = [word.removeprefix("content of ") for word in step.tells if word.startswith("content of ")]
        for who in dict.fromkeys((step.sender, step.receiver)):
            seen.sights += [Sight(who, code) for code in codes]
            seen.sights += [Sight(who, "", answer[item]) for item in contents if item in answer]
    return seen
