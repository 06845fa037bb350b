"""Pushline in a Quart program: ``hypercorn quart_app:app``."""

from __future__ import annotations

from quart import Quart

from page import page
from pushline.asgi import Pushline

pushline = Pushline()
program = Quart(__name__)


@program.get("/")
async def show() -> str:
    return page(await pushline.create_channel("ann"))


@program.post("/hello")
async def hello() -> dict[str, str]:
    result = await pushline.send_message("ann", "hello from Quart")
    return {"status": result.status}


app = pushline.mount(program)
