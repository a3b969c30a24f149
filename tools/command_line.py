"""The command line. Commands import what they need when they run, so that every start is quick."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

if TYPE_CHECKING:
    from world.home import World

_JSON = click.option("--json", "as_json", is_flag=True, help="Answer as JSON on stdout.")
_CHECKOUT = Path(__file__).resolve().parent.parent


def main() -> NoReturn:
    """Run the program; errors become one line on stderr and an exit status."""
    from tools.errors import Exit

    try:
        sys.exit(kazashi.main(standalone_mode=False) or Exit.OK)
    except click.ClickException as error:
        error.show()
        sys.exit(Exit.USAGE)
    except click.Abort:
        sys.exit(130)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(Exit.OK)
    except Exception as error:
        from tools.errors import code_of, exit_of

        code = code_of(error)
        if code is None:
            raise
        click.echo(f"kazashi: {error} [{code}]", err=True)
        sys.exit(exit_of(code))


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--world",
    "world_directory",
    type=click.Path(file_okay=False, path_type=Path),
    help="The directory that holds everything (default: $KAZASHI_WORLD, else ~/.local/share/kazashi).",
)
@click.version_option(package_name="kazashi")
@click.pass_context
def kazashi(context: click.Context, world_directory: Path | None) -> None:
    """An Individual Number Card bench: an emulated card in a real PC/SC reader, and the authorities behind it."""
    context.obj = world_directory
    if "NO_COLOR" in os.environ:
        context.color = False


def _world(context: click.Context) -> World:
    from world.home import open_world

    return open_world(context.obj)


def _ask(context: click.Context, verb: str, **arguments: object) -> dict[str, Any]:
    from reader_bridge.control import request
    from tools.bench_process import control_path

    return request(control_path(_world(context)), verb, **arguments)


def _answer(answer: object, as_json: bool, words: str) -> None:
    click.echo(json.dumps(answer, ensure_ascii=False) if as_json else words)


# The two commands, and the bench's life


@kazashi.command()
@_JSON
@click.option("--report", type=click.Path(dir_okay=False, path_type=Path), default=Path("kazashi-demo.html"))
def demo(as_json: bool, report: Path) -> int:
    """The whole story on a real reader, then exit 0; non-zero if any step fails.

    It uses a world and a pcscd of its own and leaves nothing behind but a small HTML report.
    """
    from tools.demo import run_demo, write_report

    def tell(step: Any) -> None:
        if not as_json:
            mark = click.style("ok  ", fg="green") if step.ok else click.style("FAIL", fg="red")
            click.echo(f"{mark} {step.seconds * 1000:7.0f} ms  {step.step}: {step.detail}")

    steps = run_demo(tell)
    write_report(steps, report)
    if as_json:
        click.echo(json.dumps([step.as_dict() for step in steps], ensure_ascii=False))
    click.echo(f"The report is in {report}", err=True)
    return 0 if all(step.ok for step in steps) else 1


@kazashi.command(context_settings={"ignore_unknown_options": True, "help_option_names": []})
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def test(arguments: Sequence[str]) -> int:
    """The project's tests, all of them: style, types, and everything under tests/ (arguments go to pytest)."""
    if not (_CHECKOUT / "tests").is_dir():
        from tools.errors import UsageError

        raise UsageError("the tests come with the checkout, and this is an installed copy")
    checks = [] if arguments else [["-m", "ruff", "check", "."], ["-m", "mypy"]]
    for check in [*checks, ["-m", "pytest", *arguments]]:
        status = subprocess.run([sys.executable, *check], cwd=_CHECKOUT, check=False).returncode
        if status:
            return status
    return 0


