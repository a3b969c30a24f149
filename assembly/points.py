"""What the commands put together for refund points: a world's centre, its tills, and what they look at cards with."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from kazashi.assembly.errors import UsageError
from kazashi.assembly.points_server import centre_of, mykey_platform_of
from kazashi.assembly.readers import reach_bench
from kazashi.assembly.served import ServedProcess, free_port
from kazashi.refund_points.goods import CATALOGUE, Basket, Item, line_of, read_shelf
from kazashi.refund_points.reading import CardReading, read_card
from kazashi.refund_points.record import TillName, check_till
from kazashi.refund_points.till import Till, store_name
from kazashi.relying_party.verify.anchors import AnchorsInDirectory
from kazashi.relying_party.verify.sources import lists_over_http
from kazashi.relying_party.verify.verification import Verifier
from kazashi.world.home import World

_PATIENCE = 1.0
"""Seconds for which a register waits for a revocation list. Customers wait, too."""


def tills_directory(world: World) -> Path:
    """Where the tills of this bench have their disks. In the real world each would be in another shop."""
    return world.directory / "tills"


def open_till(world: World, shop: str, name: str) -> Till:
    """A till that has been set up. Raises UsageError for one that has not."""
    till = _till(world, shop, name)
    if not till.enrolled:
        raise UsageError(f"there is no till {shop}/{name} here yet; try: kazashi points enrol {shop} {name}")
    return till


def enrol_till(world: World, shop: str, name: str, **settled: Any) -> Till:
    """Set a till up, and the centre if need be, with what is settled then. One that is set up already stays so."""
    centre = centre_of(world, **settled)
    till = _till(world, shop, name)
    if not till.enrolled:
        till.enrol(centre.enrol(shop, name, till.begin()))
    return till


def put_aside(world: World, shop: str, name: str) -> None:
    """Put a till's disk aside, so that another installation can be set up. What waits on it can still be sent once it
    is back in its place. Raises UsageError where there is none, or a program has it open."""
    installed = open_till(world, shop, name)
    installed.store.engine.dispose()
    path = _path(world, shop, name)
    if path.with_name(f"{path.name}-wal").exists():  # the last to close the file leaves none
        raise UsageError(f"a program has the till {shop}/{name} open; end it first")
    path.rename(path.with_name(f"aside-{installed.name.replace('/', '-')}.sqlite"))


def tills_here(world: World) -> list[Till]:
    """All tills that have been set up in this world."""
    centre = centre_of(world)
    names = [TillName.parse(entry.name) for entry in centre.tills()]
    here = dict.fromkeys((name.shop, name.till) for name in names)
    found = [_till(world, shop, name) for shop, name in here if _path(world, shop, name).exists()]
    return [till for till in found if till.enrolled]


def register_reader(world: World, services: str, reader: str | None) -> Callable[[], CardReading | None]:
    """How a till looks at the card at its register: in any reader whose name begins so. It goes by the published
    revocation lists, which it keeps; nobody is asked about a card."""
    reach_bench(world, reader)
    source = lists_over_http(services, patience=_PATIENCE)
    verifier = Verifier(AnchorsInDirectory(world.publication / "ca"), [source], world.clock)
    return lambda: read_card(verifier, reader or "")


def basket_of(lines: Iterable[str], goods: Path | None) -> Basket:
    """A basket as it is typed: CODE or QUANTITY*CODE. Raises BasketRejected."""
    shelf = shelf_of(goods)
    return Basket(tuple(line_of(text, shelf) for text in lines))


def shelf_of(goods: Path | None) -> Mapping[str, Item]:
    """A shop's own shelf out of a CSV file, or the one that comes along. Raises BasketRejected."""
    return CATALOGUE if goods is None else read_shelf(goods)


def serve_centre(
    world: World, port: int | None = None, workers: int = 1, module: str = "kazashi.assembly.points_server"
) -> ServedProcess:
    """A world's centre, or another module that serves in its place, as a process of its own with its log in the world.
    Raises ServicesUnavailable."""
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
