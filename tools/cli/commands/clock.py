"""`kazashi clock`: stop, run and advance the world's clock."""

from __future__ import annotations

from datetime import datetime, timedelta

import click

from kazashi.tools.cli.commands.shared import Reply, institutions_of, progress, replies, world_of

LAST_YEAR = 2099


@click.group()
def clock() -> None:
    """Show, stop, run and advance the clock.

    Everything that is due in between happens: batches run and certificates expire.
    """


@clock.command("show")
@replies
@click.pass_context
def clock_show(context: click.Context) -> Reply:
    """Show the time of this world."""
    return _time(context, 0)


@clock.command("stand")
@click.argument("instant", required=False)
@replies
@click.pass_context
def clock_stand(context: click.Context, instant: str | None) -> Reply:
    """Stop the clock at INSTANT.

    Without INSTANT, it stops at its present time.
    """
    from kazashi.world.clock import WorldClock

    jobs = _advance_to(context, instant)
    time = world_of(context).clock
    assert isinstance(time, WorldClock)
    time.stand(time.now())
    return _time(context, jobs)


@clock.command("run")
@click.argument("instant", required=False)
@replies
@click.pass_context
def clock_run(context: click.Context, instant: str | None) -> Reply:
    """Run the clock from INSTANT on.

    Without INSTANT, it runs from its present time on.
    """
    from kazashi.world.clock import WorldClock

    jobs = _advance_to(context, instant)
    time = world_of(context).clock
    assert isinstance(time, WorldClock)
    time.run()
    return _time(context, jobs)


@clock.command("advance")
@click.argument("span")
@replies
@click.pass_context
def clock_advance(context: click.Context, span: str) -> Reply:
    """Advance the clock by SPAN.

    Everything that is due in between happens. SPAN is 90m, 12h, 400d, 2w or similar.
    """
    from kazashi.assembly.errors import UsageError
    from kazashi.world.clock import duration_of

    try:
        until = world_of(context).clock.now() + duration_of(span)
    except (ValueError, OverflowError) as error:
        raise UsageError(str(error)) from error
    jobs = _advance(context, until)
    return _time(context, jobs)


def _advance_to(context: click.Context, text: str | None) -> int:
    """Move the clock to an instant. Returns how many jobs ran in between. The clock of a new world may be set to any
    time; once something has happened in a world, its clock only goes forward. Raises UsageError."""
    from kazashi.assembly.errors import UsageError
    from kazashi.world.clock import WorldClock, instant_of

    if text is None:
        return 0
    try:
        instant = instant_of(text)
    except ValueError as error:
        raise UsageError(str(error)) from error
    world = world_of(context)
    time = world.clock
    assert isinstance(time, WorldClock)
    if instant >= time.now():
        return _advance(context, instant)
    if any((world.directory / "stores").glob("*")):
        raise UsageError(
            f"the clock of this world is at {time.now().isoformat()} and cannot go back; name a later instant"
        )
    time.move(instant)
    return 0


def _advance(context: click.Context, until: datetime) -> int:
    from kazashi.assembly.errors import UsageError

    if until.year > LAST_YEAR:
        raise UsageError(f"the clock cannot go beyond {LAST_YEAR}, because certificates and revocation lists end")
    institutions = institutions_of(context)
    now = institutions.world.clock.now()
    days = max(1, (until - now) // timedelta(days=1))
    with progress("days", days) as shown:
        return institutions.advance(until, lambda at: shown((at - now) // timedelta(days=1)))


def _time(context: click.Context, jobs: int) -> Reply:
    from kazashi.world.clock import JST, WorldClock

    time = world_of(context).clock
    assert isinstance(time, WorldClock)
    now = time.now().astimezone(JST)
    document = {"now": now.isoformat(), "stands": time.stands, "jobs": jobs}
    words = f"{now:%Y-%m-%d %H:%M:%S} in Japan; the clock is {'stopped' if time.stands else 'running'}"
    return Reply(document, words + (f"; {jobs} jobs done" if jobs else ""))
