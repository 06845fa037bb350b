"""The progress of a long job, live: a Flask program, and a process for each job, which tells the page by itself.

Start Pushline, and in another terminal the program::

    pushline serve

    PUSHLINE_API_KEY_FILE=pushline-data/api-key python examples/progress.py

Open http://127.0.0.1:8000, start a job, reload its page, open it in a second window. Another port is an argument;
``PUSHLINE_PUBLIC_URL`` is the address of Pushline for browsers, if it is not ``PUSHLINE_URL``.
"""

from __future__ import annotations

import math
import multiprocessing
import secrets
import signal
import sqlite3
import sys
import tempfile
import threading
import time
from contextlib import closing
from os import environ
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import waitress  # type: ignore[import-untyped]
from flask import Flask, Response, abort, g, redirect, render_template_string, request
from werkzeug.wrappers import Response as AnyResponse

from pushline import channel
from pushline.errors import ClientError

PUSHLINE: Final = environ.get("PUSHLINE_PUBLIC_URL") or environ.get("PUSHLINE_URL") or "http://127.0.0.1:8080"
STEPS: Final = 100
AT_ONCE: Final = 2
MAX_WAITING: Final = 20
TOKEN_MINUTES: Final = 24 * 60
TTL_SECONDS: Final = 10
"""A number is old when the next ones are there. Only the last is kept for a page that is away for longer."""

PAUSE_SECONDS: Final = 5


class Jobs:
    """What there is to know of each job, in a database that the web program and the processes of the jobs share."""

    def __init__(self, database: Path) -> None:
        self._database = database
        self._run("CREATE TABLE IF NOT EXISTS jobs (id TEXT PRIMARY KEY, size INT, state TEXT, done INT, found INT)")

    def create(self, size: int) -> str:
        job = secrets.token_urlsafe(9)
        self._run("INSERT INTO jobs VALUES (?, ?, 'waiting', 0, 0)", job, size)
        return job

    def update(self, job: str, state: str, done: int, found: int) -> None:
        self._run("UPDATE jobs SET state = ?, done = ?, found = ? WHERE id = ?", state, done, found, job)

    def fail(self, job: str) -> bool:
        """Its process has ended. Returns whether that was before its time."""
        return bool(
            self._run("UPDATE jobs SET state = 'failed' WHERE id = ? AND state <> 'finished' RETURNING id", job)
        )

    def find(self, job: str) -> dict[str, Any] | None:
        found = self._run("SELECT size, state, done, found FROM jobs WHERE id = ?", job)
        return dict(found[0]) if found else None

    def waiting(self) -> int:
        return int(self._run("SELECT count(*) FROM jobs WHERE state = 'waiting'")[0][0])

    def _run(self, statement: str, *values: object) -> list[sqlite3.Row]:
        with closing(sqlite3.connect(self._database, timeout=10)) as database, database:
            database.row_factory = sqlite3.Row
            return database.execute(statement, values).fetchall()


# -- the work, in a process of its own -----------------------------------------------------------------------------


