"""What the application asks about its client ids (contract, A4)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from pushline.errors import Problem, StoreError
from pushline.http.api import client_id_in, store_problem
from pushline.http.keys import ApiKeys
from pushline.http.request import Request
from pushline.http.responses import Later, json_response, problem_response
from pushline.hub import Hub, Outlet
from pushline.messages import format_id
from pushline.stores.base import ChannelState


class Clients:
    """The handlers."""

    def __init__(self, hub: Hub, keys: ApiKeys) -> None:
        self._hub = hub
        self._keys = keys

    def get(self, request: Request, encoded_client_id: bytes) -> Later:
        """``GET /v1/clients/{client_id}``: a channel, and its connections."""
        self._keys.check(request)
        parameters = request.parameters("client_id")
        answer = _ClientAnswer(client_id_in(encoded_client_id, parameters))
        self._hub.look(answer.client_id, answer.looked, answer.failed)
        return answer


class _ClientAnswer(Later):
    __slots__ = ("client_id",)

    def __init__(self, client_id: str) -> None:
        super().__init__()
        self.client_id = client_id

    def looked(self, state: ChannelState | None, outlets: Sequence[Outlet]) -> None:
        if state is None:
            detail = f"The client id `{self.client_id}` has no channel: no token of it is good now."
            self.answer(problem_response(Problem("no_channel", detail)))
            return
        sessions = [(outlet.name, outlet.session) for outlet in outlets]
        body = {
            "client_id": self.client_id,
            "connected": bool(sessions),
            "connections": [
                {"transport": name, "page": session.page, "acknowledged": format_id(session.acknowledged)}
                for name, session in sessions
            ],
            "queued": state.queued,
            "acknowledged": None if state.acknowledged is None else format_id(state.acknowledged),
            "expires_at": datetime.fromtimestamp(state.expires_at, UTC).isoformat().replace("+00:00", "Z"),
        }
        self.answer(json_response(200, body))

    def failed(self, error: StoreError) -> None:
        self.answer(problem_response(store_problem(error)))
