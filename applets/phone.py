"""The JPKI application in a phone's secure element (スマホ用電子証明書, Android).

Clients tell a phone from a card by the label of the token, and verify the authentication PIN before they read the
authentication certificate (jpki/myna: src/jpki.rs and src/cli.rs). They reach the certificates, PINs and keys by the
card's identifiers. The card's files that no such client reads are absent.
"""

from __future__ import annotations

from kazashi.applets import jpki
from kazashi.applets.applet import Applet, TransparentEf
from kazashi.card.access import Verified

LABEL = b"JPKIAPGPSETOKEN".ljust(32, b"\0")
"""The token's label, which is padded with NUL and not, as on the card, with spaces."""

TOKEN_INFORMATION = TransparentEf(
    jpki.TOKEN_INFORMATION, "token information", jpki.TOKEN_INFORMATION.read,
    lambda data: jpki.token_information(data.card.serial, LABEL),
)  # fmt: skip
AUTHENTICATION_CERTIFICATE = TransparentEf(
    jpki.AUTHENTICATION_CERTIFICATE, "authentication certificate", Verified(jpki.AUTHENTICATION_PIN),
    jpki.AUTHENTICATION_CERTIFICATE.content,
)  # fmt: skip

APPLET = Applet(
    jpki.AID,
    "JPKI",
    (
        jpki.SIGNATURE_CERTIFICATE,
        jpki.SIGNATURE_AUTHORITY,
        TOKEN_INFORMATION,
        jpki.AVAILABILITY,
        AUTHENTICATION_CERTIFICATE,
        jpki.AUTHENTICATION_AUTHORITY,
        jpki.AUTHENTICATION_KEY,
        jpki.AUTHENTICATION_PIN,
        jpki.SIGNATURE_KEY,
        jpki.SIGNATURE_PIN,
    ),
    objects=(),
)
