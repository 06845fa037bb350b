"""Presence for a program that Pushline is mounted into: its handlers are called in process (contract, R5 and P1)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Final

from pushline.callbacks import ANSWER_SECONDS, Deliveries, Poster, event_of, form, multipart
from pushline.clock import Clock
from pushline.errors import ConfigurationError
from pushline.hub import Hub
from pushline.server.asgi_wire import Event, Program, Scope
from pushline.stores.base import Notice

log = logging.getLogger("pushline.callbacks")

HOST: Final = "localhost"
"""Whom these requests are for, as programs look at it (Django: ``ALLOWED_HOSTS``)."""


class ProgramPoster(Poster):
    """Posts notices to an ASGI program, signed as those over HTTP are: from outside nobody gets to its handlers.

    ``secrets`` says what is good at the moment. It is asked each time, since the handlers ask as well
    (:func:`pushline.presence.parse`): so both sides go on with a new one together. It may raise
    :class:`ConfigurationError`; after the start what was good stays so then.
    """

    def __init__(
        self, program: Program, secrets: Callable[[], tuple[str, ...]], clock: Clock, *, multipart: bool = False
    ) -> None:
        super().__init__(f"http://{HOST}", secrets(), clock, multipart=multipart)
        self._program = program
        self._secrets = secrets

    async def _once(self, notice: Notice) -> int:
        try:
            self._secret = self._secrets()[0]
        except ConfigurationError as error:
            log.error("the webhook secret stays as it was", extra={"reason": str(error)})
        content_type, body = multipart(notice) if self._multipart else form(notice)
        headers = {"Host": HOST, "Content-Type": content_type, "Content-Length": str(len(body))}
        headers |= self._signature(notice, body)
        path = f"/_ah/channel/{event_of(notice)}/"
        encoded = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
        scope: Scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "method": "POST",
            "scheme": "http",
            "path": path,
            "raw_path": path.encode(),
            "query_string": b"",
            "root_path": "",
            "headers": encoded,
            "client": ("127.0.0.1", 0),
            "server": (HOST, 80),
        }
        return await asyncio.wait_for(call(self._program, scope, body), ANSWER_SECONDS)


async def call(program: Program, scope: Scope, body: bytes) -> int:
    """The status with which a program answers a request; 500 when it breaks, which the log then has."""
    asked = [{"type": "http.request", "body": body, "more_body": False}]
    answered = asyncio.Event()
    status = 500

    async def receive() -> Event:
        if asked:
            return asked.pop()
        await answered.wait()
        return {"type": "http.disconnect"}

    async def send(event: Event) -> None:
        nonlocal status
        if event["type"] == "http.response.start":
            status = event["status"]
        elif not event.get("more_body", False):
            answered.set()

    try:
        await program(scope, receive, send)
    except Exception:
        log.exception("the program's handler of a callback failed")
        return 500
    return status


class ProgramCallbacks:
    """Tells a program what ``hub`` announces: see :class:`pushline.callbacks.Callbacks`."""

    def __init__(self, poster: ProgramPoster, hub: Hub, clock: Clock, random: Callable[[], float]) -> None:
        self._poster = poster
        self._deliveries = Deliveries(hub, clock, poster, random)

    async def close(self) -> None:
        """Tell no more. What was not accepted waits in the store for the next process."""
        self._deliveries.stop()
        await self._poster.close()
