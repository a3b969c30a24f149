"""The persons that the core knows, and the codes that it issues for them (符号の生成).

For a person it stores a number of its own, the linkage code, and the resident record code. All other codes are computed
from the linkage code, so they stay the same when the resident record code changes.
"""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa

from kazashi.provision_network.codes import Coder, InstitutionCode, LinkageCode, PortalCode
from kazashi.provision_network.core_store import PERSON, log
from kazashi.provision_network.membership import Membership
from kazashi.provision_network.terms import NetworkRejected, Role
from kazashi.world.clock import Clock
from kazashi.world.rng import secure_random
from kazashi.world.storage import Store, insert_many

_LINKAGE_BITS = 56
_CHUNK = 5_000
_KNOWN = sa.select(PERSON.c.resident_record_code, PERSON.c.linkage).where(
    PERSON.c.resident_record_code.in_(sa.bindparam("codes", expanding=True))
)


class CodeIssuance:
    """Issues and converts codes."""

    def __init__(self, store: Store, clock: Clock, coder: Coder, members: Membership) -> None:
        self._store = store
        self._clock = clock
        self._coder = coder
        self._members = members

    def code_for(self, institution: str, resident_record_code: str) -> InstitutionCode:
        """Return a person's code for a body that is entitled to it. Raises NetworkRejected."""
        return self.issue([institution], [resident_record_code])[institution][0]

    def issue(
        self, institutions: Sequence[str], resident_record_codes: Sequence[str]
    ) -> dict[str, list[InstitutionCode]]:  # fmt: skip
        """Return people's codes for each body that is entitled to them, in the order of `resident_record_codes`. Only
        the resident registry's network (Juki-Net) knows resident record codes. Raises NetworkRejected."""
        with self._store.alone() as connection:
            members = self._members.within(connection)
            groups = {name: members.active(name).group for name in institutions}
            linkages = self.linkages(connection, resident_record_codes)
            for name in institutions:
                detail = {"institution": name, "persons": len(linkages)}
                log(connection, self._clock.now(), "codes issued", detail)
        return {name: self._coder.issue(linkages, group) for name, group in groups.items()}

    def portal_code(self, resident_record_code: str) -> PortalCode:
        """Return a person's code for the portal. Raises NetworkRejected if the core does not know the record code: it
        may have changed, and the message not have arrived yet."""
        with self._store.reading() as connection:
            linkage = self.known(connection, resident_record_code)
        if linkage is None:
            raise NetworkRejected(
                "unknown-person", "the network does not know the person by that resident record code (yet)"
            )
        return self._coder.portal(linkage)

    def linkages(self, connection: sa.Connection, resident_record_codes: Sequence[str]) -> list[LinkageCode]:
        """Return the linkage codes of people, in the same order, within a transaction of `Store.alone`. A person whom
        the core does not know gets one."""
        numbers: dict[str, int] = {}
        for begin in range(0, len(resident_record_codes), _CHUNK):
            chunk = resident_record_codes[begin : begin + _CHUNK]
            rows = connection.execute(_KNOWN, {"codes": chunk})
            known: dict[str, int] = dict(rows.all())
            # Random, so that it reveals nothing about the resident record code and does not change with it.
            new = {code: secure_random(_LINKAGE_BITS) or 1 for code in chunk if code not in known}
            if new:
                entries = [(number, code) for code, number in new.items()]
                insert_many(connection, PERSON, ("linkage", "resident_record_code"), entries)
            numbers |= known | new
        return [LinkageCode(numbers[code]) for code in resident_record_codes]

    def known(self, connection: sa.Connection, resident_record_code: str) -> LinkageCode | None:
        """Return the linkage code of a person, or None if the core does not know them, within a transaction."""
        this = PERSON.c.resident_record_code == resident_record_code
        number = connection.scalar(sa.select(PERSON.c.linkage).where(this))
        return None if number is None else LinkageCode(number)

    def recode(self, connection: sa.Connection, former: str, new: str) -> None:
        """Record that a person's resident record code has changed, within a transaction. All their other codes stay.

        Somebody may have asked for a code under the new one before; that code is nobody's then.
        """
        if self.known(connection, former) is not None:
            code = PERSON.c.resident_record_code
            connection.execute(sa.delete(PERSON).where(code == new))
            connection.execute(sa.update(PERSON).where(code == former).values(resident_record_code=new))
        log(connection, self._clock.now(), "recoded", {})

    def convert(self, role: Role, code: InstitutionCode, source: str, target: str) -> InstitutionCode:
        """Convert one body's code for a person to another's (符号変換). Only the core's operator may do this, and it is
        logged. Raises NetworkRejected and ForeignCode."""
        if role is not Role.CORE_OPERATOR:
            raise NetworkRejected("not-entitled", f"a {role.value} may not convert codes")
        with self._store.transaction() as connection:
            members = self._members.within(connection)
            ours, theirs = members.active(source), members.active(target)
            log(connection, self._clock.now(), "converted", {"source": source, "target": target})
        return self._coder.convert(code, ours.group, theirs.group)
