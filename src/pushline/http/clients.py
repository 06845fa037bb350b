"""What the application asks about its client ids (contract, A4)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

from pushline.errors import Problem, StoreError
from pushline.http.api import client_id_in, store_problem
from pushline.http.keys import ApiKeys
from pushline.http.request import Request
from pushline.http.responses import Later, json_response, problem_response
from pushline.http.values import Response
from pushline.hub import Courier, Hub, Outlet
from pushline.messages import format_id
from pushline.stores.base import ChannelState, ClientList, Notice, NoticeList

LIST_LIMIT: Final = 100
"""How many entries a list has when nothing else is asked for."""

MAX_LIST_LIMIT: Final = 1000

_BOOLEANS: Final = {"true": True, "false": False}


class Clients:
    """The handlers."""

    def __init__(self, hub: Hub, keys: ApiKeys) -> None:
        self._hub = hub
        self._keys = keys

    def get(self, request: Request, encoded_client_id: bytes) -> Later:
        """``GET /v1/clients/{client_id}``: a channel, its connections, and what the application was not told yet."""
        self._keys.check(request)
        parameters = request.parameters("client_id")
        answer = _ClientAnswer(self._hub, client_id_in(encoded_client_id, parameters))
        self._hub.look(answer.client_id, answer.looked, answer.failed)
        return answer

    def list(self, request: Request) -> Later:
        """``GET /v1/clients``: the client ids that have a channel."""
        self._keys.check(request)
        parameters = request.parameters("connected", "prefix", "after", "limit")
        connected = parameters.get("connected")
        if connected is not None and connected not in _BOOLEANS:
            raise Problem("invalid_parameter", "`connected` is `true` or `false`.")
        answer = _ListAnswer()
        self._hub.list_clients(
            parameters.get("prefix", ""),
            parameters.get("after", ""),
            None if connected is None else _BOOLEANS[connected],
            _limit_of(parameters),
            answer.listed,
            answer.failed,
        )
        return answer

    def revoke(self, request: Request, encoded_client_id: bytes) -> Later:
        """``DELETE /v1/clients/{client_id}``: every token is void, every connection ends (4410)."""
        self._keys.check(request)
        answer = _DoneAnswer()
        client_id = client_id_in(encoded_client_id, request.parameters("client_id"))
        self._hub.revoke(client_id, answer.done, answer.failed)
        return answer

    def disconnect(self, request: Request, encoded_client_id: bytes) -> Later:
        """``POST /v1/clients/{client_id}/disconnect``: every connection ends (4411), the tokens stay good."""
        self._keys.check(request)
        answer = _DoneAnswer()
        client_id = client_id_in(encoded_client_id, request.parameters("client_id"))
        self._hub.dismiss(client_id, answer.done, answer.failed)
        return answer

    def callbacks(self, request: Request) -> Later:
        """``GET /v1/callbacks``: what the application was not told yet, oldest first."""
        self._keys.check(request)
        parameters = request.parameters("after", "limit")
        after = parameters.get("after", "0")
        if not after.isascii() or not after.isdigit() or len(after) > len(str(1 << 63)):
            raise Problem("invalid_parameter", "`after` is the `sequence` of a callback.")
        limit = _limit_of(parameters)
        answer = _CallbacksAnswer(self._hub.courier, limit)
        self._hub.list_notices(int(after), limit, answer.listed, answer.failed)
        return answer

    def retry_callbacks(self, request: Request) -> Response | Later:
        """``POST /v1/callbacks/retry``: send now what was given up or waits for its next try, of one or of all."""
        self._keys.check(request)
        parameters = request.parameters("client_id")
        client_id = client_id_in(b"-", parameters) if parameters else None
        courier = self._hub.courier
        if courier is None:
            return json_response(200, {"retried": 0})  # nobody sends any
        answer = _RetryAnswer(courier.hurry(client_id))
        self._hub.retry(client_id, answer.waiting, answer.failed)
        return answer


def _limit_of(parameters: dict[str, str]) -> int:
    text = parameters.get("limit", str(LIST_LIMIT))
    if text.isascii() and text.isdigit() and len(text) <= len(str(MAX_LIST_LIMIT)) and 1 <= int(text) <= MAX_LIST_LIMIT:
        return int(text)
    raise Problem("invalid_parameter", f"`limit` is a whole number from 1 to {MAX_LIST_LIMIT}.")


def _date_time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")


class _StoreAnswer(Later):
    """An answer that the store may fail to give."""

    __slots__ = ()

    def failed(self, error: StoreError) -> None:
        self.answer(problem_response(store_problem(error)))


class _DoneAnswer(_StoreAnswer):
    __slots__ = ()

    def done(self) -> None:
        self.answer(Response(204, "", b""))


class _ListAnswer(_StoreAnswer):
    __slots__ = ()

    def listed(self, found: ClientList) -> None:
        entries = [
            {"client_id": each.client_id, "connected": each.connected, "expires_at": _date_time(each.expires_at)}
            for each in found.entries
        ]
        self.answer(json_response(200, {"clients": entries, "next": found.next}))


class _CallbacksAnswer(_StoreAnswer):
    __slots__ = ("_courier", "_limit")

    def __init__(self, courier: Courier | None, limit: int) -> None:
        super().__init__()
        self._courier = courier
        self._limit = limit

    def listed(self, found: NoticeList) -> None:
        notices = found.notices
        body = {
            "waiting": found.waiting,
            "given_up": found.given_up,
            "no_handler": sorted(self._courier.no_handler) if self._courier is not None else [],
            "callbacks": [{"client_id": each.client_id, **_shown(each, self._courier)} for each in notices],
            "next": str(notices[-1].sequence) if len(notices) == self._limit else None,
        }
        self.answer(json_response(200, body))


def _shown(notice: Notice, courier: Courier | None) -> dict[str, object]:
    """A notice as the application may see it. Only the first one of a client id is under way."""
    tries, error = courier.tries_of(notice.client_id, notice.sequence) if courier is not None else (0, "")
    return {
        "event": "connected" if notice.connected else "disconnected",
        "sequence": notice.sequence,
        "time": int(notice.time),
        "given_up": bool(notice.given_up),
        "tries": tries,
        "error": notice.given_up or error or None,
    }


class _RetryAnswer(_StoreAnswer):
    __slots__ = ("_hurried",)

    def __init__(self, hurried: int) -> None:
        super().__init__()
        self._hurried = hurried

    def waiting(self, count: int) -> None:
        self.answer(json_response(200, {"retried": self._hurried + count}))


class _ClientAnswer(_StoreAnswer):
    __slots__ = ("_body", "_hub", "client_id")

    def __init__(self, hub: Hub, client_id: str) -> None:
        super().__init__()
        self._hub = hub
        self.client_id = client_id
        self._body: dict[str, object] = {}

    def looked(self, state: ChannelState | None, outlets: Sequence[Outlet]) -> None:
        if state is None:
            detail = f"The client id `{self.client_id}` has no channel: no token of it is good now."
            self.answer(problem_response(Problem("no_channel", detail)))
            return
        sessions = [(outlet.name, outlet.session) for outlet in outlets]
        self._body = {
            "client_id": self.client_id,
            "connected": bool(sessions),
            "connections": [
                {"transport": name, "page": session.page, "acknowledged": format_id(session.acknowledged)}
                for name, session in sessions
            ],
            "queued": state.queued,
            "acknowledged": None if state.acknowledged is None else format_id(state.acknowledged),
            "expires_at": _date_time(state.expires_at),
        }
        self._hub.notices_of(self.client_id, self.noted, self.failed)

    def noted(self, notices: Sequence[Notice]) -> None:
        callbacks = [_shown(notice, self._hub.courier) for notice in notices]
        self.answer(json_response(200, {**self._body, "callbacks": callbacks}))
