"""The whole examination of one population: every number, with what it was computed from. Same plan, same numbers."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from hashlib import sha256
from typing import Any

import polars as pl

from tracking_lab.countermeasures import COUNTERMEASURES, Countermeasure, handles
from tracking_lab.engine import TABLES, DuckDb, Engine
from tracking_lab.laboratory import Laboratory, PopulationUnusable
from tracking_lab.linkers import (
    by_timing,
    dictionary,
    exact_join,
    hashed,
    shared_persons,
    smallest_coalitions,
    trajectories,
)
from tracking_lab.lives import REASONS
from tracking_lab.metrics import (
    Linkage,
    Share,
    advantage,
    anonymeter,
    anonymity,
    b_cubed,
    hash_cost,
    pairwise,
    record_risk,
)
from tracking_lab.plan import DAY
from world.chance import stream

MOST = 3_000
"""Of how many people the countermeasures are worked out one by one; what SQL does is done for everybody."""

_GUESSES_PER_SECOND = 1e9
"""SHA-256 on one graphics card, an order of magnitude."""

ATTRIBUTES: tuple[tuple[str, ...], ...] = (
    ("birth_year",), ("birth_year", "sex"), ("birth_year", "sex", "town"), ("born", "sex", "town"),
)  # fmt: skip
Progress = Callable[[str], object]


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that a reviewer should know: how bad, a code, words, and what proves it. `heading` is LINDDUN's."""

    severity: str
    code: str
    heading: str
    words: str
    evidence: str


def open_engine(laboratory: Laboratory, engine: Engine | None = None) -> Engine:
    """An engine with a population's tables. Raises PopulationUnusable for one that is not whole."""
    if not laboratory.whole:
        raise PopulationUnusable(
            f"the population in {laboratory.directory} is not whole; go on with: kazashi tracking populate"
        )
    found = engine or DuckDb(spill=laboratory.directory / "spill")
    for name in TABLES:
        found.table(name, laboratory.file(name))
    return found


def examine(laboratory: Laboratory, progress: Progress = lambda _: None) -> dict[str, Any]:
    """Everything, as plain values. Raises PopulationUnusable."""
    plan = laboratory.plan
    if not plan.residents:
        raise PopulationUnusable("a population of nobody has nothing to link; make one with people in it")
    engine = open_engine(laboratory)
    try:
        progress("what services hold")
        seen = _seen(engine, plan.residents)
        certificates = engine.query('SELECT * FROM certificate')
        people = engine.query("SELECT * FROM person").sort("person")
        found: dict[str, Any] = {"plan": plan.as_dict(), "sizes": _sizes(engine)}
        progress("exact joins")
        found["exact"] = _exact(engine)
        progress("countermeasures")
        found["countermeasures"] = [_compared(seen, measure, certificates) for measure in COUNTERMEASURES]
        progress("renewals")
        found["renewals"] = _renewals(seen, certificates, people)
        progress("signature and authentication")
        found["counterparts"] = _counterparts(seen)
        progress("dictionaries")
        found["dictionary"] = _dictionary(seen, certificates)
        progress("trajectories")
        found["unicity"] = [_unicity(engine, points, span) for span in (1, 7, 30) for points in (1, 2, 3, 4)]
        progress("attributes")
        found["anonymity"] = [_anonymity(people, names) for names in ATTRIBUTES]
        found["games"] = [_game(seen, measure) for measure in COUNTERMEASURES if measure.people is None]
        found["findings"] = [asdict(one) for one in findings(found)]
        told: dict[str, Any] = _rounded(found)
        return told
    finally:
        engine.close()


def _rounded(found: Any) -> Any:
    """The same with nine digits: sums of fractions depend on the order in which threads add them up."""
    if isinstance(found, dict):
        return {name: _rounded(value) for name, value in found.items()}
    if isinstance(found, list | tuple):
        return [_rounded(value) for value in found]
    return round(found, 9) if isinstance(found, float) else found


