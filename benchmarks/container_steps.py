"""The steps of examples/container/Containerfile, performed in a root, and a card in what they made.

This is no container engine: it knows the instructions that the file uses, and each stage is a directory.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.roots import Commit, Failed, Machine, Root, say

FILE = "examples/container/Containerfile"
DOCKER = ("chown", "dac_override", "fowner", "fsetid", "kill", "setgid", "setuid", "setpcap", "net_bind_service",
          "net_raw", "sys_chroot", "mknod", "audit_write", "setfcap")  # fmt: skip
CAPABILITIES = "--inh-caps=-all --bounding-set=" + ",".join(["-all", *(f"+{name}" for name in DOCKER)])
"""What a container's processes may do when nobody asks for more."""

CARD = """
"$@" & up=$!
for attempt in $(seq 120); do
  kill -0 $up 2>/dev/null || { echo "the command ended before there was a card" >&2; exit 1; }
  sh -c "$HEALTHCHECK" >/dev/null 2>&1 && exec opensc-tool --name
  sleep 0.5
done
sh -c "$HEALTHCHECK"
"""


@dataclass
class Stage:
    """A stage of the file: its root, and what its instructions have set so far."""

    root: Root
    name: str
    environment: dict[str, str] = field(default_factory=dict)
    arguments: dict[str, str] = field(default_factory=dict)
    directory: str = "/"
    user: str = "root"
    command: list[str] = field(default_factory=list)
    entrypoint: list[str] = field(default_factory=list)
    health: str = "opensc-tool --name"

    def run(self, command: Sequence[str], environment: dict[str, str] | None = None) -> str:
        """Run a program in the stage; return its output. Raises Failed."""
        user, _, group = self.user.partition(":")
        done = self.root.run(*command, user=user, group=group or None, directory=self.directory,
                             capabilities=CAPABILITIES,
                             environment=self.environment | (environment or {}))  # fmt: skip
        return done.output


def instructions(text: str) -> Iterator[tuple[str, str]]:
    """Yield each instruction of a Containerfile with its arguments, on one line."""
    kept = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    for line in re.sub(r"\\\n", " ", "\n".join(kept)).splitlines():
        if line.strip():
            keyword, _, arguments = line.strip().partition(" ")
            yield keyword.upper(), arguments.strip()


def _words(arguments: str) -> list[str]:
    """Return a command in either form: a JSON list, or a line for the shell."""
    if arguments.startswith("["):
        return [str(word) for word in json.loads(arguments)]
    return ["/bin/sh", "-c", arguments]


def _expanded(text: str, known: dict[str, str]) -> str:
    def value(match: re.Match[str]) -> str:
        return known.get(match["name"]) or match["default"] or ""

    return re.sub(r"\$(?:\{(?P<name>\w+)(?::-(?P<default>[^}]*))?\})", value,
                  re.sub(r"\$(\w+)", r"${\1}", text))  # fmt: skip


def ignored(patterns: Sequence[str], path: str) -> bool:
    """Whether a .dockerignore with these lines leaves out a path: the last line that fits it or its folder decides."""
    out = False
    for line in patterns:
        kept, pattern = line.startswith("!"), line.lstrip("!").strip("/")
        shape = re.escape(pattern).replace(r"\*\*/", "(?:.*/)?").replace(r"\*\*", ".*")
        shape = shape.replace(r"\*", "[^/]*").replace(r"\?", "[^/]")
        if re.fullmatch(f"{shape}(?:/.*)?", path):
            out = not kept
    return out


def _copy(stage: Stage, arguments: str, context: Path, stages: dict[str, Stage]) -> None:
    words = shlex.split(arguments)
    flags = dict(word[2:].partition("=")[::2] for word in words if word.startswith("--"))
    *sources, target = [word for word in words if not word.startswith("--")]
    origin, patterns = context, []
    if "from" in flags:
        origin = stages[flags["from"]].root.path
    elif (context / ".dockerignore").exists():
        lines = (context / ".dockerignore").read_text(encoding="utf-8").splitlines()
        patterns = [line.strip() for line in lines if line.strip() and not line.startswith("#")]
    inside = os.path.normpath(os.path.join(stage.directory, target))  # noqa: PTH118 - a path of the root, not ours
    goal = stage.root.path / inside.lstrip("/")
    made: list[Path] = []
    for source in sources:
        found = origin / source.lstrip("/")
        folder = found.is_dir()
        for path in [found, *(sorted(found.rglob("*")) if folder else [])]:
            if path != origin and ignored(patterns, str(path.relative_to(origin))):
                continue
            to = goal / path.relative_to(found) if folder else goal / path.name if target.endswith("/") else goal
            if path.is_dir() and not path.is_symlink():
                to.mkdir(parents=True, exist_ok=True)
                shutil.copymode(path, to)
            else:
                to.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(path, to, follow_symlinks=False)
            made.append(to)
    for start in range(0, len(made) if "chown" in flags else 0, 500):
        names = [f"/{to.relative_to(stage.root.path)}" for to in made[start : start + 500]]
        stage.root.run("chown", "--no-dereference", flags["chown"], *names)


