"""What the console shows and does: the state of a bench and of its world as JSON, and the actions on both."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import MISSING, fields
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx

from kazashi.assembly.cards import card_names, described, make_card
from kazashi.assembly.control_path import control_path
from kazashi.assembly.errors import UsageError
from kazashi.assembly.institutions import Institutions
from kazashi.assembly.served import is_free
from kazashi.pki.responder import GRID
from kazashi.reader_bridge.control import NotRunning, request
from kazashi.reader_bridge.pcscd import listens
from kazashi.resident_registry.event import EVENTS, event_type
from kazashi.world.clock import JST, WorldClock, duration_of, epoch, from_epoch
from kazashi.world.home import World

_PEOPLE = 200
_HEALTH_SECONDS = 1.0

Answer = dict[str, Any]


def vocabulary() -> list[Answer]:
    """The events that can be recorded for a person: word, Japanese term, what it is, and the fields that it takes."""
    return [
        {"word": event.code, "japanese": event.japanese, "about": event.about,
         "fields": [{"name": field.name, "words": field.metadata["words"], "needed": field.default is MISSING,
                     "date": str(field.type).startswith("date"), "choice": str(field.type) == "bool"}
                    for field in fields(event)]}
        for event in EVENTS
        if not event.recorded_by_registry
    ]  # fmt: skip


class View:
    """One world as the console sees it. One thing at a time: the institutions' stores are opened once for all pages."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._institutions = Institutions(world)
        self._lock = threading.Lock()
        self._doing: dict[str, Callable[[Answer], Answer]] = {
            "insert": self._insert,
            "remove": lambda asked: self._bench("remove", slot=str(asked["slot"])),
            "reset": lambda asked: self._bench("reset", slot=str(asked["slot"])),
            "new-card": self._new_card,
            "renew": self._renew,
            "clock": self._clock,
            "event": self._event,
        }

    def state(self) -> Answer:
        """Everything that the page shows but the trace."""
        with self._lock:
            bench = self._status()
            return {
                "world": str(self._world.directory),
                "clock": self._time(),
                "bench": bench,
                "cards": [{"card": name, **described(self._world, name)} for name in card_names(self._world)],
                "people": self._people(),
                "published": self._published(),
                "services": self._health(bench),
            }

    def do(self, asked: Answer) -> Answer:
        """Carry an action out. Raises UsageError for what is no action, and whatever the action may raise."""
        action = self._doing.get(str(asked.get("do")))
        if action is None:
            raise UsageError(f"the console can do {', '.join(self._doing)}, not {asked.get('do')!r}")
        with self._lock:
            try:
                return action(asked)
            except KeyError as error:
                raise UsageError(f"{asked['do']} needs {error}") from error

    # The bench

    def _bench(self, verb: str, **arguments: object) -> Answer:
        return request(control_path(self._world), verb, **arguments)

    def _status(self) -> Answer | None:
        try:
            return self._bench("status")
        except NotRunning:
            return None

    def _insert(self, asked: Answer) -> Answer:
        """A card into a slot, wherever it is now; what lies in the slot is taken out."""
        bench, card, slot = self._bench("status"), str(asked["card"]), int(asked["slot"])
        for found in bench["slots"]:
            if found["card"] is not None and (found["slot"] == slot or found["card"] == card):
                self._bench("remove", slot=str(found["slot"]))
        return self._bench("insert", card=card, slot=str(slot), contactless=bool(asked.get("contactless")))

    def _new_card(self, asked: Answer) -> Answer:
        resident = str(asked["resident"])
        name = str(asked.get("name") or resident)
        make_card(self._institutions, name, resident)
        return {"card": name}

    def _renew(self, asked: Answer) -> Answer:
        kinds = self._institutions.cards.renew(str(asked["card"]))
        return {"card": asked["card"], "renewed": [kind.code for kind in kinds]}

    # The world

    def _time(self) -> Answer:
        clock = self._world.clock
        return {
            "now": clock.now().astimezone(JST).isoformat(),
            "stands": isinstance(clock, WorldClock) and clock.stands,
        }

    def _clock(self, asked: Answer) -> Answer:
        clock = self._world.clock
        assert isinstance(clock, WorldClock)
        match asked["clock"]:
            case "stand":
                clock.stand(clock.now())
            case "run":
                clock.run()
            case span:
                try:
                    ahead = duration_of(str(span))
                except (ValueError, OverflowError) as error:
                    raise UsageError(str(error)) from error
                if not timedelta(0) < ahead <= timedelta(days=400):
                    raise UsageError("the console takes the clock forward by up to 400 days; the command goes further")
                return {"jobs": self._institutions.advance(clock.now() + ahead), **self._time()}
        return self._time()

    def _event(self, asked: Answer) -> Answer:
        given = {str(name): value for name, value in dict(asked.get("fields", {})).items() if value not in (None, "")}
        event = event_type(str(asked["event"]))
        if event.recorded_by_registry:
            raise UsageError(f"the registry tells {event.code} of itself")
        try:
            return self._institutions.happen(str(asked["who"]), event.code, given)
        except ValueError as error:
            raise UsageError(str(error)) from error

    def _people(self) -> list[Answer]:
        mark = self._mark()
        return [
            {"who": found.alias or found.code, "name": str(found.name), "address": found.address,
             "status": found.status.value, "certificates": self._institutions.certificates(found.code, mark)}
            for found in self._institutions.registry.residents(limit=_PEOPLE)
        ]  # fmt: skip

    def _mark(self) -> Any:
        """The mark of the grid whose state OCSP tells at this moment."""
        grid = int(GRID.total_seconds())
        return from_epoch(epoch(self._world.clock.now()) // grid * grid)

    def _published(self) -> list[Answer]:
        found = []
        for kind, publication in self._institutions.publications.items():
            generation = publication.authority.issuing().name
            due = publication.due()
            found.append(
                {"kind": kind.code, "generation": generation, "lists": len(publication.names(generation)),
                 "written": publication.made(), "next": due.astimezone(JST).isoformat() if due else None,
                 "ocsp": (self._mark() + GRID).astimezone(JST).isoformat()}
            )  # fmt: skip
        return found

    def _health(self, bench: Answer | None) -> list[Answer]:
        if bench is None:
            return []
        socket, services = bench["pcscd"]["socket"], bench["services"] or {}
        found = [{"service": "pcscd", "where": socket, "ok": listens(Path(socket))}]
        if address := services.get("http"):
            found.append({"service": "authorities", "where": address, "ok": _answers(address)})
        if address := services.get("ldap"):
            port = int(address.rpartition(":")[2].strip("/"))
            found.append({"service": "directory", "where": address, "ok": not is_free(port)})
        return found


def _answers(url: str) -> bool:
    try:
        httpx.get(url, timeout=_HEALTH_SECONDS, trust_env=False)
    except httpx.HTTPError:
        return False
    return True
