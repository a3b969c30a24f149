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


def built_driver() -> Path:
    """Return the path of the driver beside the environment's libraries. It is built if it is not there, or damaged.

    Raises DriverUnavailable.
    """
    directory = Path(sys.prefix) / "lib" / "kazashi"
    if (path := _whole_driver(directory)) is not None:
        return path
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        raise DriverUnavailable(f"there is no C compiler to build the driver with; {_REMEDY}")
    if not (_HEADERS / "ifdhandler.h").exists():
        raise DriverUnavailable(f"pcsc-lite's ifdhandler.h, which the driver needs, is missing; {_REMEDY}")
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with (directory / "ifd_kazashi.lock").open("ab") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            return _whole_driver(directory) or _build(compiler, directory)
    except OSError as error:
        raise DriverUnavailable(
            f"the driver cannot be written to {directory}: {error.strerror}; run kazashi doctor once as its owner"
        ) from error


def _whole_driver(directory: Path) -> Path | None:
    """Return the driver that was built from this source. pcscd only logs that it cannot load a damaged one, so the
    file's name has the digest of its contents, too."""
    files = directory.glob(f"ifd_kazashi-{_source_digest()}-*.so")
    return next((path for path in files if path.stem.endswith(f"-{_digest(path.read_bytes())}")), None)


def _build(compiler: str, directory: Path) -> Path:
    source = _source_digest()
    made = directory / "ifd_kazashi.new"
    compile_driver(compiler, made)
    for damaged in directory.glob(f"ifd_kazashi-{source}*.so"):
        damaged.unlink()
    return made.replace(directory / f"ifd_kazashi-{source}-{_digest(made.read_bytes())}.so")


def _source_digest() -> str:
    return _digest(SOURCE.read_bytes() + " ".join(_FLAGS).encode())


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]


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
