"""Notifications: they go to the page of a user, and by e-mail when no page takes them. A Django program in one file.

Start Pushline, and in another terminal the program::

    pushline serve

    PUSHLINE_API_KEY_FILE=pushline-data/api-key python examples/notifications.py

Open http://127.0.0.1:8000 in two browsers, as two people. E-mails are written to the terminal; ``EMAIL_BACKEND`` and
``EMAIL_FILE_PATH`` are those of Django. Another port is an argument; ``PUSHLINE_PUBLIC_URL`` is the address of Pushline
for browsers, if it is not ``PUSHLINE_URL``; ``DJANGO_SECRET_KEY`` signs the cookies over restarts of the program.

There are no passwords and there is no database here: in a project of yours ``request.user`` says who it is, and a table
keeps the notifications.
"""

from __future__ import annotations

import os
import secrets
import signal
import sys
import uuid
from collections import deque
from datetime import UTC, datetime
from threading import Lock
from typing import Final
from urllib.parse import urlsplit

import waitress  # type: ignore[import-untyped]
from django.conf import settings
from django.core.mail import send_mail
from django.core.wsgi import get_wsgi_application
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse
from django.shortcuts import render
from django.urls import path
from django.views.decorators.http import require_GET, require_POST

from pushline import channel
from pushline.errors import ClientError

PUSHLINE: Final = os.environ.get("PUSHLINE_PUBLIC_URL") or os.environ.get("PUSHLINE_URL") or "http://127.0.0.1:8080"
WAIT_SECONDS: Final = 5
"""A page that is there has answered long before. Whoever sends waits so long for one that may come back."""

PEOPLE: Final = {"ann": "ann@example.com", "bob": "bob@example.com", "eve": "eve@example.com"}
NOTES: Final = {name: deque[dict[str, str]](maxlen=50) for name in PEOPLE}
LOCK: Final = Lock()


def tell(user: str, sender: str, text: str) -> str:
    """Send a notification to ``user``, by push or else by e-mail. Returns a sentence about it."""
    note = {"id": uuid.uuid4().hex, "from": sender, "text": text, "at": datetime.now(UTC).isoformat()}
    with LOCK:
        NOTES[user].append(note)
    try:
        # With the key the SDK may repeat the request, and the page shows it once.
        sent = channel.send_json(client_id(user), note, idempotency_key=note["id"], wait=WAIT_SECONDS)
    except ClientError as error:
        print(error, file=sys.stderr)
        status = "unknown"
    else:
        status = sent.status
    if status == "delivered":
        return f"The page of {user} has it."
    send_mail(f"{sender} has written to you", f"{text}\n\n{sender}", None, [PEOPLE[user]])
    why = f"{user} has no page open" if status == "no_channel" else f"No page of {user} took it in time"
    return f"{why}: an e-mail went to {PEOPLE[user]}."


def client_id(user: str) -> str:
    return f"notifications/{user}"


def token_for(user: str) -> str:
    """A token for a page, or an empty text while Pushline is away: then the page is as good as its last load."""
    try:
        return channel.create_channel(client_id(user), policy="share")  # all tabs and browsers of a user receive
    except ClientError as error:
        print(error, file=sys.stderr)
        return ""


# -- the views ---------------------------------------------------------------------------------------------------


@require_GET
def home(request: HttpRequest) -> HttpResponse:
    user = user_of(request)
    nonce = secrets.token_urlsafe(16)
    shown: dict[str, object] = {"nonce": nonce, "pushline": PUSHLINE.rstrip("/"), "people": PEOPLE, "user": user}
    if user:
        # First the token: what is sent while the list is read comes through the channel. The page knows what it has.
        shown["token"] = token_for(user)
        with LOCK:
            shown["notes"] = list(NOTES[user])
    response = render(request, "page.html", shown)
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
    response["Content-Security-Policy"] = "; ".join(policy)
    response["Cache-Control"] = "no-store"
    return response


@require_POST
def sign_in(request: HttpRequest) -> HttpResponse:
    if request.POST.get("name") in PEOPLE:
        request.session["user"] = request.POST["name"]
    return HttpResponseRedirect("/")


@require_POST
def sign_out(request: HttpRequest) -> HttpResponse:
    """From now on no page of the user gets anything, and who writes sends an e-mail at once."""
    user = user_of(request)
    request.session.flush()
    if user:
        try:
            channel.revoke(client_id(user))
        except ClientError as error:
            print(error, file=sys.stderr)
    return HttpResponseRedirect("/")


