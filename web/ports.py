"""The ports that servers of one instance listen on, all on loopback: one table.

Two users of one machine give each other room with `KAZASHI_FIRST_PORT`, to which all of them are counted.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass

HOST = "127.0.0.1"
"""Where servers listen."""

_COUNT = 20


def _range(first: str) -> range:
    if not first.isdecimal() or not 1024 <= int(first) <= 65536 - _COUNT:
        sys.exit(f"kazashi: KAZASHI_FIRST_PORT is {first!r}; give a number from 1024 to {65536 - _COUNT} [usage]")
    return range(int(first), int(first) + _COUNT)


RANGE = _range(os.environ.get("KAZASHI_FIRST_PORT", "18600"))
"""All ports of an instance."""


@dataclass(frozen=True, slots=True)
class Port:
    """A port: its number counted from the first one, what listens there, and how clients name it."""

    place: int
    listener: str
    scheme: str = "http"
    host: str = HOST

    @property
    def number(self) -> int:
        """The number, which is what a server listens on unless it is told another."""
        return RANGE[self.place]

    @property
    def address(self) -> str:
        """The URL, such as http://127.0.0.1:N."""
        return f"{self.scheme}://{self.host}:{self.number}"


CONSOLE = Port(0, "the console")
AUTHORITIES = Port(1, "the authorities: OCSP, revocation lists, services to verifiers")
DIRECTORY = Port(2, "the authorities' directory", "ldap")
DESK = Port(3, "J-LIS's desk between certificates and codes", "https", "localhost")
CORE = Port(4, "the core of the provision network", "https", "localhost")
MUNICIPAL = Port(5, "the municipalities' interface system", "https", "localhost")
PENSION = Port(6, "the pension service's interface system", "https", "localhost")
PORTAL_MESSAGES = Port(7, "the portal's interface system", "https", "localhost")
PORTAL = Port(8, "the portal's pages", host="localhost")
AGENT = Port(10, "the local agent")
SITE = Port(11, "the sample site", host="localhost")
PROVIDER = Port(12, "the OpenID Connect provider", host="localhost")
PLATFORM = Port(13, "the platform operator")
CENTRE = Port(14, "the accumulation centre", "https", "localhost")
REFUND_PORTAL = Port(15, "the refund portal", host="localhost")

PORTS = (
    CONSOLE, AUTHORITIES, DIRECTORY, DESK, CORE, MUNICIPAL, PENSION, PORTAL_MESSAGES, PORTAL, AGENT, SITE, PROVIDER,
    PLATFORM, CENTRE, REFUND_PORTAL,
)  # fmt: skip
"""The table. Ports of no entry are taken by further servers, the first free one each."""
