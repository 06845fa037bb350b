/**
 * The life of a socket: when to connect, what to tell the page, when to give up. Pure: what happens goes in by method,
 * always with the time; what has to be done about it comes out of `next()`; `deadline` names the moment at which
 * `tick()` wants to be called. There is no timer, no clock, no WebSocket and no randomness in here.
 *
 *            open()              open frame
 *   new ──────────────▶ connecting ─────────▶ open
 *    │                   ▲       │ failed      │ lost
 *    │ a token of    due │       ▼             ▼
 *    │ another shape     └──── waiting ◀───────┘
 *    │                           │ no connection for too long
 *    ▼      tick()               ▼
 *   ending ─────────────────▶ ended ◀──── a close code that ends the socket
 *     ▲
 *     └──── from any state: close()
 *
 * `ending` is there because no event may be delivered within `open()` or `close()`: it waits for the next tick.
 */

import { CLOSES } from "./codes.js";
import { ack, parse } from "./frames.js";

/** The states of a socket as the page sees them. A socket that reconnects stays OPEN, and none is ever CLOSING. */
export const ReadyState = Object.freeze({ CONNECTING: 0, OPEN: 1, CLOSING: 2, CLOSED: 3 });

/** @typedef {keyof import("./socket.js").Handlers} HandlerName */
/** @typedef {{code: number, description: string}} SocketError What `onerror` is told. */
/** @typedef {{code: number, reason: string}} Loss Why there is no connection; code 0: nothing came in time. */
/**
 * @typedef {{type: "connect", token: string, page: string, after: string}
 *   | {type: "send", text: string}
 *   | {type: "disconnect", code: 1000 | undefined}
 *   | {type: "tell", handler: HandlerName, event?: object}
 *   | {type: "warn", loss: Loss}
 *   | {type: "end"}} Effect
 * What the driver does next. `disconnect` is also the word to forget the connection: nothing that still comes over it
 * counts. After `end` there are only events left to tell.
 */

const SECOND = 1000;

/** A connection whose `open` frame has not come by then has failed (contract, J4). */
const OPEN_WITHIN = 4 * SECOND;
/** Acknowledgements are due within 5 s (contract, W4); the fifth is for the timer and the way. */
const ACK_WITHIN = 4 * SECOND;
/** The first pause is at most this long, each further one at most twice as long as the one before … */
const FIRST_PAUSE = 0.5 * SECOND;
/** … up to this. Pauses have full jitter, so that the pages of a restarted server do not come back all at once. */
const LONGEST_PAUSE = 30 * SECOND;
/** Pauses begin anew only after a connection that lasted: a server that accepts and fails is not to be hammered. */
const LASTED = 10 * SECOND;
/** A socket that never opened does not know when its token expires; no token lives longer than a day. */
const LONGEST_TOKEN = 24 * 3600 * SECOND;
/** So many failed attempts in a row are worth a word to the developer. */
const WARN_AFTER = 3;
/** See {@link ConnectionMachine.tick}. */
const LATE = 1 * SECOND;

/** What fits the token into a subprotocol and a header (contract, section 1). */
const TOKEN = /^[A-Za-z0-9._-]{1,1024}$/;

const PROTOCOL_ERROR = 4400;
const INVALID_TOKEN = 4401;
const NO_CONNECTION = { code: 503, description: "No+connection." };

export class ConnectionMachine {
  /** @type {number} */
  readyState = ReadyState.CONNECTING;

  /** @type {"new" | "connecting" | "open" | "waiting" | "ending" | "ended"} */
  #state = "new";
  /** @type {Effect[]} */
  #effects = [];

  #token;
  #page;
  #random;
  #giveUpAfter;

  #cursor = ""; // after which id the page goes on; known from the first `open` frame on
  /** @type {SocketError | null} What `ending` will tell. */
  #error = null;

  #attempt = 0; // reconnects since the last connection that lasted
  #failures = 0; // attempts in a row that did not open
  #warned = false;
  #late = false;
  #patience = 0; // the longest silence of an open connection

