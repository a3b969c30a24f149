"""The checkout that this program runs from: its location, its packages, and which package imports which."""

from __future__ import annotations

import ast
import configparser
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from kazashi.assembly.errors import CheckoutMissing

OUTSIDE = ("benchmarks", "tests")
"""Folders with Python code at the root that are not part of the package."""


def checkout() -> Path:
    """Return the root of the checkout. Raises CheckoutMissing if the program was installed from a wheel."""
    root = Path(__file__).resolve().parents[2]
    if not (root / "package").is_dir() or not (root / "setup.cfg").is_file():
        raise CheckoutMissing("tests and benchmarks need a checkout, and this is an installed copy; clone the project")
    return root


def folders(root: Path) -> dict[str, Path]:
    """Return each root package's folder by the package's full name (`kazashi.card`), as setup.cfg maps them."""
    settings = configparser.ConfigParser()
    settings.read(root / "setup.cfg", encoding="utf-8")
    lines = settings["options"]["package_dir"].split("\n")
    pairs = (line.partition("=") for line in lines if line.strip())
    return {name.strip(): root / folder.strip() for name, _, folder in pairs}


def modules(root: Path) -> Iterator[tuple[str, Path]]:
    """Yield the full name and the file of each module in the package and in the folders OUTSIDE."""
    packages = {**folders(root), **{name: root / name for name in OUTSIDE}}
    for package, folder in packages.items():
        for path in sorted(folder.rglob("*.py")):
            parts = [*package.split("."), *path.relative_to(folder).with_suffix("").parts]
            yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts), path


def linked(root: Path) -> Path:
    """Return a folder that contains `kazashi` as one folder, made of links into the checkout. It is for programs that
    follow folders and not the import system (mypy)."""
    view = root / "build" / "linked"
    top = view / "kazashi"
    top.mkdir(parents=True, exist_ok=True)
    wanted = {view / name: root / name for name in OUTSIDE}
    for package, folder in folders(root).items():
        if package == "kazashi":
            wanted |= {top / path.name: path for path in folder.iterdir() if path.name != "__pycache__"}
        else:
            wanted[top / package.removeprefix("kazashi.")] = folder
    for link in [path for path in (*view.iterdir(), *top.iterdir()) if path.is_symlink() and path not in wanted]:
        link.unlink()
    for link, target in wanted.items():
        if link.is_symlink() and link.readlink() != target:  # the checkout was moved
            link.unlink()
        if not link.is_symlink():
            link.symlink_to(target)
    return view


def imports(path: Path, known: set[str]) -> set[str]:
    """Return the modules among `known` that a module names: by import, by `import_module`, or as the program of a
    process (a string with a module's dotted name, also as `module:name`). `known` has the full names of this
    project's modules."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                found.add(inner if inner in known else node.module)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and "." in node.value:
            found.add(node.value.partition(":")[0])
    return found & known


@dataclass(slots=True)
class Room:
    """A package: its lines of Python, the packages that it imports (each with the number of modules that import it),
    and the packages inside it."""

    name: str
    lines: int = 0
    imports: dict[str, int] = field(default_factory=dict)
    inner: dict[str, Room] = field(default_factory=dict)

    def add(self, path: Path, targets: set[str]) -> None:
        """Add a module's lines and the packages that it imports."""
        self.lines += len(path.read_text(encoding="utf-8").splitlines())
        for target in targets - {self.name}:
            self.imports[target] = self.imports.get(target, 0) + 1


def rooms(root: Path) -> dict[str, Room]:
    """Return the packages at the root, each with everything inside it, without the tests."""
    files = dict(modules(root))
    packages = {name for name, path in files.items() if path.stem == "__init__"} - {"kazashi"}

    def room_of(module: str, depth: int) -> str:
        """Return the package at the root that a module is in (depth 1), or the package inside that one (depth 2)."""
        if module.rpartition(".")[0] in ("", "kazashi") and module not in packages:
            return "kazashi"
        parts = module.split(".")
        top = 2 if parts[0] == "kazashi" else 1
        inside = ".".join(parts[: top + depth - 1])
        return inside if inside in packages else ".".join(parts[:top])

    result: dict[str, Room] = {}
    for module, path in files.items():
        if module.partition(".")[0] == "tests":
            continue
        name, inside = room_of(module, 1), room_of(module, 2)
        targets = imports(path, set(files))
        room = result.setdefault(name, Room(name))
        room.add(path, {room_of(target, 1) for target in targets})
        if inside != name:
            room.inner.setdefault(inside, Room(inside)).add(path, {room_of(target, 2) for target in targets})
    return result


def floors(found: dict[str, Room]) -> list[tuple[int, list[Room]]]:
    """Return the packages by layer, lowest first and counted from 1. A package imports only from the layers below its
    own. Raises ValueError if there is an import cycle."""
    left, below = dict(found), set[str]()
    result: list[tuple[int, list[Room]]] = []
    while left:
        floor = [room for room in left.values() if room.imports.keys() <= below]
        if not floor:
            raise ValueError(f"these packages form an import cycle: {', '.join(sorted(left))}")
        result.append((len(result) + 1, sorted(floor, key=lambda room: room.name)))
        below |= {room.name for room in floor}
        for room in floor:
            del left[room.name]
    return result
