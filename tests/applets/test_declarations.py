"""The declared files against docs/card.md, and against the contents that they made when this test was written."""

from __future__ import annotations

import re
from hashlib import sha256
from pathlib import Path
from random import Random

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from kazashi.applets import card_surface, input_support, jpki
from kazashi.applets.applet import Applet, Ef, PinEf, RecordEf, TransparentEf
from kazashi.applets.holder import CardCertificates, CardData, CardSigners, ChipKeys, Holder, Personalisation, Pins
from kazashi.applets.install import INDIVIDUAL_NUMBER_CARD, MODELS, personalise, structure
from kazashi.applets.verifiable_certificate import CertificateSigner, key_id
from kazashi.card.access import FREE, Condition, Verified
from kazashi.card.contents import ApplicationContents
from kazashi.card.identifiers import FileId
from kazashi.card.key import PrivateKey

pytestmark = pytest.mark.unit

DOCUMENT = (Path(__file__).parent.parent.parent / "docs" / "card.md").read_text(encoding="utf-8")
APPLETS = INDIVIDUAL_NUMBER_CARD.applets
BY_NAME = {applet.name: applet for applet in APPLETS}


def rows(title: str) -> list[list[str]]:
    """Return the cells of the first table below a title."""
    table = re.search(r"^\|.*\n\|-.*\n((?:\|.*\n)+)", DOCUMENT.partition(f"# {title}\n")[2], re.MULTILINE)
    assert table, title
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table[1].splitlines()]


def named_files(cell: str) -> list[tuple[Applet, FileId]]:
    """Return the files in a cell such as `text 0014, 0015, visual 0012`."""
    files: list[tuple[Applet, FileId]] = []
    for part in cell.split(", "):
        name, _, fid = part.rpartition(" ")
        files.append((BY_NAME[name] if name else files[-1][0], FileId(int(fid, 16))))
    return files


def declared(kinds: tuple[type[Ef], ...]) -> list[tuple[Applet, Ef]]:
    """Return the files of these kinds whose use is known."""
    return [
        (applet, file)
        for applet in APPLETS
        for file in applet.files
        if isinstance(file, kinds) and not file.name.startswith("unknown") and file is not input_support.BLOCKED_KEY
    ]


def test_documented_applications_match_the_declarations() -> None:
    documented = {(re.sub(r" \(.*", "", name), aid.strip("`")) for name, aid, _ in rows("The card")}
    assert documented == {(applet.name, str(applet.aid)) for applet in APPLETS}


def test_documented_pins_match_the_declarations() -> None:
    documented = {
        (applet.name, fid): (re.sub(r" \(.*", "", name), int(tries))
        for name, where, _, tries, _ in rows("PINs")
        for applet, fid in named_files(where)
    }
    pins = {(applet.name, FileId(file)): file for applet, file in declared((PinEf,))}
    assert documented == {where: (pin.name, pin.tries) for where, pin in pins.items() if isinstance(pin, PinEf)}


def condition(applet: Applet, words: str) -> Condition:
    """Return the access rule that a cell describes."""
    if words == "free":
        return FREE
    pins = {
        "password": {jpki.AID: jpki.SIGNATURE_PIN},
        "birth PIN": {card_surface.AID: card_surface.BIRTH_PIN},
        "PIN": {input_support.AID: input_support.PIN},
        "A": {input_support.AID: input_support.NUMBER_A, card_surface.AID: card_surface.NUMBER_A},
        "B": {input_support.AID: input_support.NUMBER_B, card_surface.AID: card_surface.NUMBER_B},
    }
    return Verified(*(pins[word][applet.aid] for word in words.split(", ")))


def test_documented_files_and_access_rules_match_the_declarations() -> None:
    documented: dict[tuple[str, FileId], Condition] = {}
    for where, _, read in rows("Files"):
        files, rules = named_files(where), read.split("; ")
        for number, (applet, fid) in enumerate(files):
            documented[applet.name, fid] = condition(applet, rules[number if len(rules) > 1 else 0])
    assert documented == {
        (applet.name, FileId(file)): file.read
        for applet, file in declared((TransparentEf, RecordEf))
        if isinstance(file, TransparentEf | RecordEf)
    }


def test_declared_file_equals_its_identifier() -> None:
    assert FileId(0x000A) == jpki.AUTHENTICATION_CERTIFICATE
    assert f"{jpki.AUTHENTICATION_CERTIFICATE}" == "000A"
    names = {application.aid: application for application in structure()}
    for applet in APPLETS:
        found = [(fid, file.name) for fid, file in names[applet.aid].files.items()]
        assert found[: len(applet.files)] == [(FileId(file), file.name) for file in applet.files]


