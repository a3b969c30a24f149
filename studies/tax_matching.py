"""How well a tax office's records are matched with its taxpayers (名寄せ): by number, by the four attributes, and by
both, on the same file.

The ground truth is whose number the tax agency's reference of a record belongs to, which neither party knows alone.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from kazashi.assembly.network import Network
from kazashi.assembly.network_outside import outside_addresses
from kazashi.assembly.tax_link import TaxLink
from kazashi.provision_network.name_matching import Found, NameMatch, right
from kazashi.provision_network.tax_returns import TAX_AGENCY, TaxReturn, returns_in
from kazashi.provision_network.transfer_files import parsed_file
from kazashi.tracking_lab.metrics import Share

BY_NUMBER, BY_ATTRIBUTES, BOTH = "by number", "by attributes", "number, else attributes"


@dataclass(frozen=True, slots=True)
class MatchQuality:
    """One way of matching, on one file. Precision is of the records that were matched, recall of those whose person is
    on the roll. `per_second` is the number of matchings a second, without reading the file."""

    way: str
    precision: Share
    recall: Share
    by_hand: Share
    per_second: float


def matched_three_ways(network: Network, body: str, content: bytes) -> list[MatchQuality]:
    """Match a file for a municipality in three ways, and compare each with the truth. Nothing is stored. Raises
    FileRejected and NetworkRejected."""
    link, file = TaxLink(network), parsed_file(content)
    returns, roll, ours = returns_in(file), link.roll(body), link.numbers(body)
    agency = outside_addresses(network, TAX_AGENCY).by_number()
    true = {reference: ours.get(number) for number, reference in agency.items()}
    ways: dict[str, Callable[[TaxReturn], NameMatch]] = {
        BY_NUMBER: lambda one: (roll.by_number(one.individual_number, one.attributes) if one.individual_number
                                else NameMatch(None, Found.NOBODY, 0)),
        BY_ATTRIBUTES: lambda one: roll.by_attributes(one.attributes),
        BOTH: lambda one: roll.match(one.individual_number, one.attributes),
    }  # fmt: skip
    return [_quality(way, match, returns, true) for way, match in ways.items()]


def _quality(
    way: str, match: Callable[[TaxReturn], NameMatch], returns: list[TaxReturn], true: dict[str, str | None]
) -> MatchQuality:  # fmt: skip
    begun = time.perf_counter()
    found = [match(one).person for one in returns]
    seconds = time.perf_counter() - begun
    pairs = [(person, true.get(one.reference)) for person, one in zip(found, returns, strict=True)]
    good, matched, on_roll = right(pairs)
    return MatchQuality(
        way, Share(good, matched), Share(good, on_roll), Share(len(returns) - matched, len(returns)),
        len(returns) / seconds if seconds else 0.0,
    )  # fmt: skip
