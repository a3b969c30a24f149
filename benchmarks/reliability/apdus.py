"""Commands of all kinds to cards in random states, each response checked against a small model of a card.

`python -m benchmarks.reliability.apdus --seed N` plays the card of one seed and prints its commands.
"""

from __future__ import annotations

import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, field, replace
from multiprocessing import get_context
from pathlib import Path
from random import Random

from benchmarks.bench_worlds import new_world
from benchmarks.reliability.card_model import (
    AUTHENTICATING,
    CHANGEABLE,
    NAMES,
    PINS,
    READABLE,
    RECORDS,
    SIGNING,
    CardModel,
    Unearned,
)
from benchmarks.reliability.coverage import FunctionLines
from benchmarks.reliability.durable import in_memory
from benchmarks.reliability.fork import in_new_process
from benchmarks.reliability.processes import resident_megabytes
from benchmarks.reliability.repeat import repeating
from benchmarks.reliability.trial import Show, Trial
from kazashi.applets.install import install, load_card
from kazashi.assembly.institutions import Institutions
from kazashi.card import request
from kazashi.card.access import ISO_RESET, MEASURED_RESET
from kazashi.card.chip import Chip
from kazashi.card.commands import HANDLERS
from kazashi.card.contents import ApplicationContents, CardContents
from kazashi.card.identifiers import Aid, FileId
from kazashi.card.image import read_image, write_image
from kazashi.card.store import Reference
from kazashi.tools.program import run
from kazashi.world.key_source import SharedKeySource, generate

APDUS = 20_000_000
"""The number of commands in a full run."""

SHARE = 0.2
"""The share of a full run's time."""

PER_CARD = 2_000
"""The number of commands to one card."""

GROWTH = 0.03
"""The most by which the memory of a process may grow after the first tenth of the time."""

_CARDS = 10
"""The number of cards that a process plays at a time."""

_SAMPLE = 30
"""The number of cards whose lines are counted."""

_IMAGES = 0.1
"""The share of cards that are an image file; the others are in memory."""

_RSA = 0.03
"""The share of commands that are sent if the card would sign: a signature takes as long as a hundred other commands."""

_SIGN = (b"\x80\x2a", b"\x00\x88")
"""The instructions that may sign."""


def card_states(contents: CardContents, rng: Random) -> tuple[CardContents, CardModel]:
    """Return contents with random retry counters, and a model of that card. A reset keeps or clears what is verified,
    as `model.reset_keeps` says."""
    by_name = {name: contents[Aid(aid)] for name, aid in NAMES.items()}
    pins = {key: by_name[key[0]].pins[FileId(key[1])].value for key in PINS}
    left = {key: rng.choice((tries, rng.randint(0, tries))) for key, tries in PINS.items()}
    changed: CardContents = {}
    for name, application in by_name.items():
        states = {
            fid: replace(pin, tries_left=left.get((name, fid), pin.tries_left)) for fid, pin in application.pins.items()
        }
        changed[Aid(NAMES[name])] = ApplicationContents(
            application.data, application.records, application.keys, states, application.objects
        )
    readable = {(name, fid): by_name[name].data[FileId(fid)] for name in NAMES for fid in READABLE[name]}
    return changed, CardModel(readable, pins, left, reset_keeps=rng.random() < 0.5)


