"""Juki cards (住基カード), which municipalities issued until December 2015, with a signature certificate on them.

Municipalities' pages of those years have the rules: certificates were issued until 2015-12-22 and last three years
(https://www.city.meguro.tokyo.jp/kurashi/my-number/card/dennshi_syuryou.html), nobody has a Juki card and an Individual
Number Card (http://www.city.yamagata-yamagata.lg.jp/shimin/sub1/kozinbangou/dd327jukicard_oshirase.html), and the
certificate is revoked when the new card is handed over (https://webtown.nagayo.jp/kiji003501/index.html).
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime
from pathlib import Path

from kazashi.applets import juki_card
from kazashi.applets.holder import CardCertificates, CardData, Pins
from kazashi.applets.install import MODEL_TEXT
from kazashi.card.atr import DEFAULT_CONTACT_ATR
from kazashi.card.certification_request import certification_request
from kazashi.card.image import ImageExists, write_image
from kazashi.card_management.entitlement import ApplicationRejected, check_holder
from kazashi.card_management.keys_in_progress import KeysInProgress
from kazashi.card_management.order import image_path
from kazashi.jpki.profile import CertificateType, Medium
from kazashi.pki.authority import Authority
from kazashi.pki.certificate import CertificateRequest
from kazashi.pki.generation import first_day
from kazashi.pki.validity import SIGNATURE_AGE, anniversary_end
from kazashi.resident_registry.resident import Resident
from kazashi.world.clock import JST
from kazashi.world.home import World
from kazashi.world.names import checked_name

LAST_DAY = date(2015, 12, 22)
"""The last day on which a certificate was issued for a Juki card."""

YEARS, CARD_YEARS = 3, 10
"""How long a certificate lasts, and how long a card."""


class JukiCardRejected(Exception):
    """A Juki card cannot be issued on that day, or to that person; nothing was issued."""


def issue_juki_card(
    world: World, authorities: Mapping[CertificateType, Authority], resident: Resident, name: str, issued: datetime,
    password: str,
) -> Path:  # fmt: skip
    """Issue a Juki card with a signature certificate and return the path of its image.

    A second call after an interrupted one continues it: key and certificate are the same. Raises JukiCardRejected,
    ImageExists, and the authority's exceptions.
    """
    path, day = image_path(world, checked_name(name, "card", "/")), issued.astimezone(JST).date()
    if path.exists():
        raise ImageExists(f"a card {name!r} already exists; choose another name with --name")
    _check(authorities[CertificateType.AUTHENTICATION], resident, day)
    authority = authorities[CertificateType.SIGNATURE]
    number = f"2{world.random_stream('juki card', name).randrange(10**14):014d}"
    keys = KeysInProgress(world.cards / f".{name}.juki-keys")
    with keys.held():
        key = keys.keys(["signature"], world.keys)["signature"]
        certificate = authority.issue(
            CertificateRequest(
                resident, certification_request(key), issued, anniversary_end(issued, YEARS), Medium.JUKI, number,
                identifier=f"juki card {name}",
            )
        )  # fmt: skip
        last = anniversary_end(issued, CARD_YEARS).astimezone(JST)
        card = CardData(f"{last:%Y%m%d}", "", number, DEFAULT_CONTACT_ATR)
        certificates = CardCertificates(certificate, key, authority.root(issued), None, None, b"")
        about = {
            MODEL_TEXT: juki_card.JUKI_CARD.name, "resident": resident.alias, "name": str(resident.name),
            "signature password": password, "card number": number, "issued": issued.astimezone(JST).isoformat(),
            "expiry": card.expiry,
        }  # fmt: skip
        write_image(path, juki_card.written(certificates, Pins(signature=password), card), about)
        keys.finish()
    return path


def _check(authority: Authority, resident: Resident, day: date) -> None:
    """Raise JukiCardRejected if a Juki card cannot be issued on that day, or to that person."""
    if not first_day(1) <= day <= LAST_DAY:
        raise JukiCardRejected(
            f"certificates for Juki cards are issued from {first_day(1)}, when the authority began, to {LAST_DAY};"
            f" not on {day}"
        )
    try:
        check_holder(resident, day)
    except ApplicationRejected as error:
        raise JukiCardRejected(str(error)) from error
    if resident.birth.age_on(day) < SIGNATURE_AGE:
        raise JukiCardRejected(f"the holder of a signature certificate is {SIGNATURE_AGE} years old or older")
    if any(issued.medium is Medium.CARD for issued in authority.of_holder(resident.code)):
        raise JukiCardRejected(
            "the holder has or had an Individual Number Card; from its issue on, a person gets no Juki card"
        )
