"""Refused input on kept connections: malformed, too long, unauthorised, or foreign. It costs no memory."""

from __future__ import annotations

import http.client
import json
import ssl
import threading
import time
from collections import Counter
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import NamedTuple
from urllib.parse import urlsplit

from benchmarks.reliability.durable import in_memory
from benchmarks.reliability.fork import in_new_process
from benchmarks.reliability.premises import EVERYTHING, Premises, premises
from benchmarks.reliability.processes import resident_megabytes
from benchmarks.reliability.trial import Show, Trial
from kazashi.jpki.serial_number import serial_text
from kazashi.web.mutual_tls import client_context

GOAL = 1_000
"""Requests a second, in total."""

_RATE = 1_050
"""The rate at which they are due, so that a pause does not miss the goal."""

SHARE = 0.05
"""The share of a full run's time."""

GROWTH = 0.03
"""The most by which the memory of a process may grow once it is warm."""

_WARM = 0.2
"""The share of the time in which the servers are warmed up, with the same requests."""

_SECONDS = 10.0
_FOREIGN = "https://elsewhere.example"
_JSON = "application/json"
_FORM = "application/x-www-form-urlencoded"


class PreparedRequest(NamedTuple):
    """A request to send, and what is wrong with it."""

    what: str
    method: str
    path: str
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = ()


def _post(what: str, path: str, body: bytes, *headers: tuple[str, str], kind: str = _JSON) -> PreparedRequest:
    return PreparedRequest(what, "POST", path, body, (("Content-Type", kind), *headers))


def bad_requests(name: str, url: str) -> Sequence[PreparedRequest]:
    """Return what a server is sent, by its name among the servers of `premises`."""
    own = url.partition("?")[0].rstrip("/")
    noise = b'{"a": [1, 2'
    match name:
        case "console":
            return (
                _post("unauthorised", "/do", b"{}", ("Origin", own)),
                PreparedRequest("unauthorised", "GET", "/state"),
                _post("foreign origin", "/do", b"{}", ("Origin", _FOREIGN)),
                PreparedRequest("unauthorised", "GET", "/?key=0000"),
                _post("too long", "/do", bytes(70_000), ("Origin", own)),
            )
        case "authorities":
            return (
                PreparedRequest("unauthorised", "GET", "/services/status/authentication/1"),
                _post("malformed", "/ocsp/nobody", b"\x30\x03\x0a"),
                PreparedRequest("malformed", "GET", "/crl/nothing"),
                _post("unauthorised", "/services/consents", noise),
                _post("too long", "/services/consents", bytes(70_000)),
            )
        case "agent":
            return (
                PreparedRequest("malformed", "GET", "/ask?origin=nowhere"),
                PreparedRequest("malformed", "GET", "/ask"),
                _post("malformed", "/ask", b"a=b", kind=_FORM),
                _post("foreign origin", "/ask", b"a=b", ("Origin", _FOREIGN), kind=_FORM),
                PreparedRequest("too long", "GET", "/ask?text=" + "x" * 9_000),
            )
        case "site" | "points portal" | "network portal":
            form = {"points portal": "/apply", "network portal": "/own"}.get(name, "/logout")
            return (
                _post("foreign origin", "/begin/login", b"", ("Origin", _FOREIGN), kind=_FORM),
                _post("malformed", "/answer", b"a=b", kind=_FORM),
                PreparedRequest("unauthorised", "GET", "/end/0123456789abcdef"),
                _post("foreign origin", form, b"a=b", ("Origin", _FOREIGN), kind=_FORM),
                _post("malformed", "/begin/nothing", b"", ("Origin", own), kind=_FORM),
                _post("too long", "/answer", b"a=" + b"b" * 200_000, kind=_FORM),
            )
        case "provider":
            return (
                PreparedRequest("malformed", "GET", "/authorize?client_id=nobody"),
                _post("unauthorised", "/token", b"grant_type=authorization_code&code=0", kind=_FORM),
                PreparedRequest("unauthorised", "GET", "/userinfo", headers=(("Authorization", "Bearer 0"),)),
                _post("malformed", "/begin", b"a=b", kind=_FORM),
                _post("malformed", "/answer", b"a=b", kind=_FORM),
                _post("too long", "/token", b"a=" + b"b" * 200_000, kind=_FORM),
            )
        case "platform":
            key = ("Authorization", "Bearer 0")
            return (
                _post("unauthorised", "/v1/challenges", b"{}"),
                _post("unauthorised", "/v1/challenges", b"{}", key),
                _post("malformed", "/v1/authentications", noise, key),
                PreparedRequest("unauthorised", "GET", "/v1/users/u"),
                _post("unauthorised", "/v1/certificates", b"{}", key),
            )
        case "centre":
            return (
                _post("malformed", "/v1/records", noise),
                _post("malformed", "/v1/records", b'{"records": 7}'),
                _post("malformed", "/v1/records", b'{"records": []', ("Origin", _FOREIGN)),
                PreparedRequest("malformed", "GET", "/v1/nothing"),
                _post("too long", "/v1/records", json.dumps({"records": [0] * 2_001}).encode()),
            )
        case "desk":
            return (_post("malformed", "/v1/code", noise), _post("malformed", "/v1/code", b'{"serial": "zz"}'))
    message = {"sender": "stranger", "receiver": name, "sequence": 1, "kind": "request", "body": {}}
    return (
        _post("malformed", "/v1/messages", noise),
        _post("unauthorised", "/v1/messages", json.dumps({"messages": [message]}).encode()),
        _post("unauthorised", "/v1/ask" if name != "core" else "/v1/portal-code", b"{}"),
        PreparedRequest("malformed", "GET", "/v1/processes/nothing"),
    )


