"""The platform operator: one user per person and tenant, whatever happens to the certificates."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from functools import partial
from itertools import count
from threading import Barrier, BrokenBarrierError
from typing import TypeVar

import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st

from kazashi.assembly.institutions import Institutions
from kazashi.jpki.linkage import Follow, LinkedCertificate
from kazashi.jpki.profile import CERTIFICATE_TYPES, CertificateType, Medium
from kazashi.pki.services import VerifierServices
from kazashi.relying_party.conformance.authority import TestAuthority
from kazashi.relying_party.platform.platform import LinkageConflict, NoSuchUser, Platform, User
from kazashi.relying_party.verify.anchors import AnchorsInDirectory
from kazashi.relying_party.verify.certificate import HolderCertificate, read_certificate
from kazashi.relying_party.verify.linkage import BOTH, Linkage
from kazashi.relying_party.verify.sources import lists_in
from kazashi.relying_party.verify.verdict import Outcome, Verdict
from kazashi.relying_party.verify.verification import Verifier
from kazashi.resident_registry.event import MoveWithin
from kazashi.world.home import World, open_world
from kazashi.world.key_source import SharedKeySource, generate
from tests.town import AUTHENTICATION, MORNING, SIGNATURE, certificates, clock_of, later, new_world

ENOUGH = timedelta(days=365 * 4 + 100)
"""After this time, certificates that were issued to hanako on the first day are in their last three months."""
LONG_ENOUGH = ENOUGH + timedelta(days=180)
"""After this time, hanako's have expired, and taro's are in their last three months."""

THREADS = 8
_T = TypeVar("_T")


class TownLinkage:
    """The linkage of the town's authorities, called within the process."""

    def __init__(self, town: Institutions) -> None:
        self._services = VerifierServices(town.world, town.authorities, town.juki_net.j_lis)

    def certificates(
        self, kind: CertificateType, serial: int, follow: Follow = Follow.PERSON,
        types: Sequence[CertificateType] = BOTH,
    ) -> list[LinkedCertificate]:  # fmt: skip
        return self._services.linkage("tests", kind, serial, follow, types)


class Gathering:
    """A linkage whose first reply waits until all concurrent callers have called it."""

    def __init__(self, linkage: Linkage, barrier: Barrier) -> None:
        self._linkage, self._barriers = linkage, [barrier]

    def certificates(
        self, kind: CertificateType, serial: int, follow: Follow = Follow.PERSON,
        types: Sequence[CertificateType] = BOTH,
    ) -> list[LinkedCertificate]:  # fmt: skip
        linked = self._linkage.certificates(kind, serial, follow, types)
        while self._barriers:
            self._barriers.pop().wait(60)
        return linked


def at_once(world: World, linkage: Linkage, action: Callable[[World, Linkage, int], _T]) -> list[_T]:
    """Run an action in several threads, each with its own world and stores, which all get the linkage at the same
    moment. Return the results."""
    barrier = Barrier(THREADS)

    def run(number: int) -> _T:
        own = open_world(world.directory)
        try:
            return action(own, Gathering(linkage, barrier), number)
        except BaseException:
            barrier.abort()
            raise
        finally:
            own.close()

    with ThreadPoolExecutor(THREADS) as pool:
        running = [pool.submit(run, number) for number in range(THREADS)]
    for future in running:
        if (failure := future.exception()) is not None and not isinstance(failure, BrokenBarrierError):
            raise failure  # the others failed only because this one did not reach the barrier
    return [future.result() for future in running]


def together(*actions: Callable[[], object]) -> list[object]:
    """Start actions at the same moment and return their results."""
    barrier = Barrier(len(actions))

    def run(action: Callable[[], object]) -> object:
        barrier.wait(60)
        return action()

    with ThreadPoolExecutor(len(actions)) as pool:
        return list(pool.map(run, actions))


def verifier(town: Institutions) -> Verifier:
    publication = town.world.publication
    return Verifier(AnchorsInDirectory(publication / "ca"), [lists_in(publication)], town.world.clock)


