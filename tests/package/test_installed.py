"""Kazashi as people install it, from a wheel and in editable form. Each is in a new environment, beside a project whose
folders have the same names as ours. Dependencies come from the running environment, so that nothing is downloaded."""

from __future__ import annotations

import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
RUNNING = Path(sysconfig.get_path("purelib"))
PYTEST = Path(sysconfig.get_path("scripts")) / "pytest"
COMMAND_SECONDS = 300

PROJECT = {
    "tools/__init__.py": "",
    "tools/build.py": "WHOSE = 'the project'",
    "card/__init__.py": "WHOSE = 'the project'",
    "world/__init__.py": "WHOSE = 'the project'",
    "tests/__init__.py": "",
    "tests/test_mine.py": "".join(f"import {name}\n" for name in ("card", "world", "tools.build"))
    + """

SELECT_JPKI = [0x00, 0xA4, 0x04, 0x0C, 0x0A, *bytes.fromhex("D392F000260100000001")]


def test_imports_are_the_projects_own():
    assert tools.build.WHOSE == card.WHOSE == world.WHOSE == "the project"


def test_the_card(kazashi_connection):
    assert kazashi_connection.transmit(SELECT_JPKI)[1:] == (0x90, 0x00)
""",
}

TYPED = """
from kazashi.api import Chip


def serve(chip: Chip) -> bytes:
    return chip.transmit(b"").data


Chip("no card")
reveal_type(Chip.power_on)
"""


def run(*command: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(word) for word in command], cwd=cwd, capture_output=True, text=True, check=False, timeout=COMMAND_SECONDS
    )


@dataclass(frozen=True, slots=True)
class Environment:
    """A virtual environment for the tests."""

    directory: Path

    @property
    def python(self) -> Path:
        return self.directory / "bin" / "python"

    @property
    def site_packages(self) -> Path:
        version = f"python{sys.version_info.major}.{sys.version_info.minor}"
        return self.directory / "lib" / version / "site-packages"

    def install(self, *what: object) -> set[str]:
        """Install something with pip. Returns the names that are new in site-packages."""
        before = set(self.site_packages.iterdir())
        done = run(sys.executable, "-m", "pip", "--python", self.python, "install", "--no-deps", "--no-index",
                   "--no-build-isolation", "--ignore-installed", "--quiet", *what)  # fmt: skip
        assert done.returncode == 0, done.stderr
        return {path.name for path in set(self.site_packages.iterdir()) - before} - {"__pycache__"}


def bare_environment(directory: Path) -> Environment:
    """Create an environment without packages."""
    venv.create(directory, with_pip=False, symlinks=True)
    return Environment(directory)


def new_environment(directory: Path) -> Environment:
    """Create an environment that finds the packages of the running one, except those in editable form."""
    made = bare_environment(directory)
    (made.site_packages / "running.pth").write_text(f"{RUNNING}\n", encoding="utf-8")
    return made


