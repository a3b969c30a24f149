"""Group commit of concurrent writes, and background workers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Event, Thread
from time import monotonic

import pytest
import sqlalchemy as sa
from sqlalchemy import event

from kazashi.world.group_commit import GroupCommit
from kazashi.world.storage import Store, StoreFailed, open_store
from kazashi.world.worker import Worker
from tests.crash import killed_at

pytestmark = pytest.mark.crash

METADATA = sa.MetaData()
NUMBER = sa.Table("number", METADATA, sa.Column("number", sa.BigInteger, primary_key=True))


@pytest.fixture
def store(tmp_path: Path, storage: str) -> Iterator[Store]:
    store = open_store(tmp_path / "stores", storage, "actor", METADATA)
    yield store
    store.close()


@pytest.fixture
def commits(store: Store) -> list[str]:
    """A list that gets an entry for each transaction that the store commits."""
    seen: list[str] = []
    event.listen(store.engine, "commit", lambda _: seen.append("commit"))
    return seen


def put(number: int) -> Callable[[sa.Connection], int]:
    def action(connection: sa.Connection) -> int:
        connection.execute(sa.insert(NUMBER), {"number": number})
        return -number

    return action


def stored(store: Store) -> list[int]:
    with store.reading() as connection:
        return list(connection.scalars(sa.select(NUMBER.c.number).order_by(NUMBER.c.number)))


def run_threads(count: int, action: Callable[[int], object]) -> None:
    threads = [Thread(target=action, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def test_each_thread_gets_its_result_after_its_row_is_on_disk(store: Store) -> None:
    group = GroupCommit(store)
    results: dict[int, tuple[int, bool]] = {}

    def write(number: int) -> None:
        result = group.run(put(number))
        results[number] = (result, number in stored(store))

    run_threads(30, write)
    assert results == {number: (-number, True) for number in range(30)}
    assert stored(store) == list(range(30))


def test_writes_that_arrive_during_a_commit_share_a_transaction(store: Store, commits: list[str]) -> None:
    group = GroupCommit(store)
    begun, go_on = Event(), Event()

    def slow(connection: sa.Connection) -> int:
        begun.set()
        assert go_on.wait(10)
        return put(0)(connection)

    first = Thread(target=group.run, args=(slow,))
    first.start()
    assert begun.wait(10)
    others = [Thread(target=group.run, args=(put(number),)) for number in range(1, 20)]
    for thread in others:
        thread.start()
    Event().wait(0.3)  # by then nearly all of them wait for the first
    commits.clear()
    go_on.set()
    for thread in (first, *others):
        thread.join()
    assert len(commits) <= 5
    assert stored(store) == list(range(20))


def test_many_coroutines_share_few_transactions(store: Store, commits: list[str]) -> None:
    group = GroupCommit(store)

    async def all_of_them() -> list[int]:
        return await asyncio.gather(*(group.run_async(put(number)) for number in range(100)))

    assert asyncio.run(all_of_them()) == [-number for number in range(100)]
    assert len(commits) <= 3
    assert stored(store) == list(range(100))


def test_a_cancelled_caller_does_not_cancel_others(store: Store) -> None:
    group = GroupCommit(store)

    async def both() -> int:
        cancelled = asyncio.create_task(group.run_async(put(1)))
        other = asyncio.create_task(group.run_async(put(2)))
        await asyncio.sleep(0)
        cancelled.cancel()
        return await other

    assert asyncio.run(both()) == -2
    assert 2 in stored(store)


def test_a_failing_action_does_not_affect_others(store: Store) -> None:
    group = GroupCommit(store)

    def fail(connection: sa.Connection) -> int:
        put(1_000)(connection)
        raise KeyError("nobody")

    async def all_of_them() -> list[int | BaseException]:
        actions = [put(1), fail, put(2), put(1), put(3)]
        return await asyncio.gather(*(group.run_async(action) for action in actions), return_exceptions=True)

    one, failed, two, duplicate, three = asyncio.run(all_of_them())
    assert (one, two, three) == (-1, -2, -3)
    assert isinstance(failed, KeyError)
    assert isinstance(duplicate, sa.exc.IntegrityError)
    assert stored(store) == [1, 2, 3]
    with pytest.raises(KeyError, match="nobody"):
        group.run(fail)


def test_a_failed_store_is_not_tried_for_every_job(tmp_path: Path) -> None:
    store = open_store(tmp_path, "", "actor", METADATA)
    group, tried = GroupCommit(store), []

    def action(connection: sa.Connection) -> None:
        tried.append(1)
        connection.exec_driver_sql("PRAGMA query_only = ON")
        put(1)(connection)

    async def all_of_them() -> list[object]:
        return await asyncio.gather(*(group.run_async(action) for _ in range(50)), return_exceptions=True)

    assert all(isinstance(result, StoreFailed) for result in asyncio.run(all_of_them()))
    assert len(tried) <= 4, "the batch, and the first job of it alone"


def test_a_write_returns_only_after_its_row_is_committed(tmp_path: Path) -> None:
    moment = 0
    while True:
        moment += 1
        replies = tmp_path / f"replies{moment}"

        def write(home: Path = tmp_path / str(moment), replies: Path = replies) -> None:
            group = GroupCommit(open_store(home, "", "actor", METADATA))
            for number in range(3):
                group.run(put(number))
                with replies.open("a") as file:
                    file.write("x")

        killed = killed_at(moment, write)
        replied = replies.read_text() if replies.exists() else ""
        assert len(stored(open_store(tmp_path / str(moment), "", "actor", METADATA))) >= len(replied)
        if not killed:
            assert replied == "xxx"
            return


# A worker


class Work:
    """Rounds of work, recorded for a test."""

    def __init__(self) -> None:
        self.rounds = 0
        self.left = 0
        self.failure: Exception | None = None
        self.troubles: list[str] = []
        self.closed = 0
        self.ended = Event()

    def round(self) -> bool:
        self.rounds += 1
        if self.failure is not None:
            raise self.failure
        self.left = max(self.left - 1, 0)
        return self.left > 0

    def after(self, trouble: str) -> None:
        self.troubles.append(trouble)
        self.ended.set()

    def close(self) -> None:
        self.closed += 1

    def wait(self) -> None:
        assert self.ended.wait(10)
        self.ended.clear()


@pytest.fixture
def work() -> Work:
    return Work()


def test_a_worker_does_waiting_work_and_more_when_called(work: Work) -> None:
    worker = Worker("w", work.round, pause=60, after=work.after, close=work.close)
    assert worker.trouble
    work.left = 3
    worker.start()
    work.wait()
    assert (work.rounds, worker.trouble) == (3, "")
    worker.call()
    work.wait()
    assert work.rounds == 4
    worker.stop()
    assert (work.rounds, work.troubles, work.closed) == (4, ["", ""], 1)


def test_a_worker_retries_after_a_pause(work: Work) -> None:
    work.failure = ConnectionError("no response")
    worker = Worker("w", work.round, pause=0.05, after=work.after)
    worker.start()
    work.wait()
    assert worker.trouble == "no response"
    work.failure = None
    end = monotonic() + 10
    while worker.trouble and monotonic() < end:
        work.wait()
    assert worker.trouble == ""
    worker.stop()


def test_a_worker_can_be_stopped_before_its_start_and_during_a_round(work: Work) -> None:
    Worker("w", work.round, pause=60, close=work.close).stop()
    assert (work.rounds, work.closed) == (0, 0)
    begun, go_on = Event(), Event()

    def slow() -> None:
        begun.set()
        assert go_on.wait(10)
        work.rounds += 1

    worker = Worker("w", slow, pause=60)
    worker.start()
    assert begun.wait(10)
    worker.stop(seconds=0)
    assert work.rounds == 0, "stop did not wait for the round"
    go_on.set()
    worker.stop()
    assert work.rounds == 1, "the current round was finished, and no other one begun"


def test_an_action_refused_by_the_database_does_not_affect_others(store: Store) -> None:
    """SQLite reports malformed JSON as an OperationalError, like a full disk."""
    group = GroupCommit(store)
    begun, go_on = Event(), Event()

    def slow(connection: sa.Connection) -> int:
        begun.set()
        assert go_on.wait(60)
        return put(0)(connection)

    def refused(connection: sa.Connection) -> object:
        return connection.scalar(sa.text("SELECT json('nonsense{')" if store.engine.dialect.name == "sqlite"
                                         else "SELECT CAST('nonsense{' AS json)"))  # fmt: skip

    errors: list[Exception] = []

    def refuse() -> None:
        try:
            group.run(refused)
        except StoreFailed as error:
            errors.append(error)

    threads = [Thread(target=group.run, args=(slow,))]
    threads[0].start()
    assert begun.wait(60)
    threads += [Thread(target=refuse), *(Thread(target=group.run, args=(put(number),)) for number in (1, 2, 3))]
    for thread in threads[1:]:
        thread.start()
    go_on.set()
    for thread in threads:
        thread.join()
    assert len(errors) == 1
    assert stored(store) == [0, 1, 2, 3]
