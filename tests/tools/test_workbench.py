"""The test kit as its users use it: from a project outside the source tree, and from Python."""

from __future__ import annotations

import subprocess
import sys
from datetime import date
from pathlib import Path

import pytest
from PIL import Image
from smartcard.Exceptions import CardConnectionException, NoCardException

from kazashi.applets import jpki
from kazashi.card.request import select, verify
from kazashi.reader_bridge.fault_script import BadFaultScript
from kazashi.tools.testing.workbench import Workbench
from kazashi.world.key_source import SharedKeySource
from tests.polling import LIMIT
from tests.support import run

SELECT_JPKI = list(select(jpki.AID))

PROJECT = """
import subprocess
from datetime import date
from pathlib import Path

import pytest
from cryptography import x509

SELECT = [0x00, 0xA4, 0x04, 0x0C, 0x0A, *bytes.fromhex("D392F000260100000001")]


def certificate(connection):
    connection.transmit(SELECT)
    data, first, second = connection.transmit([0x00, 0xB0, 0x8A, 0x00, 0x00, 0x00, 0x00])
    assert (first, second) == (0x90, 0x00)
    return x509.load_der_x509_certificate(bytes(data)[: int.from_bytes(bytes(data[2:4])) + 4])


@pytest.mark.kazashi(resident="taro", today=date(2027, 4, 1))
def test_a_date_and_a_resident(kazashi_connection):
    assert certificate(kazashi_connection).not_valid_before_utc.date() <= date(2027, 4, 1)


@pytest.mark.kazashi(faults="faults: [{status: 6F00, when: {matching: 00B0}}]")
def test_a_fault(kazashi_connection):
    kazashi_connection.transmit(SELECT)
    assert kazashi_connection.transmit([0x00, 0xB0, 0x8A, 0x00, 0x04])[1:] == (0x6F, 0x00)


@pytest.mark.kazashi(pin="9876")
def test_a_real_reader(kazashi_reader, kazashi_card):
    done = subprocess.run(["opensc-tool", "--reader", kazashi_reader.name, "--name"], env=kazashi_reader.environment,
                          capture_output=True, text=True, timeout=300)
    assert "jpki" in done.stdout
    verified = subprocess.run(["pkcs15-tool", "--reader", kazashi_reader.name, "--verify-pin", "--auth-id", "01",
                               "--pin", kazashi_card.pin], env=kazashi_reader.environment, timeout=300)
    assert verified.returncode == 0
    assert any("VERIFY authentication PIN" in line for line in kazashi_reader.trace())


def test_next_test_gets_another_card(kazashi_reader, kazashi_card):
    from smartcard.System import readers

    connection = next(reader for reader in readers() if str(reader) == kazashi_reader.name).createConnection()
    connection.connect()
    assert kazashi_card.pin == "1234"
    connection.transmit(SELECT)
    assert connection.transmit([0x00, 0x20, 0x00, 0x98, 0x04, *kazashi_card.pin.encode()])[1:] == (0x90, 0x00)
    connection.disconnect()


ME = {"family": "模擬", "given": "私", "birth": "1990-01-31", "sex": "1", "municipality": "28209", "street": "架空町１"}


@pytest.mark.parametrize("again", [1, 2])
@pytest.mark.kazashi(resident=ME, pin="9876", password="MYPASS99", photo=Path(__file__).with_name("me.png"))
def test_my_own_person(kazashi_workbench, kazashi_connection, kazashi_card, again):
    kazashi_connection.transmit(SELECT)
    assert kazashi_connection.transmit([0x00, 0x20, 0x00, 0x98, 0x04, *b"9876"])[1:] == (0x90, 0x00)
    points = "Toyooka-shi CRLDP"
    assert points in str(certificate(kazashi_connection).extensions)
    assert kazashi_workbench.institutions.registry.count() == 2, "hanako or taro, and one person for both tests"


@pytest.mark.kazashi(resident="me")
def test_unknown_resident(kazashi_card):
    pass


@pytest.mark.kazashi(resident={**ME, "birth": "1990-02-30"})
def test_wrong_date(kazashi_card):
    pass


@pytest.mark.kazashi(photo=b"no picture")
def test_bad_photo(kazashi_card):
    pass


@pytest.mark.kazashi(photo="missing.png")
def test_missing_photo(kazashi_card):
    pass


@pytest.mark.kazashi(resident=5)
def test_resident_of_a_wrong_type(kazashi_card):
    pass


@pytest.mark.kazashi(resident={**ME, "sex": "7"})
def test_wrong_sex(kazashi_card):
    pass


@pytest.mark.kazashi(resident={**ME, "stay_end": 5})
def test_value_of_a_wrong_type(kazashi_card):
    pass


@pytest.mark.kazashi(atr="zz")
def test_unknown_atr(kazashi_card):
    pass


@pytest.mark.kazashi(today="2027-04-01")
def test_day_as_text(kazashi_connection):
    pass


@pytest.mark.kazashi(today=date(1, 1, 1))
def test_day_before_all_worlds(kazashi_card):
    pass


@pytest.mark.kazashi(faults="nonsense")
def test_wrong_faults(kazashi_connection):
    pass


@pytest.mark.kazashi(contactless="yes")
def test_wrong_switch(kazashi_connection):
    pass


@pytest.mark.kazashi(nonsense=1)
def test_unknown_argument_of_the_mark(kazashi_card):
    pass
"""


