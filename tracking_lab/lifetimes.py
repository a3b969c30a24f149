"""The lifetimes of people's cards and phones and of the certificates on them, generated in whole columns.

The validity periods and renewal dates of certificates follow the authorities' own rules (`jpki/profile.py`,
`pki/validity.py`). A test runs a small population day by day through the services themselves, and finds the same
certificates and the same uses.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import polars as pl

from kazashi.jpki.profile import EMULATED, CertificateType
from kazashi.pki.validity import ADULT_AGE, SIGNATURE_AGE
from kazashi.resident_registry.event import CardReturn, Death, Theft
from kazashi.tracking_lab.certificates import CARD, PHONE, PopulationCertificates, renewal_opens
from kazashi.tracking_lab.people import (
    AT_THE_REGISTRY,
    CHUNK,
    NEVER,
    ON_PAPER,
    LifeEvent,
    People,
    nth_birthday_after,
    people,
)
from kazashi.tracking_lab.plan import Plan
from kazashi.world.rng import stream

_REPLACED = (7, 45)
"""The least and most days until a card or certificate that ended early is replaced (invented)."""

_BEFORE = (1, 84)
"""The least and most days before its end at which a certificate or card is renewed: within the last three months
(invented)."""

_LATE, _TO_PHONE, _FIRST_PHONE = (1, 200), (1, 60), (1, 365)
"""The least and most days until people who forget renew after the end; until a phone follows the card; and until it
does so for the first time (invented)."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """The lifetimes of a chunk's people. `people` has one row per person, `events` one per event, in order, and
    `certificates` one per certificate, without serial numbers."""

    people: pl.DataFrame
    events: pl.DataFrame
    certificates: pl.DataFrame


def live(plan: Plan, chunk: int) -> Chunk:
    """Generate the lifetimes of a chunk's people, from the plan's first day to its last."""
    first = chunk * CHUNK
    count = min(CHUNK, plan.residents - first)
    rng = np.random.default_rng(stream(plan.seed, "tracking", "lives", str(chunk)).getrandbits(128))
    residents = people(plan, first, count, rng)
    office = _CardOffice(plan, residents, rng)
    office.run()
    return Chunk(residents.frame, office.events.frame(first), office.certificates.frame(first))


class _Events:
    """The events of people, in order for each person."""

    _SCHEMA: ClassVar[dict[Any, Any]] = {
        "person": pl.UInt32, "day": pl.Int32, "round": pl.Int32, "word": pl.UInt8, "town": pl.UInt16,
        "street": pl.UInt16, "family": pl.UInt16,
    }  # fmt: skip

    def __init__(self) -> None:
        self._rows: list[pl.DataFrame] = []
        self._round = 0

    def next_round(self) -> None:
        """Order the events added from now on after the earlier ones, for each person."""
        self._round += 1

    def add(self, who: Any, day: Any, event: LifeEvent, **after: Any) -> None:
        """Add an event for each of some people; `after` has their town, street and family name afterwards."""
        columns = {name: after.get(name, np.zeros(len(who), np.uint16)) for name in ("town", "street", "family")}
        # Within a round, an old card is returned before the new one is issued.
        rounds = np.full(len(who), 2 * self._round + (event is LifeEvent.ISSUE), np.int32)
        self._rows.append(pl.DataFrame({
            "person": who.astype(np.uint32), "day": day.astype(np.int32), "round": rounds,
            "word": np.full(len(who), event, np.uint8), **columns,
        }))  # fmt: skip

    def frame(self, first: int) -> pl.DataFrame:
        """All events, of people numbered from `first`. Events of the registry have the town, street and family name
        afterwards; the others have null."""
        rows = pl.concat(self._rows) if self._rows else pl.DataFrame(schema=self._SCHEMA)
        after = pl.when(pl.col("word").is_in(list(AT_THE_REGISTRY))).then(pl.col("town", "street", "family"))
        return rows.cast(self._SCHEMA).with_columns(pl.col("person") + first, after).sort("person", "round")


class _Appointments:
    """The days of people's next visits to the office, by purpose; NEVER if there is none."""

    def __init__(self, count: int, order: Any) -> None:
        self.order = order
        self.renewal = {kind: np.full(count, NEVER, np.int32) for kind in CertificateType}
        self.phone = np.full(count, NEVER, np.int32)

    def cancel_visits(self, who: Any) -> None:
        """Cancel the visits that need a card: renewals, and certificates for a phone."""
        for due in (self.phone, *self.renewal.values()):
            due[who] = NEVER


