"""The core of the network (コアシステム): issues and converts codes, decides requests by the rules, and keeps records.

It stores no information about people, and communicates with the interface systems by messages.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import sqlalchemy as sa

from kazashi.provision_network.assessments import sample_assessment, store_assessment
from kazashi.provision_network.business_systems import BusinessSystems
from kazashi.provision_network.code_issuance import CodeIssuance
from kazashi.provision_network.codes import BlockCipher, Coder, ForeignCode, SoftwareCipher, TokenCipher
from kazashi.provision_network.core_store import (
    ACTOR,
    IMPACT_ASSESSMENT,
    INBOX,
    METADATA,
    OUTBOX,
    SECRETS,
    log,
    ordinances_are_accepted,
    to_2,
)
from kazashi.provision_network.corrections import Corrections
from kazashi.provision_network.ended_codes import EndedCodes
from kazashi.provision_network.law.rules import RuleBook
from kazashi.provision_network.mediation import Context, Handler, Mediation
from kazashi.provision_network.membership import Membership
from kazashi.provision_network.notices import NoticesOfPeople
from kazashi.provision_network.open_log import OpenLog
from kazashi.provision_network.ordinances import OrdinanceRegister
from kazashi.provision_network.provision_records import ProvisionRecords
from kazashi.provision_network.terms import CORE, LONGEST, NetworkRejected
from kazashi.web.mutual_tls import Credentials, ServiceAuthority
from kazashi.world.clock import JST, Clock, from_epoch
from kazashi.world.home import World
from kazashi.world.outbox import Message
from kazashi.world.rng import secure_random
from kazashi.world.storage import Store

_KEY_BITS = 256
_NAME = "Kazashi information provision network"


class Core:
    """The core of one world: its members, the codes, the mediation of exchanges, and the records."""

    outbox = OUTBOX

    def __init__(self, world: World, rules: RuleBook) -> None:
        """Open or create the core's store. Raises TokenUnavailable if the keys are in a token that is not available."""
        self._clock: Clock = world.clock
        self.store = world.store(ACTOR, METADATA, [to_2, _assessments_become_documents, ordinances_are_accepted])
        self.authority, cipher = _begin(world, self.store)
        coder = Coder(cipher)
        self.members = Membership(self.store, world.clock, self.authority)
        self.codes = CodeIssuance(self.store, world.clock, coder, self.members)
        self.records = ProvisionRecords(self.store, world.clock, coder)
        self.ordinances = OrdinanceRegister(self.store, world.clock, rules)
        self.systems = BusinessSystems(self.store, world.clock, self.authority, self.members)
        self.corrections = Corrections(self.store, world.clock, coder)
        self.open_log = OpenLog(self.store, world.clock)
        ended = EndedCodes(coder)
        self.mediation = Mediation(self.store, world.clock, self.ordinances, coder, self.members, self.records, ended)
        notices = NoticesOfPeople(world.clock, coder, self.codes, ended)
        self._handlers: Mapping[str, Handler] = {
            **self.mediation.handlers, **self.corrections.handlers, **notices.handlers
        }  # fmt: skip

    def credentials(self, name: str, unit: str, host: str = "") -> Credentials:
        """Issue credentials for a business system (unit `system`), the J-LIS office (`juki-net`), or the core itself.
        A server needs its `host`."""
        return self.authority.credentials(name, self._clock.now(), unit=unit, host=host)

    def receive(self, messages: Sequence[Message]) -> None:
        """Handle messages from interface systems and from J-LIS. A refused message is logged and replied to, and does
        not affect the others. Raises MessageGap."""
        with self.store.alone() as connection:
            self.receive_in(connection, messages)

    def receive_in(self, connection: sa.Connection, messages: Sequence[Message]) -> bool:
        """Handle messages like `receive`, within a transaction of the core's store. Returns whether that sends
        messages."""
        members = self.members.within(connection)
        with OUTBOX.batch(connection, CORE, self._clock.now()) as send:
            context = Context(connection, members, send)
            for message in INBOX.fresh(connection, messages):
                try:
                    self._handlers.get(message.kind, _on_unknown)(context, message)
                except (NetworkRejected, ForeignCode, AttributeError, KeyError, TypeError, ValueError) as error:
                    self._refuse(context, message, error)
        return bool(send)

    def _refuse(self, context: Context, message: Message, error: Exception) -> None:
        if isinstance(error, NetworkRejected):
            denial = error.denial
        else:
            denial = "foreign-code" if isinstance(error, ForeignCode) else "bad-message"
        about = {name: ascii(message.body.get(name))[:LONGEST] for name in ("requester", "provider", "number")}
        detail = {"interface": message.sender, "kind": ascii(message.kind), "denial": denial, **about}
        log(context.connection, self._clock.now(), "refused", detail)
        if isinstance(process := message.body.get("process"), int) and 0 <= process < 1 << 63:
            words = str(error) if denial != "bad-message" else f"the {message.kind} message is malformed"
            reply = {"process": process, "denial": denial, "words": words}
            context.send(message.sender, "refused", reply)


def _assessments_become_documents(connection: sa.Connection) -> None:
    """Migrate to version 3: a body that was marked as assessed has a made-up document of the day on which it joined."""
    IMPACT_ASSESSMENT.create(connection)
    bodies = connection.execute(sa.text("SELECT name, kind, assessed, starts FROM institution")).all()
    for body in bodies:
        if body.assessed:
            joined = from_epoch(body.starts).astimezone(JST).date()
            store_assessment(connection, sample_assessment(body.name, body.kind, joined))
    connection.execute(sa.text("ALTER TABLE institution DROP COLUMN assessed"))


def _on_unknown(_: Context, message: Message) -> None:
    raise NetworkRejected("unknown-message", f"there is no message kind {message.kind[:40]!r}")


def _begin(world: World, store: Store) -> tuple[ServiceAuthority, BlockCipher]:
    """Return the core's authority and its cipher. Their keys are made once, in the store or in a token."""
    keys = world.settings.keys
    token = None if keys == "software" else TokenCipher(keys, f"provision core {world.seed}")
    if token is not None:
        token.make()

    def make() -> dict[str, bytes]:
        authority = ServiceAuthority.begin(_NAME, world.clock.now())
        secrets = {"authority-key": authority.key, "authority": authority.certificate}
        if token is None:
            secrets["key"] = secure_random(_KEY_BITS).to_bytes(_KEY_BITS // 8)
        return secrets

    with store.alone() as connection:
        secrets = SECRETS.begin(connection, "authority", make)
    cipher = SoftwareCipher(secrets["key"]) if token is None else token
    return ServiceAuthority(_NAME, secrets["authority-key"], secrets["authority"]), cipher
