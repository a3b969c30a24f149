"""Checks of the project's own rules on imports, sizes, names and documentation."""

from __future__ import annotations

import ast
import json
import re
import sys
from collections import Counter
from importlib import import_module
from pathlib import Path

import pytest

from kazashi.assembly.error_codes import CODES, REMOTE_ONLY, code_of
from kazashi.card.rejection import CommandRejected, TriesLeft
from kazashi.card.status_word import Status
from kazashi.relying_party.verify.finding import INDETERMINATE, Finding
from kazashi.tools.cli.checkout import floors, folders, imports, modules, rooms
from kazashi.web.ports import PORTS, RANGE
from tests.support import run

pytestmark = pytest.mark.unit

ROOT = Path(__file__).parent.parent

_GROUND = {"world", "web", "jpki"}
_CARD = {"card", "applets"}
_BELOW_THE_ACTORS = _GROUND | {"relying_party", "resident_registry"}
_ACTORS = _BELOW_THE_ACTORS | _CARD | {"reader_bridge", "pki", "card_management", "refund_points", "provision_network",
                                       "medical_insurance", "tracking_lab"}  # fmt: skip
MAY_IMPORT: dict[str, set[str]] = {
    "card": set(),
    "world": set(),
    "jpki": set(),
    "applets": {"card"},
    "resident_registry": {"world"},
    "web": {"world"},
    "reader_bridge": _CARD | {"world"},
    "pki": {"world", "web", "jpki", "resident_registry"},
    "relying_party": _GROUND,
    "card_management": {*_CARD, *_GROUND, "resident_registry", "pki"},
    "refund_points": _GROUND | {"relying_party"},
    "provision_network": _BELOW_THE_ACTORS,
    "medical_insurance": _BELOW_THE_ACTORS | {"card", "provision_network"},
    "tracking_lab": _BELOW_THE_ACTORS | {"pki"},
    "assembly": _ACTORS,
    "studies": _ACTORS | {"assembly"},
    "tools": _ACTORS | {"assembly", "studies"},
    "package": _ACTORS | {"assembly", "studies", "tools"},
}
"""The packages that each package may import from, by docs/architecture.md. `package` is `kazashi` itself."""

LARGEST_SHARE, LONGEST_MODULE, LONGEST_TABLE = 0.12, 500, 600
TABLES = {"kazashi.relying_party.conformance", "kazashi.provision_network.law.uses"}
"""Packages and modules that consist mostly of tables or conformance cases, and may be longer."""

SECONDS_MODULES = {"time", "random", "secrets"}
"""Modules that only `world` may use for the time or for random numbers.

The chip gets its random numbers from its caller. The bridge and the tools measure durations, and wait.
"""

MODULES = dict(modules(ROOT))
PRODUCT = {name: path for name, path in MODULES.items() if name.partition(".")[0] == "kazashi"}


def folder(path: Path) -> str:
    """The folder at the root that a file lies in."""
    return path.relative_to(ROOT).parts[0]


def lines(path: Path) -> int:
    return len(path.read_text(encoding="utf-8").splitlines())


@pytest.mark.parametrize("room", MAY_IMPORT)
def test_imports_run_downward_only(room: str) -> None:
    inside = {name: path for name, path in PRODUCT.items() if folder(path) == room}
    assert inside
    for name, path in inside.items():
        used = {folder(MODULES[target]) for target in imports(path, set(MODULES))}
        assert not used - MAY_IMPORT[room] - {room}, f"{name} imports {used - MAY_IMPORT[room] - {room}}"


def test_the_import_rule_covers_every_package_and_has_no_cycle() -> None:
    assert {folder(path) for path in folders(ROOT).values()} == MAY_IMPORT.keys()
    assert sum(len(floor) for _, floor in floors(rooms(ROOT))) == len(MAY_IMPORT) + len({"benchmarks"})
    order = list(MAY_IMPORT)
    for room, below in MAY_IMPORT.items():
        assert all(order.index(other) < order.index(room) for other in below), room


