"""The core of the network (コアシステム): issues and converts codes, decides requests by the rules, and keeps records.

It stores no information about people. For a person it has a number of its own and the resident record code. For an
exchange it has the requester, the provider, the time and the item (番号法23条), under the record code, which nobody
else has. It communicates with the interface systems by messages.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from cryptography.hazmat.primitives.asymmetric import ec

from kazashi.provision_network.codes import (
    BlockCipher,
    Coder,
    ForeignCode,
    InstitutionCode,
    LinkageCode,
    PortalCode,
    ProvisionIdentifier,
    SoftwareCipher,
    TokenCipher,
)
from kazashi.provision_network.membership import Institution, InterfaceEntry, Membership
from kazashi.provision_network.rules import Decision, Purpose, RuleBook
from kazashi.provision_network.sealing import is_key
from kazashi.provision_network.terms import (
    CORE,
    LONGEST,
    OWN_INFORMATION,
    PORTAL_KIND,
    NetworkRejected,
    Notification,
    ProvisionRecord,
    RequestOutcome,
    Role,
    number_of,
    text_of,
)
from kazashi.web.mutual_tls import Credentials, ServiceAuthority
from kazashi.world.clock import JST, epoch, from_epoch
from kazashi.world.event_log import event_table
from kazashi.world.home import World
from kazashi.world.outbox import Inbox, Message, Outbox, Send
from kazashi.world.rng import secure_random
from kazashi.world.secret import Secrets
from kazashi.world.storage import Position, insert_many

ACTOR = "provision_core"
"""The name of the core's store."""

_KEY_BITS = 256
_LINKAGE_BITS = 56
_CHUNK = 5_000
_MEMBERS = 100
"""The maximum number of bodies in one "members" message."""

_NAME = "Kazashi information provision network"


@dataclass(frozen=True, slots=True)
class _Context:
    """The context of message handlers: the transaction, the network's members, and a function to send messages."""

    connection: sa.Connection
    members: dict[str, Institution]
    send: Send


