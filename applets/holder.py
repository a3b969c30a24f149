"""What is personalised: the holder as the card's face shows one, the card's own data, and the keys that vouch."""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random

from kazashi.applets.verifiable_certificate import CertificateSigner
from kazashi.card.key import PrivateKey


@dataclass(frozen=True, slots=True)
class Holder:
    """The card's face. Dates are YYYYMMDD; `birth_in_era_years` is YYMMDD; `sex` one digit, 1, 2, 9 or 0."""

    name: str
    address: str
    birth: str
    birth_in_era_years: str
    sex: str
    individual_number: str
    municipality_code: str


@dataclass(frozen=True, slots=True)
class CardData:
    """The card as an object: its expiry (YYYYMMDD), the four-digit security code, its 15-digit serial."""

    expiry: str
    security_code: str
    serial: str
    contact_atr: bytes

    def reference_number_b(self, holder: Holder) -> str:
        """照合番号B: date of birth in era years, the card's year of expiry, the security code."""
        return holder.birth_in_era_years + self.expiry[:4] + self.security_code


@dataclass(frozen=True, slots=True)
class CardCertificates:
    """What the JPKI application holds, as DER and PKCS#8; None for a certificate and key that the holder lacks."""

    signature: bytes | None
    signature_key: bytes | None
    signature_authority: bytes
    authentication: bytes | None
    authentication_key: bytes | None
    authentication_authority: bytes


@dataclass(frozen=True, slots=True)
class CardSigners:
    """The signers outside the card: the anchors, and the municipality's keys that they certify."""

    chip_root: CertificateSigner
    text_issuer: CertificateSigner
    visual_issuer: CertificateSigner
    municipality_chip: CertificateSigner
    municipality_text: CertificateSigner
    municipality_visual: CertificateSigner


@dataclass(frozen=True, slots=True)
class ChipKeys:
    """The card's own keys beside those of the certificates."""

    text: PrivateKey
    text_session: PrivateKey
    visual: PrivateKey
    common: PrivateKey


@dataclass(frozen=True, slots=True)
class Pins:
    """The PINs as they are first set. `tries_left` says which counter begins lower than full, by the PIN's name."""

    authentication: str = "1234"
    signature: str = "ABC123"
    text: str = "1234"
    juki: str = "1234"
    tries_left: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Personalisation:
    """Everything that an application's personalisation may draw on."""

    holder: Holder
    card: CardData
    certificates: CardCertificates
    vouchers: CardSigners
    keys: ChipKeys
    pins: Pins
    chance: Random
