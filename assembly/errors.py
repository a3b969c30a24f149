"""How the program ends, and the errors that are its own."""

from __future__ import annotations

from enum import IntEnum


class Exit(IntEnum):
    """What the program's exit status says."""

    OK = 0
    NEGATIVE = 1
    USAGE = 2
    ENVIRONMENT = 3


class UsageError(Exception):
    """The arguments make no sense together, or name something that is not there."""


class AlreadyRunning(Exception):
    """A bench runs in this world already."""


class ServicesUnavailable(Exception):
    """The authorities' services could not be started."""


class OpenscMissing(Exception):
    """OpenSC is not installed."""


class CheckoutMissing(Exception):
    """The program was installed from a wheel, and what is asked for comes with the checkout only."""


class PackageMissing(ImportError):
    """A Python package that a part of the program needs is not installed."""


class StepFailed(Exception):
    """A step of the demonstration did not do what it should."""
