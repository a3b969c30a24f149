"""Goods, and the points they earn.

Under the plan of 2015-09-10, food and drink (including eating out) earn points, and alcohol does not. The buyer pays
the full tax of ten per cent and gets 2/110 of the tax-included price as points. The plan does not say how to round.
Here the points of a receipt are computed from the sum of its eligible lines, and rounded down once. A return takes away
the difference between the receipt's points with and without the returned lines, so that buying and returning everything
comes to zero in any order.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from io import StringIO
from pathlib import Path

from kazashi.world.input_file import read_input

MOST_YEN = 10_000_000
"""The maximum sum of a receipt, in yen. More is a mistake, or something that no shop of eligible goods sells."""

MOST_LINES = 1_000
"""The maximum number of lines on a receipt."""


class BasketRejected(Exception):
    """A basket, a line or a shelf file is invalid; the message says why."""


class Category(Enum):
    """The category of an item, which decides whether it earns points."""

    FOOD = "food"
    DRINK = "drink"
    EATING_OUT = "eating-out"
    ALCOHOL = "alcohol"
    OTHER = "other"

    @property
    def eligible(self) -> bool:
        """Whether goods of this category earn points."""
        return self in (Category.FOOD, Category.DRINK, Category.EATING_OUT)


@dataclass(frozen=True, slots=True)
class Item:
    """An item on a shelf. `price` is in yen, tax included."""

    code: str
    name: str
    price: int
    category: Category

    def __post_init__(self) -> None:
        if not isinstance(self.price, int) or isinstance(self.price, bool) or not 0 < self.price <= MOST_YEN:
            raise BasketRejected(f"{self.name}: the price must be 1 to {MOST_YEN} yen, not {self.price!r}")


@dataclass(frozen=True, slots=True)
class ReceiptLine:
    """A line of a receipt: an item and its quantity."""

    item: Item
    quantity: int = 1

    def __post_init__(self) -> None:
        if not isinstance(self.quantity, int) or isinstance(self.quantity, bool) or not 0 < self.quantity <= MOST_YEN:
            raise BasketRejected(f"{self.item.name}: the quantity must be 1 or more, not {self.quantity!r}")

    @property
    def yen(self) -> int:
        """The price of the line in yen, tax included."""
        return self.item.price * self.quantity


@dataclass(frozen=True, slots=True)
class Basket:
    """The lines of one purchase. Raises BasketRejected if there are none, or too many, or the sum is too high."""

    lines: tuple[ReceiptLine, ...]

    def __post_init__(self) -> None:
        if not 0 < len(self.lines) <= MOST_LINES:
            raise BasketRejected(f"a receipt must have 1 to {MOST_LINES} lines, not {len(self.lines)}")
        if self.total > MOST_YEN:
            raise BasketRejected(f"the total of a receipt must be at most {MOST_YEN} yen, not {self.total}")

    @property
    def total(self) -> int:
        """The price of all lines in yen, tax included."""
        return sum(line.yen for line in self.lines)

    @property
    def eligible(self) -> int:
        """The price of the lines that earn points, in yen, tax included."""
        return sum(line.yen for line in self.lines if line.item.category.eligible)

    @property
    def points(self) -> int:
        """The points of the purchase."""
        return points_of(self.eligible)


def points_of(eligible: int) -> int:
    """Return the points for an eligible sum in yen, tax included: 1,100 yen give 20 points. Raises ValueError if the
    sum is negative."""
    if eligible < 0:
        raise ValueError(f"the eligible sum must not be negative: {eligible} yen")
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
"""The shelf of a small shop: items by code."""


_LONGEST = 60
_COLUMNS = ["code", "name", "price", "category"]


def read_shelf(path: Path) -> Mapping[str, Item]:
    """Read a shop's own shelf from a CSV file with the columns code, name, price (yen, tax included) and category.
    Raises BasketRejected, naming the wrong line."""
    shelf: dict[str, Item] = {}
    try:
        with StringIO(read_input(path).decode("utf-8-sig"), newline="") as file:
            rows = csv.DictReader(file)
            if rows.fieldnames is None or list(rows.fieldnames) != _COLUMNS:
                raise BasketRejected(f"{path}: the first line must be {','.join(_COLUMNS)}")
            for row in rows:
                where = f"{path}, line {rows.line_num}"
                if None in row or None in row.values():
                    raise BasketRejected(f"{where}: a line must have a code, a name, a price and a category")
                code, name = row["code"].strip(), row["name"].strip()
                if not (0 < len(code) <= _LONGEST and code.isprintable() and not {" ", "*"} & set(code)):
                    raise BasketRejected(f"{where}: a code must have 1 to {_LONGEST} characters, no spaces and no *")
                if not (0 < len(name) <= _LONGEST and name.isprintable()):
                    raise BasketRejected(f"{where}: a name must have 1 to {_LONGEST} characters")
                try:
                    item = Item(code, name, int(row["price"]), Category(row["category"]))
                except ValueError as error:
                    raise BasketRejected(
                        f"{where}: a price must be whole yen, and a category one of"
                        f" {', '.join(category.value for category in Category)}"
                    ) from error
                except BasketRejected as error:
                    raise BasketRejected(f"{where}: {error}") from error
                if item.code in shelf:
                    raise BasketRejected(f"{where}: the code {item.code} appears twice")
                shelf[item.code] = item
    except OSError as error:
        raise BasketRejected(f"{path} cannot be read: {error.strerror}") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise BasketRejected(f"{path} is not CSV in UTF-8") from error
    return shelf


def line_of(text: str, shelf: Mapping[str, Item]) -> ReceiptLine:
    """Parse a typed or scanned line: CODE or QUANTITY*CODE. Raises BasketRejected."""
    quantity, _, code = text.strip().rpartition("*")
    try:
        item = shelf[code.strip()]
    except KeyError:
        raise BasketRejected(f"no item on the shelf has the code {code.strip()!r}") from None
    try:
        return ReceiptLine(item, int(quantity) if quantity else 1)
    except ValueError:
        raise BasketRejected(f"{quantity!r} is not a quantity; write 3*{code}") from None
