"""What is bought, and how many points that is worth.

The plan of 2015-09-10: food and drink but no alcohol, eating out included; the buyer pays ten per cent tax in full,
and gets 2/110 of the tax-included price as points. The plan does not say how to round. Here the points of a receipt
are those of its eligible lines together, rounded down to whole points, once. What is returned takes away what the
receipt would have had less without it, so that buying and returning in any order comes out at nothing.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

MOST_YEN = 10_000_000
"""More than this on one receipt is a mistake, or something that no shop of eligible goods sells."""

MOST_LINES = 1_000


class BasketRejected(Exception):
    """What is in the basket makes no sense; the message says why."""


class Category(Enum):
    """What goods are, for the purpose of points."""

    FOOD = "food"
    DRINK = "drink"
    EATING_OUT = "eating-out"
    ALCOHOL = "alcohol"
    OTHER = "other"

    @property
    def eligible(self) -> bool:
        """Whether points are given for it."""
        return self in (Category.FOOD, Category.DRINK, Category.EATING_OUT)


@dataclass(frozen=True, slots=True)
class Item:
    """Goods on a shelf. `price` is in yen, tax included."""

    code: str
    name: str
    price: int
    category: Category

    def __post_init__(self) -> None:
        if not isinstance(self.price, int) or isinstance(self.price, bool) or not 0 < self.price <= MOST_YEN:
            raise BasketRejected(f"{self.name}: a price is 1 to {MOST_YEN} yen, not {self.price!r}")


@dataclass(frozen=True, slots=True)
class ReceiptLine:
    """A line of a receipt: goods, and how many of them."""

    item: Item
    quantity: int = 1

    def __post_init__(self) -> None:
        if not isinstance(self.quantity, int) or isinstance(self.quantity, bool) or not 0 < self.quantity <= MOST_YEN:
            raise BasketRejected(f"{self.item.name}: a quantity is 1 or more, not {self.quantity!r}")

    @property
    def yen(self) -> int:
        """What the line costs, tax included."""
        return self.item.price * self.quantity


@dataclass(frozen=True, slots=True)
class Basket:
    """What is bought at once. Raises BasketRejected for one that is empty or sums up to too much."""

    lines: tuple[ReceiptLine, ...]

    def __post_init__(self) -> None:
        if not 0 < len(self.lines) <= MOST_LINES:
            raise BasketRejected(f"a receipt has 1 to {MOST_LINES} lines, not {len(self.lines)}")
        if self.total > MOST_YEN:
            raise BasketRejected(f"a receipt sums up to {MOST_YEN} yen at most, not {self.total}")

    @property
    def total(self) -> int:
        """What all of it costs, tax included."""
        return sum(line.yen for line in self.lines)

    @property
    def eligible(self) -> int:
        """What the lines that earn points cost, tax included."""
        return sum(line.yen for line in self.lines if line.item.category.eligible)

    @property
    def points(self) -> int:
        """The points of the receipt."""
        return points_of(self.eligible)


def points_of(eligible: int) -> int:
    """The points of so many eligible yen, tax included: 1,100 yen give 20. Raises ValueError for a negative sum."""
    if eligible < 0:
        raise ValueError(f"nobody buys for {eligible} yen")
    return eligible * 2 // 110


CATALOGUE = {
    item.code: item
    for item in (
        Item("rice", "お米 5kg", 2_160, Category.FOOD),
        Item("bread", "食パン", 216, Category.FOOD),
        Item("tofu", "豆腐", 98, Category.FOOD),
        Item("tea", "お茶 500ml", 150, Category.DRINK),
        Item("milk", "牛乳 1L", 237, Category.DRINK),
        Item("lunch", "日替わり定食", 880, Category.EATING_OUT),
        Item("sake", "清酒 720ml", 1_430, Category.ALCOHOL),
        Item("beer", "ビール 350ml", 228, Category.ALCOHOL),
        Item("soap", "せっけん", 330, Category.OTHER),
        Item("paper", "新聞", 150, Category.OTHER),
    )
}
"""A small shop's shelf, by code."""


_LONGEST = 60
_COLUMNS = ["code", "name", "price", "category"]


def read_shelf(path: Path) -> Mapping[str, Item]:
    """A shop's own shelf: a CSV file with the columns code, name, price (yen, tax included) and category. Raises
    BasketRejected with the line that is wrong."""
    found: dict[str, Item] = {}
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = csv.DictReader(file)
            if rows.fieldnames is None or list(rows.fieldnames) != _COLUMNS:
                raise BasketRejected(f"{path}: the first line is {','.join(_COLUMNS)}")
            for row in rows:
                where = f"{path}, line {rows.line_num}"
                if None in row or None in row.values():
                    raise BasketRejected(f"{where}: a code, a name, a price and a category")
                code, name = row["code"].strip(), row["name"].strip()
                if not (0 < len(code) <= _LONGEST and code.isprintable() and not {" ", "*"} & set(code)):
                    raise BasketRejected(f"{where}: a code has 1 to {_LONGEST} letters, no blanks and no *")
                if not (0 < len(name) <= _LONGEST and name.isprintable()):
                    raise BasketRejected(f"{where}: a name has 1 to {_LONGEST} letters")
                try:
                    item = Item(code, name, int(row["price"]), Category(row["category"]))
                except (ValueError, BasketRejected) as error:
                    raise BasketRejected(f"{where}: {error}") from error
                if item.code in found:
                    raise BasketRejected(f"{where}: {item.code} is there twice")
                found[item.code] = item
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise BasketRejected(f"{path} cannot be read: {error}") from error
    return found


def line_of(text: str, shelf: Mapping[str, Item]) -> ReceiptLine:
    """A line as it is typed or scanned: CODE, or QUANTITY*CODE. Raises BasketRejected."""
    quantity, _, code = text.strip().rpartition("*")
    try:
        item = shelf[code.strip()]
    except KeyError:
        raise BasketRejected(f"nothing on the shelf has the code {code.strip()!r}") from None
    try:
        return ReceiptLine(item, int(quantity) if quantity else 1)
    except ValueError:
        raise BasketRejected(f"{quantity!r} is no quantity; say 3*{code}") from None
