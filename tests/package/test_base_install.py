"""Kazashi with the packages of its base alone, as `pip install kazashi` gives it: what the extras have is not there.

The environment has links to those packages of the running one that `install_requires` in setup.cfg leads to.
"""

from __future__ import annotations

import configparser
import json
import subprocess
from importlib.metadata import Distribution, distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from kazashi.tools.cli.checkout import folders
from kazashi.tools.installation.parts import PARTS, extra_of
from tests.package.test_installed import COMMAND_SECONDS, Environment, bare_environment

ROOT = Path(__file__).parents[2]
OF_THE_PROGRAM = ("tracking", "points", "network", "web", "spark", "demo")
"""The extras that commands need. The others are for tests and documentation."""

HELP_OF_EVERYTHING = """
import click
from kazashi.tools.cli.command_line import kazashi

shown = 0
left = [((), kazashi)]
while left:
    words, command = left.pop()
    kazashi.main([*words, "--help"], prog_name="kazashi", standalone_mode=False)
    shown += 1
    if isinstance(command, click.Group):
        context = click.Context(command)
        left += [((*words, name), command.get_command(context, name)) for name in command.list_commands(context)]
print(shown)
"""

IMPORT_EVERYTHING = """
import importlib, pkgutil, kazashi

for module in pkgutil.walk_packages(kazashi.__path__, "kazashi."):
    if not module.name.endswith("__main__"):
        try:
            importlib.import_module(module.name)
        except ModuleNotFoundError as error:
            print(module.name, error.name)
"""

PARTS_OF_EXTRAS = {
    "kazashi.refund_points.terminal": "points",
    "kazashi.relying_party.login.authorization": "network",  # for joserfc, which `web` has too
    "kazashi.relying_party.login.provider": "network",
    "kazashi.relying_party.login.token_endpoint": "network",
    "kazashi.relying_party.login.token_keys": "network",
    "kazashi.relying_party.platform.platform_http": "web",
    "kazashi.studies.blind_spots": "tracking",
    "kazashi.studies.match_quality": "tracking",
    "kazashi.studies.network_matching": "tracking",
    "kazashi.studies.open_log": "tracking",
    "kazashi.studies.open_log_page": "tracking",
    "kazashi.studies.open_log_study": "tracking",
    "kazashi.studies.open_log_traffic": "tracking",
    "kazashi.studies.splink_matching": "tracking",
    "kazashi.studies.tax_matching": "tracking",
    "kazashi.studies.tracking": "tracking",
    "kazashi.studies.tracking_stores": "tracking",
    "kazashi.studies.wrong_ties": "tracking",
    "kazashi.tools.demo.later_steps": "tracking",
    "kazashi.tools.demo.steps_tracking": "tracking",
}
"""The modules that cannot be imported without an extra, besides those of the tracking laboratory."""

WITHOUT_TRACKING = """
from kazashi.assembly.error_codes import code_of
import kazashi.api

kazashi.api.Workbench, kazashi.api.Verifier, kazashi.api.OidcPairwise
try:
    kazashi.api.Laboratory
except ImportError as error:
    print(code_of(error), error, sep="\\n")
"""


MODULES = [module for name in OF_THE_PROGRAM for module in PARTS[name].modules]


def settings() -> configparser.ConfigParser:
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg", encoding="utf-8")
    return parser


def requirements(lines: str) -> list[Requirement]:
    return [Requirement(line) for line in lines.split("\n") if line.strip() and not line.startswith("#")]


def closure(wanted: list[Requirement]) -> dict[str, Distribution]:
    """The distributions that requirements lead to in the running environment, by name."""
    left, seen, found = list(wanted), set(), {}
    while left:
        one = left.pop()
        if (one.name, *sorted(one.extras)) in seen:
            continue
        seen.add((one.name, *sorted(one.extras)))
        found[one.name] = distribution(one.name)
        for text in found[one.name].requires or []:
            inner = Requirement(text)
            if inner.marker is None or any(inner.marker.evaluate({"extra": name}) for name in {"", *one.extras}):
                left.append(inner)
    return found


def link(installed: Distribution, site_packages: Path) -> None:
    """Link a distribution's folders and modules into another environment."""
    for name in {file.parts[0] for file in installed.files or []} - {"..", "__pycache__"}:
        target = Path(str(installed.locate_file(name)))
        if not (site_packages / name).exists():
            (site_packages / name).symlink_to(target)


def link_kazashi(package: Path) -> None:
    """Make a folder of links that is Kazashi as it is where it is installed."""
    package.mkdir()
    for name, folder in folders(ROOT).items():
        if name != "kazashi":
            (package / name.removeprefix("kazashi.")).symlink_to(folder)
            continue
        for path in folder.glob("*.py"):
            (package / path.name).symlink_to(path)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Environment:
    made = bare_environment(tmp_path_factory.mktemp("base") / "env")
    for found in closure(requirements(settings()["options"]["install_requires"])).values():
        link(found, made.site_packages)
    link_kazashi(made.site_packages / "kazashi")
    return made


