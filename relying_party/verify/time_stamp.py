"""Time-stamps (RFC 3161): evidence that a signature existed at an instant.

The instant that a signer writes into a document proves nothing. A time-stamp authority that the relying party trusts
proves that the signature is not younger than its time-stamp. The authorities have a trust list of their own: no JPKI
authority issues time-stamps, and no time-stamp authority issues certificates to holders.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

from asn1crypto import cms
from asn1crypto import x509 as asn1_x509
from pyhanko.sign.validation.generic_cms import validate_tst_signed_data
from pyhanko.sign.validation.status import TimestampSignatureStatus
from pyhanko_certvalidator import ValidationContext

from kazashi.jpki.armor import der_in
from kazashi.relying_party.verify.anchors import BadAnchor, certificate_files
from kazashi.relying_party.verify.verdict import ProvenTime
from kazashi.world.input_file import read_input

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Stamp:
    """A time-stamp token that has not been verified yet. `imprint` takes the name of a digest algorithm and returns the
    digest of what the token must be about. A document time-stamp covers the other time-stamps before it."""

    unverified_token: cms.SignedData
    imprint: Callable[[str], bytes]
    covers_others: bool = False

    @property
    def claimed(self) -> str:
        """The instant that the token gives, as text."""
        try:
            return str(self.unverified_token["encap_content_info"]["content"].parsed["gen_time"].native)
        except (ValueError, TypeError, KeyError, AttributeError):
            return "an unreadable time"


class TimeStampAuthorities:
    """The time-stamp authorities that a relying party trusts: the root certificates (.cer, .crt, .der, .pem) in a
    directory, or none."""

    def __init__(self, directory: Path | None = None) -> None:
        """Read the directory. Raises BadAnchor."""
        paths = certificate_files(directory) if directory is not None else []
        if directory is not None and not paths:
            raise BadAnchor(f"{directory} has no certificate of a time-stamp authority")
        self._roots = [_read_root(path) for path in paths]

    def earliest(
        self, stamps: Sequence[Stamp], now: datetime, tolerance: timedelta
    ) -> tuple[ProvenTime | None, tuple[str, ...]]:
        """Return the earliest instant that trusted time-stamps prove, and a sentence about each one that is not used.
        `tolerance` is how far a time-stamp may be in the future.

        A time-stamp is judged as of now, or as of the instant of a later one that covers it: that is how long-term
        archives keep evidence whose certificates have expired (ETSI EN 319 102-1, 5.6.2).
        """
        proven: ProvenTime | None = None
        notes, at = [], now
        for stamp in reversed(stamps):
            reached = self._verified(stamp, at, tolerance)
            if isinstance(reached, str):
                notes.append(f"the time-stamp of {stamp.claimed} is not used: {reached}")
                continue
            if proven is None or reached.instant < proven.instant:
                proven = reached
            if stamp.covers_others:
                at = min(at, reached.instant)
        return proven, tuple(notes)

    def _verified(self, stamp: Stamp, at: datetime, tolerance: timedelta) -> ProvenTime | str:
        """Return the instant that a time-stamp proves, or why it proves none."""
        if not self._roots:
            return "no time-stamp authority is trusted"
        context = ValidationContext(
            trust_roots=self._roots, allow_fetching=False, moment=at, revocation_mode="soft-fail"
        )  # fmt: skip
        try:
            values = run(validate_tst_signed_data(stamp.unverified_token, context, stamp.imprint))
            status = TimestampSignatureStatus(**values)
        except Exception as error:  # the parser may raise anything for a hostile token
            return f"it cannot be read: {error}"
        if not status.intact or not status.valid:
            return "it is about something else, or its signature is not valid"
        if not status.trusted:
            return "no trusted time-stamp authority made it"
        if status.timestamp > at + tolerance:
            return "it is from the future"
        usage = status.signing_cert.extended_key_usage_value
        if usage is None or "time_stamping" not in usage.native:
            return "its certificate is not for time-stamping (RFC 3161, 2.3)"
        validity = status.signing_cert["tbs_certificate"]["validity"]
        if not validity["not_before"].native <= status.timestamp <= validity["not_after"].native:
            return "its authority's certificate was not valid at that time"
        return ProvenTime(status.timestamp, str(status.signing_cert.subject.human_friendly))


def _read_root(path: Path) -> asn1_x509.Certificate:
    try:
        certificate = asn1_x509.Certificate.load(der_in(read_input(path)), strict=True)
        certificate.native  # noqa: B018  # asn1crypto parses only what is read
    except (ValueError, TypeError) as error:
        raise BadAnchor(f"{path} is not a certificate (DER or PEM)") from error
    return certificate


def run(coroutine: Coroutine[Any, Any, _T]) -> _T:
    """Return the result of a coroutine, even if the calling thread is already running an event loop."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(coroutine)
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, coroutine).result()
