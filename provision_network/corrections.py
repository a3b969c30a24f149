"""Who was told of corrections (訂正の通知, 番号法30条, 31条): every body that had received the item about the person.

The core knows them from its records. It stores who was told of which correction, and no content.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from kazashi.provision_network.codes import Coder, InstitutionCode
from kazashi.provision_network.core_store import CORRECTION_NOTICE, PROVISION_RECORD
from kazashi.provision_network.mediation import Context, Handler
from kazashi.provision_network.terms import RequestOutcome, text_of
from kazashi.world.clock import Clock, epoch, from_epoch
from kazashi.world.outbox import Message
from kazashi.world.storage import Store, insert_if_absent

_record = PROVISION_RECORD.c


@dataclass(frozen=True, slots=True)
class CorrectionNotice:
    """A requester was told that an item which it had received was corrected. `reference` is the provider's own number
    of the correction."""

    number: int
    provider: str
    requester: str
    item: str
    reference: str
    told_at: datetime


class Corrections:
    """Passes corrections on, and records who was told."""

    def __init__(self, store: Store, clock: Clock, coder: Coder) -> None:
        self._store = store
        self._clock = clock
        self._coder = coder
        self.handlers: Mapping[str, Handler] = {"corrected": self._on_corrected}

    def notices(self, provider: str | None = None) -> list[CorrectionNotice]:
        """Return the notices about the corrections of one body or of all, oldest first."""
        both = sa.join(CORRECTION_NOTICE, PROVISION_RECORD, CORRECTION_NOTICE.c.record == _record.number)
        query = sa.select(CORRECTION_NOTICE, _record.provider, _record.requester, _record.item).select_from(both)
        query = query.order_by(CORRECTION_NOTICE.c.told_at, _record.number)
        if provider is not None:
            query = query.where(_record.provider == provider)
        with self._store.reading() as connection:
            return [
                CorrectionNotice(row.record, row.provider, row.requester, row.item, row.reference,
                                 from_epoch(row.told_at))
                for row in connection.execute(query)
            ]  # fmt: skip

    def _on_corrected(self, context: Context, message: Message) -> None:
        """Tell each body that has received an item of a person from a provider that it was corrected."""
        body = message.body
        context.members.check_speaks_for(message.sender, body["provider"])
        ours = context.members.known(body["provider"])
        item, reference = text_of(body["item"]), text_of(body["reference"])
        person = self._coder.record(self._coder.linkage(InstitutionCode.parse(body["code"]), ours.group)).value
        received = context.connection.execute(
            sa.select(_record.number, _record.requester).where(
                _record.record_code == person, _record.provider == ours.name, _record.item == item,
                _record.outcome == RequestOutcome.PROVIDED.value,
            ).order_by(_record.number)
        ).all()  # fmt: skip
        for row in received:
            notice = {"record": row.number, "reference": reference, "told_at": epoch(self._clock.now())}
            new = context.connection.execute(insert_if_absent(CORRECTION_NOTICE), notice).rowcount
            requester = context.members.by_name.get(row.requester)
            if new and requester is not None and requester.interface:
                told = {"number": row.number, "requester": row.requester, "provider": ours.name, "item": item}
                context.send(requester.interface, "corrected", told)
