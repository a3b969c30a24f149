"""The next card's certificates: their keys, their ten years, renewals, updates, and interrupted cases."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from kazashi.applets import card_manager, card_surface, jpki, next_card
from kazashi.applets.install import load_card, model_of
from kazashi.applets.pictures import ADDRESS_SIZE, NAME_SIZE, text_picture
from kazashi.assembly.cards import make_card
from kazashi.assembly.counter import visit
from kazashi.assembly.institutions import Institutions
from kazashi.card.chip import Chip
from kazashi.card.image import DamagedImage, ImageExists, read_image, write_image
from kazashi.card.request import select, verify
from kazashi.card_management.case import CaseState, CaseType
from kazashi.card_management.consequence import CardState
from kazashi.card_management.entitlement import ApplicationRejected, ReissueReason
from kazashi.card_management.management import CardManagement
from kazashi.card_management.models import NEXT_MODEL, card_model
from kazashi.card_management.order import Order, image_path
from kazashi.card_management.production import RenewalRejected
from kazashi.card_management.relay import DirectRelay, RelayFailed
from kazashi.jpki.profile import NEXT, CertificateType, Profile
from kazashi.jpki.state import CertificateState
from kazashi.pki.certificate import CertificateRequest
from kazashi.resident_registry.event import Furigana, NameChange, Theft
from kazashi.world.clock import instant_of
from tests.card.test_next_card import signed_face, signed_text
from tests.card_management.support import certificate_in, contents, order_of
from tests.resident_registry.support import MOVE_IN, MOVE_OUT, recorded
from tests.support import run
from tests.town import AUTHENTICATION, SIGNATURE, certificates, clock_of, later, standing


def next_order(town: Institutions, who: str, issued: str) -> Order:
    return replace(order_of(town, who, issued), model="next")


def issued_next(town: Institutions, who: str = "hanako", issued: str = "2026-11-24T10:00+09:00") -> Path:
    return town.cards.issue(who, next_order(town, who, issued))


def on_chip(
    town: Institutions, name: str, kind: CertificateType
) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    """The certificate and the private key in a card's image."""
    card = contents(town, name)
    certificate = certificate_in(card, kind)
    assert certificate is not None
    fid = jpki.SIGNATURE_KEY if kind is SIGNATURE else jpki.AUTHENTICATION_KEY
    key = serialization.load_der_private_key(card[jpki.AID].keys[fid], None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    return certificate, key


@pytest.mark.parametrize("kind", CertificateType)
def test_keys_and_certificates_are_p_384_and_openssl_verifies_the_chain(
    town: Institutions, tmp_path: Path, kind: CertificateType
) -> None:
    issued_next(town)
    certificate, key = on_chip(town, "hanako", kind)
    assert isinstance(key.curve, ec.SECP384R1)
    assert key.public_key() == certificate.public_key()
    fid = jpki.SIGNATURE_AUTHORITY if kind is SIGNATURE else jpki.AUTHENTICATION_AUTHORITY
    root = contents(town, "hanako")[jpki.AID].data[fid]
    files = {"root.pem": x509.load_der_x509_certificate(root[: int.from_bytes(root[2:4]) + 4]), "own.pem": certificate}
    for name, one in files.items():
        (tmp_path / name).write_bytes(one.public_bytes(serialization.Encoding.PEM))
    at = int(town.world.clock.now().timestamp()) + 1
    verified = run("openssl", "verify", "-attime", str(at), "-CAfile", f"{tmp_path}/root.pem", f"{tmp_path}/own.pem")
    assert verified.endswith("OK\n")
    text = run("openssl", "x509", "-in", f"{tmp_path}/own.pem", "-noout", "-text")
    assert "ASN1 OID: secp384r1" in text
    assert text.count("Signature Algorithm: ecdsa-with-SHA384") == 2


@pytest.mark.parametrize(
    ("who", "issued", "ends"),
    [("hanako", "2026-11-24T10:00+09:00", "2036-05-17"),  # born on 17 April
     ("hanako", "2026-04-17T10:00+09:00", "2036-05-17"),  # on the birthday: the next one is the first
     ("hanako", "2026-04-16T10:00+09:00", "2035-05-17"),
     ("child", "2026-11-24T10:00+09:00", None),  # the fifth birthday
     ("short-stay", "2026-11-24T10:00+09:00", None)],  # the end of the stay
)  # fmt: skip
def test_card_and_certificates_end_a_month_after_the_birthday(
    town: Institutions, who: str, issued: str, ends: str | None
) -> None:
    path = issued_next(town, who, issued)
    about = read_image(path)[1]
    resident = town.registry.find(who)
    if who == "child":
        birthday = resident.birth.nth_birthday_after(instant_of(issued).date(), 5)
        assert birthday.month < 12
        ends = birthday.replace(month=birthday.month + 1).isoformat()
    card_ends = f"{about['expiry'][:4]}-{about['expiry'][4:6]}-{about['expiry'][6:]}"
    assert card_ends == (ends or card_ends)
    last = min(card_ends, str(resident.stay_end or card_ends))
    assert (last < card_ends) is (who == "short-stay")
    for kind in CertificateType:
        if who == "child" and kind is SIGNATURE:
            assert certificate_in(contents(town, who), kind) is None
            continue
        assert on_chip(town, who, kind)[0].not_valid_after_utc == instant_of(f"{last}T23:59:59+09:00")


def test_the_two_pins_are_in_the_description_and_the_numbers_of_today_are_not(town: Institutions) -> None:
    about = read_image(make_card(town, "mine", "hanako", pin="9876", password="SECRET99", model="next"))[1]
    assert (about["model"], about["authentication PIN"], about["signature password"]) == (
        "next card", "9876", "SECRET99",
    )  # fmt: skip
    assert not about.keys() & {"text PIN", "juki PIN", "reference number B", "birth PIN"}


def test_a_move_and_a_new_name_are_written_to_the_card_and_its_own_data_stay(town: Institutions) -> None:
    """The new municipality signs the text and the face, which then have a certificate of its key."""
    path = issued_next(town)
    before, about_before = read_image(path)
    old = {kind: on_chip(town, "hanako", kind) for kind in CertificateType}
    used = chip_of(path)
    used.transmit(select(jpki.AID))
    assert used.transmit(verify(jpki.AUTHENTICATION_PIN, b"9999")) == b"\x63\xc2"
    recorded(town, "hanako", MOVE_OUT, MOVE_IN, NameChange(family="模擬"), Furigana("モギ　ハナコ"))
    later(town, hours=1)
    done = visit(town, "hanako", CaseType.UPDATE)
    assert done.certificates == [SIGNATURE]
    assert [entry[11:] for entry in done.entries] == ["氏名 模擬　花子", "振り仮名 モギ　ハナコ"], "after the address"
    after, about = read_image(path)
    assert (about["name"], about["address"], about["furigana"]) == (
        "模擬　花子", "茨城県つくば市見本台１丁目", "モギ　ハナコ",
    )  # fmt: skip
    assert about["additional entry 1"].endswith("住所 茨城県つくば市見本台１丁目")

    chip = chip_of(path)
    chip.transmit(select(jpki.AID))
    assert chip.transmit(verify(jpki.AUTHENTICATION_PIN, b"1234")) == b"\x90\x00"
    number = about["individual number"]
    assert signed_text(chip, town) == [number, "模擬　花子", "茨城県つくば市見本台１丁目", "19880417", "2"]
    chip.transmit(select(card_surface.AID))
    assert chip.transmit(verify(next_card.REFERENCE_NUMBER, about["reference number"].encode())) == b"\x90\x00"
    face = signed_face(chip, town)
    assert face[0xDF26].value == text_picture("茨城県つくば市見本台１丁目", ADDRESS_SIZE)
    assert face[0xDF2B].value == text_picture("モギ　ハナコ", NAME_SIZE)
    assert face[0xDF2C].value == text_picture("MOGI Hanako", NAME_SIZE)

    signers = town.cards.vouchers(town.registry.find("hanako").municipality.code, NEXT_MODEL)
    assert signers.municipality_text.key.public_point in after[jpki.AID].data[next_card.CERTIFICATE]
    assert signers.municipality_visual.key.public_point in after[card_surface.AID].data[next_card.FACE_CERTIFICATE]

    # What is the holder's, or the chip's own, stays.
    assert on_chip(town, "hanako", AUTHENTICATION)[0] == old[AUTHENTICATION][0]
    certificate, key = on_chip(town, "hanako", SIGNATURE)
    assert key.public_key() == certificate.public_key() != old[SIGNATURE][0].public_key()
    assert certificate.not_valid_after_utc == old[SIGNATURE][0].not_valid_after_utc, "they end with the card"
    assert {aid: one.data.keys() for aid, one in after.items()} == {aid: one.data.keys() for aid, one in before.items()}
    same = [fid for fid, data in after[jpki.AID].data.items() if data == before[jpki.AID].data[fid]]
    assert not {*same} & {next_card.FOUR_ATTRIBUTES, next_card.SIGNATURE, next_card.CERTIFICATE, next_card.PUBLIC_KEY}
    assert {*same} >= {next_card.INDIVIDUAL_NUMBER, jpki.TOKEN_INFORMATION, jpki.AUTHENTICATION_CERTIFICATE}
    assert after[jpki.AID].pins == before[jpki.AID].pins | {
        jpki.AUTHENTICATION_PIN: replace(before[jpki.AID].pins[jpki.AUTHENTICATION_PIN], tries_left=2)
    }
    different = [fid for fid, data in after[jpki.AID].keys.items() if data != before[jpki.AID].keys[fid]]
    assert different == [jpki.SIGNATURE_KEY]
    for one in (card_surface.AID, card_manager.AID):
        assert (after[one].keys, after[one].pins, after[one].objects) == (
            before[one].keys, before[one].pins, before[one].objects,
        )  # fmt: skip
    assert card_surface.photograph_in(after[card_surface.AID]) == card_surface.photograph_in(before[card_surface.AID])
    assert after[card_manager.AID] == before[card_manager.AID]
    assert about_before.items() - about.items() == {
        ("name", about_before["name"]), ("address", about_before["address"]), ("furigana", about_before["furigana"]),
    }  # fmt: skip
    assert load_card(path).is_elliptic
    assert standing(town, "hanako", SIGNATURE).state is CertificateState.GOOD
    with pytest.raises(RenewalRejected, match="registered data"):
        town.cards.at_counter("hanako", CaseType.UPDATE)


def chip_of(image: Path) -> Chip:
    chip = Chip(load_card(image))
    chip.power_on()
    return chip


def test_certificates_can_be_renewed_from_a_year_before_their_end(town: Institutions) -> None:
    issued_next(town)
    clock_of(town.world).stand(instant_of("2035-05-16T23:59+09:00"))
    with pytest.raises(RenewalRejected, match="renewed from 2035-05-17"):
        town.cards.renew("hanako")
    clock_of(town.world).stand(instant_of("2035-05-17T00:00+09:00"))
    assert set(town.cards.renew("hanako")) == set(CertificateType)
    clock_of(town.world).stand(instant_of("2036-05-18T09:00+09:00"))
    with pytest.raises(RenewalRejected, match="expired on 2036-05-17"):
        town.cards.renew("hanako")


def test_a_child_gets_the_signature_certificate_from_the_fifteenth_birthday_on(town: Institutions) -> None:
    path = issued_next(town, "child")
    birth = town.registry.find("child").birth
    fifteenth = birth.birthday(birth.year + 15)
    clock_of(town.world).stand(instant_of(f"{fifteenth}T09:00+09:00"))
    assert read_image(path)[1]["signature password"] == ""
    assert town.cards.renew("child")[0] is SIGNATURE
    assert isinstance(on_chip(town, "child", SIGNATURE)[1].curve, ec.SECP384R1)
    contents_after, about = read_image(path)
    assert about["signature password"] == "ABC123"
    assert contents_after[jpki.AID].pins[jpki.SIGNATURE_PIN].tries_left == 5


class LosingRelay(DirectRelay):
    """A relay that loses every reply until `works`."""

    works = False

    def send(self, kind: CertificateType, request: CertificateRequest, profile: Profile = NEXT) -> bytes:
        certificate = super().send(kind, request, profile)
        if not self.works:
            raise RelayFailed("the reply was lost")
        return certificate


def test_an_interrupted_case_keeps_its_keys_its_model_and_its_one_certificate(town: Institutions) -> None:
    relay = LosingRelay(town.authorities)
    cards = CardManagement(town.world, town.juki_net.j_lis.identity, town.authorities, relay)
    order = next_order(town, "hanako", "2026-11-24T10:00+09:00")
    with pytest.raises(RelayFailed):
        cards.issue("hanako", order)
    assert not image_path(town.world, "hanako").exists()
    relay.works = True
    again = CardManagement(town.world, town.juki_net.j_lis.identity, town.authorities, relay)
    assert again.resume() == 1
    assert [case.state for case in again.cases()] == [CaseState.DONE]
    assert model_of(read_image(image_path(town.world, "hanako"))[1]) is next_card.NEXT_CARD
    for kind in CertificateType:
        (issued,) = certificates(town, "hanako", kind)
        certificate, key = on_chip(town, "hanako", kind)
        assert (issued.serial, issued.generation) == (certificate.serial_number, "next")
        assert key.public_key() == certificate.public_key()


def test_both_cards_of_one_person_have_their_own_generation(town: Institutions) -> None:
    """A theft ends both, and their certificates are revoked in the lists of two generations."""
    town.issue_card("old", "hanako")
    town.cards.issue("new", next_order(town, "hanako", "2026-11-24T10:00+09:00"))
    with pytest.raises(ImageExists):
        town.cards.issue("new", next_order(town, "hanako", "2026-11-24T10:00+09:00"))
    assert [one.generation for one in certificates(town, "hanako", AUTHENTICATION)] == ["03", "next"]
    town.registry.record("hanako", Theft())
    town.settle()
    later(town, days=2)
    for kind in CertificateType:
        for one in certificates(town, "hanako", kind):
            assert town.revocations[kind].status(one.serial).state is CertificateState.REVOKED
        lists = [x509.load_der_x509_crl(path.read_bytes()) for path in town.world.publication.glob("crl/**/*.crl")]
        serials = {entry.serial_number for one in lists for entry in one}
        assert serials >= {one.serial for one in certificates(town, "hanako", kind)}


def test_the_next_card_replaces_todays_and_is_replaced_by_its_own_model(town: Institutions) -> None:
    town.issue_card("old", "hanako")
    at = town.cards.reissue("old", ReissueReason.DAMAGED, "new", express=True, model="next")
    town.advance(at + timedelta(hours=1))
    assert (town.cards.card_state("old"), town.cards.card_state("new")) == (CardState.ENDED, CardState.ACTIVE)
    assert isinstance(on_chip(town, "new", SIGNATURE)[1].curve, ec.SECP384R1)
    old, new = certificates(town, "hanako", AUTHENTICATION)
    assert town.revocations[AUTHENTICATION].status(old.serial).state is CertificateState.REVOKED
    assert new.generation == "next"
    ends = town.cards.last_day("new")
    clock_of(town.world).stand(instant_of(f"{ends.replace(year=ends.year - 1) - timedelta(days=1)}T12:00+09:00"))
    with pytest.raises(ApplicationRejected, match=f"from {ends.replace(year=ends.year - 1)} to that day"):
        town.cards.reissue("new", ReissueReason.EXPIRY, "newer")
    clock_of(town.world).stand(instant_of(f"{ends.replace(year=ends.year - 1)}T12:00+09:00"))
    at = town.cards.reissue("new", ReissueReason.EXPIRY, "newer")
    town.advance(at + timedelta(hours=1))
    assert model_of(read_image(image_path(town.world, "newer"))[1]) is next_card.NEXT_CARD
    assert town.cards.card_state("new") is CardState.ENDED


def test_an_image_of_another_model_is_refused(town: Institutions, tmp_path: Path) -> None:
    card, about = read_image(issued_next(town))
    write_image(tmp_path / "other.card", card, {**about, "model": "the card after the next"})
    with pytest.raises(DamagedImage, match="does not know the model the card after the next"):
        load_card(tmp_path / "other.card")
    write_image(tmp_path / "today.card", card, {name: value for name, value in about.items() if name != "model"})
    with pytest.raises(DamagedImage, match="lacks a part of the model 'individual number card': text, juki, common"):
        load_card(tmp_path / "today.card")


def test_models_of_cards() -> None:
    assert card_model(next_card.NEXT_CARD) is NEXT_MODEL
    with pytest.raises(ValueError, match="not a card that the card management issues"):
        card_model(replace(next_card.NEXT_CARD, name="watch"))
