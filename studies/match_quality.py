"""How good a matching is against the ground truth, and its blocking: X18."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from kazashi.provision_network.matching import Attributes, Matched, MatchRecord, blocks, normal_form
from kazashi.tracking_lab.metrics import Estimate, Share


@dataclass(frozen=True, slots=True)
class LinkQuality:
    """The quality of a matching. Each share has Wilson's interval at 95 %.

    `precision` is the share of the matched records whose person is the right one, and `recall` the share of the records
    of somebody in the registry that are matched to that person. `by_hand` is the share of records on the work list.
    """

    precision: Share
    recall: Share
    by_hand: Share

    @property
    def f1(self) -> Estimate:
        """The harmonic mean of precision and recall. It is 2J / (1 + J) of Jaccard's index J, the share of right pairs
        among all that were matched or should have been; the bounds are those of J's interval."""
        right, missed = self.precision.count, self.recall.total - self.recall.count
        index = Share(right, right + (self.precision.total - right) + missed)
        value, (low, high) = index.value, index.interval
        return Estimate(2 * value / (1 + value), 2 * low / (1 + low), 2 * high / (1 + high))

    def as_dict(self) -> dict[str, Any]:
        """Return the quality for JSON: each measure with its value and the bounds of its interval."""
        shares = {"precision": self.precision, "recall": self.recall, "by_hand": self.by_hand}
        f1 = self.f1
        return {
            **{name: {"count": one.count, "total": one.total, "value": one.value, "low": one.interval[0],
                      "high": one.interval[1]} for name, one in shares.items()},
            "f1": {"value": f1.value, "low": f1.low, "high": f1.high},
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class BlockingQuality:
    """The quality of a blocking: `completeness` is the share of the true pairs that are compared, `reduction` that of
    all pairs that are not compared, and `quality` that of the compared pairs that are true."""

    completeness: Share
    reduction: float
    quality: Share


def quality(matched: Matched, truth: Mapping[str, str | None]) -> LinkQuality:
    """Return the quality of a matching. `truth` has the person of each record, or None."""
    right = sum(truth.get(number) == person for number, person in matched.pairs.items())
    known = sum(person is not None for person in truth.values())
    return LinkQuality(
        Share(right, len(matched.pairs)), Share(right, known), Share(len(truth) - len(matched.pairs), len(truth))
    )


def blocking_quality(
    records: Iterable[MatchRecord], people: Mapping[str, Attributes], truth: Mapping[str, str | None]
) -> BlockingQuality:  # fmt: skip
    """Return the quality of the matcher's blocking."""
    in_block: dict[Any, list[str]] = {}
    for person, attributes in people.items():
        for key in blocks(normal_form(attributes)):
            in_block.setdefault(key, []).append(person)
    compared, found, of = 0, 0, Counter[bool]()
    for record in records:
        candidates = {one for key in blocks(normal_form(record.attributes)) for one in in_block.get(key, ())}
        compared += len(candidates)
        whose = truth[record.number]
        found += whose in candidates
        of[whose is not None] += 1
    every = of.total() * len(people)
    return BlockingQuality(Share(found, of[True]), 1 - compared / every if every else 0.0, Share(found, compared))
