"""What a relying party decides for itself when it verifies."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class VerificationPolicy:
    """The decisions of a relying party that no law and no standard makes for it. A verifier is made with one."""

    lists_fresh_for: timedelta = timedelta(days=1)
    """For how long after its thisUpdate a revocation list is used without asking for a newer one. Lists are made daily.
    Where no newer list is to be had, the list is used until its nextUpdate."""

    clock_tolerance: timedelta = timedelta(minutes=5)
    """How far in the future the thisUpdate of a list or an OCSP answer may lie: the authority's clock may be ahead."""

    challenge_lifetime: timedelta = timedelta(minutes=5)
    """For how long after a challenge was given out an answer to it is accepted."""


DEFAULT_POLICY = VerificationPolicy()
