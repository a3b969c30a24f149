"""One person over the years: one MyKey ID and one user, whatever happens to the cards and phones.

The authority's linkage leads from each certificate of a person to all others; the tests live random lives and compare
with a model. Two processes that register a card and a phone of one person at the same moment, and processes that are
killed in between, leave one ID.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import count
from multiprocessing.synchronize import Barrier
from pathlib import Path

import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st

from kazashi.assembly.institutions import Institutions
from kazashi.assembly.relying import card_verdict, direct_linkage
from kazashi.card.certification_request import certification_request
from kazashi.jpki.linkage import Follow, LinkedCertificate
from kazashi.jpki.profile import CertificateType, Medium
from kazashi.jpki.state import CertificateState
from kazashi.pki.callers import LINKAGE, Callers
from kazashi.pki.certificate import CertificateRequest
from kazashi.pki.certificate_database import Issued
from kazashi.relying_party.mykey.mykey import AlreadyRegistered, MyKeyNotFound, MyKeyPlatform
from kazashi.relying_party.platform.platform import LinkageConflict, Platform, TenantExists
from kazashi.relying_party.verify.certificate import read_certificate
from kazashi.relying_party.verify.linkage import BOTH, Linkage, LinkageUnavailable
from kazashi.relying_party.verify.verdict import Outcome, Verdict
from kazashi.resident_registry.event import (
    CardFound,
    CodeChange,
    Event,
    LossReport,
    MoveWithin,
    NameChange,
    NumberChange,
    Theft,
)
from kazashi.resident_registry.sample_residents import SAMPLE_RESIDENTS
from kazashi.world.home import open_world
from kazashi.world.key_source import SharedKeySource
from tests.polling import LIMIT
from tests.town import AUTHENTICATION, SIGNATURE, certificates, later, new_institutions

CALLER = "mykey"
NUMBERS = count()


class Counting:
    """A linkage that counts its queries."""

    def __init__(self, linkage: Linkage) -> None:
        self._linkage, self.count = linkage, 0

    def certificates(
        self, kind: CertificateType, serial: int, follow: Follow = Follow.PERSON,
        types: Sequence[CertificateType] = BOTH,
    ) -> list[LinkedCertificate]:  # fmt: skip
        self.count += 1
        return self._linkage.certificates(kind, serial, follow, types)


class Life:
    """A person in a town, with what becomes of their cards, phones, MyKey ID and users."""

    def __init__(self, town: Institutions) -> None:
        self.town, self.number = town, next(NUMBERS)
        self.who = f"person-{self.number}"
        town.registry.add(replace(SAMPLE_RESIDENTS["hanako"], alias=self.who, household=self.who))
        town.settle()
        self.linkage = Counting(direct_linkage(town, CALLER))
        self.mykey, self.platform = MyKeyPlatform(town.world, self.linkage), Platform(town.world, self.linkage)
        for follow in Follow:
            with suppress(TenantExists):
                self.platform.add_tenant(follow.value, follow=follow)
        self.cards = 0
        self._logged_in: set[tuple[CertificateType, int]] = set()
        self.id: str | None = None
        self.users: dict[Follow, dict[object, str]] = {follow: {} for follow in Follow}

    def happen(self, *events: Event) -> None:
        for event in events:
            self.town.registry.record(self.who, event)
            self.town.settle()

    def issued(self, kind: CertificateType = AUTHENTICATION) -> list[Issued]:
        return certificates(self.town, self.who, kind)

    def good(self, medium: Medium) -> list[Issued]:
        """The good authentication certificates on cards or phones."""
        status = self.town.revocations[AUTHENTICATION].status
        return [one for one in self.issued() if one.medium is medium
                and status(one.serial).state is CertificateState.GOOD]  # fmt: skip

    def step(self, what: str) -> None:
        if what == "theft":
            self.happen(Theft())
        elif what == "lost and found":
            if self.good(Medium.CARD):
                self.happen(LossReport(), CardFound())
        elif what == "new card":
            self.cards += 1
            self.town.issue_card(f"{self.who}-{self.cards}", self.who)
        elif what == "phone":
            self._phone()
        elif what == "changes":
            self.cards += 1
            self.happen(MoveWithin(f"架空町{self.cards}番地"), NameChange(family="改名", kana="カイメイ　ハナコ")
                        if self.cards % 2 else CodeChange())  # fmt: skip
        elif what == "new number":
            self.happen(NumberChange())
        elif what == "night":
            self.mykey.adopt_renewals()
            assert {self.mykey.find(one.serial) for one in self.issued()} <= {self.id}
        elif what == "void":
            self._void()
        else:
            self._register(Medium.PHONE if what == "register phone" else Medium.CARD)
        self.log_in()

    def _phone(self) -> None:
        resident, now = self.town.registry.find(self.who), self.town.world.clock.now()
        phone = f"{self.who} phone {len(self.issued())}"
        if card := self.good(Medium.CARD):
            for kind, authority in self.town.authorities.items():
                request = certification_request(self.town.world.keys.take())
                authority.issue(CertificateRequest(resident, request, now, card[-1].not_after, Medium.PHONE, phone,
                                                   identifier=f"{phone} {kind.code}"))  # fmt: skip

    def verdict(self, issued: Issued) -> Verdict:
        certificate = read_certificate(issued.certificate)
        return Verdict(outcome=Outcome.GOOD, at=self.town.world.clock.now(), certificate=certificate)

    def _register(self, medium: Medium) -> None:
        for one in self.good(medium)[-1:]:
            if self.id is None:
                self.id = self.mykey.register(self.verdict(one))
            else:
                with pytest.raises(AlreadyRegistered, match=self.id):
                    self.mykey.register(self.verdict(one))

    def _void(self) -> None:
        for one in (self.good(Medium.CARD) + self.good(Medium.PHONE))[-1:]:
            with suppress(MyKeyNotFound):  # the certificate is known from the next day only
                assert self.mykey.void(self.verdict(one)) == self.id
                self.id = None

    def log_in(self, *, again: bool = False) -> None:
        """Log in at three services with every certificate that is new, or with all: they were all good once."""
        for kind in CertificateType:
            for one in self.issued(kind):
                if again or (kind, one.serial) not in self._logged_in:
                    self._logged_in.add((kind, one.serial))
                    keys = {Follow.PERSON: 0, Follow.MEDIUM: one.medium_id, Follow.CERTIFICATE: (kind, one.serial)}
                    for follow, key in keys.items():
                        user = self.platform.identify(follow.value, read_certificate(one.certificate)).identifier
                        assert self.users[follow].setdefault(key, user) == user
        for users in self.users.values():
            assert len(set(users.values())) == len(users)


@pytest.fixture(scope="module")
def shared_town(tmp_path_factory: pytest.TempPathFactory, keys: SharedKeySource) -> Iterator[Institutions]:
    town = new_institutions(tmp_path_factory.mktemp("one") / "w", keys)
    yield town
    town.world.close()


STEPS = ["theft", "lost and found", "new card", "new card", "phone", "phone", "changes", "new number", "night",
         "register", "register", "register phone", "register phone", "void"]  # fmt: skip


def live(town: Institutions, steps: Sequence[str]) -> None:
    life, before = Life(town), len(queries(town))
    for step in ("new card", *steps, "register", "register phone", "night"):
        life.step(step)
    life.log_in(again=True)
    rows = life.mykey.exposure()
    serials = {one.serial for one in life.issued()}
    assert {row["identifier"] for row in rows["serial"] if row["serial"] in serials} == {life.id} - {None}
    assert len(life.users[Follow.PERSON]) == 1
    assert len(queries(town)) - before == life.linkage.count, "each query is logged, and no other"


def queries(town: Institutions) -> list[str]:
    return [query.said for query, _ in Callers(town.world).queries(CALLER) if query.service == LINKAGE]


@pytest.mark.long
@settings(max_examples=60)
@given(st.lists(st.sampled_from(STEPS), min_size=4, max_size=25))
def test_a_person_has_one_id_and_one_user_in_every_life(shared_town: Institutions, steps: list[str]) -> None:
    live(shared_town, steps)


def test_a_life_with_every_step(shared_town: Institutions) -> None:
    live(shared_town, ["register phone", "phone", "register phone", "theft", "new card", "register", "void", "night",
                       "register phone", "lost and found", "phone", "new number", "new card", "changes", "new card",
                       "void", "register", "changes", "void"])  # fmt: skip


def test_phones_with_one_name_are_two_peoples(shared_town: Institutions) -> None:
    """`kazashi ca issue --phone NAME` lets two people have a phone of one name."""
    lives = [Life(shared_town), Life(shared_town)]
    for life in lives:
        life.step("new card")
        resident, now = shared_town.registry.find(life.who), shared_town.world.clock.now()
        for authority in shared_town.authorities.values():
            request = certification_request(shared_town.world.keys.take())
            end = life.issued()[-1].not_after
            authority.issue(CertificateRequest(resident, request, now, end, Medium.PHONE, "phone same"))
    one, other = (life.issued()[-1].serial for life in lives)
    for follow in (Follow.MEDIUM, Follow.PERSON):
        linked = lives[0].linkage.certificates(AUTHENTICATION, one, follow)
        assert other not in [each.serial for each in linked if each.kind is AUTHENTICATION]


def test_a_new_card_in_the_moment_of_a_code_change_waits(town: Institutions) -> None:
    """The new card has the new code, while the authorities still have the old one for the old card."""
    life = Life(town)
    life.step("new card")
    life.step("register")
    now = town.world.clock.now()
    town.registry.record(life.who, CodeChange())
    registry, prefectures, j_lis = town.registry, town.juki_net.prefectures, town.juki_net.j_lis
    registry.outbox.deliver(registry.store, now, {"prefecture": prefectures.receive})
    prefectures.outbox.deliver(prefectures.store, now, {"j-lis": j_lis.receive})
    town.issue_card("meanwhile", life.who)
    (new,) = life.issued()
    with pytest.raises(LinkageUnavailable, match="just changing"):
        life.mykey.register(life.verdict(new))
    town.settle()
    with pytest.raises(AlreadyRegistered):
        life.mykey.register(life.verdict(new))
    assert life.mykey.adopt_renewals() == 1


# Tenants that change their minds, and stores of before


def test_a_tenant_that_begins_to_follow_people_keeps_its_users(town: Institutions) -> None:
    life = Life(town)
    life.platform.add_tenant("shop", follow=Follow.MEDIUM)
    life.town.issue_card("one", life.who)
    first = life.platform.identify("shop", read_certificate(life.issued()[0].certificate))
    life.platform.set_follow("shop", Follow.PERSON)
    life.town.issue_card("two", life.who)
    for one in (*life.issued(), *life.issued(SIGNATURE)):
        user = life.platform.identify("shop", read_certificate(one.certificate))
        assert (user.identifier, user.new) == (first.identifier, False)
    assert len(life.platform.exposure("shop")) == 4
    life.platform.set_follow("shop", Follow.MEDIUM)
    users = [life.platform.identify("shop", read_certificate(one.certificate)) for one in life.issued()]
    assert users[0].identifier == first.identifier, "the medium that comes first keeps the user"
    assert users[1].new


def test_two_users_of_before_are_not_merged(town: Institutions) -> None:
    life = Life(town)
    life.platform.add_tenant("shop", follow=Follow.MEDIUM)
    users = []
    for card in ("one", "two"):
        life.town.issue_card(card, life.who)
        users.append(life.platform.identify("shop", read_certificate(life.issued()[-1].certificate)).identifier)
    life.platform.set_follow("shop", Follow.PERSON)
    for one in life.issued():
        with pytest.raises(LinkageConflict):
            life.platform.identify("shop", read_certificate(one.certificate))
    assert {row["identifier"] for row in life.platform.exposure("shop")} == set(users)
    life.platform.delete("shop", users[1])
    for one in life.issued():
        assert life.platform.identify("shop", read_certificate(one.certificate)).identifier == users[0]


def test_a_store_of_version_2_is_migrated(institutions: Institutions, capsys: pytest.CaptureFixture[str]) -> None:
    """Its users stay; its tenants follow a card or phone as before, until they choose otherwise."""
    town = institutions
    store = town.world.store_to_study("platform")
    life_serials = [1 << 63, 7]
    with store.transaction() as connection:
        if connection.dialect.name == "postgresql":
            connection.execute(sa.schema.CreateSchema("platform", if_not_exists=True))
        for line in (
            "CREATE TABLE schema_version (version INTEGER NOT NULL)",
            "INSERT INTO schema_version VALUES (2)",
            "CREATE TABLE tenant (name TEXT NOT NULL, key_digest %s NOT NULL, origins TEXT NOT NULL, "
            "PRIMARY KEY (name), UNIQUE (key_digest))"
            % ("BYTEA" if connection.dialect.name == "postgresql" else "BLOB"),
            "INSERT INTO tenant VALUES ('shop', 'x', '[]')",
            "CREATE TABLE certificate (kind TEXT NOT NULL, serial BIGINT NOT NULL, person TEXT NOT NULL, "
            "PRIMARY KEY (kind, serial))",
            "CREATE INDEX ix_certificate_person ON certificate (person)",
            "INSERT INTO certificate VALUES ('signature', 7, 'p'), ('authentication', -9223372036854775808, 'p')",
            'CREATE TABLE "user" (tenant TEXT NOT NULL, person TEXT NOT NULL, identifier TEXT NOT NULL, '
            "since BIGINT NOT NULL, PRIMARY KEY (tenant, person), UNIQUE (identifier))",
            "INSERT INTO \"user\" VALUES ('shop', 'p', 'u', 0), ('sample', 'p', 'v', 0)",
        ):
            connection.execute(sa.text(line))
    store.close()
    platform = Platform(town.world, direct_linkage(town, CALLER))
    assert "from version 2 to 3" in capsys.readouterr().err
    assert (platform.follow("shop"), platform.follow("sample")) == (Follow.MEDIUM, Follow.PERSON)
    for tenant, user in (("shop", "u"), ("sample", "v")):
        assert [row["serial"] for row in platform.exposure(tenant)] == life_serials
        assert {row["identifier"] for row in platform.exposure(tenant)} == {user}


# Processes


def _register(directory: Path, who: str, medium: Medium, barrier: Barrier | None, dies: str) -> None:
    """Register in a process of its own; it waits until the other has the authority's reply, or is killed."""
    world = open_world(directory)
    town = Institutions(world)
    linkage = direct_linkage(town, CALLER)

    class Waiting(Counting):
        def certificates(
            self, kind: CertificateType, serial: int, follow: Follow = Follow.PERSON,
            types: Sequence[CertificateType] = BOTH,
        ) -> list[LinkedCertificate]:  # fmt: skip
            linked = super().certificates(kind, serial, follow, types)
            if barrier is not None:
                barrier.wait(LIMIT)
            if dies == "after the reply":
                os.kill(os.getpid(), signal.SIGKILL)
            return linked

    platform = MyKeyPlatform(world, Waiting(linkage))
    if dies == "at the commit":
        sa.event.listen(platform.store.engine, "commit", lambda _: os.kill(os.getpid(), signal.SIGKILL))
    with suppress(AlreadyRegistered):
        platform.register(card_verdict(town, who, medium))