class _CardOffice:
    """The office that issues and renews cards, for all people at once. Each round processes every person's next event:
    an event of the registry, a new card, a renewal, or certificates for the phone."""

    def __init__(self, plan: Plan, who: People, rng: np.random.Generator) -> None:
        self._plan, self._people, self._rng = plan, who, rng
        count = len(who.birthdays)
        self.events = _Events()
        self.certificates = PopulationCertificates(count, plan.days)
        self._next_happening = np.zeros(count, np.int32)
        self._card_ends = np.full(count, -1, np.int32)
        self._due = _Appointments(count, rng.integers(0, plan.first_days, count, dtype=np.int32))
        self._has_phone = rng.random(count) < plan.phones
        self._phoned = np.zeros(count, bool)

    def run(self) -> None:
        """Process all events until the plan's last day."""
        happenings, due = self._people.happenings, self._due
        effective = happenings.day + np.isin(happenings.word, list(ON_PAPER))
        effective = np.where(happenings.day == NEVER, NEVER, effective)
        effective = np.hstack([effective, np.full((len(effective), 1), NEVER, effective.dtype)])
        who = np.arange(len(effective))
        while len(who):
            own = effective[who, self._next_happening[who]]
            renewal = np.minimum.reduce([due.renewal[kind][who] for kind in CertificateType])
            coming = np.stack([own, due.order[who], renewal, due.phone[who]])
            what, day = coming.argmin(axis=0), coming.min(axis=0)
            in_plan = day < self._plan.days
            who, what, day = who[in_plan], what[in_plan], day[in_plan].astype(np.int32)
            for number, step in enumerate((self._happening, self._new_card, self._renewal, self._phone)):
                mine = what == number
                if mine.any():
                    step(who[mine], day[mine])
            self.events.next_round()

    # The steps of a round

    def _happening(self, who: Any, day: Any) -> None:
        """Process an event of the registry, with its effect on certificates and appointments."""
        happenings, place = self._people.happenings, self._next_happening[who]
        kind = happenings.word[who, place]
        self._next_happening[who] += 1
        for number, event in AT_THE_REGISTRY.items():
            mine = kind == number
            if event is Theft:  # only people who have a card lose one
                mine &= self._card_ends[who] >= day
            if not mine.any():
                continue
            whom, when, at = who[mine], day[mine], place[mine]
            self.events.add(whom, happenings.day[whom, at], number, town=happenings.town[whom, at],
                            street=happenings.street[whom, at], family=happenings.family[whom, at])  # fmt: skip
            signs = self.certificates.valid(CertificateType.SIGNATURE, CARD, whom, when)
            self.certificates.revoke(whom, when, event)
            if event is Death:
                self._dies(whom)
            elif event is Theft:
                self._loses_card(whom, when)
            else:
                self._loses_signature(whom, when, signs)

    def _dies(self, who: Any) -> None:
        self._due.order[who] = NEVER
        self._due.cancel_visits(who)
        self._next_happening[who] = self._people.happenings.word.shape[1]

    def _loses_card(self, who: Any, day: Any) -> None:
        """Order a new card."""
        self._card_ends[who] = -1
        self._due.order[who] = day + self._some(_REPLACED, len(who))
        self._due.cancel_visits(who)

    def _loses_signature(self, who: Any, day: Any, signs: Any) -> None:
        """Schedule a new signature certificate for those who had a valid one (`signs`), if the card lasts until
        then."""
        again = (day + self._some(_REPLACED, len(who)))[signs]
        within = again <= self._card_ends[who[signs]]
        self._due.renewal[CertificateType.SIGNATURE][who[signs]] = np.where(within, again, NEVER)

    def _new_card(self, who: Any, day: Any) -> None:
        """Issue a card: the first one, one after a loss, or one when the old card ends. An old card that is still valid
        is returned."""
        back = self._card_ends[who] >= day
        if back.any():
            self.events.add(who[back], day[back], LifeEvent.RETURN)
            self.certificates.revoke(who[back], day[back], CardReturn)
        self.certificates.expire(who, day)
        self.events.add(who, day, LifeEvent.ISSUE)
        nth = np.where(self._people.age(who, day) >= ADULT_AGE, 10, EMULATED.term.birthdays)
        self._card_ends[who] = nth_birthday_after(self._people.birthdays[who], day, nth)
        self.certificates.new_chain(who[self.certificates.ever(CertificateType.AUTHENTICATION, CARD, who)])
        for kind in CertificateType:
            self._due.renewal[kind][who] = NEVER
            self._certify(kind, who, day, renews=False)
        self._due.order[who] = self._before_or_after(self._card_ends[who])
        span = np.where(self._phoned[who], self._some(_TO_PHONE, len(who)), self._some(_FIRST_PHONE, len(who)))
        self._due.phone[who] = np.where(self._has_phone[who], day + span, NEVER)

    def _renewal(self, who: Any, day: Any) -> None:
        """Issue new certificates on the same card, for those that were revoked, have ended, or end within three
        months."""
        self.events.add(who, day, LifeEvent.RENEWAL)
        for kind in CertificateType:
            due = self._due.renewal[kind]
            ends = renewal_opens(self.certificates.last_day(kind, CARD, who)) <= day
            wanted = ~self.certificates.good(kind, CARD, who) | ends
            # A renewal that is due but no longer wanted is dropped.
            due[who] = np.where(wanted | (due[who] <= day), NEVER, due[who])
            self._certify(kind, who[wanted], day[wanted], renews=True)
        self._due.phone[who] = np.where(self._has_phone[who], day + self._some(_TO_PHONE, len(who)), NEVER)

    def _phone(self, who: Any, day: Any) -> None:
        """Issue certificates on a phone, which last as long as the card's, if both of the card's are valid."""
        self._due.phone[who] = NEVER
        able = np.logical_and.reduce([self.certificates.valid(kind, CARD, who, day) for kind in CertificateType])
        who, day = who[able], day[able]
        self.events.add(who, day, LifeEvent.PHONE)
        self._phoned[who] = True
        for kind in CertificateType:
            wanted = ~self.certificates.valid(kind, PHONE, who, day)
            end = self.certificates.last_day(kind, CARD, who[wanted])
            self.certificates.issue(kind, PHONE, who[wanted], day[wanted], end)

    def _certify(self, kind: CertificateType, who: Any, day: Any, *, renews: bool) -> None:
        """Issue a card's certificate of a kind to those who are old enough, and schedule its renewal."""
        if kind is CertificateType.SIGNATURE:
            old_enough = self._people.age(who, day) >= SIGNATURE_AGE
            who, day = who[old_enough], day[old_enough]
        if not len(who):
            return
        former = self.certificates.last_day(kind, CARD, who)
        # Within the last three months, birthdays are counted from the former end, so that nobody loses time.
        early = (renewal_opens(former) <= day) & (day <= former) & renews & (former >= 0)
        counted = np.where(early, former, day)
        end = nth_birthday_after(self._people.birthdays[who], counted, EMULATED.term.birthdays)
        end = np.minimum(end, self._card_ends[who])
        if renews:  # a phone's certificate ends with the card's from which it was issued
            follows = self.certificates.ever(kind, CARD, who)
            self.certificates.supersede(kind, PHONE, who[follows], day[follows])
        self.certificates.issue(kind, CARD, who, day, end)
        comes = self._before_or_after(end)
        soon_enough = (end < self._card_ends[who]) & (comes <= self._card_ends[who])
        self._due.renewal[kind][who] = np.where(soon_enough, comes, NEVER)

    # Days

    def _before_or_after(self, end: Any) -> Any:
        """The day of the visit because of an end: before it, or after it for people who forget."""
        forgets = self._rng.random(len(end)) < self._plan.forgets
        late, before = self._some(_LATE, len(end)), self._some(_BEFORE, len(end))
        return np.where(forgets, end + late, end - before).astype(np.int32)

    def _some(self, span: tuple[int, int], count: int) -> Any:
        """Random numbers of days within a span."""
        return self._rng.integers(span[0], span[1], count, dtype=np.int32)
