"""The MyKey platform (マイキープラットフォーム): one identifier per person, by which libraries identify their members.

It stores which identifier has which member number at which service, and no history. What a person borrows and when they
tap is the services' business and is not recorded here.

One person has one identifier because the authority links all certificates of a person, on every card and phone that
they have had (`Follow.PERSON`). A platform that follows certificates less far takes the next card, or the next
certificate, for a new person, who may get a second identifier.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from hmac import compare_digest
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from kazashi.jpki.linkage import Follow
from kazashi.jpki.profile import CertificateType
from kazashi.relying_party.mykey.stages import Feature, MyKeyStage, StageTable
from kazashi.relying_party.verify.finding import Outcome
from kazashi.relying_party.verify.linkage import Linkage, authentication_serials
from kazashi.relying_party.verify.verdict import Verdict
from kazashi.world.clock import today
from kazashi.world.event_log import event_table
from kazashi.world.guesses import Guesses
from kazashi.world.home import World
from kazashi.world.rng import secure_random
from kazashi.world.storage import Unsigned64

ACTOR = "mykey"
"""The name of this actor's store."""

ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
LENGTH = 8
PROPOSALS = 3
"""How many random identifiers are tried before the person is asked to choose one."""

GUESSES_AT_ONE, GUESSES_OF_ONE = 5, 20
"""How many wrong dates of birth are compared in a day: for one identifier, and for one who asks."""

_GUESS_PERIOD = timedelta(days=1)

_SHAPE = re.compile(rf"[{ALPHABET}]{{{LENGTH}}}")


class MyKeyRejected(Exception):
    """The MyKey platform rejected the request; the message says why, and nothing was changed."""


class MalformedIdentifier(MyKeyRejected):
    """The chosen identifier or the membership is malformed."""


class MyKeyNotFound(MyKeyRejected):
    """The card has no identifier, or not yet."""


class NotAMember(MyKeyRejected):
    """The person is not a member of the service."""


class AlreadyAMember(MyKeyRejected):
    """The person is already a member of the service, or the member number is taken."""


class TapUseNotOpen(MyKeyRejected):
    """The person has not enrolled with PIN and date of birth yet, so tap use is not enabled."""


class CertificateNotAccepted(MyKeyRejected):
    """The verdict on the certificate is not good, or it is not an authentication certificate."""


class AlreadyRegistered(MyKeyRejected):
    """The person already has an identifier, with this certificate or another one."""


class IdentifierTaken(MyKeyRejected):
    """Somebody has or had that identifier."""


@dataclass(frozen=True, slots=True)
class MyKeyEntry:
    """A membership: an identifier and its member number at a service."""

    identifier: str
    service: str
    member_number: str


