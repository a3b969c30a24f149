"""The data that linkers get, and the ground truth, of the people who are examined one by one."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import polars as pl

from kazashi.tracking_lab.authority_log import by_time, others
from kazashi.tracking_lab.batches import shown_from
from kazashi.tracking_lab.countermeasures import Countermeasure, handles
from kazashi.tracking_lab.engine import Engine
from kazashi.tracking_lab.linkers import digest_join, exact_join, hashed
from kazashi.tracking_lab.plan import DAY
from kazashi.tracking_lab.revocation_checks import Requester, RevocationCheck
from kazashi.tracking_lab.without_handles import HandlelessLinks, of_population

MOST = 3_000
"""The most people whom linkers examine one by one; SQL queries cover everybody."""


@dataclass(frozen=True)
class PopulationTables:
    """A population's tables behind an engine, and the tables of the sampled people: every n-th person."""

    engine: Engine
    residents: int
    days: int
    seed: str

    @property
    def _step(self) -> int:
        """The n of "every n-th person"."""
        return max(1, math.ceil(self.residents / MOST))

    @cached_property
    def moments(self) -> pl.DataFrame:
        """Every use of the sampled people: `service`, `kind`, `sector`, `asks`, `shown`, `moment` (seconds), and the
        ground truth: `person`, `medium`, `chain`, `generation`, `signature`."""
        uses = self.engine.query("""
            SELECT u.service, s.kind, s.sector, s.asks, u.shown, u.person, u.moment
            FROM uses u JOIN service s ON s.service = u.service WHERE u.person % :step = 0
        """, step=self._step)  # fmt: skip
        chain = (pl.col("person").cast(pl.Int64) * 2 + pl.col("medium")) * 1000 + pl.col("chain")
        issued = self.certificates.select("shown", "medium", "chain", "generation", signature="kind")
        joined = uses.join(issued, on="shown").with_columns(chain=chain)
        numbers = pl.col("person", "service", "shown", "moment").cast(pl.Int64)
        return joined.with_columns(numbers).sort("moment", "service", "shown")

    @cached_property
    def seen(self) -> pl.DataFrame:
        """What services hold about the sampled people: one row per service and certificate, with its `first` and `last`
        moment."""
        return _grouped(self.moments)

    @property
    def logins(self) -> pl.DataFrame:
        """The rows of `seen` with authentication certificates."""
        return self.seen.filter(~pl.col("signature"))

    @cached_property
    def login_moments(self) -> pl.DataFrame:
        """The rows of `moments` with authentication certificates."""
        return self.moments.filter(~pl.col("signature"))

    def under(self, measure: Countermeasure) -> Holdings:
        """What services hold of authentication certificates under a countermeasure."""
        moments, rows, use = self.login_moments, self.logins, ["service", "shown"]
        if measure.batch is not None:
            moments, use = shown_from(moments, measure.batch), [*use, "attestation"]
            rows = _grouped(moments, "attestation")
        held = handles(rows, measure)
        if "timed" in measure.reveals.values():
            held = held.join(self.timed(measure.check), on=["service", "person"], how="left", maintain_order="left")
        return Holdings(held, moments.join(held.select(*use, "handle"), on=use))

    def timed(self, check: RevocationCheck) -> pl.DataFrame:
        """Whom the authority's log names behind each person's pseudonym at each service: `service`, `person`, `timed`
        (`authority_log.by_time`)."""
        return by_time(*self.beside_log(check), check)

    def beside_log(self, check: RevocationCheck) -> tuple[pl.DataFrame, pl.DataFrame]:
        """What is joined with the authority's log under a revocation check: the uses of authentication certificates,
        and how often other people's requests coincide with them (`authority_log.others`)."""
        if check.requester is Requester.SERVICE:
            return self.login_moments.filter("asks"), self.others_at_services_that_ask
        return self.login_moments, self.others_anywhere

    @cached_property
    def without_handles(self) -> HandlelessLinks:
        """What services link without handles, among the people of one town."""
        return of_population(self.engine, self.seed)

    @cached_property
    def others_at_services_that_ask(self) -> pl.DataFrame:
        """`authority_log.others`, if the services that use OCSP send the requests."""
        return others(self.engine, self.login_moments.filter("asks"), by_service=True)

    @cached_property
    def others_anywhere(self) -> pl.DataFrame:
        """`authority_log.others`, if holders send the requests, wherever they use their certificates."""
        return others(self.engine, self.login_moments, by_service=False)

    @cached_property
    def joins(self) -> pl.DataFrame:
        """The exact joins of all people by serial number."""
        return exact_join(self.engine)

    @cached_property
    def digest_joins(self) -> pl.DataFrame:
        """The exact joins of all people by the digest of the serial number."""
        return digest_join(self.engine, hashed(self.engine), self.joins)

    @cached_property
    def certificates(self) -> pl.DataFrame:
        """The certificates of the sampled people."""
        return self.engine.query("SELECT * FROM certificate WHERE person % :step = 0", step=self._step).sort("shown")

    @cached_property
    def everybody(self) -> pl.DataFrame:
        """The people of the whole population."""
        return self.engine.query("SELECT * FROM person").sort("person")

    @cached_property
    def people(self) -> pl.DataFrame:
        """The sampled people."""
        return self.everybody.filter(pl.col("person") % self._step == 0)

    @cached_property
    def accounts(self) -> pl.DataFrame:
        """The accounts of the sampled people, each with a meaningless `id`."""
        rows = self.engine.query("""
            SELECT a.*, s.kind FROM account a JOIN service s ON s.service = a.service WHERE a.person % :step = 0
        """, step=self._step).sort("service", "person")  # fmt: skip
        return rows.with_row_index("id").with_columns(pl.col("id").cast(pl.String))

    def followers(self, reason: int, signature: bool, same_chain: bool) -> pl.DataFrame:
        """Pairs `former`, `later` of successive certificates of the same kind, person and medium, both of which one
        service has seen. The former one ended for `reason`, an EndReason."""
        issued = self.certificates.filter(kind=signature)
        keys = ["person", "medium", *(["chain"] if same_chain else [])]
        nexts = issued.select(*keys, "generation", later="shown")
        ended = issued.filter(reason=reason).select(*keys, generation=pl.col("generation") + 1, former="shown")
        pairs = ended.join(nexts, on=[*keys, "generation"])
        seen = self.seen.select("service", "shown").unique()
        both = pairs.join(seen, left_on="former", right_on="shown").join(
            seen, left_on=["later", "service"], right_on=["shown", "service"]
        )
        return both.select("former", "later").unique().sort("former", "later")

    def by_day(self, signature: bool, *attributes: str) -> pl.DataFrame:
        """For linkers by timing: the first and last day of each certificate at each service, with attributes of its
        holder."""
        own = self.seen.filter(signature=signature).select(
            "service", "shown", "person", first=pl.col("first") // DAY, last=pl.col("last") // DAY
        )
        known = self.people.select(pl.col("person").cast(pl.Int64), *attributes)
        return own.join(known, on="person").drop("person")


