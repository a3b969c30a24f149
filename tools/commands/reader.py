"""`kazashi reader`: which readers there are, and what goes over them."""

from __future__ import annotations

import json
import sys
import time
from typing import Any

import click

from tools.commands.shared import answer, ask, json_option, world_of


@click.group()
def reader() -> None:
    """Readers: which there are, and what goes over them."""


@reader.command("list")
@json_option
@click.pass_context
def reader_list(context: click.Context, as_json: bool) -> None:
    """The slots of the running bench."""
    told = ask(context, "status")
    answer(told["slots"], as_json, slots_in_words(told["slots"]))


@reader.command("env")
@click.pass_context
def reader_env(context: click.Context) -> None:
    """What a shell must export for clients to find a private pcscd: eval "$(kazashi reader env)"."""
    import shlex

    for name, value in ask(context, "status")["pcscd"]["environment"].items():
        click.echo(f"export {name}={shlex.quote(value)}")


@reader.command("trace")
@click.option("--slot", default="", help="Number, reader name or card (default: all slots).")
@click.option("--raw", is_flag=True, help="Also the bytes, PINs included.")
@json_option
@click.pass_context
def reader_trace(context: click.Context, slot: str, raw: bool, as_json: bool) -> None:
    """Live: every command and its answer, in words. Ends with Ctrl-C."""
    from reader_bridge.control import stream
    from tools.bench_process import control_path

    for told in stream(control_path(world_of(context)), "trace", slot=slot):
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


def slots_in_words(slots: list[dict[str, Any]]) -> str:
    """The slots and what lies in them, a line each."""

    def state(slot: dict[str, Any]) -> str:
        if slot["card"] is None:
            return "empty"
        how = ", contactless" if slot["contactless"] else ""
        return f"{slot['card']}{how}" + ("" if slot["seen"] else " (pcscd has not seen it yet)")

    return "\n".join(f"{slot['slot']:2}  {slot['reader']:24}  {state(slot)}" for slot in slots)
