"""The chip against an independent model of what is selected, what is verified, and the retry counters.

The model's tables of access rules were written from docs/card.md and not from the applications' code.
"""

from __future__ import annotations

from typing import ClassVar

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from benchmarks.reliability.card_model import CHANGEABLE, NAMES, OTHER_FILES, PINS, READABLE, SIGNING
from kazashi.applets.install import install
from kazashi.card.chip import Chip
from kazashi.card.contents import CardContents
from kazashi.card.identifiers import FileId
from kazashi.card.image import read_image
from kazashi.card.store import Reference
from kazashi.card_management.order import image_path
from kazashi.world.home import World


class CardAgainstModel(RuleBasedStateMachine):
    contents: ClassVar[CardContents]
    secrets: ClassVar[dict[tuple[str, int], str]]

    def __init__(self) -> None:
        super().__init__()
        self.chip = Chip(install(self.contents))
        self.chip.power_on()
        self.application = "manager"
        self.file: int | None = None
        self.verified: set[int] = set()
        self.tries = dict(PINS)
        self.pins = dict(self.secrets)

    def ask(self, command: str) -> str:
        return self.chip.transmit(bytes.fromhex(command)).hex().upper()

    def exists(self, fid: int) -> bool:
        return (
            fid in READABLE[self.application]
            or (self.application, fid) in PINS
            or fid in OTHER_FILES.get(self.application, ())
        )

    @rule(name=st.sampled_from(sorted(NAMES)), length=st.integers(5, 10))
    def select_application(self, name: str, length: int) -> None:
        aid = NAMES[name] if name == "manager" else NAMES[name][: 2 * length]
        selected = next(known for known in NAMES if NAMES[known].startswith(aid))
        assert self.ask(f"00A4040C{len(aid) // 2:02X}{aid}") == "9000"
        if selected != self.application:
            self.verified.clear()
        self.application, self.file = selected, None

    @rule(fid=st.integers(0, 0x1F))
    def select_file(self, fid: int) -> None:
        exists = self.exists(fid)
        assert self.ask(f"00A4020C0200{fid:02X}") == ("9000" if exists else "6A82")
        if exists:
            self.file = fid

    @rule(short=st.none() | st.integers(1, 0x1E))
    def read_from(self, short: int | None) -> None:
        self.read(short)

    def read(self, short: int | None) -> None:
        response = self.ask("00B0000010" if short is None else f"00B0{0x80 | short:02X}0010")
        if short is not None:
            if not self.exists(short):
                assert response == "6A82"
                return
            self.file = short
        if self.file is None:
            assert response == "6986"
        elif self.file not in READABLE[self.application]:
            assert response == "6981"
        else:
            opens = READABLE[self.application][self.file]
            allowed = opens is None or bool(opens & self.verified)
            assert response[-4:] == ("9000" if allowed else "6982")
            assert len(response) > 4 if allowed else len(response) == 4

    @rule(how=st.sampled_from(["right", "right", "wrong", "empty"]), pick=st.integers(0, 7), by_short=st.booleans())
    def verify(self, how: str, pick: int, by_short: bool) -> None:
        pins = [fid for name, fid in PINS if name == self.application]
        if by_short and pins:
            self.file = pins[pick % len(pins)]
        key = (self.application, self.file or 0)
        if key not in PINS:
            return
        p2 = f"{0x80 | key[1]:02X}" if by_short else "80"
        if how == "empty":
            assert self.ask(f"002000{p2}") == f"63C{self.tries[key]:X}"
            return
        value = self.pins[key] if how == "right" else "!" * len(self.pins[key])
        response = self.ask(f"002000{p2}{len(value):02X}{value.encode().hex()}")
        if self.tries[key] == 0:
            assert response == "6984"
        elif how == "right":
            assert response == "9000"
            self.tries[key] = PINS[key]
            self.verified.add(key[1])
        else:
            self.tries[key] -= 1
            self.verified.discard(key[1])
            assert response == f"63C{self.tries[key]:X}"
            self.check_all_access()

    @rule()
    def check_all_access(self) -> None:
        """Check that exactly the files and keys can be used that the verified PINs allow."""
        for fid in READABLE[self.application]:
            self.read(fid)
        for fid in SIGNING.get(self.application, {}):
            self.sign(fid)

    @rule(number=st.integers(0, 9999))
    def change_pin(self, number: int) -> None:
        key = (self.application, self.file or 0)
        if key not in CHANGEABLE:
            return
        command, length = CHANGEABLE[key]
        value = f"{number:0{length}d}"
        response = self.ask(f"{command}{length:02X}{value.encode().hex()}")
        if key[1] in self.verified:
            assert response == "9000"
            self.pins[key], self.tries[key] = value, PINS[key]
        else:
            assert response == "6982"

    @rule(fid=st.sampled_from([0x13, 0x17, 0x1A]))
    def sign_with(self, fid: int) -> None:
        self.sign(fid)

    def sign(self, fid: int) -> None:
        keys = SIGNING.get(self.application, {})
        if fid not in keys:
            return
        response = self.ask(f"802A00{0x80 | fid:02X}01AA00")
        self.file = fid
        needs = keys[fid]
        allowed = needs is None or bool(needs & self.verified)
        assert (len(response) == 2 * 258) if allowed else (response == "6982")

    @rule()
    def reset(self) -> None:
        self.chip.reset()
        self._cold()

    @rule()
    def power_cycle(self) -> None:
        self.chip.power_off()
        self.chip.power_on()
        self._cold()

    def _cold(self) -> None:
        self.application, self.file = "manager", None
        self.verified.clear()

    @invariant()
    def the_store_agrees(self) -> None:
        for application in self.chip.card.applications:
            name = next((known for known, aid in NAMES.items() if application.aid.hex().upper() == aid), None)
            assert name is not None
            for fid in application.files:
                if (name, fid) in PINS:
                    state = self.chip.card.store.pin(Reference(application.aid, FileId(fid)))
                    assert state.tries_left == self.tries[name, fid]
                    assert state.value == self.pins[name, fid].encode()


def test_the_chip_agrees_with_the_model(world: World) -> None:
    contents, about = read_image(image_path(world, "hanako"))
    pin, number_a, number_b = about["authentication PIN"], about["individual number"], about["reference number B"]
    CardAgainstModel.contents = contents
    CardAgainstModel.secrets = {
        ("jpki", 0x18): pin,
        ("jpki", 0x1B): about["signature password"],
        ("text", 0x11): pin,
        ("text", 0x14): number_a,
        ("text", 0x15): number_b,
        ("visual", 0x11): about["birth PIN"],
        ("visual", 0x12): number_b,
        ("visual", 0x13): number_a,
        ("juki", 0x1C): pin,
        ("common", 0x1C): pin,
    }
    run_state_machine_as_test(
        CardAgainstModel,
        settings=settings(max_examples=200, stateful_step_count=60, suppress_health_check=list(HealthCheck)),
    )
