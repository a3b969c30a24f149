"""What each government's own ordinance says about online provision (オンライン結合)."""

from __future__ import annotations

import sqlalchemy as sa

from kazashi.provision_network.body_register_store import ON_LINE, body_register_store, log
from kazashi.provision_network.law.provisions import OnLine, Policy
from kazashi.world.home import World


class OnLineRules:
    """The rules of one world's bodies. A body that has set none forbids it, unless its council was heard."""

    def __init__(self, world: World) -> None:
        self._clock = world.clock
        self.store = body_register_store(world)

    def set(self, body: str, rule: OnLine) -> None:
        """Record what a body's ordinance says from now on."""
        row = {"body": body, "policy": rule.name}
        with self.store.transaction() as connection:
            connection.execute(sa.insert(ON_LINE), row)
            log(connection, self._clock.now(), "rule of online provision", row)

    def of(self, body: str) -> Policy:
        """Return the policy of a body."""
        last = sa.select(ON_LINE.c.policy).where(ON_LINE.c.body == body).order_by(ON_LINE.c.number.desc()).limit(1)
        with self.store.reading() as connection:
            name = connection.scalar(last)
        return Policy() if name is None else Policy(OnLine[name])
