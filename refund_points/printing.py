"""The printed receipt: text for a narrow printer, in which Japanese characters are two columns wide."""

from __future__ import annotations

from datetime import UTC, datetime

from rich.cells import cell_len, set_cell_size

from kazashi.refund_points.till import Receipt
from kazashi.world.clock import JST

WIDTH = 40
"""The width of the paper, in columns."""


def receipt_text(receipt: Receipt) -> str:
    """Return the receipt as text. Lines that earn points are marked with a star."""
    at = datetime.fromtimestamp(receipt.at, UTC).astimezone(JST)
    sign = -1 if receipt.total < 0 else 1
    eligible = sum(yen for _, _, yen, earns in receipt.lines if earns)
    rows = [
        receipt.shop.center(WIDTH).rstrip(),
        f"{at:%Y-%m-%d %H:%M}",
        receipt.name,
        "-" * WIDTH,
        *(_justified(f"{'*' if earns else ' '} {name}" + (f" x{count}" if count != 1 else ""), _yen(sign * yen))
          for name, count, yen, earns in receipt.lines),
        "-" * WIDTH,
        _justified("合計 Total", _yen(receipt.total)),
        _justified("* 対象 Eligible", _yen(sign * eligible)),
        _justified("還付ポイント Points", "-----" if receipt.points is None else f"{receipt.points:,}"),
    ]  # fmt: skip
    if receipt.points is None and receipt.total > 0 and eligible:
        rows.append("No card: show it later with this receipt.")
    return "\n".join([*rows, *([receipt.note] if receipt.note else [])]) + "\n"


def _yen(yen: int) -> str:
    return f"¥{yen:,}" if yen >= 0 else f"-¥{-yen:,}"


def _justified(left: str, right: str) -> str:
    """Return a line with one text at each side; the left text is truncated if it does not fit."""
    room = WIDTH - cell_len(right) - 1
    return (set_cell_size(left, room) if cell_len(left) > room else left.ljust(room - cell_len(left) + len(left))) + (
        " " + right
    )
