"""Durable commands of a town: registry events, cards, certificates, revocation lists, the clock, and MyKey IDs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from datetime import date, datetime, timedelta
from pathlib import Path

import sqlalchemy as sa
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from benchmarks.reliability.durable import Acknowledge, DurableCommand, clock_of, require
from kazashi.applets import jpki
from kazashi.applets.applet import unfilled
from kazashi.applets.install import load_card
from kazashi.assembly.institutions import Institutions
from kazashi.card.chip import Chip
from kazashi.card.image import read_image
from kazashi.card.request import change_reference_data, select, verify
from kazashi.card_management.case import CaseState, CaseType
from kazashi.card_management.order import card_names, image_path
from kazashi.jpki.profile import CertificateType
from kazashi.jpki.state import CertificateState
from kazashi.pki.authority import FIRST_SERIAL, Authority
from kazashi.pki.certificate_database import FULL_LIST
from kazashi.pki.publication import Publication
from kazashi.relying_party.mykey.mykey import GUESSES_AT_ONE, AlreadyRegistered, MyKeyPlatform
from kazashi.relying_party.verify.certificate import read_certificate
from kazashi.relying_party.verify.linkage import NoLinkage
from kazashi.relying_party.verify.verdict import Outcome, Verdict
from kazashi.world.atomic_file import write_whole
from kazashi.world.clock import epoch, instant_of
from kazashi.world.guesses import TooManyGuesses
from kazashi.world.home import World, open_world
from kazashi.world.key_source import generate
from kazashi.world.settings import Settings

MORNING = instant_of("2026-11-24T10:00+09:00")
BIRTH = date(1988, 4, 17)
RENEWING, ORDERING, MOVING = "hanako", "taro", "leap-day"
"""Whose certificates are renewed, who gets a card, and who moves."""

_STOCK = 8
"""Keys in stock: enough for a card."""
_STREET = "架空１丁目"
_SERVICE, _NUMBER = "library", "00001"
_WRONG_BIRTH, _WRONG_GUESSES = date(1988, 4, 18), 2
_PIN, _OLD, _NEW = jpki.AUTHENTICATION_PIN, b"1234", b"9876"
_CARD = (
    (CertificateType.SIGNATURE, jpki.SIGNATURE_CERTIFICATE, jpki.SIGNATURE_KEY),
    (CertificateType.AUTHENTICATION, jpki.AUTHENTICATION_CERTIFICATE, jpki.AUTHENTICATION_KEY),
)


def _prepare(home: Path) -> None:
    """Two residents with cards, one of whom has moved since, a third one without a card, and keys in stock."""
    world = open_world(home, settings=Settings("reliability"))
    clock_of(world).stand(MORNING)
    town = Institutions(world)
    for name in (RENEWING, MOVING):
        town.issue_card(name, name)
    town.resident(ORDERING)
    town.settle()
    town.happen(RENEWING, "move-within", {"street": _STREET})
    (home / "keys").mkdir(mode=0o700, exist_ok=True)
    for number in range(_STOCK):
        write_whole(home / "keys" / f"{number}.key", generate(), mode=0o600)
    world.close()


def _command(
    name: str,
    run: Callable[[Institutions, Acknowledge], object],
    check: Callable[[Institutions, Sequence[str]], object],
) -> DurableCommand:
    """A command of the town. `check` sees it as it was found; after that, everything in it is finished and checked."""

    def run_in(home: Path, acknowledge: Acknowledge) -> None:
        run(Institutions(open_world(home)), acknowledge)

    def check_in(home: Path, acknowledged: Sequence[str]) -> None:
        world = open_world(home)
        try:
            town = Institutions(world)
            check(town, acknowledged)
            town.settle()
            _check_all(town)
        finally:
            world.close()

    return DurableCommand(name, _prepare, run_in, check_in)


# Everything


def _check_all(town: Institutions) -> None:
    """Check what must be true of a town in which nothing is left to do."""
    _check_authorities(town)
    require(all(case.state is CaseState.DONE for case in town.cards.cases()), "every order was carried out")
    names = {case.name for case in town.cards.cases()}
    require(set(card_names(town.world)) == names, "there is one image for each card that was ordered")
    for name in names:
        _check_card(town, name)
    require(not list(town.world.cards.glob(".*.keys")), "no private key is left beside the cards")
    for who in (RENEWING, ORDERING, MOVING):
        resident = town.registry.find(who)
        identity = town.juki_net.j_lis.identity(resident.code)
        require(identity.address == resident.address, f"J-LIS has the address of {who}")
    for publication in town.publications.values():
        _check_lists(publication)


def serial_numbers(authority: Authority) -> list[int]:
    """Return every serial number that an authority has used, sorted."""
    ledger = authority.ledger
    with ledger.store.reading() as connection:
        return sorted(
            serial
            for table in (ledger.certificate, ledger.generation, ledger.responder)
            for serial in connection.scalars(sa.select(table.c.serial))
        )


def _check_authorities(town: Institutions) -> None:
    public: list[int] = []
    for authority in town.authorities.values():
        ledger, serials = authority.ledger, serial_numbers(authority)
        with ledger.store.reading() as connection:
            rows = connection.execute(sa.select(ledger.certificate.c.request, ledger.certificate.c.certificate)).all()
            revoked = connection.scalars(sa.select(ledger.revocation.c.serial)).all()
            following = connection.scalar(sa.text("SELECT value FROM counter WHERE name = 'serial'"))
        whole = list(range(FIRST_SERIAL, FIRST_SERIAL + len(serials)))
        require(serials == whole, "serial numbers have no gap and none is used twice")
        require(following == FIRST_SERIAL + len(serials), "the next serial number follows the last one")
        require(len({row.request for row in rows}) == len(rows), "there is one certificate for each request")
        require(len(set(revoked)) == len(revoked), "a certificate is revoked once")
        public += [_modulus(x509.load_der_x509_certificate(row.certificate).public_key()) for row in rows]
    stock = [path.read_bytes() for path in (town.world.directory / "keys").glob("*.key")]
    for key in stock:
        private = serialization.load_der_private_key(key, None, unsafe_skip_rsa_key_validation=True)
        public.append(_modulus(private.public_key()))
    require(len(set(public)) == len(public), "no key is in two certificates, or in stock again")


def _modulus(key: object) -> int:
    assert isinstance(key, rsa.RSAPublicKey)
    return key.public_numbers().n


def _check_card(town: Institutions, name: str) -> None:
    """Check that a card has the latest certificates, one for each order, and their keys."""
    contents = read_image(image_path(town.world, name))[0][jpki.AID]
    code = town.registry.find(name).code
    orders = sum(case.name == name for case in town.cards.cases())
    for kind, file, key_file in _CARD:
        issued = town.authorities[kind].of_holder(code)
        renewed = orders if kind is CertificateType.SIGNATURE else 1
        require(len(issued) == renewed, f"{name} has one {kind.code} certificate for each order")
        certificate, key = unfilled(contents.data[file]), contents.key(key_file)
        require(
            certificate == issued[-1].certificate, f"the card of {name} has the authority's {kind.code} certificate"
        )
        public = x509.load_der_x509_certificate(certificate).public_key()
        require(key is not None and key.public_numbers.n == _modulus(public), f"the card of {name} has its keys")


def _check_lists(publication: Publication) -> None:
    ledger = publication.authority.ledger
    lists, revoked = ledger.revocation_list, ledger.revocation
    for generation in publication.authority.generations():
        with ledger.store.reading() as connection:
            rows = connection.execute(sa.select(lists).where(lists.c.generation == generation.name)).all()
            entries = connection.execute(sa.select(revoked).where(revoked.c.generation == generation.name)).all()
        for row in rows:
            made = x509.load_der_x509_crl(publication.path(generation.name, row.name).read_bytes())
            number = made.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number
            count = sum(row.name in (FULL_LIST, one.partition) and one.position <= row.position for one in entries)
            require(
                number == row.number == row.written, f"the list {row.name} has the number that the authority recorded"
            )
            require(len(made) == count, f"the list {row.name} has {count} entries")
        published = publication.authority.world.publication / "ca" / publication.authority.kind.code
        path = published / f"{generation.name}.cer"
        require(path.read_bytes() == generation.certificate, "the authority's own certificate is published")


# Registry events


def _move(town: Institutions, acknowledge: Acknowledge) -> None:
    town.happen(MOVING, "move-within", {"street": _STREET})
    acknowledge("moved")


def _check_move(town: Institutions, acknowledged: Sequence[str]) -> None:
    if acknowledged:
        _check_moved(town, moved=True)
    town.settle()
    codes = [event.code for event in town.registry.history(MOVING)]
    require(codes.count("move-within") <= 1, "an event is recorded once")
    _check_moved(town, moved="move-within" in codes)


def _check_moved(town: Institutions, *, moved: bool) -> None:
    require((_STREET in town.registry.find(MOVING).address) == moved, "the registry has the new address")
    signature, authentication = (_latest_state(town, kind) for kind in CertificateType)
    wanted = CertificateState.REVOKED if moved else CertificateState.GOOD
    require(signature is wanted, "a move revokes the signature certificate")
    require(authentication is CertificateState.GOOD, "a move leaves the authentication certificate")


def _latest_state(town: Institutions, kind: CertificateType, who: str = MOVING) -> CertificateState:
    issued = town.authorities[kind].of_holder(town.registry.find(who).code)
    return town.revocations[kind].status(issued[-1].serial).state


# Cards


def _issue(town: Institutions, acknowledge: Acknowledge) -> None:
    town.issue_card(ORDERING, ORDERING)
    acknowledge("card")
    town.settle()


def _check_issue(town: Institutions, acknowledged: Sequence[str]) -> None:
    cases = [case for case in town.cards.cases() if case.name == ORDERING]
    require(len(cases) <= 1, "a card is ordered once")
    if acknowledged:
        require([case.state for case in cases] == [CaseState.DONE], "the order was carried out")
        _check_card(town, ORDERING)
    town.settle()
    if not cases:
        town.issue_card(ORDERING, ORDERING)


def _renew(town: Institutions, acknowledge: Acknowledge) -> None:
    town.cards.renew(RENEWING)
    acknowledge("renewed")


def _check_renewal(town: Institutions, acknowledged: Sequence[str]) -> None:
    renewals = [case for case in town.cards.cases() if case.what is CaseType.RENEWAL]
    require(len(renewals) <= 1, "a renewal is ordered once")
    if acknowledged:
        require([case.state for case in renewals] == [CaseState.DONE], "the renewal was carried out")
        _check_card(town, RENEWING)
    town.settle()
    if renewals:
        good = _latest_state(town, CertificateType.SIGNATURE, RENEWING) is CertificateState.GOOD
        require(good, "the renewed certificate is good")
    else:
        town.cards.renew(RENEWING)


# Lists and the clock


def _make_lists(town: Institutions, acknowledge: Acknowledge) -> None:
    clock_of(town.world).stand(MORNING + timedelta(days=1))
    town.settle()
    acknowledge("lists")


def _check_making(town: Institutions, acknowledged: Sequence[str]) -> None:
    if acknowledged:
        for publication in town.publications.values():
            _check_lists(publication)
            require(_oldest_list(publication.authority) > epoch(MORNING), "every list was made anew")


def _oldest_list(authority: Authority) -> int:
    with authority.ledger.store.reading() as connection:
        oldest = sa.func.min(authority.ledger.revocation_list.c.this_update)
        return int(connection.scalar(sa.select(oldest)) or 0)


def _advance(town: Institutions, acknowledge: Acknowledge) -> None:
    for days in (1, 2):
        until = MORNING + timedelta(days=days)
        town.advance(until)
        acknowledge(until.isoformat())


def _check_clock(town: Institutions, acknowledged: Sequence[str]) -> None:
    now = town.world.clock.now()
    require(MORNING <= now <= MORNING + timedelta(days=2), "the clock is between where it was and where it was set to")
    for instant in acknowledged:
        require(now >= datetime.fromisoformat(instant), f"the clock was advanced to {instant}")
    town.settle()
    for publication in town.publications.values():
        due = publication.due()
        require(due is None or due > now, "no job is left that was due before")


# MyKey


def _register(town: Institutions, acknowledge: Acknowledge) -> None:
    verdict, platform = _verdict(town), MyKeyPlatform(town.world, NoLinkage())
    acknowledge(platform.register(verdict))
    identifier = platform.enrol(verdict, _SERVICE, _NUMBER, BIRTH).identifier
    acknowledge(identifier)
    for _ in range(_WRONG_GUESSES):
        require(not platform.confirms_birth(identifier, _WRONG_BIRTH), "a wrong date of birth is wrong")
        acknowledge(identifier)


def _verdict(town: Institutions) -> Verdict:
    code = town.registry.find(RENEWING).code
    (issued,) = town.authorities[CertificateType.AUTHENTICATION].of_holder(code)
    certificate = read_certificate(issued.certificate)
    return Verdict(outcome=Outcome.GOOD, at=town.world.clock.now(), certificate=certificate)


def _guesses_left(platform: MyKeyPlatform, identifier: str) -> Iterator[bool]:
    """Use up the guesses that are left."""
    with suppress(TooManyGuesses):
        while True:
            yield platform.confirms_birth(identifier, _WRONG_BIRTH)


def _check_mykey(town: Institutions, acknowledged: Sequence[str]) -> None:
    verdict, platform = _verdict(town), MyKeyPlatform(town.world, NoLinkage())
    require(len(set(acknowledged)) <= 1, "a person has one MyKey ID")
    if len(acknowledged) >= 2:
        require(platform.tap(verdict, _SERVICE).member_number == _NUMBER, "the membership and tap use are there")
        left = sum(1 for _ in _guesses_left(platform, acknowledged[0]))
        require(left <= GUESSES_AT_ONE - (len(acknowledged) - 2), "a guess at the date of birth stays counted")
    try:
        identifier = platform.register(verdict)
        require(not acknowledged, "the MyKey ID is there")
    except AlreadyRegistered as error:
        identifier = platform.void(verdict)
        require(identifier in str(error) and set(acknowledged) <= {identifier}, "the MyKey ID is the one given out")
    require(len(platform.exposure()["identifier"]) == 1, "one MyKey ID was given out")


# The PIN


def _use_pin(town: Institutions, acknowledge: Acknowledge) -> None:
    chip = Chip(load_card(image_path(town.world, RENEWING)))
    chip.power_on()
    chip.transmit(select(jpki.AID))
    for command in (verify(_PIN, b"0000"), verify(_PIN, b"0000"), verify(_PIN, _OLD), change_reference_data(_PIN, _NEW),
                    verify(_PIN, b"0000")):  # fmt: skip
        acknowledge(chip.transmit(command).hex())


_STATES = ((_OLD, 3), (_OLD, 2), (_OLD, 1), (_OLD, 0), (_OLD, 3), (_NEW, 3), (_NEW, 2))
"""The values and retry counters in turn: a try is spent before the PIN is compared, also when it is the right one."""
_REACHED = (0, 1, 2, 4, 5, 6)
"""The place in _STATES that the PIN has reached, by the number of responses."""


def _check_pin(town: Institutions, acknowledged: Sequence[str]) -> None:
    wanted = ["63c2", "63c1", "9000", "9000", "63c2"][: len(acknowledged)]
    require(list(acknowledged) == wanted, f"the chip responds with {', '.join(wanted)}")
    pin = read_image(image_path(town.world, RENEWING))[0][jpki.AID].pins[_PIN]
    later = _STATES[_REACHED[len(acknowledged)] :]
    require((pin.value, pin.tries_left) in later, "a try that was spent, or a PIN that was changed, stays so")


EVENT = _command("registry event", _move, _check_move)
ISSUE = _command("issue", _issue, _check_issue)
RENEW = _command("renew", _renew, _check_renewal)
LISTS = _command("revocation lists", _make_lists, _check_making)
CLOCK = _command("clock", _advance, _check_clock)
MYKEY = _command("MyKey ID", _register, _check_mykey)
PIN = _command("PIN", _use_pin, _check_pin)


# New worlds


def _create(home: Path, acknowledge: Acknowledge) -> None:
    world = open_world(home / "new", seed="first")
    clock_of(world).stand(MORNING)
    acknowledge("created")
    Institutions(world).resident(ORDERING)
    acknowledge("registered")


def _check_world(home: Path, acknowledged: Sequence[str]) -> None:
    world: World = open_world(home / "new", seed="second")
    try:
        if acknowledged:
            require(world.seed == "first" and world.clock.now() == MORNING, "the new world and its clock are there")
        town = Institutions(world)
        if len(acknowledged) == 2:
            require(town.registry.find(ORDERING).alias == ORDERING, "the resident is there")
        town.resident(ORDERING)
        require(town.registry.find(ORDERING).alias == ORDERING, "the world can be used")
    finally:
        world.close()


WORLD = DurableCommand("new world", lambda home: home.mkdir(), _create, _check_world)
