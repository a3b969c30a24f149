"""The decisions that a relying party makes for its own verification."""

from __future__ import annotations

from dataclasses import dataclass, fields
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

    def __str__(self) -> str:
        """Return the policy in words."""
        return (
            f"lists are used for {_words(self.lists_fresh_for)} before a newer one is fetched, clocks may differ by "
            f"{_words(self.clock_tolerance)}, a challenge is valid for {_words(self.challenge_lifetime)}"
        )

    def as_dict(self) -> dict[str, int]:
        """Return the policy as a JSON object, in seconds."""
        return {f"{field.name}_seconds": int(getattr(self, field.name).total_seconds()) for field in fields(self)}


def _words(duration: timedelta) -> str:
    seconds = int(duration.total_seconds())
    unit, size = next(one for one in _UNITS if seconds % one[1] == 0)
    return f"{seconds // size} {unit}{'' if seconds == size else 's'}"


_UNITS = (("day", 86400), ("hour", 3600), ("minute", 60), ("second", 1))

DEFAULT_POLICY = VerificationPolicy()
