/** Time, chance and network of the tests: what happens is what a test says, when it says so. */

import assert from "node:assert/strict";

/** The WebSocket of a {@link FakeEnvironment}: the test plays the server. */
export class FakeWebSocket {
  /** @type {((event: {data: unknown}) => void) | null} */
  onmessage = null;
  /** @type {((event: {code: number, reason: string}) => void) | null} */
  onclose = null;
  /** @type {(() => void) | null} */
  onopen = null;
  protocol = "";
  /** @type {unknown[]} */
  sent = [];
  /** @type {{code?: number} | null} */
  closed = null;

  /**
   * @param {string} address
   * @param {string[]} protocols
   */
  constructor(address, protocols) {
    this.url = new URL(address);
    this.protocols = protocols;
  }

  /** @param {string} text */
  send(text) {
    this.sent.push(JSON.parse(text));
  }

  /** @param {number} [code] */
  close(code) {
    this.closed = { code };
  }

  /** @param {unknown} frame a text, or the value of a JSON frame */
  serve(frame) {
    this.onmessage?.({ data: typeof frame === "string" ? frame : JSON.stringify(frame) });
  }

  /** @param {object} [values] */
  serveOpen(values) {
    this.accept("pushline.v1");
    this.serve(openFrame(values));
  }

  /** @param {string} protocol the subprotocol that the server has chosen */
  accept(protocol) {
    this.protocol = protocol;
    this.onopen?.();
  }

  /**
   * @param {number} code
   * @param {string} [reason]
   */
  drop(code, reason = "") {
    this.onclose?.({ code, reason });
  }
}

/** @param {object} [values] */
export function openFrame(values) {
  return {
    type: "open",
    client_id: "ann",
    cursor: "1-0",
    gap: false,
    ping: 25,
    timeout: 10,
    expires_in: 7200,
    ...values,
  };
}

/** What a page has asked for by `fetch`: the test answers. */
export class FakeRequest {
  /** @type {(response: any) => void} */
  #resolve = () => {};
  /** @type {(error: unknown) => void} */
  #reject = () => {};
  /** @type {ReadableStreamDefaultController<Uint8Array> | null} */
  #stream = null;

  /**
   * @param {string} address
   * @param {RequestInit} request
   */
  constructor(address, request) {
    this.url = new URL(address);
    this.query = Object.fromEntries(this.url.searchParams);
    this.method = request.method ?? "GET";
    this.request = request;
    this.headers = new Headers(request.headers);
    /** @type {any} */
    this.body = request.body === undefined ? undefined : JSON.parse(String(request.body));
    this.aborted = false;
    /** @type {Promise<Response>} */
    this.answer = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
    request.signal?.addEventListener("abort", () => {
      this.aborted = true;
      const error = new DOMException("aborted", "AbortError");
      this.#reject(error);
      this.#stream?.error(error);
    });
  }

  /**
   * @param {number} status
   * @param {Record<string, string>} headers
   * @param {any} [body]
   */
  respond(status, headers, body) {
    this.#resolve(new Response(status === 204 ? null : body, { status, headers }));
    return settle();
  }

  /** As when there is no network. */
  fail() {
    this.#reject(new TypeError("Failed to fetch"));
    return settle();
  }

  /** @param {object} value */
  json(value) {
    return this.respond(200, { "Content-Type": "application/json" }, JSON.stringify(value));
  }

  /**
   * @param {number} status
   * @param {number} code
   * @param {Record<string, string>} [headers]
   */
  refuse(status, code, headers) {
    const body = JSON.stringify({ type: "about:blank", status, close_code: code });
    return this.respond(status, { "Content-Type": "application/problem+json", ...headers }, body);
  }

