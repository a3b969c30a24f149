"""Store and forward: a till sends its records to the centre until the centre has replied to each.

The plan published no rule for a till without a network. Here a sale never waits for the centre. The till sends its
records in batches, in the order of their numbers, and retries until the centre replies. A malformed reply
does not count.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from kazashi.refund_points.centre import RecordOutcome
from kazashi.refund_points.till import RecordState, Till
from kazashi.world.worker import Worker

BATCH = 500
"""The number of records in one batch."""
PAUSE_SECONDS = 5.0
"""The time between two rounds."""

_STATES = {
    RecordOutcome.ACCEPTED.value: RecordState.ACKNOWLEDGED,
    RecordOutcome.AGAIN.value: RecordState.ACKNOWLEDGED,
    RecordOutcome.REFUSED.value: RecordState.REFUSED,
}


class CentreUnreachable(Exception):
    """The centre did not reply, or its reply is malformed; all records keep waiting."""


class Transport(Protocol):
    """A connection to the centre."""

    def send(self, till: str, records: Sequence[Mapping[str, str]]) -> Any:
        """Send records and return the centre's reply, with one result per record. An empty sequence checks whether the
        centre can be reached. Raises CentreUnreachable."""


@dataclass(frozen=True, slots=True)
class SendResult:
    """The result of one round: the number of records that the centre has acknowledged, and that it has refused."""

    acknowledged: int = 0
    refused: int = 0

    @property
    def any(self) -> bool:
        """Whether anything was sent."""
        return bool(self.acknowledged or self.refused)


def send_waiting(till: Till, transport: Transport, batch: int = BATCH) -> SendResult:
    """Send all waiting records to the centre. Raises CentreUnreachable and StoreFailed; batches settled before the
    failure stay settled."""
    acknowledged = refused = 0
    while waiting := till.waiting(batch):
        unverified = transport.send(till.name, [record.signed.to_wire() for record in waiting])
        results = _results(unverified, [record.number for record in waiting])
        till.settle(results)
        accepted = sum(state is RecordState.ACKNOWLEDGED for state, _ in results.values())
        acknowledged += accepted
        refused += len(results) - accepted
    return SendResult(acknowledged, refused)


def _results(unverified: Any, numbers: Sequence[int]) -> dict[int, tuple[RecordState, str]]:
    """Parse the centre's reply: one result per record, each with a known outcome. Raises CentreUnreachable."""
    try:
        if len(unverified) != len(numbers):
            raise ValueError(f"{len(unverified)} results for {len(numbers)} records")
        return {
            number: (_STATES[result["answer"]], f"{result.get('reason', '')}: {result.get('words', '')}".strip(": "))
            for number, result in zip(numbers, unverified, strict=True)
        }
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise CentreUnreachable(f"the centre's reply is malformed: {error}") from error


def background_sender(till: Till, transport: Transport, changed: Callable[[], object] = lambda: None) -> Worker:
    """Return a worker that sends a till's records in the background, without delaying sales.

    It sends when it is called and every PAUSE_SECONDS, so a failed attempt is retried. It calls `changed` from its own
    thread after each round.
    """

    def send() -> None:
        if not send_waiting(till, transport).any:
            transport.send(till.name, [])

    return Worker("sender", send, pause=PAUSE_SECONDS, after=lambda _: changed())
