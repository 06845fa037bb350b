"""A program with Pushline mounted: which of its addresses are Pushline's, and one lifespan for both (contract, R5)."""

from __future__ import annotations

import logging
import re
from collections.abc import Awaitable, Callable
from typing import Final, Protocol
from urllib.parse import quote

from pushline.errors import Problem, PushlineError
from pushline.http.app import cors
from pushline.http.responses import Encoder, problem_response
from pushline.server.asgi import AsgiFront
from pushline.server.asgi_wire import Event, Program, Receive, Scope, Send, answer_events

log = logging.getLogger("pushline.server")

PREFIXES: Final = ("/_ah/channel/", "/_ah/pushline/")
_OURS: Final = tuple(prefix.encode() for prefix in PREFIXES)
_SAFE: Final = "/:@!$&'()*+,;=-._~"


class Guest(Protocol):
    """What is mounted: a Pushline that starts and ends with its program."""

    @property
    def front(self) -> AsgiFront | None:
        """What answers, while it runs."""

    async def start(self) -> None:
        """Open the store. Raises :class:`PushlineError`."""

    async def drain(self) -> None:
        """See the pages out."""

    async def stop(self) -> None:
        """Drain, then close the store."""


class Mounted:
    """An ASGI program: ``guest`` answers under ``/_ah/channel/`` and ``/_ah/pushline/``, ``program`` everything else.

    The presence addresses of the program, ``/_ah/channel/connected/`` and ``disconnected/``, answer 404 from outside:
    only Pushline calls them. Without a ``program`` there is nothing else.
    """

    def __init__(self, guest: Guest, program: Program | None) -> None:
        self._guest = guest
        self._program = program

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See the ASGI specification, version 3."""
        kind = scope["type"]
        if kind == "lifespan":
            await self._lifespan(scope, receive, send)
            return
        path = path_within(scope) if kind in ("http", "websocket") else None
        front = self._guest.front
        if path is None and self._program is not None:
            await self._program(scope, receive, send)
        elif kind == "websocket" and path is not None and front is not None:
            await front.websocket(scope, path, receive, send)
        elif kind == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 1013})
        elif path is None:
            await _refuse(send, Problem("not_found", "There is nothing at this address."), b"/")
        elif front is None:
            detail = "Pushline is not running: it starts by the lifespan of its ASGI server, or by `async with`."
            await _refuse(send, Problem("unavailable", detail), path)
        else:
            await front.http(scope, path, receive, send)

    # -- lifespan ----------------------------------------------------------------------------------------------

    async def _lifespan(self, scope: Scope, receive: Receive, send: Send) -> None:
        first = await receive()
        try:
            await self._guest.start()
        except PushlineError as error:
            await send({"type": "lifespan.startup.failed", "message": str(error)})
            return
        try:
            await self._share(scope, first, receive, send)
        finally:
            await self._guest.stop()

    async def _share(self, scope: Scope, first: Event, receive: Receive, send: Send) -> None:
        """The program's own lifespan, within Pushline's: until its end it can send."""
        events = [first]
        told = False

        async def hear() -> Event:
            if events:
                return events.pop()
            event = await receive()
            await self._guest.drain()
            return event

        async def tell(event: Event) -> None:
            nonlocal told
            told = True
            if event["type"] != "lifespan.startup.complete":
                await self._guest.stop()
            await send(event)

        if self._program is not None:
            try:
                await self._program(scope, hear, tell)
            except Exception as error:
                if told:
                    raise
                log.debug("the program has no lifespan", extra={"error": repr(error)})
        if not told:
            await send({"type": "lifespan.startup.complete"})
            await receive()
            await self._guest.stop()
            await send({"type": "lifespan.shutdown.complete"})


def path_within(scope: Scope) -> bytes | None:
    """The path of an address that is Pushline's, percent-encoded; None for one that is not.

    It is told by the decoded path, which is what programs look at: no spelling of an address leads around Pushline.
    """
    root: str = scope.get("root_path", "")
    path = _below(root, re.sub("/{2,}", "/", scope["path"]))
    if not path.startswith(PREFIXES):
        return None
    encoded = _below(root, (scope.get("raw_path") or b"").decode("latin-1")).encode("latin-1")
    return encoded if encoded.startswith(_OURS) else quote(path, safe=_SAFE).encode()


def _below(root: str, path: str) -> str:
    """The path within the program. Under ``mount("/_ah", …)`` routers cut the address at it, or name it as the root."""
    below = path.removeprefix(root)
    return "/_ah" + below if root.endswith("/_ah") else below


async def _refuse(send: Callable[[Event], Awaitable[None]], problem: Problem, path: bytes) -> None:
    encoder = Encoder(lambda: 0.0)  # the date is the server's
    start, body = answer_events(encoder.encode(problem_response(problem, cors(path)), close=False, head=False))
    await send(start)
    await send({"type": "http.response.body", "body": body})
