"""Fills one virtual environment: with pip it installs uv, with uv everything else. Both check every file's hash."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path

from kazashi.assembly.errors import InstallationFailed
from kazashi.tools.installation.lock import Pin, pins
from kazashi.tools.installation.progress import Progress

WORK = "Python packages"
_COMMAND = "$ "
_BUILDERS = ("setuptools", "swig")
"""The packages that build pyscard and Kazashi itself (the extra `build` of setup.cfg)."""
_POLL_SECONDS = 0.1
_FULL_BYTES = 5_000_000
"""With less free space than this, a failure is put down to the full disk."""

DISK_FULL = "the disk is full; free some space, or set KAZASHI_VENV to a path on another disk"

_PASSED_ON = (
    "PIP_CERT", "PIP_CONFIG_FILE", "PIP_DEFAULT_TIMEOUT", "PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS", "PIP_INDEX_URL",
    "PIP_NO_INDEX", "PIP_PROXY", "PIP_RETRIES", "PIP_TRUSTED_HOST",
    "UV_CACHE_DIR", "UV_CONFIG_FILE", "UV_DEFAULT_INDEX", "UV_EXTRA_INDEX_URL", "UV_FIND_LINKS", "UV_HTTP_RETRIES",
    "UV_HTTP_TIMEOUT", "UV_INDEX", "UV_INDEX_URL", "UV_INSECURE_HOST", "UV_KEYRING_PROVIDER",
    "UV_OFFLINE", "UV_SYSTEM_CERTS",
)  # fmt: skip
"""The variables of pip and uv that say where packages come from. Others would change what is installed, or where."""

_REASONS = (
    (r"[Hh]ash mismatch|DO NOT MATCH THE HASHES", "a package index served a file that is not the one in the lock file; "
     "do not use that index, or check that requirements.lock is unchanged"),
    (r"No space left on device|Disk quota exceeded", DISK_FULL),
    (r"Permission denied|Read-only file system", "a folder cannot be written to; make it writable, or set KAZASHI_VENV "
     "to a path in a folder of yours"),
    (r"dns error|Failed to fetch|error sending request|Connection (refused|reset)|Could not connect|timed out|"
     r"Failed to establish a new connection|Name or service not known|Temporary failure in name resolution|"
     r"No matching distribution found|not found in the package registry|network was disabled|"
     r"not found in the cache|no index|certificate verify failed",
     "the package index cannot be reached, or does not have the package; check the network (and UV_DEFAULT_INDEX or "
     "pip's index-url, if you use your own index), and run this again"),
)  # fmt: skip
"""What a failure is put down to, by words in the output of pip and uv. The first that fits applies."""


class Builder:
    """Fills environments in `folder` with the interpreter `python`. `lock` is the file descriptor of the lock, which
    the programs that it runs inherit, so that the lock is held for as long as they work. `cached` is whether uv may use
    its cache."""

    def __init__(self, folder: Path, python: str, lock: int, progress: Progress, cached: bool) -> None:
        self._folder, self._python, self._lock = folder, python, lock
        self._progress, self._cached = progress, cached
        self.log = folder / "log"
        progress.show(WORK, 0)

    def create(self, target: Path, *options: str) -> None:
        """Create an empty environment. Raises InstallationFailed."""
        shutil.rmtree(target, ignore_errors=True)
        self._run([self._python, "-I", "-m", "venv", *options, str(target)])

    def install_uv(self, target: Path, pin: Pin) -> None:
        """Install uv into an environment that has pip. Raises InstallationFailed."""
        listed = target / "requirements.txt"
        listed.write_text(pin.text, encoding="utf-8")
        self._run([str(target / "bin" / "python"), "-I", "-m", "pip", "install", "--no-deps", "--require-hashes",
                   "--only-binary=:all:", "--no-input", "--disable-pip-version-check", "-r", str(listed)])  # fmt: skip
        self._run([str(target / "bin" / "uv"), "--version"])

    def fill(self, uv: Path, target: Path, requirements: str, root: Path) -> None:
        """Install the packages of a requirements file with hashes, and the clone at `root` itself in editable form.
        Raises InstallationFailed."""
        listed = target / "requirements.txt"
        listed.write_text(requirements, encoding="utf-8")
        first = target / "build.txt"
        first.write_text("\n".join(pin.text for pin in pins(requirements) if pin.name in _BUILDERS), encoding="utf-8")
        install = [str(uv), "pip", "install", "--no-progress", "--no-deps", "--no-build-isolation",
                   "--python", str(target / "bin" / "python")]  # fmt: skip
        packages = next((target / "lib").glob("python3.*")) / "site-packages"
        number = len(pins(requirements))

        def count() -> None:
            self._progress.show(WORK, sum(1 for _ in packages.glob("*.dist-info")) / number)

        self._run([*install, "--require-hashes", "-r", str(first)])
        self._run([*install, "--require-hashes", "-r", str(listed)], count, target / "bin")
        self._run([*install, "--editable", str(root)])

    def check(self, target: Path, requirements: str) -> None:
        """Check that an environment has each package and starts the program, and build the driver for pcscd where there
        is a compiler. Raises InstallationFailed."""
        program = "import sys, importlib.metadata as m; [m.version(name) for name in sys.argv[1:]]; import kazashi"
        names = sorted({pin.name for pin in pins(requirements) if ";" not in pin.text.splitlines()[0]})
        self._run([str(target / "bin" / "python"), "-P", "-c", program, *names])
        self._run([str(target / "bin" / "kazashi"), "--version"])
        self._run([str(target / "bin" / "python"), "-P", "-m", "kazashi.reader_bridge.driver.build"])

    def _run(self, command: list[str], poll: object = None, programs: Path | None = None) -> None:
        """Run a command, which finds the programs in a folder before others of their name. Raises
        InstallationFailed."""
        environment = dict(self._environment())
        if programs is not None:
            environment["PATH"] = os.pathsep.join([str(programs), environment.get("PATH", os.defpath)])
        with self.log.open("a", encoding="utf-8") as words:
            words.write(f"{_COMMAND}{' '.join(command)}\n")
            words.flush()
            # In a folder of its own, because pip and uv read settings from the folder that they run in.
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=words, stderr=words, cwd=self._folder,
                                       env=environment, pass_fds=(self._lock,))  # fmt: skip
            while process.poll() is None:
                if callable(poll):
                    poll()
                time.sleep(_POLL_SECONDS)
        if process.returncode:
            raise self.explained(f"{Path(command[0]).name} ended with status {process.returncode}")

    def _environment(self) -> Mapping[str, str]:
        """Return the environment of pip and uv. uv gets the system's certificates and pip's index, as pip has them,
        and a cache of its own where the user has no folder for one."""
        variables = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("PIP_", "UV_", "PYTHON")) or name in _PASSED_ON
        }
        variables.setdefault("UV_SYSTEM_CERTS", "true")
        variables["UV_PYTHON_DOWNLOADS"] = "never"
        if not self._cached:
            variables["UV_NO_CACHE"] = "1"
        if "PIP_INDEX_URL" in variables:
            variables.setdefault("UV_DEFAULT_INDEX", variables["PIP_INDEX_URL"])
        home = Path(variables.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser())
        if not os.access(next(path for path in (home, *home.parents) if path.exists()), os.W_OK):
            variables.setdefault("UV_CACHE_DIR", str(self._folder / "cache"))
            variables.setdefault("PIP_NO_CACHE_DIR", "1")
        return variables

    def explained(self, what: str) -> InstallationFailed:
        """Return the error for a failure: its reason in words, the remedy, and where the output is."""
        lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines()
        words = "\n".join(line for line in lines if not line.startswith(_COMMAND))
        why = next((remedy for pattern, remedy in _REASONS if re.search(pattern, words)), what)
        if shutil.disk_usage(self._folder).free < _FULL_BYTES:
            why = DISK_FULL
        return InstallationFailed(f"the Python packages could not be installed: {why} (output: {self.log})")
