"""Processes for the trials: a new one that is warmed once, and forks of it that cost milliseconds."""

from __future__ import annotations

import gc
import os
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NoReturn, TypeVar

_Item = TypeVar("_Item")


class ForkFailed(Exception):
    """A forked process failed; the message is its traceback."""


def run_forked(action: Callable[[], object]) -> None:
    """Run an action in a forked process. Raises ForkFailed if it raises an exception or is killed."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(read)
        end_with(action, write)
    os.close(write)
    with os.fdopen(read, encoding="utf-8") as pipe:
        error = pipe.read()
    _, status = os.waitpid(child, 0)
    if status:
        raise ForkFailed(error or f"a forked process ended with the status {os.waitstatus_to_exitcode(status)}")


def end_with(action: Callable[[], object], errors: int) -> NoReturn:
    """Run an action and end this process, which was forked, without what would be done at exit.

    The traceback of an exception is written to the descriptor `errors`, and the process exits with 1.
    """
    try:
        action()
    except BaseException:
        with os.fdopen(errors, "w", encoding="utf-8") as pipe:
            pipe.write(traceback.format_exc())
        os._exit(1)
    os._exit(0)


def in_new_process(
    function: Callable[..., Iterator[_Item]], *arguments: Any, preload: Path | None = None
) -> Iterator[_Item]:  # fmt: skip
    """Yield what a generator yields in a new process, which has one thread and can be forked.

    `preload` is a library to load before it starts. Raises what the generator raises.
    """
    context = get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_serve, args=(theirs, function, arguments))
    with _environment("LD_PRELOAD", None if preload is None else str(preload)):
        process.start()
    theirs.close()
    try:
        while True:
            try:
                what, item = ours.recv()
            except EOFError:
                raise ForkFailed(f"the process ended with the status {process.exitcode}") from None
            if what == "end":
                return
            if what == "error":
                raise item
            yield item
    finally:
        ours.close()  # the process notices it with its next item, and tidies up
        process.join()


def _serve(pipe: Connection, function: Callable[..., Iterator[Any]], arguments: tuple[Any, ...]) -> None:
    gc.freeze()  # collections skip what is loaded now: they would take long, and copy every page in a fork
    with suppress(BrokenPipeError):
        try:
            for item in function(*arguments):
                pipe.send(("item", item))
            pipe.send(("end", None))
        except BrokenPipeError:
            raise
        except Exception as error:
            pipe.send(("error", ForkFailed("".join(traceback.format_exception(error)))))


@contextmanager
def _environment(name: str, value: str | None) -> Iterator[None]:
    before = os.environ.get(name)
    if value is not None:
        os.environ[name] = value
    yield
    if before is None:
        os.environ.pop(name, None)
    else:
        os.environ[name] = before
