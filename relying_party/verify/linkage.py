"""The authority's linkage service for registered callers, which links serial numbers (act on JPKI, article 18)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import httpx

from kazashi.jpki.linkage import Follow, LinkedCertificate
from kazashi.jpki.profile import CERTIFICATE_TYPES, CertificateType, Medium
from kazashi.jpki.serial_number import NotASerialNumber, read_serial, serial_text
from kazashi.relying_party.verify.sources import web_client

BOTH = tuple(CertificateType)


class LinkageUnavailable(Exception):
    """The authority's linkage service did not respond; nothing was changed."""


class Linkage(Protocol):
    """The linkage query, which the authority logs."""

    def certificates(
        self, kind: CertificateType, serial: int, follow: Follow = Follow.PERSON,
        types: Sequence[CertificateType] = BOTH,
    ) -> list[LinkedCertificate]:  # fmt: skip
        """Return the certificates of these types that belong together with a certificate, itself included if its type
        is one of them. Those of each type are in the order of their issue. Raises LinkageUnavailable."""


class LinkageOverHttp:
    """The authorities' linkage service over HTTP; `key` is the API key of a registered caller."""

    def __init__(self, services: str, key: str) -> None:
        self._services = services
        self._headers = {"Authorization": f"Bearer {key}"}

    def certificates(
        self, kind: CertificateType, serial: int, follow: Follow = Follow.PERSON,
        types: Sequence[CertificateType] = BOTH,
    ) -> list[LinkedCertificate]:  # fmt: skip
        """Ask the service, unless certificates are not followed at all."""
        if follow is Follow.CERTIFICATE:
            return NoLinkage().certificates(kind, serial, follow, types)
        wanted = {"follow": follow.value, **({"type": types[0].code} if len(types) == 1 else {})}
        address = f"{self._services}/services/linkage/{kind.code}/0x{serial_text(serial)}"
        try:
            response = web_client().get(address, headers=self._headers, params=wanted)
            response.raise_for_status()
            return [_linked(row) for row in response.json()["certificates"]]
        except (httpx.HTTPError, ValueError, TypeError, KeyError) as error:
            raise LinkageUnavailable(f"the linkage service at {self._services} is unavailable: {error}") from error


def _linked(row: dict[str, Any]) -> LinkedCertificate:
    """Read a certificate in the service's response. Raises ValueError, TypeError, KeyError and LinkageUnavailable."""
    try:
        number = read_serial(row["serial"]).hexadecimal
    except NotASerialNumber as error:
        raise LinkageUnavailable(f"the linkage service sent an unusable response: {error}") from error
    if number is None:
        raise LinkageUnavailable(
            f"the linkage service sent an unusable response: {row['serial']} has more than 64 bits"
        )
    return LinkedCertificate(CERTIFICATE_TYPES[row["kind"]], number, Medium(row["medium"]))


class NoLinkage:
    """A linkage without any links, which asks nobody. It shows the consequences when nothing is linked."""

    def certificates(
        self, kind: CertificateType, serial: int, follow: Follow = Follow.PERSON,
        types: Sequence[CertificateType] = BOTH,
    ) -> list[LinkedCertificate]:  # fmt: skip
        """Return only the certificate itself, as one on a card."""
        return [LinkedCertificate(kind, serial, Medium.CARD)] if kind in types else []


def authentication_serials(
    linkage: Linkage, kind: CertificateType, serial: int, follow: Follow = Follow.PERSON
) -> list[int]:  # fmt: skip
    """Return the serial numbers of the authentication certificates that belong together with a certificate, in the
    order of their issue. Raises LinkageUnavailable."""
    linked = linkage.certificates(kind, serial, follow, (CertificateType.AUTHENTICATION,))
    return [each.serial for each in linked]
