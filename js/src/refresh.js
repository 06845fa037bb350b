/** When to ask the program for a fresh token (contract, J5). Pure. */

/** Times are in milliseconds here, and in seconds in frames. */
const SECOND = 1000;

/**
 * The server says when a token is near its end. A page that slept through that, or had no connection, finds it out by
 * itself, a little later: a twentieth of the token's life before its end, at most half a minute.
 */
const LAST_PART = 1 / 20;
const LONGEST_LAST_PART = 30_000;

const FIRST_PAUSE = 1000;
const LONGEST_PAUSE = 30_000;

/** @param {boolean} able whether the program can give a fresh token */
export function createRefresh(able) {
  let asking = false;
  let pause = FIRST_PAUSE;

  // Moments.
  let nearAt = Infinity;
  let expiresAt = Infinity;
  let askAt = Infinity;

  /** The moment at which the program is to be asked. */
  function deadline() {
    return asking ? Infinity : askAt;
  }

  /**
   * Whether the token is too near its end to connect with.
   *
   * @param {number} now
   */
  function stale(now) {
    return now >= nearAt;
  }

  /**
   * The server has said how long the token is still good.
   *
   * @param {number} seconds
   * @param {number} now
   */
  function known(seconds, now) {
    const left = seconds * SECOND;
    expiresAt = now + left;
    if (able) nearAt = askAt = expiresAt - Math.min(left * LAST_PART, LONGEST_LAST_PART);
    pause = FIRST_PAUSE;
  }

  /**
   * The server has said that it is time. It may say so again: that neither shortens the pause after a call that failed,
   * nor asks for another token while a fresh one is on its way up.
   *
   * @param {number} now
   */
  function expiring(now) {
    if (pause === FIRST_PAUSE && nearAt < Infinity) askAt = now;
  }

  /** @returns {boolean} whether to ask now: one call at a time */
  function ask() {
    if (asking) return false;
    return (asking = true);
  }

  /** There is a fresh token. How long it is good is known when the server has seen it. */
  function succeeded() {
    asking = false;
    nearAt = askAt = Infinity;
  }

  /** @param {number} now */
  function failed(now) {
    asking = false;
    askAt = now + pause;
    pause = Math.min(pause * 2, LONGEST_PAUSE);
    if (askAt >= expiresAt) askAt = Infinity; // what the server says then decides
  }

  /** The moment after which there can be no good token. */
  function endsAt() {
    return able ? Infinity : expiresAt;
  }

  return { able, endsAt, deadline, stale, known, expiring, ask, succeeded, failed };
}
