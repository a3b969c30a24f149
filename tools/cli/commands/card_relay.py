"""`kazashi card relay`: the relay between the card management and the authorities, its faults and its limits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from kazashi.tools.cli.commands.shared import Reply, institutions_of, new_world_of, replies

_script_options = (
    click.option("--faults", "file", type=click.Path(exists=True, dir_okay=False, path_type=Path), metavar="FILE",
                 help="A fault script for the relay (docs/faults.md)."),
    click.option("--unkind", is_flag=True, help="A small share of lost requests, lost replies and crashes."),
)  # fmt: skip


@click.group()
def relay() -> None:
    """Show the relay to the authorities, and switch its faults on.

    A card's certificates are requested over the relay (中継サーバ), whose failures delayed many cards in 2016.
    """


@relay.command("show")
@replies
@click.pass_context
def relay_show(context: click.Context) -> Reply:
    """Show the relay's faults and limits, and the cards that wait for it."""
    return _shown(context)


@relay.command("set")
@_script_options[0]
@_script_options[1]
@click.option("--off", is_flag=True, help="No faults, and the usual limits.")
@replies
@click.pass_context
def relay_set(context: click.Context, file: Path | None, unkind: bool, off: bool) -> Reply:
    """Switch faults of the relay on or off.

    They affect every card that is made or renewed from now on, by any command.
    """
    from kazashi.assembly.errors import UsageError

    if [bool(file), unkind, off].count(True) != 1:
        raise UsageError("give exactly one of --faults, --unkind and --off")
    new_world_of(context)
    institutions_of(context).cards.relay.set_script(*_script(file, unkind))
    return _shown(context)


@relay.command("load")
@_script_options[0]
@_script_options[1]
@click.option("--municipalities", "places", type=click.IntRange(1, 100), default=4, show_default=True,
              help="How many municipalities.")  # fmt: skip
@click.option("--terminals", type=click.IntRange(1, 200), default=50, show_default=True,
              help="How many terminals in each of them.")  # fmt: skip
@click.option("--requests", type=click.IntRange(1, 1000), default=5, show_default=True,
              help="How many certificates each terminal requests.")  # fmt: skip
@replies
def relay_load(file: Path | None, unkind: bool, places: int, terminals: int, requests: int) -> Reply:
    """Put the relay under load, in a world of its own.

    Terminals of several municipalities request certificates at the same time. A municipality that has as many sessions
    as it may have is refused at once, and its terminal tries again later. The command fails if a request led to more or
    less than one certificate.
    """
    from dataclasses import asdict

    from kazashi.assembly.relay_load import relay_load as load

    done = load(_script(file, unkind)[0], places=places, terminals=terminals, requests=requests)
    words = [
        f"{done.requests} requests in {done.seconds:.1f} s, {done.requests / done.seconds:.0f} a second",
        f"answered after {done.median_ms:.0f} ms (median), {done.p95_ms:.0f} ms (95 of 100)",
        f"at most {done.most_sessions} sessions of one municipality at once, of {done.limit} that it may have",
        f"refused because a limit was reached: {done.busy}; failed otherwise: {done.failures}",
        f"{done.certificates} certificates, one for each request",
    ]
    return Reply(asdict(done), "\n".join(words))


def _script(file: Path | None, unkind: bool) -> tuple[str, str]:
    """Return the script that the options name, and its name in errors. Raises UsageError."""
    from kazashi.assembly.errors import UsageError
    from kazashi.card_management.relay_script import UNKIND
    from kazashi.world.input_file import read_text_input

    if file and unkind:
        raise UsageError("--unkind and --faults contradict each other")
    if file:
        return read_text_input(file, errors="replace"), str(file)
    return (UNKIND if unkind else ""), "the script"


def _shown(context: click.Context) -> Reply:
    from kazashi.card_management.case import CaseState
    from kazashi.world.clock import JST

    cards = institutions_of(context).cards
    status, plan = cards.relay.status(), cards.relay.plan()
    down = status.down_until.astimezone(JST) if status.down_until else None
    waiting = [case.name for case in cards.cases() if case.state is CaseState.OPEN]
    data: dict[str, Any] = {
        "script": status.script, "sessions each": plan.each, "sessions all": plan.all, "requests": status.requests,
        "faults": status.faults, "down until": down.isoformat() if down else None, "waiting": waiting,
    }  # fmt: skip
    lines = [f"sessions: {plan.each} for a municipality, {plan.all} in all"]
    lines += [f"faults: {len(plan.rules)} rules, which have affected {sum(status.faults.values())} of"
              f" {status.requests} requests"] if plan.rules else ["no faults"]  # fmt: skip
    lines += [f"  {name}: {count}" for name, count in status.faults.items()]
    lines += [f"crashed; back at {down:%Y-%m-%d %H:%M:%S} in Japan"] if down else []
    lines += [f"cards that are not finished: {', '.join(waiting)}"] if waiting else []
    return Reply(data, "\n".join(lines))
