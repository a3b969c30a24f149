"""Cards, phones and the certificates on them, as people's lives go on: whole columns at a time.

What an event does to certificates, how long they last and when they can be renewed are the authorities' own rules
(`pki/consequence.py`, `jpki/profile.py`, `pki/validity.py`). A test lets a small population live through the services
themselves, day by day, and finds the same certificates and the same uses.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import numpy as np
import polars as pl

from kazashi.jpki.profile import EMULATED, Kind
from kazashi.pki.consequence import TABLE
from kazashi.pki.validity import ADULT_AGE, SIGNATURE_AGE
from kazashi.resident_registry.event import CardReturn, Death, Event, MoveIn, MoveWithin, NameChange, Theft
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
from kazashi.tracking_lab.plan import BEGINS, Plan
from kazashi.world.chance import stream

SIGNATURES = 1 << 40
"""What is added to the serial numbers of the signature authority's, which counts for itself."""


class EndReason(IntEnum):
    """What ends a certificate, by the number under which it is stored."""

    NONE = 0
    """It has not ended within the plan."""
    SUPERSEDED = 1
    EXPIRED = 2
    MOVE_WITHIN = 3
    MOVE_IN = 4
    NAME_CHANGE = 5
    THEFT = 6
    DEATH = 7
    RETURN = 8


_ENDS: Mapping[type[Event], EndReason] = {
    MoveWithin: EndReason.MOVE_WITHIN,
    MoveIn: EndReason.MOVE_IN,
    NameChange: EndReason.NAME_CHANGE,
    Theft: EndReason.THEFT,
    Death: EndReason.DEATH,
    CardReturn: EndReason.RETURN,
}

CARD, PHONE = 0, 1
_SLOTS = tuple((kind, medium) for kind in Kind for medium in (CARD, PHONE))
_AUTHENTICATION, _SIGNATURE = (
    {medium: _SLOTS.index((kind, medium)) for medium in (CARD, PHONE)} for kind in (Kind.AUTHENTICATION, Kind.SIGNATURE)
)

_ANEW = (7, 45)
"""Days after which what died early is made anew, at least and at most (invented)."""

_BEFORE = (1, 84)
"""Days before its end on which a certificate or a card is renewed: within the three months (invented)."""

_LATE, _TO_PHONE, _FIRST_PHONE = (1, 200), (1, 60), (1, 365)
"""Days after its end for whoever forgets; after which a phone follows its card; before it does so first (invented)."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """Some people's lives. `people` has a row to a person, `events` one to whatever befell them, in order, and
    `certificates` one to a certificate, without its number."""

    people: pl.DataFrame
    events: pl.DataFrame
    certificates: pl.DataFrame


def live(plan: Plan, chunk: int) -> Chunk:
    """The lives of the people of a chunk, from the plan's first day to its last."""
    first = chunk * CHUNK
    count = min(CHUNK, plan.residents - first)
    rng = np.random.default_rng(stream(plan.seed, "tracking", "lives", str(chunk)).getrandbits(128))
    found = people(plan, first, count, rng)
    desk = _Desk(plan, found, rng)
    desk.run()
    return Chunk(found.frame, desk.events(first), desk.certificates(first))


