"""The channel stub of the testbed: a whole Pushline in the process, without a socket, and a page for each client id.

The hub, the store ``memory`` and the HTTP API are the server's own, so a test sees what pages would get. One thing is
other than in App Engine's stub: what was sent after the token was made and before the page connected is kept for it
(contract, G4).
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from threading import RLock

from pushline.client.requests import ApiRequest, ApiResponse
from pushline.client.sync import Client
from pushline.errors import ConnectionEnded
from pushline.http.request import HEADERS, Request
from pushline.http.responses import Pending
from pushline.http.values import Response
from pushline.hub import Hub
from pushline.messages import Message
from pushline.protocol.codes import TOKEN_EXPIRED
from pushline.protocol.session import Session
from pushline.protocol.tokens import Claims
from pushline.protocol.values import Close, Traffic
from pushline.server.wiring import Core
from pushline.settings import Settings
from pushline.stores.memory import MemoryStore
from pushline.testing import FakeClock

__all__ = ["ChannelServiceStub", "Error", "InvalidTokenError", "TokenTimedOutError"]


class Error(Exception):
    """The base of what the stub raises about tokens."""


class InvalidTokenError(Error):
    """It is no token of this stub."""


class TokenTimedOutError(Error):
    """The token has expired."""


class ChannelServiceStub:
    """What a test may ask of the channel service, and do in the place of pages. Any thread may call it.

    ``time_func`` says the unix time, by which tokens expire. No other time passes, so pages are not asked for life.
    """

    def __init__(self, time_func: Callable[[], float] = time.time) -> None:
        self._time = time_func
        self._clock = FakeClock(now=time_func())
        self._lock = RLock()
        self._pages: dict[str, _Page] = {}
        key, secret = secrets.token_urlsafe(), secrets.token_urlsafe()
        settings = Settings(connect_rate=0.0)  # a rate needs time that passes
        core = Core(settings, store=MemoryStore(), api_keys=(key,), token_secrets=(secret,), clock=self._clock)
        self._hub, self._app = core.hub, core.app
        self.client: Client = _ClientWithin(key, self._answer)
        """The SDK's client, whose requests are answered in the process."""

    # -- the page's side ---------------------------------------------------------------------------------------

    def connect_channel(self, token: str) -> None:
        """Open the page of the token's client id; if it is open, nothing changes.

        Raises :class:`InvalidTokenError` and :class:`TokenTimedOutError`.
        """
        with self._lock:
            claims = self._verify(token)
            if self._open_page(claims.client_id) is not None:
                return
            page = _Page(self._hub)
            self._hub.connect(token, "", None, page)
            self._clock.turn()
            if page.closed:  # the token was revoked
                raise InvalidTokenError
            self._pages[claims.client_id] = page

    def disconnect_channel_event(self, client_id: str) -> None:
        """Close the page of a client id, if it is open."""
        with self._lock:
            page = self._open_page(client_id)
            if page is not None:
                del self._pages[client_id]
                self._hub.disconnected(page, orderly=True)
                self._clock.turn()

    def get_channel_messages(self, token: str) -> list[str] | None:
        """The messages that the page of the token's client id holds; None when it is not open."""
        page = self._page(token)
        return None if page is None else page.messages

    def has_channel_messages(self, token: str) -> bool:
        """Whether that page is open and holds messages."""
        return bool(self.get_channel_messages(token))

    def pop_first_message(self, token: str) -> str | None:
        """Take the first of them away and return it; None when there is none."""
        with self._lock:
            messages = self.get_channel_messages(token)
            return messages.pop(0) if messages else None

    def clear_channel_messages(self, token: str) -> None:
        """Take all of them away."""
        page = self._page(token)
        if page is not None:
            page.messages = []

    def connect_and_pop_first_message(self, token: str) -> str | None:
        """:meth:`connect_channel` and :meth:`pop_first_message` in one."""
        with self._lock:
            self.connect_channel(token)
            return self.pop_first_message(token)

    def client_id_from_token(self, token: str) -> str | None:
        """The client id of a token, None when it is not or no longer good."""
        try:
            return self.validate_token_and_extract_client_id(token)
        except Error:
            return None

    def validate_token_and_extract_client_id(self, token: str) -> str:
        """The same; raises :class:`InvalidTokenError` and :class:`TokenTimedOutError`."""
        with self._lock:
            return self._verify(token).client_id

    def _page(self, token: str) -> _Page | None:
        client_id = self.client_id_from_token(token)
        return None if client_id is None else self._open_page(client_id)

    def _open_page(self, client_id: str) -> _Page | None:
        page = self._pages.get(client_id)
        return None if page is None or page.closed else page

    def _verify(self, token: str) -> Claims:
        self._tell_time()
        try:
            return self._hub.verify(token)
        except ConnectionEnded as ended:
            raise (TokenTimedOutError if ended.code == TOKEN_EXPIRED else InvalidTokenError) from None

    def _tell_time(self) -> None:
        self._clock.step(self._time() - self._clock.now())

    # -- the application's side --------------------------------------------------------------------------------

    def _answer(self, asked: Request) -> Response:
        with self._lock:
            self._tell_time()
            answer = self._app.handle(asked)
            self._clock.turn()
            response = answer.response if isinstance(answer, Pending) else answer
        assert response is not None, "The store `memory` answers within the turn."  # noqa: S101
        return Response(200, "application/json", response) if isinstance(response, bytes) else response


class _Page:
    """A connection that holds the messages it was given."""

    session: Session
    name = "stub"

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self.messages: list[str] = []
        self.closed = False

    def opened(self, session: Session) -> bool:
        """See :class:`pushline.hub.Outlet`."""
        self.session = session
        return True

    def refused(self, close: Close) -> None:
        """See :class:`pushline.hub.Outlet`."""
        self.closed = True

    def flush(self) -> None:
        """See :class:`pushline.hub.Outlet`."""
        items = self.session.outgoing() or []
        self.messages += [item.data.decode() for item in items if isinstance(item, Message)]
        if items and isinstance(items[-1], Close):
            self.closed = True
            self._hub.disconnected(self, orderly=False)

    def traffic(self) -> Traffic:
        """See :class:`pushline.hub.Outlet`."""
        return Traffic()


class _ClientWithin(Client):
    """A client whose requests go to ``answer``."""

    def __init__(self, api_key: str, answer: Callable[[Request], Response]) -> None:
        super().__init__("http://stub.invalid", api_key)
        self._answer = answer

    def _ask(self, request: ApiRequest) -> ApiResponse:
        asked = Request()
        asked.method = request.method.encode()
        path, _, query = request.target.partition("?")
        asked.path, asked.query, asked.body = path.encode(), query.encode(), request.body
        for name, value in {**self._endpoint.headers, **request.headers}.items():
            attribute = HEADERS.get(name.lower().encode())
            if attribute is not None:
                setattr(asked, attribute, value.encode())
        response = self._answer(asked)
        headers = {name.lower(): value for name, value in response.headers}
        return ApiResponse(response.status, headers, response.body)
