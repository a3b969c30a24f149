"""Revocation checks: how a service learns that a certificate is still good, and what reaches the authority's log."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

import polars as pl

from kazashi.tracking_lab.plan import DAY


class Requester(Enum):
    """Who asks the authority about a certificate."""

    SERVICE = "service"
    """The service to which it is shown, by OCSP (RFC 6960)."""
    HOLDER = "holder"
    """The card or wallet itself. The authority learns who uses a certificate and when, but not where."""
    NOBODY = "nobody"
    """Everybody downloads the same list at fixed times."""


@dataclass(frozen=True, slots=True)
class RevocationCheck:
    """A kind of revocation check. A reply that the holder fetches is good until the end of a period of `days`, and is
    fetched at the first use in the period; 0 means a request at each use."""

    id: str
    requester: Requester
    days: int = 0


OCSP = RevocationCheck("ocsp", Requester.SERVICE)
"""The services that ask do so at each use (RFC 6960)."""

WITNESS = RevocationCheck("witness", Requester.HOLDER)
"""The holder fetches a fresh proof at each use: a nonced OCSP response, or an accumulator's witness."""

SHORT_LIVED = RevocationCheck("short-lived", Requester.HOLDER, 1)
"""A certificate of one day, fetched when it is needed. The EUDI wallet's framework requires no revocation of
attestations that are valid for 24 hours or less."""

STAPLED = RevocationCheck("stapled", Requester.HOLDER, 7)
"""An OCSP response that the holder keeps for a week and shows with the certificate."""

LIST = RevocationCheck("list", Requester.NOBODY)
"""A CRL (RFC 5280, 5) or a status list with the status of all certificates."""

CHECKS = (OCSP, WITNESS, SHORT_LIVED, STAPLED, LIST)


def requests(moments: pl.DataFrame, check: RevocationCheck) -> pl.DataFrame:
    """The uses on which the authority gets a request. `moments` has one row per use: `asks`, `person`, `moment`
    (seconds)."""
    if check.requester is Requester.NOBODY:
        return moments.clear()
    if check.requester is Requester.SERVICE:
        return moments.filter("asks")
    if not check.days:
        return moments
    period = moments.with_columns(period=pl.col("moment") // (check.days * DAY)).sort("person", "moment")
    return period.unique(subset=["person", "period"], keep="first", maintain_order=True).drop("period")
