"""DER in files that users give: as it is, or in PEM."""

from __future__ import annotations

from asn1crypto import pem


def der_in(data: bytes) -> bytes:
    """Return DER, taken out of PEM if it is in PEM. Raises ValueError for malformed PEM."""
    return bytes(pem.unarmor(data)[2]) if pem.detect(data) else data