def good_request(place: Premises, name: str) -> tuple[PreparedRequest, int]:
    """Return a request that a server must accept, and the status of its response."""
    url = place.urls[name]
    match name:
        case "console":
            return PreparedRequest("good", "GET", f"/?{urlsplit(url).query}"), 303
        case "authorities":
            published = next((place.world.publication / "ca").rglob("*.cer")).relative_to(place.world.publication)
            return PreparedRequest("good", "GET", f"/{published}"), 200
        case "centre":
            return PreparedRequest("good", "GET", "/v1/status"), 200
        case "platform":
            return PreparedRequest("good", "GET", "/openapi.json"), 200
        case "desk":
            return _post("good", "/v1/code", json.dumps({"serial": serial_text(place.serial)}).encode()), 200
        case "core" | "municipal" | "pension" | "portal messages":
            return _post("good", "/v1/messages", b'{"messages": []}'), 200
    return PreparedRequest("good", "GET", "/"), 200


class KeptConnection:
    """A connection that is kept, and opened again only if the server closes it."""

    def __init__(self, url: str, context: ssl.SSLContext | None) -> None:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
        self._connection = (
            http.client.HTTPConnection(host, port, timeout=_SECONDS) if context is None
            else http.client.HTTPSConnection(host, port, timeout=_SECONDS, context=context)
        )  # fmt: skip
        self.opened = 0

    def send(self, wanted: PreparedRequest) -> int:
        """Send a request, read the whole response, and return its status. Raises OSError and HTTPException."""
        for last in (False, True):
            if self._connection.sock is None:
                self.opened += 1
            try:
                self._connection.request(wanted.method, wanted.path, wanted.body or None, dict(wanted.headers))
                response = self._connection.getresponse()
                response.read()
            except (ConnectionError, http.client.RemoteDisconnected):  # it was closed after the last response
                self._connection.close()
                if last:
                    raise
            else:
                return response.status
        raise AssertionError

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()


@dataclass
class RefusedLoad:
    """What became of the requests: how many of each kind of fault were refused, and what was not."""

    refused: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    opened: int = 0
    seconds: float = 0.0
    before: dict[str, float] = field(default_factory=dict)
    after: dict[str, float] = field(default_factory=dict)
    silent: list[str] = field(default_factory=list)

    @property
    def sent(self) -> int:
        """The number of requests."""
        return self.refused.total() + len(self.wrong)


