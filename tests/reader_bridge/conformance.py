"""The rows of the conformance table: what a PC/SC client is told, whatever is behind the reader.

Run as a program, with the arguments of `Instance` or the image of a card for `InProcess` as JSON, it prints the results
of all rows as JSON. It needs a process of its own because libpcsclite chooses its pcscd once in a process.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from smartcard import scard
from smartcard.CardConnection import CardConnection
from smartcard.CardConnectionObserver import CardConnectionObserver
from smartcard.CardMonitoring import CardMonitor, CardObserver
from smartcard.Exceptions import SmartcardException
from smartcard.ExclusiveTransmitCardConnection import ExclusiveTransmitCardConnection
from smartcard.reader.Reader import Reader
from smartcard.System import readers

from kazashi.applets import jpki
from kazashi.applets.install import load_card
from kazashi.card import request
from kazashi.card.chip import Chip
from kazashi.reader_bridge import control
from kazashi.reader_bridge.in_process import InProcessReader
from kazashi.reader_bridge.interface import ContactInterface
from kazashi.reader_bridge.pcsc import connect, connected, context
from kazashi.reader_bridge.profile import reader_profile
from tests.polling import LIMIT, until

SELECT = list(request.select(jpki.AID))
VERIFY = list(request.verify(jpki.AUTHENTICATION_PIN, b"1234"))
SIGN = list(request.compute_digital_signature(jpki.AUTHENTICATION_KEY, bytes(32)))
T0, T1 = CardConnection.T0_protocol, CardConnection.T1_protocol
PROTOCOLS = {0: "none", T0: "T=0", T1: "T=1", T0 | T1: "T=0 or T=1"}
FEATURE_REQUEST = scard.SCARD_CTL_CODE(3400)
_NAMES = {
    code & 0xFFFFFFFF: name
    for name in dir(scard)
    if name.startswith(("SCARD_E_", "SCARD_W_", "SCARD_F_")) and isinstance(code := getattr(scard, name), int)
}
_NAMES[scard.SCARD_E_UNSUPPORTED_FEATURE & 0xFFFFFFFF] = "SCARD_E_UNSUPPORTED_FEATURE"
_STATUS = {"ABSENT": 2, "PRESENT": 4, "SWALLOWED": 8, "POWERED": 16, "NEGOTIABLE": 32, "SPECIFIC": 64}
"""The flags of SCardStatus (pcsc-lite's pcsclite.h), which pyscard does not have."""
_STATES = ("EMPTY", "PRESENT", "EXCLUSIVE", "INUSE", "MUTE", "UNPOWERED")


class Bench(Protocol):
    """A reader whose card can be inserted, removed and reset, each of which returns when a client can see it."""

    reader: Reader

    def insert(self) -> None: ...

    def remove(self) -> None: ...

    def reset(self) -> None: ...


class Instance:
    """The first reader of a running instance, whose controls are those of `kazashi card`."""

    def __init__(self, socket: str, name: str) -> None:
        self._socket, self._name = Path(socket), name
        (self.reader,) = (reader for reader in readers() if str(reader) == name)

    def insert(self) -> None:
        control.request(self._socket, "insert", card="hanako", slot="0")

    def remove(self) -> None:
        control.request(self._socket, "remove", slot="0")

    def reset(self) -> None:
        control.request(self._socket, "reset", slot="0")


class InProcess:
    """A reader in this process."""

    def __init__(self, image: str) -> None:
        self._image = Path(image)
        self.reader = InProcessReader("In process", reader_profile("contact"))
        self.insert()

    def insert(self) -> None:
        self.reader.insert(ContactInterface(Chip(load_card(self._image))))

    def remove(self) -> None:
        self.reader.remove()

    def reset(self) -> None:
        self.remove()
        self.insert()


@dataclass(frozen=True, slots=True)
class Different:
    """What a column says instead, and why it must."""

    result: str
    reason: str


NO_RESOURCE_MANAGER = Different("-", "there is no resource manager to ask")


@dataclass(frozen=True, slots=True)
class Row:
    """A row: what the client does, what it is told, and in which columns it is told something else."""

    does: str
    result: str
    run: Callable[[Any], str]
    vpcd: Different | None
    in_process: Different | None

    def expected(self, column: str) -> str:
        """Return the result in a column."""
        different = {"driver": None, "vpcd": self.vpcd, "in process": self.in_process}[column]
        return self.result if different is None else different.result


ROWS: list[Row] = []


def row(
    does: str, result: str, *, vpcd: Different | None = None, in_process: Different | None = None
) -> Callable[[Callable[[Any], str]], Callable[[Any], str]]:
    def add(run: Callable[[Any], str]) -> Callable[[Any], str]:
        ROWS.append(Row(does, result, run, vpcd, in_process))
        return run

    return add


def code_name(code: int) -> str:
    return _NAMES.get(code & 0xFFFFFFFF, f"{code & 0xFFFFFFFF:08X}") if code else "success"


def told(call: Callable[[], Any]) -> str:
    """Return what a client is told: a status word, another value, or pyscard's exception with its code."""
    try:
        result = call()
    except SmartcardException as error:
        code = "" if error.hresult == -1 else f" {code_name(error.hresult)}"
        return f"{type(error).__name__}{code}"
    if isinstance(result, tuple):
        _, first, second = result
        return f"{first:02X}{second:02X}"
    if isinstance(result, list):
        return bytes(value & 0xFF for value in result).hex().upper() or "nothing"
    return "done" if result is None else str(result)


def opened(bench: Bench, **options: int) -> Any:
    connection = bench.reader.createConnection()
    connection.connect(**options)
    return connection


def fresh(bench: Bench, **options: int) -> Any:
    """Return a connection to a card that has just been powered."""
    connection = opened(bench, **options)
    connection.reconnect(disposition=scard.SCARD_UNPOWER_CARD)
    return connection


def damaging(bench: Bench, command: list[int]) -> str:
    """Return what a client is told of a command after which vpcd's card may be gone for a moment."""
    connection = fresh(bench)
    result = told(lambda: connection.transmit(command))
    bench.reset()
    return result


def states(number: int) -> str:
    return "+".join(name for name in _STATES if number & getattr(scard, f"SCARD_STATE_{name}"))


def status(established: Any, bench: Bench, current: int = scard.SCARD_STATE_UNAWARE, timeout: int = 0) -> int:
    """Return the state of the reader, with the counter of its events above."""
    _, [(_, state, _)] = scard.SCardGetStatusChange(established, timeout, [(bench.reader.name, current)])
    return int(state)


# Names and the first connection


@row("`getReader()`", "its name, str")
def _(bench: Bench) -> str:
    name = bench.reader.createConnection().getReader()
    return f"{'its name' if name == bench.reader.name else name}, {type(name).__name__}"


@row("`getATR()` and `getProtocol()` after `connect()`", "3BE000FF8131FE4514, T=1")
def _(bench: Bench) -> str:
    connection = opened(bench)
    return f"{told(connection.getATR)}, {PROTOCOLS[connection.getProtocol()]}"


@row("`connect()` with T=0 only", "CardConnectionException SCARD_E_PROTO_MISMATCH")
def _(bench: Bench) -> str:
    return told(lambda: opened(bench, protocol=T0))


@row("`transmit()` with T=0 on a connection with T=1", "CardConnectionException SCARD_E_PROTO_MISMATCH; then 9000")
def _(bench: Bench) -> str:
    connection = opened(bench)
    return f"{told(lambda: connection.transmit(SELECT, T0))}; then {told(lambda: connection.transmit(SELECT))}"


@row("a command of one byte", "6700", vpcd=Different(
    "CardConnectionException success", "its protocol cannot distinguish it from a control message"))  # fmt: skip
def _(bench: Bench) -> str:
    return damaging(bench, [0])


@row("a command of 65544 bytes", "6E00", vpcd=Different(
    "CardConnectionException SCARD_E_NOT_TRANSACTED", "its messages have up to 65535 bytes"))  # fmt: skip
def _(bench: Bench) -> str:
    return damaging(bench, [0x7F] * 65544)


@row("a console observer's events", "connect, command, response, disconnect")
def _(bench: Bench) -> str:
    events: list[str] = []

    class Listener(CardConnectionObserver):  # type: ignore[misc]
        def update(self, observable: Any, event: Any) -> None:
            assert observable.getReader() == bench.reader.name
            events.append(event.type)

    connection = bench.reader.createConnection()
    connection.addObserver(Listener())
    connection.connect()
    connection.transmit(SELECT)
    connection.disconnect()
    return ", ".join(events)


@row("`transmit()` before `connect()`, after `disconnect()`, and `connect()` after `release()`",
     "CardConnectionException, CardConnectionException, CardConnectionException")  # fmt: skip
def _(bench: Bench) -> str:
    connection = bench.reader.createConnection()
    before = told(lambda: connection.transmit(SELECT, T1))
    connection.connect()
    connection.disconnect()
    after = told(lambda: connection.transmit(SELECT))
    connection.release()
    return f"{before}, {after}, {told(connection.connect)}"


# Power, resets, several connections


@row("sign after VERIFY, and after `reconnect()` that leaves, resets and unpowers the card",
     "9000, 9000, 6A88, 6A88")  # fmt: skip
def _(bench: Bench) -> str:
    connection = fresh(bench)
    connection.transmit(SELECT)
    connection.transmit(VERIFY)
    results = [told(lambda: connection.transmit(SIGN))]
    for disposition in (scard.SCARD_LEAVE_CARD, scard.SCARD_RESET_CARD, scard.SCARD_UNPOWER_CARD):
        connection.reconnect(disposition=disposition)
        results.append(told(lambda: connection.transmit(SIGN)))
    return ", ".join(results)


@row("sign in a new connection after `disconnect()` that leaves, and that unpowers the card", "9000, 6A88")
def _(bench: Bench) -> str:
    results = []
    for disposition in (scard.SCARD_LEAVE_CARD, scard.SCARD_UNPOWER_CARD):
        first = fresh(bench)
        first.disconnect()
        first.connect(disposition=disposition)
        first.transmit(SELECT)
        first.transmit(VERIFY)
        first.disconnect()
        results.append(told(lambda: opened(bench).transmit(SIGN)))
    return ", ".join(results)


@row("one of two connections ends and leaves the card; the other signs", "9000")
def _(bench: Bench) -> str:
    first, second = fresh(bench), opened(bench, disposition=scard.SCARD_LEAVE_CARD)
    first.transmit(SELECT)
    first.transmit(VERIFY)
    second.disconnect()
    return told(lambda: first.transmit(SIGN))


@row("one of two connections ends and unpowers the card; the other transmits, asks the ATR, reconnects, transmits",
     "CardConnectionException SCARD_W_RESET_CARD, CardConnectionException SCARD_W_RESET_CARD, done, 9000")  # fmt: skip
def _(bench: Bench) -> str:
    first, second = fresh(bench), opened(bench)
    second.disconnect()
    return ", ".join((
        told(lambda: first.transmit(SELECT)), told(first.getATR),
        told(first.reconnect), told(lambda: first.transmit(SELECT)),
    ))  # fmt: skip


@row("one of two connections resets the card; it transmits, the other transmits",
     "9000, CardConnectionException SCARD_W_RESET_CARD")  # fmt: skip
def _(bench: Bench) -> str:
    first, second = fresh(bench), opened(bench)
    second.reconnect(disposition=scard.SCARD_RESET_CARD)
    return f"{told(lambda: second.transmit(SELECT))}, {told(lambda: first.transmit(SELECT))}"


@row("connect while another connection is shared, exclusive: exclusive to shared, shared to exclusive, after its end",
     "CardConnectionException SCARD_E_SHARING_VIOLATION, CardConnectionException SCARD_E_SHARING_VIOLATION, 9000",
)  # fmt: skip
def _(bench: Bench) -> str:
    shared = opened(bench)
    results = [told(lambda: opened(bench, mode=scard.SCARD_SHARE_EXCLUSIVE))]
    shared.disconnect()
    exclusive = opened(bench, mode=scard.SCARD_SHARE_EXCLUSIVE)
    results.append(told(lambda: opened(bench)))
    exclusive.disconnect()
    return ", ".join((*results, told(lambda: opened(bench).transmit(SELECT))))


# Removal, insertion, reset by the instance


@row("connect when the control `remove` has returned, and when `insert` has", "NoCardException SCARD_E_NO_SMARTCARD, "
     "9000")  # fmt: skip
def _(bench: Bench) -> str:
    bench.remove()
    gone = told(lambda: opened(bench))
    bench.insert()
    return f"{gone}, {told(lambda: opened(bench).transmit(SELECT))}"


@row("`transmit()`, `getATR()` and `reconnect()` on a connection whose card was removed",
     "CardConnectionException SCARD_W_REMOVED_CARD, CardConnectionException SCARD_W_REMOVED_CARD, "
     "NoCardException SCARD_E_NO_SMARTCARD")  # fmt: skip
def _(bench: Bench) -> str:
    connection = opened(bench)
    bench.remove()
    results = [told(lambda: connection.transmit(SELECT)), told(connection.getATR), told(connection.reconnect)]
    bench.insert()
    return ", ".join(results)


@row("`reconnect()` after the control `reset`, then `transmit()`", "done, 9000")
def _(bench: Bench) -> str:
    connection = opened(bench)
    bench.reset()
    return f"{told(connection.reconnect)}, {told(lambda: connection.transmit(SELECT))}"


@row("one of two connections ends and unpowers the card; the other reconnects and leaves it so, transmits",
     "CardConnectionException")  # fmt: skip
def _(bench: Bench) -> str:
    first, second = fresh(bench), opened(bench)
    second.disconnect()
    first.reconnect(disposition=scard.SCARD_LEAVE_CARD)
    result, *_ = told(lambda: first.transmit(SELECT)).split()  # vpcd's code depends on the moment
    bench.reset()
    return result


@row("the control `reset` under a connection: `transmit()`, then `connect()`, `transmit()`",
     "CardConnectionException SCARD_W_REMOVED_CARD, done, 9000")  # fmt: skip
def _(bench: Bench) -> str:
    connection = opened(bench)
    bench.reset()
    return ", ".join((
        told(lambda: connection.transmit(SELECT)), told(connection.connect), told(lambda: connection.transmit(SELECT)),
    ))  # fmt: skip


# The reader itself


@row("DIRECT connection to an empty reader: connect, ATR, transmit, disconnect",
     "done, nothing, CardConnectionException SCARD_E_NO_SMARTCARD, done")  # fmt: skip
def _(bench: Bench) -> str:
    bench.remove()
    connection = bench.reader.createConnection()
    results = [
        told(lambda: connection.connect(mode=scard.SCARD_SHARE_DIRECT)),
        told(connection.getATR),
        told(lambda: connection.transmit(SELECT, T1)),
        told(connection.disconnect),
    ]
    bench.insert()
    return ", ".join(results)


@row("DIRECT connection to a card: ATR, transmit, `transmit()` of a shared connection beside it",
     "3BE000FF8131FE4514, CardConnectionException SCARD_E_PROTO_MISMATCH, 9000")  # fmt: skip
def _(bench: Bench) -> str:
    fresh(bench).disconnect()
    connection = opened(bench, mode=scard.SCARD_SHARE_DIRECT, disposition=scard.SCARD_LEAVE_CARD)
    results = [
        told(connection.getATR),
        told(lambda: connection.transmit(SELECT, T1)),
        told(lambda: opened(bench).transmit(SELECT)),
    ]
    return ", ".join(results)


@row("attributes: DEVICE_FRIENDLY_NAME, VENDOR_NAME, ATR_STRING, one that does not exist",
     "its name, 4B617A6173686900, 3BE000FF8131FE4514, SmartcardException SCARD_E_UNSUPPORTED_FEATURE",
     vpcd=Different(
         "SmartcardException SCARD_E_INSUFFICIENT_BUFFER, SmartcardException SCARD_E_UNSUPPORTED_FEATURE, "
         "SmartcardException SCARD_E_UNSUPPORTED_FEATURE, SmartcardException SCARD_E_UNSUPPORTED_FEATURE",
         "it has no attributes, and clears the length of pcscd's buffer before it refuses one"))  # fmt: skip
def _(bench: Bench) -> str:
    connection = opened(bench)
    tags = (scard.SCARD_ATTR_DEVICE_FRIENDLY_NAME, scard.SCARD_ATTR_VENDOR_NAME, scard.SCARD_ATTR_ATR_STRING, 0x7FFF)
    results = [told(partial(connection.getAttrib, tag)) for tag in tags]
    name = (bench.reader.name.encode() + bytes(1)).hex().upper()
    return ", ".join("its name" if result == name else result for result in results)


@row("control codes: CM_IOCTL_GET_FEATURE_REQUEST, and 1",
     "120442330012, SmartcardException SCARD_E_UNSUPPORTED_FEATURE",
     vpcd=Different("SmartcardException SCARD_E_UNSUPPORTED_FEATURE, SmartcardException SCARD_E_UNSUPPORTED_FEATURE",
                    "it has no features"))  # fmt: skip
def _(bench: Bench) -> str:
    connection = opened(bench)
    return ", ".join(told(partial(connection.control, code)) for code in (FEATURE_REQUEST, 1))


# What only a resource manager knows


@row("`SCardStatus`: result, state, protocol, ATR",
     "success, PRESENT+POWERED+NEGOTIABLE, T=1, 3BE000FF8131FE4514", in_process=NO_RESOURCE_MANAGER)  # fmt: skip
def _(bench: Bench) -> str:
    connection = fresh(bench)
    code, name, state, protocol, atr = scard.SCardStatus(connection.component.hcard)
    assert name == bench.reader.name
    flags = [flag for flag, bit in _STATUS.items() if state & bit]
    return f"{code_name(code)}, {'+'.join(flags)}, T={protocol - 1}, {bytes(atr).hex().upper()}"


@row("states: a shared connection, an exclusive one, none, after `remove`, after `insert`",
     "PRESENT+INUSE, PRESENT+EXCLUSIVE, PRESENT, EMPTY, PRESENT", in_process=NO_RESOURCE_MANAGER)  # fmt: skip
def _(bench: Bench) -> str:
    seen = []
    with context() as established:
        for share in (scard.SCARD_SHARE_SHARED, scard.SCARD_SHARE_EXCLUSIVE):
            with connected(bench.reader.name, share):
                seen.append(states(status(established, bench)))
        seen.append(states(status(established, bench)))
        for act in (bench.remove, bench.insert):
            act()
            seen.append(states(status(established, bench)))
    return ", ".join(seen)


@row("the counter of events after `remove`, `insert`, `reset`", "+1, +1, +2", in_process=NO_RESOURCE_MANAGER)
def _(bench: Bench) -> str:
    counts = []
    with context() as established:
        for act in (bench.remove, bench.insert, bench.reset):
            before = status(established, bench) >> 16
            act()
            counts.append(f"+{(status(established, bench) >> 16) - before}")
    return ", ".join(counts)


@row("a client that waits for a change, at `remove` and at `insert`", "EMPTY, PRESENT", in_process=NO_RESOURCE_MANAGER)
def _(bench: Bench) -> str:
    seen: list[str] = []

    def wait() -> None:
        with context() as established:
            for _ in range(2):
                current = status(established, bench)
                ready.release()
                seen.append(states(status(established, bench, current, scard.INFINITE)))

    ready = threading.Semaphore(0)
    waiting = threading.Thread(target=wait)
    waiting.start()
    for act in (bench.remove, bench.insert):
        ready.acquire()
        act()
    waiting.join(LIMIT)
    return ", ".join(seen)


@row("pyscard's card monitor, at its start, at `remove` and at `insert`",
     "added 3BE000FF8131FE4514, removed, added 3BE000FF8131FE4514", in_process=NO_RESOURCE_MANAGER)  # fmt: skip
def _(bench: Bench) -> str:
    seen: list[str] = []

    class Listener(CardObserver):  # type: ignore[misc]
        def update(self, _: Any, changes: Any) -> None:
            added, removed = changes
            seen.extend(f"added {bytes(card.atr).hex().upper()}" for card in added if card.reader == bench.reader.name)
            seen.extend("removed" for card in removed if card.reader == bench.reader.name)

    monitor, listener = CardMonitor(), Listener()
    monitor.addObserver(listener)
    until(lambda: len(seen) == 1, "the monitor sees the card")
    bench.remove()
    until(lambda: len(seen) == 2, "the monitor sees the removal")
    bench.insert()
    until(lambda: len(seen) == 3, "the monitor sees the insertion")
    monitor.deleteObserver(listener)
    return ", ".join(seen)


@row("a command while another client is in a transaction", "waits for its end, 9000", in_process=NO_RESOURCE_MANAGER)
def _(bench: Bench) -> str:
    results: list[str] = []
    first = ExclusiveTransmitCardConnection(fresh(bench))
    second = opened(bench)
    first.lock()
    other = threading.Thread(target=lambda: results.append(told(lambda: second.transmit(SELECT))))
    other.start()
    for _ in range(200):
        first.transmit(SELECT)
    waited = not results
    first.unlock()
    other.join(LIMIT)
    return ", ".join(("waits for its end" if waited else "does not wait", *results))


HOLDER = """
import sys
from kazashi.reader_bridge.pcsc import connected
with connected(sys.argv[1]) as card:
    card.begin()
    print("holds", flush=True)
    sys.stdin.read()
"""


@row("a client that waits for a transaction whose holder is killed: begin, transmit, begin after `reconnect`",
     "SCARD_W_RESET_CARD, SCARD_W_RESET_CARD, success",
     in_process=NO_RESOURCE_MANAGER)  # fmt: skip
def _(bench: Bench) -> str:
    fresh(bench).disconnect()
    results: list[str] = []
    with context() as established:
        card = connect(established, bench.reader.name)
        holder = subprocess.Popen(
            [sys.executable, "-c", HOLDER, bench.reader.name], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert holder.stdin is not None
        assert holder.stdout is not None
        assert holder.stdout.readline() == "holds\n"
        begun = threading.Thread(target=lambda: results.append(code_name(scard.SCardBeginTransaction(card._handle))))
        begun.start()
        holder.kill()
        holder.wait()
        begun.join(LIMIT)
        holder.stdin.close()
        holder.stdout.close()
        results.append(code_name(scard.SCardTransmit(card._handle, scard.SCARD_PCI_T1, SELECT)[0]))
        card.reconnect(scard.SCARD_LEAVE_CARD)
        results.append(code_name(scard.SCardBeginTransaction(card._handle)))
        card.end()
        card.disconnect()
    return ", ".join(results)


def main(bench: Bench) -> None:
    results = []
    for entry in ROWS:
        if isinstance(bench, InProcess) and entry.in_process is NO_RESOURCE_MANAGER:
            results.append(entry.in_process.result)
            continue
        try:
            results.append(entry.run(bench))
        except Exception as error:  # it is a result too, and the other rows are to be seen
            results.append(f"{type(error).__name__}: {error}")
    print(json.dumps(results))


if __name__ == "__main__":
    arguments = json.loads(sys.argv[1])
    main(Instance(**arguments) if "socket" in arguments else InProcess(**arguments))
