"""`kazashi up`, `down`, `status`, `doctor`: start, stop and inspect the running instance."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from kazashi.tools.cli.commands.card import made
from kazashi.tools.cli.commands.completions import cards, profiles
from kazashi.tools.cli.commands.reader import slots_in_words
from kazashi.tools.cli.commands.shared import (
    Reply,
    ask,
    json_option,
    new_world_of,
    replies,
    world_if_any,
    world_of,
)
from kazashi.tools.daemon.plan import InstancePlan


@click.command()
@click.option("--detach", is_flag=True, help="Run in the background; return once the card is in the reader.")
@click.option("--reader", "readers", multiple=True, metavar="NAME",
              help="Add a reader with this name, up to 16 (default: one for each card, Kazashi).")  # fmt: skip
@click.option("--reader-profile", "profiles", multiple=True, metavar="PROFILE", shell_complete=profiles,
              help="Add a reader with a profile, or with that of a file .toml (kazashi reader profiles).")  # fmt: skip
@click.option("--card", "cards", multiple=True, metavar="NAME", shell_complete=cards,
              help="Insert this card into the next slot (default: hanako).")  # fmt: skip
@click.option("--empty", is_flag=True, help="Insert no card.")
@click.option("--contactless", is_flag=True, help="Use contactless readers.")
@click.option(
    "--reset-keeps-status", is_flag=True, help="Keep PINs verified after a reset (measured on one contactless card)."
)
@click.option(
    "--pcscd",
    type=click.Choice(["auto", "system", "own", "private"]),
    default="auto",
    show_default=True,
    help="The system's pcscd, one in its place (own), or one beside it that clients must be pointed to (private).",
)
@click.option("--port", type=int, help="The authorities' HTTP port (default: the next free one after the console's).")
@click.option("--workers", type=int, default=1, show_default=True, help="The number of authority HTTP processes.")
@click.option("--ldap", is_flag=True, help="Also start a directory (slapd) with the revocation lists.")
@click.option("--no-services", "services", flag_value=False, default=True, help="Start only readers and cards.")
@click.option("--no-console", "console", flag_value=False, default=True, help="Do not start the console.")
@click.option("--faults", "script", type=click.Path(exists=True, dir_okay=False, path_type=Path), metavar="FILE",
              help="Inject the faults of a fault script (docs/faults.md).")  # fmt: skip
@click.option("--unkind", is_flag=True, help="Inject occasional faults: delays, wrong status words, removals.")
@click.option("--listen", "dialled", multiple=True, metavar="[HOST:]PORT",
              help="Add a slot that a phone or another reader's host connects to (docs/workbench.md).")  # fmt: skip
@click.option("--open-ports", is_flag=True,
              help="Use vpcd, and let other programs put cards into its readers, as vicc does.")  # fmt: skip
@click.option("--vpcd", is_flag=True, help="Use vpcd's readers, with two slots each, instead of our own driver.")
@json_option
@click.pass_context
def up(context: click.Context, /, detach: bool, as_json: bool, **chosen: Any) -> None:
    """Start readers, cards and services.

    Stop them with Ctrl-C or `kazashi down`.
    """

    def announce(status: dict[str, Any]) -> None:
        Reply(status, status_in_words(status)).show(as_json)
        sys.stdout.flush()

    from kazashi.tools.daemon.background import detach as start
    from kazashi.tools.daemon.background import locked

    plan = _planned(**chosen)
    world = new_world_of(context)
    lock = locked(world)
    for name in plan.cards:
        made(context, name, missing_is_error=name != "hanako")
    for endpoint in plan.endpoints():
        if endpoint.host not in ("127.0.0.1", "localhost"):
            click.echo(
                f"kazashi: anyone who can reach {endpoint.host} port {endpoint.port} can use the card there", err=True
            )
    if detach:
        announce(start(world, plan, lock))
        return
    from kazashi.tools.daemon.instance import run

    run(world, plan, announce)


def _planned(
    *, cards: tuple[str, ...], empty: bool, script: Path | None, unkind: bool, readers: tuple[str, ...],
    profiles: tuple[str, ...], **chosen: Any,
) -> InstancePlan:  # fmt: skip
    """Return the plan that the options describe. Raises UsageError, BadFaultScript, NoSuchProfile and BadProfile."""
    from kazashi.assembly.errors import UsageError
    from kazashi.reader_bridge.fault_script import UNKIND, read_fault_script
    from kazashi.world.input_file import read_text_input

    if empty and cards:
        raise UsageError("--empty and --card contradict each other")
    if unkind and script:
        raise UsageError("--unkind and --faults contradict each other")
    faults = UNKIND if unkind else ""
    if script is not None:
        read_fault_script(script)
        faults = read_text_input(script, errors="replace")
    profiles = tuple(str(Path(name).resolve()) if name.endswith(".toml") else name for name in profiles)
    try:
        plan = InstancePlan(
            cards=() if empty else cards or InstancePlan().cards, faults=faults, profiles=profiles,
            readers=readers, **chosen,
        )  # fmt: skip
        plan.reader_profiles()
    except ValueError as error:
        raise UsageError(f"--reader: {error}") from error
    try:
        plan.endpoints()
    except ValueError as error:
        raise UsageError(f"--listen {error}") from error
    return plan


@click.command()
@replies
@click.pass_context
def down(context: click.Context) -> Reply:
    """Stop everything that `up` started.

    Nothing else is stopped. An instance that is starting is stopped as soon as it has started.
    """
    from kazashi.tools.daemon.background import stop

    reply, ended = stop(world_of(context))
    words = "The instance has stopped." if ended else "It is still stopping."
    return Reply({"pid": reply["pid"], "ended": ended}, words)


@click.command()
@replies
@click.pass_context
def status(context: click.Context) -> Reply:
    """Show the running readers, cards and services."""
    reply = ask(context, "status")
    return Reply(reply, status_in_words(reply))


@click.command()
@click.option("--fix", is_flag=True, help="Install the Debian packages that are missing (as root or with sudo).")
@replies
@click.pass_context
def doctor(context: click.Context, fix: bool) -> Reply:
    """Check the installation and suggest fixes.

    In a clone, an environment with missing files is built again first. The exit status is 3 if something is wrong.
    """
    from dataclasses import asdict

    from kazashi.assembly.errors import Exit
    from kazashi.tools.cli.doctor import examine
    from kazashi.tools.installation.running import install_packages

    findings = examine(world_if_any(context))
    if fix and any(finding.packages for finding in findings):
        install_packages([package for finding in findings for package in finding.packages])
        findings = examine(world_if_any(context))
    lines = []
    for finding in findings:
        state, colour = (
            ("MISSING", "red") if not finding.ok else ("note", "yellow") if finding.remedy else ("ok", "green")
        )
        lines.append(f"{click.style(f'{state:7}', fg=colour)} {finding.check}: {finding.detail}")
        if finding.remedy:
            lines.append(f"        -> {finding.remedy}")
    wrong = sum(not finding.ok for finding in findings)
    lines.append(f"{len(findings)} checks, {wrong} wrong")
    return Reply([asdict(finding) for finding in findings], "\n".join(lines), Exit.ENVIRONMENT if wrong else Exit.OK)


def status_in_words(reply: dict[str, Any]) -> str:
    """Describe an instance's status as text, from its reply to `status`."""
    lines = [slots_in_words(reply["slots"])]
    if reply["pcscd"]["ended"]:
        lines.append("pcscd has ended, and no client finds a reader. Start again: kazashi down, then kazashi up")
    if reply["pcscd"]["environment"]:
        lines.append('This pcscd is private; to let clients in a shell find it: eval "$(kazashi reader env)"')
    if reply["pcscd"]["driver"] == "vpcd":
        reason = reply["pcscd"]["stand_in"]
        lines.append("These are vpcd's readers" + (f", because {reason}" if reason else "."))
    if reply["pcscd"]["open_ports"]:
        lines.append(
            f"vpcd's ports {', '.join(map(str, reply['pcscd']['open_ports']))} are open: everybody who can reach this"
            " machine can put a card into these readers. --pcscd private closes them."
        )
    elif reply["pcscd"]["driver"] == "vpcd":
        lines.append("vpcd's ports are closed: only this instance reaches them.")
    if any(slot["card"] for slot in reply["slots"]):
        lines.append("PINs: 1234 (authentication, text, juki), ABC123 (signature), unless the card has its own")
    if services := reply["services"]:
        lines.append(
            f"Authorities: {services['http']}" + (f", directory: {services['ldap']}" if services["ldap"] else "")
        )
    if reply["console"]:
        lines.append(f"Console: {reply['console']}")
    return "\n".join(lines)