class CommandSource:
    """An endless mixture of commands to one card, whose model says which PINs are right."""

    def __init__(self, model: CardModel, rng: Random) -> None:
        self._model, self._rng = model, rng
        self._kinds: Sequence[Callable[[], Sequence[bytes]]] = (self._noise, self._grammar, self._session, self._flow)

    def some(self) -> list[bytes]:
        """Return the next commands: one, or a session."""
        rng = self._rng
        kind = rng.choices(self._kinds, (10, 60, 3, 5))[0]
        commands = []
        for command in kind():
            signs = command[:2] in _SIGN and (self._model.verified or self._model.application in _FREE_KEYS)
            if signs and rng.random() > _RSA:
                continue
            if kind == self._session and rng.random() < 0.2:
                command = self._mutated(command)
            commands.append(command)
        return commands

    def _noise(self) -> Sequence[bytes]:
        rng = self._rng
        return [rng.randbytes(int(rng.random() * (300 if rng.random() < 0.05 else 12)))]

    def _grammar(self) -> Sequence[bytes]:
        """A command that the card knows, with parameters that are mostly possible."""
        rng = self._rng
        draw = rng.random()
        if draw < 0.15:
            aid = bytes.fromhex(NAMES[rng.choice(_APPLICATIONS)])
            return [bytes((0, 0xA4, 4, rng.choice((0, 2, 12, 12, 14)), len(aid))) + aid]
        if draw < 0.35:
            return [bytes((0, 0xA4, 2, 12, 2, 0, int(rng.random() * 0x20)))]
        if draw < 0.55:
            return [bytes((0, 0xB0, 0x80 | int(rng.random() * 0x20), 0, int(rng.random() * 256)))]
        if draw < 0.65:
            return [bytes((0, 0x20, 0, 0x80 | int(rng.random() * 0x20)))]
        if draw < 0.68:
            return [bytes((0, 0xB2, int(rng.random() * 3), int(rng.random() * 4) << 3 | 4, int(rng.random() * 256)))]
        if draw < 0.72:
            data = rng.randbytes(rng.choice((1, 32, 51, 200)))
            head = bytes((0x80, 0x2A, int(rng.random() * 7), rng.choice((0, 0x80, 0x93, 0x97, 0x9A)), len(data)))
            return [head + data + rng.choice((b"", b"\0", b"\0"))]
        key = rng.choice(_INSTRUCTIONS)
        p1 = rng.choice((0, 1, 2, 0x80 | int(rng.random() * 32), int(rng.random() * 256)))
        p2 = rng.choice((0, 4, 0x80, 0x80 | int(rng.random() * 32), int(rng.random() * 256)))
        data = rng.randbytes(rng.choice((0, 0, 1, 2, 4, 12, 32, 51)))
        tail = rng.choice((b"", b"\0", b"\x10"))
        if rng.random() < 0.05:
            return [bytes((key >> 8, key & 0xFF, p1, p2, 0)) + len(data).to_bytes(2) + data + tail * 2]
        return [bytes((key >> 8, key & 0xFF, p1, p2)) + (bytes((len(data),)) + data if data else b"") + tail]

    def _session(self) -> Sequence[bytes]:
        """What a client does in one application: it verifies PINs, reads everything, and signs."""
        rng = self._rng
        name = rng.choice(_APPLICATIONS)
        commands = [request.select(bytes.fromhex(NAMES[name]))]
        for application, fid in PINS:
            if application == name and rng.random() < 0.7 and self._model.left[name, fid]:
                commands.append(request.verify(fid, self._model.pins[name, fid]))
        for fid in READABLE[name]:
            commands += [request.select_file(fid), request.read_binary(0, rng.randint(1, 256))]
        commands += [
            request.compute_digital_signature(fid, b"\xaa", way=rng.randrange(6)) for fid in SIGNING.get(name, ())
        ]
        commands += [request.read_record(1, fid) for fid in RECORDS.get(name, ())]
        if name in AUTHENTICATING:
            commands.append(request.internal_authenticate(AUTHENTICATING[name], rng.randbytes(32)))
        return [*commands, request.get_data(0x5F51)]

    def _flow(self) -> Sequence[bytes]:
        """A flow of right and wrong values for one PIN, with a change."""
        rng = self._rng
        name, fid = key = rng.choice(_PIN_KEYS)
        right = self._model.pins[key]
        commands = [request.select(bytes.fromhex(NAMES[name]))]
        for _ in range(rng.randint(1, 4)):
            draw = rng.random()
            wrong = bytes(rng.choice(b"0123456789") for _ in right)
            commands.append(
                request.verify(fid, right if draw < 0.7 else wrong) if draw < 0.8 else request.tries_left(fid)
            )
        if key in CHANGEABLE and rng.random() < 0.5:
            command, length = CHANGEABLE[key]
            new = bytes(rng.choice(b"0123456789") for _ in range(length))
            head = bytes.fromhex(command)
            commands.append(head[:3] + bytes((0x80 | fid, length)) + new)
        return commands

    def _mutated(self, command: bytes) -> bytes:
        rng = self._rng
        place = int(rng.random() * len(command))
        match int(rng.random() * 4):
            case 0:
                return command[:place] + bytes((command[place] ^ 1 << int(rng.random() * 8),)) + command[place + 1 :]
            case 1:
                return command[:place]
            case 2:
                return command + rng.randbytes(1)
        return command[:place] + command[place:][:1] + command[place:]


