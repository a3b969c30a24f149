"""A card after its holder has moved or has a new name: what a counter writes to it, and what it keeps."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta
from hashlib import sha256

import pytest
from asn1crypto import x509 as asn1_x509

from kazashi.applets import card_manager, card_surface, common_card, input_support, jpki
from kazashi.applets.applet import unfilled
from kazashi.applets.install import load_card
from kazashi.assembly.counter import visit
from kazashi.assembly.institutions import Institutions
from kazashi.card.chip import Chip
from kazashi.card.contents import CardContents
from kazashi.card.image import image_digest, read_image
from kazashi.card.pin import PinState
from kazashi.card.request import change_reference_data, select, verify
from kazashi.card.tlv import parse
from kazashi.card_management.case import CaseState, CaseType
from kazashi.card_management.consequence import CardState
from kazashi.card_management.order import image_path, usual_order
from kazashi.card_management.production import RenewalRejected
from kazashi.jpki.state import CertificateState
from kazashi.resident_registry.event import (
    CardContinuation,
    CharacterCorrection,
    Correction,
    Emigration,
    Event,
    Furigana,
    MoveOut,
    MoveWithin,
    NameChange,
)
from tests.applets.test_contents import certified_key, recovered, verified
from tests.card_management.support import attributes, contents
from tests.resident_registry.support import MOVE_IN, MOVE_IN_WITHOUT_CARD, MOVE_OUT, TODAY, TSUKUBA, recorded
from tests.town import MORNING, SIGNATURE, certificates, clock_of, standing

ADDRESS_OID, NAME_OID = "1.2.392.200149.8.5.5.5", "1.2.392.200149.8.5.5.1"


def certified(card: CardContents) -> tuple[str, str]:
    """The name and address in the signature certificate on a card, as another library reads them."""
    certificate = asn1_x509.Certificate.load(unfilled(card[jpki.AID].data[jpki.SIGNATURE_CERTIFICATE]))
    names = {name.chosen["type_id"].dotted: name.chosen["value"].native
             for name in certificate.subject_alt_name_value if name.name == "other_name"}  # fmt: skip
    return names[NAME_OID], names[ADDRESS_OID]


def assert_signed(card: CardContents) -> None:
    """The hashes and signatures in the text and visual applications, each with the key in the certificate beside it."""
    text, visual = card[input_support.AID].data, card[card_surface.AID].data
    attributes, _ = parse(text[input_support.FOUR_ATTRIBUTES])
    number_hash, attributes_hash, signature = parse(text[input_support.SIGNATURES])[0].children()
    signed = b"".join(item.encode() for item in attributes.children()[1:])
    assert number_hash.value == sha256(text[input_support.INDIVIDUAL_NUMBER]).digest()
    assert attributes_hash.value == sha256(signed).digest()
    key = certified_key(text[input_support.CERTIFICATE])
    assert verified(key, signature.value, number_hash.encode() + attributes_hash.encode())
    own, own_signature = parse(text[input_support.PUBLIC_KEY])[0].children()
    assert verified(key, own_signature.value, own.encode())
    face = [item.encode() for item in parse(visual[card_surface.FACE])[0].children()[1:]]
    hashes = b"".join(sha256(b"".join(part)).digest() for part in (face[:3], face[3:5], face[5:6]))
    signer = certified_key(visual[card_surface.CERTIFICATE])
    assert recovered(signer, parse(face[6])[0].value)[-96:] == hashes


EVENTS: list[tuple[tuple[Event, ...], str]] = [
    ((MoveWithin("架空町１丁目"),), "2026-11-24 住所 東京都渋谷区架空町１丁目"),
    ((NameChange(family="模擬"),), "2026-11-24 氏名 模擬　花子"),
    ((Correction(birth="1988-04-18"),), "2026-11-24 生年月日 19880418"),
    ((Furigana("バンゴウ　カコ"),), "2026-11-24 振り仮名 バンゴウ　カコ"),
]
OTHER_EVENTS: list[tuple[tuple[Event, ...], str]] = [
    ((NameChange(former_surname="旧番"),), "2026-11-24 氏名 番号［旧番］　花子"),
    ((CharacterCorrection(family="畨号"),), "2026-11-24 氏名 畨号　花子"),
    ((Correction(sex="9"),), "2026-11-24 性別 9"),
]


@pytest.mark.parametrize(
    ("events", "entry"), [*EVENTS, *(pytest.param(*row, marks=pytest.mark.long) for row in OTHER_EVENTS)],
    ids=[entry[11:] for _, entry in (*EVENTS, *OTHER_EVENTS)],
)  # fmt: skip
def test_counter_brings_the_whole_card_up_to_date(town: Institutions, events: tuple[Event, ...], entry: str) -> None:
    path = town.issue_card("hanako", "hanako")
    before, about_before = read_image(path)
    chip = Chip(load_card(path))
    chip.power_on()
    chip.transmit(select(jpki.AID))
    assert chip.transmit(verify(jpki.AUTHENTICATION_PIN, b"9999")) == b"\x63\xc2"
    chip.transmit(select(input_support.AID))
    assert chip.transmit(verify(input_support.PIN, b"1234")) == b"\x90\x00"
    assert chip.transmit(change_reference_data(input_support.PIN, b"8888")) == b"\x90\x00"
    assert chip.transmit(verify(input_support.NUMBER_B, b"0" * 14))[0] == 0x63
    person = recorded(town, "hanako", *events)

    done = visit(town, "hanako", CaseType.UPDATE)
    assert done.entries == [entry]
    assert not done.continued
    after, about = read_image(path)
    name, address, birth, sex = attributes(after)
    assert (name, address) == (str(person.name), person.address) == (about["name"], about["address"])
    if not isinstance(events[0], CharacterCorrection):  # a minor correction leaves the certificate as it is
        assert certified(after) == (name, address)
    assert (birth, sex) == (str(person.birth), person.sex.value)
    assert standing(town, "hanako", SIGNATURE).state is CertificateState.GOOD
    assert_signed(after)

    # What is the holder's, or the chip's own, stays.
    assert after[jpki.AID].pins == before[jpki.AID].pins | {
        jpki.AUTHENTICATION_PIN: replace(before[jpki.AID].pins[jpki.AUTHENTICATION_PIN], tries_left=2)
    }
    text = after[input_support.AID]
    assert text.pins[input_support.PIN] == PinState(b"8888", 3, 3)
    number_b = person.birth.in_era_years + about_before["reference number B"][6:]
    assert text.pins[input_support.NUMBER_B] == PinState(number_b.encode(), 10, 9)
    assert about["reference number B"] == number_b
    visual = after[card_surface.AID]
    assert visual.pins[card_surface.BIRTH_PIN].value == person.birth.in_era_years.encode()
    assert visual.pins[card_surface.NUMBER_B] == PinState(number_b.encode(), 10, 10)
    assert card_surface.photograph_in(visual) == card_surface.photograph_in(before[card_surface.AID])
    for aid in (input_support.AID, card_surface.AID, common_card.AID):
        assert after[aid].keys == before[aid].keys
        assert after[aid].objects == before[aid].objects
    assert after[common_card.AID].records == before[common_card.AID].records
    assert after[card_manager.AID] == before[card_manager.AID]
    assert {name for name in about if about[name] != about_before.get(name)} <= {
        "name", "address", "birth", "sex", "furigana", "birth PIN", "reference number B", "additional entry 1",
    }  # fmt: skip

    with pytest.raises(RenewalRejected, match="registered data"):
        town.cards.at_counter("hanako", CaseType.UPDATE)


def test_renewal_after_a_move_writes_the_address_too(town: Institutions) -> None:
    """Mission report F8: one card must not have two addresses."""
    town.issue_card("hanako", "hanako")
    recorded(town, "hanako", MoveWithin("架空町１丁目"))
    assert town.cards.renew("hanako") == [SIGNATURE]
    card = contents(town, "hanako")
    assert attributes(card)[1] == certified(card)[1] == "東京都渋谷区架空町１丁目"


def test_card_lines_add_up_over_the_years_and_keep_the_form_of_lengths(town: Institutions) -> None:
    order = replace(usual_order(town.world, town.resident("hanako")), length_form=0x81)
    path = town.issue_card("hanako", "hanako", order)
    for number, street in enumerate(("架空町１丁目", "番" * 40, "架空町２丁目"), start=1):
        recorded(town, "hanako", MoveWithin(street))
        visit(town, "hanako", CaseType.UPDATE)
        about = read_image(path)[1]
        assert [name for name in about if name.startswith("additional")][-1] == f"additional entry {number}"
        if number == 2:
            text = contents(town, "hanako")[input_support.AID].data[input_support.FOUR_ATTRIBUTES]
            assert text[2] == 0x81, "the card was ordered with short lengths"


# Continued use


def test_continued_card_has_the_new_address_at_once(town: Institutions) -> None:
    """The text application is signed by the new municipality then, and the common application has its code."""
    town.issue_card("hanako", "hanako")
    recorded(town, "hanako", MOVE_OUT, MOVE_IN)
    card = contents(town, "hanako")
    assert attributes(card)[1] == "茨城県つくば市見本台１丁目"
    assert card[common_card.AID].records[common_card.CARD_NUMBER][0][17:22] == TSUKUBA.encode()
    signer = town.cards.vouchers(town.registry.find("hanako").municipality.code).municipality_text
    certificate = card[input_support.AID].data[input_support.CERTIFICATE]
    assert certified_key(certificate).public_numbers() == signer.key.public_numbers
    assert_signed(card)
    assert standing(town, "hanako", SIGNATURE).state is CertificateState.REVOKED, "nobody has applied for a new one"
    assert visit(town, "hanako", CaseType.UPDATE).certificates == [SIGNATURE]
    assert certified(contents(town, "hanako"))[1] == "茨城県つくば市見本台１丁目"


def test_card_is_continued_at_the_counter_within_90_days(town: Institutions) -> None:
    path = town.issue_card("hanako", "hanako")
    recorded(town, "hanako", MOVE_OUT, MOVE_IN_WITHOUT_CARD)
    digest = image_digest(path)
    clock_of(town.world).stand(MORNING + timedelta(days=89))
    town.registry.lapse()
    assert image_digest(path) == digest
    assert town.registry.deadlines("hanako") == {"card-continuation": TODAY + timedelta(days=90)}
    done = visit(town, "hanako", CaseType.UPDATE)
    assert (done.continued, done.certificates) == (True, [SIGNATURE])
    assert [entry[11:] for entry in done.entries] == ["住所 茨城県つくば市見本台１丁目"]
    assert town.registry.deadlines("hanako") == {}
    clock_of(town.world).stand(MORNING + timedelta(days=120))
    town.registry.lapse()
    town.juki_net.deliver()
    assert town.cards.card_state("hanako") is CardState.ACTIVE


def test_card_that_is_not_continued_lapses_and_is_not_written_to(town: Institutions) -> None:
    path = town.issue_card("hanako", "hanako")
    recorded(town, "hanako", MOVE_OUT, MOVE_IN_WITHOUT_CARD)
    digest = image_digest(path)
    clock_of(town.world).stand(MORNING + timedelta(days=91))
    town.registry.lapse()
    town.juki_net.deliver()
    assert town.cards.card_state("hanako") is CardState.ENDED
    with pytest.raises(RenewalRejected, match="is ended"):
        visit(town, "hanako", CaseType.UPDATE)
    assert image_digest(path) == digest


def test_card_that_was_not_continued_lapses_at_the_next_move_out(town: Institutions) -> None:
    town.issue_card("hanako", "hanako")
    recorded(town, "hanako", MOVE_OUT, MOVE_IN_WITHOUT_CARD, MoveOut("13113", TODAY))
    assert [entry.code for entry in town.registry.history("hanako")][-2:] == ["move-out", "lapse"]
    assert town.cards.card_state("hanako") is CardState.ENDED
    assert town.registry.deadlines("hanako") == {"move-in": TODAY + timedelta(days=14)}


def test_card_of_someone_abroad_says_so(town: Institutions) -> None:
    town.issue_card("hanako", "hanako")
    recorded(town, "hanako", Emigration(continued=True))
    about = read_image(image_path(town.world, "hanako"))[1]
    assert (about["abroad"], about["additional entry 1"]) == ("国外転出", f"{date(2026, 11, 24)} 国外転出")
    assert [case.what for case in town.cards.cases()] == [CaseType.NEW, CaseType.UPDATE]


def test_two_cards_of_one_person_are_both_continued(town: Institutions) -> None:
    """A person with two cards in two readers: each is written to by itself, and a stopped one not at all."""
    for name in ("one", "two"):
        town.issue_card(name, "hanako")
    recorded(town, "hanako", MOVE_OUT, MOVE_IN_WITHOUT_CARD, CardContinuation())
    for name in ("one", "two"):
        card = contents(town, name)
        assert attributes(card)[1] == "茨城県つくば市見本台１丁目"
        assert_signed(card)
    assert {case.state for case in town.cards.cases()} == {CaseState.DONE}
    assert town.cards.at_counter("two", CaseType.UPDATE) == [SIGNATURE]
    assert [issued.medium_id for issued in certificates(town, "hanako", SIGNATURE)][2:] == [
        read_image(image_path(town.world, "two"))[1]["card number"]
    ]
