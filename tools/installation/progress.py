"""One line of progress on stderr: a bar on a terminal, a sentence elsewhere."""

from __future__ import annotations

import sys
import time
from types import TracebackType

WIDTH = 30


class Progress:
    """The progress of one piece of work, from 0 to `total`."""

    def __init__(self, words: str, total: float) -> None:
        self._words, self._total = words, total
        self._begun = time.monotonic()
        self._terminal = sys.stderr.isatty()

    def __enter__(self) -> Progress:
        if self._terminal:
            self.show(0)
        else:
            print(f"kazashi: {self._words}", file=sys.stderr, flush=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._terminal:
            seconds = time.monotonic() - self._begun
            end = f"kazashi: {self._words}: {seconds:.0f} s" if error is None else ""
            print(f"\r\033[K{end}", end="\n" if end else "", file=sys.stderr, flush=True)

    def show(self, done: float) -> None:
        """Show how much is done. Does nothing if stderr is not a terminal."""
        if self._terminal:
            share = min(done / self._total, 1)
            bar = ("#" * round(share * WIDTH)).ljust(WIDTH)
            print(f"\r\033[Kkazashi: {self._words} [{bar}] {share:4.0%}", end="", file=sys.stderr, flush=True)
