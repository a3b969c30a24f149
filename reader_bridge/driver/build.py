"""Building the driver for pcscd from its source, with the C compiler that pyscard needs too."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

SOURCE = Path(__file__).with_name("ifd_kazashi.c")
_HEADERS = Path("/usr/include/PCSC")
_FLAGS = ("-std=c11", "-O2", "-fPIC", "-shared", "-pthread")
BUILD_PACKAGES = ("gcc", "libc6-dev", "libpcsclite-dev")
_REMEDY = f"apt-get install {' '.join(BUILD_PACKAGES)}"


class DriverUnavailable(Exception):
    """The driver cannot be built or loaded here; the message says why and what to do."""


def driver_path() -> Path:
    """Return where the driver belongs that was built from this source: beside the environment's libraries."""
    digest = hashlib.sha256(SOURCE.read_bytes() + " ".join(_FLAGS).encode()).hexdigest()[:16]
    return Path(sys.prefix) / "lib" / "kazashi" / f"ifd_kazashi-{digest}.so"


def built_driver() -> Path:
    """Return the path of the driver, which is built if it is not there yet. Raises DriverUnavailable."""
    path = driver_path()
    if path.exists():
        return path
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        raise DriverUnavailable(f"there is no C compiler to build the driver with; {_REMEDY}")
    if not (_HEADERS / "ifdhandler.h").exists():
        raise DriverUnavailable(f"pcsc-lite's ifdhandler.h, which the driver needs, is missing; {_REMEDY}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with (path.parent / "ifd_kazashi.lock").open("ab") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not path.exists():
                compile_driver(compiler, path)
    except OSError as error:
        raise DriverUnavailable(
            f"the driver cannot be written to {path.parent}: {error.strerror}; run kazashi doctor once as its owner"
        ) from error
    return path


def compile_driver(compiler: str, path: Path, *options: str) -> None:
    """Compile the driver to `path`, which appears whole or not at all. Raises DriverUnavailable and OSError."""
    made = path.with_name(f"{path.name}.{os.getpid()}")
    command = [compiler, *_FLAGS, *options, f"-I{_HEADERS}", "-o", os.fspath(made), os.fspath(SOURCE)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode != 0:
        made.unlink(missing_ok=True)
        lines = [line for line in result.stderr.splitlines() if "error" in line] or result.stderr.splitlines()
        reason = lines[0] if lines else f"{compiler} ended with {result.returncode}"
        raise DriverUnavailable(f"the driver cannot be built: {reason}; {_REMEDY}")
    made.replace(path)


if __name__ == "__main__":
    try:
        print(built_driver())
    except DriverUnavailable as unavailable:
        print(f"vpcd will stand in for the driver: {unavailable}")
