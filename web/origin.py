"""Origins of sites (RFC 6454), and the maximum length of a text that a site asks to have signed."""

from __future__ import annotations

from urllib.parse import urlsplit

MAX_TEXT = 4000
"""The maximum length, in characters, of a text that a site may ask a card's holder to sign."""


def origin_of(address: str) -> str:
    """The scheme, host and port of a URL. Raises ValueError for a URL that is neither https nor on this machine."""
    parts = urlsplit(address)
    if not address.isprintable() or " " in address:
        raise ValueError(f"{address!r} is not a plain URL")
    if parts.username is not None or parts.password is not None or not parts.hostname:
        raise ValueError(f"{address!r} is not a plain URL")
    local = parts.hostname in ("127.0.0.1", "localhost") or parts.hostname.endswith(".localhost")
    if parts.scheme != "https" and not (parts.scheme == "http" and local):
        raise ValueError(f"{address!r} does not use https")
    port = f":{parts.port}" if parts.port is not None and parts.port != {"https": 443, "http": 80}[parts.scheme] else ""
    return f"{parts.scheme}://{parts.hostname}{port}"
