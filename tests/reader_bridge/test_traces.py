"""Trace files: what is written is read back, also after damage, interruption, and by later programs."""

from __future__ import annotations

import io
import signal
import stat
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kazashi.applets.install import structure
from kazashi.card.rule import StatusRule, under
from kazashi.reader_bridge.capture import write_capture, write_gsmtap
from kazashi.reader_bridge.decoder import Decoder
from kazashi.reader_bridge.replay import ReplayedCard
from kazashi.reader_bridge.trace import BadTrace, Trace, TraceWriter, read_trace
from kazashi.reader_bridge.vpcd import Exchange
from tests.polling import until
from tests.reader_bridge.tracing import written

RULES = st.builds(StatusRule, st.text(min_size=1), st.text(min_size=1))
EXCHANGES = st.lists(st.one_of(
    st.builds(
        lambda at, seconds, command, rule, response: Exchange(
            at / 1000, seconds / 1000, command, under(rule, response)
        ),
        st.integers(0, 2**40), st.integers(0, 10**6), st.binary(min_size=1, max_size=64), st.none() | RULES,
        st.binary(max_size=300),
    ),
    st.builds(
        lambda at, response, event: Exchange(at / 1000, 0.0, b"", response, event),
        st.integers(0, 2**40), st.binary(max_size=33), st.text(min_size=1, max_size=40),
    ),
), max_size=12)  # fmt: skip


@settings(max_examples=80)
@given(exchanges=EXCHANGES, unmasked=st.booleans(), reader=st.text(max_size=40))
def test_trace_is_read_back_as_written(exchanges: list[Exchange], unmasked: bool, reader: str) -> None:
    with TemporaryDirectory() as directory:
        path = Path(directory) / "t"
        with TraceWriter(path, reader, Decoder(structure()), unmasked=unmasked) as writer:
            decoded = [writer.write(exchange) for exchange in exchanges]
        trace = read_trace(path)
    assert (trace.reader, trace.masked, trace.cut_off) == (reader, not unmasked, False)
    for line, exchange, words in zip(trace.lines, exchanges, decoded, strict=True):
        assert (line.at, line.seconds, line.event) == (exchange.at, exchange.seconds, exchange.event)
        if unmasked or exchange.event:
            assert (line.command_bytes, line.response_bytes) == (exchange.command, exchange.response)
        else:
            assert (line.command, line.response) == (words.command, words.response)
        assert line.words == ("" if exchange.event else words.words)
        assert (line.rule, line.source) == (words.rule, words.source)
        if not exchange.event:
            assert line.is_asked_by(exchange.command)


def test_truncated_trace_has_all_complete_lines(session: list[Exchange], tmp_path: Path) -> None:
    path = written(tmp_path / "t", session[:12])
    whole, raw = read_trace(path), path.read_bytes()
    ends = [at + 1 for at, byte in enumerate(raw) if byte == ord("\n")]
    chance = Random(20260401)
    offsets = {*range(ends[-3], len(raw)), *(chance.randrange(len(raw)) for _ in range(300)), ends[0] - 1, ends[0], 0}
    for offset in offsets:
        path.write_bytes(raw[:offset])
        complete = sum(end <= offset for end in ends)
        if not complete:
            with pytest.raises(BadTrace, match="first line"):
                read_trace(path)
            continue
        trace = read_trace(path)
        assert trace.lines == whole.lines[: complete - 1], offset
        assert trace.cut_off == (offset not in ends), offset


def use(trace: Trace) -> None:
    """Use a trace in every way."""
    write_capture(trace, io.BytesIO())
    write_gsmtap(trace, io.BytesIO())
    time.localtime(trace.lines[0].at if trace.lines else 0)
    try:
        card = ReplayedCard(trace, strict=False)
    except BadTrace:
        return
    for line in trace.lines:
        card.transmit(line.command_bytes)


def wrong_with(path: Path) -> str | None:
    """Return why a file is not a trace, or None after using it as one."""
    try:
        trace = read_trace(path)
    except BadTrace as error:
        return str(error)
    use(trace)
    return None


HEADER = b'{"format": "kazashi-trace", "version": 1, "reader": "x", "masked": true}\n'


@settings(max_examples=300)
@given(data=st.data())
def test_trace_with_a_damaged_byte_loads_or_names_the_line(data: st.DataObject, short: bytes) -> None:
    """A trace that still loads can be used."""
    at = data.draw(st.integers(0, len(short) - 1))
    raw = short[:at] + bytes((data.draw(st.integers(0, 255)),)) + short[at + 1 :]
    with TemporaryDirectory() as directory:
        path = Path(directory) / "t"
        path.write_bytes(raw)
        error = wrong_with(path)
        assert error is None or (str(path) in error and ("line" in error or "version" in error))


