"""Values that the shell completes: cards, residents and slots of the world. Without a world there are none.

Completing a value changes nothing: it neither creates a world nor upgrades one.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import click
from click.shell_completion import CompletionItem

if TYPE_CHECKING:
    from kazashi.world.home import World

Values = Iterator[tuple[str, str | None]]
"""Values to choose from, each with a description, if it has one."""

_MOST = 200
"""How many residents are read. A longer list helps nobody."""


def _completion(
    *sources: Callable[[click.Context, str], Values],
) -> Callable[[click.Context, click.Parameter, str], list[CompletionItem[str]]]:
    """Return a function for click, which returns the values of all sources that begin with what was typed.

    A source that fails has no values: a message would spoil the line that is being typed.
    """

    def complete(context: click.Context, _: click.Parameter, typed: str) -> list[CompletionItem[str]]:
        found: dict[str, str | None] = {}
        for source in sources:
            try:
                found |= {value: about for value, about in source(context, typed) if value.startswith(typed)}
            except Exception:
                continue
        return [CompletionItem(value, help=about) for value, about in found.items()]

    return complete


def _cards(context: click.Context, typed: str) -> Values:
    from kazashi.card_management.order import card_names

    return ((name, None) for name in card_names(_world_to_read(context)))


def _samples(context: click.Context, typed: str) -> Values:
    from kazashi.resident_registry.sample_residents import SAMPLE_RESIDENTS

    return ((sample.alias, sample.about) for sample in SAMPLE_RESIDENTS.values())


def _residents(context: click.Context, typed: str) -> Values:
    import sqlalchemy as sa

    from kazashi.resident_registry.registry import ACTOR

    world = _world_to_read(context)
    if not world.settings.storage and not any(world.directory.glob(f"stores/{ACTOR}.*")):
        return  # opening the store would create its file
    alias = sa.column("alias", sa.Text)
    query = sa.select(alias).select_from(sa.table("person")).where(alias >= typed).order_by(alias).limit(_MOST)
    with world.store_to_study(ACTOR).reading() as connection:
        yield from ((found, None) for found in connection.scalars(query).all())


def _slots(context: click.Context, typed: str) -> Values:
    from kazashi.assembly.control_path import control_path
    from kazashi.reader_bridge.control import request

    for slot in request(control_path(_world_to_read(context)), "status")["slots"]:
        yield str(slot["slot"]), f"{slot['reader']}, {slot['card'] or 'empty'}"


def _profiles(_: click.Context, typed: str) -> Values:
    from kazashi.reader_bridge.profile import all_profiles

    return ((profile.name, profile.title) for profile in all_profiles())


def _world_to_read(context: click.Context) -> World:
    """Return the world. Raises WorldMissing, WorldUnusable and OSError, and ValueError if a command would upgrade the
    world first.

    The directory is taken from the option: click does not run the group's function while it completes.
    """
    from kazashi.world.home import FORMAT, default_directory, existing_world

    directory = context.find_root().params.get("world_directory") or default_directory()
    if json.loads((directory / "world.json").read_text(encoding="utf-8"))["format"] != FORMAT:
        raise ValueError(f"{directory} has another format")
    return existing_world(directory)


cards = _completion(_cards)
"""Completes the names of the world's cards."""
residents = _completion(_residents)
"""Completes the aliases of registered residents."""
samples = _completion(_samples)
"""Completes the aliases of the sample residents."""
holders = _completion(_residents, _samples)
"""Completes the aliases of those to whom a card can be issued."""
profiles = _completion(_profiles)
"""Completes the names of reader profiles."""
slots = _completion(_slots)
"""Completes the numbers of the running instance's slots."""
