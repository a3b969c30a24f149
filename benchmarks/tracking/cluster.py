"""An Apache Spark cluster on this machine: a master and workers, each a process of its own, from PySpark's own jars."""

from __future__ import annotations

import os
import re
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pyspark

_HOME = Path(pyspark.__file__).parent
ON_THIS_MACHINE = {"spark.driver.host": "127.0.0.1", "spark.driver.bindAddress": "127.0.0.1"}
"""Spark settings of a driver whose workers are on this machine."""

_DEPLOY = "org.apache.spark.deploy"


@contextmanager
def cluster(directory: Path, workers: int = 2, memory: str = "1g") -> Iterator[str]:
    """Start a master and workers of one core each, and stop them afterwards. The value is the master's address. Raises
    TimeoutError if they do not start within four minutes."""
    directory.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        master = _start(stack, directory / "master.log", f"{_DEPLOY}.master.Master", "--host", "127.0.0.1",
                        "--port", "0", "--webui-port", "0")  # fmt: skip
        address = _awaited(master, r"(spark://127\.0\.0\.1:[0-9]+)")
        for number in range(workers):
            worker = _start(
                stack, directory / f"worker-{number}.log", f"{_DEPLOY}.worker.Worker", "--host", "127.0.0.1",
                "--cores", "1", "--memory", memory, "--webui-port", "0", "--work-dir",
                str(directory / f"work-{number}"), address,
            )  # fmt: skip
            _awaited(worker, r"(Successfully registered with master)")
        yield address


def _start(stack: ExitStack, log: Path, *words: str) -> Path:
    file = stack.enter_context(log.open("w", encoding="utf-8"))
    # A worker looks for the jars of its executors below SPARK_HOME.
    environment = {**os.environ, "SPARK_HOME": str(_HOME), "SPARK_LOCAL_IP": "127.0.0.1",
                   "SPARK_DAEMON_MEMORY": "512m"}  # fmt: skip
    # The script gives the processes what a worker needs to start its executors, and becomes the Java process.
    process = subprocess.Popen([_HOME / "bin" / "spark-class", *words], stdout=file, stderr=file, env=environment)
    stack.callback(process.wait)
    stack.callback(process.terminate)
    return log


def _awaited(log: Path, pattern: str) -> str:
    deadline = time.monotonic() + 240
    while time.monotonic() < deadline:
        if match := re.search(pattern, log.read_text(encoding="utf-8")):
            return match[1]
        time.sleep(0.1)
    raise TimeoutError(f"Spark does not start: {log.read_text(encoding='utf-8')[-500:]}")
