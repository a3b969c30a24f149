"""The structures of PC/SC part 10: which are refused, which command the card gets, and what ends an entry."""

from __future__ import annotations

import struct
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from kazashi.reader_bridge.pin_entry import NoPinWanted, NotDigits, PinEntries
from kazashi.reader_bridge.pin_pad import PinCancelled, PinPad, PinPurpose, PinRequest, PinTimedOut
from kazashi.reader_bridge.profile import PinProcedure, reader_profile
from tests.polling import LIMIT, until

pytestmark = pytest.mark.unit

VERIFY, MODIFY = PinProcedure.VERIFY, PinProcedure.MODIFY
CANCELLED, TIMED_OUT, NOT_REPEATED, WRONG_LENGTH, INVALID = "6401", "6400", "6402", "6403", "6B80"
ASCII = 0x82  # digits as ASCII, position 0 in bytes


def verify_structure(
    template: str = "0020008000", *, form: int = ASCII, block: int = 0, length: int = 0, longest: int = 4,
    shortest: int = 4, validation: int = 2, messages: int = 0xFF, seconds: int = 0, size: int | None = None,
) -> bytes:  # fmt: skip
    """A PIN_VERIFY_STRUCTURE. OpenSC sends the default one for a JPKI card (reader-pcsc.c, card-jpki.c)."""
    data = bytes.fromhex(template)
    head = struct.pack(
        "<BBBBBBBBBHB3sI", seconds, 0, form, block, length, longest, shortest, validation, messages, 0, 0, b"\0\0\0",
        len(data) if size is None else size,
    )  # fmt: skip
    return head + data


def modify_structure(
    template: str = "0024018000", *, form: int = ASCII, block: int = 0, old_at: int = 0, new_at: int = 0,
    longest: int = 4, shortest: int = 4, confirm: int = 1, validation: int = 2, messages: int = 2,
) -> bytes:  # fmt: skip
    data = bytes.fromhex(template)
    head = struct.pack(
        "<BBBBBBBBBBBBHBBB3sI", 0, 0, form, block, 0, old_at, new_at, longest, shortest, confirm, validation, messages,
        0, 0, 1, 2, b"\0\0\0", len(data),
    )  # fmt: skip
    return head + data


class Keys:
    """A person who types what is expected of them, and remembers what was asked."""

    def __init__(self, *typed: str | Exception) -> None:
        self._typed = iter(typed)
        self.asked: list[PinRequest] = []

    def __call__(self, request: PinRequest) -> str:
        self.asked.append(request)
        typed = next(self._typed)
        if isinstance(typed, Exception):
            raise typed
        return typed


def run(
    procedure: PinProcedure, structure: bytes, *typed: str | Exception, profile: str = "pin-pad"
) -> tuple[str, str]:
    """Return the answer, and the command that the card got (empty if it got none)."""
    pad = reader_profile(profile).slots[0].pin_pad
    assert pad is not None
    sent: list[str] = []

    def send(command: bytes) -> bytes:
        sent.append(command.hex().upper())
        return b"\x90\x00"

    answer = PinPad(pad, 0, Keys(*typed)).run(procedure, structure, send)
    return "refused by the driver" if answer is None else answer.hex().upper(), "".join(sent)


@pytest.mark.parametrize(
    ("structure", "typed", "command"),
    [
        (verify_structure(), "1234", "002000800431323334"),
        (verify_structure("00200080"), "1234", "002000800431323334"),
        (verify_structure("0020008008FFFFFFFFFFFFFFFF", longest=8), "12345", "00200080083132333435FFFFFF"),
        (verify_structure("0020008008FFFFFFFFFFFFFFFF", block=8, longest=8), "12345", "00200080083132333435FFFFFF"),
        (verify_structure(block=8, longest=8), "12345", "00200080083132333435FFFFFF"),
        (verify_structure(form=ASCII | 4, block=6), "1234", "0020008006FFFF31323334"),
        (verify_structure(form=0x81), "1234", "00200080021234"),
        (verify_structure(form=0x81, longest=5), "12345", "002000800312345F"),
        (verify_structure(form=0x80), "1234", "002000800401020304"),
        (verify_structure(form=0x82 | 2 << 3), "1234", "0020008006FFFF31323334"),
        # A PIN block of GlobalPlatform: control nibble 2, length in four bits, BCD digits behind them, padded with F.
        (verify_structure("00200081082FFFFFFFFFFFFFFF", form=0x01 | 8 << 3, block=0x47, length=4, longest=12),
         "123456", "0020008108" + "26123456FFFFFFFF"),
        (verify_structure("0020008004FFFFFFFF00"), "1234", "00200080043132333400"),
    ],
)  # fmt: skip
def test_verify_puts_the_pin_where_the_structure_says(structure: bytes, typed: str, command: str) -> None:
    assert run(VERIFY, structure, typed) == ("9000", command)