def verdict_on(town: Institutions, who: str, kind: CertificateType = AUTHENTICATION) -> Verdict:
    """The verdict on a person's latest certificate as of now."""
    return verifier(town).certificate(certificates(town, who, kind)[-1].certificate)


def current(town: Institutions, who: str, kind: CertificateType = AUTHENTICATION) -> HolderCertificate:
    """A person's latest certificate, which must be good."""
    verdict = verdict_on(town, who, kind)
    assert (verdict.outcome, verdict.finding) == (Outcome.GOOD, None)
    assert verdict.certificate is not None
    return verdict.certificate


def renewed_by_time(town: Institutions, *names: str, after: timedelta = ENOUGH) -> None:
    """Advance the clock until certificates can be renewed, and renew those on these cards."""
    clock = clock_of(town.world)
    clock.stand(clock.now() + after)
    town.settle()
    for name in names:
        assert town.cards.renew(name) == [SIGNATURE, AUTHENTICATION]
    later(town, days=1)


def ready(town: Institutions) -> Institutions:
    """Two cards, and authorities whose keys all differ, because verifiers distinguish them by their keys."""
    for ca in town.authorities.values():
        for at in (MORNING, MORNING + ENOUGH, MORNING + LONG_ENOUGH):
            ca.issuing(at)
    for who in ("hanako", "taro"):
        town.issue_card(who, who)
    town.settle()
    return town


@pytest.fixture
def hanako(town: Institutions) -> Institutions:
    return ready(town)


def test_a_user_survives_a_move_and_renewals_of_both_certificates(hanako: Institutions) -> None:
    platform = Platform(hanako.world, TownLinkage(hanako))
    first = platform.identify("shop", current(hanako, "hanako"))
    same = User(first.identifier, new=False)
    assert first.new
    assert platform.identify("shop", current(hanako, "hanako", SIGNATURE)) == same
    hanako.registry.record("hanako", MoveWithin("架空町１番地"))
    later(hanako, days=1)
    assert verdict_on(hanako, "hanako", SIGNATURE).outcome is Outcome.BAD
    assert hanako.cards.renew("hanako") == [SIGNATURE]
    later(hanako, days=1)
    assert platform.identify("shop", current(hanako, "hanako", SIGNATURE)) == same
    renewed_by_time(hanako, "hanako")
    assert len(certificates(hanako, "hanako", SIGNATURE)) == 3
    for kind in CertificateType:
        assert platform.identify("shop", current(hanako, "hanako", kind)) == same
    assert platform.identify("shop", current(hanako, "taro")).identifier != first.identifier


def test_user_ids_differ_between_tenants_and_after_deletion(hanako: Institutions) -> None:
    platform, certificate = Platform(hanako.world, TownLinkage(hanako)), current(hanako, "hanako")
    shop, bank = (platform.identify(tenant, certificate).identifier for tenant in ("shop", "bank"))
    assert len({shop, bank}) == 2
    platform.delete("shop", shop)
    for unknown in (shop, bank):
        with pytest.raises(NoSuchUser):
            platform.delete("shop", unknown)
    assert platform.exposure("shop") == []
    assert platform.identify("bank", certificate) == User(bank, new=False)
    again = platform.identify("shop", certificate)
    assert again.new
    assert again.identifier not in (shop, bank)
    platform.delete("bank", bank)
    assert platform.identify("shop", current(hanako, "hanako", SIGNATURE)) == User(again.identifier, new=False)
    assert serials(platform) == 2
    platform.delete("shop", again.identifier)
    assert serials(platform) == 0, "the platform forgets a person whom no tenant knows"


def serials(platform: Platform) -> int:
    """The number of stored serial numbers."""
    with platform.store.reading() as connection:
        return int(connection.scalar(sa.text("SELECT count(*) FROM certificate")) or 0)


