"""The life of a socket, the same on every transport: connect, resume, wait, end (contract, W4 and W8)."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final
from urllib.parse import urlencode

from .judge import Gap, Received, Seen, parse_id
from .line import HttpConnection, Line

CONNECT: Final = "/_ah/channel/connect"
OPEN_SECONDS: Final = 4.0
FIRST_LIMIT_SECONDS: Final = 0.5
LONGEST_PAUSE_SECONDS: Final = 30.0
LASTING_SECONDS: Final = 10.0
MAX_RETRY_SECONDS: Final = 30.0
NEVER: Final = -1.0
_RETRY: Final = re.compile(r"retry=(\d+)", re.ASCII)


@dataclass(frozen=True, slots=True)
class End:
    """How a connection ended: a close code, and the pause that the server asked for."""

    code: int = 1006
    retry: float | None = None

    @property
    def final(self) -> bool:
        """Whether the socket ends with it."""
        return 4400 <= self.code <= 4499

    @classmethod
    def of_reason(cls, code: int, reason: str) -> End:
        """The end that a close frame tells."""
        match = _RETRY.fullmatch(reason)
        return cls(code, int(match[1]) / 1000 if match else None)


@dataclass(slots=True)
class Tally:
    """What a page went through."""

    opened: int = 0
    failed: int = 0
    acks: int = 0
    codes: dict[int, int] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)
    """What no server says that keeps to the protocol."""


class Page(ABC):
    """One socket, from the token on. A transport gives it :meth:`connect`."""

    transport: ClassVar[str]
    left = False
    """Its user went away, or loaded it again: what is sent from then on is not its."""

    def __init__(
        self,
        line: Line,
        client_id: str,
        token: str,
        chance: random.Random,
        longest_pause: float = LONGEST_PAUSE_SECONDS,
    ) -> None:
        self.line = line
        self.client_id = client_id
        self.token = token
        self.page = f"{chance.getrandbits(96):024x}"
        self.cursor = ""
        self.seen: list[Seen] = []
        self.tally = Tally()
        self.open = False
        self.ended: int | None = None
        self._chance = chance
        self._longest_pause = longest_pause
        self._acknowledged = ""
        self._ack_now = asyncio.Event()
        self._opened_at = NEVER
        self._leaving = False

    # -- the life of the socket ----------------------------------------------------------------------------------

    async def run(self) -> None:
        """Hand on what comes, until the server ends the socket."""
        now = asyncio.get_running_loop().time
        limit = FIRST_LIMIT_SECONDS
        while True:
            self._opened_at = NEVER
            try:
                self.line.check()
                end = await self.connect()
            except (OSError, EOFError):  # a timeout is an OSError, too
                end = End()
            self.open = False
            if self._leaving:
                return
            self.tally.codes[end.code] = self.tally.codes.get(end.code, 0) + 1
            if end.final:
                self.ended = end.code
                return
            if self._opened_at == NEVER:
                self.tally.failed += 1
            elif now() - self._opened_at >= LASTING_SECONDS:
                limit = FIRST_LIMIT_SECONDS
            if end.retry is not None:
                await asyncio.sleep(min(end.retry, MAX_RETRY_SECONDS))
            else:
                await asyncio.sleep(self._chance.uniform(0, limit))
                limit = min(self._longest_pause, limit * 2)

    @abstractmethod
    async def connect(self) -> End:
        """Connect, and return how the connection ended. Raises ``OSError`` when it broke."""

    def query(self, **more: str) -> str:
        """The query of a connection."""
        resuming = {"after": self.cursor} if self.cursor else {}
        return urlencode({"page": self.page, **resuming, **more})

    # -- what comes ----------------------------------------------------------------------------------------------

    def got_open(self, client_id: str) -> None:
        """A connection is open."""
        if client_id != self.client_id:
            self.fault(f"open says the client id {client_id}, and the token is of {self.client_id}")
        self.open = True
        self.tally.opened += 1
        self._opened_at = asyncio.get_running_loop().time()

    def got_cursor(self, cursor: str, *, gap: bool) -> None:
        """``open`` or ``gap`` sets the cursor (W2)."""
        if gap:
            self.seen.append(Gap(parse_id(cursor)))
        self.cursor = cursor

    def got_message(self, id: str, data: str) -> None:
        """A message is handed on."""
        self.cursor = id
        self.seen.append(Received(parse_id(id), data))

    def got_frame(self, type: str, frame: Mapping[str, Any]) -> float | None:
        """Any other frame. Returns the seconds of silence that mean that the connection is dead, when it says so."""
        match type:
            case "open":
                self.got_open(frame["client_id"])
                self.got_cursor(frame["cursor"], gap=frame["gap"])
                return float(frame["ping"]) + float(frame["timeout"])
            case "gap":
                self.got_cursor(frame["cursor"], gap=True)
            case "ping":
                self._ack_now.set()
        return None

    def fault(self, what: str) -> None:
        """The server did what it may not."""
        if len(self.tally.faults) < 10:
            self.tally.faults.append(f"{self.transport} page of {self.client_id}: {what}")

    # -- acknowledging -------------------------------------------------------------------------------------------

    async def acknowledge(self) -> None:
        """Acknowledge at once what the server asks for, and within five seconds everything else (W4)."""
        while True:
            asked = True
            try:
                async with asyncio.timeout(self._chance.uniform(2, 4.5)):
                    await self._ack_now.wait()
            except TimeoutError:
                asked = False
            self._ack_now.clear()
            cursor = self.cursor
            if asked or cursor != self._acknowledged:
                with contextlib.suppress(OSError, EOFError):
                    await self.send_ack(cursor)
                    self._acknowledged = cursor
                    self.tally.acks += 1

    async def send_ack(self, cursor: str) -> None:
        """Send an ``ack``: what goes up by a request (W3)."""
        await self.post(type="ack", id=cursor)

    async def post(self, **frame: str) -> None:
        """Send a frame by a request, as a beacon does. Raises ``OSError`` when it was not taken."""
        body = json.dumps({"token": self.token, "page": self.page, **frame}).encode()
        async with asyncio.timeout(OPEN_SECONDS):
            connection = await self.line.dial()
            try:
                headers = {"Content-Type": "text/plain;charset=UTF-8", "Connection": "close"}
                await connection.ask("POST", CONNECT, headers, body)
                answer = await connection.body()
            finally:
                connection.close()
        if connection.status != 204:
            if connection.status != 503:
                self.fault(f"POST {frame['type']} is answered with {connection.status} {answer.decode()[:200]}")
            raise ConnectionRefusedError(connection.status)

    async def leave(self) -> None:
        """Say that the page goes, which ends its life. Raises ``OSError`` when it cannot."""
        self._leaving = True
        await self.post(type="leave", id=self.cursor)


async def refusal(connection: HttpConnection) -> End:
    """The end that a refused request tells (W8)."""
    answer = await connection.body()
    try:
        code = json.loads(answer)["close_code"]
    except (ValueError, KeyError, TypeError):
        code = {400: 4400, 403: 4403, 409: 4409}.get(connection.status, 1006)
    after = connection.headers.get("retry-after", "")
    return End(code, float(after) if after.isdigit() else None)
