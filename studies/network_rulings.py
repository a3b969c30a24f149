"""The five reasons for which the Supreme Court found Juki-Net constitutional on 2008-03-06 (平19(オ)403), compared with
the stores of a world's actors. Each reason is decided by values that anybody can look up; each can hold or fail."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

from kazashi.assembly.network import Network
from kazashi.studies.handle_index import StoredForm
from kazashi.studies.handle_sightings import Sightings, sightings
from kazashi.studies.handles import HandleKind
from kazashi.studies.identity_data import sorts_of_data
from kazashi.studies.provision_basis import decided_again, unpunished, without_basis
from kazashi.studies.sector_joins import joins
from kazashi.tracking_lab.facts import StoreFact
from kazashi.world.home import World


class RulingReason(Enum):
    """A reason of the ruling, by its numeral in this project's documentation."""

    CONFIDENTIALITY = "i"
    """The identity data are not highly confidential."""
    LEGAL_BASIS = "ii"
    """They are not disclosed without a legal basis."""
    CENTRAL_MANAGEMENT = "iii"
    """No institution can manage the data of several sectors centrally."""
    PUNISHMENT = "iv"
    """Misuse is punished."""
    CARD_DATA = "v"
    """What the card carries does not stay in the computers of agencies."""


@dataclass(frozen=True, slots=True)
class RulingFinding:
    """A reason of the ruling, the facts that contradict it, and other facts that were measured for it."""

    reason: RulingReason
    against: tuple[StoreFact, ...]
    measured: tuple[StoreFact, ...]

    @property
    def holds(self) -> bool:
        """Whether nothing contradicts the reason."""
        return not self.against


def held_against_stores(world: World, network: Network, found: Sightings | None = None) -> list[RulingFinding]:
    """Compare the five reasons with the stores of a world, in the ruling's order. `found` are the sightings of handles
    in it, if they were made already."""
    found = found or sightings(world)
    decided = decided_again(world, network.core)
    results = {
        RulingReason.CONFIDENTIALITY: sorts_of_data(world),
        RulingReason.LEGAL_BASIS: without_basis(decided),
        RulingReason.CENTRAL_MANAGEMENT: joins(found),
        RulingReason.PUNISHMENT: unpunished(decided),
        RulingReason.CARD_DATA: (list(left_by_cards(found)), list(_images(found))),
    }
    return [RulingFinding(reason, tuple(against), tuple(measured)) for reason, (against, measured) in results.items()]


_CARRIED = (HandleKind.SERIAL, HandleKind.RECORD_CODE, HandleKind.NUMBER)


def left_by_cards(found: Sightings) -> Iterator[StoreFact]:
    """What a card carries and agencies have stored: serial numbers, resident record codes and individual numbers, in
    clear or as a digest that anybody can reverse by trying all values.

    The issuers of these (the registry, Juki-Net, the core, the authorities) are left out: they are not agencies to
    which a person shows the card. So are the individual numbers in address systems, which do not come from a card.
    """
    for one in found.found:
        owner = one.actor.owner
        if one.kind not in _CARRIED or one.form is StoredForm.KEYED or owner.issues:
            continue
        if one.kind is HandleKind.NUMBER and one.actor.number_by_law:
            continue
        values = {"who": owner.name, "handle": one.kind.value, "form": one.form.value,
                  "place": f"{one.store}.{one.place}", "rows": len(one.rows)}  # fmt: skip
        yield StoreFact("card-data-stored", values)


def _images(found: Sightings) -> Iterator[StoreFact]:
    """Keyed images of what a card carries: a pseudonym for all who do not have the key."""
    for one in found.found:
        if one.kind in _CARRIED and one.form is StoredForm.KEYED and not one.actor.owner.issues:
            values = {"who": one.actor.owner.name, "handle": one.kind.value, "secret": one.key,
                      "place": f"{one.store}.{one.place}", "rows": len(one.rows)}  # fmt: skip
            yield StoreFact("keyed-image-stored", values)