def _seen(engine: Engine, residents: int) -> pl.DataFrame:
    """What services hold of some people: one row to a service and certificate, with the judge's columns."""
    chosen = "" if residents <= MOST else f"WHERE u.person % {math.ceil(residents / MOST)} = 0"
    rows = engine.query(f"""
        SELECT u.service, s.kind, s.sector, u.shown, u.person, min(u.moment) AS first, max(u.moment) AS last
        FROM uses u JOIN service s ON s.service = u.service {chosen}
        GROUP BY u.service, s.kind, s.sector, u.shown, u.person
    """)
    chains = engine.query("SELECT shown, medium, chain, generation, kind AS signature FROM certificate")
    chain = (pl.col("person").cast(pl.Int64) * 2 + pl.col("medium")) * 1000 + pl.col("chain")
    found = rows.join(chains, on="shown").with_columns(chain=chain)
    numbers = pl.col("person", "service", "shown", "first", "last").cast(pl.Int64)
    return found.sort("service", "shown").with_columns(numbers)


def _sizes(engine: Engine) -> dict[str, int]:
    return {name: int(engine.query(f"SELECT count(*) AS n FROM {name}")["n"][0]) for name in TABLES}


def _exact(engine: Engine) -> dict[str, Any]:
    """X1 over everybody, of what is shown and of its digest: the same, because a digest hides nothing from equality."""
    belongs = shared_persons(engine)
    plain, digest = exact_join(engine), exact_join(engine, hashed(engine))
    total = int(belongs["belong"].sum())
    return {
        "pairs of services": belongs.height, "persons shared": total,
        "linked by serial number": int(plain["linked"].sum()), "the digest links the same": plain.equals(digest),
    }  # fmt: skip


def _told(share: Share) -> dict[str, Any]:
    low, high = share.interval
    return {"value": share.value if share.total else None, "low": low, "high": high, "count": share.count,
            "total": share.total}  # fmt: skip


def _compared(seen: pl.DataFrame, measure: Countermeasure, certificates: pl.DataFrame) -> dict[str, Any]:
    """One countermeasure on the same stream: X1, X2, X3, X12, X13, X16."""
    held = handles(seen.filter(~pl.col("signature")), measure)
    link: Linkage = pairwise(held, "handle")
    precision, recall, completeness = b_cubed(held, "handle")
    kept = _kept(held)
    return {
        "name": measure.name, "source": measure.source, "cost": measure.cost, "people": held["person"].n_unique(),
        "precision": _told(link.precision), "recall": _told(link.recall), "b3 precision": precision,
        "b3 recall": recall, "completeness": completeness, "renewals kept": _told(kept), "false merges": link.wrong,
 "seen by the authority": 1.0 if measure.online else 0.0,
        "smallest coalitions": [sorted(who) for who in smallest_coalitions(held, measure)],
    }  # fmt: skip


def _kept(held: pl.DataFrame) -> Share:
    """X3 and X16: at one service, how many changes of certificate leave the handle as it was."""
    ordered = held.sort("service", "person", "first").with_columns(
        former=pl.col("handle").shift(1).over("service", "person"),
        before=pl.col("shown").shift(1).over("service", "person"),
    )
    changes = ordered.filter(pl.col("before").is_not_null() & (pl.col("before") != pl.col("shown")))
    return Share(changes.filter(pl.col("former") == pl.col("handle")).height, changes.height)


