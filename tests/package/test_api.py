"""`kazashi.api`: one list of at most 40 names, documented, promised in CHANGELOG, loaded when they are used."""

from __future__ import annotations

import ast
import inspect
import re
import sys
from pathlib import Path

import pytest

import kazashi.api as api
from kazashi.assembly.error_codes import code_of
from tests.support import run

pytestmark = pytest.mark.unit

ROOT = Path(__file__).parents[2]
PROSE = [ROOT / "README.md", *sorted(ROOT.glob("docs/**/*.md"))]
PYTHON_BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
EXAMPLES = sorted(ROOT.glob("examples/**/*.py"))


def imported(source: str) -> set[tuple[str, str]]:
    """The modules of ours that a program imports names from, each with the name."""
    return {
        (node.module or "", alias.name) for node in ast.walk(ast.parse(source)) if isinstance(node, ast.ImportFrom)
        for alias in node.names if (node.module or "").partition(".")[0] == "kazashi"
    } | {
        (alias.name, "") for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Import)
        for alias in node.names if alias.name.partition(".")[0] == "kazashi"
    }  # fmt: skip


def test_at_most_40_names_are_promised() -> None:
    assert 0 < len(api.__all__) <= 40
    assert api.__all__ == sorted(set(api.__all__))


def test_type_checkers_read_the_same_names_from_the_same_modules() -> None:
    tree = ast.parse((ROOT / "package" / "api.py").read_text(encoding="utf-8"))
    block = next(node for node in tree.body if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING")
    found = {alias.asname: node.module for node in block.body if isinstance(node, ast.ImportFrom)
             for alias in node.names if alias.asname == alias.name}  # fmt: skip
    assert found == {name: getattr(api, name).__module__ for name in api.__all__}


@pytest.mark.parametrize("name", api.__all__)
def test_every_name_has_a_docstring_and_so_have_its_public_members(name: str) -> None:
    promised = getattr(api, name)
    assert len(inspect.getdoc(promised) or "") >= 20, name
    if inspect.isclass(promised):
        for member, value in vars(promised).items():
            if not member.startswith("_") and (inspect.isfunction(value) or isinstance(value, property)):
                assert inspect.getdoc(value), f"{name}.{member}"


def test_the_reference_has_every_name_once() -> None:
    text = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
    assert sorted(re.findall(r"^\.\. auto(?:class|function):: (\w+)$", text, re.MULTILINE)) == api.__all__


def test_the_changelog_adds_up_to_the_list() -> None:
    """Releases are listed newest first; what an older one added a newer one may have removed."""
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    promised: set[str] = set()
    for what, names in reversed(re.findall(r"^\* `kazashi\.api` (added|removed): (.*?)\.$", text, re.M | re.DOTALL)):
        words = set(re.findall(r"`(\w+)`", names))
        assert not promised & words if what == "added" else words <= promised
        promised = promised | words if what == "added" else promised - words
    assert sorted(promised) == api.__all__


@pytest.mark.parametrize("page", PROSE, ids=lambda path: path.stem)
def test_programs_in_the_docs_import_from_there_alone(page: Path) -> None:
    for block in PYTHON_BLOCK.findall(page.read_text(encoding="utf-8")):
        for module, name in imported(block):
            assert module == "kazashi.api", f"{page.name}: from {module} import {name}"
            assert name in api.__all__, f"{page.name}: {name}"


@pytest.mark.parametrize("program", EXAMPLES, ids=lambda path: path.stem)
def test_examples_import_from_there_alone(program: Path) -> None:
    for module, name in imported(program.read_text(encoding="utf-8")):
        assert (module, name in api.__all__) == ("kazashi.api", True), f"{program.name}: from {module} import {name}"


def test_the_package_and_the_module_load_nothing() -> None:
    loaded = run(
        sys.executable,
        "-c",
        "import sys; before = set(sys.modules); import kazashi, kazashi.api; print(*(set(sys.modules) - before))",
    ).split()
    assert {name for name in loaded if name.startswith("kazashi")} == {"kazashi", "kazashi.api"}
    assert not {"cryptography", "sqlalchemy", "polars", "duckdb", "smartcard"} & set(loaded)


def test_a_name_whose_packages_are_missing_says_so_in_one_coded_sentence_and_the_others_work() -> None:
    said = run(
        sys.executable,
        "-c",
        "import sys\n"
        "class Missing:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.partition('.')[0] == 'polars':\n"
        "            raise ModuleNotFoundError(f'No module named {name!r}', name=name)\n"
        "sys.meta_path.insert(0, Missing())\n"
        "from kazashi.api import Chip\n"
        "from kazashi.assembly.error_codes import code_of\n"
        "try:\n"
        "    from kazashi.api import examine\n"
        "except ImportError as error:\n"
        "    print(code_of(error), error, sep='\\n')\n",
    ).splitlines()
    assert said[0] == "package-missing"
    assert len(said) == 2
    assert said[1].startswith("kazashi.api.examine needs the Python package polars")
    assert said[1].endswith("pip install 'kazashi[tracking]' [package-missing]")


def test_what_is_not_promised_is_refused_by_name() -> None:
    with pytest.raises(AttributeError, match="Outbox"):
        api.Outbox  # noqa: B018
    assert code_of(ValueError()) != "package-missing"
