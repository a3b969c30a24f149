"""The peer of the point centre in `kazashi bench points`: it inserts each record as a row in its own transaction.

It does less than the centre: it does not verify signatures, keep accounts, or report earlier records.
"""

from __future__ import annotations

import argparse
import json
import os
import queue
from pathlib import Path
from typing import Any

import psycopg
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from kazashi.assembly.points_server import run
from kazashi.world.home import open_world

_URL = "KAZASHI_PEER_DATABASE"
_TABLE = """CREATE TABLE IF NOT EXISTS row_by_row (
    till text, number bigint, points integer, eligible integer, code text, receipt text, bought bigint,
    PRIMARY KEY (till, number))"""
_INSERT = "INSERT INTO row_by_row VALUES (%s, %s, %s, %s, %s, %s, %s) ON CONFLICT DO NOTHING"
_CONNECTIONS = 20


def worker() -> Any:
    """Return the application, with a few database connections that its threads share."""
    idle: queue.SimpleQueue[psycopg.Connection[Any]] = queue.SimpleQueue()
    for _ in range(_CONNECTIONS):
        idle.put(psycopg.connect(os.environ[_URL], autocommit=True))

    def insert(body: bytes) -> list[dict[str, str]]:
        connection = idle.get()
        try:
            for wire in json.loads(body)["records"]:
                record = json.loads(wire["body"])
                names = ("till", "number", "points", "eligible", "reading", "receipt", "at")
                connection.execute(_INSERT, [record[name] for name in names])
        finally:
            idle.put(connection)
        return [{"answer": "accepted"}] * body.count(b'"signature"')

    async def records(request: Request) -> JSONResponse:
        return JSONResponse({"results": await run_in_threadpool(insert, await request.body())})

    return Starlette(routes=[Route("/v1/records", records, methods=["POST"])])


def main() -> None:
    """Parse the command line and serve until the process is terminated."""
    parser = argparse.ArgumentParser(description="Serve a point centre that writes row by row, as a benchmark peer.")
    parser.add_argument("world", type=Path)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--workers", type=int, default=1)
    arguments = parser.parse_args()
    world = open_world(arguments.world)
    os.environ[_URL] = world.settings.storage
    with psycopg.connect(world.settings.storage, autocommit=True) as connection:
        connection.execute(_TABLE)
    run(world, arguments.port, arguments.workers, "benchmarks.row_by_row:worker")


if __name__ == "__main__":
    main()