_FREE_KEYS = {*AUTHENTICATING, *(name for name, keys in SIGNING.items() if None in keys.values())}
_APPLICATIONS, _PIN_KEYS, _INSTRUCTIONS = tuple(NAMES), tuple(PINS), tuple(HANDLERS)


@dataclass
class CardsPlayed:
    """What became of some cards: the number of commands and of status words, and the cards on which a check failed."""

    cards: int = 0
    commands: int = 0
    statuses: Counter[int] = field(default_factory=Counter)
    failed: list[tuple[int, str]] = field(default_factory=list)
    memory: dict[int, list[tuple[float, float]]] = field(default_factory=dict)
    """For each process, times of the monotonic clock and the megabytes that it had then."""

    def add(self, other: CardsPlayed) -> None:
        """Add what became of further cards."""
        self.cards += other.cards
        self.commands += other.commands
        self.statuses += other.statuses
        self.failed += other.failed
        for process, points in other.memory.items():
            self.memory.setdefault(process, []).extend(points)


class CardPlayer:
    """Plays cards, which are made from one personalised card."""

    def __init__(self, directory: Path) -> None:
        """Personalise a card in `directory`."""
        institutions = Institutions(new_world(directory / "world", SharedKeySource([generate() for _ in range(6)])))
        self._contents, self._about = read_image(institutions.issue_card("hanako", "hanako"))
        institutions.world.close()
        self._image = directory / "played.card"

    def play(self, seed: int, played: CardsPlayed, tell: Callable[[str], object] | None = None) -> None:
        """Send PER_CARD commands to the card of a seed, and add what became of it to `played`."""
        rng = Random(seed)
        contents, model = card_states(self._contents, rng)
        on_disk = rng.random() < _IMAGES
        if on_disk:
            self._image.unlink(missing_ok=True)
            write_image(self._image, contents, self._about)
        card = load_card(self._image) if on_disk else install(contents)
        chip = Chip(card, rng.randbytes, MEASURED_RESET if model.reset_keeps else ISO_RESET)
        chip.power_on()
        played.cards += 1
        sent, command, response, source = 0, b"", b"", CommandSource(model, rng)
        try:
            while sent < PER_CARD:
                for command in source.some():
                    response = chip.transmit(command)
                    sent += 1
                    played.statuses[response[-2] << 8 | response[-1]] += 1
                    if tell is not None:
                        tell(f"{command.hex()} -> {response[:20].hex()} ({len(response)} bytes)")
                    model.observe(command, response)
                if rng.random() < 0.01:
                    self._interrupt(chip, model, rng, tell)
            self._compare(chip, model)
        except Unearned as error:
            played.failed.append((seed, f"command {sent}, {command.hex()} -> {response[:20].hex()}: {error}"))
        except Exception as error:
            played.failed.append((seed, f"command {sent}, {command.hex()}: {type(error).__name__}: {error}"))
        played.commands += sent

    def _interrupt(self, chip: Chip, model: CardModel, rng: Random, tell: Callable[[str], object] | None) -> None:
        if rng.random() < 0.5:
            chip.reset()
            model.reset()
        else:
            chip.power_off()
            chip.power_on()
            model.power_cycle()
        self._compare(chip, model)
        if tell is not None:
            tell("reset, or power cycle")

    def _compare(self, chip: Chip, model: CardModel) -> None:
        for name, fid in PINS:
            state = chip.card.store.pin(Reference(Aid(NAMES[name]), FileId(fid)))
            if (state.value, state.tries_left) != (model.pins[name, fid], model.left[name, fid]):
                raise Unearned(f"{name} {fid:02X} has {state.tries_left} tries left, not {model.left[name, fid]}")


class _Worker:
    """A process that plays cards until a time of the monotonic clock."""

    player: CardPlayer
    until: float

    @classmethod
    def begin(cls, directory: Path, seconds: float) -> None:
        cls.player = CardPlayer(directory / str(os.getpid()))
        cls.until = time.monotonic() + seconds

    @classmethod
    def play(cls, seeds: range) -> CardsPlayed:
        played = CardsPlayed()
        for seed in seeds:
            if time.monotonic() > cls.until:
                break
            cls.player.play(seed, played)
        played.memory[os.getpid()] = [(time.monotonic(), resident_megabytes(os.getpid()))]
        return played


