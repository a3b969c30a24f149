"""The decisions that a relying party makes for its own verification."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class VerificationPolicy:
    """Decisions that no law or standard makes for a relying party. Each `Verifier` has one policy."""

    lists_fresh_for: timedelta = timedelta(days=1)
    """How long after its thisUpdate a revocation list is used without fetching a newer one. Lists are issued daily. If
    no newer list is available, the list is used until its nextUpdate."""

    clock_tolerance: timedelta = timedelta(minutes=5)
    """How far in the future the thisUpdate of a list or an OCSP response may be: the authority's clock may be ahead."""

    challenge_lifetime: timedelta = timedelta(minutes=5)
    """How long after a challenge was issued a response to it is accepted."""


DEFAULT_POLICY = VerificationPolicy()
