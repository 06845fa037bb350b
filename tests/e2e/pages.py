"""Pages that listen: a server for them that is not Pushline, and what they have seen."""

from __future__ import annotations

import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import groupby
from typing import Any

from playwright.sync_api import Page

from .waiting import wait_for

Event = dict[str, Any]

# `listen` opens a socket and records its events, in order; `label` tells sockets apart.
_RECORDER = """
  const seen = [];
  const NAMES = ["onopen", "onmessage", "onerror", "onclose", "onreconnecting", "onreconnect", "ongap"];
  function listen(channel, label = "") {
    const handlers = {};
    for (const name of NAMES) handlers[name] = (event) => seen.push({ name, label, ...event });
    return channel.open(handlers);
  }
"""


def script_page(pushline: str, then: str = "") -> str:
    """A page with the script of the server at ``pushline``. ``listenTo(token, label)`` opens a channel."""
    return f"""<!doctype html><meta charset="utf-8"><title>A page</title>
<script src="{pushline}/_ah/channel/jsapi"></script>
<script>
  {_RECORDER}
  const listenTo = (token, label) => listen(new goog.appengine.Channel(token), label);
  {then}
</script>"""


def module_page(pushline: str) -> str:
    """The same with the module, and its :class:`Channel`."""
    return f"""<!doctype html><meta charset="utf-8"><title>A page with a module</title>
<script>
  {_RECORDER}
  const listenTo = async (token, label) => {{
    const {{ Channel }} = await import("{pushline}/_ah/channel/pushline.mjs");
    return listen(new Channel(token), label);
  }};
</script>"""


class PageServer:
    """``with PageServer()`` it serves pages, each made anew whenever it is asked for.

    ``may_be_kept``: browsers may keep them, in the back/forward cache as well.
    """

    def __init__(self, *, may_be_kept: bool = False) -> None:
        pages = self._pages = dict[str, Callable[[], str]]()

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                make = pages.get(self.path)
                body = b"" if make is None else make().encode()
                self.send_response(404 if make is None else 200)
                self.send_header("Content-Type", "text/html; charset=utf-8")
                self.send_header("Content-Length", str(len(body)))
                if not may_be_kept:
                    self.send_header("Cache-Control", "no-store")
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, name="page server")

    def __enter__(self) -> PageServer:
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def add(self, make: Callable[[], str]) -> str:
        """Serve what ``make`` returns, and return its address."""
        path = f"/{len(self._pages) + 1}"
        self._pages[path] = make
        return f"http://127.0.0.1:{self._server.server_address[1]}{path}"


def _few(events: list[Event]) -> str:
    """What a reader of a failure wants to know of many events: the runs of messages stand for themselves."""
    told = []
    for messages, run in groupby(events, lambda event: event["name"] == "onmessage"):
        several = list(run)
        if messages and len(several) > 2:
            told.append(f"{several[0]['data']:.40} … {several[-1]['data']:.40} ({len(several)} messages)")
        else:
            told += [f"{event!s:.200}" for event in several]
    return ", ".join(told)


class ListeningPage:
    """A page of this module in a browser."""

    def __init__(self, page: Page) -> None:
        self.page = page

    def listen(self, token: str, label: str = "") -> None:
        """Open a channel."""
        self.page.evaluate("async ([token, label]) => { await listenTo(token, label); }", [token, label])

    def events(self, label: str = "") -> list[Event]:
        """What a socket has told so far."""
        seen: list[Event] = self.page.evaluate("seen")
        return [
            {key: value for key, value in event.items() if key != "label"} for event in seen if event["label"] == label
        ]

    def names(self, label: str = "") -> list[str]:
        """The names of its events."""
        return [event["name"] for event in self.events(label)]

    def messages(self, label: str = "") -> list[str]:
        """The messages that it got."""
        return [event["data"] for event in self.events(label) if event["name"] == "onmessage"]

    def wait_for(self, name: str, label: str = "", *, times: int = 1) -> None:
        """Wait until a socket has told of something."""
        wait_for(
            lambda: self.names(label).count(name) >= times,
            lambda: f"{name} ×{times}. The page has seen {_few(self.events(label))}",
        )

    def wait_for_messages(self, expected: list[str], label: str = "") -> None:
        """Wait until these messages came, and raise when others did."""
        self.wait_for("onmessage", label, times=len(expected))
        assert self.messages(label) == expected

    def settle(self, token: str) -> None:
        """Let pass what is on its way to the page: open another socket, and wait until the server has answered it."""
        self.listen(token, "settled")
        self.wait_for("onopen", "settled")
