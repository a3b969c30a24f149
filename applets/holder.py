"""The data for personalisation: the holder, the card's own data, certificates, keys and PINs."""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random

from kazashi.applets.verifiable_certificate import CertificateSigner
from kazashi.card.key import PrivateKey


@dataclass(frozen=True, slots=True)
class Holder:
    """The holder as on the card surface.

    `birth` is YYYYMMDD, `birth_in_era_years` is YYMMDD, and `sex` is one digit: 1, 2, 9 or 0. `kana` is the reading of
    the name (振り仮名), and `latin` the name in Latin letters; only the next card shows them.
    """

    name: str
    address: str
    birth: str
    birth_in_era_years: str
    sex: str
    individual_number: str
    municipality_code: str
    kana: str = ""
    latin: str = ""


@dataclass(frozen=True, slots=True)
class CardData:
    """The card's own data: expiry (YYYYMMDD), four-digit security code, 15-digit serial number, and contact ATR.

    `length_form` is the first byte of the lengths of text objects of 128 to 255 bytes: 0x82 or 0x81. The next card
    has a `reference_number` of six digits (照合番号) instead of the security code.
    """

    expiry: str
    security_code: str
    serial: str
    contact_atr: bytes
    length_form: int = 0x82
    reference_number: str = ""

    def reference_number_b(self, holder: Holder) -> str:
        """Return 照合番号B: the date of birth in era years, the card's year of expiry, and the security code."""
        return holder.birth_in_era_years + self.expiry[:4] + self.security_code


@dataclass(frozen=True, slots=True)
class CardCertificates:
    """The certificates (DER) and keys (PKCS#8 DER) of the JPKI application; None for those that the holder lacks."""

    signature: bytes | None
    signature_key: bytes | None
    signature_authority: bytes
    authentication: bytes | None
    authentication_key: bytes | None
    authentication_authority: bytes


@dataclass(frozen=True, slots=True)
class CardSigners:
    """The signers outside the card: the trust anchors, and the municipality's keys that they certify."""

    chip_root: CertificateSigner
    text_issuer: CertificateSigner
    visual_issuer: CertificateSigner
    municipality_chip: CertificateSigner
    municipality_text: CertificateSigner
    municipality_visual: CertificateSigner


@dataclass(frozen=True, slots=True)
class ChipKeys:
    """The card's keys other than those of the two JPKI certificates."""

    text: PrivateKey
    text_session: PrivateKey
    visual: PrivateKey
    common: PrivateKey


@dataclass(frozen=True, slots=True)
class Pins:
    """The initial PINs. `tries_left` holds retry counters that start below their maximum, by the PIN's name."""

    authentication: str = "1234"
    signature: str = "ABC123"
    text: str = "1234"
    juki: str = "1234"
    tries_left: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Personalisation:
    """All data that an application's personalisation may use. `chance` is the card's random stream.

    `photograph` is a picture as JPEG 2000; if it is empty, one is drawn.
    """

    holder: Holder
    card: CardData
    certificates: CardCertificates
    vouchers: CardSigners
    keys: ChipKeys
    pins: Pins
    chance: Random
    photograph: bytes = b""
