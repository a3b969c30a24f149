"""Rewriting the holder's data on a card, as a municipality's counter does (券面事項の変更)."""

from __future__ import annotations

from random import Random

from kazashi.applets import card_surface, common_card, input_support, jpki
from kazashi.applets.applet import CONTACT_ATR, PinEf
from kazashi.applets.holder import CardCertificates, CardData, CardSigners, ChipKeys, Holder, Personalisation, Pins
from kazashi.applets.model import DeviceModel
from kazashi.card.contents import CardContents
from kazashi.card.key import PrivateKey
from kazashi.card.store import Reference

REWRITTEN = (input_support.AID, card_surface.AID, common_card.AID)
"""The applications that hold the holder's data. The JPKI application has them only in its signature certificate."""


def has_holder_data(contents: CardContents) -> bool:
    """Whether a device has the applications that hold the holder's data."""
    return all(aid in contents for aid in REWRITTEN)


def rewriting(
    contents: CardContents, model: DeviceModel, holder: Holder, signers: CardSigners, chance: Random, length_form: int
) -> CardContents:
    """Return the new contents of the REWRITTEN applications of a card, for a holder and the signers of the holder's
    municipality.

    Keys, number, expiry, security code and photograph stay those of the card. PINs that only the issuer may set have
    their new values; those of the holder are not known here. Raises KeyError if the card lacks an application.
    """
    text, visual, common = (contents[aid] for aid in REWRITTEN)
    (number,) = common.records[common_card.CARD_NUMBER]
    serial, expiry = common_card.serial_and_expiry(number)
    card = CardData(
        expiry=expiry,
        security_code=text.pins[input_support.NUMBER_B].value[-4:].decode("ascii"),
        serial=serial,
        contact_atr=b"\x3b" + contents[jpki.AID].objects[CONTACT_ATR],
        length_form=length_form,
    )
    data = Personalisation(
        holder=holder,
        card=card,
        certificates=CardCertificates(None, None, b"", None, None, b""),  # these applications have none
        vouchers=signers,
        keys=ChipKeys(
            text=PrivateKey(text.keys[input_support.KEY]),
            text_session=PrivateKey(text.keys[input_support.SESSION_KEY]),
            visual=PrivateKey(visual.keys[card_surface.KEY]),
            common=PrivateKey(common.keys[common_card.KEY]),
        ),
        pins=Pins(),
        chance=chance,
        photograph=card_surface.photograph_in(visual),
    )
    return {applet.aid: applet.contents(data) for applet in model.applets if applet.aid in REWRITTEN}


def issuer_pins(model: DeviceModel) -> set[Reference]:
    """Return the PINs of the REWRITTEN applications that only the issuer may set: the reference numbers, which are made
    of the holder's data."""
    return {
        Reference(applet.aid, file)
        for applet in model.applets
        if applet.aid in REWRITTEN
        for file in applet.files
        if isinstance(file, PinEf) and file.change is None
    }
