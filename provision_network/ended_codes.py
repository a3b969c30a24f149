"""Codes that have ended, because the person is no longer registered at the body."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import sqlalchemy as sa

from kazashi.provision_network.codes import Coder, LinkageCode
from kazashi.provision_network.core_store import ENDED_CODE, INSTITUTION, UNDISCLOSED
from kazashi.provision_network.law.rules import Decision, Denial
from kazashi.provision_network.membership import Institution
from kazashi.world.statement import Statement

_this_person = ENDED_CODE.c.record_code == sa.bindparam("r")
_FORGET = sa.delete(ENDED_CODE).where(_this_person, ENDED_CODE.c.code_group == sa.bindparam("g"))
_ended_groups = sa.select(ENDED_CODE.c.code_group).where(_this_person)
_CLEAR = sa.delete(UNDISCLOSED).where(
    UNDISCLOSED.c.record_code == sa.bindparam("r"),
    (UNDISCLOSED.c.body == sa.bindparam("b"))
    | UNDISCLOSED.c.body.in_(sa.select(INSTITUTION.c.name).where(INSTITUTION.c.code_group.in_(_ended_groups))),
)  # fmt: skip
_ENDED_GROUPS = Statement(_ended_groups)


class EndedCodes:
    """Which codes have ended, in the core's store. All methods work within a transaction of it."""

    def __init__(self, coder: Coder) -> None:
        self._coder = coder

    def denial(self, connection: sa.Connection, linkage: LinkageCode, bodies: Sequence[Institution]) -> Decision | None:
        """Return the decision about a request if the person is no longer registered at one of these bodies."""
        ended = {row.code_group for row in _ENDED_GROUPS.all(connection, {"r": self._coder.record(linkage).value})}
        for body in bodies:
            if body.group in ended:
                return Decision("", Denial.NO_LONGER_HERE, f"the person is no longer registered at {body.name}")
        return None

    def update(
        self, connection: sa.Connection, body: Institution, here: Collection[LinkageCode],
        gone: Collection[LinkageCode],
    ) -> None:  # fmt: skip
        """Record who is registered at a body, and who is not any more."""
        left = [self._coder.record(linkage).value for linkage in gone]
        both = [*left, *(self._coder.record(linkage).value for linkage in here)]
        connection.execute(_FORGET, [{"r": person, "g": body.group} for person in both])
        if left:
            rows = [{"record_code": person, "code_group": body.group} for person in left]
            connection.execute(sa.insert(ENDED_CODE), rows)

    def set_undisclosed(self, connection: sa.Connection, linkage: LinkageCode, body: str, *, on: bool) -> None:
        """Set or clear a body's flag that the portal must not show a person's records (不開示該当フラグ).

        It replaces the flags of bodies at which the person is no longer registered: those bodies would never clear
        theirs.
        """
        person = self._coder.record(linkage).value
        connection.execute(_CLEAR, {"r": person, "b": body})
        if on:
            connection.execute(sa.insert(UNDISCLOSED), {"record_code": person, "body": body})
