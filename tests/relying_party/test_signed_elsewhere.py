"""Documents that other programs signed, judged with the command. signed_elsewhere/README.md describes them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.cli.program import InProcessProgram

HERE = Path(__file__).parent / "signed_elsewhere"


def verdict(directory: Path, name: str, roots: str, at: str) -> dict[str, Any]:
    done = InProcessProgram(directory / "none").run(
        "verify", "document", str(HERE / name), "--roots", str(HERE / roots), "--lists", str(HERE / "lists"),
        "--at-time", at, "--json", expect=None,
    )  # fmt: skip
    result: dict[str, Any] = json.loads(done.stdout)
    assert done.returncode == (0 if result["outcome"] == "good" else 1)
    return result


@pytest.mark.parametrize(
    "name",
    [
        "contract-signed.pdf", "b-doctimestamp.pdf", "keyid.p7m", "chain.xml", "j-defns-incl-nopfx.xml",
        "j-nons-incl-nopfx.xml", "x-pi-exc.xml",
    ],
)  # fmt: skip
def test_an_honest_document_is_good(tmp_path: Path, name: str) -> None:
    result = verdict(tmp_path, name, "roots", "2026-11-29T10:30+09:00")
    assert (result["outcome"], result["finding"]) == ("good", None), result["detail"]
    assert result["certificate"]["serial"] == "70000003"
    assert result["policy"]["clock_tolerance_seconds"] == 300
    assert ["form.xsl" in note for note in result["notes"] if "style" in note] == [True] * (name == "x-pi-exc.xml")


@pytest.mark.parametrize("name", ["pades-lta.pdf", "k-utf16.xml"])
def test_an_honest_document_without_revocation_information_is_indeterminate(tmp_path: Path, name: str) -> None:
    result = verdict(tmp_path, name, "other-roots", "2026-11-30T12:00+09:00")
    assert (result["outcome"], result["finding"]) == ("indeterminate", "no-information"), result["detail"]
    assert result["certificate"]["serial"] == "7000000B"
