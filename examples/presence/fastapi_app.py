"""A FastAPI application that knows who is there: `fastapi run fastapi_app.py`, and `--presence-url` with its address.

`PUSHLINE_WEBHOOK_SECRET` (or `PUSHLINE_WEBHOOK_SECRET_FILE`) has the secret of the server.
"""

from __future__ import annotations

from fastapi import FastAPI, HTTPException, Request

from pushline.errors import InvalidSignature
from pushline.presence import parse

app = FastAPI()
there: dict[str, bool] = {}
latest: dict[str, int] = {}


@app.post("/_ah/channel/connected/", status_code=204)
@app.post("/_ah/channel/disconnected/", status_code=204)
async def presence(request: Request) -> None:
    try:
        told = parse(request.headers, await request.body())
    except InvalidSignature as error:
        raise HTTPException(401, str(error)) from error
    if told.sequence > latest.get(told.client_id, 0):  # else it is late, or a repeat
        latest[told.client_id] = told.sequence
        there[told.client_id] = told.connected


@app.get("/there")
async def who_is_there() -> list[str]:
    return sorted(client_id for client_id, connected in there.items() if connected)
