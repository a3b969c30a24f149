"""`kazashi clock`: the world's time stands, runs, and is advanced."""

from __future__ import annotations

from datetime import datetime, timedelta

import click

from kazashi.tools.cli.commands.shared import Reply, institutions_of, progress, replies, world_of

LAST_YEAR = 2099


@click.group()
def clock() -> None:
    """Show, stop, run and advance the world's time.

    Batches and expiries happen on the way.
    """


@clock.command("show")
@replies
@click.pass_context
def clock_show(context: click.Context) -> Reply:
    """Show what time it is in this world."""
    return _tell(context, 0)


@clock.command("stand")
@click.argument("instant", required=False)
@replies
@click.pass_context
def clock_stand(context: click.Context, instant: str | None) -> Reply:
    """Stop the clock, at INSTANT or where it is."""
    from kazashi.world.clock import WorldClock

    done = _advance_to(context, instant)
    time = world_of(context).clock
    assert isinstance(time, WorldClock)
    time.stand(time.now())
    return _tell(context, done)


@clock.command("run")
@click.argument("instant", required=False)
@replies
@click.pass_context
def clock_run(context: click.Context, instant: str | None) -> Reply:
    """Let the clock run, from INSTANT or from where it is."""
    from kazashi.world.clock import WorldClock

    done = _advance_to(context, instant)
    time = world_of(context).clock
    assert isinstance(time, WorldClock)
    time.run()
    return _tell(context, done)


@clock.command("advance")
@click.argument("span")
@replies
@click.pass_context
def clock_advance(context: click.Context, span: str) -> Reply:
    """Take the clock forward, and do what is due on the way.

    SPAN is 90m, 12h, 400d, 2w or the like.
    """
    from kazashi.assembly.errors import UsageError
    from kazashi.world.clock import duration_of

    try:
        until = world_of(context).clock.now() + duration_of(span)
    except (ValueError, OverflowError) as error:
        raise UsageError(str(error)) from error
    done = _advance(context, until)
    return _tell(context, done)


def _advance_to(context: click.Context, words: str | None) -> int:
    """Take the clock to an instant; answers how many jobs were done on the way. A world that is new may be set to any
    time; one in which something has happened only goes forward."""
    from kazashi.assembly.errors import UsageError
    from kazashi.world.clock import WorldClock, instant_of

    if words is None:
        return 0
    try:
        instant = instant_of(words)
    except ValueError as error:
        raise UsageError(str(error)) from error
    world = world_of(context)
    time = world.clock
    assert isinstance(time, WorldClock)
    if instant >= time.now():
        return _advance(context, instant)
    if any((world.directory / "stores").glob("*")):
        raise UsageError(f"it is {time.now().isoformat()} in this world, and time there does not go back")
    time.move(instant)
    return 0


def _advance(context: click.Context, until: datetime) -> int:
    from kazashi.assembly.errors import UsageError

    if until.year > LAST_YEAR:
        raise UsageError(f"the clock goes no further than {LAST_YEAR}: certificates and lists end some time")
    institutions = institutions_of(context)
    now = institutions.world.clock.now()
    days = max(1, (until - now) // timedelta(days=1))
    with progress("days", days) as tell:
        return institutions.advance(until, lambda at: tell((at - now) // timedelta(days=1)))


def _tell(context: click.Context, done: int) -> Reply:
    from kazashi.world.clock import JST, WorldClock

    time = world_of(context).clock
    assert isinstance(time, WorldClock)
    now = time.now().astimezone(JST)
    told = {"now": now.isoformat(), "stands": time.stands, "jobs": done}
    words = f"{now:%Y-%m-%d %H:%M:%S} in Japan, and the clock {'stands' if time.stands else 'runs'}"
    return Reply(told, words + (f"; {done} jobs done on the way" if done else ""))