@pytest.mark.parametrize(
    ("structure", "typed", "command"),
    [
        (modify_structure(), ("5678", "5678"), "002401800435363738"),
        (modify_structure(confirm=0), ("5678",), "002401800435363738"),
        (modify_structure("0024008000", confirm=3), ("1234", "5678", "5678"), "00240080083132333435363738"),
        (modify_structure("0024008000", confirm=2, block=8, new_at=8, longest=8), ("1234", "567890"),
         "0024008010" + "31323334FFFFFFFF" + "353637383930FFFF"),
    ],
)  # fmt: skip
def test_modify_puts_both_pins_where_the_structure_says(structure: bytes, typed: tuple[str, ...], command: str) -> None:
    assert run(MODIFY, structure, *typed) == ("9000", command)


@pytest.mark.parametrize(
    "structure",
    [
        verify_structure(form=0x83), verify_structure(length=0x20), verify_structure(shortest=5),
        verify_structure(longest=0, shortest=0), verify_structure(longest=17), verify_structure(validation=0),
        verify_structure(validation=8), verify_structure(messages=2), verify_structure(block=3),
        verify_structure(block=0x20), verify_structure("00200080FF"), verify_structure("00200080043132"),
        verify_structure("00200080013100FF"), modify_structure(confirm=4), modify_structure(messages=4),
        modify_structure(form=0x83), modify_structure(shortest=5), modify_structure(validation=0),
        modify_structure("00240180FF"),
    ],
)  # fmt: skip
def test_an_invalid_structure_is_refused_before_anybody_is_asked(structure: bytes) -> None:
    procedure = MODIFY if structure[6] == 0 and len(structure) >= 28 else VERIFY
    assert run(procedure, structure) == (INVALID, "")  # Keys() fails if it is asked


@pytest.mark.parametrize(
    "structure",
    [b"", bytes(22), verify_structure("002000"), verify_structure(size=4), verify_structure(size=6),
     verify_structure(size=0xFFFFFFFF), verify_structure() + b"\0"],
)  # fmt: skip
def test_a_structure_with_wrong_lengths_is_refused_by_the_driver(structure: bytes) -> None:
    assert run(VERIFY, structure) == ("refused by the driver", "")
    assert run(MODIFY, structure) == ("refused by the driver", "")


@pytest.mark.parametrize(
    ("typed", "validation", "answer"),
    [
        (PinCancelled(), 2, CANCELLED),
        (PinTimedOut("1234"), 2, TIMED_OUT),
        (PinTimedOut("1234"), 4, "9000"),
        (PinTimedOut("123"), 4, WRONG_LENGTH),
        ("123", 2, WRONG_LENGTH),
        ("12345", 2, WRONG_LENGTH),
        ("", 2, WRONG_LENGTH),
    ],
)
def test_an_entry_without_a_pin_never_reaches_the_card(typed: str | Exception, validation: int, answer: str) -> None:
    got, command = run(VERIFY, verify_structure(validation=validation), typed)
    assert (got, bool(command)) == (answer, answer == "9000")


def test_a_new_pin_that_is_not_repeated_is_not_set() -> None:
    assert run(MODIFY, modify_structure(), "5678", "5679") == (NOT_REPEATED, "")


