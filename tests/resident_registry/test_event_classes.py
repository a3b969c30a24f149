"""The declarations of event classes, the institutions' tables for them, and their form in notices."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from datetime import date

import pytest

from kazashi.card_management import consequence as card_management
from kazashi.pki import consequence as pki
from kazashi.resident_registry import juki_net
from kazashi.resident_registry.event import EVENTS, Emigration, Event, event_type
from kazashi.resident_registry.notice import Notice
from kazashi.resident_registry.number import ResidentRecordCode
from kazashi.resident_registry.rejection import EventRejected, RejectionReason
from kazashi.tools.daemon.console.view import vocabulary
from kazashi.world.outbox import Message

DECISIONS: dict[str, Mapping[type[Event], object]] = {
    "the authorities": pki.TABLE,
    "the card management": card_management.TABLE,
    "J-LIS": juki_net.TOLD,
}


def subclasses(of: type[Event]) -> Iterator[type[Event]]:
    for subclass in of.__subclasses__():
        yield subclass
        yield from subclasses(subclass)


def test_every_event_class_is_in_the_list_of_events() -> None:
    # By code: a dataclass with slots is a new class, and the class that it was made of remains.
    assert {one.code for one in subclasses(Event)} == {event.code for event in EVENTS}


@pytest.mark.parametrize("institution", DECISIONS)
def test_every_institution_has_a_table_entry_for_every_event(institution: str) -> None:
    assert DECISIONS[institution].keys() == set(EVENTS)


def test_notices_contain_only_fields_of_the_event() -> None:
    for event, names in juki_net.TOLD.items():
        assert set(names or ()) <= set(event.__dataclass_fields__), event


@pytest.mark.parametrize("event", EVENTS)
def test_every_event_declares_its_code_and_descriptions(event: type[Event]) -> None:
    assert {"code", "japanese", "about"} <= vars(event).keys()
    assert event.about.endswith(".")
    assert event.allowed
    assert event_type(event.code) is event


def test_codes_and_legal_terms_are_unique() -> None:
    assert len({event.code for event in EVENTS}) == len(EVENTS)
    terms = [event.japanese for event in EVENTS if event.japanese]
    assert len(set(terms)) == len(terms)


def test_an_unknown_event_code_is_refused() -> None:
    with pytest.raises(EventRejected) as refused:
        event_type("rebirth")
    assert refused.value.reason is RejectionReason.UNKNOWN_EVENT


def test_a_notice_is_an_event_code_and_a_flat_body() -> None:
    code, former = ResidentRecordCode("12345678903"), ResidentRecordCode("12345678903")
    notice = Notice(Emigration, date(2026, 11, 24), code, former, {"continued": True})
    assert json.dumps(notice.body) == (
        '{"day": "2026-11-24", "record_code": "12345678903", "former_code": "12345678903", "continued": true}'
    )
    assert Notice.from_message(Message("j-lis", "card-management", 1, "emigration", notice.body)) == notice


def without_docstrings(*arguments: str) -> str:
    """The output of `python -OO` with these arguments."""
    return subprocess.run([sys.executable, "-OO", *arguments], check=True, capture_output=True, text=True).stdout


def test_the_console_vocabulary_does_not_need_docstrings() -> None:
    printed = without_docstrings(
        "-c", "import json; from kazashi.tools.daemon.console.view import vocabulary; print(json.dumps(vocabulary()))"
    )
    assert json.loads(printed) == vocabulary()
    assert len(vocabulary()) == len(EVENTS) - 4, "all but what only the registry itself records"
    assert all(event["about"] for event in vocabulary())


@pytest.mark.parametrize("event", ["", "emigration"])
def test_the_help_on_events_does_not_need_docstrings(event: str) -> None:
    arguments = ["-m", "kazashi", "registry", "event", *event.split(), "--help"]
    help_text = subprocess.run([sys.executable, *arguments], check=True, capture_output=True, text=True).stdout
    assert without_docstrings(*arguments) == help_text
    expected = [entry["word"] for entry in vocabulary()] if not event else [Emigration.about.split(".")[0]]
    assert all(text in help_text for text in expected)