class Core:
    """The core of one world."""

    def __init__(self, world: World, rules: RuleBook) -> None:
        """Open or create the core's store. Raises TokenUnavailable if the keys are in a token that is not available."""
        self._world = world
        self.rules = rules
        metadata = sa.MetaData()
        self.outbox, self._inbox = Outbox(metadata), Inbox(metadata)
        self._members = Membership(metadata)
        self._secrets = Secrets(metadata)
        self._person = sa.Table(
            "person", metadata,
            sa.Column("linkage", sa.BigInteger, primary_key=True, autoincrement=False),
            sa.Column("resident_record_code", sa.Text, unique=True, nullable=False),
        )  # fmt: skip
        self._record = sa.Table(
            "provision_record", metadata,
            sa.Column("number", Position, primary_key=True),
            sa.Column("record_code", sa.LargeBinary, nullable=False, index=True),
            sa.Column("requester", sa.Text, nullable=False),
            sa.Column("provider", sa.Text, nullable=False),
            sa.Column("item", sa.Text, nullable=False),
            sa.Column("requested_at", sa.BigInteger, nullable=False),
            sa.Column("provided_at", sa.BigInteger),
            sa.Column("outcome", sa.Text, nullable=False),
            sa.Column("reason", sa.Text, nullable=False),
        )  # fmt: skip
        self._add_record = sa.insert(self._record).returning(self._record.c.number)
        self._settle_record = sa.update(self._record).where(
            self._record.c.number == sa.bindparam("n"), self._record.c.provider == sa.bindparam("p"),
            self._record.c.outcome.in_((RequestOutcome.NOTIFIED.value, RequestOutcome.HELD.value)),
        ).values(outcome=sa.bindparam("o"), provided_at=sa.bindparam("at"))  # fmt: skip
        self._undisclosed = sa.Table(
            "undisclosed", metadata,
            sa.Column("record_code", sa.LargeBinary, primary_key=True),
            sa.Column("body", sa.Text, primary_key=True),
        )  # fmt: skip
        _, self._log = event_table(metadata)
        self.store = world.store(ACTOR, metadata)
        self.authority, cipher = self._begin()
        self._coder = Coder(cipher)

    def _begin(self) -> tuple[ServiceAuthority, BlockCipher]:
        keys = self._world.settings.keys
        token = None if keys == "software" else TokenCipher(keys, f"provision core {self._world.seed}")
        if token is not None:
            token.make()

        def make() -> dict[str, bytes]:
            authority = ServiceAuthority.begin(_NAME, self._world.clock.now())
            secrets = {"authority-key": authority.key, "authority": authority.certificate}
            if token is None:
                secrets["key"] = secure_random(_KEY_BITS).to_bytes(_KEY_BITS // 8)
            return secrets

        with self.store.alone() as connection:
            secrets = self._secrets.begin(connection, "authority", make)
        cipher = SoftwareCipher(secrets["key"]) if token is None else token
        return ServiceAuthority(_NAME, secrets["authority-key"], secrets["authority"]), cipher

    # Members

    def enrol(self, interface: str, key: ec.EllipticCurvePublicKey, address: str) -> bytes:
        """Add an interface system to the network and return its certificate (PEM). Raises NetworkRejected if its name
        is invalid."""
        now = self._world.clock.now()
        if not interface or interface == CORE or not interface.isidentifier():
            raise NetworkRejected("bad-name", f"{interface!r} is not a valid name for an interface system")
        with self.store.alone() as connection:
            self._members.put_interface(connection, interface, address)
            self._log(connection, now, "interface enrolled", {"interface": interface})
            self._announce(connection, lambda body: body.interface == interface)
            self._announce(connection, lambda body: True, interface)
            self._members.forget()
        return self.authority.issue(interface, key, now, unit="interface", host="localhost")

    def credentials(self, name: str, unit: str, host: str = "") -> Credentials:
        """Issue credentials for a business system (unit `system`), the J-LIS office (`juki-net`), or the core itself.
        A server needs its `host`."""
        return self.authority.credentials(name, self._world.clock.now(), unit=unit, host=host)

    def connect(
        self, name: str, kind: str, *, assessed: bool, group: str = "", starts: datetime | None = None,
        interface: str = "", key: str = "",
    ) -> Institution:  # fmt: skip
        """Add a body to the network, or update its entry. Bodies in the same `group` share one code per person, as the
        medical insurers do. A body with an `interface` also needs a public key (JWK). Raises NetworkRejected."""
        now = self._world.clock.now()
        if interface and not is_key(key):
            raise NetworkRejected("bad-key", f"{name} needs a public key (JWK) to which answers can be encrypted")
        with self.store.alone() as connection:
            institution = self._members.put_institution(
                connection, name, kind, group or name, assessed=assessed, starts=starts or now, interface=interface,
                key=key,
            )  # fmt: skip
            self._log(connection, now, "connected", {"institution": name, "assessed": assessed})
            self._announce(connection, lambda body: body.name == name)
            self._members.forget()
        return institution

    def _announce(
        self, connection: sa.Connection, which: Callable[[Institution], bool], to: str | None = None
    ) -> None:  # fmt: skip
        """Send the entries of these bodies (interface system, its address, public key) to every interface system, or
        only `to` one."""
        self._members.forget()  # read what this transaction has written
        entries = self._members.interfaces(connection)
        addresses = {entry.name: entry.address for entry in entries}
        members = {
            body.name: {"interface": body.interface, "key": body.key, "address": addresses.get(body.interface, "")}
            for body in self._members.institutions(connection).values() if body.interface and which(body)
        }  # fmt: skip
        items = list(members.items())
        with self.outbox.batch(connection, CORE, self._world.clock.now()) as send:
            for entry in entries:
                for begin in range(0, len(items) if to in (None, entry.name) else 0, _MEMBERS):
                    send(entry.name, "members", {"members": dict(items[begin : begin + _MEMBERS])})

    def interfaces(self) -> list[InterfaceEntry]:
        """Return all interface systems."""
        with self.store.reading() as connection:
            return self._members.interfaces(connection)

    def institutions(self) -> list[Institution]:
        """Return all bodies."""
        with self.store.reading() as connection:
            return list(self._members.institutions(connection).values())

    def _known(self, members: dict[str, Institution], name: str) -> Institution:
        """Return a body that may use the network now. Raises NetworkRejected."""
        institution = members.get(name)
        if institution is None:
            raise NetworkRejected("unknown-institution", f"{name} is not on the network")
        if not institution.assessed:
            raise NetworkRejected("no-assessment", f"{name} has no impact assessment yet (特定個人情報保護評価)")
        if institution.starts > self._world.clock.now():
            raise NetworkRejected("not-started", f"{name} joins the network on {institution.starts:%Y-%m-%d}")
        return institution

    # Codes

    def code_for(self, institution: str, resident_record_code: str) -> InstitutionCode:
        """Return a person's code for a body that is entitled to it. Raises NetworkRejected."""
        return self.issue([institution], [resident_record_code])[institution][0]

    def issue(
        self, institutions: Sequence[str], resident_record_codes: Sequence[str]
    ) -> dict[str, list[InstitutionCode]]:  # fmt: skip
        """Return people's codes for each body that is entitled to them, in the order of `resident_record_codes`. Only
        the resident registry's network (Juki-Net) knows resident record codes. Raises NetworkRejected."""
        with self.store.alone() as connection:
            members = self._members.institutions(connection)
            bodies = {name: self._known(members, name).group for name in institutions}
            linkages = self._linkages(connection, resident_record_codes)
            for name in institutions:
                detail = {"institution": name, "persons": len(linkages)}
                self._log(connection, self._world.clock.now(), "codes issued", detail)
        return {name: self._coder.issue(linkages, group) for name, group in bodies.items()}

    def portal_code(self, resident_record_code: str) -> PortalCode:
        """Return a person's code for the portal."""
        with self.store.alone() as connection:
            return self._coder.portal(self._linkages(connection, [resident_record_code])[0])

    def _linkages(self, connection: sa.Connection, resident_record_codes: Sequence[str]) -> list[LinkageCode]:
        table = self._person
        numbers: dict[str, int] = {}
        for begin in range(0, len(resident_record_codes), _CHUNK):
            chunk = resident_record_codes[begin : begin + _CHUNK]
            rows = connection.execute(sa.select(table).where(table.c.resident_record_code.in_(chunk)))
            known = {row.resident_record_code: row.linkage for row in rows}
            # Random, so that it reveals nothing about the resident record code and does not change with it.
            new = {code: secure_random(_LINKAGE_BITS) or 1 for code in chunk if code not in known}
            if new:
                entries = [(number, code) for code, number in new.items()]
                insert_many(connection, table, ("linkage", "resident_record_code"), entries)
            numbers |= known | new
        return [LinkageCode(numbers[code]) for code in resident_record_codes]

    def recode(self, old: str, new: str) -> None:
        """Record that a person's resident record code has changed. All their other codes stay the same."""
        table = self._person
        with self.store.alone() as connection:
            changed = sa.update(table).where(table.c.resident_record_code == old).values(resident_record_code=new)
            connection.execute(changed)
            self._log(connection, self._world.clock.now(), "recoded", {})

    def convert(self, role: Role, code: InstitutionCode, source: str, target: str) -> InstitutionCode:
        """Convert one body's code for a person to another's (符号変換). Only the core's operator may do this, and it is
        logged. Raises NetworkRejected and ForeignCode."""
        if role is not Role.CORE_OPERATOR:
            raise NetworkRejected("not-entitled", f"a {role.value} may not convert codes")
        with self.store.transaction() as connection:
            members = self._members.institutions(connection)
            ours, theirs = self._known(members, source), self._known(members, target)
            self._log(connection, self._world.clock.now(), "converted", {"source": source, "target": target})
        return self._coder.convert(code, ours.group, theirs.group)

    # Requests

    def receive(self, messages: Sequence[Message]) -> None:
        """Handle messages from interface systems. A refused message is logged and replied to, and does not affect the
        others. Raises MessageGap."""
        with self.store.transaction() as connection:
            self.receive_in(connection, messages)

    def receive_in(self, connection: sa.Connection, messages: Sequence[Message]) -> None:
        """Handle messages like `receive`, within a transaction of the core's store."""
        members = self._members.institutions(connection)
        with self.outbox.batch(connection, CORE, self._world.clock.now()) as send:
            context = _Context(connection, members, send)
            for message in self._inbox.fresh(connection, messages):
                try:
                    self._handlers.get(message.kind, Core._on_unknown)(self, context, message)
                except (NetworkRejected, ForeignCode, AttributeError, KeyError, TypeError, ValueError) as error:
                    self._refuse(context, message, error)

    def _on_unknown(self, _: _Context, message: Message) -> None:
        raise NetworkRejected("unknown-message", f"there is no message kind {message.kind[:40]!r}")

    def _refuse(self, context: _Context, message: Message, error: Exception) -> None:
        if isinstance(error, NetworkRejected):
            denial = error.denial
        else:
            denial = "foreign-code" if isinstance(error, ForeignCode) else "bad-message"
        about = {name: ascii(message.body.get(name))[:LONGEST] for name in ("requester", "provider", "number")}
        detail = {"interface": message.sender, "kind": ascii(message.kind), "denial": denial, **about}
        self._log(context.connection, self._world.clock.now(), "refused", detail)
        if isinstance(process := message.body.get("process"), int) and 0 <= process < 1 << 63:
            words = str(error) if denial != "bad-message" else f"the {message.kind} message is malformed"
            reply = {"process": process, "denial": denial, "words": words}
            context.send(message.sender, "refused", reply)

    def request(
        self, requester: str, code: InstitutionCode, purpose: Purpose, providers: list[str], *, consent: bool = False,
        ordinary: bool = False, process: int = 0,
    ) -> Notification:  # fmt: skip
        """Decide a request to one provider and return the notification for it (steps 2 and 3 of the five-step flow). A
        request that a rule denies is recorded too. Raises NetworkRejected and ForeignCode."""
        with self.store.transaction() as connection:
            members = self._members.institutions(connection)
            result = self._request(connection, members, requester, code, purpose, providers, process, consent, ordinary)
        if isinstance(result, NetworkRejected):
            raise result
        return result

    def _request(
        self, connection: sa.Connection, members: dict[str, Institution], requester: str, code: InstitutionCode,
        purpose: Purpose, providers: list[str], process: int, consent: bool, ordinary: bool,
    ) -> Notification | NetworkRejected:  # fmt: skip
        if len(providers) != 1:
            raise NetworkRejected("broadcast", f"a request must name one provider, not {len(providers)}")
        ours, theirs = self._known(members, requester), self._known(members, providers[0])
        linkage = self._coder.linkage(code, ours.group)
        if (ours.kind, theirs.kind) != (purpose.requester, purpose.provider):
            words = f"{ours.name} ({ours.kind}) and {theirs.name} ({theirs.kind}) are not the bodies of the affair"
            raise NetworkRejected("another-body", words)
        day = self._world.clock.now().astimezone(JST).date()
        decision = self.rules.decide(purpose, day, consent=consent, provider_name=theirs.name, ordinary=ordinary)
        number = self._note(connection, linkage, requester, theirs.name, purpose.item, decision)
        if decision.denial is not None:
            return NetworkRejected(decision.denial.value, decision.words)
        converted = self._coder.institution(linkage, theirs.group)
        return Notification(number, converted, theirs.name, requester, process, purpose.item, decision.rule)

    def _on_request(self, context: _Context, message: Message) -> None:
        body = message.body
        _speaks_for(context.members, message.sender, body["requester"])
        code = InstitutionCode.parse(body["code"])
        purpose = Purpose(**{name: text_of(value) for name, value in body["purpose"].items()})
        for provider in body["providers"]:
            self._check_connected(context.members, provider)
        result = self._request(
            context.connection, context.members, body["requester"], code, purpose, list(body["providers"]),
            number_of(body["process"]), bool(body.get("consent")), bool(body.get("ordinary")),
        )  # fmt: skip
        if isinstance(result, NetworkRejected):
            raise result
        self._notify(context, message.sender, result)

    def _check_connected(self, members: dict[str, Institution], name: str) -> None:
        """Raise NetworkRejected if the provider has no interface system."""
        if (known := members.get(name)) is not None and not known.interface:
            raise NetworkRejected("not-connected", f"{name} has no interface system yet")

    def _on_own_information(self, context: _Context, message: Message) -> None:
        """Handle the portal's request for a person's own information: an exchange like any other, with a record."""
        body = message.body
        _speaks_for(context.members, message.sender, body["requester"])
        ours, theirs = (self._known(context.members, body[name]) for name in ("requester", "provider"))
        self._check_connected(context.members, theirs.name)
        if ours.kind != PORTAL_KIND:
            raise NetworkRejected("not-entitled", "only the portal may request a person's own information")
        linkage = self._coder.linkage(PortalCode.parse(body["code"]))
        decision, item = Decision(OWN_INFORMATION, None, "one's own information"), text_of(body["item"])
        number = self._note(context.connection, linkage, ours.name, theirs.name, item, decision)
        code = self._coder.institution(linkage, theirs.group)
        notification = Notification(
            number, code, theirs.name, ours.name, number_of(body["process"]), item, decision.rule
        )  # fmt: skip
        self._notify(context, message.sender, notification)

    def _notify(self, context: _Context, requester: str, notification: Notification) -> None:
        """Send the Minister's notification to the provider (21条2項), and an acceptance to the requester."""
        context.send(context.members[notification.provider].interface, "notification", notification.as_dict())
        accepted = {"process": notification.process, "number": notification.number, "rule": notification.rule}
        context.send(requester, "accepted", accepted)

    def _on_settled(self, context: _Context, message: Message) -> None:
        body = message.body
        _speaks_for(context.members, message.sender, body["provider"])
        self._settle(context.connection, body["provider"], number_of(body["number"]), RequestOutcome(body["outcome"]))

    def _on_disputed(self, context: _Context, message: Message) -> None:
        """Log a requester's report that an answer does not match its request."""
        _speaks_for(context.members, message.sender, message.body["requester"])
        detail = {name: text_of(message.body[name]) for name in ("requester", "why")}
        detail["number"] = str(number_of(message.body["number"]))
        self._log(context.connection, self._world.clock.now(), "disputed", detail)

    def _on_undisclosed(self, context: _Context, message: Message) -> None:
        """Set or clear a body's flag that the portal must not show a person's records (不開示該当フラグ)."""
        body, table = message.body, self._undisclosed
        _speaks_for(context.members, message.sender, body["body"])
        ours = self._known(context.members, body["body"])
        person = self._coder.record(self._coder.linkage(InstitutionCode.parse(body["code"]), ours.group)).value
        flag = (table.c.record_code == person) & (table.c.body == ours.name)
        context.connection.execute(sa.delete(table).where(flag))
        if body["on"]:
            context.connection.execute(sa.insert(table), {"record_code": person, "body": ours.name})

    _handlers: dict[str, Callable[[Core, _Context, Message], None]] = {  # noqa: RUF012 - constant
        "request": _on_request,
        "own-information": _on_own_information,
        "settled": _on_settled,
        "disputed": _on_disputed,
        "undisclosed": _on_undisclosed,
    }

    def _note(
        self, connection: sa.Connection, linkage: LinkageCode, requester: str, provider: str, item: str,
        decision: Decision,
    ) -> int:  # fmt: skip
        outcome = RequestOutcome.NOTIFIED if decision.allowed else RequestOutcome.DENIED
        row = {
            "record_code": self._coder.record(linkage).value, "requester": requester, "provider": provider,
            "item": item, "requested_at": epoch(self._world.clock.now()), "outcome": outcome.value,
            "reason": decision.rule if decision.denial is None else decision.denial.value,
        }  # fmt: skip
        return int(connection.execute(self._add_record, row).scalar_one())

    def settle(self, provider: str, number: int, outcome: RequestOutcome) -> None:
        """Record the provider's result: provided, or on hold until a person at the provider has checked the request. A
        provider cannot refuse. Raises NetworkRejected."""
        with self.store.alone() as connection:
            self._settle(connection, provider, number, outcome)

    def _settle(self, connection: sa.Connection, provider: str, number: int, outcome: RequestOutcome) -> None:
        if outcome not in (RequestOutcome.PROVIDED, RequestOutcome.HELD):
            raise NetworkRejected("duty-to-provide", f"a notified provider must provide or hold, not {outcome.value}")
        at = epoch(self._world.clock.now()) if outcome is RequestOutcome.PROVIDED else None
        values = {"n": number, "p": provider, "o": outcome.value, "at": at}
        if not connection.execute(self._settle_record, values).rowcount:
            words = f"{provider} was not notified of a request {number}, or has already answered it"
            raise NetworkRejected("not-notified", words)

    # Records

    def records(self, code: PortalCode) -> list[ProvisionRecord]:
        """Return a person's records for the portal, oldest first. Raises ForeignCode, and NetworkRejected if a body has
        set the flag that they must not be shown."""
        record_code = self._record_code(code)
        table, hidden = self._record, self._undisclosed
        with self.store.reading() as connection:
            if connection.scalar(sa.select(sa.func.count()).where(hidden.c.record_code == record_code)):
                raise NetworkRejected("undisclosed", "these records must not be shown (不開示該当フラグ)")
            rows = connection.execute(
                sa.select(table).where(table.c.record_code == record_code).order_by(table.c.number)
            )
            return [_provision_record(row) for row in rows]

    def _record_code(self, code: ProvisionIdentifier) -> bytes:
        return self._coder.record(self._coder.linkage(code)).value

    def by_basis(self) -> dict[str, int]:
        """Return the number of exchanges per legal basis, without denied requests."""
        table = self._record.c
        with self.store.reading() as connection:
            rows = connection.execute(
                sa.select(table.reason, sa.func.count()).where(table.outcome != RequestOutcome.DENIED.value)
                .group_by(table.reason)
            ).all()  # fmt: skip
        counts: dict[str, int] = {}
        for reason, count in rows:
            basis = reason.partition(",")[0]
            counts[basis] = counts.get(basis, 0) + count
        return counts


def _speaks_for(members: dict[str, Institution], interface: str, body: str) -> None:
    known = members.get(body)
    if known is None or known.interface != interface:
        raise NetworkRejected("not-entitled", f"{interface} does not speak for {body}")


def _provision_record(row: Any) -> ProvisionRecord:
    return ProvisionRecord(
        row.number, row.requester, row.provider, row.item, from_epoch(row.requested_at),
        from_epoch(row.provided_at) if row.provided_at is not None else None, RequestOutcome(row.outcome), row.reason,
    )  # fmt: skip
