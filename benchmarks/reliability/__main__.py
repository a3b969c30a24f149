"""Repeat cases of a trial: `python -m benchmarks.reliability kills --seed 7 --only 123`.

It prints a line for each loss, and exits with 1 if there was one.
"""

from __future__ import annotations

from importlib import import_module

import click

from kazashi.tools.cli.program import run


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("trial", type=click.Choice(["apdus", "holders", "kills", "power_loss", "simulated_network"]))
@click.option("--seed", type=int, required=True, help="The seed that the result of the trial names.")
@click.option("--cases", type=click.IntRange(min=1), default=100, show_default=True, help="Repeat cases 0 to N - 1.")
@click.option("--only", type=click.IntRange(min=0), help="Repeat only this case.")
@click.option("--command", "names", multiple=True, help="Repeat only this command; the cases are then other ones.")
def repeat(trial: str, seed: int, cases: int, only: int | None, names: tuple[str, ...]) -> int:
    """Repeat cases of TRIAL with the same seed."""
    numbers = range(cases) if only is None else range(only, only + 1)
    lost = 0
    for loss in import_module(f"benchmarks.reliability.{trial}").losses(seed, numbers, names):
        click.echo(loss)
        lost += 1
    click.echo(f"{len(numbers)} cases, {lost} lost", err=True)
    return 1 if lost else 0


if __name__ == "__main__":
    run(repeat, "python -m benchmarks.reliability")
