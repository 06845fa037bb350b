# mypy: ignore-errors
"""What one writes first with FastAPI: a dict of sockets."""

from fastapi import FastAPI, Request, Response, WebSocket, WebSocketDisconnect

app = FastAPI()
pages: dict[str, WebSocket] = {}


@app.websocket("/ws/{page}")
async def connect(socket: WebSocket, page: str) -> None:
    await socket.accept()
    pages[page] = socket
    try:
        while True:
            await socket.receive_text()
    except WebSocketDisconnect:
        del pages[page]


@app.post("/send/{page}")
async def send(page: str, request: Request) -> Response:
    if page not in pages:
        return Response(status_code=404)
    await pages[page].send_text((await request.body()).decode())
    return Response("ok")


@app.post("/all")
async def send_to_all(request: Request) -> Response:
    text = (await request.body()).decode()
    for socket in list(pages.values()):
        await socket.send_text(text)
    return Response("ok")
