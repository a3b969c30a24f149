"""A verifier of other people, and its row in the table: what it makes of certificates, lists and OCSP."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, fields
from typing import Protocol

from benchmarks.interoperability.issued import REASONS, IssuedFiles

AUTHENTICATION, SIGNATURE = "authentication", "signature"
GOOD, REVOKED = "good", "revoked"

POLICIES, USAGE = "policies", "usage"
"""The settings that a verifier may have: to accept critical policies, and to accept the certificate's key usage."""

PATH, LIST, OCSP = "path", "list", "ocsp"
"""What a verifier may do: build a path, look a certificate up in lists, query OCSP."""

YES, SET, BESIDE, NO, CALLER, NONE = "yes", "with a setting", "with authority.crl", "no", "by the caller", "–"
"""The words of the table; docs/interoperability.md explains them."""


@dataclass(frozen=True, slots=True)
class VerificationCase:
    """A certificate to judge: its name and its root's, the settings in force, the names of the revocation lists, and
    whether to query OCSP."""

    certificate: str
    root: str
    settings: frozenset[str] = frozenset()
    lists: tuple[str, ...] = ()
    ocsp: bool = False


class Judge(Protocol):
    """A verifier that is ready: its program runs, or its database is made."""

    def reads(self, certificate: str, settings: frozenset[str]) -> bool:
        """Whether the verifier finds the certificate's own serial number (or subject) in it. Raises Unreadable."""

    def judge(self, case: VerificationCase) -> str:
        """GOOD, REVOKED, or why the certificate is refused."""


class OutsideVerifier(Protocol):
    """Somebody else's verifier."""

    name: str
    kinds: Sequence[str]
    """The types of certificates that are tried: servers are given authentication certificates only."""
    sources: frozenset[str]
    """Where it can look for a revocation: LIST, OCSP."""
    callers: frozenset[str]
    """What it leaves to its caller, although it reads what is needed: PATH, LIST, OCSP."""

    def version(self) -> str:
        """The version, as the program says it."""

    def ready(self, issued: IssuedFiles) -> AbstractContextManager[Judge]:
        """Make the verifier ready."""


class Unreadable(Exception):
    """The verifier does not read a certificate."""


@dataclass(frozen=True, slots=True)
class VerifierRow:
    """A verifier's row, printed under the headings of docs/interoperability.md."""

    name: str
    version: str
    reads: str
    path: str
    policies: str
    own_list: str
    together: str
    full_list: str
    point: str
    ocsp: str

    def cells(self) -> tuple[str, ...]:
        """The words of the table, without the version."""
        return tuple(getattr(self, field.name) for field in fields(self) if field.name not in ("name", "version"))


def row(verifier: OutsideVerifier, issued: IssuedFiles) -> VerifierRow:
    """Try a verifier and return its row."""
    with verifier.ready(issued) as judge:
        trial = _Trial(verifier, judge)
        policies = trial.policies()
        lists = trial.lists() if LIST in verifier.sources else (NONE,) * 4
        return VerifierRow(
            verifier.name, verifier.version(), trial.reads(), NONE if policies == NO else trial.path(), policies,
            *lists, trial.ocsp() if OCSP in verifier.sources else NONE,
        )  # fmt: skip


ALL = frozenset({POLICIES, USAGE})


class _Trial:
    def __init__(self, verifier: OutsideVerifier, judge: Judge) -> None:
        self._verifier, self._judge = verifier, judge

    def reads(self) -> str:
        """Whether it reads the certificates."""
        names = [f"{kind}-{state}" for kind in self._verifier.kinds for state in REASONS]
        for settings, word in ((frozenset[str](), YES), (ALL, SET)):
            with suppress(Unreadable):
                if all(self._judge.reads(name, settings) for name in names):
                    return word
        return NO

    def path(self) -> str:
        """Whether it accepts the certificates under their root, and under no other."""
        for kind in self._verifier.kinds:
            other = SIGNATURE if kind == AUTHENTICATION else AUTHENTICATION
            under_another = self._judge.judge(VerificationCase(f"{kind}-good", f"{other}-root", ALL))
            if under_another == GOOD:
                raise RuntimeError(f"{self._verifier.name} accepts a certificate under a root that did not sign it")
        return CALLER if PATH in self._verifier.callers else self._setting_needed(USAGE)

    def policies(self) -> str:
        """Whether it accepts the critical policies."""
        return self._setting_needed(POLICIES)

    def _setting_needed(self, setting: str) -> str:
        for settings, word in ((ALL - {setting}, YES), (ALL, SET)):
            if all(self._is_good(kind, settings) for kind in self._verifier.kinds):
                return word
        return NO

    def _is_good(self, kind: str, settings: frozenset[str]) -> bool:
        return self._judge.judge(VerificationCase(f"{kind}-good", f"{kind}-root", settings)) == GOOD

    def lists(self) -> tuple[str, str, str, str]:
        """How it takes the municipality's list, several lists together, the full list, and another municipality's."""
        own, beside = self._taken("own")
        full, _ = self._taken("full")
        if own == NO:
            return NO, NO, full, NONE
        together = self._is_right(("own", "other", "authority"))
        by_caller = CALLER if own == CALLER else YES
        refused = all(
            self._judged(kind, GOOD, ("other", *beside)) not in (GOOD, REVOKED) for kind in self._verifier.kinds
        )
        point = YES if refused else NO
        return own, by_caller if together else NO, full, CALLER if own == CALLER else point

    def _taken(self, name: str) -> tuple[str, tuple[str, ...]]:
        """Whether it takes a list, by itself or with the authority's list beside it; and what is beside it."""
        for beside, word in (((), CALLER if LIST in self._verifier.callers else YES), (("authority",), BESIDE)):
            if self._is_right((name, *beside)):
                return word, beside
        return NO, ()

    def _is_right(self, lists: tuple[str, ...] = (), ocsp: bool = False) -> bool:
        return all(
            self._judged(kind, state, lists, ocsp) == (GOOD if reason is None else REVOKED)
            for kind in self._verifier.kinds
            for state, reason in REASONS.items()
        )

    def _judged(self, kind: str, state: str, lists: tuple[str, ...] = (), ocsp: bool = False) -> str:
        names = tuple(f"{kind}-{name}" for name in lists)
        return self._judge.judge(VerificationCase(f"{kind}-{state}", f"{kind}-root", ALL, names, ocsp))

    def ocsp(self) -> str:
        """Whether it takes the responder's status, with the address that has the caller's key."""
        if not self._is_right(ocsp=True):
            return NO
        return CALLER if OCSP in self._verifier.callers else YES


def output(*command: str, directory: str | None = None, environment: dict[str, str] | None = None) -> str:
    """Both output streams of a program, however it exits."""
    done = subprocess.run(
        command, capture_output=True, text=True, errors="replace", check=False, timeout=60, cwd=directory,
        env=environment, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    return done.stdout + done.stderr


def version_of(*command: str) -> str:
    """The first number with dots in what a program prints."""
    match = re.search(r"\d+\.\d+[\d.]*", output(*command))
    return match[0] if match else "unknown"


def one_line(text: str) -> str:
    """A message on one line, as a reason."""
    return " ".join(text.split())[-300:]
