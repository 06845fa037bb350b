"""A chat room as programs of App Engine were written, with Pushline in the place of the Channel API.

Its first two lines are new; so are the address of the script in the page and the check of who calls the presence
handlers. Everything else is the old program. Run it beside ``pushline serve --presence-url http://127.0.0.1:8000``::

    PUSHLINE_API_KEY_FILE=pushline-data/api-key PUSHLINE_WEBHOOK_SECRET_FILE=pushline-data/webhook-secret \
        python examples/migrated/chat.py 8000
"""

from __future__ import annotations

import pushline.appengine

pushline.appengine.install()

import json  # noqa: E402
import os  # noqa: E402
import sys  # noqa: E402
import uuid  # noqa: E402

import waitress  # type: ignore[import-untyped]  # noqa: E402
from flask import Flask, abort, render_template_string, request  # noqa: E402
from google.appengine.api import channel  # type: ignore[import-not-found]  # noqa: E402

from pushline.errors import InvalidSignature  # noqa: E402
from pushline.presence import Presence, parse  # noqa: E402

app = Flask(__name__)

NAMES: dict[str, str] = {}
"""Who was given a page: client id → name."""

HERE: set[str] = set()
"""The client ids that are connected now."""

PAGE = """<!doctype html>
<title>Chat</title>
<meta name="viewport" content="width=device-width">
<h1>Chat</h1>
<p>Here: <span id="here"></span></p>
<ul id="said"></ul>
<form id="say"><input id="text" autocomplete="off" autofocus> <button>Say</button></form>
<script src="{{ pushline }}/_ah/channel/jsapi"></script>
<script>
  var client = {{ client|tojson }};
  var socket = new goog.appengine.Channel({{ token|tojson }}).open();
  socket.onmessage = function (message) {
    var news = JSON.parse(message.data);
    if (news.here) document.getElementById("here").textContent = news.here.join(", ");
    if (news.said) {
      var line = document.getElementById("said").appendChild(document.createElement("li"));
      line.textContent = news.name + ": " + news.said;
    }
  };
  socket.onclose = function () { document.getElementById("text").disabled = true; };
  document.getElementById("say").onsubmit = function (event) {
    event.preventDefault();
    var text = document.getElementById("text");
    fetch("/say", { method: "POST", body: new URLSearchParams({ client: client, text: text.value }) });
    text.value = "";
  };
</script>
"""


@app.get("/")
def page() -> str:
    client_id = uuid.uuid4().hex
    NAMES[client_id] = request.args.get("name", "somebody")[:40]
    token = channel.create_channel(client_id, duration_minutes=24 * 60)
    address = os.environ.get("PUSHLINE_PUBLIC_URL") or os.environ.get("PUSHLINE_URL") or "http://127.0.0.1:8080"
    return render_template_string(PAGE, client=client_id, token=token, pushline=address)


@app.post("/say")
def say() -> str:
    client_id, text = request.form["client"], request.form["text"][:1000]
    if client_id not in NAMES:
        abort(403)
    tell_all({"name": NAMES[client_id], "said": text})
    return ""


@app.post("/_ah/channel/connected/")
def connected() -> str:
    HERE.add(presence().client_id)
    tell_all({"here": sorted(NAMES.get(client_id, "?") for client_id in HERE)})
    return ""


@app.post("/_ah/channel/disconnected/")
def disconnected() -> str:
    gone = presence().client_id
    HERE.discard(gone)
    tell_all({"here": sorted(NAMES.get(client_id, "?") for client_id in HERE)})
    return ""


def presence() -> Presence:
    """Who it is about. App Engine let nobody else call these addresses; Pushline signs its calls."""
    try:
        return parse(request.headers, request.get_data())
    except InvalidSignature:
        abort(403)


def tell_all(news: dict[str, object]) -> None:
    for client_id in list(HERE):
        channel.send_message(client_id, json.dumps(news))


if __name__ == "__main__":
    waitress.serve(app, host="127.0.0.1", port=int(sys.argv[1]))
