"""docs/security.md names tests that exist, limits as they are, and every comparison of secrets."""

from __future__ import annotations

import ast
import importlib
import re
from pathlib import Path

import pytest

from kazashi.tools.cli.checkout import checkout, folders

pytestmark = pytest.mark.unit

ROOT = checkout()
PAGE = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")
PROTOCOL = "tests/relying_party/test_provider_protocol.py"
SECRET = re.compile(r"(^|_)(pin|secret|token|password|cookie|session|ticket)$")
"""The last part of a name that may stand for a secret value."""


def test_every_named_test_exists() -> None:
    named = re.findall(r"`((?:tests/[\w/]+\.py)?(?:::)?test_\w+|tests/[\w/]+\.py)`", PAGE)
    assert len(named) > 40
    for name in named:
        file, _, function = name.partition("::")
        if not name.startswith("tests/"):
            file, function = PROTOCOL, name
        text = (ROOT / file).read_text(encoding="utf-8")
        assert not function or f"def {function}(" in text, name


def test_limits_are_those_of_the_code() -> None:
    rows = re.findall(r"^\| [^|]+ \| `([\w/]+)\.py (\w+)` \| (\d+) \| [^|]+ \|$", PAGE, re.MULTILINE)
    assert len(rows) > 20
    for module, constant, value in rows:
        actual = getattr(importlib.import_module(f"kazashi.{module.replace('/', '.')}"), constant)
        assert actual == int(value), f"{module} {constant}"


def product() -> list[Path]:
    return sorted({path for folder in folders(ROOT).values() for path in folder.rglob("*.py")})


def test_every_comparison_in_constant_time_is_listed() -> None:
    table = set(re.findall(r"^\| ([\w/]+\.py) \| [^|]+ \|$", PAGE, re.MULTILINE))
    used = {
        str(path.relative_to(ROOT))
        for path in product()
        if "compare_digest(" in path.read_text(encoding="utf-8") and "benchmarks" not in path.parts
    }
    assert table == used


def test_no_secret_is_compared_with_an_operator() -> None:
    """Queries compare digests in the database, and are no Python comparison."""
    found = []
    for path in product():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Compare) or not isinstance(node.ops[0], ast.Eq | ast.NotEq):
                continue
            sides = [node.left, *node.comparators]
            last = [side.id if isinstance(side, ast.Name) else side.attr
                    for side in sides if isinstance(side, ast.Name | ast.Attribute)]  # fmt: skip
            if any(SECRET.search(name) for name in last) and not any(isinstance(side, ast.Constant) for side in sides):
                found.append(f"{path.relative_to(ROOT)}: {ast.unparse(node)}")
    assert not found