def test_a_tenant_can_see_that_a_newer_certificate_exists(hanako: Institutions) -> None:
    platform = Platform(hanako.world, TownLinkage(hanako))
    user = platform.identify("shop", current(hanako, "hanako")).identifier
    assert platform.renewed("shop", user) == {SIGNATURE: False, AUTHENTICATION: False}
    hanako.registry.record("hanako", MoveWithin("架空町１番地"))
    later(hanako, days=1)
    hanako.cards.renew("hanako")
    assert platform.renewed("shop", user) == {SIGNATURE: True, AUTHENTICATION: False}
    renewed_by_time(hanako, "hanako")
    assert platform.renewed("shop", user) == {SIGNATURE: True, AUTHENTICATION: True}
    platform.identify("shop", current(hanako, "hanako"))
    assert platform.renewed("shop", user) == {SIGNATURE: False, AUTHENTICATION: False}
    with pytest.raises(NoSuchUser):
        platform.renewed("bank", user)


def test_exposure_contains_only_the_tenants_own_users(hanako: Institutions) -> None:
    platform = Platform(hanako.world, TownLinkage(hanako))
    user = platform.identify("shop", current(hanako, "hanako")).identifier
    platform.identify("bank", current(hanako, "hanako"))
    platform.identify("bank", current(hanako, "taro"))
    since = int(hanako.world.clock.now().timestamp())
    wanted = [{"identifier": user, "since": since, "kind": kind.code, "serial": current(hanako, "hanako", kind).serial}
              for kind in (AUTHENTICATION, SIGNATURE)]  # fmt: skip
    assert platform.exposure("shop") == wanted
    assert len(platform.exposure("bank")) == 4
    assert user not in {row["identifier"] for row in platform.exposure("bank")}


Person = dict[CertificateType, list[int]]


class Model:
    """An authority with people whose certificates become more. It claims that those in `tied` are one person's."""

    def __init__(self) -> None:
        self.tied: list[int] = []
        self._owner: dict[tuple[CertificateType, int], Person] = {}
        self._numbers = count(1 << 63)

    def add(self, length: int = 1) -> Person:
        person: Person = {kind: [] for kind in CertificateType}
        for kind in [*CertificateType] * length:
            self.renew(person, kind)
        return person

    def renew(self, person: Person, kind: CertificateType) -> None:
        person[kind].append(next(self._numbers))
        self._owner[kind, person[kind][-1]] = person

    def certificates(
        self, kind: CertificateType, serial: int, follow: Follow = Follow.PERSON,
        types: Sequence[CertificateType] = BOTH,
    ) -> list[LinkedCertificate]:  # fmt: skip
        person = {kind: self.tied} if serial in self.tied else self._owner[kind, serial]
        return [LinkedCertificate(each, one, Medium.CARD) for each in types for one in person.get(each, [])]


class ModelPlatform:
    """A platform with a model as its linkage, and a maker of certificates for it."""

    def __init__(self, world: World) -> None:
        ca = TestAuthority(SharedKeySource([generate()]))
        self._template = read_certificate(ca.holder(ca.generation(AUTHENTICATION)).der)
        self.world, self.model = world, Model()
        self.platform = Platform(world, self.model)

    def certificate(self, kind: CertificateType, serial: int) -> HolderCertificate:
        return replace(self._template, kind=kind, serial=serial)


@pytest.fixture(scope="module")
def model_platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModelPlatform]:
    model_platform = ModelPlatform(new_world(tmp_path_factory.mktemp("platform") / "w"))
    yield model_platform
    model_platform.world.close()


_STEP = st.tuples(
    st.sampled_from(["renew", "identify", "identify", "identify by an old one", "delete"]),
    st.integers(0, 2), st.sampled_from(CertificateType), st.sampled_from(["shop", "bank"]), st.integers(0, 9),
)  # fmt: skip