@pytest.fixture(scope="module")
def copied(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the checkout, so that building does not leave files behind in the checkout."""
    left_out = shutil.ignore_patterns(".*", "build", "dist", "*.egg-info", "__pycache__", "artefacts")
    return shutil.copytree(ROOT, tmp_path_factory.mktemp("copy") / "checkout", ignore=left_out)


@pytest.fixture(scope="module")
def wheel(copied: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("wheel")
    done = run(sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--quiet",
               "--wheel-dir", directory, copied)  # fmt: skip
    assert done.returncode == 0, done.stderr
    return next(directory.glob("*.whl"))


@pytest.fixture(scope="module", params=["wheel", "editable"])
def installed(request: pytest.FixtureRequest, copied: Path, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    made = new_environment(tmp_path_factory.mktemp(request.param) / "env")
    if request.param == "wheel":
        new = made.install(request.getfixturevalue("wheel"))
        assert {name.partition("-")[0] for name in new} == {"kazashi"}
    else:
        new = made.install("--editable", copied)
        assert all("kazashi" in name for name in new), new
    return made


@pytest.fixture
def project(tmp_path: Path) -> Path:
    for name, text in PROJECT.items():
        path = tmp_path / "project" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return tmp_path / "project"


def test_wheel_has_only_the_package(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.partition("/")[0].partition("-")[0] for name in names} == {"kazashi"}
    wanted = {path.relative_to(ROOT) for pattern in ("*.csv", "*.sql", "*.html", "*.css", "*.js", "*.c")
              for folder in ROOT.iterdir() if (folder / "__init__.py").exists() and folder.name not in
              ("tests", "benchmarks") for path in folder.rglob(pattern)}  # fmt: skip
    missing = {f"kazashi/{path}" for path in wanted} - set(names)
    assert not missing, "setup.cfg's package_data does not name them"
    assert "kazashi/py.typed" in names


@pytest.mark.parametrize("started", ["pytest", "python -m pytest"])
def test_plugin_works_beside_folders_of_the_same_names(installed: Environment, project: Path, started: str) -> None:
    begin = [PYTEST] if started == "pytest" else ["-m", "pytest"]
    done = run(installed.python, *begin, "-q", "-p", "no:cacheprovider", "tests", cwd=project)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 passed" in done.stdout


def test_program_calls_itself_by_its_name(installed: Environment, tmp_path: Path) -> None:
    script, module = [installed.directory / "bin" / "kazashi"], [installed.python, "-m", "kazashi"]
    for program in (script, module):
        assert run(*program, "--help", cwd=tmp_path).stdout.startswith("Usage: kazashi ")
        assert run(*program, "card", "list", "--help", cwd=tmp_path).stdout.startswith("Usage: kazashi card list ")
        wrong = run(*program, "frobnicate", cwd=tmp_path)
        assert (wrong.returncode, "Try 'kazashi --help'" in wrong.stderr) == (2, True)
        assert run(*program, "--version", cwd=tmp_path).stdout.startswith("kazashi, version ")


def test_shell_completes_the_programs_name(installed: Environment, tmp_path: Path) -> None:
    program = installed.directory / "bin" / "kazashi"
    for shell, words in (("bash", "complete -o nosort -F _kazashi_completion kazashi"),
                         ("zsh", "#compdef kazashi"), ("fish", "complete --no-files --command kazashi")):  # fmt: skip
        done = run("env", f"_KAZASHI_COMPLETE={shell}_source", program, cwd=tmp_path)
        assert words in done.stdout, done.stderr


def test_development_commands_need_the_checkout(installed: Environment, tmp_path: Path) -> None:
    editable = any(installed.site_packages.glob("__editable__*"))
    for command in ("bench", "imports", "test"):
        done = run(installed.python, "-m", "kazashi", command, "--help", cwd=tmp_path)
        assert (done.returncode, done.stderr) == (0, "")
    if not editable:
        for command in ("bench", "imports", "test"):
            done = run(installed.python, "-m", "kazashi", command, cwd=tmp_path)
            assert (done.returncode, done.stderr.count("\n")) == (3, 1)
            assert done.stderr.endswith("[checkout-missing]\n")


def test_data_files_are_found(installed: Environment, tmp_path: Path) -> None:
    rules = run(
        installed.python, "-m", "kazashi", "--world", tmp_path / "w", "network", "rules", "--json", cwd=tmp_path
    )
    assert rules.returncode == 0, rules.stderr
    assert "児童手当" in rules.stdout


def test_wheel_has_type_information(wheel: Path, tmp_path: Path) -> None:
    made = new_environment(tmp_path / "env")
    made.install(wheel)
    (tmp_path / "mine.py").write_text(TYPED, encoding="utf-8")
    done = run(sys.executable, "-m", "mypy", "--strict", "--python-executable", made.python,
               "--cache-dir", tmp_path / "cache", "mine.py", cwd=tmp_path)  # fmt: skip
    assert 'Argument 1 to "Chip" has incompatible type "str"; expected "Card"' in done.stdout, done.stdout
    assert "missing library stubs or py.typed marker" not in done.stdout
    assert "Any" not in next(line for line in done.stdout.splitlines() if "Revealed type" in line)
