"""The card management system (カード管理システム): carries out cases, from the order to the card.

The steps of a case are the order, the keys on the chip, a certificate for each, and the card. Each step is on disk
before the next begins. An interrupted case continues where it stopped: the keys are the same, and an authority issues
one certificate per request.
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
from kazashi.world.names import checked_name
from kazashi.world.outbox import Inbox, Message
from kazashi.world.schedule import AT_ONCE
from kazashi.world.storage import Position

ACTOR = "card_management"
SENDINGS = 5
"""How often a request is sent before the case is left open for later."""


class RenewalRejected(Exception):
    """The card's certificates cannot be renewed now; the message gives the reason."""


class NoSuchCard(Exception):
    """The card management has not issued a card with that name."""


class CaseType(Enum):
    """The type of a case."""

    NEW = "new"
    """Issue a card."""
    RENEWAL = "renewal"
    """Renew the certificates on a card."""


class CaseState(Enum):
    """The progress of a case."""

    OPEN = "open"
    DONE = "done"
    REFUSED = "refused"
    """It cannot be carried out; the case's note gives the reason."""


@dataclass(frozen=True, slots=True)
class IssuanceCase:
    """An order in the card management's store.

    For a renewal, `renews` maps the code of each certificate type to renew to the serial number that is replaced
    (None if there is none). It is None until this is decided.
    """

    position: int
    name: str
    what: CaseType
    state: CaseState
    note: str
    order: Order
    renews: dict[str, int | None] | None = None


