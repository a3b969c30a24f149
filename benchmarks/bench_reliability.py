"""`kazashi bench reliability`: trials that are repeated for an hour and must lose nothing; see docs/reliability.md."""

from __future__ import annotations

import secrets

from benchmarks.reliability import apdus, holders, kills, power_loss, refused, simulated_network, soak
from benchmarks.reliability.trial import Show, Trial

MODULES = (kills, power_loss, apdus, holders, simulated_network, refused, soak)
"""The modules with trials, in the order in which they run. Each has a SHARE of the time."""


def measure(progress: Show = lambda _: None, minutes: float = 60, seed: int | None = None) -> list[Trial]:
    """Run every trial in some minutes. Without a seed, a random one is used; each result names it."""
    seed = secrets.randbelow(1 << 32) if seed is None else seed
    whole = sum(module.SHARE for module in MODULES)
    return [
        trial for module in MODULES for trial in module.trials(minutes * module.SHARE / whole, seed, progress)
    ]  # fmt: skip
