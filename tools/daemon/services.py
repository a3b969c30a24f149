"""The services of a running instance: the authorities over HTTP, their directory, and jobs that become due."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterable, Sequence
from typing import Any

from kazashi.assembly.institutions import Institutions
from kazashi.assembly.served import ServedProcess, free_port, require_free
from kazashi.pki.directory import Directory
from kazashi.pki.publication import Publication
from kazashi.web.ports import HOST
from kazashi.world.home import World

_TICK_SECONDS = 1.0
_LOG = "services.log"


class Services:
    """The services that run beside the readers. They end with the process that started them, however it ends."""

    def __init__(
        self, world: World, *, port: int | None = None, workers: int = 1, directory: bool = False,
        avoid: Sequence[int] = (),
    ) -> None:  # fmt: skip
        """Start the services; they are ready when this returns. `avoid` has ports that are about to be used for
        something else. Raises ServicesUnavailable and DirectoryUnavailable."""
        self._institutions = Institutions(world)
        self._ended = threading.Event()
        self._process: ServedProcess | None = None
        self._directory: Directory | None = None
        self._ticker = threading.Thread(target=self._tick, name="clock", daemon=True)
        self.port = port or free_port(avoid)
        require_free(self.port)
        self._prepare()
        try:
            self._start(world, workers)
            if directory:
                self._directory = Directory(world, free_port([self.port, *avoid]))
                self._directory.start(self._publications())
            self._ticker.start()
        except BaseException:
            self.stop()
            raise

    @property
    def status(self) -> dict[str, Any]:
        """The addresses of the services: `http`, and `ldap`, which is None without a directory."""
        return {"http": f"http://{HOST}:{self.port}", "ldap": self._directory.uri if self._directory else None}

    def stop(self) -> None:
        """Stop the services."""
        self._ended.set()
        if self._ticker.ident is not None:
            self._ticker.join()
        if self._process is not None:
            self._process.stop()
        if self._directory is not None:
            self._directory.stop()

    def _prepare(self) -> None:
        """Create every store and every root certificate before other processes open them."""
        for authority in self._institutions.authorities.values():
            authority.issuing()
        self._institutions.settle()

    def _start(self, world: World, workers: int) -> None:
        world.run.mkdir(mode=0o700, exist_ok=True)
        arguments = ("kazashi.pki.serve", str(world.directory), "--workers", str(workers))
        self._process = ServedProcess("the authorities' services", arguments, self.port, world.run / _LOG)

    def _publications(self) -> Iterable[Publication]:
        return self._institutions.publications.values()

    def _tick(self) -> None:
        """Run the jobs that become due, and keep the directory in step with the published revocation lists. A job that
        fails (disk full, token removed) stays due and is tried again at the next tick."""
        from kazashi.assembly.error_codes import code_of

        loaded = None
        while not self._ended.wait(_TICK_SECONDS):
            try:
                self._institutions.settle()
                published = [publication.made() for publication in self._publications()]
                if self._directory is not None and published != loaded:
                    self._directory.load(self._publications())
                loaded = published
            except Exception as error:
                if code_of(error) is None:
                    raise
                print(f"kazashi: {error} [{code_of(error)}]", file=sys.stderr, flush=True)
