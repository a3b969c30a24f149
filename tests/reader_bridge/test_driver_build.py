"""Where the driver cannot be built or loaded, one sentence says why and what to do, and vpcd's readers stand in."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from kazashi.reader_bridge import pcscd
from kazashi.reader_bridge.driver import build
from kazashi.reader_bridge.driver.build import DriverUnavailable, built_driver
from kazashi.reader_bridge.pcscd import PcscdUnavailable, namespace_rights, start_pcscd

INSTALL = "apt-get install gcc libc6-dev libpcsclite-dev"


@pytest.fixture
def prefix(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An environment in which no driver was built yet."""
    monkeypatch.setattr(sys, "prefix", str(tmp_path / "environment"))
    return tmp_path / "environment"


def without_compiler(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(directory))


def without_headers(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build, "_HEADERS", directory)


def with_broken_compiler(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (directory / "cc").write_text(
        "#!/bin/sh\necho 'x.c:1: fatal error: stdio.h: No such file or directory' >&2\nexit 1\n"
    )
    (directory / "cc").chmod(0o755)
    monkeypatch.setenv("PATH", f"{directory}:/usr/bin:/bin")


def without_right(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Root can write everywhere but into a file."""
    del monkeypatch
    (directory / "environment").write_text("")


@pytest.mark.parametrize(
    ("obstacle", "reason", "remedy"),
    [
        (without_compiler, "there is no C compiler to build the driver with", INSTALL),
        (without_headers, "pcsc-lite's ifdhandler.h, which the driver needs, is missing", INSTALL),
        (with_broken_compiler, "the driver cannot be built: x.c:1: fatal error: stdio.h: No such file", INSTALL),
        (without_right, "the driver cannot be written to", "run kazashi doctor once as its owner"),
    ],
)
def test_one_sentence_says_what_is_missing_and_what_to_do(
    prefix: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    obstacle: Callable[[Path, pytest.MonkeyPatch], None], reason: str, remedy: str,
) -> None:  # fmt: skip
    obstacle(tmp_path, monkeypatch)
    with pytest.raises(DriverUnavailable) as caught:
        built_driver()
    message = str(caught.value)
    assert message.startswith(reason)
    assert message.endswith(remedy)
    assert "\n" not in message
    assert not list(prefix.rglob("*.so*")), "nothing is left"


@pytest.mark.reader
def test_vpcd_stands_in_and_says_why(prefix: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    del prefix
    without_headers(tmp_path, monkeypatch)
    running = start_pcscd(tmp_path, ["Stand-in"], private=True)
    running.stop()
    assert running.driver == "vpcd"
    assert "ifdhandler.h" in running.stand_in


@pytest.mark.reader
def test_vpcd_stands_in_for_a_driver_that_pcscd_cannot_load(
    prefix: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As if the compiler were one for another machine."""
    del prefix
    (tmp_path / "cc").write_text('#!/bin/sh\nwhile [ "$1" != -o ]; do shift; done; echo "not a library" > "$2"\n')
    (tmp_path / "cc").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    running = start_pcscd(tmp_path, ["Stand-in"], private=True)
    running.stop()
    assert running.driver == "vpcd"
    assert "pcscd cannot load ifd_kazashi" in running.stand_in
    assert "file too short" in running.stand_in, "the reason is the loader's"


@pytest.mark.reader
def test_an_instance_without_any_driver_does_not_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    vpcd = tmp_path / "debian" / "serial" / "libifdvpcd.so"
    vpcd.parent.mkdir(parents=True)
    vpcd.write_text("not a library")
    monkeypatch.setattr(pcscd, "VPCD", vpcd)
    with pytest.raises(PcscdUnavailable, match=r"pcscd cannot load vpcd-00\.so: .*file too short"):
        start_pcscd(tmp_path, ["None"], private=True, vpcd=True)


@pytest.mark.reader
def test_a_world_may_be_where_no_program_may_be_executed(tmp_path: Path) -> None:
    """/run and the tmpfs of a container usually are such places."""
    code = (
        "import sys; from pathlib import Path; from kazashi.reader_bridge.pcscd import start_pcscd;"
        "running = start_pcscd(Path(sys.argv[1]), ['No Exec'], private=True); running.stop();"
        "print(running.driver, running.stand_in)"
    )
    mounted = 'mount -t tmpfs -o noexec tmpfs "$1" && exec "$2" -P -c "$3" "$1"'
    done = subprocess.run(
        ["unshare", *namespace_rights(), "sh", "-c", mounted, "sh", tmp_path, sys.executable, code],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.stdout.strip() == "kazashi", done.stderr


@pytest.mark.parametrize("kept", [0, 5000])
def test_a_damaged_driver_is_built_again(prefix: Path, kept: int) -> None:
    """A power failure can leave an empty or a short file."""
    del prefix
    made = built_driver()
    content = made.read_bytes()
    made.write_bytes(content[:kept])
    again = built_driver()
    assert again.read_bytes() == content
    assert list(again.parent.glob("*.so*")) == [again]


def test_a_driver_that_was_built_needs_neither_compiler_nor_right(
    prefix: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = built_driver()
    assert made.is_relative_to(prefix)
    assert [path.name for path in made.parent.glob("*.so*")] == [made.name], "it appears whole, and nothing is left"
    without_compiler(tmp_path, monkeypatch)
    without_headers(tmp_path, monkeypatch)
    prefix.chmod(0o500)
    assert built_driver() == made


def test_the_installation_succeeds_without_a_compiler(tmp_path: Path) -> None:
    """As in `tools/installation`, which runs the module at the end."""
    code = (
        "import runpy, sys; sys.prefix = sys.argv[1]; sys.argv[1:] = [];"
        "runpy.run_module('kazashi.reader_bridge.driver.build', run_name='__main__')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], env={"PATH": str(tmp_path)}, capture_output=True, text=True,
        check=True,
    )  # fmt: skip
    assert done.stdout == (
        f"vpcd will stand in for the driver: there is no C compiler to build the driver with; {INSTALL}\n"
    )
