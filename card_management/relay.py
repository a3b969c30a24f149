"""The relay between the card management and the authorities, and the faults that it can have.

In 2016 the real relay lost replies: a security module's response and a timer interrupt arrived in the wrong order, and
cases were left half finished. Here every request has an identifier, so that one certificate is issued for it however
often it is sent.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import Enum
from typing import Protocol

from kazashi.jpki.profile import EMULATED, CertificateType, Profile
from kazashi.pki.authority import Authority
from kazashi.pki.certificate import CertificateRequest


class RelayFailed(Exception):
    """No reply came over the relay. The case is not lost: it can be continued where it stopped."""


class RelayBusy(RelayFailed):
    """The relay takes no more requests now: a municipality has as many sessions as it may have, or all are taken."""


class RelayDown(RelayFailed):
    """The relay has crashed, and is not back yet."""


class Relay(Protocol):
    """Sends a request to an authority and returns the certificate."""

    def send(self, kind: CertificateType, request: CertificateRequest, profile: Profile = EMULATED) -> bytes:
        """Send a request; return the certificate as DER. Raises RelayFailed and the authority's exceptions."""


class DirectRelay:
    """A relay without faults."""

    def __init__(self, authorities: Mapping[CertificateType, Authority]) -> None:
        self._authorities = authorities

    def send(self, kind: CertificateType, request: CertificateRequest, profile: Profile = EMULATED) -> bytes:
        """Send a request; return the certificate as DER. Raises the authority's exceptions."""
        return self._authorities[kind].issue(request, profile)


class RelayFault(Enum):
    """A fault that can affect one request."""

    NONE = "none"
    REQUEST_LOST = "request lost"
    REPLY_LOST = "reply lost"
    SENT_TWICE = "sent twice"
    CRASH = "crash"
    """The relay stops after the authority has issued the certificate, and takes no requests for a while."""


def send_with(
    fault: RelayFault, inner: Relay, kind: CertificateType, request: CertificateRequest, profile: Profile = EMULATED
) -> bytes:
    """Send a request over a relay that has this fault; return the certificate as DER.

    Raises RelayFailed and the authority's exceptions.
    """
    if fault is RelayFault.REQUEST_LOST:
        raise RelayFailed("the request was lost on the way to the authority; the case can be resumed")
    certificate = inner.send(kind, request, profile)
    if fault is RelayFault.REPLY_LOST:
        raise RelayFailed("the authority's reply was lost on the way back; the case can be resumed")
    if fault is RelayFault.CRASH:
        raise RelayDown("the relay crashed before it passed on the authority's reply; the case can be resumed")
    if fault is RelayFault.SENT_TWICE:
        return inner.send(kind, request, profile)
    return certificate


class FaultyRelay:
    """A relay that follows a script of faults, one per request, and works correctly after the script has ended."""

    def __init__(self, inner: Relay, script: Iterable[RelayFault]) -> None:
        self._inner = inner
        self._script = iter(script)

    def send(self, kind: CertificateType, request: CertificateRequest, profile: Profile = EMULATED) -> bytes:
        """Send a request; return the certificate as DER. Raises RelayFailed and the authority's exceptions."""
        return send_with(next(self._script, RelayFault.NONE), self._inner, kind, request, profile)
