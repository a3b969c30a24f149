"""The numbers that bodies have for a person do not tell one another, nor the resident record code.

Two thousand people are known to two towns' tax offices and to the pension service. An attacker holds two of their
numbers, or one and the record code or the individual number, for many people, and looks for a rule between them."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import combinations
from random import Random

import numpy as np
import pytest

from kazashi.assembly.network_offices import PENSION, PENSION_ADDRESSES, PENSION_OFFICE, TAX_OFFICE
from kazashi.provision_network.address_store import ACTOR
from kazashi.provision_network.municipal import AddressSystem
from kazashi.resident_registry.number import Numbering
from kazashi.world.home import open_world
from kazashi.world.settings import Settings

PEOPLE, LEVEL, FITS = 2_000, 0.01, 8
MODULI = (
    *(10**digits for digits in range(3, 11)), *(1 << bits for bits in range(10, 34, 2)),
    1_009, 10_007, 1_000_003, 999_999_937, 1_000_000_007, 9_999_999_967, 10_000_000_019,
)  # fmt: skip
"""Powers of ten and two, and primes near them."""

Pairs = list[tuple[int, int]]


def many(hits: int, trials: int, chance: float) -> float:
    """An upper bound of the probability of at least this number of hits (Bernstein's inequality)."""
    more = hits - trials * chance
    if more <= 0:
        return 1.0
    return math.exp(-(more**2) / (2 * (trials * chance * (1 - chance) + more / 3)))


def affine(pairs: Pairs) -> Iterator[float]:
    """y = a*x + b modulo m, with a and b from two of the people, for the rest of them."""
    chance = Random(1)
    first, second = (np.array(numbers, dtype=object) for numbers in zip(*pairs, strict=True))
    for modulus in MODULI:
        for _ in range(FITS):
            (x, y), (u, v) = chance.sample(pairs, 2)
            if math.gcd((x - u) % modulus, modulus) == 1:
                a = (y - v) * pow(x - u, -1, modulus) % modulus
                hits = int(np.count_nonzero((a * (first - x) + y - second) % modulus == 0)) - 2
                yield many(hits, len(pairs) - 2, 1 / modulus)


def digit_runs(pairs: Pairs) -> Iterator[float]:
    """The numbers of a person share four digits in a row more often than those of different people."""
    runs = [[{f"{number:010d}"[place : place + 4] for place in range(7)} for number in pair] for pair in pairs]
    own = sum(not one.isdisjoint(other) for one, other in runs)
    others = [other for _, other in runs]
    shifted = [sum(not one.isdisjoint(other) for (one, _), other in zip(runs, others[by:] + others[:by], strict=True))
               for by in range(1, 20)]  # fmt: skip
    yield many(own, len(pairs), max(sum(shifted) / len(shifted) / len(pairs), 1e-9))


def order(pairs: Pairs) -> Iterator[float]:
    """The ranks of the numbers correlate, or successive people have near numbers."""
    ranks = np.argsort(np.argsort(np.array(pairs, dtype=float), axis=0), axis=0)
    ours, theirs = (ranks[:, place] - ranks[:, place].mean() for place in (0, 1))
    correlation = float((ours * theirs).sum() / math.sqrt((ours**2).sum() * (theirs**2).sum()))
    yield math.erfc(abs(correlation) * math.sqrt(len(pairs) - 1) / math.sqrt(2))


def exclusive_or(pairs: Pairs) -> Iterator[float]:
    """One mask turns a number into the other, in all bits or in the low ones."""
    for bits in (8, 16, 24, 40):
        (_, most), *_ = Counter((one ^ other) & (1 << bits) - 1 for one, other in pairs).most_common(1)
        yield min(1.0, many(most, len(pairs), 2**-bits) * min(1 << bits, len(pairs)))


def check_digits(pairs: Pairs) -> Iterator[float]:
    """The sum of digits, or the weighted sum of a check digit, is that of the other number."""
    for weights in ((1,) * 10, (2, 3, 4, 5, 6, 7, 2, 3, 4, 5)):
        for modulus in (10, 11):
            sums = [[sum(w * int(d) for w, d in zip(weights, f"{number:010d}"[::-1], strict=False)) % modulus
                     for number in pair] for pair in pairs]  # fmt: skip
            differences = Counter((one - other) % modulus for one, other in sums)
            yield min(1.0, many(max(differences.values()), len(pairs), 1 / modulus) * modulus)
            last = Counter((one - other) % modulus for (one, _), (_, other) in zip(sums, pairs, strict=True))
            yield min(1.0, many(max(last.values()), len(pairs), 1 / modulus) * modulus)


RULES: tuple[Callable[[Pairs], Iterator[float]], ...] = (affine, digit_runs, order, exclusive_or, check_digits)


def found(pairs: Pairs, among: int = 1) -> set[str]:
    """The rules that tell one number from the other better than chance, after Bonferroni's correction for all tries on
    `among` pairs of holders."""
    tried = {rule.__name__: list(rule(pairs)) for rule in RULES}
    tries = sum(map(len, tried.values())) * among
    return {name for name, chances in tried.items() if min(chances) < LEVEL / tries}


@pytest.fixture(scope="module")
def numbers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[int]]:
    """The numbers of all people, by who holds them."""
    world = open_world(tmp_path_factory.mktemp("numbers") / "w", settings=Settings("own numbers"))
    numbering = Numbering(world.seed)
    codes = [numbering.record_code(place) for place in range(PEOPLE)]
    individual = [numbering.individual_number(code, 0) for code in codes]
    held: dict[str, list[int]] = {"record code": list(map(int, codes)), "individual number": list(map(int, individual))}
    for name, body, office, store in (
        ("shibuya", "東京都渋谷区", TAX_OFFICE, ACTOR),
        ("minato", "東京都港区", TAX_OFFICE, ACTOR),
        ("pension", PENSION, PENSION_OFFICE, PENSION_ADDRESSES),
    ):  # fmt: skip
        addresses = AddressSystem(world, body, store)
        admitted = addresses.admit_all(individual)
        held[f"{name}, address"] = list(map(int, admitted))
        held[f"{name}, office"] = list(map(int, addresses.local_numbers(office, admitted)))
    world.close()
    return held


