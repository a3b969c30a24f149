"""The SQL and the code behind the results, by a name that results refer to."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from inspect import getsource
from textwrap import dedent
from typing import Any

from kazashi.tracking_lab import (
    attributes,
    authority_log,
    batches,
    coalitions,
    connections,
    exposure,
    linkers,
    metrics,
    timeline,
    without_handles,
)
from kazashi.tracking_lab.linkers import EXACT, OF_PERSONS, TOGETHER, singling_out
from kazashi.tracking_lab.plan import DAY, HOUR

SPANS, POINTS, TRIED, SEED = (1, 7, 30), 6, 1_500, 1
"""Of X7 (unicity): the days of a time span, the most points known, the number of people tried, and the seed that
selects them."""

_REQUESTS = "SELECT shown, moment FROM uses u JOIN service s ON s.service = u.service WHERE s.asks"
_REPLIES = "SELECT service, count(*) FROM uses WHERE shown = :serial GROUP BY service"


def code(*functions: Callable[..., Any]) -> str:
    """The source code of functions."""
    return "\n\n".join(dedent(getsource(function)).strip() for function in functions)


QUERIES = {
    "exact-join": dedent(EXACT.format(handle="shown")).strip(),
    "shared-persons": dedent(OF_PERSONS).strip(),
    "same-hours": f"-- hour = {HOUR}, least = 2; one and other are services\n{TOGETHER.strip()}",
    "unicity": f"-- points = {POINTS}, people = {TRIED}, span = {7 * DAY}, seed = {SEED}\n"
               f"{dedent(singling_out(POINTS)).strip()}",
    "authority-requests": _REQUESTS,
    "service-replies": _REPLIES,
    "digest-join": code(linkers.hashed, linkers.digest_join, linkers.exact_join),
    "pairwise": code(metrics.pairwise),
    "clusters": code(metrics.clusters),
    "time-to-link": code(metrics.time_to_link),
    "by-timing": code(linkers.by_timing, linkers.successors),
    "dictionary": code(linkers.dictionary, metrics.hash_cost),
    "attributes": code(attributes.evened, attributes.candidates, attributes.best),
    "anonymity": code(metrics.anonymity, metrics.record_risk),
    "games": code(metrics.advantage, metrics.area_under_curve, metrics.anonymeter),
    "coalitions": code(coalitions.coalitions),
    "without-handles": "\n\n".join((
        dedent(without_handles.ONLINE_USES).strip(),
        code(connections.connections, without_handles.by_key, without_handles.within_a_day),
    )),
    "authority-log": "\n\n".join((
        f"-- near: the examined uses, and each second within {authority_log.SECONDS} of them\n"
        f"{authority_log.OTHERS.format(asks=authority_log.ASKED).strip()}",
        code(authority_log.by_time, authority_log.regularity),
    )),
    "batches": code(batches.shown_from),
    "exposure-path": code(exposure.Exposure.path),
    "timeline": code(timeline.timeline_of),
}  # fmt: skip
"""The queries and functions, by name. Parameters are in a comment, or are `:named`."""


def queries(names: Iterable[str]) -> dict[str, str]:
    """The queries and functions with certain names. Raises KeyError."""
    return {name: QUERIES[name] for name in names}
