"""Kill the process at each moment at which something becomes durable, and restart: nothing is lost or duplicated."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
import sqlalchemy as sa
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from benchmarks.reliability.town import serial_numbers
from kazashi.applets import card_surface, jpki
from kazashi.applets.applet import unfilled
from kazashi.applets.pictures import ADDRESS_SIZE, text_picture
from kazashi.assembly.cards import make_card
from kazashi.assembly.institutions import Institutions
from kazashi.card.identifiers import FileId
from kazashi.card.image import read_image
from kazashi.card_management.case import CaseState, CaseType
from kazashi.card_management.entries import entries_in
from kazashi.card_management.keys_in_progress import KeysInProgress
from kazashi.card_management.order import image_path
from kazashi.jpki.profile import CertificateType
from kazashi.pki.authority import FIRST_SERIAL
from kazashi.resident_registry.event import MoveWithin
from kazashi.world.home import open_world
from kazashi.world.key_source import SharedKeySource
from kazashi.world.schedule import AT_ONCE
from tests.card_management.support import attributes
from tests.crash import killed_at, left_at_each_moment
from tests.town import AUTHENTICATION, SIGNATURE, certificates, later, new_institutions, standing

pytestmark = pytest.mark.crash


@pytest.fixture(scope="module")
def prepared(module_path: Path, keys: SharedKeySource) -> Path:
    """A world in which Hanako and Taro are registered, and Hanako has a card."""
    template = module_path / "template"
    institutions = new_institutions(template, keys)
    institutions.issue_card("hanako", "hanako")
    institutions.resident("taro")
    institutions.settle()
    institutions.world.close()
    return template


@pytest.fixture(scope="module")
def moved(prepared: Path, keys: SharedKeySource) -> Path:
    """The same world after Hanako has moved."""
    template = Path(shutil.copytree(prepared, prepared.parent / "moved"))
    institutions = Institutions(open_world(template, keys=keys))
    institutions.registry.record("hanako", MoveWithin("架空町１丁目"))
    institutions.settle()
    institutions.world.close()
    return template


def kill_at_each_moment(
    template: Path, keys: SharedKeySource, action: Callable[[Institutions], object],
    check: Callable[[Institutions], None], found: Callable[[Institutions], None] = lambda _: None,
) -> None:  # fmt: skip
    """Open what a kill at each moment of the action would leave, and check each time.

    `found` checks it before open work is finished.
    """
    home = Path(shutil.copytree(template, template.parent / "home"))
    moments = 0
    for left in left_at_each_moment(home, lambda: action(Institutions(open_world(home, keys=keys)))):
        moments += 1
        again = Institutions(open_world(left, keys=keys))
        found(again)
        again.settle()
        check(again)
        again.world.close()
    shutil.rmtree(home)
    assert moments > 5, "the action made hardly anything durable"


def check_serials(institutions: Institutions) -> None:
    for authority in institutions.authorities.values():
        ledger, serials = authority.ledger, serial_numbers(authority)
        with ledger.store.reading() as connection:
            requests = connection.scalars(sa.select(ledger.certificate.c.request)).all()
        assert serials == list(range(FIRST_SERIAL, FIRST_SERIAL + len(serials)))
        assert len(requests) == len(set(requests))


def check_card(institutions: Institutions, name: str) -> None:
    """Check that the card has the latest certificates and the matching keys."""
    contents = read_image(image_path(institutions.world, name))[0][jpki.AID]
    for kind, file, key in (
        (SIGNATURE, jpki.SIGNATURE_CERTIFICATE, jpki.SIGNATURE_KEY),
        (AUTHENTICATION, jpki.AUTHENTICATION_CERTIFICATE, jpki.AUTHENTICATION_KEY),
    ):
        certificate = unfilled(contents.data[file])
        assert certificate == certificates(institutions, name, kind)[-1].certificate
        private = contents.key(key)
        assert private is not None
        public = x509.load_der_x509_certificate(certificate).public_key()
        if isinstance(public, rsa.RSAPublicKey):
            assert public.public_numbers() == private.public_numbers
        else:
            own = serialization.load_der_private_key(contents.keys[FileId(key)], None)
            assert public == own.public_key()
    assert not list(institutions.world.cards.glob("*.keys")), "no key is left beside the card"


def test_issuance_survives_a_crash_at_any_moment(prepared: Path, keys: SharedKeySource) -> None:
    def check(institutions: Institutions) -> None:
        check_serials(institutions)
        cases = [case for case in institutions.cards.cases() if case.name == "taro"]
        assert len(cases) <= 1
        if not cases:  # killed before the order was written, so that it was not accepted: order again
            institutions.issue_card("taro", "taro")
        check_card(institutions, "taro")
        for kind in CertificateType:
            assert len(certificates(institutions, "taro", kind)) == 1
        institutions.settle()
        assert all(publication.path("03", "13113").exists() for publication in institutions.publications.values())

    def action(institutions: Institutions) -> None:
        institutions.issue_card("taro", "taro")
        institutions.settle()

    kill_at_each_moment(prepared, keys, action, check)


def test_keys_that_a_killed_process_left_are_deleted(prepared: Path, keys: SharedKeySource) -> None:
    """The process is killed after it closed the case, and before it deleted the private keys beside the card."""
    home = Path(shutil.copytree(prepared, prepared.parent / "left"))

    def issue() -> None:
        KeysInProgress.finish = lambda _: os.kill(os.getpid(), signal.SIGKILL)  # type: ignore[assignment, method-assign]
        Institutions(open_world(home, keys=keys)).issue_card("taro", "taro")

    assert killed_at(0, issue)
    again = Institutions(open_world(home, keys=keys))
    assert [path.suffix for path in again.world.cards.glob(".taro.*")] == [".keys"]
    assert [case.state for case in again.cards.cases() if case.name == "taro"] == [CaseState.DONE]
    again.settle()
    assert not list(again.world.cards.glob(".taro.*"))
    assert again.cards.due() != AT_ONCE
    again.world.close()


def test_move_survives_a_crash_at_any_moment(prepared: Path, keys: SharedKeySource) -> None:
    def check(institutions: Institutions) -> None:
        moved = [event for event in institutions.registry.history("hanako") if event.code == "move-within"]
        assert len(moved) <= 1
        code = institutions.registry.find("hanako").code
        assert institutions.juki_net.j_lis.identity(code).address == institutions.registry.find("hanako").address
        assert standing(institutions, "hanako", SIGNATURE).state.value == ("revoked" if moved else "good")
        assert standing(institutions, "hanako", AUTHENTICATION).state.value == "good"
        with institutions.authorities[SIGNATURE].ledger.store.reading() as connection:
            table = institutions.authorities[SIGNATURE].ledger.revocation
            assert connection.scalar(sa.select(sa.func.count()).select_from(table)) == len(moved)

    def action(institutions: Institutions) -> None:
        institutions.registry.record("hanako", MoveWithin("架空町１丁目"))
        institutions.settle()

    kill_at_each_moment(prepared, keys, action, check)


def test_renewal_survives_a_crash_at_any_moment(prepared: Path, keys: SharedKeySource) -> None:
    def check(institutions: Institutions) -> None:
        check_serials(institutions)
        renewed = [case for case in institutions.cards.cases() if case.what is CaseType.RENEWAL]
        if renewed:
            assert [case.state for case in renewed] == [CaseState.DONE]
            assert standing(institutions, "hanako", SIGNATURE).state.value == "good"
            check_card(institutions, "hanako")
        assert len(certificates(institutions, "hanako", SIGNATURE)) == 1 + len(renewed)
        assert len(certificates(institutions, "hanako", AUTHENTICATION)) == 1

    def action(institutions: Institutions) -> None:
        institutions.registry.record("hanako", MoveWithin("架空町１丁目"))
        institutions.settle()
        institutions.cards.renew("hanako")

    kill_at_each_moment(prepared, keys, action, check)


@pytest.fixture(scope="module")
def moved_next(module_path: Path, keys: SharedKeySource) -> Path:
    """A world in which Hanako has the next card, and has moved."""
    template = module_path / "next"
    institutions = new_institutions(template, keys)
    make_card(institutions, "hanako", "hanako", model="next")
    institutions.registry.record("hanako", MoveWithin("架空町１丁目"))
    institutions.settle()
    institutions.world.close()
    return template


@pytest.mark.long
@pytest.mark.parametrize("template", ["moved", "moved_next"])
def test_rewriting_a_card_survives_a_crash_at_any_moment(
    request: pytest.FixtureRequest, keys: SharedKeySource, template: str
) -> None:
    """The certificate, the text and the visual application are all the old ones or all the new ones at any moment, and
    a rewriting that was torn is repeated."""
    new = "東京都渋谷区架空町１丁目"

    def written(institutions: Institutions) -> set[bool]:
        """Whether each part of the card has the new address."""
        card, about = read_image(image_path(institutions.world, "hanako"))
        return {
            new.encode() in unfilled(card[jpki.AID].data[jpki.SIGNATURE_CERTIFICATE]),
            attributes(card)[1] == new,
            text_picture(new, ADDRESS_SIZE) in card[card_surface.AID].data[card_surface.FACE],
            about["address"] == new,
            bool(entries_in(about)),
        }

    def found(institutions: Institutions) -> None:
        assert len(written(institutions)) == 1, "the card is half written"

    def check(institutions: Institutions) -> None:
        check_serials(institutions)
        updates = [case for case in institutions.cards.cases() if case.what is CaseType.UPDATE]
        assert written(institutions) == {bool(updates)}
        assert [case.state for case in updates] == [CaseState.DONE] * len(updates)
        if updates:
            check_card(institutions, "hanako")
            about = read_image(image_path(institutions.world, "hanako"))[1]
            assert len(entries_in(about)) == 1, "what was repeated is entered once"
        assert len(certificates(institutions, "hanako", SIGNATURE)) == 1 + len(updates)

    def action(institutions: Institutions) -> None:
        institutions.cards.at_counter("hanako", CaseType.UPDATE)

    kill_at_each_moment(request.getfixturevalue(template), keys, action, check, found)


def test_nightly_batch_survives_a_crash_at_any_moment(moved: Path, keys: SharedKeySource) -> None:
    def check(institutions: Institutions) -> None:
        later(institutions, days=1)
        for kind, publication in institutions.publications.items():
            for name in publication.names("03"):
                made = x509.load_der_x509_crl(publication.path("03", name).read_bytes())
                number = made.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number
                with institutions.authorities[kind].ledger.store.reading() as connection:
                    table = institutions.authorities[kind].ledger.revocation_list.c
                    condition = (table.generation == "03") & (table.name == name)
                    taken, written = connection.execute(sa.select(table.number, table.written).where(condition)).one()
                assert number == taken == written
                revoked = name != "authority" and kind is SIGNATURE
                assert len(made) == (1 if revoked else 0)

    kill_at_each_moment(moved, keys, lambda institutions: later(institutions, days=1), check)
