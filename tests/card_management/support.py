"""Helpers of the card management's tests: reading cards and certificate databases, and faulty relays."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from itertools import count

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from kazashi.applets import jpki
from kazashi.applets.rewriting import attributes_on
from kazashi.assembly.institutions import Institutions
from kazashi.card.contents import CardContents
from kazashi.card.image import read_image
from kazashi.card.request import select
from kazashi.card_management.management import CardManagement
from kazashi.card_management.order import Order, image_path, usual_order
from kazashi.card_management.relay import DirectRelay, FaultyRelay, RelayFault
from kazashi.jpki.profile import CertificateType
from kazashi.pki.authority import FIRST_SERIAL, Authority
from kazashi.world.clock import instant_of
from tests.town import AUTHENTICATION, SIGNATURE

FILES = {
    SIGNATURE: (jpki.SIGNATURE_CERTIFICATE, jpki.SIGNATURE_KEY),
    AUTHENTICATION: (jpki.AUTHENTICATION_CERTIFICATE, jpki.AUTHENTICATION_KEY),
}
SELECT = select(jpki.AID)

NAMES = count()
"""Unique numbers for card names."""


def attributes(card: CardContents) -> tuple[str, str, str, str]:
    """Name, address, date of birth and sex on a card."""
    found = attributes_on(card)
    assert found is not None
    return found


def contents(institutions: Institutions, name: str) -> CardContents:
    return read_image(image_path(institutions.world, name))[0]


def on_card(institutions: Institutions, name: str, kind: CertificateType) -> x509.Certificate | None:
    """The certificate in a card's image, or None."""
    return certificate_in(contents(institutions, name), kind)


def certificate_in(card: CardContents, kind: CertificateType) -> x509.Certificate | None:
    data = card[jpki.AID].data[FILES[kind][0]]
    return x509.load_der_x509_certificate(data[: int.from_bytes(data[2:4]) + 4]) if data.strip(b"\0\xff") else None


def key_on_card(institutions: Institutions, name: str, kind: CertificateType) -> rsa.RSAPublicKey:
    return key_in(contents(institutions, name), kind)


def key_in(card: CardContents, kind: CertificateType) -> rsa.RSAPublicKey:
    key = serialization.load_der_private_key(
        card[jpki.AID].keys[FILES[kind][1]], None, unsafe_skip_rsa_key_validation=True
    )
    assert isinstance(key, rsa.RSAPrivateKey)
    return key.public_key()


def everything_issued(authority: Authority) -> list[int]:
    with authority.ledger.store.reading() as connection:
        return sorted(issued.serial for issued in authority.ledger.issued(connection))


def assert_serials_gapless(institutions: Institutions) -> None:
    for authority in institutions.authorities.values():
        serials = everything_issued(authority) + [generation.serial for generation in authority.generations()]
        assert sorted(serials) == list(range(FIRST_SERIAL, FIRST_SERIAL + len(serials)))


def order_of(institutions: Institutions, who: str, issued: str) -> Order:
    return replace(usual_order(institutions.world, institutions.resident(who)), issued=instant_of(issued))


def with_faults(institutions: Institutions, faults: Iterable[RelayFault]) -> CardManagement:
    """The town's card management with a relay that has the given faults."""
    relay = FaultyRelay(DirectRelay(institutions.authorities), faults)
    return CardManagement(institutions.world, institutions.juki_net.j_lis.identity, institutions.authorities, relay)