@dataclass(frozen=True, slots=True)
class Holdings:
    """What services hold under a countermeasure. `rows` has one row per service and certificate or attestation: the
    columns of `PopulationTables.seen`, and `handle`. `moments` has one row per use, also with the handle."""

    rows: pl.DataFrame
    moments: pl.DataFrame


def _grouped(moments: pl.DataFrame, *more: str) -> pl.DataFrame:
    """One row per service and certificate, with the `first` and `last` moment of their uses."""
    keys = ("service", "kind", "sector", "asks", "shown", "person", "medium", "chain", "generation", "signature", *more)
    grouped = moments.group_by(*keys).agg(first=pl.col("moment").min(), last=pl.col("moment").max())
    return grouped.sort("service", "shown", *more)


def same_person(pairs: pl.DataFrame, one: pl.DataFrame, other: pl.DataFrame, by: str = "shown") -> pl.DataFrame:
    """The pairs that belong to the same person by the ground truth, with the column `person`. The two columns of
    `pairs` have values of the column `by` in `one` and in `other`."""
    left, right = pairs.columns[:2]
    owners = [frame.select(by, "person").unique() for frame in (one, other)]
    known = pairs.join(owners[0], left_on=left, right_on=by)
    both = known.join(owners[1], left_on=right, right_on=by, suffix="_other")
    return both.filter(pl.col("person") == pl.col("person_other"))
