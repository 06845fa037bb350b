/**
 * The life of a socket: when to connect, what to tell the page, when to give up. Pure: what happens goes in by method,
 * always with the time; what has to be done about it comes out of `next()`; `deadline` names the moment at which
 * `tick()` wants to be called. There is no timer, no clock, no network and no randomness in here.
 *
 *        open(), or tick()    open frame
 *   held ─────────▶ connecting ─────────▶ open
 *    │               ▲      │ failed on    │ lost
 *    │               │ due  ▼ every rung   ▼
 *    │               └─── waiting ◀────────┘
 *    │                      │ no connection for too long
 *    │ refused              ▼
 *    └──────────────────▶ ended ◀──── a close code that ends the socket
 *                          ▲
 *   ending ────────────────┘ tick()
 *     ▲
 *     └──── from any state: close()
 *
 * Two more states stand between a connection and the next one: `renewing` waits for a fresh token before it connects,
 * `suspended` for a page to be shown again that was left. `ending` and `held` are there because no event may be
 * delivered within `open()` or `close()`: they wait for a tick.
 *
 * Connections have numbers. Beside the one that it uses, an open socket may have a trial: an attempt at a better
 * transport. The server lets the trial take over; messages that came over both are handed on once, and none is
 * acknowledged meanwhile: that would let go of what the trial has asked for.
 */

import { ENDINGS } from "./codes.js";
import { ack, fresh, leave, parse } from "./frames.js";

/** The states of a socket as the page sees them. A socket that reconnects stays OPEN, and none is ever CLOSING. */
export const ReadyState = Object.freeze({ CONNECTING: 0, OPEN: 1, CLOSING: 2, CLOSED: 3 });

/** @typedef {keyof import("./socket.js").Handlers} HandlerName */
/** @typedef {import("./ladder.js").TransportName} TransportName */
/** @typedef {{code: number, description: string}} SocketError What `onerror` is told. */
/**
 * @typedef {{code: number, reason?: string, retry: number}} Loss
 *   Why there is no connection; code 0: nothing came in time. `retry` is the pause that the server has asked for, or NaN.
 */
/**
 * @typedef {[type: "connect", connection: number, how: TransportName, {token: string, page: string, after: string}]
 *   | [type: "send", connection: number, frame: object]
 *   | [type: "disconnect", connection: number, code?: 1000]
 *   | [type: "post", body: object]
 *   | [type: "refresh"]
 *   | [type: "tell", handler: HandlerName, event?: object]
 *   | [type: "warn", loss: Loss]
 *   | [type: "end"]} Effect
 * What the driver does next. `post` sends even though the page goes. `refresh` asks the program for a fresh token, and
 * is answered by `refreshed()`. After `end` there are only events left to tell.
 */

/** Times are in milliseconds here, and in seconds in frames. */
const SECOND = 1000;

/** A connection whose `open` frame has not come by then has failed (contract, J4). */
const OPEN_WITHIN = 4000;
/** Acknowledgements are due within 5 s (contract, W4); the fifth is for the timer and the way. */
const ACK_WITHIN = 4000;
/** The first pause is at most this long, each further one at most twice as long as the one before … */
const FIRST_PAUSE = 500;
/** … up to this. Pauses have full jitter, so that the pages of a restarted server do not come back all at once. */
const LONGEST_PAUSE = 30_000;
/** Pauses begin anew only after a connection that lasted: a server that accepts and fails is not to be hammered. */
const LASTED = 10_000;
/** A socket that never opened does not know when its token expires; no token lives longer than a day. */
const LONGEST_TOKEN = 86_400_000;
/** A program that is asked for a fresh token before a connection may keep it waiting for so long. */
const RENEW_WITHIN = 10_000;
/** So many failed attempts in a row are worth a word to the developer. */
const WARN_AFTER = 3;
/** See {@link tick}. */
const LATE = 1000;

/** What fits the token into a subprotocol and a header (contract, section 1). */
const TOKEN = /^[\w.-]{1,1024}$/;

const GOING_AWAY = 1001;
const INTERNAL_ERROR = 1011;
const PROTOCOL_ERROR = 4400;
const INVALID_TOKEN = 4401;
const TOKEN_EXPIRED = 4408;
const NO_CONNECTION = { code: 503, description: "No+connection." };

