"""The lock file: the exact version and the hashes of every Python package, and which of them a part needs."""

from __future__ import annotations

import configparser
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from kazashi.assembly.errors import InstallationFailed
from kazashi.tools.installation.parts import PARTS

NAME = "requirements.lock"
SIZES = Path(__file__).with_name("sizes.json")
"""Megabytes that each part's Python packages take once installed, beyond the base's. `kazashi lock` measures them."""

BUILD = "build"
"""The extra with what builds the environment of a clone."""


@dataclass(frozen=True, slots=True)
class Pin:
    """One package of the lock file. `text` has its version, marker and hashes, as pip and uv read them; `via` are the
    packages that need it."""

    name: str
    text: str
    via: frozenset[str]


def normalised(name: str) -> str:
    """Return a package's name without its extras and version, in the form in which names are compared (PEP 503)."""
    return re.sub(r"[-_.]+", "-", re.split(r"[\s\[<>=!~;(]", name.strip(), maxsplit=1)[0]).lower()


def pins(lock: str) -> list[Pin]:
    """Parse a lock file as `uv pip compile --generate-hashes` writes it. A package can have several pins, one for each
    marker."""
    return [_pin(block) for block in re.split(r"\n(?=[A-Za-z0-9])", lock.strip()) if block[:1].isalnum()]


def _pin(block: str) -> Pin:
    lines = block.splitlines()
    comments = [line.strip().removeprefix("#").strip().removeprefix("via").strip() for line in lines if "#" in line[:6]]
    text = "\n".join(line for line in lines if line.strip() and "#" not in line[:6])
    return Pin(normalised(lines[0]), text, frozenset(normalised(comment) for comment in comments if comment))


def needed(lock: list[Pin], setup: configparser.ConfigParser, extras: Iterable[str]) -> list[Pin]:
    """Return the pins that the base and the extras need, with everything that these need in turn."""
    reached = {normalised(line) for line in _requirements(setup, extras)}
    while more := {pin.name for pin in lock if pin.name not in reached and pin.via & reached}:
        reached |= more
    return [pin for pin in lock if pin.name in reached]


def _requirements(setup: configparser.ConfigParser, extras: Iterable[str]) -> Iterator[str]:
    """Yield the requirements of the base and of extras, and of the project's own extras that these name."""
    yield from _lines(setup["options"]["install_requires"])
    for extra in extras:
        for line in _lines(setup["options.extras_require"][extra]):
            own = re.fullmatch(r"kazashi\[(.+)]", line)
            yield from _requirements(setup, own[1].split(",")) if own else [line]


def _lines(value: str) -> list[str]:
    return [line.strip() for line in value.splitlines() if line.strip() and not line.strip().startswith("#")]


def extras_of(parts: Iterable[str]) -> list[str]:
    """Return the extras of parts, in the order of the parts' table, with what builds the environment."""
    wanted = set(parts)
    return [*(part.extra for part in PARTS.values() if part.name in wanted and part.extra), BUILD]


def installer(root: Path) -> Pin:
    """Return the pin of uv in a clone's lock file. Raises InstallationFailed."""
    found = [pin for pin in _locked(root) if pin.name == "uv"]
    if not found:
        raise InstallationFailed(f"{root / NAME} has no uv; get the file back with: git checkout {NAME}")
    return found[0]


def requirements(root: Path, parts: Iterable[str]) -> str:
    """Return the part of a clone's lock file that parts need: a requirements file with hashes. Raises
    InstallationFailed if the files cannot be read."""
    setup = configparser.ConfigParser()
    try:
        setup.read(root / "setup.cfg", encoding="utf-8")
        found = needed(_locked(root), setup, extras_of(parts))
    except (configparser.Error, KeyError, ValueError) as error:
        raise InstallationFailed(
            f"{root / 'setup.cfg'} is not what it should be: {str(error).splitlines()[0]}"
        ) from error
    return "".join(f"{pin.text}\n" for pin in found)


def _locked(root: Path) -> list[Pin]:
    try:
        return pins((root / NAME).read_text(encoding="utf-8"))
    except OSError as error:
        raise InstallationFailed(f"{root / NAME} cannot be read: {error.strerror}") from error


def megabytes(parts: Iterable[str]) -> int:
    """Return about how many megabytes the Python packages of parts take on disk."""
    sizes: dict[str, int] = json.loads(SIZES.read_text(encoding="utf-8"))
    return sum(sizes.get(part, 0) for part in parts)
