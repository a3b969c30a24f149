"""A small project with the real bootstrap: `./kazashi` and `tools/installation/` of the checkout, a program of ten
lines, and a lock file of three tiny wheels. Nothing is downloaded."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from kazashi.tools.installation.parts import PARTS
from tests.package.wheels import write_wheel

ROOT = Path(__file__).parents[2]
UV = Path(sys.prefix) / "bin" / "uv"

SETUP = """
[options]
install_requires =
    tiny-one
[options.extras_require]
tracking =
    tiny-two
points =
network =
web =
spark =
demo =
docs =
test =
build =
    setuptools
    swig
"""

PYPROJECT = """
[build-system]
requires = ["setuptools"]
build-backend = "backend"
backend-path = ["."]
"""

BACKEND = """
import os, runpy
write_wheel = runpy.run_path({wheels!r})["write_wheel"]


def build_editable(wheel_directory, config_settings=None, metadata_directory=None):
    return write_wheel(wheel_directory, "kazashi", "0.1", {{
        "kazashi/__init__.py": "", "kazashi/reader_bridge/driver/build.py": "",
        "kazashi/main.py": {program!r}.replace("@ROOT@", os.getcwd()),
        "kazashi-0.1.dist-info/entry_points.txt": "[console_scripts]\\nkazashi = kazashi.main:main\\n"}})
"""

PROGRAM = """
import json, sys, time
from importlib.util import find_spec


def main():
    import kazashi
    kazashi.__path__.append("@ROOT@")
    from kazashi.tools.installation.running import bring
    bring(sys.argv[1:])
    if "wait" in sys.argv:
        print("waiting", flush=True)
        sys.stdin.read()
    print(json.dumps({"prefix": sys.prefix, "arguments": sys.argv[1:],
                      "modules": [name for name in ("tiny_one", "duckdb") if find_spec(name)]}))
"""


@dataclass(frozen=True, slots=True)
class Project:
    """The small project, in a folder whose name has a space and Japanese characters in it."""

    root: Path
    wheels: Path
    variables: dict[str, str]

    @property
    def folder(self) -> Path:
        """The folder of the environments."""
        return self.root / ".venv.d"

    def command(self, *arguments: str) -> list[str]:
        """The command line of the program, as a user in the project's folder types it."""
        return ["./kazashi", *arguments]

    def start(self, *arguments: str, **more: str) -> subprocess.Popen[str]:
        """Start the program in a process group of its own."""
        return subprocess.Popen(
            self.command(*arguments), cwd=self.root, env={**self.variables, **more}, text=True, stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
        )  # fmt: skip

    def run(self, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
        """Run the program. `more` are environment variables."""
        return subprocess.run(
            self.command(*arguments), cwd=self.root, env={**self.variables, **more}, text=True, check=False,
            capture_output=True, stdin=subprocess.DEVNULL, timeout=120,
        )  # fmt: skip

    def environments(self) -> list[Path]:
        """The virtual environments that there are, complete or not."""
        return sorted(path for path in self.folder.iterdir() if path.is_dir() and path.name != "cache")

    def lock(self, version: str = "1") -> None:
        """Write the wheels and a lock file with `version` of tiny-one."""
        modules = {"tiny_one": ["tiny_one"], "tiny_two": PARTS["tracking"].modules, "setuptools": ["setuptools"],
                   "swig": ["swig"]}  # fmt: skip
        lines = []
        for name, contents in modules.items():
            number = version if name == "tiny_one" else "1"
            files = {f"{module}.py": f"VERSION = {number!r}\n" for module in contents}
            wheel = write_wheel(self.wheels, name, number, files)
            digest = sha256((self.wheels / wheel).read_bytes()).hexdigest()
            lines.append(
                f"{name.replace('_', '-')}=={number} \\\n    --hash=sha256:{digest}\n    # via kazashi (setup.cfg)\n"
            )
        (self.root / "requirements.lock").write_text("".join(lines), encoding="utf-8")


def new_project(directory: Path) -> Project:
    """Make the project in a new folder."""
    root, wheels = directory / "a clone 複製", directory / "wheels"
    for folder in (root / "package", root / "tools", wheels):
        folder.mkdir(parents=True)
    shutil.copy(ROOT / "kazashi", root)
    shutil.copytree(ROOT / "tools" / "installation", root / "tools" / "installation",
                    ignore=shutil.ignore_patterns("__pycache__"))  # fmt: skip
    (root / "tools" / "installation" / "sizes.json").write_text(
        json.dumps({"base": 1, "tracking": 2}), encoding="utf-8"
    )
    (root / "assembly").mkdir()
    shutil.copy(ROOT / "assembly" / "errors.py", root / "assembly")
    (root / "assembly" / "__init__.py").touch()
    (root / "package" / "__init__.py").touch()
    (root / "tools" / "__init__.py").touch()
    (root / "setup.cfg").write_text(SETUP, encoding="utf-8")
    (root / "pyproject.toml").write_text(PYPROJECT, encoding="utf-8")
    (root / "backend.py").write_text(
        BACKEND.format(wheels=str(Path(__file__).with_name("wheels.py")), program=PROGRAM),
        encoding="utf-8",
    )
    tools = directory / "bin"
    tools.mkdir()
    write_program(tools / "dpkg-query", 'for p in "$@"; do echo "$p installed"; done')
    variables = {
        "PATH": f"{tools}:{os.environ['PATH']}", "HOME": str(directory), "LANG": "C.UTF-8", "KAZASHI_UV": str(UV),
        "UV_OFFLINE": "1", "UV_FIND_LINKS": str(wheels), "UV_CACHE_DIR": str(directory / "cache"),
    }  # fmt: skip
    project = Project(root, wheels, variables)
    project.lock()
    return project


def write_program(path: Path, script: str) -> None:
    """Write a shell script that stands in for a program."""
    path.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    path.chmod(0o755)
