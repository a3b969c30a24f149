"""A long steady load on reader, OCSP, centre and network portal: memory and descriptors stay as they are."""

from __future__ import annotations

import hashlib
import http.client
import threading
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from statistics import median
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509 import ocsp

from benchmarks.reliability.durable import in_memory
from benchmarks.reliability.fork import in_new_process
from benchmarks.reliability.premises import Premises, premises
from benchmarks.reliability.processes import descriptors, proportional_megabytes, resident_megabytes
from benchmarks.reliability.trial import Show, Trial
from kazashi.applets import jpki
from kazashi.assembly.network import DESK
from kazashi.assembly.network_offices import MUNICIPAL, NATIONAL
from kazashi.assembly.points import enrol_till
from kazashi.card import request
from kazashi.pki.callers import Callers
from kazashi.provision_network.terms import CORE
from kazashi.reader_bridge.journal import KEPT
from kazashi.reader_bridge.pcsc import connected
from kazashi.refund_points.centre_http import HttpsTransport
from kazashi.refund_points.goods import CATALOGUE, Basket, ReceiptLine
from kazashi.refund_points.reading import CardReading
from kazashi.refund_points.sender import send_waiting
from kazashi.web.mutual_tls import JsonConnection
from kazashi.world.rng import new_token

SHARE = 0.14
"""The share of a full run's time."""

GROWTH = 0.03
"""The most by which memory and descriptors may grow after the first tenth of the time."""

WANTED = ("instance", "centre", DESK, CORE, f"interface:{MUNICIPAL}", f"interface:{NATIONAL}", "portal")
"""The servers that run."""

_PIN = b"1234"
_AT_ONCE = 12
"""The clients of each service that fill its pools, and the requests of each."""

_SAMPLES = 200


class ProcessSize(NamedTuple):
    """The size of a process at a time: its resident and proportional megabytes, and its open descriptors."""

    resident: float
    proportional: float
    descriptors: int


@dataclass
class SoakLoad:
    """What was done and how the processes' sizes developed, as lists of samples by the process's name."""

    done: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    sizes: dict[str, list[ProcessSize]] = field(default_factory=dict)


Action = Callable[[], object]


def _reader(place: Premises) -> Iterator[Action]:
    """Verify the PIN, sign and read through pcscd."""
    with connected(place.reader) as card:

        def use() -> None:
            commands = (request.select(jpki.AID), request.verify(jpki.AUTHENTICATION_PIN, _PIN),
                        request.compute_digital_signature(jpki.AUTHENTICATION_KEY, b"soak"),
                        request.read_binary(0, 256, file=jpki.AUTHENTICATION_CERTIFICATE))  # fmt: skip
            for command in commands:
                if (response := card.transmit(command))[-2:] != b"\x90\x00":
                    raise RuntimeError(f"the card responded with {response[-2:].hex()}")

        yield use


def _ocsp(place: Premises) -> Iterator[Action]:
    """Ask for the status of a certificate."""
    file = next((place.world.publication / "ca" / "authentication").glob("*.cer"))
    issuer = x509.load_der_x509_certificate(file.read_bytes())
    public = x509.SubjectKeyIdentifier.from_public_key(issuer.public_key()).digest
    name = hashlib.sha1(issuer.subject.public_bytes(), usedforsecurity=False).digest()
    builder = ocsp.OCSPRequestBuilder().add_certificate_by_hash(name, public, place.serial, hashes.SHA1())
    body = builder.build().public_bytes(serialization.Encoding.DER)
    key = Callers(place.world).register(f"soak {new_token(32)}")
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/ocsp-request"}
    connection = http.client.HTTPConnection(place.urls["authorities"].removeprefix("http://"), timeout=10)

    def ask() -> None:
        connection.request("POST", "/ocsp/authentication", body, headers)
        response = ocsp.load_der_ocsp_response(connection.getresponse().read())
        if response.response_status is not ocsp.OCSPResponseStatus.SUCCESSFUL:
            raise RuntimeError(f"the responder replied {response.response_status}")

    yield ask
    connection.close()


def _centre(place: Premises) -> Iterator[Action]:
    """Sell something and send the record."""
    till = enrol_till(place.world, "rice-shop", "till-1")
    basket, transport = Basket((ReceiptLine(CATALOGUE["lunch"]),)), HttpsTransport.of(till, place.urls["centre"])

    def sell() -> None:
        till.sell(basket, CardReading(place.serial))
        if send_waiting(till, transport).acknowledged != 1:
            raise RuntimeError("the centre did not acknowledge a record")

    yield sell
    transport.close()


def _portal(place: Premises) -> Iterator[Action]:
    """Open the network portal's page."""
    connection = http.client.HTTPConnection(place.urls["network portal"].removeprefix("http://"), timeout=10)

    def open_page() -> None:
        connection.request("GET", "/")
        response = connection.getresponse()
        response.read()
        if response.status != 200:
            raise RuntimeError(f"the portal responded with {response.status}")

    yield open_page
    connection.close()


