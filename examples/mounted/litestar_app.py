"""Pushline in a Litestar program: ``uvicorn litestar_app:app``."""

from __future__ import annotations

from litestar import Litestar, MediaType, get, post

from page import page
from pushline.asgi import Pushline

pushline = Pushline()


@get("/", media_type=MediaType.HTML)
async def show() -> str:
    return page(await pushline.create_channel("ann"))


@post("/hello", status_code=200)
async def hello() -> dict[str, str]:
    result = await pushline.send_message("ann", "hello from Litestar")
    return {"status": result.status}


app = pushline.mount(Litestar([show, hello]))
