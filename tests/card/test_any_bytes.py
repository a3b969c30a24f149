"""The chip accepts any byte string: every response has a known status word, none is a crash, and no command succeeds
without its PIN."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kazashi.applets import card_surface, common_card, input_support, jpki
from kazashi.applets.install import install
from kazashi.card.chip import Chip
from kazashi.card.commands import HANDLERS
from kazashi.card.image import read_image
from kazashi.card.status_word import Status
from kazashi.card_management.order import image_path
from kazashi.world.home import World

COUNT = 1_000_000
KNOWN = {int(status) for status in Status if status.sent and status is not Status.INTERNAL_ERROR} | {
    0x63C0 | left for left in range(16)
}


@pytest.fixture
def quick_chip(image: Path) -> Chip:
    """A card in memory whose PINs cannot be guessed, so that every command that needs one must be rejected."""
    contents, _ = read_image(image)
    for application in contents.values():
        application.pins = {
            fid: type(pin)(b"\xff\xfe\xfd unguessable"[:16], 15, 15) for fid, pin in application.pins.items()
        }
    chip = Chip(install(contents))
    chip.power_on()
    return chip


def commands(chance: random.Random) -> bytes:
    """Return a random command, anything between a valid one and noise."""
    kind = chance.randrange(10)
    if kind == 0:
        return chance.randbytes(chance.randrange(0, 40))
    if kind <= 2:
        aid = chance.choice((jpki.AID, input_support.AID, card_surface.AID, common_card.AID, b"\xa0\0\0\1\x51\0\0"))
        aid = aid[: chance.randrange(len(aid) + 1)] if kind == 2 else aid
        return bytes((0, 0xA4, 4, chance.choice((0, 2, 12)), len(aid))) + aid
    if kind <= 4:
        return bytes((0, 0xA4, 2, 12, 2, 0, chance.randrange(0x20)))
    if kind == 5:
        pin = chance.randbytes(chance.choice((0, 4, 6)))
        p2 = chance.choice((0x80, 0x80 | chance.randrange(32)))
        return bytes((0, 0x20, 0, p2)) + (bytes((len(pin),)) + pin if pin else b"")
    key = chance.choice(tuple(HANDLERS))
    head = bytes((key >> 8, key & 0xFF, chance.choice((0, 1, 2, 0x80 | chance.randrange(32), chance.randrange(256))),
                  chance.choice((0, 0x80, 0x80 | chance.randrange(32), chance.randrange(256)))))  # fmt: skip
    data = chance.randbytes(chance.choice((0, 1, 4, 6, 12, 32, 51)))
    tail = chance.choice((b"", b"\0", bytes((chance.randrange(256),))))
    return head + (bytes((len(data),)) + data if data else b"") + tail


def test_a_million_random_commands_reveal_nothing(quick_chip: Chip, image: Path) -> None:
    chance = random.Random(20260401)
    contents, _ = read_image(image)
    protected = [
        contents[jpki.AID].data[jpki.SIGNATURE_CERTIFICATE][:64],
        contents[input_support.AID].data[input_support.INDIVIDUAL_NUMBER][:12],
        contents[input_support.AID].data[input_support.FOUR_ATTRIBUTES][:64],
        contents[card_surface.AID].data[card_surface.FACE][:64],
    ]
    seen: dict[int, int] = {}
    sent = 0
    while sent < COUNT:
        command = commands(chance)
        if command[:2] in (b"\x80\x2a", b"\x00\x88") and chance.randrange(20):
            continue  # an RSA signature takes as long as a thousand other commands, so only one in twenty is sent
        sent += 1
        response = quick_chip.transmit(command)
        status = int.from_bytes(response[-2:])
        seen[status] = seen.get(status, 0) + 1
        assert status in KNOWN, f"the response to {command.hex()} is {response.hex()}"
        if status == 0x9000:
            assert command[1] not in (0x20, 0x24, 0x32), f"{command.hex()} succeeded"
            assert not any(response.startswith(secret) for secret in protected), f"{command.hex()} read protected data"
        else:
            assert len(response) == 2, f"{command.hex()} was rejected, but with data"
    assert {0x9000, 0x6984, 0x6982, 0x6A82, 0x6700, 0x6A86, 0x6981, 0x6D00, 0x6E00, 0x6B00, 0x63C0} <= seen.keys()


@settings(max_examples=500)
@given(raw=st.binary(max_size=600))
def test_noise_gets_a_known_status_word(shared_chip: Chip, raw: bytes) -> None:
    response = shared_chip.transmit(raw)
    assert len(response) >= 2
    assert int.from_bytes(response[-2:]) in KNOWN


@pytest.fixture(scope="module")
def shared_chip(world: World) -> Chip:
    contents, _ = read_image(image_path(world, "hanako"))
    chip = Chip(install(contents))
    chip.power_on()
    return chip
