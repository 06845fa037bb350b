/**
 * How a page behaves when a server has turned one of its sockets away (contract, J6), shared by all its sockets. Pure.
 *
 * Many programs open a new socket in `onclose`, whatever the reason. Two pages that throw each other out would do so
 * for ever, and a refused token would be asked about without a pause. So the new socket waits where the old one's end
 * gives a reason to.
 */

import { ENDINGS } from "./codes.js";

/** After it was replaced a page stays away for so long, and until its user comes back to it … */
const RIVAL_PAUSE = 5000;
/** … and for twice as long each time, up to this. */
const LONGEST_RIVAL_PAUSE = 600_000;
/** A page that held its place for so long was no party to a fight. */
const HELD = 60_000;

/** The pause after the second error in a row; the first one is free, so that a fresh token is used at once. */
const ERROR_PAUSE = 1000;
const LONGEST_ERROR_PAUSE = 60_000;
/** A connection that lasted so long ends the row. */
const LASTED = 10_000;

/** More refused tokens than that need not be remembered: by then the pauses are long. */
const MOST_REFUSED = 100;

/** @typedef {import("./connection.js").SocketError} SocketError */

const REPLACED = ENDINGS[4409];

/** @param {import("./memory.js").Memory} memory */
export function createManners(memory) {
  let away = false; // until the user comes back
  /** @type {Map<unknown, SocketError>} */
  const refused = new Map();
  let errors = 0; // in a row
  let errorAt = 0;

  /**
   * What the server has said of a token, if it was no.
   *
   * @param {unknown} token
   */
  function verdict(token) {
    return refused.get(token);
  }

  /**
   * When a socket with this token may connect, or is told its verdict.
   *
   * @param {unknown} token
   */
  function moment(token) {
    if (away) return Infinity;
    const waits = errors - (refused.has(token) ? 0 : 1);
    const pause = Math.min(ERROR_PAUSE * 2 ** (waits - 1), LONGEST_ERROR_PAUSE);
    return Math.max(memory.rivalUntil ?? 0, waits > 0 ? errorAt + pause : 0);
  }

  /**
   * @param {unknown} token
   * @param {SocketError} error
   */
  function refuse(token, error) {
    if (refused.size === MOST_REFUSED) refused.clear();
    refused.set(token, error);
  }

  /**
   * A socket has ended with an error.
   *
   * @param {SocketError} error
   * @param {number} now
   */
  function ended(error, now) {
    if (error === REPLACED) {
      away = true;
      memory.rivalPause = Math.min((memory.rivalPause ?? RIVAL_PAUSE / 2) * 2, LONGEST_RIVAL_PAUSE);
      memory.rivalUntil = now + memory.rivalPause;
      memory.save();
    } else {
      errors += 1;
      errorAt = now;
    }
  }

  /**
   * A connection is over.
   *
   * @param {number} duration how long it was open
   */
  function lasted(duration) {
    if (duration >= LASTED) errors = 0;
    if (duration >= HELD) memory.rivalPause = undefined;
  }

  /** The user has come back to the page. */
  function returned() {
    away = false;
  }

  return { memory, verdict, moment, refuse, ended, lasted, returned };
}
