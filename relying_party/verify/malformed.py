"""What a verdict says of an encoding that cannot be read."""

from __future__ import annotations

import re

_OF_A_PARSER = re.compile(r"asn1|ASN\.1|ParseError|PEM|base64|codec", re.IGNORECASE)


def trouble(error: Exception) -> str:
    """Return our own words about an encoding, or "its encoding is malformed" in place of those of a parser."""
    return "its encoding is malformed" if _OF_A_PARSER.search(str(error)) else str(error)
