"""The card management system (カード管理システム): carries out cases, from the order to the card.

The steps of a case are the order, the keys on the chip, a certificate for each, and the card. Each step is on disk
before the next begins. An interrupted case continues where it stopped: the keys are the same, and an authority issues
one certificate per request.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path

import sqlalchemy as sa

from kazashi.applets.holder import CardSigners
from kazashi.card.image import DamagedImage, ImageExists, ImageMissing
from kazashi.card_management.case import CaseState, CaseType, IssuanceCase
from kazashi.card_management.consequence import CardState, consequence
from kazashi.card_management.keys_in_progress import KeysInProgress
from kazashi.card_management.models import CARD, IssuedModel
from kazashi.card_management.order import Order, image_path
from kazashi.card_management.production import CardProduction, RenewalRejected
from kazashi.card_management.records import MIGRATIONS, CardRecords
from kazashi.card_management.relay import Relay, RelayFailed
from kazashi.card_management.signers import SignerStore
from kazashi.jpki.profile import CertificateType
from kazashi.pki.authority import Authority
from kazashi.resident_registry.municipality import MunicipalityCode
from kazashi.resident_registry.notice import Notice
from kazashi.resident_registry.number import ResidentRecordCode
from kazashi.resident_registry.registry import NoSuchResident
from kazashi.resident_registry.resident import Resident
from kazashi.world.home import World
from kazashi.world.names import checked_name
from kazashi.world.outbox import Inbox, Message
from kazashi.world.schedule import AT_ONCE

ACTOR = "card_management"


class CardManagement:
    """Issues cards and renews the certificates on them. `identity` returns the resident with a resident record code."""

    def __init__(
        self, world: World, identity: Callable[[ResidentRecordCode], Resident],
        authorities: dict[CertificateType, Authority],
        relay: Relay,
    ) -> None:  # fmt: skip
        self._world = world
        self._identity = identity
        metadata = sa.MetaData()
        self._signers, self._inbox = SignerStore(metadata), Inbox(metadata)
        self._records = CardRecords(metadata)
        self._production = CardProduction(world, authorities, relay, self.vouchers)
        self._keys_may_be_left = True
        self.store = world.store(ACTOR, metadata, MIGRATIONS)

    # Orders

    def issue(self, name: str, order: Order) -> Path:
        """Issue a card under a name and return the path of its image.

        Raises ImageExists if a card with that name exists, RelayFailed if the authorities cannot be reached (`resume`
        then continues the case), RenewalRejected if the order cannot be carried out, and the authorities' exceptions.
        """
        path = image_path(self._world, checked_name(name, "card", "/"))
        if path.exists():
            raise ImageExists(f"a card {name!r} already exists; choose another name with --name")
        with self.store.transaction() as connection:
            case = self._records.open_case(connection, name) or self._open(connection, name, CaseType.NEW, order)
        self._carry_out(case)
        return path

    def renew(self, name: str) -> list[CertificateType]:
        """Renew the certificates on a card that have ended, are no longer good, or end within three months.

        Returns the renewed types. Raises NoSuchCard, RenewalRejected, RelayFailed, and the authorities' exceptions.
        """
        with self.store.transaction() as connection:
            card = self._records.card(connection, name)
            if card.state != CardState.ACTIVE.value:
                raise RenewalRejected(f"the card {name!r} is {card.state}; its certificates cannot be renewed")
            holder = ResidentRecordCode(card.holder)
            wanted = self._production.renewable(card.number, self._identity(holder))
            case = self._records.open_case(connection, name) or self._open(
                connection, name, CaseType.RENEWAL, Order(holder, self._world.clock.now())
            )
        self._carry_out(case)
        return wanted

    def cases(self, holder: str | None = None) -> list[IssuanceCase]:
        """Return the cases of a resident (by resident record code), or all cases, in order."""
        with self.store.reading() as connection:
            return self._records.cases(connection, holder)

    def due(self) -> datetime | None:
        """Return AT_ONCE if a case is open, or if a process that was killed left keys behind, else None."""
        with self.store.reading() as connection:
            is_open = self._records.has_open_case(connection)
        self._keys_may_be_left = self._keys_may_be_left and any(self._world.cards.glob(".*.keys"))
        return AT_ONCE if is_open or self._keys_may_be_left else None

    def resume(self) -> int:
        """Continue every open case; return how many were finished. Keys that a closed case has left are deleted."""
        done, self._keys_may_be_left = 0, False
        for case in self.cases():
            if case.state is not CaseState.OPEN:
                self._keys(case).finish()
                continue
            try:
                self._carry_out(case)
                done += 1
            except (RelayFailed, NoSuchResident):  # no connection now, or the registration has not arrived yet
                continue
            except RenewalRejected:  # the case was closed as refused
                continue
        return done

    def card_state(self, name: str) -> CardState:
        """Return the state of a card. Raises NoSuchCard."""
        with self.store.reading() as connection:
            return CardState(self._records.card(connection, name).state)

    def vouchers(self, municipality: MunicipalityCode, model: IssuedModel = CARD) -> CardSigners:
        """Return the signers of the card-verifiable certificates on a municipality's cards of a model, created at first
        use."""
        keys = self._production.key_source(model)
        return self._signers.signers(self.store, keys, municipality, model.generation)

    # Notices

    def receive(self, messages: Sequence[Message]) -> None:
        """Process J-LIS's notices: stop, end or reactivate cards, and order renewals."""
        now = self._world.clock.now()
        with self.store.transaction() as connection:
            for notice in map(Notice.from_message, self._inbox.fresh(connection, messages)):
                code, former = notice.record_code, notice.former_code
                if code != former:
                    self._records.recode(connection, former, code)
                state, renews = consequence(notice.event, notice.details)
                names = self._records.cards_in_use(connection, code)
                if state is not None:
                    self._records.set_state(connection, now, names, state, notice.event.code)
                if renews:
                    for name in names:
                        if self._records.open_case(connection, name) is None:
                            self._open(connection, name, CaseType.RENEWAL, Order(code, now))

    # Carrying out cases

    def _open(self, connection: sa.Connection, name: str, what: CaseType, order: Order) -> IssuanceCase:
        return self._records.open(connection, self._world.clock.now(), name, what, order)

    def _carry_out(self, case: IssuanceCase) -> None:
        keys_in_progress = self._keys(case)
        with keys_in_progress.held():
            # Both the process that ordered a case and the running instance carry it out. The second finds it done.
            with self.store.reading() as connection:
                current = self._records.case_at(connection, case.position)
            if current.state is not CaseState.OPEN:
                return
            card = None
            try:
                resident = self._identity(current.order.code)
                if case.what is CaseType.NEW:
                    card = self._production.make(current, resident, keys_in_progress)
                else:
                    self._production.renew(
                        current, resident, keys_in_progress, lambda number: self._settled(current, number, resident)
                    )
            except (ValueError, ImageMissing, DamagedImage, RenewalRejected) as error:
                # Such a case can never be carried out. It is closed so that it does not block other cases.
                self._close(case, CaseState.REFUSED, str(error))
                keys_in_progress.finish()
                raise RenewalRejected(str(error)) from error
            self._close(case, CaseState.DONE, "", card)
            keys_in_progress.finish()

    def _keys(self, case: IssuanceCase) -> KeysInProgress:
        return KeysInProgress(self._world.cards / f".{case.name}.{case.position}.keys")

    def _close(self, case: IssuanceCase, state: CaseState, note: str, card: dict[str, str] | None = None) -> None:
        with self.store.transaction() as connection:
            self._records.close(connection, self._world.clock.now(), case, state, note, card)

    def _settled(self, case: IssuanceCase, number: str, resident: Resident) -> dict[str, int | None]:
        """Return the certificate types that a renewal replaces, with the old serial numbers; see `IssuanceCase.renews`.

        This is decided once per case, because the certificates that the case has already issued are good and would not
        be renewed again.
        """
        if case.renews is not None:
            return case.renews
        renews: dict[str, int | None] = {}
        for kind in self._production.renewable(number, resident):
            before = self._production.latest(kind, number)
            renews[kind.code] = before.serial if before else None
        with self.store.transaction() as connection:
            self._records.settle(connection, case, renews)
        return renews