@pytest.fixture
def with_phone(town: Institutions) -> Life:
    life = Life(town)
    for step in ("new card", "phone"):
        life.step(step)
    later(town, days=1)
    return life


def test_two_processes_that_register_card_and_phone_at_once_give_one_id(with_phone: Life) -> None:
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(2)
    processes = [
        context.Process(target=_register, args=(with_phone.town.world.directory, with_phone.who, medium, barrier, ""))
        for medium in (Medium.CARD, Medium.PHONE)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(LIMIT)
        assert process.exitcode == 0
    rows = with_phone.mykey.exposure()
    assert len(rows["identifier"]) == 1
    assert {row["serial"] for row in rows["serial"]} == {one.serial for one in with_phone.issued()}
    assert len(rows["event"]) == 1, "one of the two was refused"


@pytest.mark.long
@pytest.mark.crash
@pytest.mark.parametrize("dies", ["after the reply", "at the commit"])
def test_a_registration_that_is_killed_leaves_nothing_and_can_be_repeated(with_phone: Life, dies: str) -> None:
    context = multiprocessing.get_context("spawn")
    process = context.Process(
        target=_register, args=(with_phone.town.world.directory, with_phone.who, Medium.PHONE, None, dies)
    )
    process.start()
    process.join(LIMIT)
    assert process.exitcode == -signal.SIGKILL
    assert not any(with_phone.mykey.exposure().values())
    with_phone.step("register")
    with_phone.step("register phone")
    assert len(with_phone.mykey.exposure()["identifier"]) == 1