def _renewals(seen: pl.DataFrame, certificates: pl.DataFrame, people: pl.DataFrame) -> dict[str, Any]:
    """X3: renewals linked by the chain, by nothing, and by timing, with and without the year of birth."""
    own = seen.filter(~pl.col("signature"))
    renewed = certificates.filter((pl.col("reason") == REASONS.index("superseded")) & ~pl.col("kind"))
    following = renewed.select("person", "medium", "chain", pl.col("generation") + 1, former="shown").join(
        certificates.filter(~pl.col("kind")).select("person", "medium", "chain", "generation", later="shown"),
        on=["person", "medium", "chain", "generation"],
    )
    there = own.select("service", "shown").unique()
    at_one = following.join(there.rename({"shown": "former"}), on="former").join(
        there.rename({"shown": "later"}), on=["later", "service"]
    )
    pairs = at_one.select("former", "later").unique()
    born = people.select(pl.col("person").cast(pl.Int64), "birth_year")
    timed = own.join(born, on="person").select(
        "service", "shown", "birth_year", first=pl.col("first") // DAY, last=pl.col("last") // DAY
    )
    chains = own.select("shown", "chain").unique()
    tied = pairs.join(chains, left_on="former", right_on="shown").join(chains, left_on="later", right_on="shown")
    told = tied.filter(pl.col("chain") == pl.col("chain_right")).height
    equal = pairs.filter(pl.col("former") == pl.col("later")).height
    found: dict[str, Any] = {
        "renewals seen at one service": pairs.height, "with the chain told": _told(Share(told, pairs.height)),
        "by equality alone": _told(Share(equal, pairs.height)),
    }  # fmt: skip
    blind = timed.with_columns(birth_year=pl.lit(0))
    for words, frame in (("by timing", blind), ("by timing and year of birth", timed)):
        guessed = by_timing(frame)
        right = guessed.unique().join(pairs, on=["former", "later"]).height
        found[words] = _told(Share(right, pairs.height))
        found[f"{words}: precision"] = _told(Share(right, guessed.unique().height))
    return found


def _counterparts(seen: pl.DataFrame) -> dict[str, Any]:
    """X4: persons both of whose certificates were shown somewhere, linked by the authority's service or by nothing."""
    signs = seen.filter("signature").select("person", "medium", "shown").unique()
    logs_in = seen.filter(~pl.col("signature")).select("person", "medium", "shown").unique()
    both = signs.select("person").unique().join(logs_in.select("person").unique(), on="person").height
    # The service tells the other certificate on the same card or phone, and nothing of other media.
    linked = signs.join(logs_in, on=["person", "medium"])["person"].n_unique()
    equal = signs.join(logs_in, on="shown").height
    return {"persons with both": both, "link service on": _told(Share(linked, both)),
            "link service off": _told(Share(equal, both))}  # fmt: skip


def _dictionary(seen: pl.DataFrame, certificates: pl.DataFrame) -> dict[str, Any]:
    """X11: digests without a key give way to whoever counts."""
    def digest(number: int) -> str:
        return sha256(number.to_bytes(8)).hexdigest()

    shown = seen.filter(~pl.col("signature")).select("shown").unique()
    kept = shown.with_columns(handle=pl.Series([digest(number) for number in shown["shown"]], dtype=pl.String))
    issued = certificates.filter(~pl.col("kind"))
    found = dictionary(kept, issued, digest).height
    cost, nation = hash_cost(issued.height, _GUESSES_PER_SECOND), hash_cost(125_000_000 * 3 * 2, _GUESSES_PER_SECOND)
    return {"digests": kept.height, "found": _told(Share(found, kept.height)), "bits": cost.bits,
            "bits for a nation": nation.bits, "seconds for a nation": nation.seconds}  # fmt: skip


def _unicity(engine: Engine, points: int, span: int) -> dict[str, Any]:
    alone, tried = trajectories(engine, points, 1_000, span, 1)
    return {"points": points, "days": span, "singled out": _told(Share(alone, tried))}


def _anonymity(people: pl.DataFrame, names: tuple[str, ...]) -> dict[str, Any]:
    found = anonymity(people, names)
    tenth = people.filter(pl.col("person") % 10 == 0)
    return {"attributes": ", ".join(names), "unique": _told(found.unique), "median": found.median,
            "entropy": found.entropy_bits, "degree": found.degree, "leaked bits": found.leaked_bits,
            **record_risk(tenth, people, names)}  # fmt: skip