@settings(max_examples=40)
@given(st.lists(_STEP, min_size=10, max_size=20), st.integers(0, 1))
def test_a_chain_is_never_split_or_merged(
    model_platform: ModelPlatform, steps: list[tuple[str, int, CertificateType, str, int]], length: int
) -> None:
    platform, people = model_platform.platform, [model_platform.model.add(length) for _ in range(3)]
    known: dict[tuple[str, int], str] = {}
    used: set[str] = set()
    for step, who, kind, tenant, place in steps:
        chain, before = people[who][kind], known.get((tenant, who))
        if step == "renew" or (step != "delete" and not chain):
            model_platform.model.renew(people[who], kind)
        elif step == "delete":
            if before is not None:
                platform.delete(tenant, known.pop((tenant, who)))
        else:
            serial = chain[-1] if step == "identify" else chain[place % len(chain)]
            user = platform.identify(tenant, model_platform.certificate(kind, serial))
            assert user.new is (before is None)
            assert user.identifier == before or (before is None and user.identifier not in used)
            known[tenant, who] = user.identifier
            used.add(user.identifier)
    for tenant in ("shop", "bank"):
        rows = platform.exposure(tenant)
        for who, person in enumerate(people):
            mine = [row["identifier"] for row in rows if row["serial"] in person[CERTIFICATE_TYPES[row["kind"]]]]
            assert set(mine) == ({known[tenant, who]} if (tenant, who) in known else set())


def test_linking_two_known_people_is_a_conflict_that_changes_nothing(model_platform: ModelPlatform) -> None:
    platform, model = model_platform.platform, model_platform.model
    one, other = model.add(), model.add()
    presented = [model_platform.certificate(AUTHENTICATION, person[AUTHENTICATION][0]) for person in (one, other)]
    users = [platform.identify("shop", certificate).identifier for certificate in presented]
    model.renew(other, AUTHENTICATION)
    model.tied = [*one[AUTHENTICATION], *other[AUTHENTICATION]]
    newest = model_platform.certificate(AUTHENTICATION, other[AUTHENTICATION][-1])
    before = platform.exposure("shop"), serials(platform)
    for tenant in ("shop", "bank"):
        with pytest.raises(LinkageConflict):
            platform.identify(tenant, newest)
    assert (platform.exposure("shop"), serials(platform)) == before
    assert [platform.identify("shop", certificate).identifier for certificate in presented] == users
    platform.delete("shop", users[0])
    assert platform.identify("shop", newest) == User(users[1], new=False), "no conflict after one of the two is deleted"


def test_concurrent_first_logins_create_one_user(institutions: Institutions) -> None:
    model_platform = ModelPlatform(institutions.world)
    for _ in range(10):
        person = model_platform.model.add(length=5)
        presented = [
            model_platform.certificate(kind, person[kind][number])
            for number in range(THREADS // 2)
            for kind in CertificateType
        ]
        identified = at_once(model_platform.world, model_platform.model, partial(identify, presented))
        assert len({user.identifier for user in identified}) == 1
        assert [user.new for user in identified].count(True) == 1
    assert len({row["identifier"] for row in model_platform.platform.exposure("shop")}) == 10


def identify(presented: list[HolderCertificate], world: World, linkage: Linkage, number: int) -> User:
    return Platform(world, linkage).identify("shop", presented[number])


def test_a_user_survives_a_concurrent_deletion_by_another_tenant(institutions: Institutions) -> None:
    model_platform = ModelPlatform(institutions.world)
    for _ in range(20):
        certificate = model_platform.certificate(AUTHENTICATION, model_platform.model.add()[AUTHENTICATION][0])
        shop = model_platform.platform.identify("shop", certificate).identifier
        identify_at_bank = partial(model_platform.platform.identify, "bank", certificate)
        _, user = together(partial(model_platform.platform.delete, "shop", shop), identify_at_bank)
        assert isinstance(user, User)
        assert identify_at_bank() == User(user.identifier, new=False)
        assert user.identifier in {row["identifier"] for row in model_platform.platform.exposure("bank")}
