"""Disks that are full, read-only or somebody else's are told apart from damage, with the file's name. Secrets do not
stand on the command line."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from kazashi.world.home import World

pytestmark = pytest.mark.crash

KAZASHI = f"{sys.executable} -P -m kazashi"
ON_A_DISK = """
disk=$1
mount -t tmpfs -o size=24m none "$disk" && cp -r "$2" "$disk/w" && mountpoint -q "$disk" || exit 99
%s
KAZASHI --world "$disk/w" %s
"""
FULL = 'dd if=/dev/zero of="$disk/fill" bs=4k count=10000 2>/dev/null'
READ_ONLY = 'mount -o remount,ro "$disk"'


@pytest.fixture(scope="module")
def copied(world: World, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A world with two cards, whose stores have no journals."""
    directory = tmp_path_factory.mktemp("disks") / "w"
    world.close()
    shutil.copytree(world.directory, directory)
    for card in (directory / "cards").iterdir():
        if card.name not in ("hanako.card", "taro.card"):
            card.unlink()
    return directory


def on_a_disk(world: Path, place: Path, trouble: str, command: str) -> subprocess.CompletedProcess[str]:
    """Run a command on a copy of the world, on a small disk of its own that is in trouble."""
    place.mkdir(exist_ok=True)
    rights = ["--mount"] if os.geteuid() == 0 else ["--map-root-user", "--mount"]
    script = (ON_A_DISK % (trouble, command)).replace("KAZASHI", KAZASHI)
    return subprocess.run(
        ["unshare", *rights, "sh", "-c", script, "sh", str(place), str(world)],
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip


def kazashi(world: Path, *arguments: str, prefix: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*prefix, *KAZASHI.split(), "--world", str(world), *arguments],
        capture_output=True, text=True, check=False, timeout=120, stdin=subprocess.DEVNULL,
    )  # fmt: skip


@pytest.mark.parametrize("trouble", [FULL, READ_ONLY], ids=["full", "read-only"])
def test_cards_are_read_from_a_disk_that_cannot_be_written(copied: Path, tmp_path: Path, trouble: str) -> None:
    listed = on_a_disk(copied, tmp_path / "disk", trouble, "card list --json")
    assert listed.returncode == 0, listed.stderr
    assert [card["name"] for card in json.loads(listed.stdout)] == ["番号　花子", "番号　太郎"]


@pytest.mark.parametrize(
    ("trouble", "reason"), [(FULL, "the disk is full"), (READ_ONLY, "the file system is read-only")], ids=["full", "ro"]
)
def test_a_store_on_such_a_disk_fails_with_the_reason_and_the_file(
    copied: Path, tmp_path: Path, trouble: str, reason: str
) -> None:
    done = on_a_disk(copied, tmp_path / "disk", trouble, "card new leap-day")
    assert done.returncode == 3
    assert f"{tmp_path}/disk/w/stores/" in done.stderr
    assert f".sqlite failed: {reason} [store-failed]" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_file_that_belongs_to_somebody_else_is_not_damaged(copied: Path, tmp_path: Path) -> None:
    world = Path(shutil.copytree(copied, tmp_path / "w"))
    (world / "cards" / "hanako.card").chmod(0)
    stranger: tuple[str, ...] = ()
    if os.geteuid() == 0:  # root reads everything; without a mapping of users, it is nobody
        subprocess.run(["chmod", "-R", "a+rX", str(world), str(tmp_path)], check=True)
        (world / "cards" / "hanako.card").chmod(0)
        stranger = ("unshare", "--user")
    cards = json.loads(kazashi(world, "card", "list", "--json", prefix=stranger).stdout)
    assert [card["card"] for card in cards] == ["hanako", "taro"]
    assert "cannot be read: Permission denied" in cards[0]["damage"]
    assert cards[1]["name"] == "番号　太郎"
    shown = kazashi(world, "card", "show", "hanako", prefix=stranger)
    assert shown.returncode == 3
    assert "[card-unreadable]" in shown.stderr
    assert "damaged" not in shown.stderr


def test_doctor_opens_every_store_and_every_card(copied: Path, tmp_path: Path) -> None:
    world = Path(shutil.copytree(copied, tmp_path / "w"))
    checks = {check["check"]: check for check in json.loads(kazashi(world, "doctor", "--json").stdout)}
    assert checks["stores"]["ok"]
    assert checks["card images"]["detail"] == "2 of 2 can be read"
    (world / "stores" / "registry.sqlite").write_bytes(b"SQLite format 3\0" + b"x" * 4096)
    (world / "cards" / "taro.card").write_bytes(b"x" * 4096)
    done = kazashi(world, "doctor", "--json")
    assert done.returncode == 3
    wrong = [check["detail"] for check in json.loads(done.stdout) if not check["ok"]]
    assert any("registry.sqlite is damaged" in detail for detail in wrong), wrong
    assert any("taro.card" in detail for detail in wrong), wrong
    listed = kazashi(world, "card", "list")
    assert listed.returncode == 0
    assert "番号　花子" in listed.stdout
    refused = kazashi(world, "registry", "list")
    assert "registry.sqlite is damaged" in refused.stderr


@pytest.mark.parametrize(
    "options",
    [("--storage", "postgresql://user:sesame@db/kazashi"), ("--storage", "postgresql://db/kazashi?password=sesame"),
     ("--keys", "pkcs11:token=T?module-path=/x.so&pin-value=sesame")],
    ids=["password", "parameter", "PIN"],
)  # fmt: skip
def test_a_secret_on_the_command_line_is_refused_and_not_repeated(tmp_path: Path, options: tuple[str, str]) -> None:
    done = kazashi(tmp_path / "w", "world", "new", *options)
    assert done.returncode == 2
    assert "sesame" not in done.stderr + done.stdout
    assert "nothing was done" in done.stderr
    assert not (tmp_path / "w").exists()


def test_a_secret_of_an_older_world_is_not_shown(tmp_path: Path) -> None:
    assert kazashi(tmp_path / "w", "world", "new").returncode == 0
    file = tmp_path / "w" / "world.json"
    settings = json.loads(file.read_text()) | {"storage": "postgresql://user:sesame@db/kazashi"}
    file.write_text(json.dumps(settings))
    for arguments in (("world", "show"), ("world", "show", "--json")):
        done = kazashi(tmp_path / "w", *arguments)
        assert "sesame" not in done.stdout + done.stderr, arguments
    assert "postgresql://user:***@db/kazashi" in kazashi(tmp_path / "w", "world", "show").stdout