def test_outside_project_can_use_the_plugin(tmp_path: Path) -> None:
    (tmp_path / "test_mine.py").write_text(PROJECT)
    Image.new("RGB", (400, 500), "teal").save(tmp_path / "me.png")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "--strict-markers", "-p", "no:cacheprovider", "-p", "no:xdist"],
        cwd=tmp_path, capture_output=True, text=True, check=False, timeout=LIMIT,
    )  # fmt: skip
    assert "6 passed, 13 errors" in done.stdout, done.stdout + done.stderr
    errors = done.stdout.partition("= ERRORS =")[2].partition("= short test summary")[0].splitlines()[1:]
    assert [line for line in errors if line.strip("=") and line[:3] != "___"] == [
        "there is no resident 'me'; see: kazashi registry list, and kazashi card list --samples [no-such-resident]",
        "19900230 is not a date [usage]",
        "the photo is not a complete picture in one of the formats JPEG, JPEG2000, PNG, WEBP [bad-photo]",
        "missing.png: No such file or directory [system]",
        "resident of the mark kazashi is a name, or a person's data as a mapping, and not 5",
        "sex is one of 0, 1, 2, 9, and not '7' [usage]",
        "stay_end must be text, but is 5 [usage]",
        "there is no ATR 'zz'; there are plain, extended, short, reader-made-1, reader-made-2 [usage]",
        "today of the mark kazashi is a date, such as date(2027, 4, 1), and not '2027-04-01'",
        "the date of birth 19880417 is in the future; it is 0001-01-01 in this world [event-refused]",
        "the script line 1: expected keys with values [bad-fault-script]",
        "contactless of the mark kazashi is True or False, and not 'yes'",
        "the mark kazashi takes only these keyword arguments: atr, contactless, faults, password, photo, pin, "
        "resident, today",
    ]


@pytest.fixture(scope="module")
def workbench(tmp_path_factory: pytest.TempPathFactory, keys: SharedKeySource) -> Workbench:
    return Workbench(tmp_path_factory.mktemp("workbench"), today=date(2026, 11, 24), keys=keys)


def test_in_process_card_accepts_its_pin(workbench: Workbench) -> None:
    card = workbench.card("leap-day", pin="4321")
    with workbench.in_process(card) as reader:
        connection = reader.createConnection()
        connection.connect()
        assert connection.transmit(SELECT_JPKI)[1:] == (0x90, 0x00)
        assert connection.transmit(list(verify(jpki.AUTHENTICATION_PIN, b"4321")))[1:] == (0x90, 0x00)
    with pytest.raises(CardConnectionException):
        connection.transmit(SELECT_JPKI)


def test_card_can_be_torn_out_in_process(workbench: Workbench) -> None:
    script = "faults: [{tear: during, away: 10 s, when: {command: 2}}]"
    with workbench.in_process(workbench.card(), faults=script) as reader:
        connection = reader.createConnection()
        connection.connect()
        connection.transmit(SELECT_JPKI)
        with pytest.raises(CardConnectionException, match="removed"):
            connection.transmit(list(verify(jpki.AUTHENTICATION_PIN, b"0000")))
        with pytest.raises(NoCardException, match="No smart card"):
            reader.createConnection().connect()


@pytest.mark.parametrize("fault", ["steal: 1 s", "silent: power-up", "bounce: 3", "tear: reset"])
def test_in_process_reader_refuses_what_it_cannot_show(workbench: Workbench, fault: str) -> None:
    with (
        pytest.raises(BadFaultScript, match=fault.partition(":")[0]),
        workbench.in_process(workbench.card(), faults=f"faults: [{{{fault}}}]"),
    ):
        pass


def test_temporary_directory_is_removed(keys: SharedKeySource) -> None:
    with Workbench(keys=keys) as workbench:
        directory = workbench.directory
        assert workbench.card().image.is_relative_to(directory)
    assert not directory.exists()


def test_real_readers_keep_separate_traces(workbench: Workbench) -> None:
    with workbench.readers(["Counter", "Till"]) as readers:
        assert [reader.name for reader in readers] == ["Counter 00 00", "Till 01 00"]
        readers[1].insert(workbench.card(), contactless=True)
        output = subprocess.run(["opensc-tool", "--reader", readers[1].name, "--atr"], env=readers[1].environment,
                                capture_output=True, text=True, check=True, timeout=LIMIT).stdout  # fmt: skip
        assert output.strip() == "3b:88:80:01:00:00:05:e0:b3:81:a1:00:7f"
        readers[1].reset()
        readers[1].remove()
        assert readers[1].trace()[-1] == "-- removed"
        assert readers[0].trace() == []


def test_pytest_finds_the_plugin() -> None:
    assert "kazashi_reader" in run(
        sys.executable, "-m", "pytest", "--fixtures", "-q", "-p", "no:xdist", "-o", "addopts=", "tests/applets"
    )


def test_a_phone_in_process_wants_its_pin_before_it_shows_its_certificate(keys: SharedKeySource) -> None:
    with Workbench(keys=keys) as workbench:
        phone = workbench.phone(workbench.card("hanako", password="CARD99"), pin="4321")
        with workbench.in_process(phone) as reader:
            connection = reader.createConnection()
            connection.connect()
            connection.transmit(SELECT_JPKI)
            read = [0x00, 0xB0, 0x8A, 0x00, 0x04]
            assert connection.transmit(read)[1:] == (0x69, 0x82)
            assert connection.transmit(list(verify(jpki.AUTHENTICATION_PIN, b"4321")))[1:] == (0x90, 0x00)
            assert connection.transmit(read)[0][:2] == [0x30, 0x82]
            assert bytes(connection.getATR()).startswith(b"\x3b\x88\x80\x01")