@require_POST
def token(request: HttpRequest) -> HttpResponse:
    """A fresh token for a page that has been open for long."""
    user = user_of(request)
    return HttpResponse(token_for(user) if user else "", content_type="text/plain", status=200 if user else 403)


@require_POST
def send(request: HttpRequest) -> HttpResponse:
    sender, user, text = user_of(request), request.POST.get("to", ""), request.POST.get("text", "").strip()
    if not sender:
        return JsonResponse({"sentence": "Please reload the page, and sign in."}, status=403)
    if user not in PEOPLE or not 1 <= len(text) <= 500:
        return JsonResponse({"sentence": "Choose somebody, and write 1 to 500 characters."}, status=400)
    return JsonResponse({"sentence": tell(user, sender, text)})


def user_of(request: HttpRequest) -> str | None:
    name = request.session.get("user")
    return name if name in PEOPLE else None


urlpatterns = [
    path("", home),
    path("sign-in", sign_in),
    path("sign-out", sign_out),
    path("token", token),
    path("send", send),
]

PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>Notifications</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="icon" href="data:,">
<style nonce="{{ nonce }}">
  :root {
    color-scheme: light dark;
    --paper: light-dark(#f5f4f0, #13151c); --card: light-dark(#fff, #1f222d); --ink: light-dark(#20242f, #eceef5);
    --quiet: light-dark(#5d6373, #a0a6b7); --edge: light-dark(#e2e0d8, #313646); --accent: light-dark(#4d58d0, #98a2ff);
    --on-accent: light-dark(#fff, #14161f); --good: light-dark(#1f8a5b, #5fd29c); --bad: light-dark(#c03535, #ff8f8f);
  }
  * { box-sizing: border-box; }
  body {
    width: min(100%, 42rem); margin: 0 auto; padding: 1.25rem; background: var(--paper); color: var(--ink);
    font: 1rem/1.5 system-ui, sans-serif;
  }
  header { display: flex; gap: 1rem; align-items: center; margin-bottom: 1.25rem; }
  h1 { flex: 1; margin: 0; font-size: 1.6rem; letter-spacing: -0.02em; }
  h2 { margin: 0 0 0.75rem; font-size: 1.1rem; }
  section { margin-bottom: 1.25rem; padding: 1.25rem; border: 1px solid var(--edge); border-radius: 1rem; }
  section { background: var(--card); }
  label { display: block; margin-bottom: 0.75rem; color: var(--quiet); font-size: 0.9rem; }
  input, select, button { min-height: 2.75rem; padding: 0 1rem; border-radius: 0.7rem; }
  input, select, button { color: var(--ink); font: inherit; }
  input, select { display: block; width: 100%; border: 1px solid var(--edge); background: var(--paper); }
  input, select { font-size: 1rem; }
  button { border: 1px solid var(--edge); background: var(--card); cursor: pointer; }
  .main { border-color: transparent; background: var(--accent); color: var(--on-accent); font-weight: 600; }
  button:disabled { opacity: 0.5; cursor: wait; }
  :focus-visible { outline: 3px solid var(--accent); outline-offset: 2px; }
  .choices { display: flex; gap: 0.75rem; }
  #status { color: var(--quiet); font-size: 0.9rem; }
  #status[data-state]::before { content: "●"; margin-right: 0.4rem; }
  #status[data-state=live]::before { color: var(--good); }
  #status[data-state=off]::before { color: var(--bad); }
  #outcome { min-height: 1.5rem; margin: 0.75rem 0 0; color: var(--quiet); }
  #notes { margin: 0; padding: 0; list-style: none; overflow-wrap: anywhere; }
  #notes li + li { margin-top: 0.75rem; padding-top: 0.75rem; border-top: 1px solid var(--edge); }
  #notes small { color: var(--quiet); }
  #notes p { margin: 0; }
  #notes:empty::after { content: "Nothing yet."; color: var(--quiet); }
</style>
{% if not user %}
<header><h1>Notifications</h1></header>
<section>
  <h2 id="who">Who are you?</h2>
  <form method="post" action="/sign-in" class="choices" role="group" aria-labelledby="who">{% csrf_token %}
    {% for name in people %}<button class="main" name="name" value="{{ name }}">{{ name }}</button>{% endfor %}
  </form>
</section>
{% else %}
<header>
  <h1>{{ user }}</h1><span id="status" role="status"></span>
  <form method="post" action="/sign-out">{% csrf_token %}<button>Sign out</button></form>
</header>
<section><h2>Notifications</h2><ol id="notes" aria-live="polite"></ol></section>
<section>
  <h2>Write to somebody</h2>
  <form id="send">{% csrf_token %}
    <label>To <select name="to">
      {% for name in people %}{% if name != user %}<option>{{ name }}</option>{% endif %}{% endfor %}
    </select></label>
    <label>Text <input name="text" required maxlength="500" autocomplete="off"></label>
    <button class="main">Send</button>
    <p id="outcome" role="status"></p>
  </form>
</section>
{{ token|json_script:"token" }}
{{ notes|json_script:"kept" }}
<script nonce="{{ nonce }}" src="{{ pushline }}/_ah/channel/jsapi"></script>
<script nonce="{{ nonce }}">
  const find = (id) => document.getElementById(id);
  const STATES = { live: "live", lost: "reconnecting …", off: "not live: reload the page" };

  function status(state) {
    find("status").dataset.state = state;
    find("status").textContent = STATES[state];
  }

  /** Shows a notification, the newest above. One that is there already is not shown again. */
  function show(note) {
    if (find(note.id)) return;
    const item = document.createElement("li");
    item.id = note.id;
    item.appendChild(document.createElement("p")).textContent = note.text;
    const from = `${note.from}, ${new Date(note.at).toLocaleTimeString([], { timeStyle: "short" })}`;
    item.appendChild(document.createElement("small")).textContent = from;
    find("notes").prepend(item);
  }

  async function post(path, form) {
    const answer = await fetch(path, { method: "POST", body: form });
    if (!answer.ok && !answer.headers.get("Content-Type").includes("json")) throw new Error(`status ${answer.status}`);
    return answer;
  }

  JSON.parse(find("kept").textContent).forEach(show);
  if (globalThis.goog) {
    const refreshToken = async () => (await post("/token", new FormData(find("send")))).text();
    new goog.appengine.Channel(JSON.parse(find("token").textContent), { refreshToken }).open({
      onopen: () => status("live"),
      onreconnecting: () => status("lost"),
      onreconnect: () => status("live"),
      onmessage: ({ data }) => show(JSON.parse(data)),
      ongap: () => location.reload(), // something is lost here; the program has it
      onclose: () => status("off"),
    });
  } else {
    status("off");
  }

  find("send").addEventListener("submit", async (event) => {
    event.preventDefault();
    const form = event.target;
    const button = form.querySelector("button");
    button.disabled = true;
    find("outcome").textContent = "Sending …";
    try {
      const answer = await post("/send", new FormData(form));
      find("outcome").textContent = (await answer.json()).sentence;
      if (answer.ok) form.elements.text.value = "";
    } catch {
      find("outcome").textContent = "That did not work. Please try again.";
    }
    button.disabled = false;
  });
</script>
{% endif %}
</html>
"""

settings.configure(
    ROOT_URLCONF=__name__,
    ALLOWED_HOSTS=["127.0.0.1", "localhost"],
    SECRET_KEY=os.environ.get("DJANGO_SECRET_KEY") or secrets.token_hex(),
    MIDDLEWARE=[
        "django.middleware.security.SecurityMiddleware",
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.middleware.csrf.CsrfViewMiddleware",
    ],
    SESSION_ENGINE="django.contrib.sessions.backends.signed_cookies",
    TEMPLATES=[
        {
            "BACKEND": "django.template.backends.django.DjangoTemplates",
            "OPTIONS": {"loaders": [("django.template.loaders.locmem.Loader", {"page.html": PAGE})]},
        }
    ],
    DATA_UPLOAD_MAX_MEMORY_SIZE=16_384,
    EMAIL_BACKEND=os.environ.get("EMAIL_BACKEND", "django.core.mail.backends.console.EmailBackend"),
    EMAIL_FILE_PATH=os.environ.get("EMAIL_FILE_PATH"),
    DEFAULT_FROM_EMAIL="notifications@example.com",
    USE_TZ=True,
)
app = get_wsgi_application()

if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    # A call that waits for a page holds its thread.
    waitress.serve(app, host="127.0.0.1", port=int(sys.argv[1]) if len(sys.argv) > 1 else 8000, threads=16)
