"""The server processes of a network's parts: checked before they start, watched, and started again."""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path

from kazashi.assembly.errors import ServicesUnavailable
from kazashi.assembly.network import ports_of, served
from kazashi.assembly.served import ServedProcess, require_free
from kazashi.relying_party.verify.anchors import certificate_files
from kazashi.world.home import World

_LOOK_SECONDS = 0.5
_MOST_RESTARTS, _RESTART_SECONDS = 3, 60.0


class NetworkProcesses:
    """The processes of some parts of one world's network. What happens to them is passed to `say`, line by line."""

    def __init__(
        self, world: World, where: dict[str, str], services: str, agent: str, say: Callable[[str], None]
    ) -> None:  # fmt: skip
        """Take the addresses: those of the parts in `where`, of the authorities' services, and of the local agent."""
        self._world = world
        self._where = where
        self._services = services
        self._agent = agent
        self._say = say
        self._running: dict[str, ServedProcess] = {}
        self._restarts: dict[str, list[float]] = defaultdict(list)

    def start(self, parts: Sequence[str]) -> None:
        """Start parts, if all of them can be started. Raises ServicesUnavailable, and UsageError for an unknown part;
        `stop` stops those that were started."""
        for part in parts:
            for port in ports_of(part, self._where):
                require_free(port)
        if "portal" in parts and not certificate_files(self._world.publication / "ca"):
            raise ServicesUnavailable("the portal needs the authorities, which have published nothing; run: kazashi up")
        self._world.run.mkdir(mode=0o700, exist_ok=True)
        for part in parts:
            self._start(part)

    def watch(self, ended: threading.Event) -> None:
        """Start parts again that end, until `ended` is set.

        Raises ServicesUnavailable if a part cannot be started, or ends more than three times in a minute.
        """
        while not ended.wait(_LOOK_SECONDS):
            for part, process in list(self._running.items()):
                if (how := process.ended) is not None:
                    self._restart(part, how)

    def stop(self) -> None:
        """Stop the processes."""
        for process in reversed(self._running.values()):
            process.stop()

    def _start(self, part: str) -> None:
        self._running[part] = served(
            self._world, part, self._where, self._log(part), self._services, self._agent
        )  # fmt: skip
        self._say(f"{part} is at {self._where['pages' if part == 'portal' else part.removeprefix('interface:')]}")

    def _restart(self, part: str, how: str) -> None:
        log, now = self._log(part), time.monotonic()
        kept = log.replace(log.with_suffix(".ended.log"))  # the new process begins the log anew
        words = f"{part} has ended ({how}; its log is {kept})"
        recent = [then for then in self._restarts[part] if then > now - _RESTART_SECONDS]
        if len(recent) >= _MOST_RESTARTS:
            raise ServicesUnavailable(f"{words}, and was started again {len(recent)} times in a minute")
        self._restarts[part] = [*recent, now]
        self._say(f"{words}; it is started again")
        self._start(part)

    def _log(self, part: str) -> Path:
        return self._world.run / f"network-{part.replace(':', '-')}.log"
