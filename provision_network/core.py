"""The core of the network (コアシステム): it makes codes, converts them, decides by the rules, and keeps records.

It stores no information about anybody: of a person it has a number of its own beside the resident record code, and of
an exchange who asked whom, when, and for which item (番号法23条). Its records stand under the record code, which nobody
else has. What it is asked comes in messages of the interface systems, and what it says goes to them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from cryptography.hazmat.primitives.asymmetric import ec
from joserfc.errors import JoseError
from joserfc.jwk import ECKey

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
"""The name of this actor's store."""

_KEY_BITS = 256
_LINKAGE_BITS = 56
_CHUNK = 5_000
_MEMBERS = 100
"""Bodies of which one message tells."""

_NAME = "Kazashi information provision network"


@dataclass(frozen=True, slots=True)
class _Hearing:
    """What is at hand while messages are taken in: the transaction, everybody on the network, and a way to answer."""

    connection: sa.Connection
    members: dict[str, Institution]
    say: Send


class Core:
    """The core of one world."""

    def __init__(self, world: World, rules: RuleBook) -> None:
        """Raises TokenUnavailable where the world keeps its keys in a token that is away."""
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
            begun = ServiceAuthority.begin(_NAME, self._world.clock.now())
            made = {"authority-key": begun.key, "authority": begun.certificate}
            return made if token is not None else {**made, "key": secure_random(_KEY_BITS).to_bytes(_KEY_BITS // 8)}

        with self.store.alone() as connection:
            held = self._secrets.begin(connection, "authority", make)
        cipher = SoftwareCipher(held["key"]) if token is None else token
        return ServiceAuthority(_NAME, held["authority-key"], held["authority"]), cipher

    # Who takes part

    def enrol(self, interface: str, key: ec.EllipticCurvePublicKey, address: str) -> bytes:
        """Put an interface system on the network; answers its certificate (PEM). Raises NetworkRejected for a name that
        it cannot have."""
        now = self._world.clock.now()
        if not interface or interface == CORE or not interface.isidentifier():
            raise NetworkRejected("bad-name", f"an interface system is not called {interface!r}")
        with self.store.alone() as connection:
            self._members.put_interface(connection, interface, address)
            self._log(connection, now, "interface enrolled", {"interface": interface})
            self._announce(connection, lambda body: body.interface == interface)
            self._announce(connection, lambda body: True, interface)
            self._members.forget()
        return self.authority.issue(interface, key, now, unit="interface", host="localhost")

    def credentials(self, name: str, unit: str, host: str = "") -> Credentials:
        """Credentials of a business system (`system`), of J-LIS's desk (`juki-net`), or the core's own; for a server
        with its `host`."""
        return self.authority.credentials(name, self._world.clock.now(), unit=unit, host=host)

    def connect(
        self, name: str, kind: str, *, assessed: bool, group: str = "", starts: datetime | None = None,
        interface: str = "", key: str = "",
    ) -> Institution:  # fmt: skip
        """Put a body on the network, or change what is known of it. Several in one `group` share one code for a person,
        as the medical insurers do. One with an `interface` has a public key (JWK), too. Raises NetworkRejected."""
        now = self._world.clock.now()
        if interface and not _is_key(key):
            raise NetworkRejected("bad-key", f"{name} has no key under which answers could be sealed for it")
        with self.store.alone() as connection:
            found = self._members.put_institution(
                connection, name, kind, group or name, assessed=assessed, starts=starts or now, interface=interface,
                key=key,
            )  # fmt: skip
            self._log(connection, now, "connected", {"institution": name, "assessed": assessed})
            self._announce(connection, lambda body: body.name == name)
            self._members.forget()
        return found

    def _announce(
        self, connection: sa.Connection, which: Callable[[Institution], bool], to: str | None = None
    ) -> None:  # fmt: skip
        """Tell every interface system, or one, behind which some bodies stand, where that answers, and how answers are
        sealed for them."""
        self._members.forget()  # what this transaction has written is nobody's yet
        entries = self._members.interfaces(connection)
        addresses = {entry.name: entry.address for entry in entries}
        members = {
            body.name: {"interface": body.interface, "key": body.key, "address": addresses.get(body.interface, "")}
            for body in self._members.institutions(connection).values() if body.interface and which(body)
        }  # fmt: skip
        told = list(members.items())
        with self.outbox.batch(connection, CORE, self._world.clock.now()) as say:
            for entry in entries:
                for begin in range(0, len(told) if to in (None, entry.name) else 0, _MEMBERS):
                    say(entry.name, "members", {"members": dict(told[begin : begin + _MEMBERS])})

    def interfaces(self) -> list[InterfaceEntry]:
        """All interface systems."""
        with self.store.reading() as connection:
            return self._members.interfaces(connection)

    def institutions(self) -> list[Institution]:
        """All bodies."""
        with self.store.reading() as connection:
            return list(self._members.institutions(connection).values())

    def _known(self, members: dict[str, Institution], name: str) -> Institution:
        """A body that may take part now. Raises NetworkRejected."""
        found = members.get(name)
        if found is None:
            raise NetworkRejected("unknown-institution", f"{name} is not on the network")
        if not found.assessed:
            raise NetworkRejected("no-assessment", f"{name} has not done its impact assessment (特定個人情報保護評価)")
        if found.starts > self._world.clock.now():
            raise NetworkRejected("not-started", f"{name} takes part from {found.starts:%Y-%m-%d} on")
        return found

    # Codes

    def code_for(self, institution: str, resident_record_code: str) -> InstitutionCode:
        """A person's code for a body that is entitled to it. Raises NetworkRejected."""
        return self.issue([institution], [resident_record_code])[institution][0]

    def issue(
        self, institutions: Sequence[str], resident_record_codes: Sequence[str]
    ) -> dict[str, list[InstitutionCode]]:  # fmt: skip
        """Persons' codes for bodies that are entitled to them, in the same order: the way from the resident registry's
        network, which is the only one that knows the resident record code. Raises NetworkRejected."""
        with self.store.alone() as connection:
            members = self._members.institutions(connection)
            bodies = {name: self._known(members, name).group for name in institutions}
            linkages = self._linkages(connection, resident_record_codes)
            for name in institutions:
                detail = {"institution": name, "persons": len(linkages)}
                self._log(connection, self._world.clock.now(), "codes issued", detail)
        return {name: self._coder.issue(linkages, group) for name, group in bodies.items()}

    def portal_code(self, resident_record_code: str) -> PortalCode:
        """A person's code for the portal."""
        with self.store.alone() as connection:
            return self._coder.portal(self._linkages(connection, [resident_record_code])[0])

    def _linkages(self, connection: sa.Connection, resident_record_codes: Sequence[str]) -> list[LinkageCode]:
        table = self._person
        found: dict[str, int] = {}
        for begin in range(0, len(resident_record_codes), _CHUNK):
            chunk = resident_record_codes[begin : begin + _CHUNK]
            rows = connection.execute(sa.select(table).where(table.c.resident_record_code.in_(chunk)))
            known = {row.resident_record_code: row.linkage for row in rows}
            # At random, so that it tells nothing of the code that it goes with, and that code may be changed.
            fresh = {code: secure_random(_LINKAGE_BITS) or 1 for code in chunk if code not in known}
            if fresh:
                new = [(number, code) for code, number in fresh.items()]
                insert_many(connection, table, ("linkage", "resident_record_code"), new)
            found |= known | fresh
        return [LinkageCode(found[code]) for code in resident_record_codes]

    def recode(self, old: str, new: str) -> None:
        """A person's resident record code was changed: all codes stay what they are."""
        table = self._person
        with self.store.alone() as connection:
            changed = sa.update(table).where(table.c.resident_record_code == old).values(resident_record_code=new)
            connection.execute(changed)
            self._log(connection, self._world.clock.now(), "recoded", {})

    def convert(self, role: Role, code: InstitutionCode, source: str, target: str) -> InstitutionCode:
        """One body's code for a person as another's. The core's operator alone may have that, and it is logged. Raises
        NetworkRejected and ForeignCode."""
        if role is not Role.CORE_OPERATOR:
            raise NetworkRejected("not-entitled", f"a {role.value} may not have codes converted")
        with self.store.transaction() as connection:
            members = self._members.institutions(connection)
            ours, theirs = self._known(members, source), self._known(members, target)
            self._log(connection, self._world.clock.now(), "converted", {"source": source, "target": target})
        return self._coder.convert(code, ours.group, theirs.group)

    # The flow

    def receive(self, messages: Sequence[Message]) -> None:
        """Take in what interface systems say. What one of them asks that is refused is recorded and answered; its
        other messages go on. Raises MessageGap."""
        with self.store.transaction() as connection:
            self.receive_in(connection, messages)

    def receive_in(self, connection: sa.Connection, messages: Sequence[Message]) -> None:
        """The same within a transaction of the core's store."""
        members = self._members.institutions(connection)
        with self.outbox.batch(connection, CORE, self._world.clock.now()) as say:
            hearing = _Hearing(connection, members, say)
            for message in self._inbox.fresh(connection, messages):
                try:
                    self._heard.get(message.kind, Core._unheard)(self, hearing, message)
                except (NetworkRejected, ForeignCode, AttributeError, KeyError, TypeError, ValueError) as error:
                    self._refuse(hearing, message, error)

    def _unheard(self, _: _Hearing, message: Message) -> None:
        raise NetworkRejected("unknown-message", f"nothing is called {message.kind[:40]!r} here")

    def _refuse(self, hearing: _Hearing, message: Message, error: Exception) -> None:
        if isinstance(error, NetworkRejected):
            denial = error.denial
        else:
            denial = "foreign-code" if isinstance(error, ForeignCode) else "bad-message"
        about = {name: ascii(message.body.get(name))[:LONGEST] for name in ("requester", "provider", "number")}
        detail = {"interface": message.sender, "kind": ascii(message.kind), "denial": denial, **about}
        self._log(hearing.connection, self._world.clock.now(), "refused", detail)
        if isinstance(process := message.body.get("process"), int) and 0 <= process < 1 << 63:
            words = str(error) if denial != "bad-message" else "that message makes no sense"
            answer = {"process": process, "denial": denial, "words": words}
            hearing.say(message.sender, "refused", answer)

    def request(
        self, requester: str, code: InstitutionCode, purpose: Purpose, providers: list[str], *, consent: bool = False,
        ordinary: bool = False, process: int = 0,
    ) -> Notification:  # fmt: skip
        """The second and third step of five: decide, convert, and say what the one provider is notified of. What is
        denied by a rule is recorded too. Raises NetworkRejected and ForeignCode."""
        with self.store.transaction() as connection:
            members = self._members.institutions(connection)
            found = self._request(connection, members, requester, code, purpose, providers, process, consent, ordinary)
        if isinstance(found, NetworkRejected):
            raise found
        return found

    def _request(
        self, connection: sa.Connection, members: dict[str, Institution], requester: str, code: InstitutionCode,
        purpose: Purpose, providers: list[str], process: int, consent: bool, ordinary: bool,
    ) -> Notification | NetworkRejected:  # fmt: skip
        if len(providers) != 1:
            raise NetworkRejected("broadcast", "a request goes to one provider")
        ours, theirs = self._known(members, requester), self._known(members, providers[0])
        linkage = self._coder.linkage(code, ours.group)
        if (ours.kind, theirs.kind) != (purpose.requester, purpose.provider):
            words = f"{ours.name} is {ours.kind}, and {theirs.name} is {theirs.kind}"
            raise NetworkRejected("another-body", words)
        day = self._world.clock.now().astimezone(JST).date()
        decision = self.rules.decide(purpose, day, consent=consent, provider_name=theirs.name, ordinary=ordinary)
        number = self._note(connection, linkage, requester, theirs.name, purpose.item, decision)
        if decision.denial is not None:
            return NetworkRejected(decision.denial.value, decision.words)
        converted = self._coder.institution(linkage, theirs.group)
        return Notification(number, converted, theirs.name, requester, process, purpose.item, decision.rule)

    def _on_request(self, hearing: _Hearing, message: Message) -> None:
        body = message.body
        _speaks_for(hearing.members, message.sender, body["requester"])
        code = InstitutionCode.parse(body["code"])
        purpose = Purpose(**{name: text_of(value) for name, value in body["purpose"].items()})
        for provider in body["providers"]:
            self._reached(hearing.members, provider)
        found = self._request(
            hearing.connection, hearing.members, body["requester"], code, purpose, list(body["providers"]),
            number_of(body["process"]), bool(body.get("consent")), bool(body.get("ordinary")),
        )  # fmt: skip
        if isinstance(found, NetworkRejected):
            raise found
        self._notify(hearing, message.sender, found)

    def _reached(self, members: dict[str, Institution], name: str) -> None:
        """Raises NetworkRejected for a provider that stands behind no interface system."""
        if (known := members.get(name)) is not None and not known.interface:
            raise NetworkRejected("not-connected", f"{name} is behind no interface system yet")

    def _on_own_information(self, hearing: _Hearing, message: Message) -> None:
        """The portal asks for somebody's own information: an exchange like others, with a record (F3)."""
        body = message.body
        _speaks_for(hearing.members, message.sender, body["requester"])
        ours, theirs = (self._known(hearing.members, body[name]) for name in ("requester", "provider"))
        self._reached(hearing.members, theirs.name)
        if ours.kind != PORTAL_KIND:
            raise NetworkRejected("not-entitled", "the portal alone asks for a person's own information")
        linkage = self._coder.linkage(PortalCode.parse(body["code"]))
        decision, item = Decision(OWN_INFORMATION, None, "one's own information"), text_of(body["item"])
        number = self._note(hearing.connection, linkage, ours.name, theirs.name, item, decision)
        code = self._coder.institution(linkage, theirs.group)
        found = Notification(
            number, code, theirs.name, ours.name, number_of(body["process"]), item, decision.rule
        )  # fmt: skip
        self._notify(hearing, message.sender, found)

    def _notify(self, hearing: _Hearing, requester: str, found: Notification) -> None:
        """The Minister's notification to the provider (21条2項), and a word to the requester."""
        hearing.say(hearing.members[found.provider].interface, "notification", found.as_dict())
        accepted = {"process": found.process, "number": found.number, "rule": found.rule}
        hearing.say(requester, "accepted", accepted)

    def _on_settled(self, hearing: _Hearing, message: Message) -> None:
        body = message.body
        _speaks_for(hearing.members, message.sender, body["provider"])
        self._settle(hearing.connection, body["provider"], number_of(body["number"]), RequestOutcome(body["outcome"]))

    def _on_disputed(self, hearing: _Hearing, message: Message) -> None:
        """A requester says that an answer was another than it asked for."""
        _speaks_for(hearing.members, message.sender, message.body["requester"])
        detail = {name: text_of(message.body[name]) for name in ("requester", "why")}
        detail["number"] = str(number_of(message.body["number"]))
        self._log(hearing.connection, self._world.clock.now(), "disputed", detail)

    def _on_undisclosed(self, hearing: _Hearing, message: Message) -> None:
        """A body has, or has no more, a person whose records the portal must not show (不開示該当フラグ)."""
        body, table = message.body, self._undisclosed
        _speaks_for(hearing.members, message.sender, body["body"])
        ours = self._known(hearing.members, body["body"])
        person = self._coder.record(self._coder.linkage(InstitutionCode.parse(body["code"]), ours.group)).value
        here = (table.c.record_code == person) & (table.c.body == ours.name)
        hearing.connection.execute(sa.delete(table).where(here))
        if body["on"]:
            hearing.connection.execute(sa.insert(table), {"record_code": person, "body": ours.name})

    _heard: dict[str, Callable[[Core, _Hearing, Message], None]] = {  # noqa: RUF012 - a table, never changed
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
        """What the provider says it has done: provided, or held for a human's look. It cannot refuse. Raises
        NetworkRejected."""
        with self.store.alone() as connection:
            self._settle(connection, provider, number, outcome)

    def _settle(self, connection: sa.Connection, provider: str, number: int, outcome: RequestOutcome) -> None:
        if outcome not in (RequestOutcome.PROVIDED, RequestOutcome.HELD):
            raise NetworkRejected("duty-to-provide", "a provider that was notified provides, or holds")
        at = epoch(self._world.clock.now()) if outcome is RequestOutcome.PROVIDED else None
        values = {"n": number, "p": provider, "o": outcome.value, "at": at}
        if not connection.execute(self._settle_record, values).rowcount:
            words = f"{provider} was not notified of a request {number}, or has answered"
            raise NetworkRejected("not-notified", words)

    # Records

    def records(self, code: PortalCode) -> list[ProvisionRecord]:
        """A person's records, as the portal asks for them, oldest first. Raises ForeignCode, and NetworkRejected
        where a
        body has said that they must not be shown."""
        wanted = self._record_code(code)
        table, hidden = self._record, self._undisclosed
        with self.store.reading() as connection:
            if connection.scalar(sa.select(sa.func.count()).where(hidden.c.record_code == wanted)):
                raise NetworkRejected("undisclosed", "these records are not shown (不開示該当フラグ)")
            rows = connection.execute(sa.select(table).where(table.c.record_code == wanted).order_by(table.c.number))
            return [_provision_record(row) for row in rows]

    def _record_code(self, code: ProvisionIdentifier) -> bytes:
        return self._coder.record(self._coder.linkage(code)).value

    def by_basis(self) -> dict[str, int]:
        """How many exchanges stand on which provision, denials apart (H7)."""
        table = self._record.c
        with self.store.reading() as connection:
            rows = connection.execute(
                sa.select(table.reason, sa.func.count()).where(table.outcome != RequestOutcome.DENIED.value)
                .group_by(table.reason)
            ).all()  # fmt: skip
        found: dict[str, int] = {}
        for reason, count in rows:
            basis = reason.partition(",")[0]
            found[basis] = found.get(basis, 0) + count
        return found


def _is_key(text: str) -> bool:
    try:
        ECKey.import_key(json.loads(text))
    except (JoseError, ValueError, KeyError, TypeError):
        return False
    return True


def _speaks_for(members: dict[str, Institution], interface: str, body: str) -> None:
    known = members.get(body)
    if known is None or known.interface != interface:
        raise NetworkRejected("not-entitled", f"{interface} does not speak for {body}")


def _provision_record(row: Any) -> ProvisionRecord:
    return ProvisionRecord(
        row.number, row.requester, row.provider, row.item, from_epoch(row.requested_at),
        from_epoch(row.provided_at) if row.provided_at is not None else None, RequestOutcome(row.outcome), row.reason,
    )  # fmt: skip
