"""Which address is answered by which handler, and how large its body may be."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final

from pushline.errors import Problem
from pushline.http.api import MAX_BATCH_BYTES, MAX_CHANNEL_BODY_BYTES, Api
from pushline.http.clients import Clients
from pushline.http.legacy import DevWire
from pushline.http.operations import Operations
from pushline.http.page import CORS, PREFLIGHT, Script
from pushline.http.request import Request
from pushline.http.responses import Pending, problem_response
from pushline.http.values import Headers, Response

log = logging.getLogger("pushline.http")

Handler = Callable[[Request], Response | bytes | Pending]

_CLIENTS: Final = b"/v1/clients/"
_PAGES: Final = b"/_ah/channel/"


class App:
    """Everything that HTTP can ask, but for the address that pages connect to (``pushline.transports.door``)."""

    def __init__(
        self,
        api: Api,
        clients: Clients,
        operations: Operations,
        *,
        max_message_bytes: int,
        dev_wire: DevWire | None = None,
        public: bool = False,
        open_metrics: bool = False,
        prefix: str = "",
    ) -> None:
        """``public``: the application's API is elsewhere (``--api-listen``); ``open_metrics``: here without a key.

        ``prefix``: where addresses begin that are no page's, when something else is at the root.
        """
        self._public = public
        self._prefix = prefix
        self._api = api
        self._clients = clients
        self._max_message_bytes = max_message_bytes
        self._body_limit = max(max_message_bytes, MAX_CHANNEL_BODY_BYTES)
        self._routes: dict[bytes, dict[bytes, Handler]] = {
            b"/": {b"GET": operations.help},
            b"/health": {b"GET": operations.health},
            b"/ready": {b"GET": operations.ready},
            b"/metrics": {b"GET": operations.open_metrics if open_metrics else operations.metrics},
            b"/v1/clients": {b"GET": clients.list},
            b"/v1/callbacks": {b"GET": clients.callbacks},
            b"/v1/callbacks/retry": {b"POST": clients.retry_callbacks},
            b"/v1/channels": {b"POST": api.create_channel},
            b"/v1/messages": {b"POST": api.send_messages},
            b"/_ah/channel/jsapi": {b"GET": Script("jsapi.js").get, b"OPTIONS": _preflight},
            b"/_ah/channel/pushline.mjs": {b"GET": Script("pushline.mjs").get, b"OPTIONS": _preflight},
        }
        if public:
            for path in [path for path in self._routes if path == b"/metrics" or path.startswith(b"/v1/")]:
                del self._routes[path]
        if dev_wire is not None:
            self._routes[b"/_ah/channel/dev"] = {b"GET": dev_wire.get, b"OPTIONS": _preflight}

    def body_limit(self, path: bytes) -> int:
        """How many bytes of body a request to ``path`` may have; more is read over and refused."""
        return MAX_BATCH_BYTES if path == b"/v1/messages" else self._body_limit

    def too_large(self, request: Request) -> Response:
        """The answer to a request whose body went over its limit."""
        if request.path.startswith(_CLIENTS):
            detail = f"The message is longer than {self._max_message_bytes} bytes, the most that this server takes."
            return problem_response(Problem("message_too_long", detail))
        limit = self.body_limit(request.path)
        problem = Problem("body_too_large", f"The body is longer than {limit} bytes.")
        return problem_response(problem, cors(request.path))

    def _nothing_at(self, path: bytes) -> str:
        text = path.decode("latin-1")
        if not self._prefix:
            return f"There is nothing at {text}; GET / lists what there is."
        return f"There is nothing at {text if path.startswith(_PAGES) else self._prefix + text}."

    def handle(self, request: Request) -> Response | bytes | Pending:
        """Answer a request. Never raises."""
        path = request.path
        try:
            if request.content_encoding and request.content_encoding.lower() != b"identity":
                name = request.content_encoding.decode("latin-1")
                raise Problem("unsupported_encoding", f"The Content-Encoding `{name}` is not known here.")
            if path.startswith(_CLIENTS) and not self._public:
                client_id, _, rest = path[len(_CLIENTS) :].partition(b"/")
                if client_id and rest == b"messages":
                    if request.method != b"POST":
                        return _not_allowed(request, "POST")
                    return self._api.send_message(request, client_id)
                if client_id and rest == b"disconnect":
                    if request.method != b"POST":
                        return _not_allowed(request, "POST")
                    return self._clients.disconnect(request, client_id)
                if client_id and len(path) == len(_CLIENTS) + len(client_id):
                    if request.method == b"DELETE":
                        return self._clients.revoke(request, client_id)
                    if request.method not in (b"GET", b"HEAD"):
                        return _not_allowed(request, "HEAD, GET, DELETE")
                    return self._clients.get(request, client_id)
            methods = self._routes.get(path)
            if methods is None:
                raise Problem("not_found", self._nothing_at(path))
            handler = methods.get(b"GET" if request.method == b"HEAD" else request.method)
            if handler is None:
                allow = [method.decode() for method in methods]
                return _not_allowed(request, ", ".join(["HEAD", *allow] if "GET" in allow else allow))
            return handler(request)
        except Problem as problem:
            return problem_response(problem, cors(path))
        except Exception:
            log.exception("a request failed", extra={"path": path.decode("latin-1")})
            return problem_response(Problem("internal_error", "The server's log has the cause."), cors(path))


def cors(path: bytes) -> Headers:
    """The headers by which pages of any origin may read an answer, on the addresses that pages use (W7)."""
    return CORS if path.startswith(_PAGES) else ()


def _not_allowed(request: Request, allow: str) -> Response:
    method = request.method.decode("latin-1")
    problem = Problem("method_not_allowed", f"This address does not take {method}; it takes {allow}.")
    return problem_response(problem, (("Allow", allow), *cors(request.path)))


def _preflight(request: Request) -> Response:
    return PREFLIGHT