@kazashi.command()
@click.option("--detach", is_flag=True, help="Run in the background; come back once the card is in the reader.")
@click.option("--reader", "readers", multiple=True, metavar="NAME", help="A two-slot reader; up to 8 of them.")
@click.option("--card", "cards", multiple=True, metavar="NAME", help="A card for each slot in turn (default: hanako).")
@click.option("--empty", is_flag=True, help="Put no card in.")
@click.option("--contactless", is_flag=True, help="Hold the cards to contactless readers.")
@click.option("--reset-keeps-status", is_flag=True, help="As measured over the air: a reset leaves PINs verified.")
@click.option(
    "--pcscd",
    "where",
    type=click.Choice(["auto", "system", "own", "private"]),
    default="auto",
    help="The system's pcscd, one in its place, or one beside it that clients must be told of.",
)
@_JSON
@click.pass_context
def up(
    context: click.Context,
    detach: bool,
    readers: Sequence[str],
    cards: Sequence[str],
    empty: bool,
    contactless: bool,
    reset_keeps_status: bool,
    where: str,
    as_json: bool,
) -> None:
    """Reader and cards live. Ctrl-C or `kazashi down` ends them."""
    from reader_bridge.host import Presentation
    from tools import bench_process

    world = _world(context)
    if empty and cards:
        from tools.errors import UsageError

        raise UsageError("--empty and --card contradict each other")
    names = [] if empty else list(cards or ["hanako"])
    for name in names:
        _made(world, name, missing_is_error=name != "hanako")
    if detach:
        arguments = [f"--pcscd={where}", *(f"--reader={name}" for name in readers)]
        arguments += [f"--card={name}" for name in names] or ["--empty"]
        arguments += ["--contactless"] * contactless + ["--reset-keeps-status"] * reset_keeps_status
        status = bench_process.detach(world, arguments)
        _answer(status, as_json, _status_in_words(status))
        return

    def announce(status: dict[str, Any]) -> None:
        _answer(status, as_json, _status_in_words(status))
        sys.stdout.flush()

    presentation = Presentation(contactless, reset_keeps_status)
    bench_process.run(
        world,
        readers or bench_process.DEFAULT_READERS,
        where,
        [(name, presentation) for name in names],
        announce,
    )


@kazashi.command()
@_JSON
@click.pass_context
def down(context: click.Context, as_json: bool) -> None:
    """End what `up` started, and nothing else."""
    from tools.bench_process import wait_until_ended

    answer = _ask(context, "down")
    ended = wait_until_ended(_world(context), answer["pid"])
    _answer({"pid": answer["pid"], "ended": ended}, as_json, "The bench has ended." if ended else "It is still ending.")


@kazashi.command()
@_JSON
@click.pass_context
def status(context: click.Context, as_json: bool) -> None:
    """What runs."""
    answer = _ask(context, "status")
    _answer(answer, as_json, _status_in_words(answer))


@kazashi.command()
@_JSON
@click.pass_context
def doctor(context: click.Context, as_json: bool) -> int:
    """What is there, what is missing, and what to do about it."""
    from dataclasses import asdict

    from tools.doctor import examine
    from tools.errors import Exit

    findings = examine(_world(context))
    if as_json:
        click.echo(json.dumps([asdict(finding) for finding in findings], ensure_ascii=False))
    else:
        for finding in findings:
            mark = (
                click.style("ok     ", fg="green")
                if finding.ok
                else (click.style("MISSING", fg="red") if finding.essential else click.style("note   ", fg="yellow"))
            )
            click.echo(f"{mark} {finding.check}: {finding.detail}")
            if finding.remedy:
                click.echo(f"        -> {finding.remedy}")
    return Exit.OK if all(finding.ok for finding in findings if finding.essential) else Exit.ENVIRONMENT


@kazashi.command()
@click.argument("area", type=click.Choice(["card"]), default="card")
@_JSON
def bench(area: str, as_json: bool) -> int:
    """Measurements, as ratios against named peers in one run."""
    from dataclasses import asdict
    from importlib import import_module

    from rich.console import Console
    from rich.table import Table

    console = Console(stderr=True)
    with console.status("starting") as shown:
        measures = import_module(f"tools.bench_{area}").measure(lambda what: shown.update(f"{what} ..."))
    if as_json:
        click.echo(json.dumps([asdict(item) for item in measures]))
    else:
        table = Table("measure", "ours", "peer", "ratio", "goal", "")
        for item in measures:
            table.add_row(
                item.name,
                f"{item.ours:,.3f} {item.unit}",
                f"{item.peer:,.3f} {item.unit} ({item.peer_name})",
                f"{item.ratio:,.2f}",
                item.goal,
                "[green]met[/]" if item.met else "[red]missed[/]",
            )
        Console().print(table)
    return 0 if all(item.met for item in measures) else 1


# Cards


@kazashi.group()
def card() -> None:
    """Cards: made, shown, put into a reader and taken out."""


@card.command("new")
@click.argument("resident")
@click.option("--name", help="What to call the card (default: the resident's alias).")
@click.option("--pin", default="1234", show_default=True, help="Authentication, text and juki PIN, four digits.")
@click.option("--password", default="ABC123", show_default=True, help="Signature password, 6 to 16 of A-Z 0-9.")
@click.option("--atr", type=click.Choice(["plain", "extended", "short", "reader-made-1", "reader-made-2"]),
              default="plain", show_default=True, help="Which of the ATRs seen at real cards' contacts.")  # fmt: skip