_PROCESS = {"portal messages": "network portal"}
"""The process of a server, if it has another name."""


def _context(place: Premises, name: str) -> ssl.SSLContext | None:
    credentials = place.credentials.get(name)
    return None if credentials is None else client_context(credentials)


def load(place: Premises, names: Sequence[str], seconds: float, seed: int, rate: int = _RATE) -> RefusedLoad:
    """Send refused input to servers, on one connection each, at `rate` requests a second in total."""
    result = RefusedLoad()
    lock = threading.Lock()
    begun = time.monotonic()
    warm = begun + seconds * _WARM
    end = begun + seconds

    def send(name: str, number: int) -> None:
        rng = Random(seed + number)
        connection = KeptConnection(place.urls[name], _context(place, name))
        requests = bad_requests(name, place.urls[name])
        pause, due = len(names) / rate, time.monotonic()
        while (now := time.monotonic()) < end:
            if due > now:
                time.sleep(due - now)
            due += pause
            wanted = rng.choice(requests)
            try:
                status = connection.send(wanted)
            except (OSError, http.client.HTTPException) as error:
                status, words = 0, f"{type(error).__name__}: {error}"
            else:
                words = str(status)
            with lock:
                if 400 <= status < 500:
                    result.refused[wanted.what] += 1
                else:
                    result.wrong.append(f"{name}: {wanted.what} {wanted.method} {wanted.path[:40]}: {words}")
        result.opened += connection.opened
        connection.close()

    threads = [threading.Thread(target=send, args=(name, number)) for number, name in enumerate(names)]
    for thread in threads:
        thread.start()
    time.sleep(max(0.0, warm - time.monotonic()))
    processes = {_PROCESS.get(name, name) for name in names}
    result.before = {name: resident_megabytes(place.processes[name]) for name in processes}
    for thread in threads:
        thread.join()
    result.seconds = time.monotonic() - begun
    result.after = {name: resident_megabytes(place.processes[name]) for name in processes}
    result.silent = list(filter(None, (_good(place, name) for name in names)))
    return result


def _good(place: Premises, name: str) -> str:
    """Send a server something that it accepts. Returns an empty string, or what is wrong with its response."""
    request, expected = good_request(place, name)
    connection = KeptConnection(place.urls[name], _context(place, name))
    try:
        status = connection.send(request)
    finally:
        connection.close()
    return "" if status == expected else f"{name} {status}"


def _loads(seed: int, seconds: float) -> Generator[RefusedLoad, None, None]:
    with in_memory() as directory, premises(directory, EVERYTHING) as place:
        yield load(place, sorted(place.urls), seconds, seed)


def trials(minutes: float, seed: int, show: Show) -> Iterator[Trial]:
    """Send refused input to every server for some minutes."""
    show("refused input to every server")
    (result,) = in_new_process(_loads, seed, minutes * 60)
    yield summary(result, seed)


def summary(result: RefusedLoad, seed: int) -> Trial:
    """The result of a load of refused input."""
    growth = {name: result.after[name] / result.before[name] - 1 for name in result.before}
    most = max(growth, key=growth.__getitem__)
    kinds = ", ".join(f"{count:,} {what}" for what, count in sorted(result.refused.items()))
    rate = result.sent / result.seconds
    detail = (
        f"{len(result.before)} processes, {rate:,.0f}/s, {result.opened:,} connections, seed {seed}: {kinds};"
        f" memory grew most at the {most}: {result.before[most]:.1f} -> {result.after[most]:.1f} MB"
    )
    if result.wrong:
        detail += f"; {result.wrong[0]}"
    if result.silent:
        detail += f"; a good request got: {', '.join(result.silent)}"
    met = not result.wrong and not result.silent and growth[most] <= GROWTH and rate >= GOAL
    return Trial("refused input on kept connections", "requests", result.sent, result.refused.total(),
                 len(result.wrong), detail, f">= {GOAL:,}/s, all refused, memory <= +{GROWTH:.0%}", met)  # fmt: skip