def _game(seen: pl.DataFrame, measure: Countermeasure) -> dict[str, Any]:
    """X8, X9: told a person's handle at one service and either hers or a stranger's at another, tell which. The control
    attack throws a coin."""
    held = handles(seen.filter(~pl.col("signature")), measure)
    last = held.sort("last").unique(subset=["service", "person"], keep="last", maintain_order=True)
    pairs = last.join(last, on="person", suffix="_other").filter(pl.col("service") < pl.col("service_other"))
    pairs = pairs.sort("service", "service_other", "person")
    chance = stream("game", measure.name)
    right = control = trials = 0
    for rows in pairs.partition_by("service", "service_other", maintain_order=True):
        one, other = rows["handle"].to_list(), rows["handle_other"].to_list()
        if len(one) < 2:
            continue
        for place in range(min(len(one), 40)):
            same = chance.random() < 0.5
            shown = other[place] if same else other[(place + 1 + chance.randrange(len(one) - 1)) % len(one)]
            guess = True if shown == one[place] else False if _equals_when_same(measure) else chance.random() < 0.5
            right += guess == same
            control += (chance.random() < 0.5) == same
            trials += 1
    found, half = advantage(right, trials) if trials else (math.nan, math.nan)
    return {"name": measure.name, "trials": trials, "advantage": found, "within": half,
            "risk beyond guessing": anonymeter(right, trials, control, trials) if trials else None}  # fmt: skip


def _equals_when_same(measure: Countermeasure) -> bool:
    """Whether handles at two services are equal where the person is the same: then a difference tells, too."""
    return "service" not in measure.of


def findings(found: dict[str, Any]) -> Iterator[Finding]:
    """What follows from the numbers, under LINDDUN's headings."""
    by_name = {row["name"]: row for row in found["countermeasures"]}
    recall = {name: row["recall"]["value"] or 0 for name, row in by_name.items()}
    raw, told = recall["raw serial number"], recall["raw serial number, chain told"]
    if raw > 0.5:
        words = "the serial number joins what services know, by equality"
        yield Finding("high", "serial-links-services", "Linking", words, f"X1: recall {raw:.3f}")
    if told > raw:
        words = "the chain makes of serial numbers an identifier for life"
        yield Finding("high", "chain-is-for-life", "Linking", words, f"X1: recall grows from {raw:.3f} to {told:.3f}")
    if found["exact"]["the digest links the same"]:
        words = "a digest of the serial number links exactly as it does"
        links = found["exact"]["linked by serial number"]
        yield Finding("high", "digest-links-the-same", "Linking", words, f"X1: {links} links either way")
    if (found["dictionary"]["found"]["value"] or 0) > 0.99:
        words = "whoever counts finds the serial number behind a digest"
        bits = found["dictionary"]["bits for a nation"]
        yield Finding("high", "digest-is-no-secret", "Identifying", words, f"X11: {bits:.1f} bits for a nation")
    four = [row for row in found["unicity"] if row["points"] == 4 and (row["singled out"]["value"] or 0) > 0.5]
    if four:
        words = "four uses single most people out, without a name"
        told_of = f"X7: {four[-1]['singled out']['value']:.3f} within {four[-1]['days']} days"
        yield Finding("medium", "trace-singles-out", "Identifying", words, told_of)
    watched = [name for name, row in by_name.items() if recall[name] == 0 and row["seen by the authority"]]
    if watched:
        words = "services cannot link, and the authority that is asked by OCSP sees every use all the same"
        yield Finding("medium", "authority-sees-uses", "Detecting", words, f"X12 = 1: {', '.join(watched)}")
    lossy = [name for name, row in by_name.items() if (row["renewals kept"]["value"] or 0) < 0.5]
    if lossy:
        words = "a renewal loses the account, unless somebody tells which certificate follows which"
        yield Finding("low", "accounts-are-lost", "Unawareness", words, f"X16: {', '.join(lossy)}")
