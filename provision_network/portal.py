"""The portal (情報提供等記録開示システム, マイナポータル): a person's provision records and own information, with an
access log.

It does not use the individual number. A folder has the portal's code for a person, and the serial numbers of the
authentication certificates that open it, or of the signature certificate on a Juki card (住基カード), which the plan of
2014 takes as well. They are linked once, at the initial setup; a policy decides what happens when a certificate is
renewed. When the person's registration ends, the folder is closed: it stays, and shows nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Any

import sqlalchemy as sa

from kazashi.jpki.profile import CertificateType
from kazashi.provision_network.asking import OutgoingRequest, RequestStage
from kazashi.provision_network.codes import PortalCode
from kazashi.provision_network.interface_system import InterfaceSystem
from kazashi.provision_network.intermediate import Received
from kazashi.provision_network.portal_store import (
    FOLDER,
    JUKI_CARD_SERIAL,
    LOOK,
    METADATA,
    OWN_INFORMATION,
    SERIAL,
    log,
)
from kazashi.provision_network.provision_records import RecordLook
from kazashi.provision_network.terms import NetworkRejected, ProvisionRecord, RequestOutcome, text_of
from kazashi.relying_party.login.sessions import Sessions
from kazashi.relying_party.verify.linkage import Linkage, authentication_serials
from kazashi.world.clock import epoch, from_epoch
from kazashi.world.home import World
from kazashi.world.rng import new_token
from kazashi.world.storage import insert_if_absent

ACTOR = "portal"
"""The name of the portal's store."""

BODY, INTERFACE_NAME = "マイナポータル", "portal"

CodeDesk = Callable[[int], PortalCode]
"""A function of the J-LIS office that returns the portal's code for the holder of an authentication certificate, by
serial number. Raises LinkageUnavailable if the office does not respond, and NetworkRejected if it does not know the
serial number."""

Records = Callable[[PortalCode], Sequence[ProvisionRecord]]
"""A function of the core that returns a person's records. Raises LinkageUnavailable, and NetworkRejected if they must
not be shown."""


RecordLooks = Callable[[PortalCode], Sequence[RecordLook]]
"""A function of the core that returns who has looked at a person's records other than through the portal. Raises
LinkageUnavailable and NetworkRejected."""


class Generations(Enum):
    """What happens to a folder when its certificate is renewed (世代管理), or its person gets another card or phone."""

    FOLLOWED = "followed"
    """The portal asks the authority for the person's other serial numbers: a new one opens the same folder."""
    BEGUN_ANEW = "begun-anew"
    """A new certificate opens no folder. The person repeats the setup, which finds the folder by the code."""


@dataclass(frozen=True, slots=True)
class Look:
    """An entry of the access log: `actor` has looked at something in the folder `subject`."""

    at: datetime
    actor: str
    subject: str
    what: str

    @property
    def alarm(self) -> bool:
        """Whether it was not the person themselves."""
        return self.actor != self.subject


@dataclass(frozen=True, slots=True)
class OwnInformation:
    """A person's request for their own information, and the answer if it has arrived."""

    asked: OutgoingRequest
    received: Received | None


