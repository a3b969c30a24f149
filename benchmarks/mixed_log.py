"""A log of serial numbers in the six spellings of servers, of any size, for measurements of `tracking import`."""

from __future__ import annotations

from pathlib import Path

import numpy as np

FIRST = 0x70000001
"""The first serial number; there is one for each handle from it on."""

SERVICES, SECONDS_PER_USE, BEGIN = 20, 4, 1_777_593_600
_CHUNK = 500_000


def write_mixed_log(path: Path, rows: int, handles: int, seed: int = 1) -> None:
    """Write a CSV file with the columns `time`, `shop` and `serial`. The rows are in the order of their times, and each
    row's handle, service and spelling are drawn independently: upper and lower case, colons, leading zeros, 0x and
    decimal."""
    draw = np.random.default_rng(seed)
    with path.open("w", encoding="ascii") as file:
        file.write("time,shop,serial\n")
        for begin in range(0, rows, _CHUNK):
            count = min(_CHUNK, rows - begin)
            seconds = BEGIN + (begin + np.arange(count)) // SECONDS_PER_USE + 9 * 3600
            times = np.datetime_as_string(seconds.astype("datetime64[s]")).tolist()
            serials = (draw.integers(0, handles, count) + FIRST).tolist()
            spellings, shops = draw.integers(0, 6, count).tolist(), draw.integers(0, SERVICES, count).tolist()
            file.writelines(
                f"{time}+09:00,shop-{shop},{spelled(serial, spelling)}\n"
                for time, shop, serial, spelling in zip(times, shops, serials, spellings, strict=True)
            )


def spelled(serial: int, spelling: int) -> str:
    """A serial number of four octets in the spelling with a number from 0 to 5."""
    text = f"{serial:08X}"
    match spelling:
        case 0:
            return text
        case 1:
            return text.lower()
        case 2:
            return f"{text[:2]}:{text[2:4]}:{text[4:6]}:{text[6:]}"
        case 3:
            return f"00{text}"
        case 4:
            return f"0x{text.lower()}"
        case _:
            return str(serial)
