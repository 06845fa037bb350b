"""Pushline in a Starlette program: ``uvicorn starlette_app:app``."""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse
from starlette.routing import Route

from page import page
from pushline.asgi import Pushline

pushline = Pushline()


async def show(request: Request) -> HTMLResponse:
    return HTMLResponse(page(await pushline.create_channel("ann")))


async def hello(request: Request) -> JSONResponse:
    result = await pushline.send_message("ann", "hello from Starlette")
    return JSONResponse({"status": result.status})


app = pushline.mount(Starlette(routes=[Route("/", show), Route("/hello", hello, methods=["POST"])]))
