"""Origins of sites (RFC 6454), and how long a text that a site wants signed may be."""

from __future__ import annotations

from urllib.parse import urlsplit

MAX_TEXT = 4000
"""The longest text, in characters, that a site may ask a card's holder to sign."""


def origin_of(address: str) -> str:
    """Scheme, host and port of an address. Raises ValueError for what is neither https nor on this machine."""
    parts = urlsplit(address)
    if not address.isprintable() or " " in address:
        raise ValueError(f"{address!r} is no plain address")
    if parts.username is not None or parts.password is not None or not parts.hostname:
        raise ValueError(f"{address!r} is no plain address")
    local = parts.hostname in ("127.0.0.1", "localhost") or parts.hostname.endswith(".localhost")
    if parts.scheme != "https" and not (parts.scheme == "http" and local):
        raise ValueError(f"{address!r} is not https")
    port = f":{parts.port}" if parts.port is not None and parts.port != {"https": 443, "http": 80}[parts.scheme] else ""
    return f"{parts.scheme}://{parts.hostname}{port}"
