/**
 * Which transport comes next (contract, J4). Pure.
 *
 * An attempt begins at the top and goes down a rung whenever one fails to open. A lower rung is kept only because of
 * that, so a server that is away for a moment costs nobody the WebSocket. It is remembered, and the higher ones are
 * tried again from time to time: while it is remembered an attempt begins there.
 */

const FIRST_TRIAL = 60_000;
const LONGEST_PAUSE = 32 * FIRST_TRIAL;

/** @typedef {"websocket" | "sse" | "longpoll"} TransportName */

/** From the best to the one that gets through everywhere. */
export const TRANSPORTS = /** @type {const} */ (["websocket", "sse", "longpoll"]);

/**
 * @param {readonly TransportName[]} rungs
 * @param {import("./memory.js").Memory} memory
 */
export function createLadder(rungs, memory) {
  let rung = 0; // of the present attempt or connection
  let lost = false; // the last attempt failed on every rung: the network is not what it was
  let trials = 0;

  /**
   * Begins an attempt.
   *
   * @param {number} now
   */
  function begin(now) {
    const remembered = rungs.indexOf(/** @type {TransportName} */ (memory.transport));
    rung = lost || now >= due() ? 0 : Math.max(remembered, 0);
    return rungs[rung];
  }

  /** The rung has not opened. @returns {TransportName | undefined} the next one in this attempt */
  function down() {
    const next = rungs[++rung];
    lost = !next;
    return next;
  }

  /** @param {number} now */
  function opened(now) {
    lost = false;
    if (rung === 0) {
      memory.transport = memory.trialAt = memory.trialPause = undefined;
    } else {
      memory.transport = rungs[rung];
      postpone(now);
    }
    memory.save();
  }

  /**
   * The moment at which a higher rung is to be tried beside the connection. Beside polls, only before the next one goes
   * out, which waits for the end of the trial: on its way it might be overtaken, and take the place of what it tried.
   *
   * @param {boolean} [between] two polls
   */
  function trialAt(between) {
    return rung > 0 && (between || rungs[rung] !== "longpoll") ? due() : Infinity;
  }

  /** A higher rung, another one each time. */
  function trial() {
    return rungs[trials++ % rung];
  }

  /**
   * The trial becomes the connection, or the attempt when the connection is lost.
   *
   * @param {TransportName} transport
   */
  function take(transport) {
    rung = rungs.indexOf(transport);
  }

  /**
   * A higher rung has failed. The page's other sockets may have found that out just before, or the page remembers it.
   *
   * @param {number} now
   */
  function postpone(now) {
    if (now < due()) return;
    memory.trialPause = Math.min((memory.trialPause ?? FIRST_TRIAL / 2) * 2, LONGEST_PAUSE);
    memory.trialAt = now + memory.trialPause;
    memory.save();
  }

  function due() {
    return memory.trialAt ?? 0;
  }

  return { begin, down, opened, trialAt, trial, take, postpone };
}
