"""The program's exit statuses, and the errors of this package."""

from __future__ import annotations

from enum import IntEnum


class Exit(IntEnum):
    """The program's exit statuses: success, a negative result, wrong usage, a problem in the environment."""

    OK = 0
    NEGATIVE = 1
    USAGE = 2
    ENVIRONMENT = 3


class UsageError(Exception):
    """The arguments do not fit together, or name something that does not exist."""


class AlreadyRunning(Exception):
    """An instance is already running in this world."""


class ServicesUnavailable(Exception):
    """A server process could not be started, or there is no free port for it."""


class OpenscMissing(Exception):
    """OpenSC is not installed."""


class CheckoutMissing(Exception):
    """The program was installed from a wheel, but the command needs files that only the checkout contains."""


class PackageMissing(ImportError):
    """A Python package that a part of the program needs is not installed."""


class NotInstalled(Exception):
    """A part of the program is missing, and nobody has agreed to install it."""


class InstallationFailed(Exception):
    """Something could not be installed: no network, a full disk, a folder that cannot be written to, ..."""


class StepFailed(Exception):
    """A step of the demo or of the network's rehearsal failed."""