  /** Begins an event stream. */
  stream(type = "text/event-stream") {
    const body = new ReadableStream({ start: (controller) => void (this.#stream = controller) });
    return this.respond(200, { "Content-Type": type }, body);
  }

  /** @param {string | Uint8Array} piece of the stream */
  push(piece) {
    this.#stream?.enqueue(typeof piece === "string" ? new TextEncoder().encode(piece) : piece);
    return settle();
  }

  /** @param {object} value of a frame that is no message */
  event(value) {
    return this.push(`event: ${/** @type {any} */ (value).type}\ndata: ${JSON.stringify(value)}\n\n`);
  }

  /** Ends the stream. */
  finish() {
    this.#stream?.close();
    return settle();
  }
}

/** Lets everything happen that waits for nothing but its turn. */
export const settle = () => new Promise((resolve) => setImmediate(resolve));

/** @typedef {import("../src/environment.js").Environment} Environment */

/** @implements {Environment} */
export class FakeEnvironment {
  time = 1000;
  /** @type {Map<number, {at: number, callback: () => void}>} */
  timers = new Map();
  /** @type {FakeWebSocket[]} */
  connections = [];
  /** @type {unknown[]} */
  reported = [];
  /** @type {string[]} */
  warnings = [];
  /** @type {Set<(news: import("../src/environment.js").News) => void>} */
  watchers = new Set();
  /** @type {FakeRequest[]} Made by `fetch`. */
  requests = [];
  /** @type {{address: string, body: any}[]} */
  beacons = [];
  freeSlots = 4;
  /** @type {(() => void)[]} What to call when a slot is lost. */
  slotHolders = [];
  /** @type {Map<string, string>} What is kept over a reload. */
  kept = new Map();
  isOnline = true;
  isVisible = true;
  /** @type {Error | null} What the constructor of WebSocket throws. */
  refusal = null;

  #lastTimer = 0;
  #lastPage = 0;

  now = () => this.time;

  /** @type {(callback: () => void, delay: number) => number} */
  setTimeout = (callback, delay) => {
    assert.ok(delay >= 0 && delay < 2 ** 31, `${delay}: browsers take its last 32 bits`);
    this.timers.set(++this.#lastTimer, { at: this.time + delay, callback });
    return this.#lastTimer;
  };

  /** @type {(timer: number) => void} */
  clearTimeout = (timer) => void this.timers.delete(timer);

  /** The longest pause that jitter can give. */
  random = () => 1;

  pageId = () => `page${++this.#lastPage}`;

  base = () => "/_ah/channel/";

  pageAddress = () => "https://app.example.com/room?x=1";

  WebSocket = this.#webSocket();

  /** @type {(address: string, request?: RequestInit) => Promise<Response>} */
  fetch = (address, request = {}) => {
    const made = new FakeRequest(address, request);
    this.requests.push(made);
    return made.answer;
  };

  /** @type {Environment["beacon"]} */
  beacon = (address, body) => void this.beacons.push({ address, body: JSON.parse(body) });

  /** @type {Environment["slot"]} */
  slot = async (_server, lost) => {
    if (this.freeSlots === 0) return null;
    this.freeSlots -= 1;
    this.slotHolders.push(lost);
    return () => void (this.freeSlots += 1);
  };

  storage = () => ({
    getItem: (/** @type {string} */ key) => this.kept.get(key) ?? null,
    setItem: (/** @type {string} */ key, /** @type {string} */ value) => void this.kept.set(key, value),
  });

  /** @type {Environment["servers"]} */
  servers = {};

  online = () => this.isOnline;

  visible = () => this.isVisible;

  /** @type {Environment["watch"]} */
  watch = (events, hear) => {
    /** @param {import("../src/environment.js").News} news */
    const watcher = (news) => hear(events[news]);
    this.watchers.add(watcher);
    return () => void this.watchers.delete(watcher);
  };

  /** @type {(error: unknown) => void} */
  report = (error) => void this.reported.push(error);

  /** @type {(text: string) => void} */
  warn = (text) => void this.warnings.push(text);

  /** The latest connection. */
  get connection() {
    return this.connections[this.connections.length - 1];
  }

  /**
   * Lets time pass, with every timer at its moment.
   *
   * @param {number} milliseconds
   */
  advance(milliseconds) {
    const until = this.time + milliseconds;
    for (let timer = this.#nextTimer(until); timer; timer = this.#nextTimer(until)) {
      const [id, { at, callback }] = timer;
      this.time = at;
      this.timers.delete(id);
      callback();
    }
    this.time = until;
  }

  /** Lets the tasks run that are due now. */
  turn() {
    this.advance(0);
  }

  /**
   * Lets time pass as a computer that sleeps does: no timer runs.
   *
   * @param {number} milliseconds
   */
  sleep(milliseconds) {
    this.time += milliseconds;
    for (const timer of this.timers.values()) timer.at = Math.max(timer.at, this.time);
  }

  /** @param {import("../src/environment.js").News} news */
  tell(news) {
    for (const hear of [...this.watchers]) hear(news);
  }

  /** As the events that come when a page is shown again. */
  wake() {
    this.tell("wake");
  }

  /** As `beforeunload`. */
  leave() {
    this.tell("leaving");
  }

  /** The latest request. */
  get request() {
    return this.requests[this.requests.length - 1];
  }

  /**
   * Lets time pass, and what happens then.
   *
   * @param {number} [milliseconds]
   */
  async pass(milliseconds = 0) {
    const until = this.time + milliseconds;
    do {
      const next = this.#nextTimer(until);
      this.advance(next ? next[1].at - this.time : until - this.time);
      await settle();
    } while (this.time < until || this.#nextTimer(until));
  }

  /** @param {number} until */
  #nextTimer(until) {
    return [...this.timers].filter(([, { at }]) => at <= until).sort(([, a], [, b]) => a.at - b.at)[0];
  }

  #webSocket() {
    const environment = this;
    return class extends FakeWebSocket {
      /**
       * @param {string} address
       * @param {string[]} protocols
       */
      constructor(address, protocols) {
        if (environment.refusal) throw environment.refusal;
        super(address, protocols);
        environment.connections.push(this);
      }
    };
  }
}

/** Handlers that write down how they were called, in order. */
export function recorder() {
  /** @type {unknown[][]} */
  const calls = [];
  /** @type {Record<string, (event?: unknown) => void>} */
  const handlers = {};
  for (const name of ["onopen", "onmessage", "onerror", "onclose", "onreconnecting", "onreconnect", "ongap"]) {
    handlers[name] = (event) => void calls.push(event === undefined ? [name] : [name, event]);
  }
  return { calls, handlers };
}
