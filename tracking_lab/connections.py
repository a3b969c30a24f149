"""The address prefix and the user agent of online uses, which a service sees whatever the credential is.

They are computed from the plan's seed when they are needed, so that they change nothing else in a population. Uses at a
counter have none: the terminal there is the service's own.

The model, in which each number is invented unless a source is named:

* A prefix is an IPv6 /48 or an IPv4 /24. A home gets a /56 of the former (RFC 6177) or an address of the latter, so
  that 256 homes of a town share a prefix. A home changes its prefix every 1,000 days.
* Half of the uses are on a mobile network. Each town has gateways of each carrier, with one address for 64 subscribers
  (carrier-grade NAT, RFC 6888), so that 16,384 subscribers share a prefix; people change among gateways daily.
* The user agent, without its version numbers, tells the kind of device. A phone is used for four years, a computer for
  six. At home, people use the computer in four of ten uses.
"""

from __future__ import annotations

from hashlib import sha256
from typing import Any

import numpy as np
import polars as pl

from kazashi.tracking_lab.plan import DAY, zipf_weights

HOMES, SUBSCRIBERS = 256, 16_384
"""The homes and the mobile subscribers that share a prefix."""

_LINE_DAYS, _PHONE_DAYS, _COMPUTER_DAYS = 1_000, 1_461, 2_192
_MOBILE, _ON_COMPUTER = 0.5, 0.4
_CARRIERS = (0.4, 0.3, 0.2, 0.1)
"""The carriers' shares of subscribers (invented)."""

_PHONES, _COMPUTERS = 200, 50
"""The numbers of agents of phones and computers; a few are frequent (Zipf's law)."""

_GATES = 1 << 20
"""More prefixes than a carrier has in a town."""


def connections(uses: pl.DataFrame, homes: int, people: int, seed: str) -> pl.DataFrame:
    """The uses of one town's people with the columns `network` and `agent`, both numbers without a meaning. `uses` has
    one row per online use: `person`, `household`, `moment` (seconds). `homes` and `people` are those of the town."""
    person, household, moment = (
        uses[name].to_numpy().astype(np.uint64) for name in ("person", "household", "moment")
    )  # fmt: skip
    day = moment // np.uint64(DAY)
    draw = _Draw(seed)
    mobile = draw.share("mobile", person, moment) < _MOBILE
    line = draw.number("home", household, _period(draw, "line", household, day, _LINE_DAYS)) % np.uint64(
        -(-homes // HOMES) or 1
    )
    carrier = np.searchsorted(np.cumsum(_CARRIERS)[:-1], draw.share("carrier", person), side="right")
    gates = np.array([max(1, -(-round(people * share) // SUBSCRIBERS)) for share in _CARRIERS], np.uint64)
    gate = draw.number("gate", person, day) % gates[carrier] + (carrier.astype(np.uint64) + np.uint64(1)) * np.uint64(
        _GATES
    )
    computer = ~mobile & (draw.share("device", person, moment) < _ON_COMPUTER)
    phones = _kind(draw.share("phone", person, _period(draw, "bought", person, day, _PHONE_DAYS)), _PHONES)
    computers = _kind(draw.share("computer", person, _period(draw, "owned", person, day, _COMPUTER_DAYS)), _COMPUTERS)
    return uses.with_columns(
        network=pl.Series(np.where(mobile, gate, line).astype(np.int64)),
        agent=pl.Series(np.where(computer, _PHONES + computers, phones).astype(np.int64)),
    )


class _Draw:
    """Random numbers that depend on the seed, a purpose and some columns of numbers, whatever the order of rows
    (SplitMix64, Steele, Lea and Flood 2014)."""

    def __init__(self, seed: str) -> None:
        self._seed = seed

    def number(self, purpose: str, *columns: Any) -> Any:
        """A number of 64 bits for each row."""
        begin = int.from_bytes(sha256(f"{self._seed}\0connections\0{purpose}".encode()).digest()[:8])
        mixed = np.full(len(columns[0]), begin, np.uint64)
        for column in columns:
            mixed = _mixed(mixed ^ _mixed(column))
        return mixed

    def share(self, purpose: str, *columns: Any) -> Any:
        """A number from 0 to 1 for each row."""
        return (self.number(purpose, *columns) >> np.uint64(11)) / float(1 << 53)


def _mixed(number: Any) -> Any:
    with np.errstate(over="ignore"):
        mixed = number + np.uint64(0x9E3779B97F4A7C15)
        mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))


def _period(draw: _Draw, purpose: str, who: Any, day: Any, days: int) -> Any:
    """The number of the period of `days` in which each row lies. Each person's or household's periods begin on a day of
    their own."""
    return (day + draw.number(purpose, who) % np.uint64(days)) // np.uint64(days)


def _kind(share: Any, kinds: int) -> Any:
    return np.searchsorted(np.cumsum(zipf_weights(kinds))[:-1], share, side="right")
