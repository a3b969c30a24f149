"""The threat runs, T1 to T16: somebody with something in hand, what is linked with it, and what that comes to.

Each run is told what its actors hold, and nothing else; the person behind a use is for the judge. A control links as
many pairs by chance. Runs over actors'
stores (T10, T12, T13) ask the exposure graph instead, which is read from a small world's disks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import polars as pl

from kazashi.tracking_lab.accounts import registered
from kazashi.tracking_lab.attributes import best, candidates
from kazashi.tracking_lab.certificates import REASONS
from kazashi.tracking_lab.countermeasures import handles, named
from kazashi.tracking_lab.evidence import Evidence, run_row, same_person, told
from kazashi.tracking_lab.exposure import Exposure
from kazashi.tracking_lab.linkers import by_timing, exact_join, hashed, together
from kazashi.tracking_lab.metrics import Linkage, Share, gap_entropy, pairwise, reidentified

Results = dict[str, Any]

HOURS_OPEN = 14


def run_all(evidence: Evidence, progress: Callable[[str], object] = lambda _: None) -> list[dict[str, Any]]:
    """Every run on a population, in their order."""
    found = []
    for run in (_t1, _t2, _t3, _t4, _t5, _t6, _t7, _t8, _t9, _t11, _t14, _t15, _t16):
        progress(run.__name__.removeprefix("_").upper())
        found.append(run(evidence))
    return found


def _linkage(link: Linkage) -> Results:
    return {"recall": told(link.recall), "precision": told(link.precision)}


def _under(evidence: Evidence, measure: str, key: str = "handle") -> Linkage:
    (chosen,) = named([measure])
    return pairwise(handles(evidence.logins, chosen), key)


def _t1(evidence: Evidence) -> dict[str, Any]:
    link = pairwise(evidence.logins, "shown")
    return run_row("T1", "any two services", "the serial numbers that they were shown", _linkage(link),
                "tracking_lab/linkers.py: EXACT")  # fmt: skip


def _t2(evidence: Evidence) -> dict[str, Any]:
    engine = evidence.engine
    plain = exact_join(engine)
    results: Results = {
        "SHA-256 links what the number links": plain.equals(exact_join(engine, hashed(engine))),
        "so does a salt that all share": plain.equals(exact_join(engine, hashed(engine, salt="common"))),
        "links by a salt of each service": int(exact_join(engine, hashed(engine, service=True))["linked"].sum()),
        "the same after a dictionary, recall": told(
            _under(evidence, "SHA-256 with a salt of each service", "shown").recall
        ),
        "HMAC with a platform's key, recall": told(_under(evidence, "HMAC by a platform").recall),
    }
    return run_row("T2", "any two services", "digests in place of serial numbers", results,
                "tracking_lab/linkers.py: EXACT over hashed(engine, salt, service)")  # fmt: skip


def _t3(evidence: Evidence) -> dict[str, Any]:
    results = {
        "HMAC, recall": told(_under(evidence, "HMAC by a platform", "shown").recall),
        "tenant's user ids, recall": told(
            _under(evidence, "tenant's user id from the authority's links", "person").recall
        ),
    }
    return run_row("T3", "the platform operator", "all its tenants' user ids, and the key", results,
                "tracking_lab/metrics.py: pairwise over what the key opens")  # fmt: skip


def _t4(evidence: Evidence) -> dict[str, Any]:
    moments = evidence.moments
    asked = moments.filter("asks")
    people = moments["person"].n_unique()
    results = {
        "uses seen (X12)": told(Share(asked.height, moments.height)),
        "people seen": told(Share(asked["person"].n_unique(), people)),
        "entropy of the gaps between uses, bits": gap_entropy(asked),
    }
    return run_row("T4", "the certification authority", "its own log of OCSP requests", results,
                "SELECT shown, moment FROM uses JOIN service USING (service) WHERE asks")  # fmt: skip


def _t5(evidence: Evidence) -> dict[str, Any]:
    return run_row("T5", "one service, over renewals", "its own log; the authority's answer about successors, or none",
                _successors(evidence, "superseded", signature=False, same_chain=True, beside=("birth_year",)),
                "tracking_lab/linkers.py: by_timing")  # fmt: skip


def _t6(evidence: Evidence) -> dict[str, Any]:
    return run_row("T6", "one service, after a lost card", "its own log; nothing ties the new card to the old one",
                _successors(evidence, "theft", signature=False, same_chain=False, beside=("birth_year",)),
                "tracking_lab/linkers.py: by_timing")  # fmt: skip


def _t7(evidence: Evidence) -> dict[str, Any]:
    beside = ("born", "sex", "given")
    results = _successors(evidence, "move-within", signature=True, same_chain=True, beside=beside)
    moved = evidence.certificates.filter(reason=REASONS.index("move-within"), kind=True)
    alive = evidence.certificates.filter(kind=False).select("person", "begins", "ended", own="shown")
    lives = moved.select("person", "shown", at="ended").join(alive, on="person").filter(
        (pl.col("begins") <= pl.col("at")) & (pl.col("ended") > pl.col("at"))
    )  # fmt: skip
    results["authentication certificate outlives the move"] = told(Share(lives["shown"].n_unique(), moved.height))
    return run_row("T7", "one signing service, over a move", "signatures with the four attributes in them", results,
                "tracking_lab/linkers.py: by_timing, beside birth date, sex and given name")  # fmt: skip


def _successors(
    evidence: Evidence, reason: str, *, signature: bool, same_chain: bool, beside: tuple[str, ...]
) -> Results:  # fmt: skip
    """X3 at single services: with the chain told, by equality, and by timing without and with attributes beside."""
    wanted = evidence.followers(REASONS.index(reason), signature, same_chain)
    tie = evidence.certificates.select("shown", tie=pl.struct("person", "medium", "chain"))
    tied = wanted.join(tie, left_on="former", right_on="shown").join(
        tie, left_on="later", right_on="shown", suffix="_later"
    )
    told_of = tied.filter(pl.col("tie") == pl.col("tie_later")).height
    equal = wanted.filter(pl.col("former") == pl.col("later")).height
    results: Results = {"with the chain told": told(Share(told_of, wanted.height)),
                        "by equality alone": told(Share(equal, wanted.height))}  # fmt: skip

    def right_of(pairs: pl.DataFrame) -> int:
        return same_person(pairs, evidence.certificates, evidence.certificates).height

    for words, names in (("by timing", ()), (f"by timing, {', '.join(beside)}".replace("_", " "), beside)):
        guessed = by_timing(evidence.by_day(signature, *names), beside=names).unique().sort("former", "later")
        right = guessed.join(wanted, on=["former", "later"]).height
        results[words] = told(Share(right, wanted.height))
        results[f"{words}: precision"] = told(Share(right_of(guessed), guessed.height))
        chance = guessed.with_columns(pl.col("later").shuffle(1))
        results[f"{words}: precision of the control"] = told(Share(right_of(chance), chance.height))
    return results


def _t8(evidence: Evidence) -> dict[str, Any]:
    results = _by_attributes(evidence, "signing", "login")
    return run_row("T8", "a service with signatures + one with logins",
                "name, birth, sex, address from certificates + what people typed beside their serial number", results,
                "Splink: tracking_lab/attributes.py")  # fmt: skip


def _by_attributes(evidence: Evidence, one: str, other: str) -> Results:
    """X1 of the accounts of two kinds of service, linked by what people have told of themselves."""
    accounts = evidence.accounts
    left, right = (_first_of_each(accounts.filter(kind=kind)) for kind in (one, other))
    links = best(candidates(evidence.engine, left, right)).select("one", "other")
    luck = links.with_columns(pl.col("other").shuffle(1))
    both = left.join(right, on="person", how="semi").height
    hits, chance = (same_person(pairs, accounts, accounts, "id").height for pairs in (links, luck))
    return {"recall": told(Share(hits, both)), "precision": told(Share(hits, links.height)),
            "precision of the control": told(Share(chance, links.height))}  # fmt: skip


def _first_of_each(accounts: pl.DataFrame) -> pl.DataFrame:
    """One account of each person: that which was opened first."""
    return accounts.sort("since", "id").unique(subset=["person"], keep="first", maintain_order=True).sort("id")


def _t9(evidence: Evidence) -> dict[str, Any]:
    there = evidence.logins.filter(pl.col("kind").is_in(["library", "points"]))
    (measure,) = named(["tenant's user id from the authority's links"])  # a member number of each service's own
    held = handles(there, measure)
    results = {"member numbers alone, recall": told(pairwise(held, "handle").recall),
               "with the table, recall": told(pairwise(held, "chain").recall),
               "with the table, precision": told(pairwise(held, "chain").precision)}  # fmt: skip
    return run_row("T9", "MyKey platform + libraries + points", "member numbers; the platform's table of them", results,
                "tracking_lab/metrics.py: pairwise over the table of MyKey IDs")  # fmt: skip


def _t11(evidence: Evidence) -> dict[str, Any]:
    engine = evidence.engine
    places = engine.query("""
        SELECT t.service AS gate, p.service AS shop, count(DISTINCT u.person) AS people
        FROM service t JOIN service p ON p.town = t.town AND p.kind = 'points' JOIN uses u ON u.service = t.service
        WHERE t.kind = 'tap' GROUP BY t.service, p.service
    """).sort("people", "gate", "shop", descending=[True, False, False])  # fmt: skip
    results: Results = {}
    if places.height:
        gate, shop = int(places["gate"][0]), int(places["shop"][0])
        guessed = together(engine, shop, gate, evidence.days * HOURS_OPEN)
        owner = engine.query(f"SELECT DISTINCT shown, person, service FROM uses WHERE service IN ({gate}, {shop})")
        at_gate, at_shop = (owner.filter(service=place) for place in (gate, shop))
        right = same_person(guessed, at_shop, at_gate)
        both = set(at_gate["person"]) & set(at_shop["person"])
        serials = at_gate.join(at_shop, on="shown")["person"].n_unique()
        results = {
            "people at gate and shop": len(both),
            "by serial number, recall": told(Share(serials, len(both))),
            "by hours alone, recall": told(Share(right["person"].n_unique(), len(both))),
            "by hours alone, precision": told(Share(right.height, guessed.height)),
        }
    return run_row("T11", "whoever reads cards at a gate, without a PIN + a shop", "hours, and pseudonyms of their own",
                results, "tracking_lab/linkers.py: TOGETHER")  # fmt: skip


def _t14(evidence: Evidence) -> dict[str, Any]:
    insurers = evidence.logins.filter(kind="insurance")
    return run_row("T14", "insurers", "one token for all of them, made from their joint body's table", {
        "by the token, recall": told(pairwise(insurers, "person").recall),
        "by serial numbers, recall": told(pairwise(insurers, "shown").recall),
    }, "tracking_lab/metrics.py: pairwise")  # fmt: skip


def _t15(evidence: Evidence) -> dict[str, Any]:
    results: Results = {}
    for one, other in (("login", "library"), ("login", "insurance"), ("login", "points")):
        found = _by_attributes(evidence, one, other)
        results |= {f"{one} + {other}, {words}": share for words, share in found.items()}
    results |= _against_an_address_list(evidence)
    return run_row("T15", "any two services, under perfect pseudonyms", "what people told of themselves, no identifier",
                results, "Splink: tracking_lab/attributes.py")  # fmt: skip


def _against_an_address_list(evidence: Evidence) -> Results:
    """X5: accounts at logins against the registry's address list of the first day."""
    targets = _first_of_each(evidence.accounts.filter(kind="login"))
    listed = registered(evidence.people).with_columns(id=pl.col("person").cast(pl.String))
    pairs = candidates(evidence.engine, targets, listed)
    ranked = pairs.with_columns(rank=pl.int_range(1, pl.len() + 1).over("one"), target="one").join(
        targets.select("id", "person"), left_on="one", right_on="id"
    )
    ranked = ranked.with_columns(right=pl.col("person").cast(pl.String) == pl.col("other"))
    sure = best(ranked)
    return {
        **{f"by an address list, RR@{first} (X5)": told(reidentified(ranked, targets.height, first))
           for first in (1, 5)},
        "by an address list, precision": told(Share(int(sure["right"].sum()) if sure.height else 0, sure.height)),
    }  # fmt: skip


