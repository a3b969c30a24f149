"""The table of ports on which the servers of one instance listen, all on loopback.

All numbers are relative to `KAZASHI_FIRST_PORT`, so that two users of one machine can use different ports.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass

HOST = "127.0.0.1"
"""The address on which servers listen. Those at `localhost` also listen on ::1 (`sockets.py`)."""

_COUNT = 20


def _range(first: str) -> range:
    if not first.isdecimal() or not 1024 <= int(first) <= 65536 - _COUNT:
        sys.exit(f"kazashi: KAZASHI_FIRST_PORT is {first!r}; set it to a number from 1024 to {65536 - _COUNT} [usage]")
    return range(int(first), int(first) + _COUNT)


RANGE = _range(os.environ.get("KAZASHI_FIRST_PORT", "18600"))
"""All ports of an instance."""


@dataclass(frozen=True, slots=True)
class Port:
    """A port: its offset from the first port, the server that listens on it, and the scheme and host of its URL."""

    place: int
    listener: str
    scheme: str = "http"
    host: str = HOST

    @property
    def number(self) -> int:
        """The port number. A server listens on it unless it is given another."""
        return RANGE[self.place]

    @property
    def address(self) -> str:
        """The URL, such as http://127.0.0.1:N."""
        return f"{self.scheme}://{self.host}:{self.number}"


CONSOLE = Port(0, "the console")
AUTHORITIES = Port(1, "the authorities: OCSP, revocation lists, services to verifiers")
DIRECTORY = Port(2, "the authorities' directory", "ldap")
DESK = Port(3, "the J-LIS office between certificates and codes", "https", "localhost")
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
JOINT_BODY = Port(16, "the insurers' joint body", "https", "localhost")
CLINIC = Port(17, "the terminal at a clinic's desk", host="localhost")

PORTS = (
    CONSOLE, AUTHORITIES, DIRECTORY, DESK, CORE, MUNICIPAL, PENSION, PORTAL_MESSAGES, PORTAL, AGENT, SITE, PROVIDER,
    PLATFORM, CENTRE, REFUND_PORTAL, JOINT_BODY, CLINIC,
)  # fmt: skip
"""The table of ports. Each further server takes the first free port that has no entry."""