  // Moments.
  #openedAt = 0;
  #lostAt = 0;
  #connectAt = 0;
  #silentAt = 0;
  #ackAt = Infinity;
  #expiresAt = Infinity;

  /**
   * @param {object} options
   * @param {string} options.token
   * @param {string} options.page a random id of this socket
   * @param {number | undefined} options.giveUpAfter milliseconds without a connection
   * @param {() => number} options.random as Math.random
   */
  constructor({ token, page, giveUpAfter, random }) {
    this.#token = token;
    this.#page = page;
    this.#giveUpAfter = giveUpAfter;
    this.#random = random;
  }

  /** @returns {Effect | undefined} what has to be done, one after the other */
  next() {
    return this.#effects.shift();
  }

  /** The moment at which `tick()` has something to do, unless something else happens before. */
  get deadline() {
    switch (this.#state) {
      case "connecting":
        return this.#silentAt;
      case "open":
        return Math.min(this.#silentAt, this.#ackAt);
      case "waiting":
        return this.#failures > 0 ? Math.min(this.#connectAt, this.#giveUpAt) : this.#connectAt;
      case "ending":
        return -Infinity;
      default:
        return Infinity;
    }
  }

  /** @param {number} now */
  open(now) {
    this.#lostAt = now;
    if (typeof this.#token === "string" && TOKEN.test(this.#token)) {
      this.#connect(now);
    } else {
      this.#state = "ending";
      this.#error = CLOSES[INVALID_TOKEN].onerror;
    }
  }

  /** The page has had enough. */
  close() {
    if (this.readyState === ReadyState.CLOSED) return;
    this.readyState = ReadyState.CLOSED;
    // A handler may close the socket while there are still events to tell: they are not wanted any more.
    this.#effects = [];
    this.leaving();
    if (this.#state === "open" || this.#state === "connecting") this.#disconnect(1000);
    this.#state = "ending";
    this.#error = null;
  }

  /** The page may be about to go: what was handed on is acknowledged while there is a connection to say it on. */
  leaving() {
    if (this.#state === "open" && this.#ackAt < Infinity) this.#acknowledge();
  }

  /**
   * A frame came over the connection.
   *
   * @param {unknown} text
   * @param {number} now
   */
  receive(text, now) {
    const frame = parse(text);
    if (this.#state === "connecting") {
      if (frame && "type" in frame && frame.type === "open") this.#opened(frame, now);
    } else if (this.#state === "open") {
      this.#received(frame, now);
    }
  }

  /**
   * @param {ReturnType<typeof parse>} frame
   * @param {number} now
   */
  #received(frame, now) {
    this.#expect(now + this.#patience);
    if (!frame) return;
    if (!("type" in frame)) {
      // The cursor moves before the handler runs: a handler that throws does not get its message again.
      this.#cursor = frame.id;
      this.#ackAt = Math.min(this.#ackAt, now + ACK_WITHIN);
      this.#tell("onmessage", { data: frame.data });
    } else if (frame.type === "ping") {
      this.#acknowledge();
    } else if (frame.type === "gap") {
      this.#cursor = frame.cursor;
      this.#tell("ongap");
    }
  }

  /**
   * The connection was closed, or none came about.
   *
   * @param {number} code
   * @param {string} reason
   * @param {number} now
   */
  closed(code, reason, now) {
    if (this.#state !== "connecting" && this.#state !== "open") return;
    const known = CLOSES[code];
    if (known ? known.ends : code >= 4400 && code <= 4499) {
      this.#end((known ?? CLOSES[PROTOCOL_ERROR]).onerror);
    } else {
      this.#lose({ code, reason }, now);
    }
  }

  /**
   * Time has passed. May be called at any moment, and is by whatever wakes the page up: its timers are late after a
   * sleep, in a hidden page and while a script is busy.
   *
   * A timer that fires late has overtaken what came over the connection meanwhile, which is queued behind it. So a
   * silence that is found late is given a moment more before it counts.
   *
   * @param {number} now
   */
  tick(now) {
    if (this.#state === "ending") {
      this.#end(this.#error);
    } else if (this.#state === "waiting") {
      if (this.#failures > 0 && now >= this.#giveUpAt) this.#end(NO_CONNECTION);
      else if (now >= this.#connectAt) this.#connect(now);
    } else if (this.#state === "connecting" || this.#state === "open") {
      if (now >= this.#ackAt) this.#acknowledge();
      if (now >= this.#silentAt + LATE && !this.#late) {
        this.#late = true;
        this.#silentAt = now + LATE;
      } else if (now >= this.#silentAt) {
        this.#disconnect(undefined);
        this.#lose({ code: 0, reason: "" }, now);
      }
    }
  }

  /** @param {number} now */
  #connect(now) {
    this.#state = "connecting";
    this.#ackAt = Infinity; // the cursor that it resumes with acknowledges
    this.#expect(now + OPEN_WITHIN);
    this.#effects.push({ type: "connect", token: this.#token, page: this.#page, after: this.#cursor });
  }

  /**
   * @param {import("./frames.js").Open} frame
   * @param {number} now
   */
  #opened(frame, now) {
    const first = this.readyState === ReadyState.CONNECTING;
    this.readyState = ReadyState.OPEN;
    this.#state = "open";
    this.#failures = 0;
    this.#openedAt = now;
    this.#cursor = frame.cursor;
    this.#expiresAt = now + frame.expires_in * SECOND;
    this.#patience = (frame.ping + frame.timeout) * SECOND;
    this.#expect(now + this.#patience);
    this.#tell(first ? "onopen" : "onreconnect");
    if (frame.gap) this.#tell("ongap");
  }

  /** @param {number} moment by which something has to have come */
  #expect(moment) {
    this.#silentAt = moment;
    this.#late = false;
  }

  #acknowledge() {
    this.#ackAt = Infinity;
    this.#effects.push({ type: "send", text: ack(this.#cursor) });
  }

  /**
   * There is no connection any more, and there shall be one.
   *
   * @param {Loss} loss
   * @param {number} now
   */
  #lose(loss, now) {
    if (this.#state === "open") {
      this.#lostAt = now;
      if (now - this.#openedAt >= LASTED) this.#attempt = 0;
    } else {
      this.#failures += 1;
      if (now >= this.#giveUpAt) return this.#end(NO_CONNECTION);
    }
    this.#attempt += 1;
    const delay = retryIn(loss.reason) ?? this.#pause();
    this.#state = "waiting";
    this.#connectAt = now + delay;
    if (this.#failures === WARN_AFTER && !this.#warned) {
      this.#warned = true;
      this.#effects.push({ type: "warn", loss });
    }
    this.#tell("onreconnecting", { attempt: this.#attempt, delay });
  }

  #pause() {
    return Math.floor(this.#random() * Math.min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** (this.#attempt - 1)));
  }

  /**
   * When a socket without a connection is finished. It counts only once an attempt has failed: a computer that slept
   * through the end of its token still asks, and hears from the server that the token timed out.
   */
  get #giveUpAt() {
    if (this.#giveUpAfter !== undefined) return this.#lostAt + this.#giveUpAfter;
    return Math.min(this.#expiresAt, this.#lostAt + LONGEST_TOKEN);
  }

  /** @param {SocketError | null} error */
  #end(error) {
    this.readyState = ReadyState.CLOSED;
    this.#state = "ended";
    this.#effects.push({ type: "end" });
    if (error) this.#tell("onerror", error);
    this.#tell("onclose");
  }

  /** @param {1000 | undefined} code */
  #disconnect(code) {
    this.#effects.push({ type: "disconnect", code });
  }

  /**
   * @param {HandlerName} handler
   * @param {object} [event]
   */
  #tell(handler, event) {
    this.#effects.push({ type: "tell", handler, event });
  }
}

/**
 * The pause that the server asks for in a close reason: `retry=<ms>` (contract, W8).
 *
 * @param {string} reason
 */
function retryIn(reason) {
  const match = /^retry=(\d+)$/.exec(reason);
  return match ? Number(match[1]) : undefined;
}