def _perform(stage: Stage, keyword: str, arguments: str, context: Path, stages: dict[str, Stage]) -> None:
    known = stage.arguments | stage.environment
    if keyword == "RUN":
        stage.run(_words(arguments), stage.arguments)
    elif keyword == "CMD":
        stage.command = _words(arguments)
    elif keyword == "ENTRYPOINT":
        stage.entrypoint, stage.command = _words(arguments), []
    elif keyword == "HEALTHCHECK":
        form = arguments.partition("CMD")[2].strip()
        stage.health = shlex.join(_words(form)) if form else stage.health
    elif keyword == "COPY":
        _copy(stage, _expanded(arguments, known), context, stages)
    elif keyword == "WORKDIR":
        stage.directory = os.path.join(stage.directory, _expanded(arguments, known))  # noqa: PTH118
        (stage.root.path / stage.directory.lstrip("/")).mkdir(parents=True, exist_ok=True)
    elif keyword == "USER":
        stage.user = _expanded(arguments, known)
    elif keyword == "ENV":
        stage.environment |= dict(word.partition("=")[::2] for word in shlex.split(_expanded(arguments, known)))
    elif keyword == "ARG":
        name, _, default = _expanded(arguments, known).partition("=")
        stage.arguments.setdefault(name, default)
    elif keyword == "VOLUME":
        for directory in json.loads(arguments) if arguments.startswith("[") else arguments.split():
            (stage.root.path / directory.lstrip("/")).mkdir(parents=True, exist_ok=True)
    elif keyword not in {"LABEL", "EXPOSE", "STOPSIGNAL"}:
        raise Failed(f"{FILE}: the instruction {keyword} is not known here")


def container(machine: Machine, source: Commit) -> int:
    """Build every stage of the file, and ask the card of each for its name. Returns 1 if one does not answer."""
    failed = 0
    with ExitStack() as held:
        context = (
            Path(held.enter_context(tempfile.TemporaryDirectory(dir=machine.cache, prefix="context-"))) / "context"
        )
        source.put(context.with_name("bare"))
        subprocess.run(["git", "clone", "--quiet", str(context.with_name("bare")), str(context)], check=True)
        stages: dict[str, Stage] = {}
        bases: set[str] = set()
        everywhere: dict[str, str] = {}
        stage: Stage | None = None
        for keyword, arguments in instructions((context / FILE).read_text(encoding="utf-8")):
            say(f"{keyword} {arguments}"[:110])
            if keyword == "FROM":
                image, *named = _expanded(arguments, everywhere).split()
                name = named[1] if named else f"stage-{len(stages)}"
                base = stages.get(image)
                bases.add(image)
                suite = re.search(r"debian:([a-z]+)", image)
                if base is None and suite is None:
                    raise Failed(f"{FILE}: {image} is no stage and no Debian release")
                plain = base.root.path if base else machine.plain(suite[1] if suite else "", include=())
                root = held.enter_context(machine.copy(plain, f"container-{name}"))
                stage = Stage(root, name)
                if base:
                    stage.environment, stage.directory, stage.user = dict(base.environment), base.directory, base.user
                    stage.command, stage.entrypoint, stage.health = base.command, base.entrypoint, base.health
                stages[name] = stage
            elif stage is None:
                key, _, value = arguments.partition("=")
                everywhere[key] = value
            else:
                stage.arguments = everywhere | stage.arguments if keyword == "ARG" else stage.arguments
                _perform(stage, keyword, arguments, context, stages)
        for stage in stages.values():
            answer, size = "no command", stage.root.megabytes()
            if (stage.command or stage.entrypoint) and stage.name not in bases:
                try:
                    started = [*stage.entrypoint, *stage.command]
                    answer = stage.run(["sh", "-c", CARD, "card", *started], {"HEALTHCHECK": stage.health})
                    answer = answer.strip().splitlines()[-1]
                except (Failed, IndexError) as error:
                    answer, failed = f"FAILED: {error}", failed + 1
            print(f"{stage.name:20}{size:8.0f} MB  {answer}", flush=True)
    return 1 if failed else 0
