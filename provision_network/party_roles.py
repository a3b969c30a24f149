"""Which roles a body or another party has under article 19: by the kind of a body on the network, or by the name of a
party that is not on it.

Names of parties outside the network are a table, because nobody may state a role for a party that it wants to give
something to. A name that is not in the table is anybody's, and gets the role of a contractor by a registered contract
only.
"""

from __future__ import annotations

from functools import lru_cache

from kazashi.provision_network.law.provisions import Party
from kazashi.provision_network.law.rules import LOCAL_GOVERNMENTS
from kazashi.provision_network.law.tables import read_table

PERSON = "本人"
"""The name of the person themselves as a sender or receiver."""

_BODY = (Party.IMPLEMENTER, Party.RELATED)
"""The roles of every other body on the network: it uses the number, and hands in forms about others."""

_ORGANS = ("教育委員会", "知事", "市長", "区長", "町長", "村長")
"""The endings of names of organs of a local government."""


def roles_of(name: str, kind: str = "") -> tuple[Party, ...]:
    """Return the roles of a party by its kind, which is empty for a party that is not on the network."""
    if kind:
        found = tuple(role for match, text, role in _table() if (match, text) == ("kind", kind))
        return (*found, Party.RELATED) if found and found != (Party.ANYBODY,) else found or _BODY
    named = tuple(role for match, text, role in _table() if (match, text) == ("name", name))
    ending = tuple(role for match, text, role in _table() if match == "ending" and name.endswith(text))
    return named or ending or (Party.ANYBODY,)


def same_government(one: str, one_kind: str, other: str, other_kind: str) -> bool:
    """Return whether two different bodies are organs of one local government, by their kinds and names: a town's board
    of education has the town's name before its own."""
    local = one_kind in LOCAL_GOVERNMENTS and other_kind in LOCAL_GOVERNMENTS
    return local and one != other and _government(one) == _government(other)


def _government(name: str) -> str:
    return next((name.removesuffix(organ) for organ in _ORGANS if name.endswith(organ)), name)


@lru_cache(maxsize=1)
def _table() -> tuple[tuple[str, str, Party], ...]:
    lines = read_table("party_roles.csv", ("match", "text", "role", "source"))
    return tuple((line["match"], line["text"], Party(line["role"])) for line in lines)