def test_no_number_tells_another(numbers: dict[str, list[int]]) -> None:
    pairs = [names for names in combinations(numbers, 2) if names != ("record code", "individual number")]
    told = {}
    for one, other in pairs:
        told[one, other] = found(list(zip(numbers[one], numbers[other], strict=True)), len(pairs))
    assert {names: rules for names, rules in told.items() if rules} == {}


@pytest.mark.parametrize(("rule", "wanted"), [
    (lambda code: code % 10**9, "affine"), (lambda code: 9 * 10**9 + 7 * code % 10**9, "affine"),
    (lambda code: code ^ 0x2A5A5A5A5, "exclusive_or"), (lambda code: code // 1_000, "order"),
    (lambda code: (code // 10_000 % 10_000) * 100_003, "digit_runs"), (lambda code: code * 3 % 1_000_000_007, "affine"),
])  # fmt: skip
def test_a_computed_number_is_found(numbers: dict[str, list[int]], rule: Callable[[int], int], wanted: str) -> None:
    """The same search on numbers that are computed from the record code, as a careless office might do it."""
    codes = numbers["record code"]
    assert wanted in found([(code, rule(code)) for code in codes])


def test_counted_numbers_of_two_offices_are_found(numbers: dict[str, list[int]]) -> None:
    """Two offices that number the same people in the same order."""
    chance = Random(2)
    counted = [10 * place + chance.randrange(10) for place in range(PEOPLE)]
    assert "order" in found([(number, 7 * number + chance.randrange(7)) for number in counted])
