"""The files that commands read: pipes and devices are refused at once, and errors are in our own words."""

from __future__ import annotations

import os
import re
from pathlib import Path

import click
import pytest

from kazashi.tools.cli.command_line import kazashi
from tests.cli.program import Program, fails_in_one_line

READERS = [
    ("card", "application", "add", "hanako", "FILE"), ("card", "application", "show", "FILE"),
    ("card", "new", "taro", "--name", "pictured", "--photo", "FILE"), ("card", "terminal", "FILE", "--out", "t.cvc"),
    ("card", "relay", "set", "--faults", "FILE"), ("ca", "issue", "authentication", "hanako", "--csr", "FILE"),
    ("ca", "ocsp", "signature", "--request", "FILE"), ("ca", "lint", "FILE"), ("registry", "import", "FILE"),
    ("mdoc", "present", "hanako-phone", "FILE"), ("mdoc", "verify", "FILE", "FILE"),
    ("mdoc", "compare", "FILE", "FILE"), ("verify", "certificate", "FILE"), ("verify", "document", "FILE"),
    ("verify", "auth", "--origin", "https://a.example", "FILE"),
    ("reader", "show", "FILE"), ("reader", "compare", "FILE", "FILE"), ("reader", "script", "FILE"),
    ("reader", "profiles", "FILE.toml"), ("up", "--detach", "--faults", "FILE"),
]  # fmt: skip
LIBRARIES = re.compile(
    r"codec|Expecting|premature|https?://|Errno|\bb'|invalid start byte|JSONDecode|load PEM|InvalidData|ParseError"
    r"|asn1|ASN.1 pars"
)


def commands(group: click.Group, path: tuple[str, ...] = ()) -> list[tuple[tuple[str, ...], click.Parameter]]:
    """All parameters of all commands."""
    found: list[tuple[tuple[str, ...], click.Parameter]] = []
    for name in group.list_commands(click.Context(group)):
        command = group.get_command(click.Context(group), name)
        assert command is not None
        if isinstance(command, click.Group):
            found += commands(command, (*path, name))
        else:
            found += [((*path, name), parameter) for parameter in command.params]
    return found


def test_no_command_opens_files_with_clicks_own_type() -> None:
    """It waits for a pipe before the command begins, and reads without a limit."""
    assert [path for path, one in commands(kazashi) if isinstance(one.type, click.File)] == []


@pytest.mark.parametrize("command", READERS, ids=" ".join)
def test_a_pipe_and_a_device_are_refused_at_once(
    town: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...]
) -> None:
    monkeypatch.chdir(tmp_path)
    name = "FILE.toml" if "FILE.toml" in command else "FILE"
    for special in ("pipe", "device"):
        if special == "pipe":
            os.mkfifo(tmp_path / name)
        else:
            (tmp_path / name).symlink_to("/dev/zero")
        done = town.run(*command, expect=2)
        assert done.stderr.strip().endswith("[file-unusable]"), done.stderr
        assert f"{name} is a device, a pipe or a socket" in done.stderr
        (tmp_path / name).unlink()


@pytest.mark.parametrize(
    "content", [b"", b"\xa3\xff\x00", b"{", b"x: [", b"-----BEGIN X-----\n", b'{"a": 1}'], ids=repr
)
def test_what_cannot_be_read_is_refused_without_a_librarys_words(
    town: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("FILE", "FILE.toml"):
        (tmp_path / name).write_bytes(content)
    for command in READERS[:-1]:
        done = town.run(*command, expect=None)
        assert not LIBRARIES.search(done.stderr + done.stdout), (command, done.stderr + done.stdout)
        assert len(done.stderr.strip().splitlines()) <= 1


def test_a_file_that_is_too_large_is_refused(town: Program, tmp_path: Path) -> None:
    large = tmp_path / "large"
    with large.open("wb") as file:
        file.truncate((1 << 20) + 1)
    for command in (("card", "application", "show", str(large)), ("card", "terminal", str(large), "--out", "t")):
        fails_in_one_line(town, *command)
        assert "large has more than 1 MB" in town.error("file-unusable", 2, *command)


def test_mdoc_commands_name_the_file(town: Program, tmp_path: Path) -> None:
    for content in (b"", b"\xa3\xff", b"{}", b"[1]"):
        (tmp_path / "request").write_bytes(content)
        error = town.error("usage", 2, "mdoc", "present", "hanako-phone", str(tmp_path / "request"))
        assert f"{tmp_path}/request: the file is not a request for a presentation" in error
    (tmp_path / "other").write_bytes(b"{}")
    compared = town.error("usage", 2, "mdoc", "compare", str(tmp_path / "other"), str(tmp_path / "request"))
    assert f"{tmp_path}/other is not a DeviceResponse" in compared
