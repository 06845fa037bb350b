"""A chat that shows who is here: a FastAPI program, told by Pushline who comes and goes.

Start Pushline, so that it tells this program, and in another terminal the program::

    pushline serve --presence-url http://127.0.0.1:8000

    PUSHLINE_API_KEY_FILE=pushline-data/api-key PUSHLINE_WEBHOOK_SECRET_FILE=pushline-data/webhook-secret \
        python examples/chat.py

Open http://127.0.0.1:8000 in two browsers. Another port is an argument; ``PUSHLINE_PUBLIC_URL`` is the address of
Pushline for browsers, if it is not ``PUSHLINE_URL``; ``CHAT_SECRET`` signs the cookies over restarts of the program.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import sys
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Annotated, Any, Final
from urllib.parse import urlsplit

import uvicorn
from fastapi import FastAPI, HTTPException, Request
from fastapi.responses import HTMLResponse, JSONResponse, Response
from pydantic import BaseModel, StringConstraints
from starlette.middleware.sessions import SessionMiddleware

from pushline import AsyncClient
from pushline.errors import ClientError, InvalidSignature
from pushline.presence import Presence, parse

PUSHLINE: Final = os.environ.get("PUSHLINE_PUBLIC_URL") or os.environ.get("PUSHLINE_URL") or "http://127.0.0.1:8080"
PREFIX: Final = "chat/"
MAX_MEMBERS: Final = 1000


class Room:
    """Who is in the room, and what was said last.

    Everything happens in turn, also the making of a token. So what a page gets from :meth:`join` was said before its
    token, and all the rest comes through its channel: nothing is missing, and nothing comes twice.
    """

    def __init__(self, push: AsyncClient) -> None:
        self._push = push
        self._turn = asyncio.Lock()
        self._said: deque[dict[str, str]] = deque(maxlen=100)
        self._members: set[str] = set()  # everybody with a token, also who is away for a moment
        self._here: set[str] = set()
        self._latest: dict[str, int] = {}

    async def remember(self) -> None:
        """Ask who is there: pages outlive this program."""
        after = None
        while True:
            found = await self._push.list_clients(prefix=PREFIX, after=after)
            self._members |= {each.client_id for each in found.clients}
            self._here |= {each.client_id for each in found.clients if each.connected}
            after = found.next
            if after is None:
                return

    async def join(self, member: str) -> dict[str, Any]:
        """A token for a page of ``member``, and what it shows at first."""
        async with self._turn:
            if len(self._members) >= MAX_MEMBERS and member not in self._members:
                raise HTTPException(503, "The room is full. Please come back later.")
            token = await self._push.create_channel(member, policy="share")  # all tabs of a browser receive
            self._members.add(member)
            return {"token": token, "here": self._names(), "said": list(self._said)}

    async def say(self, member: str, text: str) -> None:
        """Tell everybody what ``member`` says."""
        line = {"name": name_of(member), "text": text}
        async with self._turn:
            await self._tell({"said": line})
            self._said.append(line)

    async def told(self, presence: Presence) -> None:
        """Tell everybody who has come or gone."""
        member = presence.client_id
        async with self._turn:
            if not member.startswith(PREFIX) or presence.sequence <= self._latest.get(member, 0):
                return  # not of this room; or late, or a repeat
            (self._here.add if presence.connected else self._here.discard)(member)
            event = "came" if presence.connected else "left"
            await self._tell({event: name_of(member), "here": self._names()})
            self._latest[member] = presence.sequence  # not before: what fails here is told again

    def _names(self) -> list[str]:
        return sorted((name_of(member) for member in self._here), key=str.casefold)

    async def _tell(self, news: dict[str, Any]) -> None:
        if self._members:
            # With the key the SDK may repeat the request, and nobody hears it twice.
            results = await self._push.send_many(
                [{"to": sorted(self._members), "json": news, "key": secrets.token_hex()}]
            )
            for gone in (result.to for result in results if result.status == "no_channel"):
                self._members.discard(gone)
                self._latest.pop(gone, None)


def name_of(member: str) -> str:
    """The name within a client id: ``chat/<random>/<name>``. So a callback says all that there is to know."""
    return member.split("/", 2)[2]


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    async with push:
        await room.remember()
        yield


push = AsyncClient()
room = Room(push)
app = FastAPI(lifespan=lifespan, openapi_url=None, max_body_size=16_384)
app.add_middleware(
    SessionMiddleware, secret_key=os.environ.get("CHAT_SECRET") or secrets.token_hex(), session_cookie="chat"
)


class Join(BaseModel):
    """``name`` is that of a newcomer. Whoever has a cookie need not say it again."""

    name: Annotated[str, StringConstraints(strip_whitespace=True, max_length=40)] = ""


class Say(BaseModel):
    text: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=2000)]


@app.get("/")
async def page() -> HTMLResponse:
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
        "form-action 'self'",
        "frame-ancestors 'none'",
    ]
    html = PAGE.replace("{nonce}", nonce).replace("{pushline}", PUSHLINE.rstrip("/"))
    return HTMLResponse(html, headers={"Content-Security-Policy": "; ".join(policy), "Cache-Control": "no-store"})


@app.get("/me")
async def me(request: Request) -> dict[str, str | None]:
    return {"name": name_of(request.session["member"]) if "member" in request.session else None}


@app.post("/join")
async def join(request: Request, wish: Join) -> dict[str, Any]:
    if wish.name:
        request.session["member"] = f"{PREFIX}{secrets.token_urlsafe(9)}/{wish.name}"
    return await room.join(member_of(request))


@app.post("/say", status_code=204)
async def say(request: Request, wish: Say) -> None:
    await room.say(member_of(request), wish.text)


def member_of(request: Request) -> str:
    """The client id of who asks. A signed cookie keeps it; other sites cannot send it along with a POST of theirs."""
    if "member" not in request.session:
        raise HTTPException(401, "Please reload the page, and say who you are.")
    return str(request.session["member"])


@app.post("/_ah/channel/connected/", status_code=204)
@app.post("/_ah/channel/disconnected/", status_code=204)
async def presence(request: Request) -> None:
    try:
        told = parse(request.headers, await request.body())
    except InvalidSignature as error:
        raise HTTPException(401, str(error)) from error
    await room.told(told)


@app.exception_handler(ClientError)
async def away(_: Request, error: Exception) -> JSONResponse:
    """Pushline could not do it. (When it was Pushline that asked, it asks again for what has no 2xx.)"""
    print(error, file=sys.stderr)
    return JSONResponse({"detail": "Nobody could be reached just now. Please try again."}, 503)


@app.middleware("http")
async def harden(request: Request, proceed: Callable[[Request], Awaitable[Response]]) -> Response:
    response = await proceed(request)
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Referrer-Policy"] = "same-origin"
    return response


PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>Chat</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="icon" href="data:,">
<style nonce="{nonce}">
  :root {
    color-scheme: light dark;
    --paper: light-dark(#f5f4f0, #13151c); --card: light-dark(#fff, #1f222d); --ink: light-dark(#20242f, #eceef5);
    --quiet: light-dark(#5d6373, #a0a6b7); --edge: light-dark(#e2e0d8, #313646); --accent: light-dark(#4d58d0, #98a2ff);
    --on-accent: light-dark(#fff, #14161f); --good: light-dark(#1f8a5b, #5fd29c); --bad: light-dark(#c03535, #ff8f8f);
  }
  * { box-sizing: border-box; }
  [hidden] { display: none !important; }
  body {
    display: flex; flex-direction: column; gap: 1rem; width: min(100%, 56rem); height: 100dvh; margin: 0 auto;
    padding: 1.25rem; background: var(--paper); color: var(--ink); font: 1rem/1.5 system-ui, sans-serif;
  }
  header { display: flex; align-items: baseline; justify-content: space-between; }
  h1 { margin: 0; font-size: 1.6rem; letter-spacing: -0.02em; }
  h2 { margin: 0 0 0.5rem; color: var(--quiet); font-size: 0.85rem; font-weight: 600; }
  #status { color: var(--quiet); font-size: 0.9rem; }
  #status[data-state]::before { content: "●"; margin-right: 0.4rem; }
  #status[data-state=live]::before { color: var(--good); }
  #status[data-state=off]::before { color: var(--bad); }
  form { display: flex; gap: 0.75rem; align-items: end; }
  label { flex: 1; color: var(--quiet); font-size: 0.85rem; }
  input, button { min-height: 2.75rem; padding: 0 1rem; border-radius: 0.7rem; color: var(--ink); font: inherit; }
  input { display: block; width: 100%; margin-top: 0.25rem; border: 1px solid var(--edge); background: var(--card); }
  input { font-size: 1rem; }
  button { border: 0; background: var(--accent); color: var(--on-accent); font-weight: 600; cursor: pointer; }
  :focus-visible { outline: 3px solid var(--accent); outline-offset: 2px; }
  #enter { width: min(100%, 26rem); margin: 15dvh auto 0; padding: 1.5rem; }
  #enter, #said, aside { border: 1px solid var(--edge); border-radius: 1rem; background: var(--card); }
  #room { display: flex; flex: 1; gap: 1rem; min-height: 0; }
  #said { flex: 1; margin: 0; padding: 1rem 1.25rem; overflow-y: auto; list-style: none; overflow-wrap: anywhere; }
  #said li + li { margin-top: 0.4rem; }
  #said b { margin-right: 0.15rem; color: var(--accent); }
  #said .event { color: var(--quiet); font-size: 0.9rem; }
  aside { width: 12rem; padding: 1rem 1.25rem; overflow-y: auto; }
  #here { margin: 0; padding: 0; list-style: none; overflow-wrap: anywhere; }
  #problem { min-height: 1.5rem; margin: 0; color: var(--bad); font-size: 0.9rem; }
  @media (max-width: 36rem) {
    #room { flex-direction: column-reverse; }
    aside { width: auto; max-height: 7rem; }
    #here li { display: inline; margin-right: 0.75rem; }
  }
</style>
<header><h1>Chat</h1><span id="status" role="status"></span></header>
<form id="enter" hidden>
  <label>Your name<input id="name" required maxlength="40" autocomplete="nickname"></label><button>Come in</button>
</form>
<main id="room" hidden>
  <ol id="said" role="log" tabindex="0" aria-label="What was said"></ol>
  <aside><h2>Here now</h2><ul id="here"></ul></aside>
</main>
<form id="say" hidden>
  <label>Message<input id="text" required maxlength="2000" autocomplete="off"></label><button>Send</button>
</form>
<p id="problem" role="alert"></p>
<script nonce="{nonce}" src="{pushline}/_ah/channel/jsapi"></script>
<script nonce="{nonce}">
  const find = (id) => document.getElementById(id);
  const STATES = { live: "live", lost: "reconnecting …", off: "not live: reload the page" };

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
    throw new Error(typeof content.detail === "string" ? content.detail : "That did not work. Please try again.");
  }

  /** Adds a line, and scrolls to it unless the reader has scrolled back. */
  function add(line) {
    const log = find("said");
    const follow = log.scrollHeight - log.scrollTop - log.clientHeight < 40;
    log.append(line);
    if (follow) log.scrollTop = log.scrollHeight;
  }

  function addSaid({ name, text }) {
    const line = document.createElement("li");
    line.appendChild(document.createElement("b")).textContent = `${name}:`;
    line.append(" ", text);
    add(line);
  }

  function addEvent(text) {
    const line = document.createElement("li");
    line.className = "event";
    line.textContent = text;
    add(line);
  }

  function showHere(names) {
    find("here").replaceChildren(...names.map((name) => {
      const item = document.createElement("li");
      item.textContent = name;
      return item;
    }));
  }

  /** Shows the room, and from then on what is new in it. */
  async function join(name) {
    const { token, here, said } = await post("/join", { name });
    for (const part of ["room", "say"]) find(part).hidden = false;
    find("enter").hidden = true;
    find("text").focus();
    find("said").replaceChildren();
    said.forEach(addSaid);
    showHere(here);
    if (!globalThis.goog) return status("off");
    const refreshToken = async () => (await post("/join", {})).token;
    new goog.appengine.Channel(token, { refreshToken }).open({
      onopen: () => status("live"),
      onreconnecting: () => status("lost"),
      onreconnect: () => status("live"),
      onmessage({ data }) {
        const news = JSON.parse(data);
        if (news.said) addSaid(news.said);
        if (news.came) addEvent(`${news.came} is here`);
        if (news.left) addEvent(`${news.left} has left`);
        if (news.here) showHere(news.here);
      },
      ongap() { // something is lost: begin anew, with all that was said
        this.onclose = null;
        this.close();
        attempt(() => join());
      },
      onclose: () => status("off"),
    });
  }

  /** Does something, and shows what is wrong with it. */
  async function attempt(action) {
    find("problem").textContent = "";
    try {
      await action();
    } catch (error) {
      find("problem").textContent = error.message;
    }
  }

  find("enter").addEventListener("submit", (event) => {
    event.preventDefault();
    attempt(() => join(find("name").value));
  });
  let said = Promise.resolve(); // one line after the other: requests can overtake each other
  find("say").addEventListener("submit", (event) => {
    event.preventDefault();
    const { value } = find("text");
    find("text").value = "";
    said = said.then(() => attempt(() => post("/say", { text: value }).catch((error) => {
      find("text").value ||= value;
      throw error;
    })));
  });
  attempt(async () => {
    const { name } = await (await fetch("/me")).json();
    if (name) return join();
    find("enter").hidden = false;
    find("name").focus();
  });
</script>
</html>
"""

if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]) if len(sys.argv) > 1 else 8000, log_level="warning")
