"""`kazashi reader`: which readers there are, and what goes over them."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from kazashi.tools.cli.commands.reader_check import reader_check, reader_compare
from kazashi.tools.cli.commands.shared import Reply, ask, json_option, replies, world_if_any, world_of

if TYPE_CHECKING:
    from kazashi.assembly.traces import Followed
    from kazashi.reader_bridge.decoder import Decoded

_SLOT = click.option("--slot", default="", help="Number, reader name or card (default: the first empty slot).")


@click.group()
def reader() -> None:
    """Watch, record, compare and replay readers."""


reader.add_command(reader_check)
reader.add_command(reader_compare)


@reader.command("list")
@replies
@click.pass_context
def reader_list(context: click.Context) -> Reply:
    """Show the slots of the running bench."""
    told = ask(context, "status")
    return Reply(told["slots"], slots_in_words(told["slots"]))


@reader.command("env")
@click.pass_context
def reader_env(context: click.Context) -> None:
    """Print what clients must export to find a private pcscd.

    In a shell: eval "$(kazashi reader env)".
    """
    import shlex

    for name, value in ask(context, "status")["pcscd"]["environment"].items():
        click.echo(f"export {name}={shlex.quote(value)}")


@reader.command("trace")
@click.option("--slot", default="", help="Number, reader name or card (default: all slots).")
@click.option("--follow", "-f", is_flag=True, help="Go on with what comes, until Ctrl-C.")
@click.option("--last", type=click.IntRange(0), default=None, metavar="N",
              help="How many of those before (default: 100, with --follow none).")  # fmt: skip
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE",
              help="Also write a trace file; of one slot.")  # fmt: skip
@click.option("--unmasked", is_flag=True, help="Bytes as they are, PINs and personal data included.")
@click.option("--raw", is_flag=True, help="Also show the bytes.")
@json_option
@click.pass_context
def reader_trace(
    context: click.Context, slot: str, follow: bool, last: int | None, out: Path | None, unmasked: bool, raw: bool,
    as_json: bool,
) -> None:  # fmt: skip
    """Show what goes over the running bench's slots.

    In words: what was, or with --follow what is. PINs are never shown in words, and bytes that are a PIN's or the
    holder's are masked, also in files, unless --unmasked.
    """
    from kazashi.assembly.errors import UsageError
    from kazashi.assembly.traces import Recorder
    from kazashi.assembly.traces import follow as followed

    backlog = last if last is not None else (0 if follow else 100)
    slots = ask(context, "status")["slots"]
    if out is not None and not slot and len(slots) != 1:
        raise UsageError("a trace file is of one slot; name it with --slot")
    with Recorder(out, unmasked=unmasked) as recorder:
        for found in followed(world_of(context), slot, backlog, live=follow):
            for one in found:
                if one.missed:
                    click.echo(f"kazashi: {one.missed} exchanges came too fast and are not shown", err=True)
                _show(one, recorder.decode(one), as_json=as_json, raw=raw, unmasked=unmasked)
            sys.stdout.flush()


@reader.command("show")
@click.argument("trace", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--pcap", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE",
              help="Write it as a packet capture, for Wireshark.")  # fmt: skip
@click.option("--raw", is_flag=True, help="Also show the bytes.")
@replies
def reader_show(trace: Path, pcap: Path | None, raw: bool) -> Reply:
    """Show a trace file, or write it as a packet capture."""
    from dataclasses import asdict

    from kazashi.reader_bridge.pcap import write_pcap
    from kazashi.reader_bridge.trace import read_trace

    found = read_trace(trace)
    if found.cut_off:
        click.echo(f"kazashi: {trace} breaks off in the middle of its last line, which is left out", err=True)
    if pcap is not None:
        with pcap.open("wb") as out:
            packets = write_pcap(found, out)
        return Reply({"packets": packets, "pcap": str(pcap)}, f"{packets} packets in {pcap}")
    words = []
    for line in found.lines:
        words.append(f"{_clock(line.at)}  {line.words or f'-- {line.event}'}")
        if raw and line.command:
            words.append(f"    > {line.command}\n    < {line.response}")
    return Reply({**asdict(found), "lines": [line._asdict() for line in found.lines]}, "\n".join(words))


@reader.command("replay")
@click.argument("trace", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--lenient", is_flag=True, help="Answer recorded commands in any order, and others with 6D00.")
@_SLOT
@replies
@click.pass_context
def reader_replay(context: click.Context, trace: Path, lenient: bool, slot: str) -> Reply:
    """Insert a trace, which answers as the recorded card did.

    TRACE is put into a slot of the running bench.
    """
    told = ask(context, "replay", trace=str(trace.resolve()), strict=not lenient, slot=slot)
    return Reply(told, f"{told['card']} is in {told['reader']}")


@reader.command("relay")
@click.argument("source", metavar="READER")
@_SLOT
@replies
@click.pass_context
def reader_relay(context: click.Context, source: str, slot: str) -> Reply:
    """Show a real reader's card in a slot.

    `kazashi reader trace --out` records it. While the card of READER is relayed, whoever uses the slot uses the card.
    It is real: a wrong PIN costs one of its tries.
    """
    told = ask(context, "relay", reader=source, slot=slot)
    words = f"the card of {source} shows in {told['reader']}"
    return Reply(told, words if told["seen"] else f"{words} as soon as there is one")


@reader.command("script")
@click.argument("script", type=click.File("r", encoding="utf-8", errors="replace"))
@click.option("--reader", "name", metavar="NAME", help="The reader's name or its beginning (default: the only one).")
@click.pass_context
def reader_script(context: click.Context, script: Any, name: str | None) -> None:
    """Send a script's commands to the card in any reader.

    SCRIPT is a file (- for stdin); scripts of pcsc-tools' scriptor fit. Commands are sent as they are: a script with a
    wrong PIN costs a try.
    """
    from kazashi.assembly.readers import reader_named
    from kazashi.reader_bridge.pcsc import connected
    from kazashi.reader_bridge.script import read_script, run_script

    steps = read_script(script, script.name)
    with connected(reader_named(world_if_any(context), name)) as card:
        for line in run_script(card, steps):
            click.echo(line)


def slots_in_words(slots: list[dict[str, Any]]) -> str:
    """The slots and what lies in them, a line each."""

    def state(slot: dict[str, Any]) -> str:
        if slot["card"] is None:
            return "empty"
        how = ", contactless" * bool(slot["contactless"]) + ", with faults" * slot["faults"]
        unseen = "nobody has dialled in yet" if slot["dialled"] else "pcscd has not seen it yet"
        return f"{slot['card']}{how}" + ("" if slot["seen"] else f" ({unseen})")

    return "\n".join(f"{slot['slot']:2}  {slot['reader']:24}  {state(slot)}" for slot in slots)


def _show(one: Followed, decoded: Decoded, *, as_json: bool, raw: bool, unmasked: bool) -> None:
    command, response = decoded.command, decoded.response
    if unmasked:
        command, response = one.exchange.command.hex().upper(), one.exchange.response.hex().upper()
    if as_json:
        told = {
            "slot": one.slot, "reader": one.reader, "at": one.exchange.at, "seconds": one.exchange.seconds,
            "event": one.exchange.event, "command": command, "response": response, "words": decoded.words,
        }  # fmt: skip
        click.echo(json.dumps(told, ensure_ascii=False))
        return
    click.echo(f"{_clock(one.exchange.at)} {one.reader}  {decoded.words}")
    if raw and command:
        click.echo(f"    > {command}\n    < {response}")


def _clock(at: float) -> str:
    return time.strftime("%H:%M:%S", time.localtime(at)) + f"{at % 1:.3f}"[1:]
