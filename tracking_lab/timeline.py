"""One person's years: their certificates, and what each service saw of them."""

from __future__ import annotations

from datetime import date, timedelta

import polars as pl

from kazashi.tracking_lab.certificates import PHONE, EndReason
from kazashi.tracking_lab.evidence import PopulationTables
from kazashi.tracking_lab.plan import BEGINS, DAY
from kazashi.tracking_lab.results import ShownCertificate, Sighting, Timeline


def timeline_of(evidence: PopulationTables) -> Timeline | None:
    """The timeline of a typical person: of those with at least two successive authentication certificates on cards that
    services saw, the one with the median number of services. None if there is nobody."""
    cards = evidence.logins.filter(pl.col("medium") != PHONE)
    renewed = cards.group_by("person").agg(pl.col("shown").n_unique(), pl.col("service").n_unique())
    typical = renewed.filter(pl.col("shown") >= 2).sort("service", "person")
    if not typical.height:
        return None
    person = int(typical["person"][typical.height // 2])
    issued = evidence.certificates.filter(pl.col("person") == person).sort("begins", "shown")
    numbers = {int(shown): number for number, shown in enumerate(issued["shown"], 1)}
    counted = evidence.moments.filter(pl.col("person") == person).group_by("service", "kind", "sector", "shown").agg(
        pl.col("moment").min().alias("first"), pl.col("moment").max().alias("last"), pl.len().alias("uses")
    )  # fmt: skip
    rows = counted.sort("first", "service", "shown").iter_rows(named=True)
    sightings = [
        Sighting(f"{row['kind']} {row['service']}", row["sector"], numbers[row["shown"]], _day(row["first"] // DAY),
                 _day(row["last"] // DAY), row["uses"])
        for row in rows
    ]  # fmt: skip
    return Timeline(
        BEGINS, _day(evidence.days), tuple(map(_certificate, issued.iter_rows(named=True), numbers.values())),
        tuple(sightings),
    )  # fmt: skip


def _certificate(row: dict[str, int], number: int) -> ShownCertificate:
    reason = EndReason(row["reason"])
    over = reason is not EndReason.NONE
    return ShownCertificate(
        number, bool(row["kind"]), row["medium"] == PHONE, _day(row["begins"]), _day(row["ended"]) if over else None,
        reason.name.lower().replace("_", "-") if over else None,
    )  # fmt: skip


def _day(number: int) -> date:
    return BEGINS + timedelta(days=int(number))
