"""The people whose registration has ended, as the core tells the portal's interface system."""

from __future__ import annotations

from datetime import date

import sqlalchemy as sa

from kazashi.provision_network.asking import Result
from kazashi.provision_network.codes import PortalCode
from kazashi.provision_network.interface_store import CLOSED_FOLDER
from kazashi.world.outbox import Message, Send
from kazashi.world.storage import Store, insert_if_absent

_ADD = insert_if_absent(CLOSED_FOLDER)


class ClosedFolders:
    """The portal codes of these people, each with the day on which the registration ended."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def on_closed(self, connection: sa.Connection, _: Send, message: Message, __: Result) -> None:
        """Close a person's folder on a day. The first day counts."""
        code, day = PortalCode.parse(message.body["code"]), date.fromisoformat(message.body["day"])
        connection.execute(_ADD, {"code": code.value, "day": day.isoformat()})

    def day(self, code: PortalCode) -> date | None:
        """Return the day on which a person's registration ended, or None."""
        query = sa.select(CLOSED_FOLDER.c.day).where(CLOSED_FOLDER.c.code == code.value)
        with self._store.reading() as connection:
            day = connection.scalar(query)
        return None if day is None else date.fromisoformat(day)