class _Desk:
    """The desk at which cards are issued and renewed, for all people at once. In each round everybody goes on to what
    comes next for them: what the registry is told, a new card, a renewal, or the phone."""

    def __init__(self, plan: Plan, who: People, rng: np.random.Generator) -> None:
        self._plan, self._people, self._rng = plan, who, rng
        count = len(who.birthdays)
        never = np.full(count, NEVER, np.int32)
        self._next_happening = np.zeros(count, np.int32)
        self._card_ends = np.full(count, -1, np.int32)
        self._order = rng.integers(0, plan.first_days, count, dtype=np.int32)
        self._visit = {kind: never.copy() for kind in Kind}
        self._to_phone = never.copy()
        self._has_phone = rng.random(count) < plan.phones
        self._phoned = np.zeros(count, bool)
        self._chain = np.zeros((2, count), np.uint16)
        shape = (len(_SLOTS), count)
        self._begins, self._ends = np.full(shape, NEVER, np.int32), np.full(shape, -1, np.int32)
        self._good, self._generation = np.zeros(shape, bool), np.zeros(shape, np.uint8)
        self._rows: list[pl.DataFrame] = []
        self._told: list[pl.DataFrame] = []
        self._round = 0

    def run(self) -> None:
        """Until the plan's last day."""
        happenings = self._people.happenings
        felt = happenings.day + np.isin(happenings.word, list(ON_PAPER))
        felt = np.where(happenings.day == NEVER, NEVER, felt)
        felt = np.hstack([felt, np.full((len(felt), 1), NEVER, felt.dtype)])
        who = np.arange(len(felt))
        while len(who):
            own = felt[who, self._next_happening[who]]
            visit = np.minimum.reduce([self._visit[kind][who] for kind in Kind])
            coming = np.stack([own, self._order[who], visit, self._to_phone[who]])
            what, day = coming.argmin(axis=0), coming.min(axis=0)
            goes_on = day < self._plan.days
            who, what, day = who[goes_on], what[goes_on], day[goes_on].astype(np.int32)
            for number, step in enumerate((self._befalls, self._new_card, self._renewal, self._phone)):
                mine = what == number
                if mine.any():
                    step(who[mine], day[mine])
            self._round += 1
        everybody = np.arange(len(felt))
        for slot in range(len(_SLOTS)):
            self._close(slot, everybody, np.full(len(everybody), NEVER, np.int32), EndReason.NONE)

    def events(self, first: int) -> pl.DataFrame:
        """Everything that befell people, in the order in which it did; of what the registry was told also town, street
        and family name afterwards."""
        schema: dict[Any, Any] = {"person": pl.UInt32, "day": pl.Int32, "round": pl.Int32, "word": pl.UInt8,
                                  "town": pl.UInt16, "street": pl.UInt16, "family": pl.UInt16}  # fmt: skip
        found = (pl.concat(self._told) if self._told else pl.DataFrame(schema=schema)).cast(schema)
        told = pl.when(pl.col("word").is_in(list(AT_THE_REGISTRY))).then(pl.col("town", "street", "family"))
        return found.with_columns(pl.col("person") + first, told).sort("person", "round")

    def certificates(self, first: int) -> pl.DataFrame:
        """All certificates: `begins` is a certificate's first day, `ends` its last by what stands in it, `ended` the
        first day on which it is not good any more (NEVER where that is not seen yet)."""
        schema: dict[Any, Any] = {"person": pl.UInt32, "kind": pl.Boolean, "medium": pl.UInt8, "chain": pl.UInt16,
                  "generation": pl.UInt8, "begins": pl.Int32, "ends": pl.Int32, "ended": pl.Int32,
                  "reason": pl.UInt8}  # fmt: skip
        found = pl.concat(self._rows) if self._rows else pl.DataFrame(schema=schema)
        found = found.cast(schema).with_columns(pl.col("person") + first)
        return found.sort("person", "kind", "medium", "generation")

    # What comes next

    def _befalls(self, who: Any, day: Any) -> None:
        told, place = self._people.happenings, self._next_happening[who]
        word = told.word[who, place]
        self._next_happening[who] += 1
        for number, event in AT_THE_REGISTRY.items():
            mine = word == number
            if event is Theft:  # of whoever has a card
                mine &= self._card_ends[who] >= day
            if not mine.any():
                continue
            whom, when, at = who[mine], day[mine], place[mine]
            self._tell(whom, told.day[whom, at], number, town=told.town[whom, at], street=told.street[whom, at],
                       family=told.family[whom, at])  # fmt: skip
            lost = self._good[_SIGNATURE[CARD]][whom] & (self._ends[_SIGNATURE[CARD]][whom] >= when)
            self._revoke(whom, when, event)
            if event is Death:
                for due in (self._order, self._to_phone, *self._visit.values()):
                    due[whom] = NEVER
                self._next_happening[whom] = told.word.shape[1]
            elif event is Theft:
                self._card_ends[whom] = -1
                self._order[whom] = when + self._some(_ANEW, len(whom))
                for due in (self._to_phone, *self._visit.values()):
                    due[whom] = NEVER
            else:
                again = (when + self._some(_ANEW, len(whom)))[lost]
                within = again <= self._card_ends[whom[lost]]
                self._visit[Kind.SIGNATURE][whom[lost]] = np.where(within, again, NEVER)

    def _new_card(self, who: Any, day: Any) -> None:
        """A card, the first, after a loss, or when the old one ends: that is handed back."""
        back = self._card_ends[who] >= day
        if back.any():
            self._tell(who[back], day[back], LifeEvent.RETURN)
            self._revoke(who[back], day[back], CardReturn)
        for slot in range(len(_SLOTS)):  # what is left then ended with the old card
            self._close(slot, who, day, EndReason.EXPIRED)
        self._tell(who, day, LifeEvent.ISSUE)
        nth = np.where(self._people.age(who, day) >= ADULT_AGE, 10, EMULATED.term.birthdays)
        self._card_ends[who] = nth_birthday_after(self._people.birthdays[who], day, nth)
        anew = self._begins[_AUTHENTICATION[CARD]][who] != NEVER
        self._chain[:, who[anew]] += 1
        for kind in Kind:
            self._visit[kind][who] = NEVER
            self._certify(kind, who, day, renews=False)
        self._order[who] = self._before_or_after(self._card_ends[who])
        phone = self._has_phone[who]
        span = np.where(self._phoned[who], self._some(_TO_PHONE, len(who)), self._some(_FIRST_PHONE, len(who)))
        self._to_phone[who] = np.where(phone, day + span, NEVER)

    def _renewal(self, who: Any, day: Any) -> None:
        """New certificates on the same card, for those that have died, ended, or end within three months."""
        self._tell(who, day, LifeEvent.RENEWAL)
        for kind in Kind:
            slot = _SLOTS.index((kind, CARD))
            wanted = ~self._good[slot][who] | (renewal_opens(self._ends[slot][who]) <= day)
            # What was due and is not wanted comes about otherwise.
            self._visit[kind][who] = np.where(wanted | (self._visit[kind][who] <= day), NEVER, self._visit[kind][who])
            self._certify(kind, who[wanted], day[wanted], renews=True)
        self._to_phone[who] = np.where(self._has_phone[who], day + self._some(_TO_PHONE, len(who)), NEVER)

    def _phone(self, who: Any, day: Any) -> None:
        """Certificates on a phone, made with the card's and lasting as long; only while both of the card's are good."""
        self._to_phone[who] = NEVER
        able = np.ones(len(who), bool)
        for kind in Kind:
            card = _SLOTS.index((kind, CARD))
            able &= self._good[card][who] & (self._ends[card][who] >= day)
        who, day = who[able], day[able]
        self._tell(who, day, LifeEvent.PHONE)
        self._phoned[who] = True
        for kind in Kind:
            card, phone = _SLOTS.index((kind, CARD)), _SLOTS.index((kind, PHONE))
            wanted = ~self._good[phone][who] | (self._ends[phone][who] < day)
            self._begin(phone, who[wanted], day[wanted], self._ends[card][who[wanted]])

    # Certificates

    def _certify(self, kind: Kind, who: Any, day: Any, *, renews: bool) -> None:
        """A card's certificate of a kind, for those old enough, and when it will be renewed."""
        if kind is Kind.SIGNATURE:
            old_enough = self._people.age(who, day) >= SIGNATURE_AGE
            who, day = who[old_enough], day[old_enough]
        if not len(who):
            return
        slot, phone = _SLOTS.index((kind, CARD)), _SLOTS.index((kind, PHONE))
        former = self._ends[slot][who]
        # Within the last three months the birthdays are counted from the former end, so that nobody loses by it.
        early = (renewal_opens(former) <= day) & (day <= former) & renews & (former >= 0)
        counted = np.where(early, former, day)
        end = nth_birthday_after(self._people.birthdays[who], counted, EMULATED.term.birthdays)
        end = np.minimum(end, self._card_ends[who])
        if renews:  # a phone's certificate follows the card's that it was made with
            follows = self._begins[slot][who] != NEVER
            self._close(phone, who[follows], day[follows], EndReason.SUPERSEDED)
        self._begin(slot, who, day, end)
        self._visit[kind][who] = np.where(end < self._card_ends[who], self._before_or_after(end), NEVER)
        late = self._visit[kind][who] > self._card_ends[who]
        self._visit[kind][who[late]] = NEVER

    def _begin(self, slot: int, who: Any, day: Any, end: Any) -> None:
        self._close(slot, who, day, EndReason.SUPERSEDED)
        self._begins[slot][who], self._ends[slot][who], self._good[slot][who] = day, end, True

    def _revoke(self, who: Any, day: Any, event: type[Event]) -> None:
        for slot, (kind, _) in enumerate(_SLOTS):
            if TABLE[event].of(kind) is not None:
                self._close(slot, who, day, _ENDS[event])

    def _close(self, slot: int, who: Any, day: Any, reason: EndReason) -> None:
        """What is good on a slot ends on a day, unless its own end came first."""
        who, day = who[self._good[slot][who]], day[self._good[slot][who]]
        if not len(who):
            return
        kind, medium = _SLOTS[slot]
        end = self._ends[slot][who]
        expired = end < np.minimum(day, self._plan.days)
        self._rows.append(pl.DataFrame({
            "person": who.astype(np.uint32), "kind": np.full(len(who), kind is Kind.SIGNATURE),
            "medium": np.full(len(who), medium, np.uint8), "chain": self._chain[medium][who].copy(),
            "generation": self._generation[slot][who].copy(), "begins": self._begins[slot][who].copy(), "ends": end,
            "ended": np.where(expired, end + 1, day).astype(np.int32),
            "reason": np.where(expired, EndReason.EXPIRED, reason).astype(np.uint8),
        }))  # fmt: skip
        self._good[slot][who] = False
        self._generation[slot][who] += 1

    # Days

    def _before_or_after(self, end: Any) -> Any:
        """The day on which people come because something ends: before it does, or later where they forget."""
        forgets = self._rng.random(len(end)) < self._plan.forgets
        return np.where(forgets, end + self._some(_LATE, len(end)), end - self._some(_BEFORE, len(end))).astype(
            np.int32
        )

    def _some(self, span: tuple[int, int], count: int) -> Any:
        return self._rng.integers(span[0], span[1], count, dtype=np.int32)

    def _tell(self, who: Any, day: Any, number: LifeEvent, **after: Any) -> None:
        columns = {name: after.get(name, np.zeros(len(who), np.uint16)) for name in ("town", "street", "family")}
        rounds = np.full(len(who), 2 * self._round + (number is LifeEvent.ISSUE), np.int32)
        self._told.append(pl.DataFrame({
            "person": who.astype(np.uint32), "day": day.astype(np.int32), "round": rounds,
            "word": np.full(len(who), number, np.uint8), **columns,
        }))  # fmt: skip


