"""A load of many tills at once: records are signed in advance and sent in batches, with one connection per till."""

from __future__ import annotations

import http.client
import json
import ssl
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass

from kazashi.jpki.serial_number import serial_text
from kazashi.refund_points.centre import Centre
from kazashi.refund_points.enrolment import Enrolment
from kazashi.refund_points.goods import points_of
from kazashi.refund_points.record import PointRecord, PostingType, TillKey, public_pem
from kazashi.world.clock import Clock, epoch

_SECONDS = 120.0


@dataclass(frozen=True, slots=True)
class LoadedTill:
    """A till that consists only of its enrolment and its key, and makes request bodies with batches of records."""

    enrolment: Enrolment
    key: TillKey

    def bodies(self, first: int, batches: int, batch: int, clock: Clock, customers: int) -> list[bytes]:
        """Return request bodies with signed purchases, numbered from `first`, by `customers` customers."""
        at, name = epoch(clock.now()), self.enrolment.name
        bodies = []
        for begin in range(first, first + batches * batch, batch):
            wire = []
            for number in range(begin, begin + batch):
                yen = 100 + number % 3000
                # Records that are adjacent in a till's journal are not adjacent in the ledger.
                serial = 0x70000000 + hash((name, number)) % customers
                record = PointRecord(name, number, PostingType.PURCHASE, at, f"{name}/{number}", self.enrolment.policy,
                                serial_text(serial), yen, points_of(yen))  # fmt: skip
                wire.append(self.key.sign(record).to_wire())
            bodies.append(json.dumps({"records": wire}).encode())
        return bodies


def loaded_tills(centre: Centre, count: int) -> list[LoadedTill]:
    """Enrol `count` tills, each in its own shop."""
    tills = []
    for number in range(count):
        key = TillKey.generate()
        tills.append(LoadedTill(centre.enrol(f"shop-{number}", "till-1", public_pem(key.public)), key))
    return tills


def bring(port: int, tills: Sequence[LoadedTill], bodies: Sequence[Sequence[bytes]]) -> float:
    """Let all tills send their batches at the same time; each till waits for a response before it sends the next batch.

    Returns the seconds from the first request to the last response, without TLS handshakes. Raises RuntimeError if a
    record is not accepted.
    """
    ready = threading.Barrier(len(tills) + 1)
    errors: list[str] = []
    ends: list[float] = []

    def send(till: LoadedTill, batches: Sequence[bytes]) -> None:
        connection = _connection(port, till)
        ready.wait()
        try:
            for body in batches:
                connection.request("POST", "/v1/records", body, {"Content-Type": "application/json"})
                response = connection.getresponse().read()
                if response.count(b'"accepted"') != body.count(b'"signature"'):
                    errors.append(response[:300].decode(errors="replace"))
                    return
        except (OSError, http.client.HTTPException) as error:
            errors.append(str(error))
        finally:
            ends.append(time.perf_counter())
            connection.close()

    threads = [threading.Thread(target=send, args=one) for one in zip(tills, bodies, strict=True)]
    for thread in threads:
        thread.start()
    ready.wait()
    begun = time.perf_counter()
    for thread in threads:
        thread.join()
    if errors:
        raise RuntimeError(f"{len(errors)} tills failed; the first error is: {errors[0]}")
    return max(ends) - begun


def _connection(port: int, till: LoadedTill) -> http.client.HTTPSConnection:
    context = ssl.create_default_context(cadata=till.enrolment.authority.decode("ascii"))
    with tempfile.NamedTemporaryFile() as file:
        file.write(till.enrolment.certificate + till.key.pem)
        file.flush()
        context.load_cert_chain(file.name)
    connection = http.client.HTTPSConnection("localhost", port, context=context, timeout=_SECONDS)
    connection.connect()
    return connection
