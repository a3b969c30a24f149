"""The portal (情報提供等記録開示システム, マイナポータル): one's own records, one's own information, and who looked.

It knows nobody by number: a folder holds the portal's code for a person, and the serial numbers of the authentication
certificates that open it. The tie between the two is made once, at the initial setup; what a renewed certificate then
does is a rule that is chosen.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Any

import sqlalchemy as sa

from kazashi.jpki.profile import CertificateType
from kazashi.provision_network.codes import PortalCode
from kazashi.provision_network.interface_system import InterfaceSystem, OutgoingRequest, RequestStage
from kazashi.provision_network.intermediate import Received
from kazashi.provision_network.terms import NetworkRejected, ProvisionRecord, RequestOutcome, text_of
from kazashi.relying_party.verify.linkage import Linkage
from kazashi.world.clock import epoch, from_epoch
from kazashi.world.event_log import event_table
from kazashi.world.home import World
from kazashi.world.rng import new_token
from kazashi.world.storage import Position, Unsigned64, insert_if_absent

ACTOR = "portal"
"""The name of this actor's store."""

BODY, INTERFACE_NAME = "マイナポータル", "portal"

CodeDesk = Callable[[int], PortalCode]
"""J-LIS's desk: the portal's code for the holder of an authentication certificate, by its serial number. Raises
LinkageUnavailable where it does not answer, and NetworkRejected for a serial number that it does not know."""

Records = Callable[[PortalCode], Sequence[ProvisionRecord]]
"""The core's answer to the portal. Raises LinkageUnavailable, and NetworkRejected where nothing must be shown."""


class Generations(Enum):
    """What becomes of a folder when its certificate is renewed (世代管理)."""

    FOLLOWED = "followed"
    """The authority is asked which serial numbers came before: the folder goes on, and holds them all."""
    BEGUN_ANEW = "begun-anew"
    """A new certificate opens nothing; the setup is made again, and finds the folder by the code."""


@dataclass(frozen=True, slots=True)
class Look:
    """Somebody has looked at something of a person's (F8). `alarm` where it was not the person."""

    at: datetime
    actor: str
    subject: str
    what: str

    @property
    def alarm(self) -> bool:
        """Whether it was somebody else."""
        return self.actor != self.subject


@dataclass(frozen=True, slots=True)
class OwnInformation:
    """One's own information that was asked for, and what has come."""

    asked: OutgoingRequest
    received: Received | None


