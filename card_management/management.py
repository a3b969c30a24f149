"""The card management system (カード管理システム): a case from the order to the card.

A case goes through steps, each of which is on disk before the next: the order, the keys on the chip, a certificate for
each, the card. Cut off anywhere, it goes on there: the keys are the same, and an authority answers a request once.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import Enum
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from kazashi.applets import jpki
from kazashi.applets.holder import CardCertificates, CardData, CardSigners, ChipKeys, Holder, Personalisation
from kazashi.applets.install import personalise
from kazashi.card.certification_request import certification_request
from kazashi.card.image import DamagedImage, ImageExists, ImageMissing, read_image, rewrite_application, write_image
from kazashi.card.key import PrivateKey
from kazashi.card_management.consequence import CardState, consequence
from kazashi.card_management.keys_in_progress import KEYS_OF_A_CARD, KeysInProgress
from kazashi.card_management.order import Order, image_path
from kazashi.card_management.relay import Relay, RelayFailed
from kazashi.card_management.signers import SignerStore
from kazashi.jpki.profile import CertificateType
from kazashi.jpki.state import CertificateState
from kazashi.pki.authority import Authority
from kazashi.pki.certificate import CertificateRequest
from kazashi.pki.certificate_database import Issued
from kazashi.pki.validity import SIGNATURE_AGE, card_end, certificate_end, renewal_opens
from kazashi.resident_registry.municipality import MunicipalityCode
from kazashi.resident_registry.notice import Notice
from kazashi.resident_registry.number import ResidentRecordCode
from kazashi.resident_registry.registry import NoSuchResident
from kazashi.resident_registry.resident import Resident
from kazashi.world.clock import JST
from kazashi.world.event_log import event_table
from kazashi.world.home import World
from kazashi.world.outbox import Inbox, Message
from kazashi.world.schedule import AT_ONCE
from kazashi.world.storage import Position

ACTOR = "card_management"
SENDINGS = 5
"""How often a request is sent before the case is laid aside."""


class RenewalRejected(Exception):
    """The card's certificates cannot be renewed now; the message says why."""


class NoSuchCard(Exception):
    """The card management has issued no card of that name."""


class CaseType(Enum):
    """What a case is about."""

    NEW = "new"
    """A card."""
    RENEWAL = "renewal"
    """New certificates on a card."""


class CaseState(Enum):
    """How far a case has come."""

    OPEN = "open"
    DONE = "done"
    REFUSED = "refused"
    """It cannot be carried out; the case's note says why."""


@dataclass(frozen=True, slots=True)
class IssuanceCase:
    """An order in the card management's store. `renews` says of a renewal, once that is settled, which kinds of
    certificate it is about and the serial number that each takes the place of."""

    position: int
    name: str
    what: CaseType
    state: CaseState
    note: str
    order: Order
    renews: dict[str, int | None] | None = None


