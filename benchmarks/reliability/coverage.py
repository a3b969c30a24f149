"""The lines of functions that a run reaches, counted with the interpreter's own trace hook."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from importlib import import_module
from pathlib import Path
from types import CodeType, FrameType
from typing import Any


class FunctionLines:
    """The lines of all functions in some packages, and which of them have run.

    A file counts for the first package that has it. Lines of modules and classes, which run when they are imported, do
    not count.
    """

    def __init__(self, packages: Sequence[str]) -> None:
        self._all: dict[str, set[int]] = {}
        self._run: dict[str, set[int]] = {}
        self._package: dict[str, str] = {}
        for package in packages:
            for folder in import_module(package).__path__:
                for path in sorted(Path(folder).rglob("*.py")):
                    file = str(path)
                    code = compile(path.read_bytes(), file, "exec")
                    self._all[file] = {line for function in _functions(code) for line in _lines(function)}
                    self._run[file] = set()
                    self._package.setdefault(file, package.partition(".")[2].replace(".", "/"))

    def trace(self, frame: FrameType, _: str, __: Any) -> Callable[..., Any] | None:
        """Note the lines of a function while it runs; for `sys.settrace`."""
        run = self._run.get(frame.f_code.co_filename)
        if run is None or _lines(frame.f_code) <= run:
            return None

        def line(frame: FrameType, event: str, _: Any) -> Any:
            if event == "line":
                run.add(frame.f_lineno)
            return line

        return line

    def counts(self) -> dict[str, tuple[int, int]]:
        """Return for each package how many lines have run, and how many there are."""
        counts: dict[str, tuple[int, int]] = {}
        for file, package in self._package.items():
            run, lines = counts.get(package, (0, 0))
            counts[package] = (run + len(self._run[file] & self._all[file]), lines + len(self._all[file]))
        return counts


def _functions(code: CodeType) -> Iterator[CodeType]:
    """All functions in a module's code."""
    if code.co_flags & inspect.CO_OPTIMIZED:
        yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _functions(constant)


_known: dict[CodeType, set[int]] = {}


def _lines(code: CodeType) -> set[int]:
    """The lines of a function, without the one that defines it unless it has no other."""
    if code not in _known:
        lines = {line for _, _, line in code.co_lines() if line is not None}
        _known[code] = lines - {code.co_firstlineno} or lines
    return _known[code]