class Portal:
    """The portal of one world."""

    def __init__(
        self, world: World, interface: InterfaceSystem, desk: CodeDesk, records: Records, linkage: Linkage,
        generations: Generations = Generations.FOLLOWED,
    ) -> None:  # fmt: skip
        self._world = world
        self._interface = interface
        self._desk = desk
        self._records = records
        self._linkage = linkage
        self._generations = generations
        self.metadata = metadata = sa.MetaData()
        self._folder = sa.Table(
            "folder", metadata,
            sa.Column("folder", Position, primary_key=True),
            sa.Column("code", sa.LargeBinary, unique=True, nullable=False),
            sa.Column("begun", sa.BigInteger, nullable=False),
        )  # fmt: skip
        self._serial = sa.Table(
            "serial", metadata,
            sa.Column("serial", Unsigned64, primary_key=True, autoincrement=False),
            sa.Column("folder", sa.BigInteger, nullable=False),
        )  # fmt: skip
        self._look = sa.Table(
            "look", metadata,
            sa.Column("position", Position, primary_key=True),
            sa.Column("at", sa.BigInteger, nullable=False),
            sa.Column("actor", sa.Text, nullable=False),
            sa.Column("subject", sa.Text, nullable=False, index=True),
            sa.Column("what", sa.Text, nullable=False),
        )  # fmt: skip
        self._own = sa.Table(
            "own_information", metadata,
            sa.Column("position", Position, primary_key=True),
            sa.Column("reference", sa.Text, unique=True, nullable=False),
            sa.Column("folder", sa.BigInteger, nullable=False, index=True),
            sa.Column("provider", sa.Text, nullable=False),
            sa.Column("item", sa.Text, nullable=False),
        )  # fmt: skip
        _, self._log = event_table(metadata)

    def open(self) -> None:
        """Open its store, once all tables that belong there are named."""
        self.store = self._world.store(ACTOR, self.metadata)

    # Folders

    def set_up(self, serial: int) -> str:
        """The initial setup (初期設定), of a certificate on which the verdict was good: the code comes from the core,
        over J-LIS, and is tied to the serial number. A person who has a folder gets that one. Answers the folder.
        Raises NetworkRejected and LinkageUnavailable."""
        code, now = self._desk(serial), self._world.clock.now()
        with self.store.alone() as connection:
            here = self._folder.c.code == code.value
            folder = connection.scalar(sa.select(self._folder.c.folder).where(here))
            if folder is None:
                insert = sa.insert(self._folder).returning(self._folder.c.folder)
                folder = connection.execute(insert, {"code": code.value, "begun": epoch(now)}).scalar_one()
            connection.execute(insert_if_absent(self._serial), {"serial": serial, "folder": folder})
            self._log(connection, now, "set up", {"folder": folder})
        return str(folder)

    def folder_of(self, serial: int) -> str | None:
        """The folder that a certificate opens, None before the setup. Raises LinkageUnavailable."""
        found = self._tied([serial])
        if found is not None or self._generations is Generations.BEGUN_ANEW:
            return found
        before = self._tied(
            [one for one in self._linkage.renewal(CertificateType.AUTHENTICATION, serial) if one != serial]
        )
        if before is not None:
            with self.store.transaction() as connection:
                connection.execute(insert_if_absent(self._serial), {"serial": serial, "folder": int(before)})
                self._log(connection, self._world.clock.now(), "followed", {"folder": int(before)})
        return before

    def _tied(self, serials: Sequence[int]) -> str | None:
        table = self._serial.c
        with self.store.reading() as connection:
            found = connection.scalar(sa.select(table.folder).where(table.serial.in_(serials)).limit(1))
        return None if found is None else str(found)

    def serials(self, folder: str) -> list[int]:
        """The serial numbers that open a folder."""
        query = sa.select(self._serial.c.serial).where(self._serial.c.folder == int(folder))
        with self.store.reading() as connection:
            return list(connection.scalars(query))

    def _code(self, folder: str) -> PortalCode:
        with self.store.reading() as connection:
            code = connection.scalar(sa.select(self._folder.c.code).where(self._folder.c.folder == int(folder)))
        if code is None:
            raise NetworkRejected("unknown-folder", f"there is no folder {folder}")
        return PortalCode(bytes(code))

    # Looking

    def records(self, actor: str, subject: str) -> list[ProvisionRecord]:
        """A person's provision records (情報提供等記録表示). Who looked is logged first. Raises NetworkRejected and
        LinkageUnavailable."""
        self._looked(actor, subject, "records")
        return list(self._records(self._code(subject)))

    def ask(self, subject: str, provider: str, item: str) -> int:
        """Ask a body for one's own information (自己情報表示): an exchange like others, with a record. Raises
        NetworkRejected, and ValueError for what is no text."""
        code, reference = self._code(subject), new_token(128)
        row = {"reference": reference, "folder": int(subject), "provider": text_of(provider), "item": text_of(item)}
        with self.store.transaction() as connection:  # first, so that an answer is always somebody's
            connection.execute(sa.insert(self._own), row)
        return self._interface.ask_own(BODY, code, provider, item, reference)

    def own_information(self, actor: str, subject: str) -> list[OwnInformation]:
        """What was asked for and what has come, latest first. Who looked is logged first."""
        self._looked(actor, subject, "own information")
        query = sa.select(self._own).where(self._own.c.folder == int(subject)).order_by(self._own.c.position.desc())
        with self.store.reading() as connection:
            rows = connection.execute(query).all()
        found, code = [], self._code(subject)
        for row in rows:  # what was cut off before it was asked is asked now
            process = self._interface.ask_own(BODY, code, row.provider, row.item, row.reference)
            asked = self._interface.asked(process)
            received = self._interface.answer_to(process) if asked.stage is RequestStage.ANSWERED else None
            found.append(OwnInformation(asked, received))
        return found

    def providers(self) -> list[str]:
        """Whom one can ask for one's own information."""
        return sorted(name for name in self._interface.neighbours() if name != BODY)

    def looks(self, subject: str | None = None) -> list[Look]:
        """Who has looked, at one person's or at anybody's."""
        query = sa.select(self._look).order_by(self._look.c.position)
        if subject is not None:
            query = query.where(self._look.c.subject == subject)
        with self.store.reading() as connection:
            rows = connection.execute(query)
            return [Look(from_epoch(row.at), row.actor, row.subject, row.what) for row in rows]

    def _looked(self, actor: str, subject: str, what: str) -> None:
        now = self._world.clock.now()
        row = {"at": epoch(now), "actor": actor, "subject": subject, "what": what}
        with self.store.transaction() as connection:
            connection.execute(sa.insert(self._look), row)
            if actor != subject:
                self._log(connection, now, "ALARM: somebody else has looked", row)


def record_from(told: dict[str, Any]) -> ProvisionRecord:
    """A record as the core tells it over HTTP. Raises KeyError and ValueError."""
    provided = told["provided_at"]
    return ProvisionRecord(**{
        **told, "outcome": RequestOutcome(told["outcome"]),
        "requested_at": datetime.fromisoformat(told["requested_at"]),
        "provided_at": datetime.fromisoformat(provided) if provided else None,
    })  # fmt: skip