def test_files_of_one_aid_have_one_name_in_all_models() -> None:
    """Traces name a file by AID and identifier, whatever the model of the card is."""
    names = {
        (application.aid, fid): file.name for application in structure() for fid, file in application.files.items()
    }
    for model in MODELS.values():
        for applet in (*model.applets, *model.additions):
            for file in applet.files:
                assert names[applet.aid, FileId(file)] == file.name, (model.name, applet.name)


P = int(
    "D50A0D1261BC5DCC829A08E3C4D9802B5E367D935818950486F9FA7B7261531C"
    "8F45338F0CD86DF8BE1275A57A621F9806465E59CD1C1E363C476351629FAEB0"
    "28F3A45901617D9B7A8AD3F52E560CC35437797C8E6E4079A74AB64D83C9160E"
    "E6489790BA68C683A291A62C95E3B83151345E6D4774F6A6CCA21BFC414707B5",
    16,
)
Q = int(
    "CAD544A526B64616D9D99AE902ED94F027A7D09C9529B85C30EC0C4F8DFE23B9"
    "9EAFB8B1192D34CF0B7130034F68B8B72831DE067AF61D5FADEB084B319EFDC2"
    "6F4455C87CCE8AA34ADA2E9FC4750F3B13308C94C6B7ACDEBDDD83F7C08140A6"
    "9EA69220B20126136E64D4AC5ADAB81DCBA4E0EED5FF312718DA0F998BA9FD8D",
    16,
)
"""The primes of one key for all purposes. PKCS#1 v1.5 signatures are deterministic."""

DRAWN = (card_surface.FACE, card_surface.INDIVIDUAL_NUMBER)
"""Pictures, which may differ between versions of Pillow."""

FULL = CardCertificates(b"\x30\x82" + b"s" * 1500, b"", b"r" * 1400, b"\x30\x82" + b"a" * 2200, b"", b"q" * 1400)


def personalisation(seed: str, *, child: bool = False) -> Personalisation:
    """Return a personalisation that uses one key for everything."""
    private = rsa.RSAPrivateNumbers(
        P, Q, pow(65537, -1, (P - 1) * (Q - 1)), pow(65537, -1, P - 1), pow(65537, -1, Q - 1), pow(Q, -1, P),
        rsa.RSAPublicNumbers(65537, P * Q),
    ).private_key()  # fmt: skip
    key = PrivateKey(
        private.private_bytes(
            serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    signers = [CertificateSigner(key_id(f"900002{number}"), key) for number in range(7)]
    certificates = FULL
    if child:
        certificates = CardCertificates(None, None, FULL.signature_authority, FULL.authentication, b"", b"q" * 1400)
    return Personalisation(
        Holder("番号　花子", "東京都千代田区一番町1番地", "19890508", "010508", "2", "123456789018", "13101"),
        CardData("20331231", "1234", "412345678901234", bytes.fromhex("3BE000FF8131FE4514")),
        certificates,
        CardSigners(*signers),
        ChipKeys(key, key, key, key),
        Pins(tries_left={"authentication": 1, "signature": 2}),
        Random(seed),
    )


def fingerprint(data: Personalisation) -> str:
    """Return a hash of everything except pictures, and of the position of the random stream afterwards."""
    digest = sha256()
    for aid, written in personalise(data).items():
        for fid in () if aid != card_surface.AID else DRAWN:
            assert written.data.pop(FileId(fid))
        assert all(type(fid) is FileId for fid in (*written.data, *written.records, *written.keys, *written.pins))
        parts = (written.data, written.records, written.keys, written.pins, written.objects)
        digest.update(repr([str(aid), *(sorted(part.items()) for part in parts)]).encode())
    digest.update(data.chance.randbytes(8))
    return digest.hexdigest()[:16]


@pytest.mark.parametrize(
    ("seed", "child", "expected"), [("one", False, "26943a399df1f2f3"), ("two", True, "3bb9a083a04ad5f5")]
)
def test_the_same_seed_makes_the_same_card(seed: str, child: bool, expected: str) -> None:
    assert fingerprint(personalisation(seed, child=child)) == expected


def test_a_renewal_writes_what_personalisation_wrote() -> None:
    data = personalisation("one")
    renewed = jpki.written(data.certificates, data.pins, data.card, data.vouchers)
    assert renewed == personalise(data)[jpki.AID]
    assert isinstance(renewed, ApplicationContents)
