/** Time, chance and network of the tests: what happens is what a test says, when it says so. */

/** The WebSocket of a {@link FakeEnvironment}: the test plays the server. */
export class FakeWebSocket {
  /** @type {((event: {data: unknown}) => void) | null} */
  onmessage = null;
  /** @type {((event: {code: number, reason: string}) => void) | null} */
  onclose = null;
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
    this.serve(openFrame(values));
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
  /** @type {Set<{wake: () => void, leaving: () => void}>} */
  watchers = new Set();
  /** @type {Error | null} What the constructor of WebSocket throws. */
  refusal = null;

  #lastTimer = 0;
  #lastPage = 0;

  now = () => this.time;

  /** @type {(callback: () => void, delay: number) => number} */
  setTimeout = (callback, delay) => {
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

  /** @type {(wake: () => void, leaving: () => void) => () => void} */
  watch = (wake, leaving) => {
    const watcher = { wake, leaving };
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

  /** As the events that come when a page is shown again. */
  wake() {
    for (const watcher of [...this.watchers]) watcher.wake();
  }

  /** As `beforeunload`. */
  leave() {
    for (const watcher of [...this.watchers]) watcher.leaving();
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
