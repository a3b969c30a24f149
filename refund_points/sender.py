"""Store and forward: what a till has recorded is brought to the centre until the centre has said what became of it.

The plan published no rule for a till without a network. Ours: a sale never waits for the centre. Records are sent in
the order of their numbers, in batches, again and again; only an answer of the centre's ends that. An answer that
makes no sense is none.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from kazashi.refund_points.centre import RecordOutcome
from kazashi.refund_points.till import RecordState, Till
from kazashi.world.worker import Worker

BATCH = 500
PAUSE_SECONDS = 5.0

_STATES = {
    RecordOutcome.ACCEPTED.value: RecordState.ACKNOWLEDGED,
    RecordOutcome.AGAIN.value: RecordState.ACKNOWLEDGED,
    RecordOutcome.REFUSED.value: RecordState.REFUSED,
}


class CentreUnreachable(Exception):
    """The centre did not answer, or answered what makes no sense; everything waits on."""


class Transport(Protocol):
    """A way to the centre."""

    def send(self, till: str, records: Sequence[Mapping[str, str]]) -> Any:
        """Bring records there; answers what came back, one answer to each. None of them is a way to ask whether the
        centre is there. Raises CentreUnreachable."""


@dataclass(frozen=True, slots=True)
class SendResult:
    """What one round came to: how many records the centre has taken, and how many it has refused."""

    acknowledged: int = 0
    refused: int = 0

    @property
    def any(self) -> bool:
        """Whether there was something to send."""
        return bool(self.acknowledged or self.refused)


def send_waiting(till: Till, transport: Transport, batch: int = BATCH) -> SendResult:
    """Bring everything that waits to the centre. What was settled until something fails stays settled. Raises
    CentreUnreachable and StoreFailed."""
    acknowledged = refused = 0
    while waiting := till.waiting(batch):
        unverified = transport.send(till.name, [found.signed.to_wire() for found in waiting])
        answers = _answers(unverified, [found.number for found in waiting])
        till.settle(answers)
        taken = sum(state is RecordState.ACKNOWLEDGED for state, _ in answers.values())
        acknowledged += taken
        refused += len(answers) - taken
    return SendResult(acknowledged, refused)


def _answers(unverified: Any, numbers: Sequence[int]) -> dict[int, tuple[RecordState, str]]:
    """The centre's answers, once they make sense: as many as there were records, each with an answer that is one."""
    try:
        if len(unverified) != len(numbers):
            raise ValueError(f"{len(unverified)} answers to {len(numbers)} records")
        return {
            number: (_STATES[answer["answer"]], f"{answer.get('reason', '')}: {answer.get('words', '')}".strip(": "))
            for number, answer in zip(numbers, unverified, strict=True)
        }
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise CentreUnreachable(f"the centre answered what makes no sense: {error}") from error


def background_sender(till: Till, transport: Transport, changed: Callable[[], object] = lambda: None) -> Worker:
    """Sends a till's records beside its sales: when it is called, and again after a while where that failed. `changed`
    is called from its thread after each round."""

    def send() -> None:
        if not send_waiting(till, transport).any:
            transport.send(till.name, [])

    return Worker("sender", send, pause=PAUSE_SECONDS, after=lambda _: changed())
