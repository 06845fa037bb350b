"""Drawing together: a Starlette program whose pages all show the same picture, stroke by stroke in the same order.

Start Pushline, and in another terminal the program::

    pushline serve

    PUSHLINE_API_KEY_FILE=pushline-data/api-key python examples/drawing.py

Open http://127.0.0.1:8000 in two browsers, and draw. Another port is an argument; ``PUSHLINE_PUBLIC_URL`` is the
address of Pushline for browsers, if it is not ``PUSHLINE_URL``.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any, Final, Literal
from urllib.parse import urlsplit

import msgspec
import uvicorn
from msgspec import Meta
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from pushline import AsyncClient
from pushline.errors import ClientError

PUSHLINE: Final = os.environ.get("PUSHLINE_PUBLIC_URL") or os.environ.get("PUSHLINE_URL") or "http://127.0.0.1:8080"
CLIENT_ID: Final = "drawing"
"""One for everybody: by the policy ``share`` each page of a client id gets each message."""

MAX_PIECES: Final = 10_000
MAX_BODY_BYTES: Final = 16_384  # what is drawn in one request is one message, of at most 32,767 bytes


class Piece(msgspec.Struct, forbid_unknown_fields=True):
    """A piece of a stroke. ``points`` are x, y, x, y, … on a canvas of 1600 × 1000; ``page`` knows its ``number``."""

    page: Annotated[str, Meta(pattern=r"\A[a-z0-9]{1,32}\Z")]
    number: Annotated[int, Meta(ge=1, le=1_000_000_000)]
    colour: Literal["#20242f", "#d33f49", "#e8a33d", "#2f9e63", "#3d6fd9", "#8b4fc7", "#ffffff"]
    width: Annotated[int, Meta(ge=1, le=80)]
    points: Annotated[list[Annotated[int, Meta(ge=-100, le=1700)]], Meta(min_length=2, max_length=400)]


PIECES: Final = msgspec.json.Decoder(Annotated[list[Piece], Meta(min_length=1)])


class Picture:
    """What was drawn, in its order.

    Everything happens in turn, also the making of a token. So what a page gets from :meth:`join` was drawn before its
    token, and all the rest comes through its channel: nothing is missing, and nothing comes twice.
    """

    def __init__(self, push: AsyncClient) -> None:
        self._push = push
        self._turn = asyncio.Lock()
        self._pieces: list[Piece] = []

    async def join(self) -> dict[str, Any]:
        """A token for a page, and the picture so far."""
        async with self._turn:
            token = await self._push.create_channel(CLIENT_ID, policy="share")
            return {"token": token, "pieces": self._pieces}

    async def draw(self, pieces: list[Piece]) -> None:
        """Draw on all pages."""
        async with self._turn:
            if len(self._pieces) + len(pieces) > MAX_PIECES:
                raise HTTPException(409, "The picture is full. Begin a new one.")
            await self._tell({"pieces": pieces})
            self._pieces += pieces

    async def clear(self) -> None:
        """Begin a new picture on all pages."""
        async with self._turn:
            await self._tell({"clear": True, "pieces": []})
            self._pieces = []

    async def _tell(self, news: dict[str, Any]) -> None:
        # With the key the SDK may repeat the request, and nothing is drawn twice.
        await self._push.send_json(CLIENT_ID, news, idempotency_key=secrets.token_hex())


push = AsyncClient()
picture = Picture(push)


async def page(_: Request) -> HTMLResponse:
    nonce = secrets.token_urlsafe(16)
    push = urlsplit(PUSHLINE)
    origin, socket = f"{push.scheme}://{push.netloc}", f"{'wss' if push.scheme == 'https' else 'ws'}://{push.netloc}"
    policy = [
        "default-src 'none'",
        f"script-src 'nonce-{nonce}'",
        f"style-src 'nonce-{nonce}'",
        f"connect-src 'self' {origin} {socket}",
        "img-src data:",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    ]
    headers = {
        "Content-Security-Policy": "; ".join(policy),
        "Cache-Control": "no-store",
        "Referrer-Policy": "same-origin",
        "X-Content-Type-Options": "nosniff",
    }
    return HTMLResponse(PAGE.replace("{nonce}", nonce).replace("{pushline}", PUSHLINE.rstrip("/")), headers=headers)


async def join(request: Request) -> Response:
    await body_of(request)
    return Response(msgspec.json.encode(await picture.join()), media_type="application/json")


async def draw(request: Request) -> Response:
    try:
        pieces = PIECES.decode(await body_of(request))
    except msgspec.DecodeError as error:
        raise HTTPException(400, f"These are no pieces of a stroke: {error}.") from error
    await picture.draw(pieces)
    return Response(status_code=204)


async def clear(request: Request) -> Response:
    await body_of(request)
    await picture.clear()
    return Response(status_code=204)


async def body_of(request: Request) -> bytes:
    """The body, from our own page: browsers let no other site send this type here without asking first."""
    if request.headers.get("content-type") != "application/json":
        raise HTTPException(415, "Send JSON.")
    return await request.body()


async def refused(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)  # noqa: S101 - for the type checker
    return JSONResponse({"detail": error.detail}, error.status_code)


async def away(_: Request, error: Exception) -> JSONResponse:
    """Pushline could not do it, so nothing was drawn."""
    print(error, file=sys.stderr)
    return JSONResponse({"detail": "Nobody could be reached just now: that was not drawn."}, 503)


@asynccontextmanager
async def lifespan(_: Starlette) -> AsyncIterator[None]:
    async with push:
        yield


app = Starlette(
    routes=[
        Route("/", page),
        Route("/join", join, methods=["POST"]),
        Route("/draw", draw, methods=["POST"]),
        Route("/clear", clear, methods=["POST"]),
    ],
    exception_handlers={HTTPException: refused, ClientError: away},
    lifespan=lifespan,
    max_body_size=MAX_BODY_BYTES,
)

PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>Drawing together</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="icon" href="data:,">
<style nonce="{nonce}">
  :root {
    color-scheme: light dark;
    --paper: light-dark(#f5f4f0, #13151c); --card: light-dark(#fff, #1f222d); --ink: light-dark(#20242f, #eceef5);
    --quiet: light-dark(#5d6373, #a0a6b7); --edge: light-dark(#d5d2c8, #414759); --accent: light-dark(#4d58d0, #98a2ff);
    --good: light-dark(#1f8a5b, #5fd29c); --bad: light-dark(#c03535, #ff8f8f);
  }
  * { box-sizing: border-box; }
  body {
    width: min(100%, 70rem, (100dvh - 13rem) * 1.6); min-width: min(100%, 20rem); margin: 0 auto; padding: 1.25rem;
    background: var(--paper); color: var(--ink); font: 1rem/1.5 system-ui, sans-serif;
  }
  header { display: flex; align-items: baseline; justify-content: space-between; margin-bottom: 0.75rem; }
  h1 { margin: 0; font-size: 1.6rem; letter-spacing: -0.02em; }
  #status { color: var(--quiet); font-size: 0.9rem; }
  #status[data-state]::before { content: "●"; margin-right: 0.4rem; }
  #status[data-state=live]::before { color: var(--good); }
  #status[data-state=off]::before { color: var(--bad); }
  #tools { display: flex; flex-wrap: wrap; gap: 0.75rem 1.5rem; align-items: center; margin: 0.75rem 0 0; }
  fieldset { display: flex; gap: 0.5rem; margin: 0; padding: 0; border: 0; }
  legend { position: absolute; overflow: hidden; width: 1px; height: 1px; clip-path: inset(50%); }
  input[type=radio] {
    width: 2.25rem; height: 2.25rem; margin: 0; border: 2px solid var(--edge); border-radius: 50%; appearance: none;
    cursor: pointer;
  }
  input[type=radio]:checked { outline: 3px solid var(--accent); outline-offset: 2px; }
  input[type=radio]:focus-visible { outline-style: dashed; }
  label { display: flex; gap: 0.6rem; align-items: center; color: var(--quiet); font-size: 0.9rem; }
  input[type=range] { width: 8rem; accent-color: var(--accent); }
  button {
    min-height: 2.5rem; margin-left: auto; padding: 0 1rem; border: 1px solid var(--edge); border-radius: 0.7rem;
    background: var(--card); color: var(--ink); font: inherit; cursor: pointer;
  }
  button:focus-visible, input[type=range]:focus-visible { outline: 3px solid var(--accent); outline-offset: 2px; }
  #easel {
    position: relative; aspect-ratio: 1.6; border: 1px solid var(--edge); border-radius: 1rem;
    overflow: hidden;
  }
  canvas { position: absolute; inset: 0; width: 100%; height: 100%; touch-action: none; cursor: crosshair; }
  #picture { background: #fff; } /* in dark mode too: the colours are the same for everybody */
  #problem { min-height: 1.5rem; margin: 0.5rem 0 0; color: var(--bad); font-size: 0.9rem; }
</style>
<header><h1>Drawing together</h1><span id="status" role="status"></span></header>
<main>
  <div id="easel">
    <canvas id="picture" width="1600" height="1000" role="img" aria-label="The picture that everybody draws"></canvas>
    <canvas id="mine" width="1600" height="1000" aria-hidden="true"></canvas>
  </div>
  <form id="tools">
    <fieldset id="colours"><legend>Colour</legend></fieldset>
    <label>Width <input id="width" type="range" min="2" max="80" value="10"></label>
    <button type="button" id="clear">New picture</button>
  </form>
  <p id="problem" role="alert"></p>
</main>
<script nonce="{nonce}" src="{pushline}/_ah/channel/jsapi"></script>
<script nonce="{nonce}">
  const COLOURS = {
    black: "#20242f", red: "#d33f49", yellow: "#e8a33d", green: "#2f9e63", blue: "#3d6fd9", violet: "#8b4fc7",
    white: "#ffffff",
  };
  const STATES = { live: "live", lost: "reconnecting …", off: "not live: reload the page" };
  const MOST_POINTS = 100;
  const MOST_PIECES = 10;

  const find = (id) => document.getElementById(id);
  const picture = find("picture").getContext("2d"); // what everybody sees
  const mine = find("mine").getContext("2d"); // above it: what I drew and nobody has seen yet
  const page = Math.random().toString(36).slice(2);
  const pending = []; // my pieces that have not come back, in their order
  let drawn = 0; // how many there ever were
  let unsent = 0; // how many of them, at the end, are not under way
  let sending = false;
  let stroke = null; // the piece that grows

  for (const [name, colour] of Object.entries(COLOURS)) {
    const input = Object.assign(document.createElement("input"), { type: "radio", name: "colour", value: colour });
    input.ariaLabel = input.title = name;
    input.style.background = colour;
    input.checked = name === "black";
    find("colours").append(input);
  }

  function status(state) {
    find("status").dataset.state = state;
    find("status").textContent = STATES[state];
  }

  /** Asks the program; throws an error in its words. */
  async function post(path, body) {
    const answer = await fetch(path, {
      method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body),
    });
    if (answer.status === 204) return null;
    const content = await answer.json().catch(() => ({}));
    if (answer.ok) return content;
    throw new Error(content.detail ?? "That did not work. Please try again.");
  }

  async function attempt(action) {
    find("problem").textContent = "";
    try {
      await action();
    } catch (error) {
      find("problem").textContent = error.message;
    }
  }

  function paint(context, { colour, width, points }) {
    context.lineCap = context.lineJoin = "round";
    context.strokeStyle = context.fillStyle = colour;
    context.lineWidth = width;
    context.beginPath();
    if (points.length === 2) { // a line of no length would leave nothing
      context.arc(points[0], points[1], width / 2, 0, 2 * Math.PI);
      return context.fill();
    }
    for (let i = 0; i < points.length; i += 2) context.lineTo(points[i], points[i + 1]);
    context.stroke();
  }

  const wipe = (context) => context.clearRect(0, 0, 1600, 1000);

  function paintMine() {
    wipe(mine);
    for (const piece of pending) paint(mine, piece);
  }

  function forget(number) {
    const index = pending.findIndex((piece) => piece.number === number);
    if (index >= 0) pending.splice(index, 1);
  }

  /** Shows the picture so far, and from then on what is drawn. */
  async function join() {
    const { token, pieces } = await post("/join", {});
    wipe(picture);
    for (const piece of pieces) paint(picture, piece);
    if (!globalThis.goog) return status("off");
    const refreshToken = async () => (await post("/join", {})).token;
    new goog.appengine.Channel(token, { refreshToken }).open({
      onopen: () => status("live"),
      onreconnecting: () => status("lost"),
      onreconnect: () => status("live"),
      onmessage({ data }) {
        const { clear, pieces } = JSON.parse(data);
        if (clear) wipe(picture);
        for (const piece of pieces) {
          paint(picture, piece);
          if (piece.page === page) forget(piece.number);
        }
        if (pieces.some((piece) => piece.page === page)) paintMine();
      },
      ongap() { // something is lost: begin anew, with the whole picture
        this.onclose = null;
        this.close();
        pending.length = unsent = 0;
        attempt(join).then(paintMine);
      },
      onclose: () => status("off"),
    });
  }

  /** Sends what is drawn, one request after the other: so it keeps its order, and grows meanwhile. */
  async function send() {
    if (sending) return;
    sending = true;
    while (unsent) {
      const pieces = pending.slice(-unsent).slice(0, MOST_PIECES);
      unsent -= pieces.length;
      await attempt(() => post("/draw", pieces).catch((error) => {
        for (const { number } of pieces) forget(number);
        paintMine();
        throw error;
      }));
    }
    sending = false;
  }

  function place(event) {
    const box = find("mine").getBoundingClientRect();
    const within = (value) => Math.max(-100, Math.min(1700, Math.round(value)));
    const x = within(((event.clientX - box.left) * 1600) / box.width);
    return [x, within(((event.clientY - box.top) * 1000) / box.height)];
  }

  function begin(points) {
    const colour = document.querySelector("[name=colour]:checked").value;
    stroke = { page, number: (drawn += 1), colour, width: Number(find("width").value), points };
    pending.push(stroke);
    unsent += 1;
  }

  find("mine").addEventListener("pointerdown", (event) => {
    if (event.button !== 0 || !event.isPrimary) return;
    event.target.setPointerCapture(event.pointerId);
    begin(place(event));
    paintMine();
    send();
  });
  find("mine").addEventListener("pointermove", (event) => {
    if (!stroke || !event.isPrimary) return;
    // A piece that is under way has its shape; the stroke goes on in a new one, from where that ends.
    const underWay = !unsent || pending.at(-1) !== stroke || stroke.points.length >= 2 * MOST_POINTS;
    if (underWay) begin([...stroke.points.slice(-2), ...place(event)]);
    else stroke.points.push(...place(event));
    paint(mine, stroke);
    send();
  });
  for (const end of ["pointerup", "pointercancel"]) find("mine").addEventListener(end, () => (stroke = null));
  find("clear").addEventListener("click", () => attempt(() => post("/clear", {})));
  attempt(join);
</script>
</html>
"""

if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]) if len(sys.argv) > 1 else 8000, log_level="warning")
