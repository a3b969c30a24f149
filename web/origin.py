"""Origins of sites (RFC 6454)."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

_HOST = re.compile(r"(?=.{1,253}$)[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*", re.ASCII)
"""A host name or an IPv4 address. Names of other scripts are written as A-labels (RFC 5890, xn--...)."""


def origin_of(address: str) -> str:
    """The scheme, host and port of a URL. Raises ValueError for a URL that is neither https nor on this machine."""
    parts = urlsplit(address)
    if not address.isprintable() or " " in address:
        raise ValueError(f"{address!r} is not a plain URL")
    if parts.username is not None or parts.password is not None or not parts.hostname:
        raise ValueError(f"{address!r} is not a plain URL")
    if not _HOST.fullmatch(parts.hostname):
        raise ValueError(f"{parts.hostname!r} is not a host name of letters, digits and hyphens")
    local = parts.hostname in ("127.0.0.1", "localhost") or parts.hostname.endswith(".localhost")
    if parts.scheme != "https" and not (parts.scheme == "http" and local):
        raise ValueError(f"{address!r} does not use https")
    port = f":{parts.port}" if parts.port is not None and parts.port != {"https": 443, "http": 80}[parts.scheme] else ""
    return f"{parts.scheme}://{parts.hostname}{port}"
