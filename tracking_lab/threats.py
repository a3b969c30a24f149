"""The threat runs T1 to T16: attackers with certain data, what they can link with it, and how well.

Each run gets only the data that its actors hold; the ground truth is used for scoring alone. A control links as many
pairs by chance. Runs over actors' stores (T10, T12, T13) use the exposure graph instead, which is read from the disks
of a small world.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import polars as pl

from kazashi.tracking_lab.accounts import registered
from kazashi.tracking_lab.attributes import best, candidates
from kazashi.tracking_lab.certificates import EndReason
from kazashi.tracking_lab.countermeasures import countermeasure, handles
from kazashi.tracking_lab.evidence import PopulationTables, same_person
from kazashi.tracking_lab.exposure import Exposure
from kazashi.tracking_lab.linkers import by_timing, exact_join, hashed, together
from kazashi.tracking_lab.metrics import PairCounts, Share, gap_entropy, pairwise, reidentified
from kazashi.tracking_lab.results import ThreatResult, ThreatRun

Results = tuple[ThreatResult, ...]

HOURS_OPEN = 14


def run_all(evidence: PopulationTables, progress: Callable[[str], object] = lambda _: None) -> list[ThreatRun]:
    """Run every threat on a population, in order. `progress` is called with the id of each run before it starts."""
    threats = []
    for run in _RUNS:
        progress(run.id)
        threats.append(ThreatRun(run.id, run.who, run.holding, run.results(evidence), run.how))
    return threats


def _under(evidence: PopulationTables, measure: str, key: str = "handle") -> PairCounts:
    """X1 (precision and recall of pairs) under the countermeasure with an id."""
    return pairwise(handles(evidence.logins, countermeasure(measure)), key)


def _serial_numbers(evidence: PopulationTables) -> Results:
    link = pairwise(evidence.logins, "shown")
    return (ThreatResult("recall", "recall", link.recall), ThreatResult("precision", "precision", link.precision))


def _digests(evidence: PopulationTables) -> Results:
    engine = evidence.engine
    plain = exact_join(engine)
    salted = exact_join(engine, hashed(engine, service=True))
    return (
        ThreatResult("plain-digest-links-the-same", "SHA-256 links what the number links",
               plain.equals(exact_join(engine, hashed(engine)))),
        ThreatResult("common-salt-links-the-same", "so does a salt that all share",
               plain.equals(exact_join(engine, hashed(engine, salt="common")))),
        ThreatResult("links-by-service-salt", "links by a salt of each service", int(salted["linked"].sum())),
        ThreatResult("dictionary-recall", "the same after a dictionary, recall",
               _under(evidence, "salted-hash", "shown").recall),
        ThreatResult("keyed-recall", "HMAC with a platform's key, recall", _under(evidence, "keyed-pairwise").recall),
    )  # fmt: skip


def _with_the_platform_s_key(evidence: PopulationTables) -> Results:
    return (
        ThreatResult("keyed-recall", "HMAC, recall", _under(evidence, "keyed-pairwise", "shown").recall),
        ThreatResult(
            "user-id-recall", "tenant's user ids, recall", _under(evidence, "tenant-user-id", "person").recall
        ),
    )


def _ocsp_requests(evidence: PopulationTables) -> Results:
    moments = evidence.moments
    requests = moments.filter("asks")
    people = Share(requests["person"].n_unique(), moments["person"].n_unique())
    return (
        ThreatResult("uses-seen", "uses seen (X12)", Share(requests.height, moments.height)),
        ThreatResult("people-seen", "people seen", people),
        ThreatResult("gap-entropy", "entropy of the gaps between uses, bits", gap_entropy(requests)),
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
    return (*results, ThreatResult("authentication-outlives", "authentication certificate outlives the move", outlives))


def _successors(
    evidence: PopulationTables, reason: EndReason, *, signature: bool, same_chain: bool, beside: tuple[str, ...]
) -> Results:  # fmt: skip
    """X3 (renewals) at single services: with the chain, by equality, and by timing without and with attributes."""
    wanted = evidence.followers(reason, signature, same_chain)
    tie = evidence.certificates.select("shown", tie=pl.struct("person", "medium", "chain"))
    tied = wanted.join(tie, left_on="former", right_on="shown").join(
        tie, left_on="later", right_on="shown", suffix="_later"
    )
    chained = tied.filter(pl.col("tie") == pl.col("tie_later")).height
    equal = wanted.filter(pl.col("former") == pl.col("later")).height
    words = f"by timing, {', '.join(beside)}".replace("_", " ")
    return (
        ThreatResult("chain", "with the chain told", Share(chained, wanted.height)),
        ThreatResult("equality", "by equality alone", Share(equal, wanted.height)),
        *_by_timing(evidence, wanted, evidence.by_day(signature), (), "timing", "by timing"),
        *_by_timing(evidence, wanted, evidence.by_day(signature, *beside), beside, "timing-and-attributes", words),
    )


def _by_timing(
    evidence: PopulationTables, wanted: pl.DataFrame, seen: pl.DataFrame, beside: tuple[str, ...], name: str, words: str
) -> Results:  # fmt: skip
    """The recall and precision of the pairs that timing guesses, and the precision of the same pairs shuffled."""

    def right(pairs: pl.DataFrame) -> Share:
        return Share(same_person(pairs, evidence.certificates, evidence.certificates).height, pairs.height)

    guessed = by_timing(seen, beside=beside).unique().sort("former", "later")
    hits = guessed.join(wanted, on=["former", "later"]).height
    chance = guessed.with_columns(pl.col("later").shuffle(1))
    return (
        ThreatResult(name, words, Share(hits, wanted.height)),
        ThreatResult(f"{name}-precision", f"{words}: precision", right(guessed)),
        ThreatResult(f"{name}-control", f"{words}: precision of the control", right(chance)),
    )


def _signatures_and_logins(evidence: PopulationTables) -> Results:
    link = _by_attributes(evidence, "signing", "login")
    return (
        ThreatResult("recall", "recall", link.recall), ThreatResult("precision", "precision", link.precision),
        ThreatResult("control", "precision of the control", link.control),
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Attributes:
    """X1 (precision and recall) of accounts linked by attributes, and the precision of a control."""

    recall: Share
    precision: Share
    control: Share


def _by_attributes(evidence: PopulationTables, one: str, other: str) -> _Attributes:
    """Link the accounts of two kinds of service by the attributes that people gave."""
    accounts = evidence.accounts
    left, right = (_first_of_each(accounts.filter(kind=kind)) for kind in (one, other))
    links = best(candidates(evidence.engine, left, right)).select("one", "other")
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
    table = pairwise(held, "chain")
    return (
        ThreatResult("member-number-recall", "member numbers alone, recall", pairwise(held, "handle").recall),
        ThreatResult("table-recall", "with the table, recall", table.recall),
        ThreatResult("table-precision", "with the table, precision", table.precision),
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
        ThreatResult("people", "people at gate and shop", both),
        ThreatResult("serial-recall", "by serial number, recall", Share(serials, both)),
        ThreatResult("hours-recall", "by hours alone, recall", Share(right["person"].n_unique(), both)),
        ThreatResult("hours-precision", "by hours alone, precision", Share(right.height, guessed.height)),
    )


def _insurers(evidence: PopulationTables) -> Results:
    insurers = evidence.logins.filter(kind="insurance")
    return (
        ThreatResult("token-recall", "by the token, recall", pairwise(insurers, "person").recall),
        ThreatResult("serial-recall", "by serial numbers, recall", pairwise(insurers, "shown").recall),
    )


def _what_people_told(evidence: PopulationTables) -> Results:
    results: list[ThreatResult] = []
    for one, other in (("login", "library"), ("login", "insurance"), ("login", "points")):
        link, name, words = _by_attributes(evidence, one, other), f"{one}-{other}", f"{one} + {other}"
        results += [
            ThreatResult(f"{name}-recall", f"{words}, recall", link.recall),
            ThreatResult(f"{name}-precision", f"{words}, precision", link.precision),
            ThreatResult(f"{name}-control", f"{words}, precision of the control", link.control),
        ]
    return (*results, *_against_an_address_list(evidence))


def _against_an_address_list(evidence: PopulationTables) -> Results:
    """X5 (re-identification): accounts at login services against an address list, the registry of the first day."""
    targets = _first_of_each(evidence.accounts.filter(kind="login"))
    listed = registered(evidence.people).with_columns(id=pl.col("person").cast(pl.String))
    pairs = candidates(evidence.engine, targets, listed)
    ranked = pairs.with_columns(rank=pl.int_range(1, pl.len() + 1).over("one"), target="one").join(
        targets.select("id", "person"), left_on="one", right_on="id"
    )
    ranked = ranked.with_columns(right=pl.col("person").cast(pl.String) == pl.col("other"))
    sure = best(ranked)
    right = Share(int(sure["right"].sum()) if sure.height else 0, sure.height)
    return (
        *(ThreatResult(f"address-list-rank-{first}", f"by an address list, RR@{first} (X5)",
                 reidentified(ranked, targets.height, first)) for first in (1, 5)),
        ThreatResult("address-list-precision", "by an address list, precision", right),
    )  # fmt: skip


def _an_investigator(evidence: PopulationTables) -> Results:
    services = evidence.logins.group_by("shown").agg(services=pl.col("service").n_unique())["services"]
    uses = evidence.moments.filter(~pl.col("signature")).group_by("shown").len()["len"]
    return (
        ThreatResult("services-mean", "services that answer: mean", _float(services.mean())),
        ThreatResult("services-95th-percentile", "95th percentile", _float(services.quantile(0.95))),
        ThreatResult("services-most", "most", int(_float(services.max()))),
        ThreatResult("uses-mean", "uses that one number tells of: mean", _float(uses.mean())),
    )


def _float(value: object) -> float:
    return float(value) if isinstance(value, int | float) else 0.0


@dataclass(frozen=True, slots=True)
class _Run:
    """A run: who attacks, what data they hold, where the code is, and the function that computes the results."""

    id: str
    who: str
    holding: str
    how: str
    results: Callable[[PopulationTables], Results]


_RUNS = (
    _Run("T1", "any two services", "the serial numbers that they see", "tracking_lab/linkers.py: EXACT",
         _serial_numbers),
    _Run("T2", "any two services", "digests instead of serial numbers",
         "tracking_lab/linkers.py: EXACT over hashed(engine, salt, service)", _digests),
    _Run("T3", "the platform operator", "all its tenants' user ids, and the key",
         "tracking_lab/metrics.py: pairwise over what the key reveals", _with_the_platform_s_key),
    _Run("T4", "the certification authority", "its own log of OCSP requests",
         "SELECT shown, moment FROM uses JOIN service USING (service) WHERE asks", _ocsp_requests),
    _Run("T5", "one service, over renewals", "its own log, with or without the authority's reply about successors",
         "tracking_lab/linkers.py: by_timing", _renewals),
    _Run("T6", "one service, after a lost card", "its own log; nothing links the new card to the old one",
         "tracking_lab/linkers.py: by_timing", _lost_cards),
    _Run("T7", "one signing service, over a move", "signatures with the four attributes in them",
         "tracking_lab/linkers.py: by_timing, with birth date, sex and given name", _moves),
    _Run("T8", "a service with signatures + one with logins",
         "name, birth, sex, address from certificates + what people typed, stored with their serial number",
         "Splink: tracking_lab/attributes.py", _signatures_and_logins),
    _Run("T9", "MyKey platform + libraries + points", "member numbers; the platform's table of them",
         "tracking_lab/metrics.py: pairwise over the table of MyKey IDs", _member_numbers),
    _Run("T11", "an operator who reads cards at a gate, without a PIN + a shop", "hours, and their own pseudonyms",
         "tracking_lab/linkers.py: TOGETHER", _gate_and_shop),
    _Run("T14", "insurers", "one token for all of them, derived from their joint body's table",
         "tracking_lab/metrics.py: pairwise", _insurers),
    _Run("T15", "any two services, under perfect pseudonyms", "attributes that people gave, no identifier",
         "Splink: tracking_lab/attributes.py", _what_people_told),
    _Run("T16", "an investigator (article 19 item 13)", "one serial number, and every service's reply",
         "SELECT service, count(*) FROM uses WHERE shown = ? GROUP BY service", _an_investigator),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class StoreRun:
    """A run over actors' stores: its description, its source and target handle, and the names of its actors."""

    id: str
    who: str
    source: str
    target: str
    actors: frozenset[str]


def over_stores(exposure: Exposure, runs: Iterable[StoreRun]) -> list[ThreatRun]:
    """Whether the actors of each run can get from its source handle to its target with what is in their stores."""
    threats = []
    for run in runs:
        steps = exposure.path(run.source, run.target, run.actors)
        path = " / ".join(f"{step.actor}: {step.source} -> {step.target}" for step in steps) or "no path"
        result = ThreatResult("way", f"{run.source} -> {run.target}", path)
        threats.append(ThreatRun(run.id, run.who, " + ".join(sorted(run.actors)), (result,),
                                 "tracking_lab/exposure.py: Exposure.path"))  # fmt: skip
    return threats
