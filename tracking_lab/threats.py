"""The threat runs T1 to T19: attackers with certain data, what they can link with it, and how well.

Each run gets only the data that its actors hold; the ground truth is used for scoring alone. A control links as many
pairs by chance. Runs over actors' stores (T10, T12, T13) use the exposure graph instead, which is read from the disks
of a small world.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial

import polars as pl

from kazashi.tracking_lab.accounts import registered
from kazashi.tracking_lab.attributes import TooFewRecords, best, candidates
from kazashi.tracking_lab.authority_log import named_services, regularity, timed_links
from kazashi.tracking_lab.batches import Batch, shown_from
from kazashi.tracking_lab.certificates import EndReason
from kazashi.tracking_lab.countermeasures import countermeasure, handles
from kazashi.tracking_lab.evidence import PopulationTables, same_person
from kazashi.tracking_lab.exposure import Exposure, HandlePath
from kazashi.tracking_lab.linkers import by_timing, digest_join, hashed, together
from kazashi.tracking_lab.metrics import PairCounts, Share, gap_entropy, pairwise, reidentified
from kazashi.tracking_lab.parts import Parts
from kazashi.tracking_lab.results import Measurement, Sample, ThreatRun, Unit
from kazashi.tracking_lab.revocation_checks import CHECKS
from kazashi.tracking_lab.without_handles import HandlelessLinks

Results = tuple[Measurement, ...]

HOURS_OPEN = 14

SIZES = (1, 5, 10, 20, 50)
"""The sizes of the batches in T19: attestations per person and year."""


def run_all(evidence: PopulationTables, parts: Parts) -> list[ThreatRun]:
    """Run every threat on a population, in order. Each run is a part, by its id."""
    threats = []
    for run in RUNS:
        threats.append(parts.run(run.id, partial(_run, run, evidence)))
    return threats


def _run(run: PopulationRun, evidence: PopulationTables) -> ThreatRun:
    sample = Sample(run.examined(evidence), evidence.residents, Unit.PEOPLE)
    return ThreatRun(run.id, run.results(evidence), run.query, sample)


def _under(evidence: PopulationTables, measure: str, key: str = "handle") -> PairCounts:
    """X1 (precision and recall of pairs) under the countermeasure with an id."""
    return pairwise(evidence.under(countermeasure(measure)).rows, key)


def _serial_numbers(evidence: PopulationTables) -> Results:
    link = pairwise(evidence.logins, "shown")
    return (Measurement("recall", link.recall, measure="X1"), Measurement("precision", link.precision, measure="X1"))


def _digests(evidence: PopulationTables) -> Results:
    engine = evidence.engine
    plain = evidence.joins
    common, salted = (
        digest_join(engine, salt, plain) for salt in (hashed(engine, salt="common"), hashed(engine, service=True))
    )
    return (
        Measurement("plain-digest-links-the-same", plain.equals(evidence.digest_joins), Unit.TRUTH, "X1"),
        Measurement("common-salt-links-the-same", plain.equals(common), Unit.TRUTH, "X1"),
        Measurement("links-by-service-salt", int(salted["linked"].sum()), Unit.PAIRS, "X1"),
        Measurement("dictionary-recall", _under(evidence, "salted-hash", "shown").recall, measure="X11"),
        Measurement("keyed-recall", _under(evidence, "keyed-pairwise").recall, measure="X1"),
    )  # fmt: skip


def _with_the_platform_s_key(evidence: PopulationTables) -> Results:
    return (
        Measurement("keyed-recall", _under(evidence, "keyed-pairwise", "shown").recall, measure="X1"),
        Measurement("user-id-recall", _under(evidence, "tenant-user-id", "person").recall, measure="X1"),
    )


def _ocsp_requests(evidence: PopulationTables) -> Results:
    moments = evidence.moments
    requests = moments.filter("asks")
    people = Share(requests["person"].n_unique(), moments["person"].n_unique())
    return (
        Measurement("uses-seen", Share(requests.height, moments.height), measure="X12"),
        Measurement("people-seen", people, measure="X12"),
        Measurement("gap-entropy", gap_entropy(requests), Unit.BITS, "X12"),
    )


def _renewals(evidence: PopulationTables) -> Results:
    return _successors(evidence, EndReason.SUPERSEDED, signature=False, same_chain=True, beside=("birth_year",))


def _lost_cards(evidence: PopulationTables) -> Results:
    return _successors(evidence, EndReason.THEFT, signature=False, same_chain=False, beside=("birth_year",))


def _moves(evidence: PopulationTables) -> Results:
    results = _successors(
        evidence, EndReason.MOVE_WITHIN, signature=True, same_chain=True, beside=("born", "sex", "given")
    )
    moved = evidence.certificates.filter(reason=EndReason.MOVE_WITHIN, kind=True)
    alive = evidence.certificates.filter(kind=False).select("person", "begins", "ended", own="shown")
    lives = moved.select("person", "shown", at="ended").join(alive, on="person").filter(
        (pl.col("begins") <= pl.col("at")) & (pl.col("ended") > pl.col("at"))
    )  # fmt: skip
    outlives = Share(lives["shown"].n_unique(), moved.height)
    return (*results, Measurement("authentication-outlives", outlives, measure="X3"))


def _successors(
    evidence: PopulationTables, reason: EndReason, *, signature: bool, same_chain: bool, beside: tuple[str, ...]
) -> Results:  # fmt: skip
    """X3 (renewals) at single services: with the chain of one card, with all links of a person, by equality, and by
    timing without and with attributes."""
    wanted = evidence.followers(reason, signature, same_chain)
    tie = evidence.certificates.select("shown", "person", tie=pl.struct("person", "medium", "chain"))
    tied = wanted.join(tie, left_on="former", right_on="shown").join(
        tie, left_on="later", right_on="shown", suffix="_later"
    )
    chained = tied.filter(pl.col("tie") == pl.col("tie_later")).height
    linked = tied.filter(pl.col("person") == pl.col("person_later")).height
    equal = wanted.filter(pl.col("former") == pl.col("later")).height
    return (
        Measurement("chain", Share(chained, wanted.height), measure="X3"),
        Measurement("person", Share(linked, wanted.height), measure="X3"),
        Measurement("equality", Share(equal, wanted.height), measure="X3"),
        *_by_timing(evidence, wanted, evidence.by_day(signature), (), "timing"),
        *_by_timing(evidence, wanted, evidence.by_day(signature, *beside), beside, "timing-and-attributes"),
    )


def _by_timing(
    evidence: PopulationTables, wanted: pl.DataFrame, seen: pl.DataFrame, beside: tuple[str, ...], name: str
) -> Results:  # fmt: skip
    """The recall and precision of the pairs that timing guesses, and the precision of the same pairs shuffled."""

    def right(pairs: pl.DataFrame) -> Share:
        return Share(same_person(pairs, evidence.certificates, evidence.certificates).height, pairs.height)

    guessed = by_timing(seen, beside=beside).unique().sort("former", "later")
    hits = guessed.join(wanted, on=["former", "later"]).height
    chance = guessed.with_columns(pl.col("later").shuffle(1))
    return (
        Measurement(name, Share(hits, wanted.height), measure="X3"),
        Measurement(f"{name}-precision", right(guessed), measure="X3"),
        Measurement(f"{name}-control", right(chance), measure="X3"),
    )


def _signatures_and_logins(evidence: PopulationTables) -> Results:
    link = _by_attributes(evidence, "signing", "login")
    return (
        Measurement("recall", link.recall, measure="X1"),
        Measurement("precision", link.precision, measure="X1"),
        Measurement("control", link.control, measure="X1"),
    )


@dataclass(frozen=True, slots=True)
class _Attributes:
    """X1 (precision and recall) of accounts linked by attributes, and the precision of a control."""

    recall: Share
    precision: Share
    control: Share


def _by_attributes(evidence: PopulationTables, one: str, other: str) -> _Attributes:
    """Link the accounts of two kinds of service by the attributes that people gave. The shares are of nothing if there
    are too few accounts to estimate weights."""
    accounts = evidence.accounts
    left, right = (_first_of_each(accounts.filter(kind=kind)) for kind in (one, other))
    try:
        links = best(candidates(evidence.engine, left, right)).select("one", "other")
    except TooFewRecords:
        return _Attributes(Share(0, 0), Share(0, 0), Share(0, 0))
    shuffled = links.with_columns(pl.col("other").shuffle(1))
    both = left.join(right, on="person", how="semi").height
    hits, chance = (same_person(pairs, accounts, accounts, "id").height for pairs in (links, shuffled))
    return _Attributes(Share(hits, both), Share(hits, links.height), Share(chance, links.height))


def _first_of_each(accounts: pl.DataFrame) -> pl.DataFrame:
    """The first account of each person."""
    return accounts.sort("since", "id").unique(subset=["person"], keep="first", maintain_order=True).sort("id")


def _member_numbers(evidence: PopulationTables) -> Results:
    logins = evidence.logins.filter(pl.col("kind").is_in(["library", "points"]))
    held = handles(logins, countermeasure("tenant-user-id"))  # each service has its own member numbers
    table = pairwise(held, "person")  # one MyKey ID on all cards and phones
    return (
        Measurement("member-number-recall", pairwise(held, "handle").recall, measure="X1"),
        Measurement("table-recall", table.recall, measure="X1"),
        Measurement("table-precision", table.precision, measure="X1"),
    )


def _gate_and_shop(evidence: PopulationTables) -> Results:
    engine = evidence.engine
    places = engine.query("""
        SELECT t.service AS gate, p.service AS shop, count(DISTINCT u.person) AS people
        FROM service t JOIN service p ON p.town = t.town AND p.kind = 'points' JOIN uses u ON u.service = t.service
        WHERE t.kind = 'tap' GROUP BY t.service, p.service
    """).sort("people", "gate", "shop", descending=[True, False, False])  # fmt: skip
    if not places.height:
        return ()
    gate, shop = int(places["gate"][0]), int(places["shop"][0])
    guessed = together(engine, shop, gate, evidence.days * HOURS_OPEN)
    owner = engine.query(
        "SELECT DISTINCT shown, person, service FROM uses WHERE service IN (:gate, :shop)", gate=gate, shop=shop
    )
    at_gate, at_shop = (owner.filter(service=place) for place in (gate, shop))
    right = same_person(guessed, at_shop, at_gate)
    both = len(set(at_gate["person"]) & set(at_shop["person"]))
    serials = at_gate.join(at_shop, on="shown")["person"].n_unique()
    return (
        Measurement("people", both, Unit.PEOPLE, "X1"),
        Measurement("serial-recall", Share(serials, both), measure="X1"),
        Measurement("hours-recall", Share(right["person"].n_unique(), both), measure="X1"),
        Measurement("hours-precision", Share(right.height, guessed.height), measure="X1"),
    )


def _insurers(evidence: PopulationTables) -> Results:
    insurers = evidence.logins.filter(kind="insurance")
    return (
        Measurement("token-recall", pairwise(insurers, "person").recall, measure="X1"),
        Measurement("serial-recall", pairwise(insurers, "shown").recall, measure="X1"),
    )


def _what_people_told(evidence: PopulationTables) -> Results:
    results: list[Measurement] = []
    for one, other in (("login", "library"), ("login", "insurance"), ("login", "points")):
        link, name = _by_attributes(evidence, one, other), f"{one}-{other}"
        results += [
            Measurement(f"{name}-recall", link.recall, measure="X1"),
            Measurement(f"{name}-precision", link.precision, measure="X1"),
            Measurement(f"{name}-control", link.control, measure="X1"),
        ]
    return (*results, *_against_an_address_list(evidence))


_ADDRESS_LIST = ("address-list-rank-1", "address-list-rank-5", "address-list-precision")


def _against_an_address_list(evidence: PopulationTables) -> Results:
    """X5 (re-identification): accounts at login services against an address list, the registry of the first day. The
    shares are of nothing if there are too few."""
    targets = _first_of_each(evidence.accounts.filter(kind="login"))
    listed = registered(evidence.people).with_columns(id=pl.col("person").cast(pl.String))
    try:
        pairs = candidates(evidence.engine, targets, listed)
    except TooFewRecords:
        return tuple(Measurement(one, Share(0, 0), measure="X5") for one in _ADDRESS_LIST)
    ranked = pairs.with_columns(rank=pl.int_range(1, pl.len() + 1).over("one"), target="one").join(
        targets.select("id", "person"), left_on="one", right_on="id"
    )
    ranked = ranked.with_columns(right=pl.col("person").cast(pl.String) == pl.col("other"))
    sure = best(ranked)
    right = Share(int(sure["right"].sum()) if sure.height else 0, sure.height)
    shares = (*(reidentified(ranked, targets.height, first) for first in (1, 5)), right)
    return tuple(Measurement(one, share, measure="X5") for one, share in zip(_ADDRESS_LIST, shares, strict=True))


def _an_investigator(evidence: PopulationTables) -> Results:
    services = evidence.logins.group_by("shown").agg(services=pl.col("service").n_unique())["services"]
    uses = evidence.moments.filter(~pl.col("signature")).group_by("shown").len()["len"]
    return (
        Measurement("services-mean", _float(services.mean()), Unit.SERVICES, "X2"),
        Measurement("services-95th-percentile", _float(services.quantile(0.95)), Unit.SERVICES, "X2"),
        Measurement("services-most", int(_float(services.max())), Unit.SERVICES, "X2"),
        Measurement("uses-mean", _float(uses.mean()), Unit.USES, "X2"),
    )


def _without_handles(evidence: PopulationTables) -> Results:
    return handleless_measurements(evidence.without_handles)


def handleless_measurements(found: HandlelessLinks) -> Results:
    """The results of T17."""
    linkers = {"network": found.by_network, "network-and-agent": found.by_network_and_agent, "few-uses": found.by_few,
               "within-a-day": found.within_a_day}  # fmt: skip
    return tuple(
        Measurement(f"{name}-{result}", share, measure="X1") for name, link in linkers.items()
        for result, share in (("recall", link.recall), ("precision", link.precision), ("control", link.control))
    )  # fmt: skip


def _authority_s_log(evidence: PopulationTables) -> Results:
    habits = regularity(evidence.login_moments, evidence.days)
    named = named_services(evidence.engine, evidence.login_moments)
    results = [
        Measurement("requests-per-year", habits.per_person_and_year, Unit.USES, "X12"),
        Measurement("gap-entropy", habits.gap_entropy, Unit.BITS, "X12"),
        Measurement("own-hour", habits.own_hour, measure="X12"),
        Measurement("own-hour-control", habits.common_hour, measure="X12"),
        Measurement("service-named", named.named, measure="X12"),
        Measurement("service-named-control", named.busiest, measure="X12"),
    ]
    for check in CHECKS:
        link = timed_links(*evidence.beside_log(check), check)
        shares = {"seen": link.seen, "recall": link.recall, "precision": link.precision, "control": link.control}
        results += [Measurement(f"{check.id}-{name}", share, measure="X12") for name, share in shares.items()]
    return tuple(results)


def _batches(evidence: PopulationTables) -> Results:
    recalls = {size: pairwise(shown_from(evidence.login_moments, Batch(size)), "attestation").recall for size in SIZES}
    return tuple(Measurement(f"batch-{size}-recall", recall, measure="X1") for size, recall in recalls.items())


def _float(value: object) -> float:
    return float(value) if isinstance(value, int | float) else 0.0


@dataclass(frozen=True, slots=True)
class PopulationRun:
    """A run: its id, the name of its query, the function that computes the results, and the one that counts the people
    who are examined."""

    id: str
    query: str
    results: Callable[[PopulationTables], Results]
    examined: Callable[[PopulationTables], int] = lambda evidence: len(evidence.people)


RUNS = (
    PopulationRun("T1", "exact-join", _serial_numbers),
    PopulationRun("T2", "digest-join", _digests),
    PopulationRun("T3", "pairwise", _with_the_platform_s_key),
    PopulationRun("T4", "authority-requests", _ocsp_requests),
    PopulationRun("T5", "by-timing", _renewals),
    PopulationRun("T6", "by-timing", _lost_cards),
    PopulationRun("T7", "by-timing", _moves),
    PopulationRun("T8", "attributes", _signatures_and_logins),
    PopulationRun("T9", "pairwise", _member_numbers),
    PopulationRun("T11", "same-hours", _gate_and_shop),
    PopulationRun("T14", "pairwise", _insurers),
    PopulationRun("T15", "attributes", _what_people_told),
    PopulationRun("T16", "service-replies", _an_investigator),
    PopulationRun("T17", "without-handles", _without_handles, lambda evidence: evidence.without_handles.people),
    PopulationRun("T18", "authority-log", _authority_s_log),
    PopulationRun("T19", "batches", _batches),
)


@dataclass(frozen=True, slots=True)
class StoreRun:
    """A run over actors' stores: its id, its source and target handle, and the names of its actors."""

    id: str
    source: str
    target: str
    actors: frozenset[str]


def over_stores(exposure: Exposure, runs: Iterable[StoreRun]) -> list[ThreatRun]:
    """Whether the actors of each run can get from its source handle to its target with what is in their stores."""
    threats = []
    for run in runs:
        steps = exposure.path(run.source, run.target, run.actors)
        path = HandlePath(" + ".join(sorted(run.actors)), run.source, run.target, tuple(steps))
        threats.append(ThreatRun(run.id, (Measurement("path", path, Unit.STEPS, "X14"),), "exposure-path"))
    return threats