class CardManagement:
    """Issues cards and renews what is on them."""

    def __init__(
        self, world: World, identity: Callable[[ResidentRecordCode], Resident],
        authorities: dict[CertificateType, Authority],
        relay: Relay,
    ) -> None:  # fmt: skip
        self._world = world
        self._identity = identity
        self._authorities = authorities
        self._relay = relay
        metadata = sa.MetaData()
        self._signers, self._inbox = SignerStore(metadata), Inbox(metadata)
        self._card = sa.Table(
            "card", metadata,
            sa.Column("name", sa.Text, primary_key=True),
            sa.Column("number", sa.Text, unique=True, nullable=False),
            sa.Column("holder", sa.Text, nullable=False, index=True),
            sa.Column("state", sa.Text, nullable=False),
            sa.Column("expires", sa.Text, nullable=False),
        )  # fmt: skip
        self._case = sa.Table(
            "card_case", metadata,
            sa.Column("position", Position, primary_key=True),
            sa.Column("name", sa.Text, nullable=False),
            sa.Column("holder", sa.Text, nullable=False, index=True),
            sa.Column("what", sa.Text, nullable=False),
            sa.Column("state", sa.Text, nullable=False, index=True),
            sa.Column("note", sa.Text, nullable=False),
            sa.Column("document", sa.Text, nullable=False),
        )  # fmt: skip
        _, self._log = event_table(metadata, sa.Column("name", sa.Text, nullable=False))
        self.store = world.store(ACTOR, metadata, [_details_as_json])

    # Orders

    def issue(self, name: str, order: Order) -> Path:
        """Issue a card under a name; answers its image.

        Raises ImageExists where there is one of that name, RelayFailed where the authorities cannot be reached (then
        `resume` takes the case up), and what the authorities raise.
        """
        path = image_path(self._world, name)
        if path.exists():
            raise ImageExists(f"there is a card {name!r} already; choose another name with --name")
        with self.store.transaction() as connection:
            case = self._open_case(connection, name) or self._open(connection, name, CaseType.NEW, order)
        self._carry_out(case)
        return path

    def renew(self, name: str) -> list[CertificateType]:
        """New certificates on a card, for those that have ended, are worth nothing any more, or end within three
        months; answers which. Raises NoSuchCard, RenewalRejected, and as `issue` does."""
        with self.store.transaction() as connection:
            card = connection.execute(sa.select(self._card).where(self._card.c.name == name)).one_or_none()
            if card is None:
                raise NoSuchCard(f"there is no card {name!r} from this card management; see: kazashi card list")
            if card.state != CardState.ACTIVE.value:
                raise RenewalRejected(f"the card {name!r} is {card.state}, and nothing is put on it any more")
            wanted = self._renewable(card.number, self._identity(ResidentRecordCode(card.holder)))
            case = self._open_case(connection, name) or self._open(
                connection, name, CaseType.RENEWAL, Order(ResidentRecordCode(card.holder), self._world.clock.now())
            )
        self._carry_out(case)
        return wanted

    def cases(self, holder: str | None = None) -> list[IssuanceCase]:
        """The cases of a person, or all of them, in order."""
        query = sa.select(self._case).order_by(self._case.c.position)
        if holder is not None:
            query = query.where(self._case.c.holder == holder)
        with self.store.reading() as connection:
            return [_case_of(row) for row in connection.execute(query)]

    def due(self) -> datetime | None:
        """At once, where a case is open; None where none is."""
        with self.store.reading() as connection:
            found = connection.scalar(
                sa.select(self._case.c.position).where(self._case.c.state == CaseState.OPEN.value).limit(1)
            )
        return None if found is None else AT_ONCE

    def resume(self) -> int:
        """Go on with every open case; answers how many were finished."""
        done = 0
        for case in self.cases():
            if case.state is not CaseState.OPEN:
                continue
            try:
                self._carry_out(case)
                done += 1
            except (RelayFailed, NoSuchResident):  # no way there now, or the registration is still on its way
                continue
            except RenewalRejected:  # and closed
                continue
        return done

    def card_state(self, name: str) -> CardState:
        """What a card is worth. Raises NoSuchCard."""
        with self.store.reading() as connection:
            state = connection.scalar(sa.select(self._card.c.state).where(self._card.c.name == name))
        if state is None:
            raise NoSuchCard(f"there is no card {name!r} from this card management; see: kazashi card list")
        return CardState(state)

    def vouchers(self, municipality: MunicipalityCode) -> CardSigners:
        """The signers of the card-verifiable certificates on a municipality's cards; made at their first use."""
        return self._signers.signers(self.store, self._world.keys, municipality)

    # Notices

    def receive(self, messages: Sequence[Message]) -> None:
        """Take J-LIS's notices: cards are stopped, ended, found again, and renewals are ordered."""
        card, case = self._card, self._case
        with self.store.transaction() as connection:
            for notice in map(Notice.from_message, self._inbox.fresh(connection, messages)):
                code, former = notice.record_code, notice.former_code
                if code != former:
                    for table in (card, case):
                        connection.execute(sa.update(table).where(table.c.holder == former).values(holder=code))
                state, renews = consequence(notice.event, notice.details)
                active = sa.select(card.c.name).where((card.c.holder == code) & (card.c.state != CardState.ENDED.value))
                names = connection.scalars(active).all()
                if state is not None and names:
                    connection.execute(sa.update(card).where(card.c.name.in_(names)).values(state=state.value))
                    for name in names:
                        note = {"note": notice.event.code}
                        self._log(connection, self._world.clock.now(), state.value, note, name=name)
                if renews:
                    for name in names:
                        if self._open_case(connection, name) is None:
                            order = Order(code, self._world.clock.now())
                            self._open(connection, name, CaseType.RENEWAL, order)

    # Inside

    def _open(self, connection: sa.Connection, name: str, what: CaseType, order: Order) -> IssuanceCase:
        row = {"name": name, "holder": order.code, "what": what.value, "state": CaseState.OPEN.value, "note": "",
               "document": json.dumps(order.as_dict())}  # fmt: skip
        connection.execute(sa.insert(self._case), row)
        self._log(connection, self._world.clock.now(), f"{what.value} ordered", {}, name=name)
        case = self._open_case(connection, name)
        assert case is not None
        return case

    def _by_position(self, position: int) -> IssuanceCase:
        with self.store.reading() as connection:
            return _case_of(connection.execute(sa.select(self._case).where(self._case.c.position == position)).one())

    def _open_case(self, connection: sa.Connection, name: str) -> IssuanceCase | None:
        here = (self._case.c.name == name) & (self._case.c.state == CaseState.OPEN.value)
        row = connection.execute(sa.select(self._case).where(here)).one_or_none()
        return None if row is None else _case_of(row)

    def _carry_out(self, case: IssuanceCase) -> None:
        workpiece = KeysInProgress(self._world.cards / f".{case.name}.{case.position}.keys")
        with workpiece.held():
            # Whoever ordered carries a case out, and so does the running bench: the second finds it done.
            if (current := self._by_position(case.position)).state is not CaseState.OPEN:
                return
            try:
                card = self._make(current, workpiece) if case.what is CaseType.NEW else None
                if card is None:
                    self._renew(current, workpiece)
            except (ValueError, ImageMissing, DamagedImage, RenewalRejected) as error:
                # What cannot be carried out now never can be, and must not stand in the way of other cases.
                self._close(case, CaseState.REFUSED, str(error))
                raise RenewalRejected(str(error)) from error
            self._close(case, CaseState.DONE, "", card)
            workpiece.finish()

    def _close(self, case: IssuanceCase, state: CaseState, note: str, card: dict[str, str] | None = None) -> None:
        here = self._case.c.position == case.position
        with self.store.transaction() as connection:
            connection.execute(sa.update(self._case).where(here).values(state=state.value, note=note))
            if card is not None:
                row = {"name": case.name, "holder": case.order.code, "state": CardState.ACTIVE.value, **card}
                connection.execute(sa.insert(self._card), row)
            detail = {"note": note} if note else {}
            done = f"{case.what.value} {state.value}"
            self._log(connection, self._world.clock.now(), done, detail, name=case.name)

    def _make(self, case: IssuanceCase, workpiece: KeysInProgress) -> dict[str, str]:
        """Make the card of a case; answers its number and the day on which it expires."""
        order, resident = case.order, self._identity(case.order.code)
        day = order.issued.astimezone(JST).date()
        ends = card_end(day, resident.birth)
        chance = self._world.random_stream("card", case.name, order.issued.isoformat())
        card = CardData(
            expiry=f"{ends:%Y%m%d}",
            security_code=f"{chance.randrange(10**4):04d}",
            serial=f"4{chance.randrange(10**14):014d}",
            contact_atr=order.contact_atr,
        )
        keys = workpiece.keys(KEYS_OF_A_CARD, self._world.keys)
        kinds = [
            kind
            for kind in CertificateType
            if kind is CertificateType.AUTHENTICATION or resident.birth.age_on(day) >= SIGNATURE_AGE
        ]
        not_after = certificate_end(order.issued, resident.birth, ends, resident.stay_end)
        request = CertificateRequest(
            resident=resident,
            certification_request=b"",
            not_before=order.issued,
            not_after=not_after,
            medium_id=card.serial,
        )
        certificates = {kind: self._certified(case, kind, keys, request) for kind in kinds}
        data = Personalisation(
            holder=_holder(resident),
            card=card,
            certificates=self._certificates(certificates, {kind: keys[kind.code] for kind in kinds}, order.issued),
            vouchers=self.vouchers(resident.municipality.code),
            keys=ChipKeys(
                text=PrivateKey(keys["text"]),
                text_session=PrivateKey(keys["text session"]),
                visual=PrivateKey(keys["visual"]),
                common=PrivateKey(keys["common"]),
            ),
            pins=order.pins,
            chance=chance,
        )
        path = image_path(self._world, case.name)
        path.parent.mkdir(mode=0o700, exist_ok=True)
        if not path.exists():  # else the case was cut off after its card was written
            write_image(path, personalise(data), _about(order, resident, data))
        return {"number": card.serial, "expires": ends.isoformat()}

    def _renewable(self, number: str, resident: Resident) -> list[CertificateType]:
        """Which kinds of certificate a card may have anew. Raises RenewalRejected where it is none."""
        day = self._world.clock.now().astimezone(JST).date()
        wanted, opens = [], []
        for kind in CertificateType:
            if kind is CertificateType.SIGNATURE and resident.birth.age_on(day) < SIGNATURE_AGE:
                continue
            held = self._latest(kind, number)
            if (
                held is None
                or self._authorities[kind].revocations.status(held.serial).state is not CertificateState.GOOD
                or renewal_opens(held.not_after) <= day
            ):
                wanted.append(kind)
            else:
                opens.append(renewal_opens(held.not_after))
        if not wanted:
            raise RenewalRejected(f"both certificates are good, and can be renewed from {min(opens)} on")
        return wanted

    def _renew(self, case: IssuanceCase, workpiece: KeysInProgress) -> None:
        path = image_path(self._world, case.name)
        contents, about = read_image(path)
        resident = self._identity(case.order.code)
        number, ends = about["card number"], about["expiry"]
        last_day = datetime.strptime(ends, "%Y%m%d").date()
        issued = case.order.issued
        if last_day < issued.astimezone(JST).date():
            raise RenewalRejected(f"the card {case.name!r} itself ended on {last_day}; order a new one")
        held = contents[jpki.AID]
        certificates: dict[CertificateType, bytes] = {}
        keys: dict[CertificateType, bytes] = {}
        for kind, certificate_file, key_file in _FILES:
            if held.keys.get(key_file):
                certificates[kind], keys[kind] = unfilled(held.data[certificate_file]), held.keys[key_file]
        renews = self._settled(case, number, resident)
        made = workpiece.keys(list(renews), self._world.keys)
        for kind in (found for found in CertificateType if found.code in renews):
            serial = renews[kind.code]
            ended = None if serial is None else self._authorities[kind].find(serial).not_after
            not_after = certificate_end(issued, resident.birth, last_day, resident.stay_end, ended)
            request = CertificateRequest(
                resident=resident,
                certification_request=b"",
                not_before=issued,
                not_after=not_after,
                medium_id=number,
                renews=serial,
            )
            certificates[kind], keys[kind] = self._certified(case, kind, made, request), made[kind.code]
        card = CardData(ends, "", number, case.order.contact_atr)
        renewed = jpki.written(self._certificates(certificates, keys, issued), case.order.pins, card)
        # A child's card gets its first signature certificate, and with it a password, when the child has grown up.
        password = about["signature password"] or (
            case.order.pins.signature if CertificateType.SIGNATURE in certificates else ""
        )
        changed = {"signature password": password}
        rewrite_application(path, jpki.AID, replace(renewed, objects=held.objects), changed)

    def _settled(self, case: IssuanceCase, number: str, resident: Resident) -> dict[str, int | None]:
        """Which kinds a renewal is about, and which certificate each takes the place of. Settled once, because what the
        case has already brought is good, and would not be renewed by itself."""
        if case.renews is not None:
            return case.renews
        renews: dict[str, int | None] = {}
        for kind in self._renewable(number, resident):
            before = self._latest(kind, number)
            renews[kind.code] = before.serial if before else None
        document = json.dumps({**case.order.as_dict(), "renews": renews})
        with self.store.transaction() as connection:
            connection.execute(
                sa.update(self._case).where(self._case.c.position == case.position).values(document=document)
            )
        return renews

    def _latest(self, kind: CertificateType, number: str) -> Issued | None:
        """The card's last certificate of a kind."""
        issued = self._authorities[kind].of_medium(number)
        return issued[-1] if issued else None

    def _certified(
        self, case: IssuanceCase, kind: CertificateType, keys: dict[str, bytes], request: CertificateRequest
    ) -> bytes:
        request = replace(
            request,
            certification_request=certification_request(keys[kind.code]),
            identifier=f"case {case.position} {kind.code}",
        )
        for _ in range(SENDINGS - 1):
            try:
                return self._relay.send(kind, request)
            except RelayFailed:
                continue
        return self._relay.send(kind, request)

    def _certificates(
        self, certificates: dict[CertificateType, bytes], keys: dict[CertificateType, bytes], issued: datetime
    ) -> CardCertificates:
        return CardCertificates(
            signature=certificates.get(CertificateType.SIGNATURE),
            signature_key=keys.get(CertificateType.SIGNATURE),
            signature_authority=self._authorities[CertificateType.SIGNATURE].root(issued),
            authentication=certificates.get(CertificateType.AUTHENTICATION),
            authentication_key=keys.get(CertificateType.AUTHENTICATION),
            authentication_authority=self._authorities[CertificateType.AUTHENTICATION].root(issued),
        )


