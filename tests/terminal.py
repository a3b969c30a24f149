"""A terminal that the tests type into."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.polling import until


class Screen:
    """A program on a terminal of 110 columns and 34 lines, in its own tmux server."""

    def __init__(self, socket: Path, *command: str) -> None:
        self._tmux = ("tmux", "-S", str(socket), "-f", "/dev/null")
        environment = (
            "env",
            "-u",
            "COLUMNS",
            "-u",
            "LINES",
            "TERM=xterm-256color",
            "LC_ALL=C.UTF-8",
            "TEXTUAL_ANIMATIONS=none",
        )
        self._run("new-session", "-d", "-x", "110", "-y", "34", *environment, *command)
        self._run("set-option", "-g", "remain-on-exit", "on")

    def keys(self, *keys: str) -> None:
        """Press keys, given by tmux's names."""
        self._run("send-keys", *keys)

    def type(self, text: str) -> None:
        """Type a line and press Enter."""
        self.write(text)
        self.keys("Enter")

    def write(self, text: str) -> None:
        """Type text."""
        self._run("send-keys", "-l", "--", text)

    def shown(self) -> str:
        """Return the text on the screen."""
        return self._run("capture-pane", "-p")

    def until(self, *texts: str) -> str:
        """Wait until the screen shows all of these texts, and return what it shows."""
        shown = ""

        def shows() -> bool:
            nonlocal shown
            shown = self.shown()
            return all(text in shown for text in texts)

        until(shows, f"the screen shows {texts}")
        return shown

    def close(self) -> None:
        """Kill the tmux server and the program in it."""
        subprocess.run([*self._tmux, "kill-server"], check=False, capture_output=True)

    def _run(self, *arguments: str) -> str:
        return subprocess.run([*self._tmux, *arguments], check=True, capture_output=True, text=True).stdout
