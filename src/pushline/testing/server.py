"""A whole Pushline in the process of a test: no socket, no thread, no waiting."""

from __future__ import annotations

import time
from contextlib import ExitStack
from datetime import UTC, datetime
from typing import Any, Final

from pushline.callbacks import Answer, Result, result_of
from pushline.client.requests import ApiRequest, ApiResponse
from pushline.client.retry import Tries
from pushline.presence import Presence
from pushline.settings import Settings, settings_table
from pushline.stores.base import Notice
from pushline.testing.asking import read_answer, request_bytes
from pushline.testing.clock import FakeClock
from pushline.testing.explain import Text, explain, matches
from pushline.testing.machine import API_KEY, Machine, reset
from pushline.testing.page import Page
from pushline.testing.presence import PresenceHandler, call_of
from pushline.testing.sdk import answered_by
from pushline.testing.socket import RefreshToken
from pushline.testing.store import Sent
from pushline.testing.wire import HOST

URL: Final = f"http://{HOST}"
WEBHOOK_SECRET: Final = "the-webhook-secret-of-the-tests"  # noqa: S105 - it admits to nothing

_LATE: Final = 1.0
"""Seconds after which an answer that waits is overdue."""


class PushlineServer:
    """A Pushline in memory, with a clock that stands still until :meth:`advance` moves it.

    ``settings`` are those of ``pushline serve`` by their names with underscores (``ping_interval``, ``grace``,
    ``retention``, …). Raises :class:`ConfigurationError` for a value that it can not have.

    As a context manager it takes the place of every Pushline that this process knows: whatever ``pushline.channel``,
    :class:`pushline.Client` and :class:`pushline.AsyncClient` ask is asked here, with whichever address and key they
    were made, and the environment has this one's. Any thread may ask.
    """

    def __init__(self, **settings: Any) -> None:
        for setting in settings_table():
            if setting.name in settings:
                setting.check(settings[setting.name])
        # Tokens end at whole seconds: begun at one, two hours are two hours.
        self.clock = FakeClock(now=float(int(time.time())))
        self.url = URL
        self.api_key = API_KEY
        self.webhook_secret = WEBHOOK_SECRET
        self.sent: list[Sent] = []
        """What the application has sent, in that order, also what found no channel."""
        self.pages: list[Page] = []
        """The pages that were opened, in that order."""
        self.presence: list[Presence] = []
        """What the application was told of who is there, in that order."""
        self.on_presence: PresenceHandler | None = None
        """Answers presence calls with a status, as the application does; without one every call is accepted."""
        settings = {"connect_rate": 0.0, **settings}
        self._machine = Machine(Settings(**settings), self.clock, self.sent.append, self._post)
        self._lose_answer = False
        self._within = ExitStack()

    def __enter__(self) -> PushlineServer:
        environment = {
            "PUSHLINE_URL": URL,
            "PUSHLINE_API_KEY": API_KEY,
            "PUSHLINE_WEBHOOK_SECRET": WEBHOOK_SECRET,
        }
        self._within.enter_context(answered_by(self._answer, environment))
        self.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.crash()
        self._within.close()

    # -- time ----------------------------------------------------------------------------------------------------

    @property
    def now(self) -> datetime:
        """The moment at which the clock stands, in UTC."""
        return datetime.fromtimestamp(self.clock.now(), UTC)

    def advance(self, seconds: float = 0.0, *, minutes: float = 0.0, hours: float = 0.0, days: float = 0.0) -> None:
        """Let time pass, for the server and all pages: what comes due is done at its moment."""
        with self._machine.baton:
            self.clock.advance(seconds + 60 * minutes + 3600 * hours + 86400 * days)

    # -- pages ---------------------------------------------------------------------------------------------------

    def page(self, token: str, *, refresh_token: RefreshToken | None = None) -> Page:
        """Open a page with ``token``. ``refresh_token`` is called for a fresh one when that is about to expire.

        A token that is not good raises nothing here: the page ends with a ``code``, as it does in a browser.
        """
        page = Page(self._machine, f"page-{len(self.pages) + 1}", token, refresh_token)
        self.pages.append(page)
        return page

    def reload(self, page: Page, token: str | None = None) -> Page:
        """The user reloads a page: it leaves, and is opened anew, with ``token`` if the application has given one."""
        page.leave()
        return self.page(token or page.token, refresh_token=page.refresh_token)

    # -- the application -----------------------------------------------------------------------------------------

    def _answer(self, url: str, request: ApiRequest) -> ApiResponse:
        """Answer what the SDK asks. The pauses between its tries, and what it waits for, pass on the clock.

        Raises :class:`Unreachable` while the server is down.
        """
        headers = {
            "Host": HOST,
            "Authorization": f"Bearer {API_KEY}",
            "Accept": "application/json",
            **request.headers,
        }
        data = request_bytes(request.method, request.target, headers, request.body)
        wait = request.wait + _LATE if request.wait else 0.0
        tries = Tries(url, request)
        with self._machine.baton:
            while True:
                try:
                    answer = self._machine.exchange(data, wait)
                    if self._lose_answer:
                        self._lose_answer = False
                        raise reset()
                    return read_answer(answer)
                except ConnectionError as error:
                    pause = tries.pause_after(error, sent=not isinstance(error, ConnectionRefusedError))
                self.clock.advance(pause)

    def assert_delivered(self, client_id: str, message: Text) -> None:
        """Raise :class:`AssertionError` with the reason, unless a page of ``client_id`` has got ``message``.

        ``message`` is a text, its bytes, or a value that was sent as JSON.
        """
        __tracebackhide__ = True
        pages = [page for page in self.pages if page.client_id == client_id]
        if not any(matches(message, text) for page in pages for text in page.messages):
            raise AssertionError(explain(client_id, message, self.sent, self.pages, self._channels()))

    def assert_not_sent(self, client_id: str, message: Text) -> None:
        """Raise :class:`AssertionError` if ``message`` was sent to ``client_id``, whether a page has got it or not."""
        __tracebackhide__ = True
        if any(each.client_id == client_id and matches(message, each.message) for each in self.sent):
            raise AssertionError(f"{message!r} was sent to {client_id!r}.")

    def _channels(self) -> list[str]:
        found = self._machine.store.clients("", "", None, 1000, self.clock.now())
        return [each.client_id for each in found.entries]

    # -- who is there --------------------------------------------------------------------------------------------

    def _post(self, notice: Notice, answer: Answer) -> None:
        presence = Presence(notice.client_id, notice.connected, notice.sequence, int(notice.time))
        if presence not in self.presence:
            self.presence.append(presence)
        if self.on_presence is None:
            answer(Result.ACCEPTED, "")
            return
        call = call_of(notice, WEBHOOK_SECRET)
        with self._machine.baton.lent():
            status = self.on_presence(call)
        answer(result_of(status), f"status {status}")

    # -- what may go wrong ---------------------------------------------------------------------------------------

    def crash(self, *, lose_store: bool = False) -> None:
        """``kill -9``: everything ends without a word, until :meth:`start`. What was answered is kept.

        ``lose_store``: the store is gone, too; who comes back with a token is told of a gap (contract, G5).
        """
        with self._machine.baton:
            self._machine.kill()
            if lose_store:
                self._machine.wipe()
            self.clock.turn()

    def stop(self) -> None:
        """SIGTERM: every page is asked to come back at a moment of its own (contract, G11), until :meth:`start`."""
        with self._machine.baton:
            self._machine.terminate()
            self.clock.turn()

    def start(self) -> None:
        """Start it, after :meth:`crash` or :meth:`stop`, on what was kept."""
        with self._machine.baton:
            self._machine.start()
            self.clock.turn()

    def restart(self) -> None:
        """:meth:`stop` and :meth:`start`, as at an upgrade."""
        self.stop()
        self.start()

    def lose_next_answer(self) -> None:
        """The next request of the application is carried out, and its answer is lost on the way.

        The SDK asks again when that is safe: with an idempotency key (contract, Y1).
        """
        self._lose_answer = True

    def fill_store(self, full: bool = True) -> None:
        """The store has no room any more: what is sent is refused with 507 ``store_full``. ``False``: it has again."""
        self._machine.store.full = full