@pytest.fixture(scope="module")
def short(session: list[Exchange]) -> bytes:
    """The bytes of a short trace."""
    with TemporaryDirectory() as directory:
        return written(Path(directory) / "t", [*session[:8], *session[-2:]]).read_bytes()


LINE = '{"at": 1.0, "seconds": 0.0, "command": "00A4", "response": "9000"}'


@pytest.mark.parametrize(
    "line",
    [
        "", "[]", "1", "null", '"x"', "{", "\xff", '{"at": 1}', LINE.replace("1.0", '"x"'), LINE.replace("1.0", "null"),
        LINE.replace("1.0", "1" + "0" * 400), LINE.replace("1.0", "1" + "0" * 5000), LINE.replace("1.0", "1e999"),
        LINE.replace("1.0", "NaN"), LINE.replace("1.0", "-5"), LINE.replace("1.0", "1e12"),
        LINE.replace("0.0", "-1"), LINE.replace("0.0", "1e300"), LINE.replace("0.0", "Infinity"),
        LINE.replace("00A4", "00A"), LINE.replace("00A4", "zz"), LINE.replace("00A4", "00***"),
        LINE.replace('"00A4"', "null"), LINE.replace('"9000"', "[]"),
        "[" * 100_000, '{"a":' * 100_000,
    ],
)  # fmt: skip
def test_error_names_the_invalid_line(tmp_path: Path, line: str) -> None:
    path = tmp_path / "t"
    path.write_bytes(HEADER + LINE.encode() + b"\n" + line.encode("latin-1") + b"\n" + LINE.encode() + b"\n")
    with pytest.raises(BadTrace, match=r"t line 3 "):
        read_trace(path)


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (b"", "no first line"),
        (b"x", "no first line"),
        (b"x\n", "line 1 is not valid JSON"),
        (b"[]\n", "line 1 is not a JSON object"),
        (b"{}\n", "does not name the format"),
        (HEADER.replace(b"1", b"2"), "another version"),
        (b"\0" * 1000 + b"\n", "line 1 is not valid JSON"),
        (bytes(range(256)) * 40, "line 1 is not valid JSON"),
    ],
)
def test_file_that_is_not_a_trace_is_rejected(tmp_path: Path, raw: bytes, words: str) -> None:
    (tmp_path / "t").write_bytes(raw)
    with pytest.raises(BadTrace, match=words):
        read_trace(tmp_path / "t")


@settings(max_examples=200)
@given(raw=st.one_of(st.binary(max_size=300), st.binary(max_size=200).map(lambda tail: HEADER + tail)))
def test_any_bytes_are_a_trace_or_a_bad_one(raw: bytes) -> None:
    with TemporaryDirectory() as directory:
        path = Path(directory) / "t"
        path.write_bytes(raw)
        error = wrong_with(path)
        assert error is None or str(path) in error


RECORDER = """
import sys
from pathlib import Path
from kazashi.applets.install import structure
from kazashi.reader_bridge.capture import write_capture, write_gsmtap
from kazashi.reader_bridge.decoder import Decoder
from kazashi.reader_bridge.trace import TraceWriter
from kazashi.reader_bridge.vpcd import Exchange
writer = TraceWriter(Path(sys.argv[1]), "x", Decoder(structure()))
number = 0
while True:
    number += 1
    writer.write(Exchange(float(number), 0.0, bytes.fromhex("00B08A0000"), bytes(256) + b"\\x90\\x00"))
"""


def has_grown(path: Path) -> bool:
    return path.exists() and path.stat().st_size > 50_000


def test_killed_recorder_leaves_a_readable_trace(tmp_path: Path) -> None:
    for turn in range(3):
        path = tmp_path / f"{turn}"
        recorder = subprocess.Popen([sys.executable, "-c", RECORDER, str(path)])
        try:
            until(partial(has_grown, path), "the trace does not grow")
        finally:
            recorder.send_signal(signal.SIGKILL)
            recorder.wait()
        trace = read_trace(path)
        assert [line.at for line in trace.lines] == [float(number) for number in range(1, len(trace.lines) + 1)]
        assert len(trace.lines) > 50


def test_trace_is_private_and_never_overwritten(tmp_path: Path) -> None:
    path = written(tmp_path / "t", [])
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    before = path.read_bytes()
    with pytest.raises(FileExistsError):
        TraceWriter(path, "x", Decoder(()))
    assert path.read_bytes() == before
