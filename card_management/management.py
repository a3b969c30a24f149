"""The card management system (カード管理システム): carries out cases, from the order to the card.

The steps of a case are the order, the keys on the chip, a certificate for each, and the card. Each step is on disk
before the next begins. An interrupted case continues where it stopped: the keys are the same, and an authority issues
one certificate per request.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import date, datetime, timedelta
from pathlib import Path

import sqlalchemy as sa

from kazashi.applets.holder import CardSigners
from kazashi.applets.verifiable_certificate import CertificateSigner
from kazashi.card.image import DamagedImage, ImageExists, ImageMissing
from kazashi.card_management.case import CaseState, CaseType, IssuanceCase
from kazashi.card_management.consequence import CardState, consequence
from kazashi.card_management.entitlement import (
    ApplicationRejected,
    OldCard,
    ReissueReason,
    check_holder,
    check_reissue,
    ready,
)
from kazashi.card_management.keys_in_progress import KeysInProgress
from kazashi.card_management.models import CARD, MODELS_OF_CARDS, IssuedModel
from kazashi.card_management.order import DEFAULT_LENGTH_FORM, Order, image_path
from kazashi.card_management.production import CardProduction, RenewalRejected
from kazashi.card_management.records import MIGRATIONS, CardRecords
from kazashi.card_management.relay import Relay, RelayFailed
from kazashi.card_management.relay_server import RelayServer
from kazashi.card_management.signers import SignerStore
from kazashi.jpki.profile import CertificateType
from kazashi.pki.authority import Authority
from kazashi.resident_registry.municipality import MunicipalityCode
from kazashi.resident_registry.notice import Notice
from kazashi.resident_registry.number import ResidentRecordCode
from kazashi.resident_registry.registry import NoSuchResident
from kazashi.resident_registry.resident import Resident
from kazashi.world.clock import JST, in_japan, today
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
        self.relay = RelayServer(world, metadata, relay, lambda: self.store)
        self._production = CardProduction(world, authorities, self.relay, self.vouchers)
        self._keys_may_be_left = True
        self.store = world.store(ACTOR, metadata, MIGRATIONS)

    # Orders

    def issue(self, name: str, order: Order) -> Path:
        """Issue a card under a name and return the path of its image.

        Raises ImageExists if a card with that name exists, RelayFailed if the authorities cannot be reached (`resume`
        then continues the case), ApplicationRejected if the order cannot be carried out, and the authorities'
        exceptions.
        """
        path = image_path(self._world, checked_name(name, "card", "/"))
        if path.exists():
            raise ImageExists(f"a card {name!r} already exists; choose another name with --name")
        with self.store.transaction() as connection:
            case = self._records.open_case(connection, name) or self._open(connection, name, CaseType.NEW, order)
        if case.order.issued <= self._world.clock.now():
            self._carry_out(case)
        return path

    def reissue(
        self, name: str, reason: ReissueReason, new_name: str, *, express: bool = False, model: str = ""
    ) -> datetime:
        """Take an application for a card in place of another one, and return when it will be delivered.

        The other one ends then, and its certificates are revoked. `model` is a name in MODELS_OF_CARDS, or empty for
        the model of the other card. Raises NoSuchCard, ImageExists, ApplicationRejected,
        and ValueError for an invalid name.
        """
        if image_path(self._world, checked_name(new_name, "card", "/")).exists():
            raise ImageExists(f"a card {new_name!r} already exists; choose another name with --name")
        now, day = self._world.clock.now(), today(self._world.clock)
        with self.store.transaction() as connection:
            row = self._records.card(connection, name)
            state, holder = CardState(row.state), ResidentRecordCode(row.holder)
            changes = [at for at, what, _ in self._records.history(connection, name) if what == state.value]
            since = changes[-1].astimezone(JST).date() if changes and state is not CardState.ACTIVE else day
            made = self._records.order_of(connection, name) or Order(holder, now)
            term = MODELS_OF_CARDS[made.model].profile.term
            old = OldCard(name, state, date.fromisoformat(row.expires), since, term)
            resident = self._identity(holder)
            check_holder(resident, day)
            check_reissue(reason, old, day)
            waiting = [case.name for case in self._records.open_cases(connection) if case.order.replaces == name]
            if waiting:
                raise ApplicationRejected(f"the card {waiting[0]!r} is being made in place of {name!r} already")
            at = ready(now, resident, express=express, entitled=(reason, old.since))
            order = replace(
                made, code=holder, issued=at, pins=replace(made.pins, tries_left={}), replaces=name,
                model=model or made.model,
            )  # fmt: skip
            self._open(connection, new_name, CaseType.NEW, order)
        return at

    def apply(self, name: str, order: Order, *, express: bool, entitled: date) -> datetime:
        """Take an application for a first card, and return when it will be delivered.

        `entitled` is the day on which the holder was registered, or came from abroad. Raises ImageExists,
        NoSuchResident, ApplicationRejected, and ValueError for an invalid name.
        """
        resident = self._identity(order.code)
        check_holder(resident, today(self._world.clock))
        at = ready(self._world.clock.now(), resident, express=express, entitled=entitled)
        self.issue(name, replace(order, issued=at))
        return at

    def renew(self, name: str) -> list[CertificateType]:
        """Renew a card's certificates (`at_counter`), and return the types that were issued."""
        return self.at_counter(name, CaseType.RENEWAL)

    def at_counter(self, name: str, what: CaseType) -> list[CertificateType]:
        """Carry out a renewal or an update of a card, which its holder has brought to a counter; return the types of
        certificate that were issued.

        Both bring the holder's data on the card up to date (券面事項の変更) and replace certificates that are no longer
        good, as the signature certificate after a move. A renewal also replaces those that end within three months; it
        is rejected if no certificate can be replaced, and an update if nothing at all is to be done. Raises NoSuchCard,
        RenewalRejected, RelayFailed, ImageMissing, DamagedImage, and the authorities' exceptions.
        """
        with self.store.transaction() as connection:
            card = self._records.card(connection, name)
            if card.state != CardState.ACTIVE.value:
                raise RenewalRejected(f"the card {name!r} is {card.state}; its certificates cannot be renewed")
            holder = ResidentRecordCode(card.holder)
            resident = self._identity(holder)
            if what is CaseType.RENEWAL:
                self._production.check_renewable(card.number, resident)
            wanted = self._production.renewable(what, card.number, resident)
            if not wanted and not self._production.new_entries(name, resident):
                raise RenewalRejected(f"the card {name!r} has the holder's registered data, and good certificates")
            case = self._records.open_case(connection, name) or self._open(
                connection, name, what, Order(holder, self._world.clock.now())
            )
        self._carry_out(case)
        return wanted

    def cases(self, holder: str | None = None) -> list[IssuanceCase]:
        """Return the cases of a resident (by resident record code), or all cases, in order."""
        with self.store.reading() as connection:
            return self._records.cases(connection, holder)

    def due(self) -> datetime | None:
        """Return when the next case can be carried out or the next card ends: AT_ONCE for an open case whose time has
        come, and if a process that was killed left keys behind; None if there is nothing to wait for."""
        with self.store.reading() as connection:
            cases = self._records.open_cases(connection)
            back = self.relay.status().down_until if cases else None
            instants = [max(case.order.issued, back or AT_ONCE) for case in cases]
            if (last := self._records.first_end(connection)) is not None:
                instants.append(in_japan(last + timedelta(days=1)))
        self._keys_may_be_left = self._keys_may_be_left and bool(self._left_keys())
        first = min(instants, default=None)
        due_now = first is not None and first <= self._world.clock.now()
        return AT_ONCE if due_now or self._keys_may_be_left else first

    def resume(self) -> int:
        """End the cards that have expired, and continue every open case whose time has come; return how many were
        finished. Keys that a closed case has left are deleted."""
        done, self._keys_may_be_left = 0, False
        now = self._world.clock.now()
        with self.store.transaction() as connection:
            expired = self._records.expired(connection, today(self._world.clock))
            self._records.set_state(connection, now, expired, CardState.ENDED, "expired")
            cases = self._records.open_cases(connection)
        open_keys = {self._keys(case).path for case in cases}
        for path in self._left_keys():
            if path not in open_keys:
                KeysInProgress(path).finish()
        for case in cases:
            if case.order.issued > now:
                continue
            try:
                self._carry_out(case)
                done += 1
            except (RelayFailed, NoSuchResident):  # no connection now, or the registration has not arrived yet
                continue
            except (RenewalRejected, ApplicationRejected):  # the case was closed as refused
                continue
        return done

    def _left_keys(self) -> list[Path]:
        # The keys of phones and Juki cards in progress have other suffixes.
        return sorted(self._world.cards.glob(".*.keys"))

    def card_state(self, name: str) -> CardState:
        """Return the state of a card. Raises NoSuchCard."""
        with self.store.reading() as connection:
            return CardState(self._records.card(connection, name).state)

    def cards_of(self, holder: ResidentRecordCode) -> dict[str, CardState]:
        """Return all cards of a resident with their states, by name."""
        with self.store.reading() as connection:
            return self._records.cards_of(connection, holder)

    def last_day(self, name: str) -> date:
        """Return the last day of a card. Raises NoSuchCard."""
        with self.store.reading() as connection:
            return date.fromisoformat(self._records.card(connection, name).expires)

    def model(self, name: str) -> IssuedModel:
        """Return the model of a card, by the order for it."""
        with self.store.reading() as connection:
            order = self._records.order_of(connection, name)
        return CARD if order is None else MODELS_OF_CARDS[order.model]

    def history(self, name: str) -> list[tuple[datetime, str, str]]:
        """Return what happened to a card: the time, what, and a note, in order. It may be empty."""
        with self.store.reading() as connection:
            return self._records.history(connection, name)

    def holder(self, name: str) -> ResidentRecordCode:
        """Return the resident record code of a card's holder. Raises NoSuchCard."""
        with self.store.reading() as connection:
            return ResidentRecordCode(self._records.card(connection, name).holder)

    def vouchers(self, municipality: MunicipalityCode, model: IssuedModel = CARD) -> CardSigners:
        """Return the signers of the card-verifiable certificates on a municipality's cards of a model, created at first
        use."""
        keys = self._production.key_source(model)
        return self._signers.signers(self.store, keys, municipality, model.generation)

    @property
    def terminal_authority(self) -> CertificateSigner:
        """The authority for terminals that log in without a PIN, created at first use."""
        return self._signers.terminal_authority(self.store, self._world.keys)

    def licence_signer(self, prefecture: str) -> CertificateSigner:
        """The signer of the driver's licences of a prefecture (two digits), created at first use."""
        return self._signers.licence_signer(self.store, self._world.keys, prefecture)

    # Notices

    def receive(self, messages: Sequence[Message]) -> None:
        """Process J-LIS's notices: stop, end or reactivate cards, and order renewals."""
        now = self._world.clock.now()
        with self.store.transaction() as connection:
            for notice in map(Notice.from_message, self._inbox.fresh(connection, messages)):
                code, former = notice.record_code, notice.former_code
                if code != former:
                    self._records.recode(connection, former, code)
                state, what = consequence(notice.event, notice.details)
                cards = self._records.cards_in_use(connection, code)
                if state is not None:
                    self._records.set_state(connection, now, list(cards), state, notice.event.code)
                if what is not None:
                    self._take_up(connection, what, code, [name for name, before in cards.items()
                                                           if (state or before) is CardState.ACTIVE])  # fmt: skip

    def _take_up(
        self, connection: sa.Connection, what: CaseType, holder: ResidentRecordCode, names: Sequence[str]
    ) -> None:
        """Open a case that follows from an event for each of a holder's cards that has none open."""
        for name in names:
            if self._records.open_case(connection, name) is None:
                case = self._open(connection, name, what, Order(holder, self._world.clock.now()))
                if what is CaseType.UPDATE:
                    self._records.settle(connection, case, {})  # nobody has applied for certificates

    # Carrying out cases

    def _open(self, connection: sa.Connection, name: str, what: CaseType, order: Order) -> IssuanceCase:
        return self._records.open(connection, self._world.clock.now(), name, what, order)

    def _carry_out(self, case: IssuanceCase) -> None:
        keys_in_progress = self._keys(case)
        with keys_in_progress.held():
            # Both the process that ordered a case and the running instance carry it out. The second finds it done.
            with self.store.reading() as connection:
                current = self._records.case_at(connection, case.position)
                order = self._records.order_of(connection, case.name)
                replaced = self._records.number_of(connection, current.order.replaces)
            if current.state is not CaseState.OPEN:
                return
            card = None
            try:
                resident = self._identity(current.order.code)
                if case.what is CaseType.NEW:
                    check_holder(resident, today(self._world.clock))
                    card = self._production.make(current, resident, keys_in_progress)
                    if replaced is not None:
                        self._production.revoke(replaced)
                else:
                    self._production.renew(
                        current,
                        resident,
                        keys_in_progress,
                        lambda number: self._settled(current, number, resident),
                        DEFAULT_LENGTH_FORM if order is None else order.length_form,
                    )
            except (ValueError, ImageMissing, DamagedImage, RenewalRejected, ApplicationRejected) as error:
                # Such a case can never be carried out. It is closed so that it does not block other cases.
                self._close(case, CaseState.REFUSED, str(error))
                keys_in_progress.finish()
                rejected = ApplicationRejected if case.what is CaseType.NEW else RenewalRejected
                raise rejected(str(error)) from error
            self._close(case, CaseState.DONE, "", card)
            keys_in_progress.finish()

    def _keys(self, case: IssuanceCase) -> KeysInProgress:
        return KeysInProgress(self._world.cards / f".{case.name}.{case.position}.keys")

    def _close(self, case: IssuanceCase, state: CaseState, note: str, card: dict[str, str] | None = None) -> None:
        with self.store.transaction() as connection:
            now = self._world.clock.now()
            self._records.close(connection, now, case, state, note, card)
            if card is not None and case.order.replaces in self._records.cards_in_use(connection, case.order.code):
                self._records.set_state(
                    connection, now, [case.order.replaces], CardState.ENDED, f"replaced by {case.name}"
                )

    def _settled(self, case: IssuanceCase, number: str, resident: Resident) -> dict[str, int | None]:
        """Return the certificate types that a case issues, with the old serial numbers; see `IssuanceCase.renews`.

        This is decided once per case, because the certificates that the case has already issued are good and would not
        be renewed again.
        """
        if case.renews is not None:
            return case.renews
        if case.what is CaseType.RENEWAL:
            self._production.check_renewable(number, resident)
        renews: dict[str, int | None] = {}
        for kind in self._production.renewable(case.what, number, resident):
            before = self._production.latest(kind, number)
            renews[kind.code] = before.serial if before else None
        with self.store.transaction() as connection:
            self._records.settle(connection, case, renews)
        return renews
