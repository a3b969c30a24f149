"""The parts of the refund points for the commands: a world's centre, its tills, and the tills' card readers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from kazashi.assembly.errors import UsageError
from kazashi.assembly.points_server import centre_of, mykey_platform_of
from kazashi.assembly.readers import reach_instance
from kazashi.assembly.served import ServedProcess, free_port
from kazashi.refund_points.goods import CATALOGUE, Basket, Item, line_of, read_shelf
from kazashi.refund_points.reading import CardReading, read_card
from kazashi.refund_points.record import TillName, check_till
from kazashi.refund_points.till import Till, store_name
from kazashi.relying_party.verify.anchors import AnchorsInDirectory
from kazashi.relying_party.verify.sources import lists_over_http
from kazashi.relying_party.verify.verification import Verifier
from kazashi.world.atomic_file import sync
from kazashi.world.home import World

_PATIENCE = 1.0
"""The time in seconds that a register waits for a revocation list. It is short because a customer is waiting."""


def tills_directory(world: World) -> Path:
    """The directory with the disks of this world's tills. In the real world each would be in a different shop."""
    return world.directory / "tills"


def open_till(world: World, shop: str, name: str) -> Till:
    """Open a till that has been set up. Raises UsageError if it has not."""
    till = _till(world, shop, name)
    if not till.enrolled:
        raise UsageError(f"there is no till {shop}/{name} in this world; try: kazashi points enrol {shop} {name}")
    return till


def enrol_till(world: World, shop: str, name: str, **settled: Any) -> Till:
    """Set up a till, and the centre if necessary with the settings in `settled`.

    A till that is already set up is not changed.
    """
    centre = centre_of(world, **settled)
    till = _till(world, shop, name)
    if not till.enrolled:
        till.enrol(centre.enrol(shop, name, till.begin()))
    return till


def put_aside(world: World, shop: str, name: str) -> None:
    """Put a till's disk aside, so that a new installation can be set up.

    The records that wait on it can still be sent once it is back in place. Raises UsageError if there is no such till,
    or if a program has it open.
    """
    installed = open_till(world, shop, name)
    installed.store.close()
    path = _path(world, shop, name)
    if path.with_name(f"{path.name}-wal").exists():  # SQLite removes it with the last connection
        raise UsageError(f"a program has the till {shop}/{name} open; stop it first")
    path.rename(path.with_name(f"aside-{installed.name.replace('/', '-')}.sqlite"))
    sync(path.parent)  # a new till must not take its place before it has another


def tills_here(world: World) -> list[Till]:
    """All tills that have been set up in this world."""
    centre = centre_of(world)
    names = [TillName.parse(entry.name) for entry in centre.tills()]
    unique = dict.fromkeys((name.shop, name.till) for name in names)
    tills = [_till(world, shop, name) for shop, name in unique if _path(world, shop, name).exists()]
    return [till for till in tills if till.enrolled]


def register_reader(world: World, services: str, reader: str | None) -> Callable[[], CardReading | None]:
    """A function that reads and verifies the card at a till's register, in any reader whose name begins with `reader`.

    It verifies with the published revocation lists, which it keeps, and makes no request about a card.
    """
    reach_instance(world, reader)
    source = lists_over_http(services, patience=_PATIENCE)
    verifier = Verifier(AnchorsInDirectory(world.publication / "ca"), [source], world.clock)
    return lambda: read_card(verifier, reader or "")


def basket_of(lines: Iterable[str], goods: Path | None) -> Basket:
    """Parse a basket. Each line is CODE or QUANTITY*CODE. Raises BasketRejected."""
    shelf = shelf_of(goods)
    return Basket(tuple(line_of(text, shelf) for text in lines))


def shelf_of(goods: Path | None) -> Mapping[str, Item]:
    """A shop's goods from a CSV file, or the built-in catalogue. Raises BasketRejected."""
    return CATALOGUE if goods is None else read_shelf(goods)


def serve_centre(
    world: World, port: int | None = None, workers: int = 1, module: str = "kazashi.assembly.points_server"
) -> ServedProcess:
    """Start a world's centre, or another module in its place, in its own process, with its log in the world.

    Raises ServicesUnavailable.
    """
    world.run.mkdir(mode=0o700, exist_ok=True)
    arguments = (module, str(world.directory), "--workers", str(workers))
    log = world.run / "centre.log"
    return ServedProcess("the accumulation centre", arguments, port or free_port(), log, tls=True)


def _path(world: World, shop: str, name: str) -> Path:
    return tills_directory(world) / f"{store_name(shop, name)}.sqlite"


def _till(world: World, shop: str, name: str) -> Till:
    try:
        check_till(shop, name)
    except ValueError as error:
        raise UsageError(str(error)) from error
    return Till(tills_directory(world), shop, name, world.clock, mykey_platform_of(world).find)
