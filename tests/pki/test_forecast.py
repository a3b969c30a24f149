"""`kazashi ca forecast`: the forecast sizes are those of the lists that are then made."""

from __future__ import annotations

import re
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from kazashi.assembly.institutions import Institutions
from kazashi.jpki.profile import NEXT
from kazashi.jpki.state import Reason
from kazashi.pki.certificate_database import FULL_LIST
from kazashi.pki.forecast import Forecast
from kazashi.world.clock import epoch
from kazashi.world.key_source import SharedKeySource
from tests.cli.program import InProcessProgram
from tests.pki.test_lists import phone_certificates
from tests.support import run
from tests.town import AUTHENTICATION, later, new_institutions

SHIBUYA, LEAP_DAYS, KIND = "13113", "47201", "authentication"


@pytest.fixture(scope="module")
def ready(tmp_path_factory: pytest.TempPathFactory, keys: SharedKeySource) -> Path:
    """A world with certificates in two municipalities: good, on hold, revoked, and about to expire."""
    town = new_institutions(tmp_path_factory.mktemp("ready") / "w", keys)
    serials = phone_certificates(town, keys, [30] * 12)
    phone_certificates(town, keys, [1, 1])
    revocations = town.revocations[AUTHENTICATION]
    revocations.revoke(serials[0], Reason.CERTIFICATE_HOLD)
    revocations.revoke(serials[1], Reason.CERTIFICATE_HOLD)
    revocations.revoke(serials[2], Reason.UNSPECIFIED)
    later(town, days=2)
    revocations.revoke(serials[4], Reason.KEY_COMPROMISE)  # not in a list yet
    revocations.release(serials[1])
    town.world.close()
    return town.world.directory


@pytest.fixture
def program(ready: Path, tmp_path: Path) -> InProcessProgram:
    return InProcessProgram(Path(shutil.copytree(ready, tmp_path / "w")))


def forecast(program: InProcessProgram, *options: str) -> dict[str, Any]:
    document = program.json("ca", "forecast", KIND, *options)
    assert isinstance(document, dict)
    return document


def assert_right(program: InProcessProgram, document: dict[str, Any], directory: Path) -> None:
    """Make the next lists and compare them with the forecast."""
    program.run("clock", "advance", "1d")
    for row in document["lists"]:
        path = directory / f"{row['list']}.crl"
        program.run("ca", "crl", KIND, row["list"], "--out", str(path))
        text = run("openssl", "crl", "-inform", "DER", "-in", str(path), "-noout", "-text")
        assert path.stat().st_size == row["bytes"], row
        assert text.count("Serial Number:") == row["entries"], row
        assert datetime.fromisoformat(document["made_at"]).strftime("Last Update: %b %e %H:%M:%S %Y GMT") in text


@pytest.mark.parametrize(
    "reason",
    [
        "affiliationChanged",
        pytest.param("unspecified", marks=pytest.mark.long),
        pytest.param("certificateHold", marks=pytest.mark.long),
    ],
)
def test_the_lists_after_a_merger_have_the_forecast_sizes(
    program: InProcessProgram, tmp_path: Path, reason: str
) -> None:
    rows = [row for who in ("hanako", "leap-day") for row in program.json("ca", "show", who)]
    may = ("good",) if reason == "certificateHold" else ("good", "held")
    revocable = [row["serial"] for row in rows if row["state"] in may]
    places = ("--municipality", SHIBUYA, "--municipality", LEAP_DAYS)
    document = forecast(program, *places, "--reason", reason)
    assert [row["list"] for row in document["lists"]] == [SHIBUYA, LEAP_DAYS, "full"]
    assert [row["added"] for row in document["lists"]][2] == document["revoked"] > 5
    assert document["exact"]
    before = {row["list"]: row["bytes_now"] for row in document["lists"]}
    assert program.json("ca", "forecast", KIND, *places, "--reason", reason)["lists"][2]["bytes_now"] == before["full"]
    for serial in revocable:
        program.run("ca", "revoke", KIND, f"0x{serial}", "--reason", reason)
    assert_right(program, document, tmp_path)