def test_the_imports_command_prints_the_diagram() -> None:
    done = run(sys.executable, "-m", "kazashi", "imports", "--json")
    floor = {row["name"].removeprefix("kazashi."): row["floor"] for row in json.loads(done)}
    assert floor.keys() == (MAY_IMPORT.keys() - {"package"}) | {"kazashi", "benchmarks"}
    for row in json.loads(done):
        assert all(floor[name.removeprefix("kazashi.")] < row["floor"] for name in row["imports"])
    drawn = run(sys.executable, "-m", "kazashi", "imports")
    for room in (*floor, ".verify", ".login", ".platform", ".mykey", ".pseudonyms", ".conformance", ".cli", ".daemon"):
        assert re.search(rf"^ +{re.escape(room)} +[0-9,]+ lines", drawn, re.MULTILINE), room


def in_cycles(imported: dict[str, set[str]]) -> set[str]:
    """The names that are part of an import cycle, or that lie between two cycles. Empty if there is no cycle."""
    left = dict(imported)
    while free := [name for name, below in left.items() if not below & left.keys()]:
        for name in free:
            del left[name]
    return set(left)


def test_imports_of_modules_and_packages_have_no_cycle() -> None:
    packages = {name if path.stem == "__init__" else name.rpartition(".")[0] for name, path in PRODUCT.items()}
    used = {name: imports(path, set(PRODUCT)) - {name} for name, path in PRODUCT.items()}
    by_package: dict[str, set[str]] = {package: set() for package in packages}
    for name, targets in used.items():
        package = name if name in packages else name.rpartition(".")[0]
        others = {target if target in packages else target.rpartition(".")[0] for target in targets}
        # A package and one inside it count as one: the outer may import the inner, and be imported by it.
        by_package[package] |= {
            other for other in others if not f"{other}.".startswith(f"{package}.")
            and not f"{package}.".startswith(f"{other}.")
        }  # fmt: skip
    assert in_cycles(by_package) == set()
    assert in_cycles(used) == set()


def test_setup_lists_every_package() -> None:
    listed = (ROOT / "setup.cfg").read_text(encoding="utf-8")
    for name, path in PRODUCT.items():
        if path.stem == "__init__":
            assert re.search(rf"^    {name}$", listed, re.MULTILINE), f"setup.cfg does not list {name}"


BARE = {path.name for path in ROOT.iterdir() if (path / "__init__.py").exists()} - {"tests", "benchmarks"}


def test_nothing_is_imported_by_the_name_of_its_folder() -> None:
    """In the checkout `import card` also works, but loads every module a second time."""
    named = re.compile(rf"^\s*(?:from|import) (?:{'|'.join(sorted(BARE))})\b", re.MULTILINE)
    for path in [*(ROOT / name for name in ("README.md", "CHANGELOG.md")), *ROOT.glob("docs/**/*.md"),
                 *ROOT.glob("examples/**/*"), *MODULES.values()]:  # fmt: skip
        if path.is_file():
            match = named.search(path.read_text(encoding="utf-8"))
            assert match is None, f"{path}: {match and match.group()}"
    for path in MODULES.values():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module"):
                names = [str(value.value) for value in node.args[:1] if isinstance(value, ast.Constant)]
            assert not {name.partition(".")[0] for name in names} & BARE, path


def test_no_package_is_too_large() -> None:
    sizes: Counter[str] = Counter()
    for name, path in PRODUCT.items():
        sizes[name if path.stem == "__init__" else name.rpartition(".")[0]] += lines(path)
    total = sum(sizes.values())
    assert {name: size for name, size in sizes.items() if size > LARGEST_SHARE * total} == {}


@pytest.mark.parametrize("room", sorted(MAY_IMPORT.keys() - {"world", "reader_bridge", "tools", "assembly", "studies"}))
def test_time_and_random_numbers_come_from_world(room: str) -> None:
    for path in (path for path in PRODUCT.values() if folder(path) == room):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                names = {alias.name for alias in node.names}
                assert not names & SECONDS_MODULES, f"{path.relative_to(ROOT)} imports {names}"
            if isinstance(node, ast.Attribute) and node.attr in ("now", "today", "utcnow"):
                assert "clock" in ast.unparse(node.value), f"{path.relative_to(ROOT)} reads the time itself"


def test_modules_stay_within_the_size_limit() -> None:
    for name, path in MODULES.items():
        table = name.startswith("tests.") or name in TABLES or name.rpartition(".")[0] in TABLES
        assert lines(path) <= (LONGEST_TABLE if table else LONGEST_MODULE), path


def test_every_command_rejection_has_a_status_word() -> None:
    def subclasses(kind: type[CommandRejected]) -> set[type[CommandRejected]]:
        direct = set(kind.__subclasses__())
        return direct.union(*(subclasses(one) for one in direct)) if direct else direct

    for kind in subclasses(CommandRejected) - {TriesLeft}:
        assert isinstance(kind.status, Status), kind


