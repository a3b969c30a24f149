"""`kazashi reader`: list readers, and trace, check, replay and relay what goes over them."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from kazashi.tools.cli.commands.completions import profiles, slots
from kazashi.tools.cli.commands.inputs import Input, InputFile
from kazashi.tools.cli.commands.reader_check import reader_check, reader_compare
from kazashi.tools.cli.commands.reader_install import reader_install, reader_uninstall
from kazashi.tools.cli.commands.shared import Reply, ask, json_option, replies, world_if_any, world_of

if TYPE_CHECKING:
    from kazashi.assembly.traces import Followed
    from kazashi.reader_bridge.decoder import Decoded

_SLOT = click.option("--slot", default="", shell_complete=slots,
                     help="Number, reader name or card (default: the first empty slot).")  # fmt: skip

_RULES = click.option("--rules", is_flag=True, help="Also show the rule behind each status word, and its source.")


@click.group()
def reader() -> None:
    """Trace, check, compare, replay and install readers."""


reader.add_command(reader_check)
reader.add_command(reader_compare)
reader.add_command(reader_install)
reader.add_command(reader_uninstall)


@reader.command("list")
@replies
@click.pass_context
def reader_list(context: click.Context) -> Reply:
    """Show the slots of the running instance."""
    slots = ask(context, "status")["slots"]
    return Reply(slots, slots_in_words(slots))


@reader.command("profiles")
@click.argument("name", default="", shell_complete=profiles)
@replies
def reader_profiles(name: str) -> Reply:
    """Show the reader profiles, or the facts and sources of one.

    `kazashi up --reader-profile NAME` starts such a reader. NAME can also be a file that ends in .toml.
    """
    from kazashi.reader_bridge.profile import all_profiles, reader_profile

    if not name:
        rows = [{"profile": profile.name, "title": profile.title} for profile in all_profiles()]
        return Reply(rows, "\n".join(f"{row['profile']:20} {row['title']}" for row in rows))
    profile = reader_profile(name)
    facts = [{"fact": fact.words, "sources": list(fact.sources)} for fact in profile.facts]
    lines = [profile.title, f"in PC/SC: {profile.reader_name}"]
    lines += [f"{fact.words}\n    {', '.join(fact.sources)}" for fact in profile.facts]
    document = {"profile": profile.name, "title": profile.title, "reader": profile.reader_name, "facts": facts}
    return Reply(document, "\n".join(lines))


@reader.command("pin")
@click.argument("slot", shell_complete=slots)
@click.argument("digits", default="")
@click.option("--cancel", is_flag=True, help="Press the cancel key instead.")
@replies
@click.pass_context
def reader_pin(context: click.Context, slot: str, digits: str, cancel: bool) -> Reply:
    """Type a PIN at the PIN pad of a reader.

    The pad must wait for a PIN. The digits are followed by the confirmation key. The console has the keys, too.
    """
    from kazashi.assembly.errors import UsageError
    from kazashi.reader_bridge.control import ControlRejected

    world_of(context)
    if bool(digits) == cancel:
        raise UsageError("type the digits, or --cancel")
    if cancel:
        reply = ask(context, "pin", slot=slot, key="cancel")
        return Reply(reply, f"the entry at {reply['reader']} is cancelled")
    reply = ask(context, "pin", slot=slot, key=digits)
    try:
        ask(context, "pin", slot=slot, key="confirm")
    except ControlRejected as error:
        if error.code != "no-pin-wanted":  # the last digit may have ended the entry
            raise
    return Reply(reply, f"{len(digits)} digits are typed at {reply['reader']}")


@reader.command("env")
@click.pass_context
def reader_env(context: click.Context) -> None:
    """Print the environment of a private pcscd.

    Clients need it to find that pcscd. In a shell: eval "$(kazashi reader env)".
    """
    import shlex

    for name, value in ask(context, "status")["pcscd"]["environment"].items():
        click.echo(f"export {name}={shlex.quote(value)}")


@reader.command("trace")
@click.option("--slot", default="", shell_complete=slots,
              help="Number, reader name or card (default: all slots).")  # fmt: skip
@click.option("--follow", "-f", is_flag=True, help="Show new exchanges until Ctrl-C.")
@click.option("--last", type=click.IntRange(0), default=None, metavar="N",
              help="How many past exchanges to show (default: 100, with --follow none).")  # fmt: skip
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE",
              help="Also write a trace file, of one slot.")  # fmt: skip
@click.option("--unmasked", is_flag=True, help="Do not mask the bytes of PINs and personal data.")
@_RULES
@click.option("--raw", is_flag=True, help="Also show the bytes.")
@json_option
@click.pass_context
def reader_trace(
    context: click.Context, slot: str, follow: bool, last: int | None, out: Path | None, unmasked: bool, rules: bool,
    raw: bool, as_json: bool,
) -> None:  # fmt: skip
    """Show the APDU trace of the slots.

    Shows decoded exchanges: past ones or, with --follow, new ones. The decoded text never contains a PIN. Bytes of PINs
    and of the holder's data are masked, also in files, unless --unmasked is given.
    """
    from kazashi.assembly.errors import UsageError
    from kazashi.assembly.traces import Recorder
    from kazashi.assembly.traces import follow as followed

    backlog = last if last is not None else (0 if follow else 100)
    slots = ask(context, "status")["slots"]
    if out is not None and not slot and len(slots) != 1:
        raise UsageError("a trace file has the exchanges of one slot; name it with --slot")
    with Recorder(out, unmasked=unmasked) as recorder:
        for batch in followed(world_of(context), slot, backlog, live=follow):
            for exchange in batch:
                if exchange.missed:
                    click.echo(f"kazashi: {exchange.missed} exchanges came too fast and are not shown", err=True)
                _show(exchange, recorder.decode(exchange), as_json=as_json, rules=rules, raw=raw, unmasked=unmasked)
            sys.stdout.flush()


@reader.command("show")
@click.argument("trace", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--pcap", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE",
              help="Write a packet capture for Wireshark instead (pcapng).")  # fmt: skip
@click.option("--gsmtap", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE",
              help="Write a packet capture for Wireshark's SIM card dissector instead.")  # fmt: skip
@_RULES
@click.option("--raw", is_flag=True, help="Also show the bytes.")
@replies
def reader_show(trace: Path, pcap: Path | None, gsmtap: Path | None, rules: bool, raw: bool) -> Reply:
    """Show or convert a trace file."""
    from dataclasses import asdict

    from kazashi.assembly.errors import UsageError
    from kazashi.reader_bridge.capture import write_capture, write_gsmtap
    from kazashi.reader_bridge.trace import read_trace

    recorded = read_trace(trace)
    if recorded.cut_off:
        click.echo(f"kazashi: the last line of {trace} is incomplete and is left out", err=True)
    if pcap is not None and gsmtap is not None:
        raise UsageError("a trace is written to one capture: give --pcap or --gsmtap")
    for name, path, write in (("pcap", pcap, write_capture), ("gsmtap", gsmtap, write_gsmtap)):
        if path is not None:
            with path.open("wb") as out:
                packets = write(recorded, out)
            return Reply({"packets": packets, name: str(path)}, f"{packets} packets in {path}")
    words = []
    for line in recorded.lines:
        words.append(f"{_clock(line.at)}  {line.words or f'-- {line.event}'}")
        if rules and line.rule:
            words.append(f"    = {line.rule} ({line.source})")
        if raw and line.command:
            words.append(f"    > {line.command}\n    < {line.response}")
    return Reply({**asdict(recorded), "lines": [line._asdict() for line in recorded.lines]}, "\n".join(words))


@reader.command("replay")
@click.argument("trace", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--lenient", is_flag=True, help="Respond to recorded commands in any order, and to others with 6D00.")
@_SLOT
@replies
@click.pass_context
def reader_replay(context: click.Context, trace: Path, lenient: bool, slot: str) -> Reply:
    """Insert a trace as a card.

    It responds as the recorded card did. TRACE is inserted into a slot of the running instance.
    """
    reply = ask(context, "replay", trace=str(trace.resolve()), strict=not lenient, slot=slot)
    return Reply(reply, f"{reply['card']} is in {reply['reader']}")


@reader.command("relay")
@click.argument("source", metavar="READER")
@_SLOT
@replies
@click.pass_context
def reader_relay(context: click.Context, source: str, slot: str) -> Reply:
    """Relay a real reader's card to a slot.

    `kazashi reader trace --out` records it. While the card of READER is relayed, everyone who uses the slot uses that
    card. The card is real: a wrong PIN lowers its retry counter.
    """
    reply = ask(context, "relay", reader=source, slot=slot)
    words = f"the card of {source} is relayed to {reply['reader']}"
    return Reply(reply, words if reply["seen"] else f"{words} as soon as there is one")


@reader.command("unplug")
@click.argument("slot", shell_complete=slots)
@replies
@click.pass_context
def reader_unplug(context: click.Context, slot: str) -> Reply:
    """Unplug a reader.

    SLOT is a number, a reader's name, or the card in it. The card loses its power and stays in the reader. For PC/SC
    clients, the reader becomes unavailable and stays in their lists (docs/faults.md says why).
    """
    reply = ask(context, "unplug", slot=slot)
    return Reply(reply, f"{reply['reader']} is unplugged")


@reader.command("plug")
@click.argument("slot", shell_complete=slots)
@replies
@click.pass_context
def reader_plug(context: click.Context, slot: str) -> Reply:
    """Plug a reader in again.

    SLOT is a number, a reader's name, or the card in it.
    """
    reply = ask(context, "plug", slot=slot)
    return Reply(reply, f"{reply['reader']} is plugged in")


@reader.command("script")
@click.argument("script", type=Input())
@click.option("--reader", "name", metavar="NAME", help="The reader's name or its beginning (default: the only one).")
@click.pass_context
def reader_script(context: click.Context, script: InputFile, name: str | None) -> None:
    """Send a script of commands to a card.

    The card may be in any reader. SCRIPT is a file (- for stdin) in the format of scriptor (pcsc-tools). Commands are
    sent unchanged: a wrong PIN in the script lowers the retry counter.
    """
    from kazashi.assembly.readers import reader_named
    from kazashi.reader_bridge.pcsc import connected
    from kazashi.reader_bridge.script import read_script, run_script

    steps = read_script(script.text().splitlines(), script.name)
    with connected(reader_named(world_if_any(context), name)) as card:
        for line in run_script(card, steps):
            click.echo(line)


def slots_in_words(slots: list[dict[str, Any]]) -> str:
    """Describe the slots and their cards as text, one line for each slot."""

    def state(slot: dict[str, Any]) -> str:
        if slot["unplugged"]:
            return "unplugged" + f", with {slot['card']} in it" * bool(slot["card"])
        if slot["card"] is None:
            return "empty"
        how = ", contactless" * bool(slot["contactless"]) + ", with faults" * slot["faults"]
        unseen = "nobody has connected yet" if slot["dialled"] else "pcscd has not detected it yet"
        return f"{slot['card']}{how}" + ("" if slot["seen"] else f" ({unseen})")

    return "\n".join(f"{slot['slot']:2}  {slot['reader']:24}  {state(slot)}" for slot in slots)


def _show(followed: Followed, decoded: Decoded, *, as_json: bool, rules: bool, raw: bool, unmasked: bool) -> None:
    exchange, command, response = followed.exchange, decoded.command, decoded.response
    if unmasked:
        command, response = exchange.command.hex().upper(), exchange.response.hex().upper()
    if as_json:
        document = {
            "slot": followed.slot, "reader": followed.reader, "at": exchange.at, "seconds": exchange.seconds,
            "event": exchange.event, "command": command, "response": response, "words": decoded.words,
            "rule": decoded.rule, "source": decoded.source,
        }  # fmt: skip
        click.echo(json.dumps(document, ensure_ascii=False))
        return
    click.echo(f"{_clock(exchange.at)} {followed.reader}  {decoded.words}")
    if rules and decoded.rule:
        click.echo(f"    = {decoded.rule} ({decoded.source})")
    if raw and command:
        click.echo(f"    > {command}\n    < {response}")


def _clock(at: float) -> str:
    return time.strftime("%H:%M:%S", time.localtime(at)) + f"{at % 1:.3f}"[1:]
