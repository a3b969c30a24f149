"""The bounds of an examination: its memory, its samples, a full disk, and a kill at any moment."""

from __future__ import annotations

import json
import os
import random
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from kazashi.studies.tracking import laboratory_of, populated
from kazashi.tracking_lab.account_links import AccountLinks, linked_accounts
from kazashi.tracking_lab.document import as_json
from kazashi.tracking_lab.engine import DuckDb
from kazashi.tracking_lab.handle_pairs import shared_handles
from kazashi.tracking_lab.laboratory import Laboratory, PopulationUnusable
from kazashi.tracking_lab.linkers import (
    EXACT,
    Handle,
    by_timing,
    digest_join,
    exact_join,
    hashed,
    singling_out,
    together,
    trajectories,
)
from kazashi.tracking_lab.log_measures import (
    TooManyPairs,
    attribute_risks,
    changes_of_handle,
    linked_pairs,
    requests_seen,
    right_pairs,
    same_hours,
)
from kazashi.tracking_lab.log_study import examine_logs
from kazashi.tracking_lab.logs import HandleColumn, HandleForm, LogMapping, import_logs
from kazashi.tracking_lab.memory import LEAST, MemoryLimit, MemoryUnusable, MemoryUnusableReason
from kazashi.tracking_lab.metrics import Share, anonymity, gap_entropy, pairwise, record_risk
from kazashi.tracking_lab.parts import Parts
from kazashi.tracking_lab.plan import DAY, HOUR, Plan
from kazashi.world.home import open_world
from tests.cli.program import InProcessProgram
from tests.world.test_storage import on_a_small_disk

MAPPING = LogMapping("time", HandleColumn("serial", HandleForm.OPAQUE), "shop", form="epoch", person="who")
YEAR = 365 * DAY


