"""The program of a trial, which repeats cases: `python -m benchmarks.reliability.kills --seed 7 --only 123`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import click

Losses = Callable[[int, Sequence[int], Sequence[str]], Iterator[str]]
"""Repeats the cases with these numbers of a seed, of the commands with these names (or all). Yields a line for each
loss."""


def repeating(losses: Losses, history: Losses | None = None) -> click.Command:
    """Return a command that repeats cases, prints a line for each loss, and exits with 1 if there was one.

    If a trial has a `history`, the command repeats one case unless it is told otherwise, and prints what happens in it.
    """

    @click.command(context_settings={"help_option_names": ["-h", "--help"]})
    @click.option("--seed", type=int, required=True, help="The seed that the result of the trial names.")
    @click.option(
        "--cases",
        type=click.IntRange(min=1),
        default=100 if history is None else 1,
        show_default=True,
        help="Repeat cases 0 to N - 1.",
    )
    @click.option("--only", type=click.IntRange(min=0), help="Repeat only this case.")
    @click.option("--command", "names", multiple=True, help="Repeat only this command; the cases are then other ones.")
    def repeat(seed: int, cases: int, only: int | None, names: tuple[str, ...]) -> int:
        """Repeat cases of this trial with the same seed."""
        numbers = range(cases) if only is None else range(only, only + 1)
        if history is not None and len(numbers) == 1:
            for line in history(seed, numbers, names):
                click.echo(line)
        lost = 0
        for loss in losses(seed, numbers, names):
            click.echo(loss)
            lost += 1
        click.echo(f"{len(numbers)} cases, {lost} lost", err=True)
        return 1 if lost else 0

    return repeat
