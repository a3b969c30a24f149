"""The format of card images as in docs/card-image.md: readable by other programs, and upgraded from older versions."""

from __future__ import annotations

import re
import signal
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing
from pathlib import Path

import pytest

from kazashi.applets import jpki
from kazashi.applets.install import load_card
from kazashi.card.contents import ApplicationContents
from kazashi.card.identifiers import Aid, FileId
from kazashi.card.image import DamagedImage, ImageStore, NewerImage, read_image, rewrite_applications, write_image
from kazashi.card.image_format import DIGESTED, FORMAT
from kazashi.card.pin import PinState
from kazashi.card.store import Reference

DOCUMENT = (Path(__file__).parent.parent.parent / "docs" / "card-image.md").read_text(encoding="utf-8")
OLD_IMAGE = (Path(__file__).parent / "image_of_format_1.sql").read_text(encoding="utf-8")
JPKI = Aid("D392F000260100000001")
PIN = Reference(JPKI, FileId(5))
OLD_CONTENTS = {
    Aid("A0000001510000"): ApplicationContents(objects={0x42: b"issuer"}),
    JPKI: ApplicationContents(
        data={FileId(1): b"\x30\x82" * 9, FileId(2): b""},
        records={FileId(3): (b"one", b"two")},
        keys={FileId(4): b"key"},
        pins={FileId(5): PinState(b"1234", 3, 2)},
    ),
}
OLD_ABOUT = {"name": "番号　花子", "card number": "4"}


def documented_sql() -> str:
    """Return the statements in the document whose rows the digest covers."""
    match = re.search(r"```sql\n-- digest\n(.*?)```", DOCUMENT, re.DOTALL)
    assert match
    return match[1]


def sqlite(image: Path, statements: str) -> bytes:
    """Return the output of the sqlite3 program."""
    return subprocess.run(
        ["sqlite3", str(image)], input=statements.encode(), capture_output=True, check=True, timeout=60
    ).stdout


def openssl(*arguments: str, data: bytes) -> str:
    """Return the output of the openssl program for `data` on its standard input."""
    done = subprocess.run(["openssl", *arguments], input=data, capture_output=True, check=True, timeout=60)
    return done.stdout.decode()


def version(image: Path) -> int:
    return int(sqlite(image, "PRAGMA user_version;"))


@pytest.fixture
def old_image(tmp_path: Path) -> Path:
    """An image file of format 1."""
    path = tmp_path / "old.card"
    with closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA journal_mode = WAL")
        database.executescript(OLD_IMAGE)
    return path


def test_sqlite3_and_openssl_read_and_check_an_image(image: Path) -> None:
    assert sqlite(image, "PRAGMA application_id; PRAGMA user_version;").split() == [b"1262574163", b"%d" % FORMAT]
    stored = sqlite(image, "SELECT value FROM about WHERE name = 'digest';").decode().strip()
    assert openssl("dgst", "-sha256", "-r", data=sqlite(image, documented_sql())).split()[0] == stored
    certificate = sqlite(
        image,
        f"SELECT hex(content) FROM item WHERE aid = X'{jpki.AID}' AND kind = 'data'"
        f" AND fid = {int(jpki.AUTHENTICATION_CERTIFICATE)};",
    )
    issuer = openssl("x509", "-inform", "DER", "-noout", "-issuer", data=bytes.fromhex(certificate.decode()))
    assert "JPKI-EMU" in issuer
    tries = sqlite(image, f"SELECT tries_left FROM pin WHERE aid = X'{jpki.AID}' AND fid = 24;")
    assert int(tries) == jpki.AUTHENTICATION_PIN.tries


def test_sqlite3_and_openssl_detect_a_change(image: Path) -> None:
    before = openssl("dgst", "-sha256", data=sqlite(image, documented_sql()))
    sqlite(image, "UPDATE pin SET tries_left = 0;")
    assert openssl("dgst", "-sha256", data=sqlite(image, documented_sql())) == before, "PINs change in use"
    read_image(image)
    sqlite(image, "UPDATE item SET content = CAST(content AS TEXT) WHERE kind = 'record';")
    assert openssl("dgst", "-sha256", data=sqlite(image, documented_sql())) != before, "bytes are not text"
    with pytest.raises(DamagedImage):
        read_image(image)


def test_documented_statements_and_tables_match_the_code(image: Path) -> None:
    with closing(sqlite3.connect(image)) as database:
        rows = [line for statement in DIGESTED for (line,) in database.execute(statement)]
    assert sqlite(image, documented_sql()).decode().splitlines() == rows
    tables = re.findall(r"^### `(\w+)`", DOCUMENT, re.MULTILINE)
    assert sqlite(image, ".tables").decode().split() == sorted(tables)
    for table in tables:
        section = DOCUMENT.partition(f"### `{table}`")[2].partition("\n#")[0]
        columns = sqlite(image, f"SELECT name FROM pragma_table_info('{table}');").decode().split()
        assert re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE) == columns
    assert f"format {FORMAT}" in DOCUMENT