def play_cards(seed: int, commands: int, seconds: float, show: Show) -> CardsPlayed:
    """Play cards from `seed` on, on all processors, until `commands` were sent or the time is over."""
    total = CardsPlayed()
    step = _CARDS
    seeds = range(seed, seed + -(-commands // PER_CARD))
    chunks = (seeds[begin : begin + step] for begin in range(0, len(seeds), step))
    with in_memory() as directory:
        begin = (directory, seconds)
        with get_context("spawn").Pool(len(os.sched_getaffinity(0)), _Worker.begin, begin) as pool:
            for part in pool.imap(_Worker.play, chunks):
                total.add(part)
                show(f"{total.commands:,} APDUs, {len(total.failed)} cards wrong")
            pool.close()
            pool.join()
    return total


def growth(memory: dict[int, list[tuple[float, float]]]) -> tuple[float, float, float]:
    """Return the greatest growth of a process after the first tenth of the time, as a share, and its megabytes then and
    at the end."""
    begun = min(point[0] for points in memory.values() for point in points)
    ended = max(point[0] for points in memory.values() for point in points)
    grown = []
    for points in memory.values():
        settled = [size for at, size in points if at >= begun + (ended - begun) / 10]
        if settled:
            grown.append((settled[-1] / settled[0] - 1, settled[0], settled[-1]))
    return max(grown, default=(0.0, 0.0, 0.0))


def covered_lines(seed: int, cards: int) -> Generator[dict[str, tuple[int, int]], None, None]:
    """Yield the lines of functions in `card/` and `applets/` that run while some cards are made and played, and all."""
    lines = FunctionLines(("kazashi.card.commands", "kazashi.card", "kazashi.applets"))
    with in_memory() as directory:
        sys.settrace(lines.trace)
        try:
            player = CardPlayer(directory)
            for number in range(cards):
                player.play(seed + number, CardsPlayed())
        finally:
            sys.settrace(None)
    yield lines.counts()


def losses(seed: int, numbers: Sequence[int], _: Sequence[str]) -> Iterator[str]:
    """Play the cards of the seeds from `seed` on with these numbers. Yields a line for each that failed a check."""
    played = CardsPlayed()
    with in_memory() as directory:
        player = CardPlayer(directory)
        for number in numbers:
            player.play(seed + number, played)
            while played.failed:
                failed, trouble = played.failed.pop()
                yield f"the card of seed {failed}: {trouble}"


def history(seed: int, numbers: Sequence[int], _: Sequence[str]) -> Iterator[str]:
    """Play cards like `losses`, and yield their commands and responses."""
    with in_memory() as directory:
        player = CardPlayer(directory)
        for number in numbers:
            lines: list[str] = []
            player.play(seed + number, CardsPlayed(), lines.append)
            yield from lines


def trials(minutes: float, seed: int, show: Show) -> Iterator[Trial]:
    """Send commands to cards for some minutes."""
    wanted = round(APDUS * minutes / 60 / SHARE)
    begun = time.monotonic()
    show("counting lines that commands run")
    (covered,) = in_new_process(covered_lines, seed, _SAMPLE)
    left = max(minutes * 30, minutes * 60 - (time.monotonic() - begun))
    begun = time.monotonic()
    played = play_cards(seed, wanted, left, show)
    yield summary(played, covered, seed, wanted, time.monotonic() - begun)


def summary(
    played: CardsPlayed, covered: dict[str, tuple[int, int]], seed: int, wanted: int, seconds: float
) -> Trial:  # fmt: skip
    """The result of commands, of which `wanted` were to be sent."""
    grown, first, last = growth(played.memory)
    lines = ", ".join(f"{name}/ {run / all_:.0%} of {all_:,}" for name, (run, all_) in covered.items())
    detail = (
        f"{played.cards:,} cards, seeds from {seed}, {played.commands / seconds:,.0f}/s, {len(played.statuses)} status"
        f" words, {played.statuses[0x9000] / max(1, played.commands):.0%} successes; lines of functions run by"
        f" {_SAMPLE} of the cards, from personalisation on: {lines}; memory {first:.1f} -> {last:.1f} MB"
    )
    if played.failed:
        detail += f"; seed {played.failed[0][0]}: {played.failed[0][1]}"
    lost = len(played.failed)
    goal = f">= {wanted:,}, 0 lost, memory <= +{GROWTH:.0%}"
    return Trial("APDUs to cards in random states", "APDUs", played.commands, played.commands - lost, lost, detail,
                 goal, played.commands >= wanted and not lost and grown <= GROWTH)  # fmt: skip


if __name__ == "__main__":
    run(repeating(losses, history), "python -m benchmarks.reliability.apdus")