def work(database: Path, job: str, size: int) -> None:
    """Count the primes below ``size``, step by step."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the web program, which then ends us
    jobs = Jobs(database)
    found, silent_until = 0, 0.0
    for step in range(1, STEPS + 1):
        found += sum(map(is_prime, range(size * (step - 1) // STEPS, size * step // STEPS)))
        jobs.update(job, "running" if step < STEPS else "finished", step, found)
        if (step == STEPS or time.monotonic() > silent_until) and not tell(jobs, job):
            silent_until = time.monotonic() + PAUSE_SECONDS  # the work does not wait for whoever is away


def is_prime(number: int) -> bool:
    return number > 1 and all(number % divisor for divisor in range(2, math.isqrt(number) + 1))


def tell(jobs: Jobs, job: str) -> bool:
    """Tell the pages how far the job is. Returns whether Pushline took it; if not, a page sees it when it asks."""
    shown = jobs.find(job)
    assert shown is not None  # noqa: S101 - for the type checker
    over = shown["state"] in ("finished", "failed")
    try:
        channel.send_json(client_id(job), shown, ttl=None if over else TTL_SECONDS)
    except ClientError as error:
        print(error, file=sys.stderr)
        return False
    return True


def client_id(job: str) -> str:
    return f"job/{job}"


# -- the web program -----------------------------------------------------------------------------------------------


class Workers:
    """Gives each job a process, and tells the pages when one has ended before its time."""

    def __init__(self, database: Path) -> None:
        self._database = database
        self._jobs = Jobs(database)
        self._places = threading.Semaphore(AT_ONCE)
        self._threads = set[threading.Thread]()
        self._stopping = False

    def start(self, job: str, size: int) -> None:
        """Start a job, or let it wait for a place."""
        thread = threading.Thread(target=self._supervise, args=(job, size), name=f"job {job}", daemon=True)
        self._threads.add(thread)
        thread.start()

    def stop(self) -> None:
        """End all jobs, and wait until that is told."""
        self._stopping = True
        while alive := [thread for thread in list(self._threads) if thread.is_alive()]:
            for worker in multiprocessing.active_children():
                worker.terminate()
            alive[0].join(0.1)

    def _supervise(self, job: str, size: int) -> None:
        with self._places:
            if not self._stopping:
                spawn = multiprocessing.get_context("spawn")  # a process that shares nothing with the threads here
                worker = spawn.Process(target=work, args=(self._database, job, size), daemon=True)
                worker.start()
                worker.join()
        if self._jobs.fail(job):
            tell(self._jobs, job)
        self._threads.discard(threading.current_thread())


def create_app(jobs: Jobs, workers: Workers) -> Flask:
    """The program that the browsers ask."""
    app = Flask(__name__)
    app.config["MAX_CONTENT_LENGTH"] = 4096

    @app.before_request
    def refuse_other_sites() -> None:
        g.nonce = secrets.token_urlsafe(16)
        origin = request.headers.get("Origin")
        if request.method == "POST" and origin is not None and urlsplit(origin).netloc != request.host:
            abort(403)

    @app.get("/")
    def start() -> str:
        return render_template_string(PAGE, job=None)

    @app.post("/jobs")
    def create() -> AnyResponse:
        size = request.form.get("size", type=int) or 0
        if not 1000 <= size <= 20_000_000:
            abort(400, "Choose a number from 1,000 to 20,000,000.")
        if jobs.waiting() >= MAX_WAITING:
            abort(503, "Too many jobs are waiting. Please come back later.")
        job = jobs.create(size)
        workers.start(job, size)
        return redirect(f"/jobs/{job}", 303)

    @app.get("/jobs/<job>")
    def show(job: str) -> str:
        if jobs.find(job) is None:
            abort(404)
        try:
            token = channel.create_channel(
                client_id(job), TOKEN_MINUTES, policy="share"
            )  # who has the address looks on
        except ClientError as error:
            print(error, file=sys.stderr)
            token = ""  # the page is as good as its last load
        # Read after the token was made: what changes from here on comes through the channel.
        return render_template_string(PAGE, job=jobs.find(job), token=token, pushline=PUSHLINE.rstrip("/"))

    @app.get("/jobs/<job>/state")
    def state(job: str) -> dict[str, Any]:
        return jobs.find(job) or abort(404)

    @app.after_request
    def protect(response: Response) -> Response:
        push = urlsplit(PUSHLINE)
        origin = f"{push.scheme}://{push.netloc}"
        socket = f"{'wss' if push.scheme == 'https' else 'ws'}://{push.netloc}"
        policy = [
            "default-src 'none'",
            f"script-src 'nonce-{g.nonce}'",
            f"style-src 'nonce-{g.nonce}'",
            f"connect-src 'self' {origin} {socket}",
            "img-src data:",
            "base-uri 'none'",
            "form-action 'self'",
            "frame-ancestors 'none'",
        ]
        response.headers["Content-Security-Policy"] = "; ".join(policy)
        response.headers["Cache-Control"] = "no-store"
        response.headers["Referrer-Policy"] = "same-origin"
        response.headers["X-Content-Type-Options"] = "nosniff"
        return response

    return app


PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>Progress</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="icon" href="data:,">
<style nonce="{{ g.nonce }}">
  :root {
    color-scheme: light dark;
    --paper: light-dark(#f5f4f0, #13151c); --card: light-dark(#fff, #1f222d); --ink: light-dark(#20242f, #eceef5);
    --quiet: light-dark(#5d6373, #a0a6b7); --edge: light-dark(#e2e0d8, #313646); --accent: light-dark(#4d58d0, #98a2ff);
    --on-accent: light-dark(#fff, #14161f); --good: light-dark(#1f8a5b, #5fd29c); --bad: light-dark(#c03535, #ff8f8f);
  }
  * { box-sizing: border-box; }
  body {
    width: min(100%, 36rem); margin: 0 auto; padding: 1.25rem; background: var(--paper); color: var(--ink);
    font: 1rem/1.5 system-ui, sans-serif;
  }
  header { display: flex; align-items: baseline; justify-content: space-between; margin-bottom: 1.25rem; }
  h1 { margin: 0; font-size: 1.6rem; letter-spacing: -0.02em; }
  main { margin-bottom: 1.25rem; padding: 1.25rem; border: 1px solid var(--edge); border-radius: 1rem; }
  main { background: var(--card); }
  form { display: flex; gap: 0.75rem; align-items: end; }
  label { flex: 1; color: var(--quiet); font-size: 0.9rem; }
  select, button { min-height: 2.75rem; padding: 0 1rem; border-radius: 0.7rem; color: var(--ink); font: inherit; }
  select { display: block; width: 100%; border: 1px solid var(--edge); background: var(--paper); font-size: 1rem; }
  button { border: 0; background: var(--accent); color: var(--on-accent); font-weight: 600; cursor: pointer; }
  :focus-visible { outline: 3px solid var(--accent); outline-offset: 2px; }
  a { color: var(--accent); }
  #status { color: var(--quiet); font-size: 0.9rem; }
  #status[data-state]::before { content: "●"; margin-right: 0.4rem; }
  #status[data-state=live]::before { color: var(--good); }
  #status[data-state=off]::before { color: var(--bad); }
  .row { display: flex; justify-content: space-between; font-variant-numeric: tabular-nums; }
  progress { width: 100%; height: 1rem; margin: 0.5rem 0; accent-color: var(--accent); }
  #said { margin: 0; color: var(--quiet); font-variant-numeric: tabular-nums; }
  #said[data-state=finished] { color: var(--good); font-weight: 600; }
  #said[data-state=failed] { color: var(--bad); font-weight: 600; }
</style>
<header><h1>Counting primes</h1><span id="status" role="status"></span></header>
<main>
{% if not job %}
  <form method="post" action="/jobs">
    <label>Below <select name="size">
      <option value="300000">300,000</option>
      <option value="1000000" selected>1,000,000</option>
      <option value="3000000">3,000,000</option>
      <option value="10000000">10,000,000</option>
    </select></label>
    <button>Start</button>
  </form>
{% else %}
  <div class="row"><label for="bar">Primes below <span id="size"></span></label><span id="percent"></span></div>
  <progress id="bar" max="100" value="0"></progress>
  <p id="said" aria-live="polite"></p>
{% endif %}
</main>
{% if job %}
<a href="/">Start another one</a>
<script nonce="{{ g.nonce }}" src="{{ pushline }}/_ah/channel/jsapi"></script>
<script nonce="{{ g.nonce }}">
  const find = (id) => document.getElementById(id);
  const STATES = { live: "live", lost: "reconnecting …", off: "not live: reload the page" };
  let shown = { done: -1 };

  function status(state) {
    find("status").dataset.state = state;
    find("status").textContent = STATES[state];
  }

  /** Shows how far the job is. What is older than what is there changes nothing. */
  function show(job) {
    if (job.done < shown.done) return;
    shown = job;
    const number = (value) => value.toLocaleString("en");
    find("size").textContent = number(job.size);
    find("bar").value = job.done;
    find("percent").textContent = `${job.done} %`;
    find("said").dataset.state = job.state;
    find("said").ariaLive = job.state === "running" ? "off" : "polite"; // nobody wants to hear every number
    find("said").textContent = {
      waiting: "Waiting for its turn.",
      running: `${number(job.found)} so far`,
      finished: `There are ${number(job.found)}.`,
      failed: "The job has ended before its time.",
    }[job.state];
    document.title = job.state === "running" ? `${job.done} % · Progress` : "Progress";
  }

  /** Asks for what was told to nobody: Pushline was away, or this page was for too long. */
  async function refresh() {
    const answer = await fetch(`${location.pathname}/state`);
    if (answer.ok) show(await answer.json());
  }

  show({{ job|tojson }});
  if (globalThis.goog) {
    new goog.appengine.Channel({{ token|tojson }}).open({
      onopen: () => status("live"),
      onreconnecting: () => status("lost"),
      onreconnect() { status("live"); refresh(); },
      onmessage: ({ data }) => show(JSON.parse(data)),
      ongap: refresh,
      onclose: () => status("off"),
    });
  } else {
    status("off");
  }
</script>
{% endif %}
</html>
"""


def main() -> None:
    """Serve until SIGINT or SIGTERM. The jobs end with the program."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    with tempfile.TemporaryDirectory(prefix="progress-") as folder:
        database = Path(folder) / "jobs.sqlite3"
        workers = Workers(database)
        try:
            app = create_app(Jobs(database), workers)
            waitress.serve(app, host="127.0.0.1", port=int(sys.argv[1]) if len(sys.argv) > 1 else 8000)
        finally:
            workers.stop()


if __name__ == "__main__":
    main()
