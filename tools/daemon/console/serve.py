"""Serve the console of one world: `python -m kazashi.tools.daemon.console.serve WORLD --port N`, with its key in the
environment variable KAZASHI_CONSOLE_KEY."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from kazashi.applets.photo import LARGEST_FILE
from kazashi.assembly.error_codes import code_of, words_of
from kazashi.tools.daemon.console.access_control import KEY_VARIABLE, AccessControl
from kazashi.tools.daemon.console.feed import Feed
from kazashi.tools.daemon.console.view import View, vocabulary
from kazashi.web.guard import Guard, Problem
from kazashi.web.ports import HOST
from kazashi.web.server import OPTIONS
from kazashi.world.home import World, open_world
from kazashi.world.rng import new_token

_FILES = {"/": "page.html", "/console.js": "console.js", "/console.css": "console.css"}
_BATCH_SECONDS, _BATCH_LINES = 0.1, 400
_LARGEST_REQUEST = LARGEST_FILE * 4 // 3 + (64 << 10)
"""A photo in base64, and the rest of an action."""
_HEARTBEATS = 50
"""After this many empty batches, a page gets an empty message as a sign that the stream is alive."""

GUARD = Guard(
    _LARGEST_REQUEST,
    dict.fromkeys(
        (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError),
        Problem(400, "bad-request", "the request is malformed: {}"),
    ),
    lambda error, code, message: {"ok": False, "error": code, "message": message},
)


def application(world: World, key: str, port: int) -> AccessControl:
    """Return the console of a world as an ASGI application, behind its access control."""
    view, feed = View(world), Feed(world)

    async def state(_: Request) -> Response:
        return JSONResponse(await run_in_threadpool(view.state))

    async def events(_: Request) -> Response:
        return JSONResponse(vocabulary())

    async def do(request: Request) -> Response:
        document = json.loads(await request.body())
        if not isinstance(document, dict):
            raise ValueError("the request is not a JSON object")
        try:
            return JSONResponse({"ok": True, **await run_in_threadpool(view.do, document)})
        except Exception as error:
            return refused(error)

    async def face(request: Request) -> Response:
        try:
            picture = await run_in_threadpool(view.face, request.path_params["card"])
        except Exception as error:
            return refused(error)
        return Response(picture, media_type="image/png", headers={"Cache-Control": "no-store"})

    def refused(error: Exception) -> Response:
        code = code_of(error)
        if code is None:
            raise error
        return JSONResponse({"ok": False, "error": code, "message": words_of(error)}, 409)

    async def trace(request: Request) -> Response:
        return StreamingResponse(_batches(request, feed), media_type="text/event-stream")

    def file(name: str) -> Any:
        return lambda _: FileResponse(Path(__file__).with_name(name))

    routes = [Route(path, file(name)) for path, name in _FILES.items()]
    routes += [
        Route("/state", state),
        Route("/events", events),
        Route("/trace", trace),
        Route("/face/{card}", face),
        Route("/do", do, methods=["POST"]),
    ]
    inside = Starlette(routes=routes)
    GUARD.protect(inside)
    return AccessControl(inside, key, new_token(), port)


async def _batches(request: Request, feed: Feed) -> AsyncIterator[str]:
    """Yield the trace as server-sent events. A page that cannot keep up is told how many lines it has missed, so that
    no backlog builds up."""
    seen, idle = max(0, feed.count - _BATCH_LINES), 0
    while not await request.is_disconnected():
        lines, seen, left_out = feed.since(seen, _BATCH_LINES)
        idle = 0 if lines else idle + 1
        if lines or idle % _HEARTBEATS == 0:
            yield f"data: {json.dumps({'lines': lines, 'missed': left_out}, ensure_ascii=False)}\n\n"
        await asyncio.sleep(_BATCH_SECONDS)


def main() -> None:
    """Serve the console until the process is told to stop."""
    parser = argparse.ArgumentParser(description="Serve the console of one world.")
    parser.add_argument("world", type=Path)
    parser.add_argument("--port", type=int, required=True)
    arguments = parser.parse_args()
    console = application(open_world(arguments.world), os.environ[KEY_VARIABLE], arguments.port)
    uvicorn.run(console, host=HOST, port=arguments.port, **{**OPTIONS, "timeout_graceful_shutdown": 1})


if __name__ == "__main__":
    main()