class Portal:
    """The portal of one world."""

    def __init__(
        self, world: World, interface: InterfaceSystem, desk: CodeDesk, records: Records, linkage: Linkage,
        generations: Generations = Generations.FOLLOWED, record_looks: RecordLooks = lambda _: (),
        juki_card_desk: CodeDesk | None = None,
    ) -> None:  # fmt: skip
        """`juki_card_desk` is as `desk`, for signature certificates on Juki cards; None if the portal takes none."""
        self._world = world
        self._interface = interface
        self._desk = desk
        self._records = records
        self._linkage = linkage
        self._generations = generations
        self._record_looks = record_looks
        self._juki_card_desk = juki_card_desk
        self.store = world.store(ACTOR, METADATA, [Sessions.migrate])

    # Folders

    def set_up(self, serial: int) -> str:
        """Do the initial setup (初期設定) for a valid certificate, and return the folder.

        The code comes from the core through J-LIS, and is linked to the serial number. A person who has a folder keeps
        it. Raises NetworkRejected and LinkageUnavailable.
        """
        return self._begin(self._desk(serial), SERIAL, serial)

    def enter_with_juki_card(self, serial: int) -> str:
        """Return the folder of the holder of a valid signature certificate on a Juki card, which is set up at the first
        visit. Their Individual Number Card will open the same folder. Raises NetworkRejected and LinkageUnavailable."""
        table = JUKI_CARD_SERIAL.c
        with self.store.reading() as connection:
            folder = connection.scalar(sa.select(table.folder).where(table.serial == serial))
        if folder is not None:
            return str(folder)
        if self._juki_card_desk is None:
            raise NetworkRejected("juki-card-not-accepted", "this portal takes no Juki cards")
        return self._begin(self._juki_card_desk(serial), JUKI_CARD_SERIAL, serial)

    def _begin(self, code: PortalCode, table: sa.Table, serial: int) -> str:
        now = self._world.clock.now()
        with self.store.alone() as connection:
            folder = connection.scalar(sa.select(FOLDER.c.folder).where(FOLDER.c.code == code.value))
            if folder is None:
                insert = sa.insert(FOLDER).returning(FOLDER.c.folder)
                folder = connection.execute(insert, {"code": code.value, "begun": epoch(now)}).scalar_one()
            connection.execute(insert_if_absent(table), {"serial": serial, "folder": folder})
            log(connection, now, "set up", {"folder": folder})
        return str(folder)

    def folder_of(self, serial: int) -> str | None:
        """Return the folder that a certificate opens, or None before the setup. Raises LinkageUnavailable."""
        folder = self._linked([serial])
        if folder is not None or self._generations is Generations.BEGUN_ANEW:
            return folder
        folder = self._linked(authentication_serials(self._linkage, CertificateType.AUTHENTICATION, serial))
        if folder is not None:
            with self.store.transaction() as connection:
                connection.execute(insert_if_absent(SERIAL), {"serial": serial, "folder": int(folder)})
                log(connection, self._world.clock.now(), "followed", {"folder": int(folder)})
        return folder

    def _linked(self, serials: Sequence[int]) -> str | None:
        table = SERIAL.c
        with self.store.reading() as connection:
            folder = connection.scalar(sa.select(table.folder).where(table.serial.in_(serials)).limit(1))
        return None if folder is None else str(folder)

    def serials(self, folder: str) -> list[int]:
        """Return the serial numbers that open a folder."""
        query = sa.select(SERIAL.c.serial).where(SERIAL.c.folder == int(folder))
        with self.store.reading() as connection:
            return list(connection.scalars(query))

    def _code(self, folder: str) -> PortalCode:
        with self.store.reading() as connection:
            code = connection.scalar(sa.select(FOLDER.c.code).where(FOLDER.c.folder == int(folder)))
        if code is None:
            raise NetworkRejected("unknown-folder", f"there is no folder {folder}")
        return PortalCode(bytes(code))

    def _open(self, folder: str) -> PortalCode:
        """Return the code of a folder that is not closed. Raises NetworkRejected."""
        code = self._code(folder)
        if (day := self._interface.closed_folders.day(code)) is not None:
            words = f"this folder was closed on {day}, because the person's registration ended; its records are kept"
            raise NetworkRejected("folder-closed", words)
        return code

    # Records and own information

    def records(self, actor: str, subject: str) -> list[ProvisionRecord]:
        """Return a person's provision records (情報提供等記録表示). The access is logged first. Raises NetworkRejected
        and LinkageUnavailable."""
        self._log_look(actor, subject, "records")
        return list(self._records(self._open(subject)))

    def ask(self, subject: str, provider: str, item: str) -> int:
        """Request a person's own information from a body (自己情報表示): an exchange like any other, with a record.

        Returns the process number. Raises NetworkRejected, and ValueError if the provider or the item is not a valid
        text.
        """
        code, reference = self._open(subject), new_token(128)
        row = {"reference": reference, "folder": int(subject), "provider": text_of(provider), "item": text_of(item)}
        with self.store.transaction() as connection:  # first, so that every answer belongs to a folder
            connection.execute(sa.insert(OWN_INFORMATION), row)
        return self._interface.asking.ask_own(BODY, code, provider, item, reference)

    def own_information(self, actor: str, subject: str) -> list[OwnInformation]:
        """Return a person's requests for own information with their answers, latest first. The access is logged
        first. Raises NetworkRejected if the folder is closed."""
        self._log_look(actor, subject, "own information")
        query = (
            sa.select(OWN_INFORMATION)
            .where(OWN_INFORMATION.c.folder == int(subject))
            .order_by(OWN_INFORMATION.c.position.desc())
        )
        with self.store.reading() as connection:
            rows = connection.execute(query).all()
        information, code = [], self._open(subject)
        for row in rows:  # requests that were interrupted before they were sent are sent now
            process = self._interface.asking.ask_own(BODY, code, row.provider, row.item, row.reference)
            asked = self._interface.asking.request(process)
            received = self._interface.asking.answer_to(process) if asked.stage is RequestStage.ANSWERED else None
            information.append(OwnInformation(asked, received))
        return information

    def providers(self) -> list[str]:
        """Return the bodies from which people can request their own information."""
        return sorted(name for name in self._interface.neighbours.bodies() if name != BODY)

    def looks(self, subject: str | None = None) -> list[Look]:
        """Return the access log of one folder, or of all."""
        query = sa.select(LOOK).order_by(LOOK.c.position)
        if subject is not None:
            query = query.where(LOOK.c.subject == subject)
        with self.store.reading() as connection:
            rows = connection.execute(query)
            return [Look(from_epoch(row.at), row.actor, row.subject, row.what) for row in rows]

    def looks_elsewhere(self, subject: str) -> list[Look]:
        """Return who has looked at a person's records other than through the portal, as the core has recorded it.
        Raises NetworkRejected and LinkageUnavailable."""
        return [Look(one.at, one.actor, subject, "records") for one in self._record_looks(self._code(subject))]

    def _log_look(self, actor: str, subject: str, what: str) -> None:
        now = self._world.clock.now()
        row = {"at": epoch(now), "actor": actor, "subject": subject, "what": what}
        with self.store.transaction() as connection:
            connection.execute(sa.insert(LOOK), row)
            if actor != subject:
                log(connection, now, "ALARM: somebody else has looked", row)


def record_from(data: dict[str, Any]) -> ProvisionRecord:
    """Parse a record from the core's HTTP interface. Raises KeyError and ValueError."""
    provided = data["provided_at"]
    return ProvisionRecord(**{
        **data, "outcome": RequestOutcome(data["outcome"]),
        "requested_at": datetime.fromisoformat(data["requested_at"]),
        "provided_at": datetime.fromisoformat(provided) if provided else None,
    })  # fmt: skip