def log(rows: int, handles: int, services: int, chance: random.Random) -> pl.DataFrame:
    """A log in which each person has a handle, and a second one from the middle of the year on."""
    people = [chance.randrange(handles // 2) for _ in range(rows)]
    times = [chance.randrange(YEAR) for _ in range(rows)]
    return pl.DataFrame({
        "time": [1_777_593_600 + at for at in times], "shop": [f"shop {chance.randrange(services)}" for _ in people],
        "serial": [f"{2 * who + (at > YEAR // 2):08d}x" for who, at in zip(people, times, strict=True)],
        "who": [f"p{who}" for who in people],
    })  # fmt: skip


def imported(directory: Path, rows: pl.DataFrame) -> Laboratory:
    directory.parent.mkdir(parents=True, exist_ok=True)
    file = directory.parent / f"{directory.name}.parquet"
    rows.write_parquet(file)
    laboratory = Laboratory(directory)
    import_logs(laboratory, [file], MAPPING)
    return laboratory


def command(world: Path, *words: str) -> list[str]:
    return [sys.executable, "-m", "kazashi", "--world", str(world), "tracking", *words]


# Memory


@pytest.mark.parametrize(("text", "size"), [("512MB", 512_000_000), ("2 gb", 2_000_000_000), ("0.5GiB", 2**29)])
def test_a_memory_limit_is_read(text: str, size: int) -> None:
    assert MemoryLimit.parse(text).bytes == size


@pytest.mark.parametrize(("text", "reason"), [
    ("many", MemoryUnusableReason.NOT_A_SIZE), ("512", MemoryUnusableReason.NOT_A_SIZE),
    ("1.5.2GB", MemoryUnusableReason.NOT_A_SIZE), ("100MB", MemoryUnusableReason.TOO_SMALL),
])  # fmt: skip
def test_other_limits_are_refused(text: str, reason: MemoryUnusableReason) -> None:
    with pytest.raises(MemoryUnusable) as refusal:
        MemoryLimit.parse(text)
    assert refusal.value.reason is reason


def test_a_population_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    world = open_world(tmp_path / "w")
    with pytest.raises(MemoryUnusable, match="at least 700MB") as refusal:
        populated(world, Plan(60_000), memory=MemoryLimit(LEAST))
    assert refusal.value.reason is MemoryUnusableReason.TOO_SMALL
    assert not laboratory_of(world).begun, "nothing was started"


def peak(process: subprocess.Popen[bytes]) -> int:
    """The peak resident size of a process in bytes, when it has ended. Unlike getrusage, it does not include that of
    the process from which it was started."""
    most = 0
    while process.poll() is None:
        try:
            status = Path(f"/proc/{process.pid}/status").read_text(encoding="ascii")
        except OSError:
            break
        most = max([most, *(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM"))])
        time.sleep(0.005)
    return most


def limited() -> None:
    """A program that does not keep its bound must not fill the machine."""
    resource.setrlimit(resource.RLIMIT_AS, (6 * 1024**3, 6 * 1024**3))


def report_within(tmp_path: Path, rows: int, handles: int) -> None:
    world = open_world(tmp_path / "w").directory
    imported(world / "tracking" / "logs", log(rows, handles, 3, random.Random(1)))
    words = ("report", "--name", "logs", "--html", str(tmp_path / "x.html"), "--memory", f"{LEAST // 10**6}MB")
    with subprocess.Popen(command(world, *words), preexec_fn=limited) as process:
        most = peak(process)
    assert process.returncode == 0
    assert 0 < most < LEAST, f"{most:,} bytes"


def test_a_report_on_many_handles_keeps_the_memory_limit(tmp_path: Path) -> None:
    report_within(tmp_path, 40_000, 30_000)


@pytest.mark.long
def test_a_report_on_very_many_handles_keeps_the_memory_limit(tmp_path: Path) -> None:
    report_within(tmp_path, 1_000_000, 600_000)


# The measures of logs, against the same measures written plainly over data frames


def small_log(chance: random.Random) -> pl.DataFrame:
    services, handles, people, days = (chance.choice(sizes) for sizes in ((2, 4), (2, 20, 100), (3, 20), (3, 300)))
    return pl.DataFrame(
        [(chance.randrange(services), chance.randrange(handles), chance.randrange(people), chance.randrange(days * DAY))
         for _ in range(chance.choice((3, 60, 400)))],
        schema={"service": pl.Int64, "shown": pl.Int64, "person": pl.Int64, "moment": pl.Int64}, orient="row",
    )  # fmt: skip


def plain_by_timing(seen: pl.DataFrame, window: int = 400) -> set[tuple[int, int]]:
    """Each handle's nearest successor, of all pairs of handles."""
    rows = seen.rows()
    near = sorted((first - last, former, later, service) for service, former, _, last in rows
                  for other, later, first, _ in rows if other == service and 0 < first - last <= window)  # fmt: skip
    nearest: dict[tuple[int, int], tuple[int, int]] = {}
    for _, former, later, service in near:
        nearest.setdefault((service, former), (former, later))
    taken: dict[tuple[int, int], tuple[int, int]] = {}
    for _, former, later, service in near:
        if nearest[service, former] == (former, later):
            taken.setdefault((service, later), (former, later))
    return set(taken.values())


@pytest.mark.parametrize("seed", range(12))
def test_measures_of_logs_are_those_of_their_definitions(seed: int) -> None:
    chance = random.Random(seed)
    uses = small_log(chance)
    services = pl.DataFrame({"service": [0, 1, 2, 3], "asks": [False, True, False, True]})
    account = pl.DataFrame(
        [(number % 3, number // 3, chance.choice("ab"), chance.choice(["x", "y", None])) for number in range(60)],
        schema=["service", "person", "sex", "town"], orient="row",
    )  # fmt: skip
    engine = DuckDb()
    for name, frame in (("uses", uses), ("service", services), ("account", account)):
        engine.frame(name, frame)
    engine.frame("person", uses.select("person").unique())
    assert linked_pairs(engine) == pairwise(uses, "shown")
    held = uses.group_by("service", "shown").agg(
        first=pl.col("moment").min() // DAY, last=pl.col("moment").max() // DAY
    )
    pairs = changes_of_handle(engine)
    assert set(pairs.rows()) == set(by_timing(held, beside=()).rows()) == plain_by_timing(held)
    owners = {shown: set(uses.filter(shown=shown)["person"]) for shown in uses["shown"].unique()}
    right = sum(bool(owners[former] & owners[later]) for former, later in pairs.rows())
    assert right_pairs(engine, pairs) == Share(right, pairs.height)
    asked = uses.filter(pl.col("service") % 2 == 1)
    seen, entropy = requests_seen(engine)
    assert seen == Share(asked.height, uses.height)
    assert entropy == pytest.approx(gap_entropy(asked), nan_ok=True)
    named = account.drop_nulls().unique(subset=["person"], keep="first", maintain_order=True)
    names = ("sex", "town")
    assert attribute_risks(engine, names) == (anonymity(named, names), record_risk(named, named, names))
    row = engine.query(singling_out(4), points=4, people=30, span=7 * DAY, seed=seed).row(0, named=True)
    expected = [(int(row[f"alone{n}"] or 0), int(row[f"tried{n}"] or 0)) for n in range(1, 5)]
    for rows in (40, 1_000_000):
        assert trajectories(engine, 4, 30, 7, seed, rows=rows) == expected
    engine.close()


@pytest.mark.parametrize("seed", range(6))
def test_exact_joins_by_sorting_are_those_of_the_query(seed: int, tmp_path: Path) -> None:
    chance, engine = random.Random(seed), DuckDb()
    files = [tmp_path / f"{number}.parquet" for number in range(chance.choice((1, 3)))]
    for file in files:
        rows = small_log(chance).with_columns(pl.col("shown") * chance.choice((1, 10**9)) - 5)
        rows.cast({"service": pl.UInt32}).write_parquet(file)
    engine.table("uses", str(tmp_path / "*.parquet"))
    expected = engine.query(EXACT.format(handle="shown")).sort("one", "other")
    assert exact_join(engine).equals(expected)
    for room in (1_100, 10**6):
        assert (counted := shared_handles(files, room, 2, tmp_path)) is not None
        assert counted.equals(expected)
    assert shared_handles(files, 3, 1, tmp_path) is None, "not even the services fit"
    engine.close()


@pytest.mark.parametrize("seed", range(3))
def test_joins_by_digest_are_those_of_the_query(seed: int) -> None:
    engine = DuckDb()
    engine.frame("uses", small_log(random.Random(seed)))
    digests = [
        hashed(engine), hashed(engine, salt="common"), hashed(engine, service=True),
        Handle("sha256(CAST(shown // 2 AS VARCHAR))"),  # some digests are equal
        Handle("concat(repeat('0', 24), to_hex(shown))"),  # only their first 96 bits are equal
    ]  # fmt: skip
    for digest in digests:
        joined = digest_join(engine, digest, exact_join(engine))
        assert joined.equals(exact_join(engine, digest)), digest.sql
    engine.close()


def test_one_handle_that_everybody_uses_does_not_multiply() -> None:
    people = 20_000
    uses = pl.DataFrame({"service": [0, 1] * people, "shown": [0] * 2 * people, "moment": list(range(2 * people)),
                         "person": [number // 2 for number in range(2 * people)]})  # fmt: skip
    engine = DuckDb(MemoryLimit(LEAST))
    engine.frame("uses", uses)
    link = linked_pairs(engine)
    assert (link.right, link.wrong, link.missed) == (people, people * (people - 1), 0)
    engine.close()


# Samples


def visits(chance: random.Random, people: int) -> pl.DataFrame:
    """People who visit two services, one after the other; half of them never do so in the same hours."""
    rows = []
    for who in range(people):
        for _ in range(6):
            at = chance.randrange(600) * HOUR
            rows.append((1, who, who, at))
            rows.append((2, who + people, who, at + 600 if who % 2 else chance.randrange(600) * HOUR))
    return pl.DataFrame(rows, schema=["service", "shown", "person", "moment"], orient="row")


def covering(full: int, sampled: Callable[[int], tuple[int, int, int]]) -> int:
    """In how many of twenty samples the interval contains the full number. A sample is how many were found, how many
    were examined, and of how many."""
    hits = 0
    for seed in range(20):
        found, examined, total = sampled(seed)
        assert examined < total
        estimate = Share(found, examined).of(total)
        hits += estimate.low <= full <= estimate.high
    return hits


def test_samples_of_same_hours_cover_the_full_number() -> None:
    engine = DuckDb()
    engine.frame("uses", visits(random.Random(2), 1_200))
    full = same_hours(engine, 1, 2)
    assert full.examined == full.handles == 1_200
    assert full.pairs.height > 300

    def sampled(seed: int) -> tuple[int, int, int]:
        met = same_hours(engine, 1, 2, seed, most=50_000)
        assert set(met.pairs.rows()) <= set(full.pairs.rows()), "each pair is that of the whole"
        return met.pairs.height, met.examined, met.handles

    assert covering(full.pairs.height, sampled) >= 19
    with pytest.raises(TooManyPairs):
        same_hours(engine, 1, 2, most=5_000)
    engine.close()


def people_with_accounts(directory: Path, people: int) -> DuckDb:
    laboratory = Laboratory(directory)
    laboratory.populate(Plan(people, 2, "accounts"))
    engine = DuckDb()
    kinds = pl.read_parquet(laboratory.file("service"))
    accounts = pl.read_parquet(laboratory.file("account")).join(kinds.select("service", "kind"), on="service")
    chosen = accounts.filter(pl.col("kind").is_in(["login", "insurance"])).sort("person", "service")
    chosen = chosen.with_columns(service=pl.when(pl.col("kind") == "login").then(1).otherwise(2))
    engine.frame("account", chosen.unique(subset=["service", "person"], keep="first", maintain_order=True).drop("kind"))
    return engine


@pytest.mark.long
def test_samples_of_accounts_cover_the_full_number(tmp_path: Path) -> None:
    engine = people_with_accounts(tmp_path / "p", 7_000)
    full = linked_accounts(engine, 1, 2, full=10_000)
    assert full.linked > 1_000
    seen: list[AccountLinks] = []

    def sampled(seed: int) -> tuple[int, int, int]:
        seen.append(linked_accounts(engine, 1, 2, seed, full=1_000, drawn=800))
        return seen[-1].linked, seen[-1].examined, seen[-1].accounts

    assert covering(full.linked, sampled) >= 19
    engine.close()
    recall = full.right / full.shared
    assert sum(low <= recall <= high for low, high in (Share(one.right, one.shared).interval for one in seen)) >= 19


# A kill, and a full disk


def test_a_killed_report_continues_with_what_was_computed(tmp_path: Path) -> None:
    world = open_world(tmp_path / "w").directory
    laboratory = imported(world / "tracking" / "logs", log(3_000, 2_000, 3, random.Random(4)))
    words = command(world, "report", "--name", "logs", "--html", str(tmp_path / "x.html"), "--json")
    with subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        while process.poll() is None and not list(laboratory.directory.glob("examined/*/*.json")):
            time.sleep(0.001)
        process.kill()
    assert process.returncode == -signal.SIGKILL
    (spilled,) = [*laboratory.directory.glob("spill-*"), laboratory.directory / f"spill-{process.pid}"][:1]
    spilled.mkdir(exist_ok=True)
    kept = {path: path.stat().st_mtime_ns for path in laboratory.directory.glob("examined/*/*.json")}
    assert 0 < len(kept) < 9
    done = InProcessProgram(world).run(*words[words.index("tracking") :])
    assert all(path.stat().st_mtime_ns == written for path, written in kept.items()), "nothing is computed twice"
    assert not list(laboratory.directory.glob("spill-*")), "what killed processes spilled is removed"
    assert done.stdout == as_json(examine_logs(laboratory)), "the same as an uninterrupted examination"


def of_session(session: int) -> list[int]:
    """The processes of a session that have not ended."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            state, _, _, own, *_ = (process / "stat").read_text(encoding="utf-8").rpartition(")")[2].split()
        except OSError:
            continue
        if int(own) == session and state != "Z":
            found.append(int(process.name))
    return found


@pytest.mark.long
def test_no_process_of_a_killed_report_is_left(tmp_path: Path) -> None:
    world, scratch = open_world(tmp_path / "w"), tmp_path / "scratch"
    populated(world, Plan(50, 2))
    scratch.mkdir()
    words = command(world.directory, "report", "--html", str(tmp_path / "x.html"))
    environment = {**os.environ, "TMPDIR": str(scratch)}
    with subprocess.Popen(words, env=environment, start_new_session=True, stdout=subprocess.DEVNULL,
                          stderr=subprocess.DEVNULL) as process:  # fmt: skip
        while process.poll() is None and not list(scratch.glob("kazashi-*/scene/*")):
            time.sleep(0.001)
        process.kill()
    assert process.returncode == -signal.SIGKILL
    deadline = time.monotonic() + 20
    while of_session(process.pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not of_session(process.pid)
    assert not list(scratch.glob("kazashi-*")), "what the small worlds wrote is removed"


@pytest.mark.long
def test_a_report_and_a_population_survive_kills_at_random_moments(tmp_path: Path) -> None:
    world, chance = tmp_path / "w", random.Random(5)
    populate = command(world, "populate", "--residents", "60000", "--years", "1", "--seed", "k", "--json")
    laboratory = Laboratory(world / "tracking" / "population")
    for _ in range(4):
        with subprocess.Popen(populate, stdout=subprocess.DEVNULL, start_new_session=True) as process:
            time.sleep(chance.uniform(0.3, 3))
            os.killpg(process.pid, signal.SIGKILL)
    subprocess.run(populate, check=True, capture_output=True)
    straight = Laboratory(tmp_path / "straight")
    straight.populate(Plan(60_000, 1, "k"))
    for name in ("person", "event", "certificate", "service", "uses", "account"):
        ours, theirs = (sorted(Path(one.file(name)).parent.glob("*")) for one in (laboratory, straight))
        assert [path.name for path in ours] == [path.name for path in theirs]
        assert [path.read_bytes() for path in ours] == [path.read_bytes() for path in theirs]
    logs = imported(world / "tracking" / "logs", log(3_000, 2_000, 3, chance))
    report = command(world, "report", "--name", "logs", "--html", str(tmp_path / "x.html"), "--json")
    for _ in range(4):
        with subprocess.Popen(report, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
            time.sleep(chance.uniform(0.5, 2.5))
            process.kill()
    assert subprocess.run(report, capture_output=True, text=True, check=True).stdout == as_json(examine_logs(logs))


def test_a_part_is_computed_anew_if_its_file_is_damaged_or_the_data_changed(tmp_path: Path) -> None:
    laboratory = imported(tmp_path / "lab", log(300, 200, 2, random.Random(6)))
    begun: list[str] = []
    first = examine_logs(laboratory, Parts.kept(laboratory, begun.append))
    (part,) = laboratory.directory.glob("examined/*/T1.json")
    text = part.read_text(encoding="utf-8")
    part.write_text(text[:-7], encoding="utf-8")
    assert examine_logs(laboratory, Parts.kept(laboratory, begun.append)) == first
    assert part.read_text(encoding="utf-8") == text
    part.write_text('{"": "Popen", "args": ["sh"]}', encoding="utf-8")
    assert examine_logs(laboratory, Parts.kept(laboratory, begun.append)) == first, "no other types are made"
    again = imported(tmp_path / "lab", log(300, 200, 2, random.Random(7)))
    changed = examine_logs(again, Parts.kept(again, begun.append))
    assert changed == examine_logs(again)
    assert changed != first
    assert begun[:9] == begun[9:18] == begun[18:27] == begun[27:]


FULL = """
import json, subprocess, sys
from pathlib import Path
from kazashi.tracking_lab.laboratory import Laboratory
from kazashi.tracking_lab.logs import HandleColumn, LogMapping, import_logs
from kazashi.world.home import open_world
home = Path(sys.argv[1])
words = [sys.executable, "-m", "kazashi", "--world", str(home / "w"), "tracking"]
logs = home / "logs.csv"
logs.write_text("time,shop,serial\\n" + "".join(f"{1777593600 + n},s{n % 2},h{n % 9}x\\n" for n in range(99)))
laboratory = Laboratory(open_world(home / "w").directory / "tracking" / "logs")
laboratory.directory.parent.mkdir()
import_logs(laboratory, [logs], LogMapping("time", HandleColumn("serial"), "shop", form="epoch"))
filler = (home / "filler").open("wb")
try:
    while True:
        filler.write(b"x" * 4096)
        filler.flush()
except OSError:
    pass
report = [*words, "report", "--name", "logs", "--html", str(home / "page.html")]
full = subprocess.run(report, capture_output=True, text=True)
print(json.dumps({"status": full.returncode, "words": full.stderr.splitlines()}))
"""


@pytest.mark.long
def test_a_full_disk_is_reported_with_a_code(tmp_path: Path) -> None:
    done = on_a_small_disk(tmp_path / "disk", "8m", FULL)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["status"] == 3
    assert told["words"][-1].startswith("kazashi: ")
    assert "No space left" in told["words"][-1]
    assert told["words"][-1].endswith("[system]")


def test_together_of_some_handles_gives_their_pairs() -> None:
    engine = DuckDb()
    uses = visits(random.Random(3), 200)
    engine.frame("uses", uses)
    everything = together(engine, 1, 2, 600)
    some = uses.filter(service=1).select(handle="shown").unique().filter(pl.col("handle") % 3 == 0)
    expected = [pair for pair in everything.sort("former").rows() if pair[0] % 3 == 0]
    assert together(engine, 1, 2, 600, formers=some).sort("former").rows() == expected
    assert expected
    engine.close()


def test_logs_that_were_never_imported_have_no_parts(tmp_path: Path) -> None:
    empty = Laboratory(tmp_path / "empty")
    with pytest.raises(PopulationUnusable):
        examine_logs(empty, Parts.kept(empty, lambda _: None))
    assert not empty.directory.exists()
