# mypy: ignore-errors
"""python-socketio: a room for each page."""

from urllib.parse import parse_qs

import socketio

server = socketio.AsyncServer(async_mode="asgi")


@server.event
async def connect(session, environ):
    await server.enter_room(session, parse_qs(environ["QUERY_STRING"])["id"][0])


async def send(scope, receive, send):
    """POST /send/ROOM, or /all: the body is the message."""
    if scope["type"] != "http":
        return
    body, more = b"", True
    while more:
        part = await receive()
        body += part.get("body", b"")
        more = part.get("more_body", False)
    room = scope["path"].removeprefix("/send/")
    await server.emit("message", body.decode(), room=None if room == "/all" else room)
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})


app = socketio.ASGIApp(server, send)
