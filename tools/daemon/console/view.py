"""The state of a running instance and of its world as JSON, and the console's actions on both."""

from __future__ import annotations

import threading
from base64 import b64decode
from collections.abc import Callable
from dataclasses import MISSING, fields
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx

from kazashi.assembly.cards import checked, described, face, make_card
from kazashi.assembly.control_path import control_path
from kazashi.assembly.errors import UsageError
from kazashi.assembly.institutions import Institutions
from kazashi.assembly.own_people import registered
from kazashi.card.image import ImageExists, ImageMissing
from kazashi.card_management.order import card_names, image_path
from kazashi.pki.responder import GRID
from kazashi.reader_bridge import control
from kazashi.reader_bridge.control import NotRunning
from kazashi.reader_bridge.pcscd import listens
from kazashi.resident_registry.event import EVENTS, event_type
from kazashi.resident_registry.unusual_text import unusual_texts
from kazashi.web.sockets import is_free
from kazashi.world.clock import JST, WorldClock, duration_of, epoch, from_epoch
from kazashi.world.home import World

_PEOPLE = 200
_HEALTH_SECONDS = 1.0

Answer = dict[str, Any]


def vocabulary() -> list[Answer]:
    """Return the events that can be recorded for a person. Each has its code (`word`), its Japanese name, a
    description, and the fields that it takes."""
    return [
        {"word": event.code, "japanese": event.japanese, "about": event.about,
         "fields": [{"name": field.name, "words": field.metadata["words"], "needed": field.default is MISSING,
                     "date": str(field.type).startswith("date"), "choice": str(field.type) == "bool"}
                    for field in fields(event)]}
        for event in EVENTS
        if not event.recorded_by_registry
    ]  # fmt: skip