class CardManagement:
    """Issues cards and renews the certificates on them. `identity` returns the resident with a resident record code."""

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
        self._keys_may_be_left = True
        self.store = world.store(ACTOR, metadata, [_details_as_json])

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
            case = self._open_case(connection, name) or self._open(connection, name, CaseType.NEW, order)
        self._carry_out(case)
        return path

    def renew(self, name: str) -> list[CertificateType]:
        """Renew the certificates on a card that have ended, are no longer good, or end within three months.

        Returns the renewed types. Raises NoSuchCard, RenewalRejected, RelayFailed, and the authorities' exceptions.
        """
        with self.store.transaction() as connection:
            card = connection.execute(sa.select(self._card).where(self._card.c.name == name)).one_or_none()
            if card is None:
                raise NoSuchCard(f"this card management has issued no card {name!r}; see: kazashi card list")
            if card.state != CardState.ACTIVE.value:
                raise RenewalRejected(f"the card {name!r} is {card.state}; its certificates cannot be renewed")
            wanted = self._renewable(card.number, self._identity(ResidentRecordCode(card.holder)))
            case = self._open_case(connection, name) or self._open(
                connection, name, CaseType.RENEWAL, Order(ResidentRecordCode(card.holder), self._world.clock.now())
            )
        self._carry_out(case)
        return wanted

    def cases(self, holder: str | None = None) -> list[IssuanceCase]:
        """Return the cases of a resident (by resident record code), or all cases, in order."""
        query = sa.select(self._case).order_by(self._case.c.position)
        if holder is not None:
            query = query.where(self._case.c.holder == holder)
        with self.store.reading() as connection:
            return [_case_of(row) for row in connection.execute(query)]

    def due(self) -> datetime | None:
        """Return AT_ONCE if a case is open, or if a process that was killed left keys behind, else None."""
        with self.store.reading() as connection:
            position = connection.scalar(
                sa.select(self._case.c.position).where(self._case.c.state == CaseState.OPEN.value).limit(1)
            )
        self._keys_may_be_left = self._keys_may_be_left and any(self._world.cards.glob(".*.keys"))
        return None if position is None and not self._keys_may_be_left else AT_ONCE

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
            state = connection.scalar(sa.select(self._card.c.state).where(self._card.c.name == name))
        if state is None:
            raise NoSuchCard(f"this card management has issued no card {name!r}; see: kazashi card list")
        return CardState(state)

    def vouchers(self, municipality: MunicipalityCode) -> CardSigners:
        """Return the signers of the card-verifiable certificates on a municipality's cards, created at first use."""
        return self._signers.signers(self.store, self._world.keys, municipality)

    # Notices

    def receive(self, messages: Sequence[Message]) -> None:
        """Process J-LIS's notices: stop, end or reactivate cards, and order renewals."""
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

    # Carrying out cases

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
        condition = (self._case.c.name == name) & (self._case.c.state == CaseState.OPEN.value)
        row = connection.execute(sa.select(self._case).where(condition)).one_or_none()
        return None if row is None else _case_of(row)

    def _carry_out(self, case: IssuanceCase) -> None:
        keys_in_progress = self._keys(case)
        with keys_in_progress.held():
            # Both the process that ordered a case and the running instance carry it out. The second finds it done.
            if (current := self._by_position(case.position)).state is not CaseState.OPEN:
                return
            try:
                card = self._make(current, keys_in_progress) if case.what is CaseType.NEW else None
                if card is None:
                    self._renew(current, keys_in_progress)
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
        condition = self._case.c.position == case.position
        with self.store.transaction() as connection:
            connection.execute(sa.update(self._case).where(condition).values(state=state.value, note=note))
            if card is not None:
                row = {"name": case.name, "holder": case.order.code, "state": CardState.ACTIVE.value, **card}
                connection.execute(sa.insert(self._card), row)
            detail = {"note": note} if note else {}
            event = f"{case.what.value} {state.value}"
            self._log(connection, self._world.clock.now(), event, detail, name=case.name)

    def _make(self, case: IssuanceCase, keys_in_progress: KeysInProgress) -> dict[str, str]:
        """Make the card of a case; return its number and its last day (ISO) as `number` and `expires`."""
        order, resident = case.order, self._identity(case.order.code)
        day = order.issued.astimezone(JST).date()
        ends = card_end(day, resident.birth)
        rng = self._world.random_stream("card", case.name, order.issued.isoformat())
        card = CardData(
            expiry=f"{ends:%Y%m%d}",
            security_code=f"{rng.randrange(10**4):04d}",
            serial=f"4{rng.randrange(10**14):014d}",
            contact_atr=order.contact_atr,
            length_form=order.length_form,
        )
        keys = keys_in_progress.keys(KEYS_OF_A_CARD, self._world.keys)
        kinds = [
            kind
            for kind in CertificateType
            if kind is CertificateType.AUTHENTICATION or resident.birth.age_on(day) >= SIGNATURE_AGE
        ]
        not_after = certificate_end(order.issued, resident.birth, ends, resident.stay_end)
        request = CertificateRequest(
            resident=resident, certification_request=b"", not_before=order.issued, not_after=not_after,
            medium_id=card.serial,
        )  # fmt: skip
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
            pins=order.pins, chance=rng, photograph=order.photograph,
        )  # fmt: skip
        path = image_path(self._world, case.name)
        if not path.exists():  # it exists if the case was interrupted after its card was written
            write_image(path, personalise(data), _about(order, resident, data))
        return {"number": card.serial, "expires": ends.isoformat()}

    def _renewable(self, number: str, resident: Resident) -> list[CertificateType]:
        """Return the certificate types that can be renewed on a card. Raises RenewalRejected if there are none."""
        day = self._world.clock.now().astimezone(JST).date()
        wanted, opens = [], []
        for kind in CertificateType:
            if kind is CertificateType.SIGNATURE and resident.birth.age_on(day) < SIGNATURE_AGE:
                continue
            latest = self._latest(kind, number)
            if (
                latest is None
                or self._authorities[kind].revocations.status(latest.serial).state is not CertificateState.GOOD
                or renewal_opens(latest.not_after) <= day
            ):
                wanted.append(kind)
            else:
                opens.append(renewal_opens(latest.not_after))
        if not wanted:
            raise RenewalRejected(f"the card's certificates are good; they can be renewed from {min(opens)} on")
        return wanted

    def _renew(self, case: IssuanceCase, keys_in_progress: KeysInProgress) -> None:
        path = image_path(self._world, case.name)
        contents, about = read_image(path)
        resident = self._identity(case.order.code)
        number, ends = about["card number"], about["expiry"]
        last_day = datetime.strptime(ends, "%Y%m%d").date()
        issued = case.order.issued
        if last_day < issued.astimezone(JST).date():
            raise RenewalRejected(f"the card {case.name!r} expired on {last_day}; order a new one")
        applet = contents[jpki.AID]
        certificates: dict[CertificateType, bytes] = {}
        keys: dict[CertificateType, bytes] = {}
        for kind, certificate_file, key_file in _FILES:
            if applet.keys.get(key_file):
                certificates[kind], keys[kind] = unfilled(applet.data[certificate_file]), applet.keys[key_file]
        renews = self._settled(case, number, resident)
        new_keys = keys_in_progress.keys(list(renews), self._world.keys)
        for kind in (item for item in CertificateType if item.code in renews):
            serial = renews[kind.code]
            ended = None if serial is None else self._authorities[kind].find(serial).not_after
            not_after = certificate_end(issued, resident.birth, last_day, resident.stay_end, ended)
            request = CertificateRequest(
                resident=resident, certification_request=b"", not_before=issued, not_after=not_after, medium_id=number,
                renews=serial,
            )  # fmt: skip
            certificates[kind], keys[kind] = self._certified(case, kind, new_keys, request), new_keys[kind.code]
        card = CardData(ends, "", number, case.order.contact_atr)
        renewed = jpki.written(self._certificates(certificates, keys, issued), case.order.pins, card)
        # A child's card gets its first signature certificate, and with it a password, from the 15th birthday on.
        password = about["signature password"] or (
            case.order.pins.signature if CertificateType.SIGNATURE in certificates else ""
        )
        changed = {"signature password": password}
        rewrite_application(path, jpki.AID, replace(renewed, objects=applet.objects), changed)

    def _settled(self, case: IssuanceCase, number: str, resident: Resident) -> dict[str, int | None]:
        """Return the certificate types that a renewal replaces, with the old serial numbers; see `IssuanceCase.renews`.

        This is decided once per case, because the certificates that the case has already issued are good and would not
        be renewed again.
        """
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
        """The latest certificate of a type on a card, by card number."""
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
    """Migrate to version 2: the detail of an event was a plain note, and is now a JSON object, as in every store."""
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
    """Return the certificate (DER) in a file's contents without the padding after it."""
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
    """The description of a card that is stored in its image and shown in lists. The PINs are the initial ones."""
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