def test_image_of_format_1_is_upgraded_with_its_counters(old_image: Path) -> None:
    assert version(old_image) == 1
    assert read_image(old_image) == (OLD_CONTENTS, OLD_ABOUT)
    assert version(old_image) == FORMAT
    assert ImageStore(old_image).pin(PIN) == PinState(b"1234", 3, 2)
    stored = sqlite(old_image, "SELECT value FROM about WHERE name = 'digest';").decode().strip()
    assert openssl("dgst", "-sha256", "-r", data=sqlite(old_image, documented_sql())).split()[0] == stored
    assert read_image(old_image) == (OLD_CONTENTS, OLD_ABOUT), "the upgraded image can be read"


def test_a_renewal_upgrades_the_image(old_image: Path) -> None:
    contents = ApplicationContents(data={FileId(1): b"new"}, pins={FileId(5): PinState(b"9999", 3, 3)})
    rewrite_applications(old_image, {JPKI: contents}, {"card number": "5"})
    assert version(old_image) == FORMAT
    rewritten, about = read_image(old_image)
    assert rewritten[JPKI].data == {FileId(1): b"new"}
    assert rewritten[JPKI].pins == OLD_CONTENTS[JPKI].pins
    assert about == {**OLD_ABOUT, "card number": "5"}


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE item SET content = X'00' WHERE kind = 'key'",
        "UPDATE about SET value = '5' WHERE name = 'card number'",
        "UPDATE pin SET tries = 15",
        "DELETE FROM about WHERE name = 'digest'",
    ],
)
def test_damaged_image_of_format_1_is_not_changed(old_image: Path, damage: str) -> None:
    sqlite(old_image, f"{damage};")
    before = old_image.read_bytes()
    for read in (lambda: read_image(old_image), lambda: load_card(old_image)):
        with pytest.raises(DamagedImage):
            read()
    assert old_image.read_bytes() == before
    assert version(old_image) == 1


DIE = """
import os, signal, sqlite3, sys
from pathlib import Path
from kazashi.card.image import read_image
path, beginning, moment = sys.argv[1:]
class Dying(sqlite3.Connection):
    def execute(self, statement, *parameters):
        if statement.startswith(beginning) and moment == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        rows = super().execute(statement, *parameters)
        if statement.startswith(beginning) and moment == "after":
            os.kill(os.getpid(), signal.SIGKILL)
        return rows
connect = sqlite3.connect
sqlite3.connect = lambda *arguments, **options: connect(*arguments, **options, factory=Dying)
read_image(Path(path))
"""


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("statement", ["BEGIN", "INSERT OR REPLACE", "PRAGMA user_version =", "COMMIT"])
def test_a_kill_during_the_upgrade_loses_nothing(old_image: Path, statement: str, moment: str) -> None:
    done = subprocess.run([sys.executable, "-c", DIE, str(old_image), statement, moment], check=False, timeout=60)
    assert done.returncode == -signal.SIGKILL
    assert version(old_image) == (FORMAT if (statement, moment) == ("COMMIT", "after") else 1)
    assert read_image(old_image) == (OLD_CONTENTS, OLD_ABOUT)
    assert version(old_image) == FORMAT


def test_concurrent_upgrades_agree(old_image: Path) -> None:
    results = []
    threads = [threading.Thread(target=lambda: results.append(read_image(old_image))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert results == [(OLD_CONTENTS, OLD_ABOUT)] * 8
    assert version(old_image) == FORMAT


def test_later_format_is_rejected_and_not_changed(image: Path) -> None:
    sqlite(image, f"PRAGMA user_version = {FORMAT + 1};")
    before = image.read_bytes()
    with pytest.raises(NewerImage) as rejected:
        load_card(image)
    assert str(image) in str(rejected.value)
    assert f"format {FORMAT + 1}" in str(rejected.value)
    assert image.read_bytes() == before


def test_nonexistent_format_is_rejected_as_damaged(image: Path) -> None:
    sqlite(image, "PRAGMA user_version = 0;")
    with pytest.raises(DamagedImage) as rejected:
        load_card(image)
    assert not isinstance(rejected.value, NewerImage)


@pytest.mark.parametrize("about", [{"name": "two\nlines"}, {"na\0me": "x"}])
def test_control_characters_in_texts_are_rejected(tmp_path: Path, about: dict[str, str]) -> None:
    path = tmp_path / "a.card"
    with pytest.raises(ValueError, match="control characters"):
        write_image(path, OLD_CONTENTS, about)
    assert not path.exists()
