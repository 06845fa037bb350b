"""Tells the application who is there: signed POSTs of what waits in the store's outbox (contract, G8 and section 5).

:class:`Deliveries` decides what is posted when, :class:`Poster` does it. What waits is in the store; here is only what
is under way, one notice of each client id: so they never overtake each other, and none waits for those of another (P4).
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections import deque
from collections.abc import Callable
from enum import Enum
from functools import partial
from typing import Final
from urllib.parse import urlencode, urlsplit

import aiohttp

from pushline import webhooks
from pushline.clock import Clock, Timer
from pushline.errors import ConfigurationError
from pushline.hub import Hub
from pushline.stores.base import Notice

log = logging.getLogger("pushline.callbacks")

AT_ONCE: Final = 100
"""How many callbacks are under way at one moment. More wait for their turn, in the order in which they came."""

ANSWER_SECONDS: Final = 10.0
"""How long an application has to answer one."""

TRY_SECONDS: Final = 3600.0
"""For how long one is tried (P1)."""

LONGEST_PAUSE_SECONDS: Final = 300.0
"""Between two tries: 1, 2, 4 … seconds, up to this, each but the first some part shorter or longer."""

ANSWER_BYTES: Final = 64 << 10
"""How much of an answer is read. One that is longer costs its connection."""

_NO_HANDLER: Final = (404, 405, 410)


class Result(Enum):
    """What an application made of a callback (P1)."""

    ACCEPTED = "accepted"
    NO_HANDLER = "no_handler"
    FAILED = "failed"


def result_of(status: int) -> Result:
    """What the status of an answer means (P1)."""
    if 200 <= status < 300:
        return Result.ACCEPTED
    return Result.NO_HANDLER if status in _NO_HANDLER else Result.FAILED


Answer = Callable[[Result, str], None]
"""Called once with what became of a POST, and why in words."""

Post = Callable[[Notice, Answer], None]
"""Posts a notice."""


def event_of(notice: Notice) -> str:
    """The word for what is told."""
    return "connected" if notice.connected else "disconnected"


class _Delivery:
    """A notice that is under way."""

    __slots__ = ("attempts", "error", "notice", "timer")

    def __init__(self, notice: Notice) -> None:
        self.notice = notice
        self.attempts = 0
        self.error = ""
        self.timer: Timer | None = None


class Deliveries:
    """Posts what the hub announces, again and again where that fails, and tells the hub what became of it.

    ``random`` spreads the tries.
    """

    def __init__(self, hub: Hub, clock: Clock, post: Post, random: Callable[[], float]) -> None:
        self._hub = hub
        self._clock = clock
        self._post = post
        self._random = random
        self._under_way: dict[str, _Delivery] = {}
        self._ready: deque[_Delivery] = deque()
        self._busy = 0
        self._failing = False
        self._stopped = False
        self.no_handler: set[str] = set()
        """The events for which the application has no handler, as its last answers said."""
        hub.announce = self.announce
        hub.courier = self

    def announce(self, notice: Notice) -> None:
        """Post a notice, as soon as it may be."""
        delivery = _Delivery(notice)
        self._under_way[notice.client_id] = delivery
        self._begin(delivery)

    def tries_of(self, client_id: str, sequence: int) -> tuple[int, str]:
        """How often a notice that is under way was tried in vain, and why the last time."""
        delivery = self._under_way.get(client_id)
        if delivery is None or delivery.notice.sequence != sequence:
            return (0, "")
        return (delivery.attempts, delivery.error)

    def hurry(self, client_id: str | None) -> int:
        """Try now what waits for its next try, of one client id or of all (None). Returns how many those are."""
        asked = self._under_way if client_id is None else self._under_way.keys() & {client_id}
        hurried = 0
        for delivery in [self._under_way[name] for name in asked]:
            if delivery.timer is not None:
                delivery.timer.cancel()
                self._begin(delivery)
                hurried += 1
        return hurried

    def _begin(self, delivery: _Delivery) -> None:
        delivery.timer = None
        self._ready.append(delivery)
        self._go_on()

    def _go_on(self) -> None:
        while self._ready and self._busy < AT_ONCE and not self._stopped:
            delivery = self._ready.popleft()
            self._busy += 1
            self._post(delivery.notice, partial(self._answered, delivery))

    def _answered(self, delivery: _Delivery, result: Result, why: str) -> None:
        self._busy -= 1
        if self._stopped:
            return  # it waits in the store for the next process
        if result is Result.FAILED:
            self._failed(delivery, why)
        else:
            self._known(delivery.notice, result)
        self._go_on()

    def _known(self, notice: Notice, result: Result) -> None:
        counters, event = self._hub.counters, event_of(notice)
        if self._failing:
            self._failing = False
            log.info("callbacks are accepted again")
        if result is Result.ACCEPTED:
            counters.callbacks_accepted += 1
            self.no_handler.discard(event)
        else:
            counters.callbacks_no_handler += 1
            if event not in self.no_handler:
                self.no_handler.add(event)
                log.warning("the application has no handler for a callback", extra={"event": event})
        del self._under_way[notice.client_id]
        self._hub.accepted(notice)

    def _failed(self, delivery: _Delivery, why: str) -> None:
        counters, notice = self._hub.counters, delivery.notice
        counters.callbacks_failed += 1
        delivery.attempts += 1
        delivery.error = why
        if not self._failing:
            self._failing = True
            log.warning("a callback fails, and is tried again", extra={"client_id": notice.client_id, "error": why})
        if self._clock.now() - notice.since >= TRY_SECONDS:
            counters.callbacks_given_up += 1
            log.warning("a callback was given up", extra={"client_id": notice.client_id, "error": why})
            del self._under_way[notice.client_id]
            self._hub.give_up(notice, why)
            return
        delivery.timer = self._clock.call_later(self._pause(delivery.attempts), lambda: self._begin(delivery))

    def _pause(self, attempts: int) -> float:
        if attempts == 1:
            return 1.0
        return float(min(2.0 ** min(attempts - 1, 20), LONGEST_PAUSE_SECONDS) * (0.75 + self._random() / 2))

    def stop(self) -> None:
        """Post no more. What was not accepted waits in the store."""
        self._stopped = True
        for delivery in self._under_way.values():
            if delivery.timer is not None:
                delivery.timer.cancel()


class Poster:
    """Posts notices to the application at ``url`` over HTTP, signed with the first of ``secrets``.

    Connections are kept for the next one. Raises :class:`ConfigurationError` when no application can be at ``url``.
    """

    def __init__(self, url: str, secrets: tuple[str, ...], clock: Clock, *, multipart: bool = False) -> None:
        self._url = _checked(url)
        self.renew(secrets)
        self._clock = clock
        self._multipart = multipart
        self._tasks: set[asyncio.Task[None]] = set()
        self._session: aiohttp.ClientSession | None = None

    def renew(self, secrets: tuple[str, ...]) -> None:
        """From now on sign with the first of these, what is tried again as well."""
        self._secret = secrets[0]

    def __call__(self, notice: Notice, answer: Answer) -> None:
        """Post a notice, and call ``answer`` with what became of it."""
        task = asyncio.get_running_loop().create_task(self._deliver(notice, answer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _deliver(self, notice: Notice, answer: Answer) -> None:
        try:
            status = await self._post(notice)
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            answer(Result.FAILED, _reason(error))
            return
        answer(result_of(status), f"status {status}")

    async def _post(self, notice: Notice) -> int:
        try:
            return await self._once(notice)
        except aiohttp.ServerDisconnectedError:
            return await self._once(notice)  # a connection that was kept, and that the application has closed

    async def _once(self, notice: Notice) -> int:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=AT_ONCE),
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=aiohttp.ClientTimeout(total=ANSWER_SECONDS),
                headers={"User-Agent": "Pushline"},
                auto_decompress=False,
            )
        content_type, body = multipart(notice) if self._multipart else form(notice)
        headers = {"Content-Type": content_type, **self._signature(notice, body)}
        url = f"{self._url}/_ah/channel/{event_of(notice)}/"
        async with self._session.post(url, data=body, headers=headers, allow_redirects=False) as response:
            await response.content.read(ANSWER_BYTES)
            return response.status

    def _signature(self, notice: Notice, body: bytes) -> dict[str, str]:
        return signature(self._secret, notice, int(self._clock.now()), body)

    async def close(self) -> None:
        """Give up what is under way, and close the connections."""
        for task in self._tasks:
            task.cancel()
        if self._session is not None:
            await self._session.close()


class Callbacks:
    """Both together: tells the application at ``url`` what ``hub`` announces.

    Raises :class:`ConfigurationError` when it can not be like that.
    """

    def __init__(
        self, url: str, format: str, secrets: tuple[str, ...], hub: Hub, clock: Clock, random: Callable[[], float]
    ) -> None:
        if format not in ("form", "multipart"):
            raise ConfigurationError(f"--presence-format {format} is not known. Use `form` or `multipart`.")
        if not secrets:
            raise ConfigurationError("There is no secret to sign callbacks with. Set PUSHLINE_WEBHOOK_SECRET.")
        self._poster = Poster(url, secrets, clock, multipart=format == "multipart")
        self._deliveries = Deliveries(hub, clock, self._poster, random)

    def renew(self, secrets: tuple[str, ...]) -> None:
        """From now on sign with the first of these."""
        self._poster.renew(secrets)

    async def close(self) -> None:
        """Tell no more. What was not accepted waits in the store for the next process."""
        self._deliveries.stop()
        await self._poster.close()


def _checked(url: str) -> str:
    try:
        parts = urlsplit(url)
        valid = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        valid = False
    if not valid:
        raise ConfigurationError(f"--presence-url {url!r} is no address: write one like https://app.example.com.")
    if parts.username is not None or parts.query or parts.fragment:
        raise ConfigurationError("--presence-url takes scheme, host, port and path only: callbacks are signed.")
    return url.rstrip("/")


def _reason(error: BaseException) -> str:
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, aiohttp.ClientConnectorError):
        return "no connection"
    return type(error).__name__


def _values(notice: Notice) -> dict[str, str]:
    return {
        "from": notice.client_id,
        "event": event_of(notice),
        "sequence": str(notice.sequence),
        "time": str(int(notice.time)),
    }


def signature(secret: str, notice: Notice, timestamp: int, body: bytes) -> dict[str, str]:
    """The headers that sign a notice (P2)."""
    id = f"msg_{notice.sequence}"
    return {
        webhooks.ID: id,
        webhooks.TIMESTAMP: str(timestamp),
        webhooks.SIGNATURE: webhooks.sign(secret, id, timestamp, body),
    }


def form(notice: Notice) -> tuple[str, bytes]:
    """Content type and body of a notice, as forms are by default (P1)."""
    return "application/x-www-form-urlencoded; charset=utf-8", urlencode(_values(notice)).encode()


def multipart(notice: Notice) -> tuple[str, bytes]:
    """The same as a form of several parts."""
    values = _values(notice)
    # Nobody can choose a client id that holds it.
    boundary = "pushline" + hashlib.sha256(repr(values).encode()).hexdigest()[:32]
    parts = "".join(
        f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
        for name, value in values.items()
    )
    return f"multipart/form-data; boundary={boundary}", f"{parts}--{boundary}--\r\n".encode()
