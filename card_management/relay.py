"""The relay between the card management and the authorities, and the ways in which it fails.

In 2016 the real one lost replies: a security module's answer and a timer's interrupt came in the wrong order, and cases
hung half done. What keeps a case whole is that a request bears a number, and is answered once however often it is sent.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import Enum
from typing import Protocol

from kazashi.jpki.profile import CertificateType
from kazashi.pki.authority import Authority
from kazashi.pki.certificate import CertificateRequest


class RelayFailed(Exception):
    """No reply came over the relay. The case is not lost: it is taken up again where it stands."""


class Relay(Protocol):
    """Carries a request to an authority and the certificate back."""

    def send(self, kind: CertificateType, request: CertificateRequest) -> bytes:
        """The certificate as DER. Raises RelayFailed, and what the authority raises."""


class DirectRelay:
    """A relay that loses nothing."""

    def __init__(self, authorities: Mapping[CertificateType, Authority]) -> None:
        self._authorities = authorities

    def send(self, kind: CertificateType, request: CertificateRequest) -> bytes:
        """The certificate as DER."""
        return self._authorities[kind].issue(request)


class RelayFault(Enum):
    """What can happen to one request."""

    NONE = "none"
    REQUEST_LOST = "request lost"
    REPLY_LOST = "reply lost"
    SENT_TWICE = "sent twice"


class FaultyRelay:
    """A relay that fails by a script, one fault to each request, and is sound once the script has ended."""

    def __init__(self, inner: Relay, script: Iterable[RelayFault]) -> None:
        self._inner = inner
        self._script = iter(script)

    def send(self, kind: CertificateType, request: CertificateRequest) -> bytes:
        """The certificate as DER, or RelayFailed."""
        fault = next(self._script, RelayFault.NONE)
        if fault is RelayFault.REQUEST_LOST:
            raise RelayFailed("the request was lost on its way to the authority")
        certificate = self._inner.send(kind, request)
        if fault is RelayFault.REPLY_LOST:
            raise RelayFailed("the authority's reply was lost on its way back")
        if fault is RelayFault.SENT_TWICE:
            return self._inner.send(kind, request)
        return certificate
