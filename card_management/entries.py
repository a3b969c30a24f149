"""What a counter enters on a card when the holder's data have changed: in the chip, and in the field for additional
entries (追記欄) on its face."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date

from kazashi.applets.rewriting import attributes_on
from kazashi.card.contents import CardContents
from kazashi.card_management.description import described_holder
from kazashi.resident_registry.resident import Resident

ENTRY = "additional entry"
"""The name of the texts about a card that repeat what was entered on its face; a number follows."""

_LABELS = {
    "name": "氏名",
    "address": "住所",
    "birth": "生年月日",
    "sex": "性別",
    "furigana": "振り仮名",
    "abroad": "",
}
"""The texts about the holder, and the words before a new value on the face."""


IN_CHIP = {"name", "address", "birth", "sex"}
"""Those that the applications have. For the others, no public source names a file."""

IN_NEXT_CHIP = IN_CHIP | {"furigana"}
"""Those that the applications of the next card have: its face has the reading as a picture."""


def new_entries(contents: CardContents, about: Mapping[str, str], resident: Resident, day: date) -> dict[str, str]:
    """Return the holder's data that are no longer those on the card, as `described_holder` names them.

    Name, address, date of birth and sex are compared with the text on the chip, the rest with the texts about the card.
    None is new for a device that has no such text.
    """
    attributes = attributes_on(contents)
    if attributes is None:
        return {}
    written = dict(zip(("name", "address", "birth", "sex"), attributes, strict=True))
    return {
        name: value
        for name, value in described_holder(resident, day).items()
        if value != written.get(name, about.get(name, ""))
    }


def entries_in(about: Mapping[str, str]) -> list[str]:
    """Return what counters have entered on the face of a card, in order."""
    count = sum(1 for name in about if name.startswith(ENTRY))
    return [about[f"{ENTRY} {number}"] for number in range(1, count + 1)]


def entered(about: Mapping[str, str], changes: Mapping[str, str], day: date) -> dict[str, str]:
    """Return the texts about a card that change when a counter enters changes on a day."""
    count = len(entries_in(about))
    lines = [f"{day} {_LABELS[name]} {value}".replace("  ", " ") for name, value in changes.items() if value]
    return {**changes, **{f"{ENTRY} {count + number}": line for number, line in enumerate(lines, start=1)}}
