"""Pushline in a FastAPI program: ``uvicorn fastapi_app:app``."""

from __future__ import annotations

from fastapi import FastAPI
from fastapi.responses import HTMLResponse

from page import page
from pushline.asgi import Pushline

pushline = Pushline()
api = FastAPI()


@api.get("/", response_class=HTMLResponse)
async def show() -> str:
    return page(await pushline.create_channel("ann"))


@api.post("/hello")
async def hello() -> dict[str, str]:
    result = await pushline.send_message("ann", "hello from FastAPI")
    return {"status": result.status}


app = pushline.mount(api)