def _network(place: Premises) -> Iterator[Action]:
    """Ask another body for an item, and wait for the answer."""
    assert place.system is not None
    connection = JsonConnection(place.system, place.urls[MUNICIPAL])

    def ask() -> None:
        status, content = connection.post("/v1/ask?wait=10", place.question)
        if status != 200 or b'"answered"' not in content:
            raise RuntimeError(f"the interface system responded with {status} {content[:200]!r}")

    yield ask
    connection.close()


_LOADS: dict[str, tuple[Callable[[Premises], Iterator[Action]], float]] = {
    "card sessions": (_reader, 10), "OCSP requests": (_ocsp, 20), "records": (_centre, 4), "pages": (_portal, 10),
    "exchanges": (_network, 2),
}  # fmt: skip
"""What is done, and how often in a second."""


def fill(place: Premises) -> None:
    """Fill what is filled once and then stays: the journal of the reader's exchanges, and the pools of connections."""
    with connected(place.reader) as card:
        for _ in range(KEPT):
            card.transmit(request.read_binary(0, 256, file=jpki.AUTHENTICATION_CERTIFICATE))
    _run([(make, _AT_ONCE) for make in (_ocsp, _network) for _ in range(_AT_ONCE)], place)


def _run(loads: Sequence[tuple[Callable[[Premises], Iterator[Action]], int]], place: Premises) -> None:
    """Run loads at the same time, each as often as is said, without a pause."""

    def work(make: Callable[[Premises], Iterator[Action]], count: int) -> None:
        for act in make(place):
            for _ in range(count):
                act()

    with ThreadPoolExecutor(len(loads)) as pool:
        for done in [pool.submit(work, *load) for load in loads]:
            done.result()


def soak(place: Premises, seconds: float) -> SoakLoad:
    """Put steady load on the servers and sample the sizes of their processes."""
    load, ended = SoakLoad(), threading.Event()
    fill(place)

    def work(name: str, make: Callable[[Premises], Iterator[Action]], rate: float) -> None:
        try:
            for act in make(place):
                while not ended.wait(1 / rate):
                    act()
                    load.done[name] += 1
        except Exception as error:
            load.wrong.append(f"{name}: {type(error).__name__}: {error}")

    threads = [threading.Thread(target=work, args=(name, *how)) for name, how in _LOADS.items()]
    for thread in threads:
        thread.start()
    for _ in range(_SAMPLES):
        for name, process in place.processes.items():
            size = ProcessSize(resident_megabytes(process), proportional_megabytes(process), descriptors(process))
            load.sizes.setdefault(name, []).append(size)
        ended.wait(seconds / _SAMPLES)
    ended.set()
    for thread in threads:
        thread.join()
    return load


def _soaks(seconds: float) -> Generator[SoakLoad, None, None]:
    with in_memory() as directory, premises(directory, WANTED) as place:
        yield soak(place, seconds)


def trials(minutes: float, seed: int, show: Show) -> Iterator[Trial]:
    """Run the servers under load for some minutes. Nothing in it depends on the seed."""
    show(f"a steady load for {minutes:.1f} minutes")
    (load,) = in_new_process(_soaks, minutes * 60)
    yield summary(load, minutes)


def _development(samples: Sequence[ProcessSize]) -> tuple[ProcessSize, ProcessSize]:
    """The size of a process after the first tenth of the time, and at the end: medians of a tenth of the samples."""
    tenth = max(1, len(samples) // 10)
    first, last = samples[tenth : 2 * tenth], samples[-tenth:]
    return _median(first), _median(last)


def _median(samples: Sequence[ProcessSize]) -> ProcessSize:
    resident, proportional, open_ = zip(*samples, strict=True)
    return ProcessSize(median(resident), median(proportional), round(median(open_)))


def summary(load: SoakLoad, minutes: float) -> Trial:
    """The result of a load of some minutes."""
    sizes = {name: _development(samples) for name, samples in load.sizes.items()}
    growing = [name for name, (first, last) in sizes.items() if any(
        after > before * (1 + GROWTH) for before, after in zip(first, last, strict=True)
    )]  # fmt: skip
    done = ", ".join(f"{load.done[name]:,} {name}" for name in _LOADS)
    grown = "; ".join(
        f"{name} {first.resident:.1f} -> {last.resident:.1f} MB (PSS {first.proportional:.1f} ->"
        f" {last.proportional:.1f}), {first.descriptors} -> {last.descriptors} descriptors"
        for name, (first, last) in sizes.items()
    )
    detail = f"{minutes:.1f} minutes: {done}; {grown}"
    if load.wrong:
        detail += f"; {load.wrong[0]}"
    lost = len({*growing, *(trouble.partition(":")[0] for trouble in load.wrong)})
    return Trial("soak of reader, OCSP, centre and portal", "processes", len(sizes), len(sizes) - len(growing), lost,
                 detail, f"memory and descriptors <= +{GROWTH:.0%} after the first tenth", not lost)  # fmt: skip
