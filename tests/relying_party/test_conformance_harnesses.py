"""The two programs of examples/conformance/, which run the pack on libraries that are not ours."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from kazashi.relying_party.conformance.pack import ConformancePack
from kazashi.world.key_source import SharedKeySource, generate
from tests.polling import LIMIT

pytestmark = [pytest.mark.long, pytest.mark.filterwarnings("ignore:Parsed a serial number which wasn't positive")]

EXAMPLES = Path(__file__).parents[2] / "examples" / "conformance"
PYHANKO = [sys.executable, str(EXAMPLES / "pyhanko" / "check.py")]

Report = dict[str, Any]


@pytest.fixture(scope="module")
def pack(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("pack")
    ConformancePack(SharedKeySource([generate() for _ in range(7)])).export(directory)
    return directory


@pytest.fixture(scope="module")
def go(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The compiled Go program. Without Go's build cache the compiler takes 20 seconds of processor time."""
    program = tmp_path_factory.mktemp("go") / "conformance"
    environment = {**os.environ, "GOFLAGS": "-buildvcs=false"}
    done = subprocess.run(
        ["go", "build", "-o", str(program), "."], cwd=EXAMPLES / "go", env=environment, capture_output=True, text=True,
        check=False, timeout=LIMIT,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return [str(program)]


def reported(command: list[str], pack: Path, option: str, expect: int) -> Report:
    done = subprocess.run([*command, option, str(pack)], capture_output=True, text=True, check=False, timeout=LIMIT)
    assert done.returncode == expect, done.stderr
    report: Report = json.loads(done.stdout)
    assert report["passed"] is (expect == 0)
    assert report["pack_version"] == json.loads((pack / "cases.json").read_text(encoding="utf-8"))["version"]
    assert report["areas_not_run"].keys() == {"login", "document"}
    return report


def differing(report: Report, pack: Path) -> tuple[set[str], set[str]]:
    """The good cases that a library refuses, and the other cases that it accepts. Every case of its areas was run."""
    wanted = {case["id"]: case for case in json.loads((pack / "cases.json").read_text(encoding="utf-8"))["cases"]
              if case["id"].partition("/")[0] in ("certificate", "attributes", "revocation")}  # fmt: skip
    rows = {row["id"]: row for row in report["cases"]}
    assert rows.keys() == wanted.keys()
    for identifier, row in rows.items():
        assert row["agrees"] is (row["accepted"] is (wanted[identifier]["outcome"] == "good")), identifier
    refused = {identifier for identifier, row in rows.items() if row["outcome"] == "good" and not row["accepted"]}
    accepted = {identifier for identifier, row in rows.items() if row["outcome"] != "good" and row["accepted"]}
    assert not {wanted[identifier]["required_by"] for identifier in accepted} & {None, "path-validation"}
    return refused, accepted


def test_go_refuses_no_good_case(go: list[str], pack: Path) -> None:
    refused, accepted = differing(reported(go, pack, "-json", expect=0), pack)
    assert refused == set()
    assert {"revocation/ocsp-of-a-holder", "revocation/a-delta-list", "certificate/no-policy"} <= accepted


def test_pyhanko_certvalidator_refuses_one_good_case(pack: Path) -> None:
    """A response that says revoked, as of an earlier time: the library does not use it. A version that does exits 0."""
    refused, accepted = differing(reported(PYHANKO, pack, "--json", expect=1), pack)
    assert refused == {"revocation/ocsp-was-good-before-it-was-revoked"}
    assert {"revocation/ocsp-knows-before-the-list", "certificate/no-policy"} <= accepted


def test_the_documentation_has_these_results(go: list[str], pack: Path) -> None:
    text = (EXAMPLES.parents[1] / "docs" / "conformance-pack.md").read_text(encoding="utf-8")
    columns = [reported(go, pack, "-json", expect=0)["cases"], reported(PYHANKO, pack, "--json", expect=1)["cases"]]
    for group in ("path-validation", "revocation-checking", "profile", ""):
        of_group = [[row["agrees"] for row in rows if (row.get("required_by") or "") == group] for rows in columns]
        cells = " | ".join(f"{sum(agrees)} of {len(agrees)}" for agrees in of_group)
        assert f"| {f'`{group}`' if group else 'good cases'} | {cells} |" in text
    left = [{(row["finding"], row["profile_rule"]) for row in rows
             if not row["agrees"] and row.get("profile_rule")} for rows in columns]  # fmt: skip
    rows = re.findall(r"^\| `(off-profile)`, `([a-z-]+)`[^|]* \| (x?) ?\| (x?) ?\|$", text, re.MULTILINE)
    for column, differs in enumerate(left):
        assert {(row[0], row[1]) for row in rows if row[2 + column]} == differs


@pytest.mark.parametrize("harness", ["go", "pyhanko"])
def test_the_table_groups_what_differs_by_rule(request: pytest.FixtureRequest, harness: str, pack: Path) -> None:
    command = PYHANKO if harness == "pyhanko" else request.getfixturevalue("go")
    done = subprocess.run([*command, str(pack)], capture_output=True, text=True, check=False, timeout=LIMIT)
    lines = done.stdout.splitlines()
    assert "agrees   good           certificate/good-authentication" in lines
    assert "differs  bad            certificate/no-policy" in lines
    group = lines.index("left to the caller: the profile, off-profile, rule certificate-policies")
    assert lines[group + 1].startswith("  certificate/no-policy: The certificate policy ")
    assert any(line.startswith("not run: document: ") for line in lines)


@pytest.mark.parametrize("harness", ["go", "pyhanko"])
def test_a_directory_without_a_pack_is_refused(request: pytest.FixtureRequest, harness: str, tmp_path: Path) -> None:
    command = PYHANKO if harness == "pyhanko" else request.getfixturevalue("go")
    done = subprocess.run([*command, str(tmp_path)], capture_output=True, text=True, check=False, timeout=LIMIT)
    assert done.returncode == 2
    assert "cases.json" in done.stderr
