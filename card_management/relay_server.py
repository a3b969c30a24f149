"""The relay server (中継サーバ) of a world: its limits, and the faults that a user has switched on."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime

import sqlalchemy as sa

from kazashi.card_management.relay import Relay, RelayBusy, RelayDown, RelayFault, send_with
from kazashi.card_management.relay_script import RelayPlan, RelayRule, parse_relay_script
from kazashi.jpki.profile import EMULATED, CertificateType, Profile
from kazashi.pki.certificate import CertificateRequest
from kazashi.world.clock import JST, epoch, from_epoch
from kazashi.world.home import World
from kazashi.world.storage import Store

_SCRIPT, _REQUESTS, _DOWN = "script", "requests", "down until"


class RelaySessions:
    """The sessions that this process has open at the relay, by municipality. A session lasts for one request."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open: Counter[str] = Counter()
        self.most: Counter[str] = Counter()
        """The most sessions that each municipality had at once."""

    @contextmanager
    def session(self, municipality: str, plan: RelayPlan) -> Iterator[None]:
        """Hold a session. Raises RelayBusy at once if a limit is reached, so that no request waits inside the relay."""
        with self._lock:
            if self._open[municipality] >= plan.each:
                raise RelayBusy(
                    f"the municipality {municipality} has {plan.each} sessions open at the relay, which is the limit;"
                    " try again when one has ended"
                )
            if self._open.total() >= plan.all:
                raise RelayBusy(f"all {plan.all} sessions of the relay are taken; try again later")
            self._open[municipality] += 1
            self.most[municipality] = max(self.most[municipality], self._open[municipality])
        try:
            yield
        finally:
            with self._lock:
                self._open[municipality] -= 1


@dataclass(frozen=True, slots=True)
class RelayStatus:
    """The state of the relay: its script (empty: no faults), the requests since it was set, how many of them had which
    fault, and until when the relay is away after a crash."""

    script: str
    requests: int
    faults: dict[str, int] = field(default_factory=dict)
    down_until: datetime | None = None


class RelayServer:
    """A relay in front of another one. Its script and counts are in a store, which all processes share; sessions
    are counted in this process."""

    def __init__(self, world: World, metadata: sa.MetaData, inner: Relay, store: Callable[[], Store]) -> None:
        self._world = world
        self._store = store
        self._inner = inner
        self._state = sa.Table(
            "relay", metadata,
            sa.Column("name", sa.Text, primary_key=True),
            sa.Column("value", sa.Text, nullable=False),
        )  # fmt: skip
        self.sessions = RelaySessions()
        self._parsed: tuple[str, RelayPlan] = ("", RelayPlan())

    def send(self, kind: CertificateType, request: CertificateRequest, profile: Profile = EMULATED) -> bytes:
        """Send a request; return the certificate as DER. Raises RelayBusy, RelayDown, RelayFailed and the authority's
        exceptions."""
        plan = self.plan()
        with self.sessions.session(request.resident.municipality.code, plan):
            return send_with(self._fault(plan).fault, self._inner, kind, request, profile)

    def set_script(self, script: str, name: str = "the script") -> None:
        """Set the faults and limits of the relay; an empty script has no faults. The counts begin again.

        Raises BadRelayScript.
        """
        parse_relay_script(script, name)
        with self._store().transaction() as connection:
            connection.execute(sa.delete(self._state))
            if script:
                connection.execute(sa.insert(self._state), {"name": _SCRIPT, "value": script})

    def status(self) -> RelayStatus:
        """Return the state of the relay."""
        with self._store().reading() as connection:
            values = self._values(connection)
        down = values.get(_DOWN)
        until = from_epoch(int(down)) if down else None
        return RelayStatus(
            values.get(_SCRIPT, ""), int(values.get(_REQUESTS, 0)),
            {fault.value: int(values[fault.value]) for fault in RelayFault if fault.value in values},
            until if until is not None and until > self._world.clock.now() else None,
        )  # fmt: skip

    def plan(self) -> RelayPlan:
        """Return the faults and limits that are set."""
        with self._store().reading() as connection:
            script = connection.scalar(sa.select(self._state.c.value).where(self._state.c.name == _SCRIPT)) or ""
        if script != self._parsed[0]:
            self._parsed = (script, parse_relay_script(script))
        return self._parsed[1]

    def _fault(self, plan: RelayPlan) -> RelayRule:
        """Count a request, and return the rule that decides it. Raises RelayDown."""
        if not plan.rules:
            return RelayRule(RelayFault.NONE)
        now = self._world.clock.now()
        with self._store().transaction() as connection:
            values = self._values(connection)
            if epoch(now) < int(values.get(_DOWN, 0)):
                back = from_epoch(int(values[_DOWN])).astimezone(JST)
                raise RelayDown(
                    f"the relay has crashed, and is back at {back:%Y-%m-%d %H:%M:%S} in Japan; the case waits and is"
                    " continued then"
                )
            number = int(values.get(_REQUESTS, 0)) + 1
            rule = plan.fault_of(number, self._world.random_stream("relay", str(plan.seed), str(number)))
            changed = {_REQUESTS: number}
            if rule.fault is not RelayFault.NONE:
                changed[rule.fault.value] = int(values.get(rule.fault.value, 0)) + 1
            if rule.fault is RelayFault.CRASH:
                changed[_DOWN] = epoch(now + rule.away)
            connection.execute(sa.delete(self._state).where(self._state.c.name.in_(changed)))
            rows = [{"name": name, "value": str(value)} for name, value in changed.items()]
            connection.execute(sa.insert(self._state), rows)
        return rule

    def _values(self, connection: sa.Connection) -> dict[str, str]:
        return {row.name: row.value for row in connection.execute(sa.select(self._state))}