def test_no_user_text_comes_from_names_or_docstrings_in_code() -> None:
    """A new name or docstring must not change what users see, and neither must `python -OO`."""
    for name, path in PRODUCT.items():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Attribute):
                assert node.attr not in ("__name__", "__doc__", "__subclasses__", "getdoc", "__qualname__"), name
            if isinstance(node, ast.Name):
                assert node.id != "__doc__", name


def test_no_class_name_is_used_twice() -> None:
    """Names of one module (`_Private`) count only within it."""
    places: dict[str, list[str]] = {}
    for name, path in MODULES.items():
        if not name.startswith("tests."):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                    places.setdefault(node.name, []).append(name)
    assert {name: found for name, found in places.items() if len(found) > 1} == {}


def test_every_error_code_belongs_to_an_exception() -> None:
    for row in CODES:
        exception = getattr(import_module(row.module), row.exception)
        assert issubclass(exception, Exception)
        assert code_of(exception.__new__(exception)) == row.code


def test_every_error_is_documented() -> None:
    text = (ROOT / "docs" / "errors.md").read_text(encoding="utf-8")
    for code in [row.code for row in CODES] + list(REMOTE_ONLY):
        assert f"`{code}`" in text, f"docs/errors.md has no line for {code}"
    for status in Status:
        assert f"`{status}`" in text, f"docs/errors.md has no line for {status}"


def test_every_finding_is_documented_with_an_example() -> None:
    """Each has a row with its meaning, an example, and what to do, in the table of its outcome."""
    text = (ROOT / "docs" / "errors.md").read_text(encoding="utf-8")
    section = text.partition("## Findings\n")[2].partition("\n## ")[0]
    bad, _, _ = section.partition("| `not-covered`")
    rows = re.findall(r"^\| `([a-z-]+)` \| [^|]+ \| `[^|]+` \| [^|]+ \|$", section, re.MULTILINE)
    assert sorted(rows) == sorted(Finding)
    for finding in Finding:
        assert (f"| `{finding}` |" in bad) is (finding not in INDETERMINATE), finding


def test_every_statement_about_the_network_has_a_test_or_a_reason() -> None:
    sections = {"A": 14, "B": 16, "C": 5, "D": 14, "E": 10, "F": 8, "H": 7, "I": 12, "J": 9, "K": 5, "MK": 6, "MED": 4,
                "N": 8}  # fmt: skip
    wanted = [f"{name}{number}" for name, count in sections.items() for number in range(1, count + 1)]
    wanted += ["P1", "P2", "P3", "P4", "P5", "R4", "R7", "X17", "X18", "X19"]
    wanted += [f"G{number}" for number in (*range(1, 6), *range(20, 25))] + [f"G19-{item}" for item in range(1, 16)]
    text = (ROOT / "docs" / "network.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| ([A-Z]+[0-9-]+) \| .* \| (.*) \|$", text, re.MULTILINE)
    assert sorted(row for row, _ in rows) == sorted(wanted)
    defined = {name for path in (ROOT / "tests").rglob("*.py")
               for name in re.findall(r"def (test_\w+)", path.read_text(encoding="utf-8"))}  # fmt: skip
    for row, evidence in rows:
        tests = re.findall(r"`(test_\w+)`", evidence)
        assert tests or re.match("none: .{20}", evidence), row
        assert set(tests) <= defined, f"{row} names tests that do not exist: {set(tests) - defined}"


def test_no_name_of_the_real_service_is_used() -> None:
    for path in ROOT.rglob("*.py"):
        if ".venv" in path.parts or "tests" in path.parts:
            continue
        text = path.read_text(encoding="utf-8")
        assert "jpki.go.jp" not in text, path
        assert not re.search(r"organisation: str = \"JPKI(-TEST)?\"", text), path


def test_ports_are_defined_in_one_table() -> None:
    """The table is in `web/ports.py`. Setting the first port moves them all."""
    literal = re.compile(r"\b18[67]\d\d\b")
    users = [name for name, path in PRODUCT.items() if literal.search(path.read_text(encoding="utf-8"))]
    assert users == ["kazashi.web.ports"]
    assert len({port.place for port in PORTS}) == len(PORTS)
    assert all(port.number in RANGE for port in PORTS)