class View:
    """The console's view of one world. Requests are handled one at a time, because all pages share the institutions'
    open stores."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._institutions = Institutions(world)
        self._lock = threading.Lock()
        self._actions: dict[str, Callable[[Answer], Answer]] = {
            "insert": self._insert,
            "remove": lambda request: self._instance("remove", slot=str(request["slot"])),
            "reset": lambda request: self._instance("reset", slot=str(request["slot"])),
            "pin": lambda request: self._instance("pin", slot=str(request["slot"]), key=str(request["key"])),
            "new-card": self._new_card,
            "new-person": self._new_person,
            "renew": self._renew,
            "clock": self._clock,
            "event": self._event,
        }

    def state(self) -> Answer:
        """Return everything that the page shows except the trace."""
        with self._lock:
            status = self._status()
            return {
                "world": str(self._world.directory),
                "clock": self._time(),
                "instance": status,
                "cards": [{"card": name, **described(self._world, name)} for name in card_names(self._world)],
                "people": self._people(),
                "published": self._published(),
                "services": self._health(status),
            }

    def face(self, card: str) -> bytes:
        """Return a picture of a card, front and back (PNG). Raises as `kazashi.assembly.cards.face`."""
        with self._lock:
            return face(self._world, card)

    def do(self, request: Answer) -> Answer:
        """Carry out an action. Raises UsageError if the action is unknown or lacks a value, and whatever the action
        itself raises."""
        action = self._actions.get(str(request.get("do")))
        if action is None:
            raise UsageError(f"the console has no action {request.get('do')!r}; it has {', '.join(self._actions)}")
        with self._lock:
            try:
                return action(request)
            except KeyError as error:
                raise UsageError(f"the action {request['do']} needs a value for {error}") from error

    # The instance

    def _instance(self, verb: str, **arguments: object) -> Answer:
        return control.request(control_path(self._world), verb, **arguments)

    def _status(self) -> Answer | None:
        try:
            return self._instance("status")
        except NotRunning:
            return None

    def _insert(self, request: Answer) -> Answer:
        """Insert a card into a slot. The card is removed from its present slot, and the slot's present card, too."""
        status, card, slot = self._instance("status"), str(request["card"]), int(request["slot"])
        if not image_path(self._world, card).is_file():
            raise ImageMissing(f"there is no card {card!r}")  # before another one is removed
        for row in status["slots"]:
            if row["card"] is not None and (row["slot"] == slot or row["card"] == card):
                self._instance("remove", slot=str(row["slot"]))
        return self._instance("insert", card=card, slot=str(slot), contactless=bool(request.get("contactless")))

    def _new_card(self, request: Answer) -> Answer:
        resident = str(request["resident"])
        name = str(request.get("name") or resident)
        make_card(self._institutions, name, resident)
        return {"card": name}

    def _new_person(self, request: Answer) -> Answer:
        """Register a person of the user's own, and issue a card. `photo` is a picture file in base64."""
        document = {str(name): str(value) for name, value in dict(request["person"]).items() if value}
        alias, pin = document.get("alias", ""), str(request.get("pin") or "1234")
        try:
            photo = b64decode(str(request["photo"]), validate=True) if request.get("photo") else None
        except ValueError:
            raise UsageError("the photo is not in base64") from None
        # Before the registration, so that a wrong PIN or photo leaves nobody without a card.
        checked(alias, pin, "ABC123", photo)
        if image_path(self._world, alias).exists():
            raise ImageExists(f"there is already a card {alias!r}; choose another alias")
        resident = registered(self._institutions, document)
        make_card(self._institutions, alias, resident.code, pin=pin, photo=photo)
        return {"card": alias, "unusual": unusual_texts(document)}

    def _renew(self, request: Answer) -> Answer:
        kinds = self._institutions.cards.renew(str(request["card"]))
        return {"card": request["card"], "renewed": [kind.code for kind in kinds]}

    # The world

    def _time(self) -> Answer:
        clock = self._world.clock
        return {
            "now": clock.now().astimezone(JST).isoformat(),
            "stands": isinstance(clock, WorldClock) and clock.stands,
        }

    def _clock(self, request: Answer) -> Answer:
        clock = self._world.clock
        assert isinstance(clock, WorldClock)
        match request["clock"]:
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
                    raise UsageError(
                        f"the console advances the clock by up to 400 days, not by {span}; use: kazashi clock advance"
                    )
                return {"jobs": self._institutions.advance(clock.now() + ahead), **self._time()}
        return self._time()

    def _event(self, request: Answer) -> Answer:
        values = {
            str(name): value for name, value in dict(request.get("fields", {})).items() if value not in (None, "")
        }
        event = event_type(str(request["event"]))
        if event.recorded_by_registry:
            raise UsageError(f"only the registry itself records {event.code}; choose another event")
        try:
            outcome = self._institutions.happen(str(request["who"]), event.code, values)
        except ValueError as error:
            raise UsageError(str(error)) from error
        return {**outcome, "unusual": unusual_texts(values)}

    def _people(self) -> list[Answer]:
        as_of = self._ocsp_instant()
        return [
            {"who": resident.alias or resident.code, "name": str(resident.name), "address": resident.address,
             "status": resident.status.value, "certificates": self._institutions.certificates(resident.code, as_of)}
            for resident in self._institutions.registry.residents(limit=_PEOPLE)
        ]  # fmt: skip

    def _ocsp_instant(self) -> Any:
        """The instant for which OCSP gives the status at present: the start of the current interval of its grid."""
        grid = int(GRID.total_seconds())
        return from_epoch(epoch(self._world.clock.now()) // grid * grid)

    def _published(self) -> list[Answer]:
        rows = []
        for kind, publication in self._institutions.publications.items():
            generation = publication.authority.issuing().name
            due = publication.due()
            rows.append(
                {"kind": kind.code, "generation": generation, "lists": len(publication.names(generation)),
                 "written": publication.made(), "next": due.astimezone(JST).isoformat() if due else None,
                 "ocsp": (self._ocsp_instant() + GRID).astimezone(JST).isoformat()}
            )  # fmt: skip
        return rows

    def _health(self, status: Answer | None) -> list[Answer]:
        if status is None:
            return []
        socket, services = status["pcscd"]["socket"], status["services"] or {}
        rows = [{"service": "pcscd", "where": socket, "ok": listens(Path(socket))}]
        if address := services.get("http"):
            rows.append({"service": "authorities", "where": address, "ok": _responds(address)})
        if address := services.get("ldap"):
            port = int(address.rpartition(":")[2].strip("/"))
            rows.append({"service": "directory", "where": address, "ok": not is_free(port)})
        return rows


def _responds(url: str) -> bool:
    try:
        httpx.get(url, timeout=_HEALTH_SECONDS, trust_env=False)
    except httpx.HTTPError:
        return False
    return True
