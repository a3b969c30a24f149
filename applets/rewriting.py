"""Rewriting the holder's data on a card, as a municipality's counter does (券面事項の変更)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from random import Random

from kazashi.applets import card_surface, common_card, input_support, jpki, next_card
from kazashi.applets.applet import CONTACT_ATR, PinEf, TransparentEf
from kazashi.applets.holder import CardCertificates, CardData, CardSigners, ChipKeys, Holder, Personalisation, Pins
from kazashi.applets.model import DeviceModel
from kazashi.card.contents import ApplicationContents, CardContents
from kazashi.card.key import PrivateKey
from kazashi.card.store import Reference

REWRITTEN = (input_support.AID, card_surface.AID, common_card.AID)
"""The applications of today's card that hold the holder's data. The JPKI application has them only in its signature
certificate."""

REWRITTEN_FILES = {
    jpki.AID: (
        next_card.INDIVIDUAL_NUMBER,
        next_card.FOUR_ATTRIBUTES,
        next_card.SIGNATURE,
        next_card.CERTIFICATE,
        next_card.PUBLIC_KEY,
    ),
    card_surface.AID: (next_card.FACE, next_card.FACE_CERTIFICATE, next_card.NUMBER_PICTURE),
}
"""The files of the next card that hold the holder's data, or were signed by the holder's municipality."""


def attributes_on(contents: CardContents) -> tuple[str, str, str, str] | None:
    """Return name, address, date of birth and sex on a card, or None for a device that has no text about its holder: a
    phone, or a Juki card."""
    for aid, file in ((input_support.AID, input_support.FOUR_ATTRIBUTES), (jpki.AID, next_card.FOUR_ATTRIBUTES)):
        if aid in contents and file in contents[aid].data:
            return input_support.attributes_in(contents[aid].data[file])
    return None


def rewriting(
    contents: CardContents, model: DeviceModel, holder: Holder, signers: CardSigners, chance: Random, length_form: int
) -> CardContents:
    """Return the new contents of a card's applications that hold the holder's data, for a holder and the signers of the
    holder's municipality.

    Keys, number, expiry, security code and photograph stay those of the card. On today's card, PINs that only the
    issuer may set have their new values; those of the holder are not known here. On the next card, no PIN is made of
    the holder's data. Raises KeyError if the card lacks an application.
    """
    if model is next_card.NEXT_CARD:
        return _next_rewriting(contents, holder, signers, chance)
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
    keys = ChipKeys(
        text=PrivateKey(text.keys[input_support.KEY]),
        text_session=PrivateKey(text.keys[input_support.SESSION_KEY]),
        visual=PrivateKey(visual.keys[card_surface.KEY]),
        common=PrivateKey(common.keys[common_card.KEY]),
    )
    data = _personalisation(holder, card, signers, keys, chance, visual)
    return {applet.aid: applet.contents(data) for applet in model.applets if applet.aid in REWRITTEN}


def _next_rewriting(contents: CardContents, holder: Holder, signers: CardSigners, chance: Random) -> CardContents:
    """Return the next card's two applications with their REWRITTEN_FILES; everything else in them is kept."""
    authentication, face = contents[jpki.AID], contents[card_surface.AID]
    card = CardData(
        next_card.expiry_in(face), "", "", b"\x3b" + authentication.objects[CONTACT_ATR]
    )  # these files have no number of the card
    own = PrivateKey(authentication.keys[next_card.KEY])
    keys = ChipKeys(
        text=own, text_session=own, visual=PrivateKey(face.keys[card_surface.KEY]),
        common=PrivateKey(authentication.keys[next_card.CARD_KEY]),
    )  # fmt: skip
    data = _personalisation(holder, card, signers, keys, chance, face)
    return {aid: _with(contents[aid], files, data) for aid, files in REWRITTEN_FILES.items()}


def _with(contents: ApplicationContents, files: Sequence[TransparentEf], data: Personalisation) -> ApplicationContents:
    made = ApplicationContents()
    for file in files:
        file.write(data, made)
    return replace(contents, data=contents.data | made.data)


def _personalisation(
    holder: Holder, card: CardData, signers: CardSigners, keys: ChipKeys, chance: Random, visual: ApplicationContents
) -> Personalisation:
    return Personalisation(
        holder=holder,
        card=card,
        certificates=CardCertificates(None, None, b"", None, None, b""),  # what is rewritten has none
        vouchers=signers,
        keys=keys,
        pins=Pins(),
        chance=chance,
        photograph=card_surface.photograph_in(visual),
    )


def issuer_pins(model: DeviceModel) -> set[Reference]:
    """Return the PINs of today's REWRITTEN applications that only the issuer may set: the reference numbers, which are
    made of the holder's data. The next card has none of them."""
    if model is next_card.NEXT_CARD:
        return set()
    return {
        Reference(applet.aid, file)
        for applet in model.applets
        if applet.aid in REWRITTEN
        for file in applet.files
        if isinstance(file, PinEf) and file.change is None
    }
