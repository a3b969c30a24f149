"""The progress of an installation, on one line of stderr: bars on a terminal, a sentence for each work elsewhere."""

from __future__ import annotations

import sys
import threading
import time
from typing import IO

WIDTH = 8


def is_terminal(stream: IO[str] | None) -> bool:
    """Whether a standard stream is a terminal. It is None if it was closed when the program started."""
    return stream is not None and stream.isatty()


class Progress:
    """The progress of works that may run beside each other. A progress that is not `visible` shows nothing until
    `reveal` is called."""

    def __init__(self, *, visible: bool = True) -> None:
        self._visible, self._terminal = visible, is_terminal(sys.stderr)
        self._shares: dict[str, float] = {}
        self._begun = time.monotonic()
        self._lock = threading.Lock()

    def show(self, work: str, share: float) -> None:
        """Show that a share (0 to 1) of a work is done. The first call announces the work."""
        with self._lock:
            announced = work in self._shares
            self._shares[work] = min(share, 1)
            if self._visible and (self._terminal or not announced):
                self._draw(work)

    def reveal(self) -> None:
        """Show what was not visible until now."""
        with self._lock:
            self._visible = True
            for work in self._shares:
                self._draw(work)

    def end(self) -> None:
        """Remove the bars, and say how long it took."""
        with self._lock:
            if self._visible and self._terminal and self._shares:
                seconds = time.monotonic() - self._begun
                print(
                    f"\r\033[Kkazashi: installing {', '.join(self._shares)}: {seconds:.0f} s",
                    file=sys.stderr,
                    flush=True,
                )

    def _draw(self, work: str) -> None:
        if self._terminal:
            bars = (f"{name} [{('#' * round(share * WIDTH)).ljust(WIDTH)}]" for name, share in self._shares.items())
            print(f"\r\033[Kkazashi: installing {', '.join(bars)}", end="", file=sys.stderr, flush=True)
        else:
            print(f"kazashi: installing {work}", file=sys.stderr, flush=True)
