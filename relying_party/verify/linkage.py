"""The authority's linkage services for registered callers, which link serial numbers (act on JPKI, article 18)."""

from __future__ import annotations

from typing import Any, Protocol

import httpx

from kazashi.jpki.profile import CertificateType
from kazashi.jpki.serial_number import NotASerialNumber, read_serial, serial_text
from kazashi.relying_party.verify.sources import web_client


class LinkageUnavailable(Exception):
    """The authority's linkage service did not respond; nothing was changed."""


class Linkage(Protocol):
    """The two linkage queries. Both raise LinkageUnavailable."""

    def renewal(self, kind: CertificateType, serial: int) -> list[int]:
        """Return the serial numbers that replaced each other on one card or phone, oldest first (新旧紐付け)."""

    def counterpart(self, kind: CertificateType, serial: int) -> int | None:
        """Return the serial number of the other certificate on the same card or phone, or None (証明書紐付け)."""


class LinkageOverHttp:
    """The authorities' linkage services over HTTP; `key` is the API key of a registered caller."""

    def __init__(self, services: str, key: str) -> None:
        self._services = services
        self._headers = {"Authorization": f"Bearer {key}"}

    def renewal(self, kind: CertificateType, serial: int) -> list[int]:
        """Return the chain of serial numbers that a serial number belongs to, oldest first."""
        return [_number(text) for text in self._query("renewal", kind, serial)["serials"]]

    def counterpart(self, kind: CertificateType, serial: int) -> int | None:
        """Return the serial number of the other certificate, or None."""
        number = self._query("counterpart", kind, serial)["serial"]
        return None if number is None else _number(number)

    def _query(self, service: str, kind: CertificateType, serial: int) -> dict[str, Any]:
        try:
            address = f"{self._services}/services/{service}/{kind.code}/0x{serial_text(serial)}"
            response = web_client().get(address, headers=self._headers)
            response.raise_for_status()
            return dict(response.json())
        except (httpx.HTTPError, ValueError) as error:
            raise LinkageUnavailable(f"the linkage service at {self._services} is unavailable: {error}") from error


def _number(text: str) -> int:
    """The number that the authority wrote in hexadecimal. Raises LinkageUnavailable."""
    try:
        number = read_serial(text).hexadecimal
    except NotASerialNumber as error:
        raise LinkageUnavailable(f"the linkage service sent an unusable response: {error}") from error
    if number is None:
        raise LinkageUnavailable(f"the linkage service sent an unusable response: {text} has more than 64 bits")
    return number


class NoLinkage:
    """A linkage without any links, which shows the consequences when the chain is cut."""

    def renewal(self, kind: CertificateType, serial: int) -> list[int]:
        """Return a list of only the serial number itself."""
        return [serial]

    def counterpart(self, kind: CertificateType, serial: int) -> int | None:
        """Return None."""
        return None