@pytest.fixture(scope="module")
def world(base: Environment, tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("world") / "w"
    kazashi(base, directory, "world", "new", "--seed", "base")
    return directory


def python(base: Environment, *arguments: object, expect: int = 0) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [base.python, *map(str, arguments)],
        cwd=base.directory, capture_output=True, text=True, check=False, timeout=COMMAND_SECONDS,
    )  # fmt: skip
    assert done.returncode == expect, f"{arguments} exited with {done.returncode}: {done.stderr}{done.stdout}"
    return done


def kazashi(base: Environment, world: Path, *arguments: object, expect: int = 0) -> subprocess.CompletedProcess[str]:
    return python(base, "-m", "kazashi", "--world", world, *arguments, expect=expect)


def test_every_package_of_an_extra_has_its_extra() -> None:
    listed = settings()["options.extras_require"]
    packages = {name: {one.name for one in requirements(listed[name])} - {"kazashi"} for name in OF_THE_PROGRAM}
    assert set().union(*packages.values()) == set(MODULES)
    for module in MODULES:
        extra = extra_of(f"{module}.inner")
        assert extra is not None
        assert module in packages[extra], f"{module} is not in the extra {extra}"
    assert extra_of("cryptography") is None


def test_the_base_has_no_package_of_an_extra(base: Environment) -> None:
    script = "import sys, importlib.util; print(*(name for name in sys.argv[1:] if importlib.util.find_spec(name)))"
    assert python(base, "-c", script, "kazashi", "cryptography", *MODULES).stdout.split() == [
        "kazashi",
        "cryptography",
    ]


def test_every_help_is_shown_without_extras(base: Environment) -> None:
    assert int(python(base, "-c", HELP_OF_EVERYTHING).stdout.splitlines()[-1]) > 120


def test_only_parts_of_extras_need_them_to_be_imported(base: Environment) -> None:
    failed = dict(line.split() for line in python(base, "-c", IMPORT_EVERYTHING).stdout.splitlines())
    del failed["kazashi.tools.testing.pytest_plugin"]  # pytest itself loads it
    assert {extra_of(package) for name, package in failed.items() if "tracking_lab" in name} == {"tracking"}
    others = {name: extra_of(package) for name, package in failed.items() if "tracking_lab" not in name}
    assert others == PARTS_OF_EXTRAS


def test_cards_registry_and_certificates_need_no_extra(base: Environment, world: Path, tmp_path: Path) -> None:
    kazashi(base, world, "card", "new", "hanako")
    assert "hanako" in kazashi(base, world, "card", "list").stdout
    assert "authentication PIN" in kazashi(base, world, "card", "show", "hanako").stdout
    kazashi(base, world, "registry", "event", "move-within", "hanako", "--street", "架空町１")
    (resident,) = json.loads(kazashi(base, world, "registry", "list", "--json").stdout)
    assert "hanako" in json.dumps(resident)
    certificates = json.loads(kazashi(base, world, "ca", "show", "hanako", "--json").stdout)
    serial = next(row["serial"] for row in certificates if row["kind"] == "authentication")
    kazashi(base, world, "ca", "certificate", "authentication", serial, "--out", tmp_path / "certificate.pem")
    verdict = kazashi(base, world, "verify", "certificate", tmp_path / "certificate.pem")
    assert "good" in verdict.stdout


@pytest.mark.reader
def test_a_reader_is_checked_without_extras(base: Environment, world: Path) -> None:
    kazashi(base, world, "reader", "check", "--emulated")


def test_what_can_do_without_its_extra_does(base: Environment, world: Path) -> None:
    assert "児童手当" in kazashi(base, world, "network", "rules").stdout
    kazashi(base, world, "points", "enrol", "tea-shop", "1")
    kazashi(base, world, "provider-client", "library", "http://localhost/back")
    kazashi(base, world, "tenant", "library")


@pytest.mark.parametrize(
    ("command", "extra"),
    [
        ("tracking report", "tracking"),
        ("provider", "web"),
        ("platform", "web"),
        ("points till shop 1", "points"),
        ("network setup", "network"),
        ("demo", "demo"),
    ],
)
def test_a_command_names_the_extra_that_it_needs(base: Environment, world: Path, command: str, extra: str) -> None:
    done = kazashi(base, world, *command.split(), expect=3)
    assert done.stderr.startswith("kazashi: this command needs the Python package ")
    assert done.stderr.endswith(f"with: kazashi self install {extra} [package-missing]\n")
    assert done.stderr.count("\n") == 1


def test_the_interface_names_the_extra_that_a_name_needs(base: Environment) -> None:
    code, words = python(base, "-c", WITHOUT_TRACKING).stdout.splitlines()
    assert code == "package-missing"
    assert words.startswith("kazashi.api.Laboratory needs the Python package ")
    assert words.endswith("pip install 'kazashi[tracking]' [package-missing]")
