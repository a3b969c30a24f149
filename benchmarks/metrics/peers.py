"""Calls the other programs, in an environment that has them and not Kazashi: a request on stdin, the answers on stdout,
both JSON. Each key of the request is a function in FUNCTIONS, and its value the parameter."""

from __future__ import annotations

import json
import sys
import warnings
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import numpy as np
import pandas as pd
import recordlinkage
from anonymeter.evaluators import LinkabilityEvaluator
from anonymeter.stats.confidence import EvaluationResults
from recordlinkage.datasets import load_febrl4
from sklearn.metrics import adjusted_rand_score, mutual_info_score, roc_auc_score
from sklearn.metrics.cluster import contingency_matrix
from statsmodels.stats.proportion import proportion_confint

_PROGRAMS = ("anonymeter", "recordlinkage", "scikit-learn", "statsmodels")


def _versions(_: None) -> dict[str, str]:
    return {name: version(name) for name in _PROGRAMS}


def _wilson(cases: list[list[int]]) -> list[list[float]]:
    """The bounds of Wilson's interval at 95 % for each count and total."""
    return [[float(bound) for bound in proportion_confint(count, total, 0.05, "wilson")] for count, total in cases]


def _area(cases: list[dict[str, list[float]]]) -> list[float]:
    """The area under the curve for scores of the same person and of different persons."""
    return [
        float(roc_auc_score([1] * len(case["same"]) + [0] * len(case["different"]), case["same"] + case["different"]))
        for case in cases
    ]


def _clusters(cases: list[dict[str, list[int]]]) -> list[dict[str, float]]:
    """B-cubed precision and recall from the contingency matrix, the adjusted Rand index, and the variation of
    information in bits."""
    found = []
    for case in cases:
        persons, clusters = case["persons"], case["clusters"]
        both = contingency_matrix(persons, clusters).astype(float)
        information = mutual_info_score(persons, persons) + mutual_info_score(clusters, clusters)
        found.append({
            "precision": float((both**2 / both.sum(axis=0)).sum() / both.sum()),
            "recall": float((both**2 / both.sum(axis=1)[:, None]).sum() / both.sum()),
            "rand": float(adjusted_rand_score(persons, clusters)),
            "information": float((information - 2 * mutual_info_score(persons, clusters)) / np.log(2)),
        })  # fmt: skip
    return found


def _risk(cases: list[list[int]]) -> list[list[float]]:
    """The risk and its interval, for attacks, successful ones, and successful ones on the control."""
    return [_of(EvaluationResults(attacks, right, 0, control)) for attacks, right, control in cases]


def _linkability(case: dict[str, Any]) -> list[float]:
    """The risk and its interval of the linkability attack. Each record of `targets` is attacked by two sets of columns
    through the released records, and so are those of `control`, who are not among the released."""
    released, targets, control = (pd.DataFrame(case[name]) for name in ("released", "targets", "control"))
    evaluator = LinkabilityEvaluator(
        ori=targets, syn=released, control=control, aux_cols=tuple(case["columns"]),
        n_attacks=min(len(targets), len(control)), n_neighbors=1,
    )  # fmt: skip
    evaluator.evaluate(n_jobs=1)
    risk = evaluator.risk()
    return [risk.value, *risk.ci]


def _febrl(_: None) -> dict[str, Any]:
    """FEBRL's fourth data set, and the links by the example of recordlinkage's documentation ("Link two datasets"): at
    least four of six columns agree, among records with the same given name."""
    one, other, links = load_febrl4(return_links=True)
    index = recordlinkage.Index()
    index.block("given_name")
    compare = recordlinkage.Compare()
    compare.exact("given_name", "given_name")
    compare.string("surname", "surname", method="jarowinkler", threshold=0.85)
    for name in ("date_of_birth", "suburb", "state"):
        compare.exact(name, name)
    compare.string("address_1", "address_1", threshold=0.85)
    agreeing = compare.compute(index.index(one, other), one, other)
    found = agreeing[agreeing.sum(axis=1) > 3].index
    tables = [json.loads(table.reset_index().to_json(orient="records")) for table in (one, other)]
    precision, recall = recordlinkage.precision(links, found), recordlinkage.recall(links, found)
    return {"tables": tables, "links": len(links), "found": len(found), "precision": precision, "recall": recall}


def _of(results: EvaluationResults) -> list[float]:
    risk = results.risk()
    return [float(risk.value), float(risk.ci[0]), float(risk.ci[1])]


FUNCTIONS: dict[str, Callable[[Any], Any]] = {
    "versions": _versions, "wilson": _wilson, "area": _area, "clusters": _clusters, "risk": _risk,
    "linkability": _linkability, "febrl": _febrl,
}  # fmt: skip


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    np.random.seed(1)  # anonymeter draws its targets from the global generator
    json.dump({name: FUNCTIONS[name](parameter) for name, parameter in json.load(sys.stdin).items()}, sys.stdout)
