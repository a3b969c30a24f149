"""The rules of the house that a program can keep."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from card.refusal import _STATUS, Refusal
from card.status_word import _MEANINGS
from tools.error_codes import CODES, REMOTE_ONLY

ROOT = Path(__file__).parent.parent

MAY_IMPORT = {
    "card": set(),
    "world": set(),
    "applets": {"card"},
    "reader_bridge": {"card", "applets"},
    "resident_registry": {"world"},
    "pki": {"world", "resident_registry"},
    "card_management": {"world", "card", "applets", "resident_registry", "pki"},
    "relying_party": {"world", "pki"},
    "refund_points": {"world", "relying_party", "pki"},
    "provision_network": {"world", "relying_party", "resident_registry", "pki"},
    "tracking_lab": {"world", "relying_party", "resident_registry", "pki"},
    "tools": {
        "tracking_lab",
        "card",
        "applets",
        "reader_bridge",
        "world",
        "resident_registry",
        "pki",
        "card_management",
        "relying_party",
        "refund_points",
        "provision_network",
    },
}
PUBLIC = {"pki.profile", "pki.state"}
"""What of `pki` a relying party may know: what everybody can, who has only certificates and documents to go by."""

SECONDS_MODULES = {"time", "random", "secrets"}
"""What only `world` may ask for the time or for chance. The chip is handed its chance; the bridge and the tools tell
how long things take, and wait."""


def modules(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


def imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively"
            found.add((node.module or "").partition(".")[0])
    return found


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_imports_run_downward_only(package: str) -> None:
    assert modules(package)
    for path in modules(package):
        upward = imports(path) & (MAY_IMPORT.keys() | {"tests"}) - MAY_IMPORT[package] - {package}
        assert not upward, f"{path.relative_to(ROOT)} imports {upward}"


@pytest.mark.parametrize("package", ["relying_party", "refund_points", "provision_network"])
def test_a_relying_party_knows_public_facts_only(package: str) -> None:
    for path in modules(package):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("pki"):
                assert node.module in PUBLIC, f"{path.relative_to(ROOT)} imports {node.module}"


def test_every_package_is_installed_and_under_the_rule() -> None:
    packages = {path.parent.name for path in ROOT.glob("*/__init__.py")} - {"tests"}
    assert packages == MAY_IMPORT.keys()
    listed = (ROOT / "setup.cfg").read_text(encoding="utf-8")
    for package in packages:
        assert re.search(rf"^    {package}$", listed, re.MULTILINE), f"setup.cfg does not list {package}"


@pytest.mark.parametrize("package", sorted(MAY_IMPORT.keys() - {"world", "reader_bridge", "tools"}))
def test_time_and_chance_come_through_world(package: str) -> None:
    for path in modules(package):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                names = {alias.name for alias in node.names}
                assert not names & SECONDS_MODULES, f"{path.relative_to(ROOT)} imports {names}"
            if isinstance(node, ast.Attribute) and node.attr in ("now", "today", "utcnow"):
                assert "clock" in ast.unparse(node.value), f"{path.relative_to(ROOT)} asks for the time itself"


def test_modules_stay_readable_at_one_sitting() -> None:
    for package in MAY_IMPORT:
        for path in modules(package):
            assert len(path.read_text(encoding="utf-8").splitlines()) <= 700, path


def test_every_refusal_has_a_status_word() -> None:
    def subclasses(kind: type[Refusal]) -> set[type[Refusal]]:
        direct = set(kind.__subclasses__())
        return direct.union(*(subclasses(found) for found in direct)) if direct else direct

    assert {kind.__name__ for kind in subclasses(Refusal)} - {kind.__name__ for kind in _STATUS} == {"TriesLeft"}


def test_every_error_is_documented() -> None:
    words = (ROOT / "docs" / "errors.md").read_text(encoding="utf-8")
    for code in [code for code, _ in CODES.values()] + list(REMOTE_ONLY):
        assert f"`{code}`" in words, f"docs/errors.md has no line for {code}"
    for status in _MEANINGS:
        assert f"`{status:04X}`" in words, f"docs/errors.md has no line for {status:04X}"


def test_every_statement_about_the_network_has_a_test_or_a_reason() -> None:
    sections = {"A": 14, "B": 16, "C": 5, "D": 14, "E": 10, "F": 8, "H": 7, "I": 12, "J": 9, "K": 5, "MK": 6, "MED": 4,
                "N": 8}  # fmt: skip
    wanted = [f"{name}{number}" for name, count in sections.items() for number in range(1, count + 1)]
    wanted += [f"G{number}" for number in (*range(1, 6), *range(20, 25))] + [f"G19-{item}" for item in range(1, 16)]
    text = (ROOT / "docs" / "network.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| ([A-Z]+[0-9-]+) \| .* \| (.*) \|$", text, re.MULTILINE)
    assert sorted(row for row, _ in rows) == sorted(wanted)
    defined = {name for path in (ROOT / "tests").rglob("*.py")
               for name in re.findall(r"def (test_\w+)", path.read_text(encoding="utf-8"))}  # fmt: skip
    for row, held in rows:
        tests = re.findall(r"`(test_\w+)`", held)
        assert tests or re.match("none: .{20}", held), row
        assert set(tests) <= defined, f"{row} names tests that are not there: {set(tests) - defined}"


def test_nothing_of_the_real_service_is_issued() -> None:
    for path in ROOT.rglob("*.py"):
        if ".venv" in path.parts or "tests" in path.parts:
            continue
        text = path.read_text(encoding="utf-8")
        assert "jpki.go.jp" not in text, path
        assert not re.search(r"organisation: str = \"JPKI(-TEST)?\"", text), path