def test_a_pad_is_told_what_to_ask() -> None:
    pad = reader_profile("pin-pad").slots[0].pin_pad
    assert pad is not None
    keys = Keys("1234", "5678", "5678")
    PinPad(pad, 3, keys).run(MODIFY, modify_structure(confirm=3, validation=3), lambda _: b"\x90\x00")
    assert [request.purpose for request in keys.asked] == [PinPurpose.CURRENT, PinPurpose.NEW, PinPurpose.REPEATED]
    assert {(r.slot, r.shortest, r.longest, r.seconds, r.ends_when_full, r.ends_with_key) for r in keys.asked} == {
        (3, 4, 4, 30, True, True)
    }


def test_a_pad_refuses_conditions_that_it_does_not_have() -> None:
    """The like-st-2xxx pad ends an entry by its key only (bEntryValidationCondition 02)."""
    assert run(VERIFY, verify_structure(validation=1), profile="like-st-2xxx") == (INVALID, "")
    assert run(VERIFY, verify_structure(), "1234", profile="like-st-2xxx") == ("9000", "002000800431323334")


# The entries that a person types elsewhere

REQUEST = PinRequest(
    slot=2, purpose=PinPurpose.CURRENT, shortest=4, longest=4, seconds=LIMIT, ends_when_full=False, ends_with_key=True
)


@pytest.fixture
def entries() -> Iterator[PinEntries]:
    entries = PinEntries()
    yield entries
    entries.cancel_all(2)


@pytest.fixture
def entered(entries: PinEntries) -> Callable[[PinRequest], Callable[[], str | type[Exception]]]:
    """A function that starts an entry and returns a function that waits for its end."""

    def start(request: PinRequest) -> Callable[[], str | type[Exception]]:
        ended: list[str | type[Exception]] = []

        def ask() -> None:
            try:
                ended.append(entries(request))
            except (PinCancelled, PinTimedOut) as error:
                ended.append(type(error))

        thread = threading.Thread(target=ask, daemon=True)
        thread.start()
        until(lambda: bool(entries.waiting()) or not thread.is_alive(), "the entry has begun")

        def result() -> str | type[Exception]:
            thread.join(LIMIT)
            assert not entries.waiting()
            return ended[0]

        return result

    return start


def test_keys_make_up_the_pin(entries: PinEntries, entered: Callable[..., Callable[[], str]]) -> None:
    result = entered(REQUEST)
    for key in "129":
        entries.press(2, key)
    assert [entry.typed for entry in entries.waiting()] == [3]
    entries.correct(2)
    entries.press(2, "34")
    entries.confirm(2)
    assert result() == "1234"
    with pytest.raises(NoPinWanted):
        entries.press(2, "5")


def test_an_entry_ends_by_itself_when_it_is_full(
    entries: PinEntries, entered: Callable[..., Callable[[], str]]
) -> None:
    full = PinRequest(
        slot=2, purpose=PinPurpose.NEW, shortest=4, longest=4, seconds=LIMIT, ends_when_full=True, ends_with_key=False
    )
    result = entered(full)
    entries.press(2, "12")
    entries.confirm(2)  # the key does not end this entry
    entries.press(2, "345")
    assert result() == "1234"


def test_an_entry_ends_by_the_cancel_key_and_by_time(
    entries: PinEntries, entered: Callable[..., Callable[[], type[Exception]]]
) -> None:
    result = entered(REQUEST)
    entries.cancel(2)
    assert result() is PinCancelled
    at = time.monotonic()
    brief = PinRequest(
        slot=2, purpose=PinPurpose.NEW, shortest=4, longest=4, seconds=0.2, ends_when_full=False, ends_with_key=True
    )
    assert entered(brief)() is PinTimedOut
    assert 0.2 <= time.monotonic() - at < LIMIT


def test_only_digits_can_be_typed_and_only_where_a_pin_is_wanted(
    entries: PinEntries, entered: Callable[..., object]
) -> None:
    entered(REQUEST)
    for keys in ("A", "12 ", "１", "", "1" * 65):
        with pytest.raises(NotDigits):
            entries.press(2, keys)
    with pytest.raises(NoPinWanted):
        entries.press(1, "1")
    assert [entry.typed for entry in entries.waiting()] == [0]