class MyKeyPlatform:
    """Issues identifiers and finds members. `linkage` says which serial numbers belong together, as far as `follow`
    goes."""

    def __init__(self, world: World, linkage: Linkage, follow: Follow = Follow.PERSON) -> None:
        self._world = world
        self._linkage = linkage
        self._follow = follow
        metadata = sa.MetaData()
        self._identifier = sa.Table(
            "identifier", metadata,
            sa.Column("identifier", sa.Text, primary_key=True),
            # The oldest serial number at the registration, by which the nightly batch asks; NULL after voiding.
            sa.Column("head", Unsigned64, unique=True),
            sa.Column("birth_digest", sa.LargeBinary),
            sa.Column("voided", sa.Boolean, nullable=False),
        )  # fmt: skip
        self._serial = sa.Table(
            "serial", metadata,
            sa.Column("serial", Unsigned64, primary_key=True, autoincrement=False),
            sa.Column("identifier", sa.Text, nullable=False, index=True),
        )  # fmt: skip
        self._member = sa.Table(
            "member", metadata,
            sa.Column("service", sa.Text, primary_key=True),
            sa.Column("identifier", sa.Text, primary_key=True),
            sa.Column("member_number", sa.Text, nullable=False),
            sa.UniqueConstraint("service", "member_number"),
        )  # fmt: skip
        self._stages = StageTable(metadata)
        self._guesses = Guesses(metadata, _GUESS_PERIOD)
        self._event, self._log = event_table(metadata)
        self.store = world.store(ACTOR, metadata)

    # Stages

    def stages(self) -> list[MyKeyStage]:
        """Return the stages of this platform, in order."""
        with self.store.reading() as connection:
            return self._stages.stages(connection)

    def begin_stage(self, number: int, day: date) -> MyKeyStage:
        """Let a stage begin on another day than in STAGES. Raises StageOrder."""
        with self.store.alone() as connection:
            stage = self._stages.begin(connection, number, day)
            self._log(connection, self._now, "stage begins", {"stage": number, "on": day.isoformat()})
        return stage

    def set_kind(self, service: str, kind: str) -> None:
        """Say of which kind a service is, one of SERVICE_KINDS. Raises StageOrder."""
        with self.store.alone() as connection:
            self._stages.set_kind(connection, service, kind)
            self._log(connection, self._now, "service", {"service": service, "kind": kind})

    # Identifiers

    def register(self, verdict: Verdict, wish: str | None = None) -> str:
        """Register the holder of an authentication certificate with a good verdict, and return their identifier.

        It is `wish` or, without one, random. Raises StageNotReached, CertificateNotAccepted, AlreadyRegistered,
        IdentifierTaken, MyKeyRejected and LinkageUnavailable.
        """
        serial = _entitled(verdict)
        if wish is not None and not _SHAPE.fullmatch(wish):
            raise MalformedIdentifier(f"a MyKey ID must have {LENGTH} characters of 0-9 and A-Z; {wish!r} does not")
        # What the authority links to a certificate only grows, so two replies about one person have a serial number in
        # common. The second registration therefore finds the first, whichever certificates the two were made with.
        linked = self._linked(serial)
        with self.store.alone() as connection:
            self._stages.check(connection, today(self._world.clock), Feature.IDENTIFIER)
            if (existing := self._of_serials(connection, linked)) is not None:
                raise AlreadyRegistered(f"this person already has the MyKey ID {existing}; a person may have only one")
            candidates = [wish] if wish is not None else [self.propose() for _ in range(PROPOSALS)]
            table = self._identifier.c
            taken = set(connection.scalars(sa.select(table.identifier).where(table.identifier.in_(candidates))))
            free = [identifier for identifier in candidates if identifier not in taken]
            if not free:
                raise IdentifierTaken(
                    f"the MyKey ID {wish} is taken; choose another one"
                    if wish
                    else f"{PROPOSALS} random MyKey IDs were all taken; choose one"
                )
            row = {"identifier": free[0], "head": linked[0], "voided": False}
            connection.execute(sa.insert(self._identifier), row)
            rows = [{"serial": serial, "identifier": free[0]} for serial in linked]
            connection.execute(sa.insert(self._serial), rows)
            self._log(connection, self._now, "registered", {"identifier": free[0]})
        return free[0]

    def propose(self) -> str:
        """Return a random identifier, which is not checked or reserved."""
        number = secure_random(64)
        letters = []
        for _ in range(LENGTH):
            number, letter = divmod(number, len(ALPHABET))
            letters.append(ALPHABET[letter])
        return "".join(letters)

    def _linked(self, serial: int) -> list[int]:
        return authentication_serials(self._linkage, CertificateType.AUTHENTICATION, serial, self._follow)

    def _of_serials(self, connection: sa.Connection, serials: Sequence[int]) -> str | None:
        table = self._serial.c
        return connection.scalar(sa.select(table.identifier).where(table.serial.in_(serials)).limit(1))

    def find(self, serial: int) -> str | None:
        """Return the identifier of a serial number, or None if the platform does not know the serial number."""
        with self.store.reading() as connection:
            return self._of_serials(connection, [serial])

    def void(self, verdict: Verdict) -> str:
        """Void the holder's identifier with all memberships, and return it. It is never issued again. Raises
        CertificateNotAccepted and MyKeyRejected."""
        with self.store.alone() as connection:
            identifier = self._identifier_of(connection, verdict)
            own_row = self._identifier.c.identifier == identifier
            connection.execute(
                sa.update(self._identifier).where(own_row).values(voided=True, head=None, birth_digest=None)
            )
            for table in (self._serial, self._member):
                connection.execute(sa.delete(table).where(table.c.identifier == identifier))
            self._log(connection, self._now, "voided", {"identifier": identifier})
        return identifier

    def adopt_renewals(self) -> int:
        """Run the nightly batch: ask the authority about each person, store the serial numbers that are new, and return
        their number.

        They are those of renewed certificates, of new cards and of phones. Raises LinkageUnavailable; what was stored
        until then is kept.
        """
        table, people, adopted = self._serial.c, self._identifier.c, 0
        with self.store.reading() as connection:
            query = sa.select(people.identifier, people.head).where(people.head.is_not(None)).order_by(people.head)
            heads = [tuple(row) for row in connection.execute(query)]
        for identifier, head in heads:
            linked = self._linked(head)
            # Serial numbers of another identifier are left alone: the person may have registered again while
            # certificates were not followed.
            wanted = sa.select(table.serial).where(table.serial.in_(linked))
            with self.store.reading() as connection:
                if len(set(connection.scalars(wanted))) == len(linked):
                    continue
            with self.store.alone() as connection:
                known = set(connection.scalars(wanted))
                own_count = connection.scalar(sa.select(sa.func.count()).where(table.identifier == identifier))
                new_serials = [serial for serial in linked if serial not in known]
                if new_serials and own_count:
                    rows = [{"serial": serial, "identifier": identifier} for serial in new_serials]
                    connection.execute(sa.insert(self._serial), rows)
                    self._log(connection, self._now, "renewal adopted", {"identifier": identifier})
                    adopted += len(new_serials)
        return adopted

    # Services

    def enrol(self, verdict: Verdict, service: str, member_number: str, birth: date | None = None) -> MyKeyEntry:
        """Link the holder's identifier to a member number of a service. With a date of birth, this also enables tap
        use. Raises StageNotReached, CertificateNotAccepted and MyKeyRejected."""
        if not service or not member_number:
            raise MalformedIdentifier("a membership needs a service and a member number")
        try:
            with self.store.alone() as connection:
                self._stages.check_service(connection, today(self._world.clock), service)
                identifier = self._identifier_of(connection, verdict)
                connection.execute(
                    sa.insert(self._member),
                    {"service": service, "identifier": identifier, "member_number": member_number},
                )
                if birth is not None:
                    own_row = self._identifier.c.identifier == identifier
                    digest = _birth_digest(identifier, birth)
                    connection.execute(sa.update(self._identifier).where(own_row).values(birth_digest=digest))
                self._log(connection, self._now, "enrolled", {"identifier": identifier, "service": service})
        except IntegrityError as error:
            raise AlreadyAMember(
                f"{service} already has this person as a member, or the member number {member_number} is taken"
            ) from error
        return MyKeyEntry(identifier, service, member_number)

    def leave(self, verdict: Verdict, service: str) -> None:
        """End a membership. Raises CertificateNotAccepted, and MyKeyRejected if there is none."""
        table = self._member
        with self.store.alone() as connection:
            identifier = self._identifier_of(connection, verdict)
            membership = (table.c.identifier == identifier) & (table.c.service == service)
            if connection.execute(sa.delete(table).where(membership)).rowcount == 0:
                raise NotAMember(f"{identifier} is not a member of {service}")
            self._log(connection, self._now, "left", {"identifier": identifier, "service": service})

    def member(self, verdict: Verdict, service: str) -> MyKeyEntry:
        """Return the membership of a person whose card was read and whose PIN was verified. Raises
        CertificateNotAccepted and MyKeyRejected."""
        with self.store.reading() as connection:
            self._stages.check_service(connection, today(self._world.clock), service)
            return self._membership(connection, self._identifier_of(connection, verdict), service)

    def tap(self, verdict: Verdict, service: str) -> MyKeyEntry:
        """Return the membership of a person who tapped their card without a PIN; the verdict covers the certificate.

        A person must have enrolled once with PIN and date of birth. Nothing is recorded. Raises CertificateNotAccepted
        and MyKeyRejected.
        """
        table = self._identifier.c
        with self.store.reading() as connection:
            self._stages.check_service(connection, today(self._world.clock), service)
            identifier = self._identifier_of(connection, verdict)
            digest = connection.scalar(sa.select(table.birth_digest).where(table.identifier == identifier))
            if digest is None:
                raise TapUseNotOpen("tap use is not enabled: enrol once with PIN and date of birth")
            return self._membership(connection, identifier, service)

    def confirms_birth(self, identifier: str, birth: date, asker: str = "") -> bool:
        """Whether this is the date of birth that tap use was enabled with.

        `asker` is who asks: a network address, or the name of a service. Raises TooManyGuesses after a few wrong
        answers about one identifier, or many from one asker.
        """
        most = {f"identifier {identifier}": GUESSES_AT_ONE, f"asker {asker}": GUESSES_OF_ONE}
        self._guesses.spend(self.store, self._now, most)
        right = self._has_birth(identifier, birth)
        if right:
            self._guesses.give_back(self.store, *most)
        return right

    def _has_birth(self, identifier: str, birth: date) -> bool:
        table = self._identifier.c
        with self.store.reading() as connection:
            digest = connection.scalar(sa.select(table.birth_digest).where(table.identifier == identifier))
        return digest is not None and compare_digest(bytes(digest), _birth_digest(identifier, birth))

    def _membership(self, connection: sa.Connection, identifier: str, service: str) -> MyKeyEntry:
        table = self._member.c
        membership = (table.identifier == identifier) & (table.service == service)
        number = connection.scalar(sa.select(table.member_number).where(membership))
        if number is None:
            raise NotAMember(f"{identifier} is not a member of {service}")
        return MyKeyEntry(identifier, service, str(number))

    def _identifier_of(self, connection: sa.Connection, verdict: Verdict) -> str:
        identifier = self._of_serials(connection, [_entitled(verdict)])
        if identifier is None:
            raise MyKeyNotFound(
                "this certificate has no MyKey ID; the MyKey ID of a renewed one, or of a new card or phone, is known"
                " from the next day"
            )
        return identifier

    @property
    def _now(self) -> datetime:
        return self._world.clock.now()

    def exposure(self) -> dict[str, list[dict[str, Any]]]:
        """Return everything that the platform stores, by table: what a leak of its store would reveal."""
        tables = (self._identifier, self._serial, self._member, self._event)
        with self.store.reading() as connection:
            return {
                table.name: [dict(row) for row in connection.execute(sa.select(table)).mappings()] for table in tables
            }


def _entitled(verdict: Verdict) -> int:
    """Return the serial number of an authentication certificate with a good verdict. Raises CertificateNotAccepted."""
    certificate = verdict.certificate
    if (
        verdict.outcome is not Outcome.GOOD
        or certificate is None
        or certificate.kind is not CertificateType.AUTHENTICATION
    ):
        reason = f"{verdict.finding}: {verdict.detail}" if verdict.finding else "not an authentication certificate"
        raise CertificateNotAccepted(f"the certificate is not accepted: {reason}")
    return certificate.serial


def _birth_digest(identifier: str, birth: date) -> bytes:
    """Return a digest of a date of birth. It is not a secret from someone who has the store, because there are only
    some 40,000 dates, but the date cannot be read at a glance."""
    return hashlib.sha256(f"{identifier} {birth.isoformat()}".encode()).digest()
