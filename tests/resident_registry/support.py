"""People, events and a function to record events, shared by the tests of the registry."""

from __future__ import annotations

from datetime import date, timedelta

from kazashi.assembly.institutions import Institutions
from kazashi.resident_registry.event import Channel, Event, Immigration, MoveIn, MoveOut
from kazashi.resident_registry.resident import Resident
from kazashi.resident_registry.sample_residents import SAMPLE_RESIDENTS

TODAY = date(2026, 11, 24)
TSUKUBA = "08220"
HANAKO, FOREIGNER = SAMPLE_RESIDENTS["hanako"], SAMPLE_RESIDENTS["single-name"]
SECOND = timedelta(seconds=1)

MOVE_OUT = MoveOut(TSUKUBA, TODAY)
MOVE_IN = MoveIn(TSUKUBA, "見本台１丁目")
MOVE_IN_WITHOUT_CARD = MoveIn(TSUKUBA, "見本台１丁目", card_continued=False)
IMMIGRATION = Immigration(TSUKUBA, "見本台１丁目")


def recorded(institutions: Institutions, who: str, *events: Event) -> Resident:
    """Record events of a person. Each is delivered to all institutions before the next."""
    for event in events:
        institutions.registry.record(who, event, channel=Channel.COUNTER)
        institutions.settle()
    return institutions.registry.find(who)