// The states drawn above. Up to ENDING a socket is closed. From CONNECTING on it is with the server, or about to be: it
// has a place to leave. In CONNECTING and OPEN, and in no other, there is a `current` connection; in OPEN alone there may
// be a `trial`.
const ENDED = 0;
const ENDING = 1;
const HELD = 2;
const RENEWING = 3;
const SUSPENDED = 4;
const CONNECTING = 5;
const OPEN = 6;
const WAITING = 7;

/** @param {unknown} token @returns {token is string} */
const wellFormed = (token) => typeof token === "string" && TOKEN.test(token);

/**
 * @param {object} options
 * @param {string} options.token
 * @param {string} options.page a random id of this socket
 * @param {number | undefined} options.giveUpAfter milliseconds without a connection
 * @param {ReturnType<typeof import("./refresh.js").createRefresh>} options.refresh
 * @param {ReturnType<typeof import("./ladder.js").createLadder>} options.ladder
 * @param {ReturnType<typeof import("./manners.js").createManners>} options.manners
 * @param {Pick<import("./environment.js").Environment, "random" | "online">} environment
 */
export function createMachine({ token, page, giveUpAfter, refresh, ladder, manners }, { random, online }) {
  let state = HELD;
  let begun = false; // the page was told `onopen`
  let now = 0; // the moment of the event that is under way
  /** @type {Effect[]} */
  let effects = [];

  let cursor = ""; // after which id the page goes on; known from the first `open` frame on
  /** @type {SocketError | null} What the end will tell: that of `ending`, or of `renewing` when there is no token. */
  let error = null;

  // Connections, by number; 0 is none.
  let last = 0;
  let current = 0;
  let trial = 0;
  /** @type {TransportName} */
  let trialTransport;
  /** @type {Set<string>} The messages that came while a trial was under way: it may bring them again. */
  const doubles = new Set();
  let owing = false; // an acknowledgement waits for the end of the trial

  let known = token; // the one that the server knows the connection by
  let lastChance = false; // a fresh token stands in for one that has expired, and has not been accepted yet

  let attempt = 0; // reconnects since the last connection that lasted
  let pauses = 0; // those before which the pause was its own choice, not the server's
  let failures = 0; // attempts in a row that did not open
  /** @type {Loss | null} Why the best transport of this attempt has failed. */
  let firstLoss = null;
  let asked = false; // the server has named the pause
  let away = false; // the page was told that there is no connection
  let warned = false;
  let late = false;
  let patience = 0; // the longest silence of an open connection

  // Moments.
  let openedAt = 0;
  let lostAt = 0;
  let connectAt = 0;
  let silentAt = 0;
  let trialUntil = 0;
  let ackAt = Infinity;

  /** The moment at which `tick()` has something to do, unless something else happens before. */
  function deadline() {
    switch (state) {
      case HELD:
        return manners.moment(token);
      case RENEWING:
        return connectAt;
      case CONNECTING:
        return silentAt;
      case OPEN:
        return Math.min(silentAt, ackAt, trial ? trialUntil : ladder.trialAt(), refresh.deadline());
      case WAITING:
        return Math.min(connectAt, giveUpAt());
      case ENDING:
        return 0;
      default:
        return Infinity;
    }
  }

  // -- what the page does ----------------------------------------------------------------------------------------

  /** @param {number} time */
  function open(time) {
    now = time;
    if (!verdict()) tick(now);
  }

  /** The page has had enough. */
  function close() {
    if (state <= ENDING) return;
    // A handler may close the socket while there are still events to tell: they are not wanted any more.
    effects = [];
    if (state === OPEN) send(leave(cursor));
    disconnect(1000);
    state = ENDING;
    error = null;
  }

  /** The page may be about to go: what was handed on is acknowledged while there is a connection to say it on. */
  function leaving() {
    if (state === OPEN && ackAt < Infinity) acknowledge();
  }

  /** The page goes, perhaps into the back/forward cache: no connection may keep it out of there. */
  function gone() {
    if (state < CONNECTING) return;
    effects.push(["post", { token, page, ...leave(cursor) }]);
    disconnect(1000);
    state = SUSPENDED;
  }

  /**
   * The page is shown again, whether it was gone or not.
   *
   * @param {number} time
   */
  function shown(time) {
    now = time;
    if (state === SUSPENDED) {
      lostAt = now;
      if (begun) tellReconnecting(0);
      reach();
    } else {
      wake(now);
    }
  }

  /**
   * The page may have slept, or there may be a network again: an attempt has better chances than before.
   *
   * @param {number} time
   */
  function wake(time) {
    now = time;
    tick(now);
    if (state === WAITING && !asked) {
      connectAt = Math.min(connectAt, now + random() * FIRST_PAUSE);
    }
  }

  /**
   * The user has come back to the page.
   *
   * @param {number} time
   */
  function returned(time) {
    manners.returned();
    wake(time);
  }

  /**
   * The program was asked for a fresh token.
   *
   * @param {number} time
   * @param {unknown} given anything but a fresh token is as good as an error
   */
  function refreshed(time, given) {
    now = time;
    const good = wellFormed(given) && given !== token && !manners.verdict(given);
    if (good) {
      token = given;
      refresh.succeeded();
    } else {
      refresh.failed(now);
    }
    if (state === RENEWING) renewed(good);
    else if (state === OPEN && good) send(fresh(token));
  }

  // -- what comes over a connection ------------------------------------------------------------------------------

  /**
   * A frame came.
   *
   * @param {number} time
   * @param {number} connection
   * @param {unknown} text
   */
  function receive(time, connection, text) {
    now = time;
    const frame = parse(text);
    if (connection === current && state === OPEN) received(frame);
    else if (frame.type !== "open") return;
    else if (connection === current) opened(frame);
    else if (connection === trial) promoted(frame);
  }

  /** @param {ReturnType<typeof parse>} frame */
  function received(frame) {
    expect(now + patience);
    if (frame.type === "message") {
      // The cursor moves before the handler runs: a handler that throws does not get its message again.
      cursor = frame.id;
      ackAt = Math.min(ackAt, now + ACK_WITHIN);
      if (doubles.delete(frame.id)) return;
      if (trial) doubles.add(frame.id);
      tell("onmessage", { data: frame.data });
    } else if (frame.type === "ping") {
      tryBetter(true);
      acknowledge();
    } else if (frame.type === "gap") {
      cursor = frame.cursor;
      tell("ongap");
    } else if (frame.type === "expiring") {
      refresh.expiring(now);
      tickOpen();
    } else if (frame.type === "token") {
      known = token;
      expires(frame.expires_in);
    }
  }

  /**
   * A connection was closed, or did not come about.
   *
   * @param {number} time
   * @param {number} connection
   * @param {number} code
   * @param {string} reason
   */
  function closed(time, connection, code, reason) {
    now = time;
    if (connection === trial) return tried();
    if (connection !== current) return;
    current = 0;
    const loss = { code, reason, retry: retryIn(reason) };
    if (code >= 4400 && code <= 4499) refused(code, ENDINGS[code] ?? ENDINGS[PROTOCOL_ERROR]);
    // When the server itself says so, the way to it is free.
    else if (code > 4499 || code === GOING_AWAY || code === INTERNAL_ERROR || loss.retry >= 0) lose(loss);
    else failed(loss);
  }

  // -- time ------------------------------------------------------------------------------------------------------

  /**
   * Time has passed. May be called at any moment, and is by whatever wakes the page up: its timers are late after a
   * sleep, in a hidden page and while a script is busy.
   *
   * A timer that fires late has overtaken what came over the connection meanwhile, which is queued behind it. So a
   * silence that is found late is given a moment more before it counts.
   *
   * @param {number} time
   */
  function tick(time) {
    now = time;
    if (now < deadline()) return;
    switch (state) {
      case ENDING:
        return end(error);
      case HELD: {
        const refusal = verdict();
        lostAt = now;
        return refusal ? end(refusal) : reach();
      }
      case RENEWING:
        return renewed(false);
      case WAITING:
        return now >= giveUpAt() ? end(NO_CONNECTION) : reach();
      case OPEN:
        tickOpen();
    }
    if (now >= silentAt + LATE && !late) {
      late = true;
      silentAt = now + LATE;
    } else if (now >= silentAt) {
      drop(current);
      current = 0;
      failed({ code: 0, retry: NaN });
    }
  }

  function tickOpen() {
    if (now >= ackAt) acknowledge();
    if (now >= refresh.deadline()) ask();
    if (trial && now >= trialUntil) {
      drop(trial);
      tried();
    }
    tryBetter();
  }

  /** @param {number} moment by which something has to have come */
  function expect(moment) {
    silentAt = moment;
    late = false;
  }

  // -- connecting ------------------------------------------------------------------------------------------------

  /** Begins an attempt, with a token that is good for it. */
  function reach() {
    firstLoss = null;
    if (refresh.stale(now)) renew(null);
    else connect(ladder.begin(now));
  }

  /** @param {TransportName} transport */
  function connect(transport) {
    state = CONNECTING;
    ackAt = Infinity; // the cursor that it resumes with acknowledges
    known = token;
    expect(now + OPEN_WITHIN);
    current = dial(transport);
  }

  /** @param {TransportName} transport */
  function dial(transport) {
    effects.push(["connect", ++last, transport, { token, page, after: cursor }]);
    return last;
  }

  /** @param {import("./frames.js").Open} frame */
  function opened(frame) {
    state = OPEN;
    failures = 0;
    openedAt = now;
    ladder.opened(now);
    firstLoss = null;
    if (!begun) tell("onopen");
    else if (away) tell("onreconnect");
    begun = true;
    away = false;
    begin(frame);
  }

  /**
   * What every `open` frame says.
   *
   * @param {import("./frames.js").Open} frame
   */
  function begin(frame) {
    cursor = frame.cursor;
    patience = (frame.ping + frame.timeout) * SECOND;
    expect(now + patience);
    if (known !== token) send(fresh(token));
    else expires(frame.expires_in);
    if (frame.gap) tell("ongap");
  }

  /** @param {number} seconds */
  function expires(seconds) {
    lastChance = false;
    refresh.known(seconds, now);
  }

  /**
   * There is no answer on the way that was tried: the next one down, or a pause.
   *
   * @param {Loss} loss
   */
  function failed(loss) {
    firstLoss ??= loss;
    if (trial) {
      ladder.take(trialTransport);
      current = trial;
      trial = 0;
      over();
      state = CONNECTING;
      return expect(trialUntil);
    }
    const transport = state === CONNECTING && ladder.down();
    if (transport) connect(transport);
    else lose(firstLoss);
  }

  /**
   * There is no connection any more, and there shall be one.
   *
   * @param {Loss} loss
   */
  function lose(loss) {
    const connected = online();
    if (state === OPEN) {
      over();
    } else {
      failures += 1;
      if (now >= giveUpAt()) return end(NO_CONNECTION);
    }
    disconnect();
    asked = loss.retry >= 0;
    const delay = asked ? loss.retry : connected ? pause() : LONGEST_PAUSE;
    state = WAITING;
    connectAt = now + delay;
    if (failures >= WARN_AFTER && connected && !warned) {
      warned = true;
      effects.push(["warn", loss]);
    }
    tellReconnecting(delay);
  }

  /** @param {number} delay */
  function tellReconnecting(delay) {
    away = true;
    tell("onreconnecting", { attempt: ++attempt, delay });
  }

  /** The open connection is no more. */
  function over() {
    lostAt = now;
    manners.lasted(now - openedAt);
    if (now - openedAt >= LASTED) attempt = pauses = 0;
  }

  function pause() {
    return Math.floor(random() * Math.min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** pauses++));
  }

  // -- a better transport ----------------------------------------------------------------------------------------

  /**
   * Begins a trial when one is due.
   *
   * @param {boolean} [asked] whether the server has just asked for an acknowledgement
   */
  function tryBetter(asked) {
    if (trial || now < ladder.trialAt(asked)) return;
    trialTransport = ladder.trial();
    trialUntil = now + OPEN_WITHIN;
    doubles.clear();
    trial = dial(trialTransport);
  }

  /** @param {import("./frames.js").Open} frame */
  function promoted(frame) {
    drop(current);
    current = trial;
    trial = 0;
    owing = false;
    ladder.take(trialTransport);
    ladder.opened(now);
    begin(frame);
  }

  /** The trial has failed. */
  function tried() {
    trial = 0;
    ladder.postpone(now);
    if (owing) acknowledge();
  }

  // -- a fresh token ---------------------------------------------------------------------------------------------

  function ask() {
    if (refresh.ask()) effects.push(["refresh"]);
  }

  /**
   * Waits for a fresh token.
   *
   * @param {SocketError | null} otherwise the end of the socket without one; null: it connects with what it has
   */
  function renew(otherwise) {
    state = RENEWING;
    error = otherwise;
    connectAt = now + RENEW_WITHIN;
    ask();
  }

  /** @param {boolean} good */
  function renewed(good) {
    const refusal = good ? null : (error ?? verdict());
    if (refusal) end(refusal);
    else connect(ladder.begin(now));
  }

  // -- the end ---------------------------------------------------------------------------------------------------

  /**
   * The server has ended the connection, and with it the socket, unless a fresh token can help.
   *
   * @param {number} code
   * @param {SocketError} refusal
   */
  function refused(code, refusal) {
    const wasOpen = state === OPEN;
    if (wasOpen) over();
    const spent = code === TOKEN_EXPIRED ? known : token;
    if (refusal.code === 401) manners.refuse(spent, refusal);
    if (code !== TOKEN_EXPIRED || !refresh.able || lastChance) return end(refusal);
    lastChance = true;
    disconnect();
    if (wasOpen) tellReconnecting(0);
    // A fresh one may have been on its way up when the old one expired.
    if (spent !== token) reach();
    else renew(refusal);
  }

  /** @param {SocketError | null} reason */
  function end(reason) {
    disconnect();
    state = ENDED;
    effects.push(["end"]);
    if (reason) {
      manners.ended(reason, now);
      tell("onerror", reason);
    }
    tell("onclose");
  }

  /** What is already known of the token. */
  function verdict() {
    return wellFormed(token) ? manners.verdict(token) : ENDINGS[INVALID_TOKEN];
  }

  /**
   * When a socket without a connection is finished. It counts only once an attempt has failed: a computer that slept
   * through the end of its token still asks, and hears from the server that the token timed out.
   */
  function giveUpAt() {
    if (!failures) return Infinity;
    if (giveUpAfter !== undefined) return lostAt + giveUpAfter;
    return Math.min(refresh.endsAt(), lostAt + LONGEST_TOKEN);
  }

  // -- effects ---------------------------------------------------------------------------------------------------

  function acknowledge() {
    ackAt = Infinity;
    owing = trial > 0;
    if (!owing) send(ack(cursor));
  }

  /** @param {object} frame */
  function send(frame) {
    effects.push(["send", current, frame]);
  }

  /**
   * Ends all connections, and forgets them: nothing that still comes over them counts.
   *
   * @param {1000} [code]
   */
  function disconnect(code) {
    drop(current, code);
    drop(trial, code);
    current = trial = 0;
    owing = false;
  }

  /**
   * @param {number} connection
   * @param {1000} [code]
   */
  function drop(connection, code) {
    if (connection) effects.push(["disconnect", connection, code]);
  }

  /**
   * @param {HandlerName} handler
   * @param {object} [event]
   */
  function tell(handler, event) {
    effects.push(["tell", handler, event]);
  }

  return {
    open,
    close,
    leaving,
    gone,
    shown,
    wake,
    returned,
    refreshed,
    receive,
    closed,
    tick,
    deadline,
    /** @returns {Effect | undefined} what has to be done, one after the other */
    next: () => effects.shift(),
    readyState: () => (state <= ENDING ? ReadyState.CLOSED : begun ? ReadyState.OPEN : ReadyState.CONNECTING),
  };
}

/**
 * The pause that the server asks for in a close reason: `retry=<ms>` (contract, W8).
 *
 * @param {string} reason
 * @returns {number} NaN when it names none
 */
function retryIn(reason) {
  return Number(/^retry=(\d+)$/.exec(reason)?.[1]);
}
