"""The socket of a page in memory: it speaks the wire over WebSocket as the page's script does, on the test's clock."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, Final, Protocol

import msgspec
from websockets.frames import Frame, Opcode
from websockets.protocol import Protocol as FrameReader
from websockets.protocol import Side
from websockets.protocol import State as ReaderState

from pushline.errors import ClientError
from pushline.protocol.codes import CLOSES, NORMAL, TOKEN_EXPIRED
from pushline.protocol.frames import Ack, FreshToken, Up, encode
from pushline.testing.asking import request_bytes
from pushline.testing.baton import Baton
from pushline.testing.clock import FakeClock, FakeTimer
from pushline.testing.wire import HOST, PageWire, handshake_bytes

ACK_SECONDS: Final = 4.0
OPEN_SECONDS: Final = 4.0
FIRST_PAUSE: Final = 0.5
LONGEST_PAUSE: Final = 30.0
NO_CONNECTION: Final = 503
"""The :attr:`Page.code` of a page that found no connection until its token had expired (contract, J3)."""

RefreshToken = Callable[[], str]
"""Gets a fresh token from the application, as ``refreshToken`` of the page's script does (contract, J5)."""


class Network(Protocol):
    """What a page needs around it."""

    clock: FakeClock
    baton: Baton
    """Held by whoever lets something happen."""

    def dial(self, arrived: Callable[[PageWire], None]) -> PageWire | None:
        """A connection to the server; None when nobody listens."""

    def exchange(self, request: bytes) -> bytes:
        """The answer to a request. Raises :class:`ConnectionError`."""


