"""One question, asked in three ways (D11): of a common database, of scattered ones by the individual number, and by
tokens that a core converts. Whoever sees an identifier or a value writes it down, so that what each way tells whom can
be compared."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum

from kazashi.provision_network.exchange import FlowTrace

OPERATOR = "whoever runs the database"


class Way(Enum):
    """How the question is asked."""

    COMMON_DATABASE = "common database"
    BY_NUMBER = "scattered databases, by number"
    BY_TOKENS = "scattered databases, by tokens"


@dataclass(frozen=True, slots=True)
class Sight:
    """Somebody has seen something: by which identifier the person is called, and a value of an item, or nothing."""

    who: str
    identifier: str
    value: str = ""


@dataclass
class Seen:
    """What one way has shown whom."""

    way: Way
    answer: dict[str, str] = field(default_factory=dict)
    sights: list[Sight] = field(default_factory=list)

    def by_whom(self) -> dict[str, dict[str, list[str]]]:
        """Who has seen which identifiers and which values."""
        found: dict[str, dict[str, list[str]]] = {}
        for sight in self.sights:
            entry = found.setdefault(sight.who, {"identifiers": [], "values": []})
            for name, value in (("identifiers", sight.identifier), ("values", sight.value)):
                if value and value not in entry[name]:
                    entry[name].append(value)
        return found

    def shared_identifiers(self) -> list[str]:
        """Identifiers that several have seen, by which they could put together what they know."""
        holders: dict[str, set[str]] = {}
        for sight in self.sights:
            if sight.identifier:
                holders.setdefault(sight.identifier, set()).add(sight.who)
        return sorted(identifier for identifier, who in holders.items() if len(who) > 1)


def ask_common_database(requester: str, number: str, rows: Mapping[tuple[str, str], Mapping[str, str]]) -> Seen:
    """One database of everything: `rows` are items by body and number."""
    seen = Seen(Way.COMMON_DATABASE)
    seen.sights += [Sight(requester, number), Sight(OPERATOR, number)]
    for (_, whose), items in rows.items():
        for item, value in items.items():
            # One table with one key: to find a row is to be able to read every row beside it.
            seen.sights.append(Sight(OPERATOR, whose, value))
            if whose == number:
                seen.answer[item] = value
                seen.sights.append(Sight(requester, number, value))
    return seen


def ask_by_number(requester: str, number: str, rows: Mapping[tuple[str, str], Mapping[str, str]]) -> Seen:
    """Each body has its own rows; the requester sends the number to each that has some."""
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
    """The same over the network: read from what went over it. `code_of` is a body's code for the person."""
    seen = Seen(Way.BY_TOKENS, dict(answer))
    for step in trace.steps:
        codes = [code_of(word.removeprefix("code of ")) for word in step.tells if word.startswith("code of ")]
        contents = [word.removeprefix("content of ") for word in step.tells if word.startswith("content of ")]
        for who in dict.fromkeys((step.sender, step.receiver)):
            seen.sights += [Sight(who, code) for code in codes]
            seen.sights += [Sight(who, "", answer[item]) for item in contents if item in answer]
    return seen