@_JSON
@click.pass_context
def card_new(
    context: click.Context, resident: str, name: str | None, pin: str, password: str, atr: str, as_json: bool
) -> None:
    """Issue a card for a member of the cast (`kazashi card list --cast` shows them)."""
    world = _world(context)
    _made(world, name or resident, resident=resident, pin=pin, password=password, atr=atr)
    described = _described(world, name or resident)
    _answer(described, as_json, _card_in_words(described))


@card.command("list")
@click.option("--cast", is_flag=True, help="The residents for whom a card can be made.")
@_JSON
@click.pass_context
def card_list(context: click.Context, cast: bool, as_json: bool) -> None:
    """The cards of this world."""
    if cast:
        from resident_registry.cast import CAST

        rows = [{"resident": found.alias, "name": str(found.name), "about": found.about} for found in CAST.values()]
        _answer(rows, as_json, "\n".join(f"{row['resident']:15} {row['about']}" for row in rows))
        return
    from card_management.issue import SUFFIX

    world = _world(context)
    names = sorted(path.name.removesuffix(SUFFIX) for path in world.cards.glob(f"*{SUFFIX}"))
    cards = [{"card": name, **_described(world, name)} for name in names]
    words = "\n".join(f"{found['card']:15} {found.get('name', found.get('damage', ''))}" for found in cards)
    _answer(cards, as_json, words or "No cards yet; make one with: kazashi card new hanako")


@card.command("show")
@click.argument("name")
@_JSON
@click.pass_context
def card_show(context: click.Context, name: str, as_json: bool) -> None:
    """All about one card, PINs included: it is an emulated one."""
    described = _described(_world(context), name, missing_is_error=True)
    _answer(described, as_json, _card_in_words(described))


@card.command("insert")
@click.argument("name")
@click.option("--slot", default="", help="Number or reader name (default: the first empty slot).")
@click.option("--contactless", is_flag=True, help="Hold it to a contactless reader.")
@click.option("--reset-keeps-status", is_flag=True, help="As measured over the air: a reset leaves PINs verified.")
@_JSON
@click.pass_context
def card_insert(
    context: click.Context, name: str, slot: str, contactless: bool, reset_keeps_status: bool, as_json: bool
) -> None:
    """Put a card into a slot of the running bench."""
    _made(_world(context), name, missing_is_error=name != "hanako")
    answer = _ask(
        context, "insert", card=name, slot=slot, contactless=contactless, reset_keeps_status=reset_keeps_status
    )
    _answer(answer, as_json, f"{name} is in {answer['reader']}" + ("" if answer["seen"] else ", not yet seen by pcscd"))


@card.command("remove")
@click.argument("slot")
@_JSON
@click.pass_context
def card_remove(context: click.Context, slot: str, as_json: bool) -> None:
    """Take a card out. SLOT is a number, a reader's name, or the card's name."""
    answer = _ask(context, "remove", slot=slot)
    _answer(answer, as_json, f"{answer['reader']} is empty")


@card.command("reset")
@click.argument("slot")
@_JSON
@click.pass_context
def card_reset(context: click.Context, slot: str, as_json: bool) -> None:
    """Take a card out and put it in again: a cold start."""
    answer = _ask(context, "reset", slot=slot)
    _answer(answer, as_json, f"{answer['card']} is in {answer['reader']} again")


# Readers


@kazashi.group()
def reader() -> None:
    """Readers: which there are, and what goes over them."""


@reader.command("list")
@_JSON
@click.pass_context
def reader_list(context: click.Context, as_json: bool) -> None:
    """The slots of the running bench."""
    answer = _ask(context, "status")
    _answer(answer["slots"], as_json, _slots_in_words(answer["slots"]))


@reader.command("env")
@click.pass_context
def reader_env(context: click.Context) -> None:
    """What a shell must export for clients to find a private pcscd: eval "$(kazashi reader env)"."""
    import shlex

    for name, value in _ask(context, "status")["pcscd"]["environment"].items():
        click.echo(f"export {name}={shlex.quote(value)}")


