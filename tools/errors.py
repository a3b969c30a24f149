"""The errors that a user may meet: a code for each, and the exit status that goes with it. docs/errors.md has a line
for every code."""

from __future__ import annotations

import sqlite3
from enum import IntEnum

from applets.pictures import FontMissing
from card.image import DamagedImage, ImageExists, ImageMissing
from card.store import StoreFailure
from reader_bridge.control import NotRunning, Refused
from reader_bridge.host import NoSuchSlot
from reader_bridge.pcscd import PcscdUnavailable
from reader_bridge.slot import SlotBusy
from tools.vicc_adapter import ViccMissing
from world.home import WorldUnusable


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


class StepFailed(Exception):
    """A step of the demonstration did not do what it should."""


CODES: dict[type[Exception], tuple[str, Exit]] = {
    AlreadyRunning: ("already-running", Exit.ENVIRONMENT),
    DamagedImage: ("card-damaged", Exit.ENVIRONMENT),
    StoreFailure: ("card-store-failed", Exit.ENVIRONMENT),
    FontMissing: ("font-missing", Exit.ENVIRONMENT),
    NotRunning: ("not-running", Exit.ENVIRONMENT),
    PcscdUnavailable: ("pcscd-unavailable", Exit.ENVIRONMENT),
    ViccMissing: ("vicc-missing", Exit.ENVIRONMENT),
    WorldUnusable: ("world-unusable", Exit.ENVIRONMENT),
    StepFailed: ("step-failed", Exit.NEGATIVE),
    ImageExists: ("card-exists", Exit.USAGE),
    ImageMissing: ("card-missing", Exit.USAGE),
    NoSuchSlot: ("no-such-slot", Exit.USAGE),
    SlotBusy: ("slot-busy", Exit.USAGE),
    UsageError: ("usage", Exit.USAGE),
    sqlite3.Error: ("store-failed", Exit.ENVIRONMENT),
    # What the operating system refuses (rights, space, a missing program) is the environment's, whoever asked for it.
    OSError: ("system", Exit.ENVIRONMENT),
}

REMOTE_ONLY = ("bad-request", "internal")
"""Codes that only the control socket answers."""


def code_of(error: Exception) -> str | None:
    """The code of an error, None for one that is a defect."""
    if isinstance(error, Refused):
        return error.code
    return next((code for kind, (code, _) in CODES.items() if isinstance(error, kind)), None)


def exit_of(code: str) -> Exit:
    """The exit status of an error code."""
    return next((status for known, status in CODES.values() if known == code), Exit.NEGATIVE)
