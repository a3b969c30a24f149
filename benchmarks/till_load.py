"""Many tills at once: records that are signed ahead, and brought to a centre in batches, a connection to each till."""

from __future__ import annotations

import http.client
import json
import ssl
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass

from kazashi.refund_points.centre import Centre
from kazashi.refund_points.enrolment import Enrolment
from kazashi.refund_points.goods import points_of
from kazashi.refund_points.record import PointRecord, PostingType, TillKey, public_pem
from kazashi.world.clock import Clock, epoch

_SECONDS = 120.0


@dataclass(frozen=True, slots=True)
class LoadedTill:
    """A till that is nothing but its key, its enrolment, and the bodies of the batches that it is going to send."""

    enrolment: Enrolment
    key: TillKey

    def bodies(self, first: int, batches: int, batch: int, clock: Clock, customers: int) -> list[bytes]:
        """Batches of signed purchases, numbered from `first`, by so many customers."""
        at, name = epoch(clock.now()), self.enrolment.name
        found = []
        for begin in range(first, first + batches * batch, batch):
            wire = []
            for number in range(begin, begin + batch):
                yen = 100 + number % 3000
                # Neighbours in a till's journal are no neighbours in the ledger.
                serial = 0x70000000 + hash((name, number)) % customers
                record = PointRecord(name, number, PostingType.PURCHASE, at, f"{name}/{number}", self.enrolment.policy,
                                f"{serial:X}", yen, points_of(yen))  # fmt: skip
                wire.append(self.key.sign(record).to_wire())
            found.append(json.dumps({"records": wire}).encode())
        return found


def loaded_tills(centre: Centre, count: int) -> list[LoadedTill]:
    """So many tills, each in a shop of its own."""
    found = []
    for number in range(count):
        key = TillKey.generate()
        found.append(LoadedTill(centre.enrol(f"shop-{number}", "till-1", public_pem(key.public)), key))
    return found


def bring(port: int, tills: Sequence[LoadedTill], bodies: Sequence[Sequence[bytes]]) -> float:
    """Let every till send its batches, all tills at once, each batch once the one before was answered; answers the
    seconds from the first to the last, handshakes not counted. Raises RuntimeError for a record that was not taken."""
    ready = threading.Barrier(len(tills) + 1)
    wrong: list[str] = []
    ends: list[float] = []

    def send(till: LoadedTill, batches: Sequence[bytes]) -> None:
        connection = _connection(port, till)
        ready.wait()
        try:
            for body in batches:
                connection.request("POST", "/v1/records", body, {"Content-Type": "application/json"})
                answer = connection.getresponse().read()
                if answer.count(b'"accepted"') != body.count(b'"signature"'):
                    wrong.append(answer[:300].decode(errors="replace"))
                    return
        except (OSError, http.client.HTTPException) as error:
            wrong.append(str(error))
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
    if wrong:
        raise RuntimeError(f"{len(wrong)} tills failed, the first with {wrong[0]}")
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
