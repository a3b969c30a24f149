"""The versions of the Number Act (番号法): from which day each applies, how it numbers the items of article 19, and
which table of affairs it refers to.

An item has a name of its own here, because its number changes: provision over the network was item 7 until 31 August
2021, and is item 8 since. Sources: the Act's text of 27 December 2015 and of 24 September 2025 (e-Gov), the answer of
the Cabinet no. 189-322 (内閣参質189第322号) on the days of 2015 and 2016, and docs/law.md for the others.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from datetime import date
from enum import Enum


class ProvisionItem(Enum):
    """An item of article 19: a case in which specific personal information may be provided."""

    TO_PERSON = "to-person"
    """From a body that uses the number to the person, an agent, or a number-related affair."""
    RELATED_AFFAIR = "related-affair"
    """From a number-related affair, as far as it needs it."""
    BY_PERSON = "by-person"
    """From the person or an agent."""
    NEW_EMPLOYER = "new-employer"
    """From a former employer to the next one, with the employee's consent; since 1 September 2021."""
    J_LIS = "j-lis"
    """From J-LIS to a body that uses the number (機構保存本人確認情報)."""
    ENTRUSTMENT = "entrustment"
    """Entrustment, or succession to a business."""
    REGISTRATION_ACT = "registration-act"
    """As the Basic Resident Registration Act requires."""
    NETWORK = "network"
    """Over the network, for an affair of the table."""
    NETWORK_ORDINANCE = "network-ordinance"
    """Over the network, for an affair by ordinance; since 30 May 2017."""
    TAXES = "taxes"
    """Between tax authorities."""
    SAME_GOVERNMENT = "same-government"
    """To another organ of the same local government, by its ordinance."""
    BOOK_ENTRY = "book-entry"
    """Between depositories, and to issuers, of book-entry shares and bonds."""
    COMMISSION = "commission"
    """To the Commission, at its request."""
    MINISTER = "minister"
    """To the Minister who supervises J-LIS, at the Minister's request (38条の7第1項); since 1 September 2021."""
    INVESTIGATION = "investigation"
    """To the Diet, courts, investigators and others, as a public interest requires."""
    PROTECTION = "protection"
    """To protect life, body or property."""
    COMMISSION_RULE = "commission-rule"
    """As a rule of the Commission specifies."""


_Item = ProvisionItem
_OF_2013 = tuple(
    item for item in ProvisionItem if item not in (_Item.NEW_EMPLOYER, _Item.NETWORK_ORDINANCE, _Item.MINISTER)
)
_OF_2017 = tuple(item for item in ProvisionItem if item not in (_Item.NEW_EMPLOYER, _Item.MINISTER))


@dataclass(frozen=True, slots=True)
class LawVersion:
    """A version of the Act.

    `begins` is the first day on which it is the law that counts, and names the version. `items` has the items of
    article 19 in their order. `table` is the name of the table of affairs, and `change` says what is new.
    """

    begins: date
    items: tuple[ProvisionItem, ...]
    table: str
    change: str

    @property
    def name(self) -> str:
        """The first day of the version."""
        return self.begins.isoformat()

    def number(self, item: ProvisionItem) -> int | None:
        """Return the number of an item of article 19, or None if this version does not have the item."""
        return self.items.index(item) + 1 if item in self.items else None

    def item(self, number: int) -> ProvisionItem | None:
        """Return the item of article 19 with a number, or None."""
        return self.items[number - 1] if 1 <= number <= len(self.items) else None

    def cite(self, item: ProvisionItem) -> str:
        """Return how decisions name an item, with the version. Raises ValueError if this version does not have it."""
        number = self.number(item)
        if number is None:
            raise ValueError(f"the law of {self.name} has no item {item.value} in article 19")
        return f"番号法19条{number}号 ({self.name})"


_TABLE, _ORDER = "別表第二", "主務省令の表"

VERSIONS = (
    LawVersion(date(2013, 5, 31), _OF_2013, _TABLE, "promulgated, with 14 items in article 19"),
    LawVersion(date(2015, 9, 9), _OF_2013, _TABLE, "amended: affairs by ordinance, once there is the network"),
    LawVersion(date(2017, 5, 30), _OF_2017, _TABLE, "the network's provisions apply; affairs by ordinance are item 8"),
    LawVersion(date(2021, 9, 1), tuple(ProvisionItem), _TABLE, "renumbered: the network is item 8, ordinances item 9"),
    LawVersion(date(2024, 5, 27), tuple(ProvisionItem), _ORDER, "a ministerial order takes the place of 別表第二"),
)
"""All versions, oldest first."""

LINKED_BY_ORDINANCE, NETWORK_IN_LAW, RENUMBERED, BY_ORDER = (version.begins for version in VERSIONS[1:])

NUMBERS_USED = date(2016, 1, 1)
"""The first day on which individual numbers were used (article 9, 別表第一)."""

NETWORK_STARTS = date(2017, 7, 18)
"""The first day of the network: trial operation. Full operation began on 13 November 2017."""

_BEGINNINGS = [version.begins for version in VERSIONS]


def version_on(day: date) -> LawVersion | None:
    """Return the version that applies on a day, or None: the law before the Act is not known here."""
    place = bisect_right(_BEGINNINGS, day)
    return VERSIONS[place - 1] if place else None
