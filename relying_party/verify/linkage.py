"""What the authority tells registered callers of how serial numbers hang together (act on JPKI, article 18)."""

from __future__ import annotations

from typing import Any, Protocol

import httpx

from kazashi.jpki.profile import CertificateType
from kazashi.relying_party.verify.sources import web_client


class LinkageUnavailable(Exception):
    """The authority did not say how serial numbers hang together; nothing was changed."""


class Linkage(Protocol):
    """The two queries. Both raise LinkageUnavailable."""

    def renewal(self, kind: CertificateType, serial: int) -> list[int]:
        """The serial numbers that took each other's place on the holder's card or phone, oldest first (新旧紐付け)."""

    def counterpart(self, kind: CertificateType, serial: int) -> int | None:
        """The serial number of the other certificate on the same card or phone (証明書紐付け)."""


class LinkageOverHttp:
    """The authorities' services, asked as the caller who has that key."""

    def __init__(self, services: str, key: str) -> None:
        self._services = services
        self._headers = {"Authorization": f"Bearer {key}"}

    def renewal(self, kind: CertificateType, serial: int) -> list[int]:
        """The chain of a serial number."""
        return [int(found, 16) for found in self._ask("renewal", kind, serial)["serials"]]

    def counterpart(self, kind: CertificateType, serial: int) -> int | None:
        """The other certificate's serial number."""
        found = self._ask("counterpart", kind, serial)["serial"]
        return None if found is None else int(found, 16)

    def _ask(self, service: str, kind: CertificateType, serial: int) -> dict[str, Any]:
        try:
            address = f"{self._services}/services/{service}/{kind.code}/{serial:X}"
            response = web_client().get(address, headers=self._headers)
            response.raise_for_status()
            return dict(response.json())
        except (httpx.HTTPError, ValueError) as error:
            raise LinkageUnavailable(f"the authority at {self._services} does not say: {error}") from error


class NoLinkage:
    """Nobody says anything: every serial number stands alone. Shows what follows when the chain is cut."""

    def renewal(self, kind: CertificateType, serial: int) -> list[int]:
        """The serial number, alone."""
        return [serial]

    def counterpart(self, kind: CertificateType, serial: int) -> int | None:
        """Nothing."""
        return None