@reader.command("trace")
@click.option("--slot", default="", help="Number, reader name or card (default: all slots).")
@click.option("--raw", is_flag=True, help="Also the bytes, PINs included.")
@_JSON
@click.pass_context
def reader_trace(context: click.Context, slot: str, raw: bool, as_json: bool) -> None:
    """Live: every command and its answer, in words. Ends with Ctrl-C."""
    from reader_bridge.control import stream
    from tools.bench_process import control_path

    for told in stream(control_path(_world(context)), "trace", slot=slot):
        if as_json:
            if not raw:
                told.pop("command"), told.pop("response")
            click.echo(json.dumps(told, ensure_ascii=False))
        else:
            at = time.strftime("%H:%M:%S", time.localtime(told["at"])) + f"{told['at'] % 1:.3f}"[1:]
            click.echo(f"{at} {told['reader']}  {told['words']}")
            if raw and told["command"]:
                click.echo(f"    > {told['command']}\n    < {told['response']}")
        sys.stdout.flush()


# Shared by the commands


def _made(
    world: World,
    name: str,
    *,
    resident: str | None = None,
    missing_is_error: bool = False,
    pin: str = "1234",
    password: str = "ABC123",
    atr: str = "plain",
) -> None:
    """Make a card; without `resident` only if there is none of that name, for the resident of the same alias."""
    from card_management.issue import image_path
    from tools.errors import UsageError

    try:
        there = image_path(world, name).exists()
    except ValueError as error:
        raise UsageError(str(error)) from error
    if there and resident is None:
        return
    if missing_is_error:
        from card.image import ImageMissing

        raise ImageMissing(f"there is no card {name!r}; make it with: kazashi card new RESIDENT --name {name}")
    from dataclasses import replace

    from card.atr import CONTACT_ATRS
    from card.pin import FOUR_DIGITS, SIGNATURE_PASSWORD
    from card_management.issue import issue, usual_order
    from resident_registry.cast import CAST

    alias = resident or name
    if alias not in CAST:
        raise UsageError(f"there is no resident {alias!r} in the cast; see: kazashi card list --cast")
    for value, form, what in ((pin, FOUR_DIGITS, "--pin"), (password, SIGNATURE_PASSWORD, "--password")):
        if not form.accepts(value.encode()):
            raise UsageError(f"{what} takes {form.words}")
    order = usual_order(world, CAST[alias], CONTACT_ATRS[atr])
    pins = replace(order.pins, authentication=pin, text=pin, juki=pin, signature=password)
    issue(world, name, replace(order, pins=pins))


def _described(world: World, name: str, *, missing_is_error: bool = False) -> dict[str, Any]:
    """What a card's image says of itself, and the tries left on its PINs."""
    from card.image import DamagedImage, read_image
    from card_management.issue import image_path
    from tools.errors import UsageError

    try:
        contents, about = read_image(image_path(world, name))
    except ValueError as error:
        raise UsageError(str(error)) from error
    except DamagedImage as error:
        if missing_is_error:
            raise
        return {"damage": str(error)}
    from applets.install import install

    tries = {}
    for application in install(contents).applications:
        for fid, pin in contents[application.aid].pins.items():
            tries[f"{application.name} {application.files[fid].name}"] = f"{pin.tries_left} of {pin.tries}"
    return {**about, "tries left": tries}


def _card_in_words(described: dict[str, Any]) -> str:
    lines = [f"{name:20} {value}" for name, value in described.items() if not isinstance(value, dict)]
    lines += ["tries left"] + [f"  {name:40} {value}" for name, value in described.get("tries left", {}).items()]
    return "\n".join(lines)


def _status_in_words(answer: dict[str, Any]) -> str:
    lines = [_slots_in_words(answer["slots"])]
    if answer["pcscd"]["environment"]:
        lines.append('This pcscd is a private one; clients in a shell find it after: eval "$(kazashi reader env)"')
    if any(slot["card"] for slot in answer["slots"]):
        lines.append("PINs: 1234 (authentication, text, juki), ABC123 (signature), unless the card was made otherwise")
    return "\n".join(lines)


def _slots_in_words(slots: list[dict[str, Any]]) -> str:
    def state(slot: dict[str, Any]) -> str:
        if slot["card"] is None:
            return "empty"
        how = ", contactless" if slot["contactless"] else ""
        return f"{slot['card']}{how}" + ("" if slot["seen"] else " (pcscd has not seen it yet)")

    return "\n".join(f"{slot['slot']:2}  {slot['reader']:24}  {state(slot)}" for slot in slots)
