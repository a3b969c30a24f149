#!/usr/bin/env python3
"""What Kazashi does on a machine that has nothing but Debian's minimal system: how long it takes, and whether it works.

    python3 benchmarks/fresh_roots.py speed       clone to first card and to the end of the demo, beside a baseline
    python3 benchmarks/fresh_roots.py walk        the demo and the quick tests, as root and as an ordinary user
    python3 benchmarks/fresh_roots.py container   the steps of examples/container/Containerfile, and its card

This needs root, debootstrap and git, and only Python's standard library. A plain root of each Debian release is made
once and kept in a folder; each trial runs in a copy. Programs in a copy have mount and pid namespaces of their own, so
nothing stays mounted or running afterwards, but they share the network with this machine.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

PROJECT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(PROJECT))  # this runs as a script, before Kazashi is installed

from benchmarks.container_steps import container  # noqa: E402
from benchmarks.roots import Commit, Failed, Machine, Root, say  # noqa: E402

BASELINE = "8193c2c"
SUITES = ("bookworm", "trixie")
FIRST_CARD = re.compile(r"ok\s.*\bsign(ed)? with the authentication key\b")
"""The demo's line that says that OpenSC has signed with the card, in the baseline and today."""

WANTED = re.compile(r"(?:sudo )?(?:apt-get update && (?:sudo )?)?apt-get install(?: [A-Za-z0-9.+:-]+)+")

CPU = """
import hashlib, json, resource, subprocess, sys, time
def spent(command):
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(command, shell=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        sys.exit(f"{command} exited with {done.returncode}")
    return (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime) * 1000
result = {command: min(spent(command) for _ in range(5)) for command in sys.argv[1:]}
block, hashed, end = bytes(1 << 20), 0, time.process_time() + 2
while time.process_time() < end:
    hashlib.sha256(block).digest()
    hashed += 1
print(json.dumps([result, hashed / 2]))
"""


@dataclass
class Timing:
    """One build's trial."""

    first_card: float
    demo: float
    packages: dict[str, int]
    environment: float
    cpu: dict[str, float] = field(default_factory=dict)


def _installed(root: Root, before: dict[str, int]) -> dict[str, int]:
    return {name: size for name, size in root.packages().items() if name not in before}


def _cpu(root: Root, commands: Sequence[str]) -> tuple[dict[str, float], float]:
    said = root.run(
        "python3", "-c", CPU, *commands, directory="/root/kazashi", environment={"KAZASHI_WORLD": "/root/w"}
    )
    result, hashed = json.loads(said.output)
    return result, hashed


def time_demo(machine: Machine, source: Commit, name: str, environment: str) -> Timing:
    """Clone a build in a fresh root, run its demo, and return how long each part took."""
    with machine.fresh("bookworm", source, name) as root:
        before = root.packages()
        done = root.run(
            "sh", "-c", "git clone --quiet /src.git kazashi && cd kazashi && ./kazashi demo", directory="/root"
        )
        first = next((moment for moment, line in done.lines if FIRST_CARD.match(line)), None)
        if first is None:
            raise Failed(f"the demo of {name} has no line for the signature; see {root.log}")
        help_cpu, _ = _cpu(root, ["./kazashi --help"])
        size = root.megabytes(f"/root/kazashi/{environment}")
        return Timing(first, done.seconds, _installed(root, before), size, help_cpu)


def measure_base(machine: Machine, source: Commit, environment: str) -> tuple[Timing, float]:
    """Build only what card and reader need; return what that is, and the MB of SHA-256 that a second of CPU hashes."""
    with machine.fresh("bookworm", source, "base") as root:
        before = root.packages()
        root.run("git", "clone", "--quiet", "/src.git", "kazashi", directory="/root")
        # It may say that there is no world; the environment is built by then.
        done = root.run("./kazashi", "--yes", "card", "list", directory="/root/kazashi", check=False)
        if not (root.path / "root/kazashi" / environment).exists():
            raise Failed(f"./kazashi --yes card list exited with {done.code} and built no {environment}: {done.errors}")
        size, packages = root.megabytes(f"/root/kazashi/{environment}"), _installed(root, before)
        root.run(
            "./kazashi", "card", "new", "hanako", directory="/root/kazashi", environment={"KAZASHI_WORLD": "/root/w"}
        )
        cpu, hashed = _cpu(root, ["./kazashi --help", "./kazashi card list", "python3 -c pass"])
        return Timing(0, done.seconds, packages, size, cpu), hashed