def test_a_number_of_entries_is_forecast_for_both_lists(program: InProcessProgram, tmp_path: Path) -> None:
    good = [row["serial"] for row in program.json("ca", "show", "hanako") if row["state"] == "good"][:3]
    document = forecast(program, "--entries", "3", "--municipality", SHIBUYA)
    alone = forecast(program, "--entries", "3")
    assert [row["list"] for row in alone["lists"]] == ["full"]
    assert alone["lists"][0]["bytes"] == document["lists"][1]["bytes"]
    for serial in good:
        program.run("ca", "revoke", KIND, f"0x{serial}")
    assert_right(program, document, tmp_path)


def test_time_and_download_are_forecast(program: InProcessProgram) -> None:
    few, many = (forecast(program, "--entries", str(count), "--mbps", "100")["lists"][0] for count in (10, 10_000_000))
    assert many["download_seconds"] == pytest.approx(many["bytes"] * 8 / 100e6, rel=0.01)
    assert 0 < few["seconds"] < many["seconds"]
    text = program.run("ca", "forecast", KIND, "--entries", "10").stdout
    assert re.search(r"^full +\d+ +10 +\d+ +\d+ +[\d.]+$", text, re.MULTILINE)
    assert not list(program.world.glob(".forecast*"))


def test_what_cannot_be_forecast_is_refused(program: InProcessProgram) -> None:
    for options in ((), ("--entries", "5", "--municipality", SHIBUYA, "--municipality", "13101"),
                    ("--municipality", "13101"), ("--entries", "5", "--reason", "whim"),
                    ("--entries", "5", "--generation", "77")):  # fmt: skip
        program.error("usage", 2, "ca", "forecast", KIND, *options)
    program.run("ca", "forecast", KIND, "--entries", "0", expect=2)


def test_every_shape_of_entry_is_counted(institutions: Institutions) -> None:
    """Serial numbers of one to nine octets, both forms of time, each reason; and a list that outgrows its lengths."""
    ledger, publication = institutions.authorities[AUTHENTICATION].ledger, institutions.publications[AUTHENTICATION]
    generation = institutions.authorities[AUTHENTICATION].issuing()
    institutions.settle()
    ends = epoch(institutions.world.clock.now() + timedelta(days=400))
    late = int(datetime(2050, 1, 1, tzinfo=UTC).timestamp())
    edges = [number for bits in range(1, 65) for number in ((1 << bits) - 1, 1 << (bits - 1))]
    shapes = [(serial, at, reason) for serial in edges for at in (0, late - 1, late) for reason in (0, 1)]
    count = 0
    for entries in (shapes[:1], shapes[1:], [(5 + number, 0, 3) for number in range(2_000)]):
        with ledger.store.transaction() as connection:
            first = ledger.count(connection, "position", len(entries), 1)
            connection.execute(sa.insert(ledger.revocation), [
                {"generation": generation.name, "position": first + place, "serial": serial, "partition": SHIBUYA,
                 "at": at, "reason": reason, "expires": ends, "recorded_at": at}
                for place, (serial, at, reason) in enumerate(entries)
            ])  # fmt: skip
        (full,) = Forecast(publication, generation, Reason.SUPERSEDED).of_municipalities([])
        later(institutions, days=1)
        count += len(entries)
        assert publication.path(generation.name, FULL_LIST).stat().st_size == full.bytes_then
        assert full.entries_then == count


def test_a_list_signed_with_p_384_is_forecast_within_a_few_bytes(town: Institutions) -> None:
    authority, publication = town.authorities[AUTHENTICATION], town.publications[AUTHENTICATION]
    generation = authority.issuing(profile=NEXT)
    town.settle()
    (full,) = Forecast(publication, generation, Reason.SUPERSEDED).of_municipalities([])
    later(town, days=1)
    assert not full.exact
    assert 0 <= full.bytes_then - publication.path(generation.name, FULL_LIST).stat().st_size <= 6