def renewal_opens(last: Any) -> Any:
    """The first day on which what ends on a day can be renewed, as `kazashi.pki.validity.renewal_opens` says it."""
    days = np.datetime64(BEGINS) + last.astype("timedelta64[D]")
    months = days.astype("datetime64[M]")
    opens = months - EMULATED.term.renewal_months
    most = ((opens + 1).astype("datetime64[D]") - opens.astype("datetime64[D]")).astype(np.int32) - 1
    of_month = np.minimum((days - months.astype("datetime64[D]")).astype(np.int32), most)
    return (opens.astype("datetime64[D]") + of_month.astype("timedelta64[D]") - np.datetime64(BEGINS)).astype(np.int32)


def numbered(certificates: pl.DataFrame, before: Any) -> pl.DataFrame:
    """A chunk's certificates with their serial numbers: each authority counts without a gap, in the order of issue.
    `before` says by kind and day how many others were issued earlier. `shown` is what tells a certificate from all
    others, of either authority."""
    found = certificates.sort("begins", "person", "medium", "generation")
    place = pl.int_range(1, pl.len() + 1, dtype=pl.Int64).over("kind", "begins")
    earlier = before[found["kind"].to_numpy().astype(np.int8), found["begins"].to_numpy()]
    found = found.with_columns(serial=(place + pl.Series(earlier, dtype=pl.Int64)))
    return found.with_columns(shown=pl.col("serial") + pl.col("kind").cast(pl.Int64) * SIGNATURES)