def _row(name: str, unit: str, baseline: float | None, ours: float, compared: float | None, goal: float | None) -> Any:
    met = None if goal is None or compared is None else compared <= goal
    return {
        "name": name,
        "unit": unit,
        "baseline": baseline,
        "ours": ours,
        "compared": compared,
        "goal": goal,
        "met": met,
    }


def _figure(value: float) -> str:
    return f"{value:,d}" if isinstance(value, int) else f"{value:,.1f}" if value >= 10 else f"{value:.2f}"


def speed(machine: Machine, ours: Commit, baseline: Commit, rounds: int, environment: str, as_json: bool) -> int:
    """Measure both builds in turn, and print the table. Returns 1 if a goal is missed."""
    timings: dict[str, list[Timing]] = {"baseline": [], "ours": []}
    for number in range(rounds):
        pair = [("baseline", baseline, ".venv"), ("ours", ours, environment)]
        for name, source, where in pair if number % 2 == 0 else reversed(pair):
            timing = time_demo(machine, source, name, where)
            say(f"round {number + 1}, {name}: first card {timing.first_card:.1f} s, demo {timing.demo:.1f} s")
            timings[name].append(timing)
    base, hashed = measure_base(machine, ours, environment)
    old, new = timings["baseline"], timings["ours"]
    rows = []
    for name, goal in (("first_card", 0.4), ("demo", 0.5)):
        was, now = (median(getattr(timing, name) for timing in each) for each in (old, new))
        title = {"first_card": "clone to first card", "demo": "clone to end of demo"}[name]
        rows.append(_row(f"{title}, ratio", "s", was, now, now / was, goal))
    rows.append(
        _row("environment of card and reader", "MB", old[0].environment, base.environment, base.environment, 350)
    )
    rows.append(_row("environment of the demo", "MB", old[0].environment, new[0].environment, None, None))
    for title, was, now in (
        ("card and reader", old[0].packages, base.packages),
        ("the demo", old[0].packages, new[0].packages),
    ):
        rows.append(_row(f"Debian packages of {title}", "", len(was), len(now), None, None))
        size = [sum(each.values()) / 1024 for each in (was, now)]
        rows.append(_row(f"Debian packages of {title}, size", "MB", size[0], size[1], None, None))
    help_, list_, nothing = base.cpu.values()
    rows.append(_row("CPU of --help", "ms", min(t.cpu["./kazashi --help"] for t in old), help_, help_, 150))
    rows.append(_row("CPU of card list", "ms", None, list_, list_, 300))
    rows.append(_row("reference: CPU of python3 -c pass", "ms", None, nothing, None, None))
    rows.append(_row("reference: SHA-256 in a second of CPU", "MB", None, hashed, None, None))
    if as_json:
        trials = {name: [asdict(timing) for timing in each] for name, each in (*timings.items(), ("base", [base]))}
        commits = {"baseline": baseline.commit, "ours": ours.commit}
        print(json.dumps({"commits": commits, "rows": rows, "trials": trials}, indent=1))
    else:
        print(f"{'':42}{'baseline':>12}{'ours':>12}{'compared':>10}{'goal':>8}")
        for row in rows:
            figures = [row["baseline"], row["ours"], row["compared"], row["goal"]]
            shown = ["" if figure is None else _figure(figure) for figure in figures]
            met = {None: "", True: "met", False: "missed"}[row["met"]]
            title = f"{row['name']} ({row['unit']})" if row["unit"] else row["name"]
            print(f"{title:42}{shown[0]:>12}{shown[1]:>12}{shown[2]:>10}{shown[3]:>8}  {met}".rstrip())
    return 1 if any(row["met"] is False for row in rows) else 0


