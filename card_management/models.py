"""The models of card that are issued, with the profile of their certificates."""

from __future__ import annotations

from dataclasses import dataclass

from kazashi.applets.install import INDIVIDUAL_NUMBER_CARD
from kazashi.applets.model import DeviceModel
from kazashi.applets.next_card import NEXT_CARD
from kazashi.jpki.profile import EMULATED, NEXT, Profile


@dataclass(frozen=True)
class IssuedModel:
    """A model of card that is issued. `name` is its name in orders and on the command line, and `generation` that of
    its signers."""

    name: str
    device: DeviceModel
    profile: Profile
    generation: int


CARD = IssuedModel("card", INDIVIDUAL_NUMBER_CARD, EMULATED, 0)
"""Today's card."""

NEXT_MODEL = IssuedModel("next", NEXT_CARD, NEXT, 1)
"""The next card (docs/next-card.md)."""

MODELS_OF_CARDS = {model.name: model for model in (CARD, NEXT_MODEL)}
"""Models by name."""


def card_model(device: DeviceModel) -> IssuedModel:
    """Return the model with a device's applications. Raises ValueError if no card is issued with them."""
    for model in MODELS_OF_CARDS.values():
        if model.device is device:
            return model
    raise ValueError(f"a {device.name} is not a card that the card management issues")