def _details_as_json(connection: sa.Connection) -> None:
    """To version 2: what the log said beside an event was a note, and is an object now, as in every store."""
    event = sa.table("event", sa.column("position"), sa.column("detail"))
    for row in connection.execute(sa.select(event)).all():
        detail = json.dumps({"note": row.detail} if row.detail else {}, ensure_ascii=False)
        connection.execute(sa.update(event).where(event.c.position == row.position).values(detail=detail))


_FILES = (
    (CertificateType.SIGNATURE, jpki.SIGNATURE_CERTIFICATE, jpki.SIGNATURE_KEY),
    (CertificateType.AUTHENTICATION, jpki.AUTHENTICATION_CERTIFICATE, jpki.AUTHENTICATION_KEY),
)


def _case_of(row: Any) -> IssuanceCase:
    document = json.loads(row.document)
    return IssuanceCase(
        position=row.position,
        name=row.name,
        what=CaseType(row.what),
        state=CaseState(row.state),
        note=row.note,
        order=Order.from_dict(row.holder, document),
        renews=document.get("renews"),
    )


def unfilled(content: bytes) -> bytes:
    """A certificate out of a file that is longer than it."""
    return content[: int.from_bytes(content[2:4]) + 4]


def _holder(resident: Resident) -> Holder:
    return Holder(
        name=str(resident.name),
        address=resident.address,
        birth=str(resident.birth),
        birth_in_era_years=resident.birth.in_era_years,
        sex=resident.sex.value,
        individual_number=resident.individual_number or "",
        municipality_code=resident.municipality.code,
    )


def _about(order: Order, resident: Resident, data: Personalisation) -> dict[str, str]:
    """What the image says of itself to whoever lists it; the PINs are those it was made with."""
    return {
        "resident": resident.alias,
        "name": data.holder.name,
        "individual number": data.holder.individual_number,
        "reference number B": data.card.reference_number_b(data.holder),
        "birth PIN": data.holder.birth_in_era_years,
        "authentication PIN": order.pins.authentication,
        "signature password": order.pins.signature if data.certificates.signature else "",
        "text PIN": order.pins.text,
        "juki PIN": order.pins.juki,
        "card number": data.card.serial,
        "issued": order.issued.astimezone(JST).isoformat(),
        "expiry": data.card.expiry,
    }