def _attempt(root: Root, command: str, user: str, directory: str) -> tuple[bool, float, list[str]]:
    """Run a command as a user; where it refuses for want of Debian packages, do as it says as root, and run it again.

    Returns whether it succeeded in the end, the seconds of everything, and what happened on the way.
    """
    seconds, notes = 0.0, []
    for _ in range(3):
        done = root.run(*command.split(), user=user, directory=directory, check=False)
        seconds += done.seconds
        wanted = WANTED.search(done.errors)
        if done.code != 3 or wanted is None or user == "root":
            break
        notes.append(f"refused in {len(done.errors.splitlines())} line(s): {wanted[0]}")
        installing = root.run(
            "sh", "-c", wanted[0].replace("sudo ", ""), environment={"DEBIAN_FRONTEND": "noninteractive"},
            answer="y\n", check=False,
        )  # fmt: skip
        seconds += installing.seconds
        if installing.code:
            notes.append(f"that exited with {installing.code}: {installing.errors[-300:]}")
            break
    if done.code:
        last = (done.output + done.errors).strip().splitlines()[-6:]
        notes.append(f"exit status {done.code}; {root.log} has all output, the last is: " + "\n      ".join(last))
    return done.code == 0, seconds, notes


def walk(machine: Machine, source: Commit, suites: Sequence[str], users: Sequence[str]) -> int:
    """Run the demo and the quick tests in fresh roots, and print what passed. Returns 1 if something failed."""
    failed = 0
    for suite in suites:
        for user in users:
            with machine.fresh(suite, source, f"walk-{suite}-{user}") as root:
                home = "/root" if user == "root" else f"/home/{user}"
                root.run("git", "clone", "--quiet", "/src.git", "kazashi", user=user, directory=home)
                for command in ("./kazashi demo", "./kazashi test --quick"):
                    ok, seconds, notes = _attempt(root, command, user, f"{home}/kazashi")
                    failed += not ok
                    print(f"{'ok' if ok else 'FAILED':8}{suite:10}{user:6}{command:26}{seconds:7.1f} s", flush=True)
                    for note in notes:
                        print(f"      {note}", flush=True)
    return 1 if failed else 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the sub-command that the arguments name."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--cache", type=Path, default=Path("/var/tmp/kazashi-roots"), help="folder of the plain roots")
    parser.add_argument("--mirror", default="http://deb.debian.org/debian", help="Debian's mirror")
    parser.add_argument("--source", default=str(PROJECT), metavar="DIR@COMMIT", help="what to try (default: HEAD here)")
    parser.add_argument("--keep", action="store_true", help="keep the roots of the trials")
    commands = parser.add_subparsers(dest="command", required=True)
    timed = commands.add_parser("speed", help="measure a build beside the baseline")
    timed.add_argument("--baseline", default=BASELINE, metavar="COMMIT", help="of the same repository")
    timed.add_argument("--rounds", type=int, default=1)
    timed.add_argument("--environment", default=".venv", help="where our build has its Python environment")
    timed.add_argument("--json", action="store_true", dest="as_json")
    walked = commands.add_parser("walk", help="run the demo and the quick tests, as root and as an ordinary user")
    walked.add_argument("--suite", action="append", choices=SUITES, help="only this release (may be repeated)")
    walked.add_argument("--user", action="append", choices=("root", "user"), help="only as this user (may be repeated)")
    commands.add_parser("container", help="perform the steps of the Containerfile, and look for its card")
    options = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        if os.geteuid():
            raise Failed("only root can make roots and enter them")
        machine = Machine(options.cache.resolve(), options.mirror.rstrip("/"), options.keep)
        source = Commit.named(options.source)
        if options.command == "speed":
            baseline = Commit.named(f"{source.repository}@{options.baseline}")
            return speed(machine, source, baseline, options.rounds, options.environment, options.as_json)
        if options.command == "walk":
            return walk(machine, source, options.suite or SUITES, options.user or ("root", "user"))
        return container(machine, source)
    except (Failed, subprocess.CalledProcessError) as error:
        say(str(error))
        return 3
    except KeyboardInterrupt:
        say("interrupted; nothing is left behind")
        return 130


if __name__ == "__main__":
    sys.exit(main())
