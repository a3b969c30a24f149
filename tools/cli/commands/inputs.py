"""The files that commands read: a type of click's for arguments and options, in place of `click.File`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from kazashi.world.input_file import SMALL, STDIN, check_input, read_input, read_stdin

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem


@dataclass(frozen=True, slots=True)
class InputFile:
    """A file that a user has named, or stdin (`-`); at most `most` bytes of it are read."""

    name: str
    most: int

    def read(self) -> bytes:
        """Return the content. Raises FileUnusable and OSError."""
        return read_stdin(self.most) if self.name == STDIN else read_input(self.name, self.most)

    def text(self) -> str:
        """Return the text, with the replacement character for what is not UTF-8. Raises as `read`."""
        return self.read().decode("utf-8", errors="replace")

    def blocks(self) -> Iterator[bytes]:
        """Yield the content in blocks. Raises as `read`, for a file that is too large after the block that makes it
        so."""
        from kazashi.world.input_file import FileUnusable

        left = self.most
        with click.open_file(self.name, "rb") as file:
            while block := file.read(1 << 20):
                left -= len(block)
                if left < 0:
                    raise FileUnusable(f"{self.name} has more than {self.most >> 20} MB, the most that is read of it")
                yield block


class Input(click.ParamType):  # type: ignore[type-arg]  # not generic in older versions of click
    """The type of a file to read. A pipe or a device is refused at once, except for stdin."""

    name = "filename"

    def __init__(self, most: int = SMALL) -> None:
        """Make the type of files of up to `most` bytes."""
        self._most = most

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> InputFile:
        """Return the file. Raises FileUnusable, and click's BadParameter if there is none."""
        if isinstance(value, InputFile):
            return value
        if value != STDIN:
            try:
                check_input(value)
            except (OSError, ValueError) as error:
                self.fail(f"{value!r}: {getattr(error, 'strerror', 'not a path')}", param, ctx)
        return InputFile(value, self._most)

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """Let the shell complete names of files."""
        from click.shell_completion import CompletionItem

        return [CompletionItem(incomplete, type="file")]
