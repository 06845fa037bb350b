"""A Flask application that knows who is there: `flask --app flask_app run`, and `--presence-url` with its address.

`PUSHLINE_WEBHOOK_SECRET` (or `PUSHLINE_WEBHOOK_SECRET_FILE`) has the secret of the server.
"""

from __future__ import annotations

from flask import Flask, abort, request

from pushline.errors import InvalidSignature
from pushline.presence import parse

app = Flask(__name__)
there: dict[str, bool] = {}
latest: dict[str, int] = {}


@app.post("/_ah/channel/connected/")
@app.post("/_ah/channel/disconnected/")
def presence() -> tuple[str, int]:
    try:
        told = parse(request.headers, request.get_data())
    except InvalidSignature:
        abort(401)
    if told.sequence > latest.get(told.client_id, 0):  # else it is late, or a repeat
        latest[told.client_id] = told.sequence
        there[told.client_id] = told.connected
    return "", 204


@app.get("/there")
def who_is_there() -> list[str]:
    return sorted(client_id for client_id, connected in there.items() if connected)