def _t16(evidence: Evidence) -> dict[str, Any]:
    answering = evidence.logins.group_by("shown").agg(services=pl.col("service").n_unique())["services"]
    uses = evidence.moments.filter(~pl.col("signature")).group_by("shown").len()["len"]
    results: Results = {
        "services that answer: mean": _float(answering.mean()), "95th percentile": _float(answering.quantile(0.95)),
        "most": int(_float(answering.max())), "uses that one number tells of: mean": _float(uses.mean()),
    }  # fmt: skip
    return run_row("T16", "an investigator (article 19 item 13)", "one serial number, every service's answer",
                results, "SELECT service, count(*) FROM uses WHERE shown = ? GROUP BY service")  # fmt: skip


def _float(found: object) -> float:
    return float(found) if isinstance(found, int | float) else 0.0


@dataclass(frozen=True, slots=True)
class StoreRun:
    """A run over actors' disks: who in words, from which handle to which, and what the actors are called."""

    name: str
    who: str
    source: str
    target: str
    actors: frozenset[str]


def over_stores(exposure: Exposure, runs: Iterable[StoreRun]) -> list[dict[str, Any]]:
    """Whether the actors of a run can get from one handle to another with what is on their disks."""
    found = []
    for run in runs:
        steps = exposure.path(run.source, run.target, run.actors)
        way = " / ".join(f"{step.actor}: {step.source} -> {step.target}" for step in steps) or "no way"
        found.append(run_row(run.name, run.who, " + ".join(sorted(run.actors)), {f"{run.source} -> {run.target}": way},
                          "tracking_lab/exposure.py: Exposure.path"))  # fmt: skip
    return found