class Socket:
    """What connects a page, by itself and as time passes (contract, section 3 and J3).

    Half a second after its connection broke it tries to connect again, then after pauses that double up to thirty
    seconds, or when the server has said so. Whoever calls it holds the network's ``baton``.
    """

    def __init__(self, network: Network, name: str, token: str, refresh_token: RefreshToken | None = None) -> None:
        self._network = network
        self._clock = network.clock
        self.refresh_token = refresh_token
        """What it gets fresh tokens by."""
        self.name = name
        """What names its socket to the server (contract, W1)."""
        self.token = token
        """The token that it has now."""
        self.client_id: str | None = None
        """The client id of its token, from ``onopen`` on."""
        self.messages: list[str] = []
        """What ``onmessage`` was called with, in that order."""
        self.events: list[str] = []
        """What its script was told: ``open``, ``message``, ``gap``, ``reconnecting``, ``reconnect``, ``error``,
        ``close``."""
        self.code: int | None = None
        """The close code by which it has ended, or 503 when it found no connection; None while it lives."""
        self.cursor: str | None = None
        """The id after which it goes on."""
        self.asleep = False
        """Whether its computer sleeps."""
        self.offline = False
        """Whether it has no network."""
        self.rate: float | None = None
        """Bytes that it reads in a second; None: all at once."""
        self._retry_at: float | None = None
        self._wire: PageWire | None = None
        self._opened = False
        self._pauses = 0
        self._patience = OPEN_SECONDS
        self._heard_at = 0.0
        self._expires_at: float | None = None
        self._last_chance = False
        self._retry: FakeTimer | None = None
        self._ack: FakeTimer | None = None
        self._watching: FakeTimer | None = None
        self._trickling: FakeTimer | None = None

    # -- connecting ----------------------------------------------------------------------------------------------

    def _connect(self) -> None:
        if self._retry is not None:
            self._retry.cancel()
        self._retry, self._retry_at = None, None
        if self._expired() and not self._last_chance:
            self._refresh()
        self._reader = FrameReader(Side.CLIENT, state=ReaderState.OPEN, max_size=None)
        self._head: bytes | None = b""
        self._frames: deque[Frame] = deque()
        self._wire = None if self.offline else self._network.dial(self._arrived)
        if self._wire is None:
            self._lost()
            return
        self._heard_at, self._patience = self._clock.monotonic(), OPEN_SECONDS
        self._watch()
        self._wire.say(handshake_bytes(self.token, self.name, self.cursor))

    def _expired(self) -> bool:
        return self._expires_at is not None and self._clock.monotonic() >= self._expires_at

    def _lost(self, retry: float | None = None) -> None:
        """There is no connection any more; the server wants it back ``retry`` seconds from now, if it has said so."""
        was_open, self._opened, self._wire = self._opened, False, None
        if not was_open and self._expired() and self.refresh_token is None:
            self._end(NO_CONNECTION)
            return
        if was_open:
            self._tell("reconnecting")
        pause = min(LONGEST_PAUSE, FIRST_PAUSE * 2**self._pauses) if retry is None else retry
        self._pauses += retry is None
        self._retry_at = self._clock.monotonic() + pause
        self._retry = self._clock.call_later(pause, self._try_again)

    def _try_again(self) -> None:
        if self.code is None and not self.asleep and self._wire is None:
            self._connect()

    def _drop(self) -> None:
        wire = self._wire
        if wire is not None:
            wire.drop()
            self._lost()

    def _watch(self) -> None:
        """Give the connection up when nothing came for too long (contract, W4)."""
        wire = self._wire
        if wire is None or self.asleep:
            return
        if self._watching is not None:
            self._watching.cancel()
        rest = self._heard_at + self._patience - self._clock.monotonic()
        if rest > 0:
            self._watching = self._clock.call_later(rest, self._watch)
        elif wire.stuck:
            self._lost()  # the server does not hear of it
        else:
            self._drop()

    # -- what comes ----------------------------------------------------------------------------------------------

    def _arrived(self, wire: PageWire) -> None:
        if wire is not self._wire or wire.stuck or self.asleep:
            return
        if self.rate is None:
            self._read(wire, wire.take())
        if wire is self._wire and wire.closed and not wire.get_write_buffer_size():
            self._lost()

    def _trickle(self) -> None:
        wire, rate = self._wire, self.rate
        if rate and wire is not None and not wire.stuck and not self.asleep:
            self._read(wire, wire.take(max(1, int(rate))))
            self._arrived(wire)
        self._trickle_on()

    def _trickle_on(self) -> None:
        if self._trickling is not None:
            self._trickling.cancel()
        if self.rate and self.code is None:
            self._trickling = self._clock.call_later(1.0, self._trickle)

    def _read(self, wire: PageWire, data: bytes) -> None:
        if data:
            self._heard_at = self._clock.monotonic()
        if self._head is not None:  # the answer to the handshake
            self._head, found, data = (self._head + data).partition(b"\r\n\r\n")
            if not found:
                return
            self._head = None
        self._reader.receive_data(data)
        # A frame may have the application called, and what that does brings more of them: they keep their order.
        self._frames += [frame for frame in self._reader.events_received() if isinstance(frame, Frame)]
        while self._frames and self._wire is wire:
            self._frame(self._frames.popleft())
        if self._wire is not wire:
            return
        self._write(wire)
        closed = self._reader.close_rcvd
        if closed is not None:
            self._closed(closed.code, closed.reason)

    def _frame(self, frame: Frame) -> None:
        if frame.opcode is not Opcode.TEXT:
            return
        text = bytes(frame.data).decode()
        if not text.startswith("{"):
            self.cursor, _, message = text.partition(" ")
            self.messages.append(message)
            self._tell("message")
            if self._ack is None:
                self._ack = self._clock.call_later(ACK_SECONDS, self._acknowledge)
            return
        values = msgspec.json.decode(text, type=dict[str, Any])
        match values["type"]:
            case "open":
                self._open(values)
            case "gap":
                self.cursor = values["cursor"]
                self._tell("gap")
            case "ping":
                self._acknowledge()
            case "expiring":
                self._refresh()
            case "token":
                self._good_for(values["expires_in"])

    def _open(self, values: dict[str, Any]) -> None:
        again = self.client_id is not None
        self.client_id, self.cursor = values["client_id"], values["cursor"]
        self._opened = True
        self._pauses = 0
        self._patience = values["ping"] + values["timeout"]
        self._watch()
        self._good_for(values["expires_in"])
        self._tell("reconnect" if again else "open")
        if values["gap"]:
            self._tell("gap")

    def _good_for(self, seconds: float) -> None:
        self._last_chance = False
        self._expires_at = self._clock.monotonic() + seconds

    def _closed(self, code: int, reason: str) -> None:
        self._wire = None
        close = CLOSES.get(code)
        if close.ends if close else 4400 <= code < 4500:
            if code == TOKEN_EXPIRED and not self._last_chance and self.refresh_token is not None:
                self._last_chance = True
                if self._refresh():
                    self._lost(0.0)
                    return
            self._end(code)
            return
        milliseconds = reason.removeprefix("retry=")
        self._lost(int(milliseconds) / 1000 if milliseconds.isdigit() else None)

    def _refresh(self, pause: float = 1.0) -> bool:
        """Ask the application for a fresh token, and again later when there is none. True: it has given one."""
        if self.refresh_token is None or self.code is not None or self.asleep:
            return False
        try:
            with self._network.baton.lent():
                token = self.refresh_token()
        except ClientError:  # the application did not reach Pushline
            token = self.token
        if token == self.token:
            if self._opened and not self._expired():
                self._clock.call_later(pause, lambda: self._refresh_again(pause * 2))
            return False
        self.token = token
        if self._opened:
            self._say(FreshToken(token))
        return True

    def _refresh_again(self, pause: float) -> None:
        if self._opened and not self._expired():
            self._refresh(pause)

    # -- what goes -----------------------------------------------------------------------------------------------

    def _acknowledge(self) -> None:
        if self.asleep:
            return
        if self._ack is not None:
            self._ack.cancel()
            self._ack = None
        self._say(Ack(self.cursor or ""))

    def _say(self, frame: Up) -> None:
        if self._opened and self._wire is not None and self._reader.state is ReaderState.OPEN:
            self._reader.send_text(encode(frame))
            self._write(self._wire)

    def _write(self, wire: PageWire) -> None:
        for data in self._reader.data_to_send():
            wire.say(data)

    def _hang_up(self, wire: PageWire | None) -> None:
        if wire is not None and not wire.closed:
            self._reader.send_close(NORMAL)
            self._write(wire)

    def _post(self, frame: Up) -> None:
        """Say something on a connection of its own, as ``navigator.sendBeacon`` does (contract, W3)."""
        body = {"token": self.token, "page": self.name} | msgspec.to_builtins(frame)
        headers = {"Host": HOST, "Content-Type": "text/plain;charset=UTF-8"}
        request = request_bytes("POST", "/_ah/channel/connect", headers, msgspec.json.encode(body))
        if self.offline or self.asleep:
            return
        try:
            self._network.exchange(request)
        except ConnectionError:
            return  # nobody is told that a beacon was lost

    def _tell(self, event: str) -> None:
        self.events.append(event)

    def _end(self, code: int) -> None:
        self.code = code
        self._opened, self._wire = False, None
        for timer in (self._ack, self._retry):
            if timer is not None:
                timer.cancel()
        if code != NORMAL:
            self._tell("error")
        self._tell("close")
