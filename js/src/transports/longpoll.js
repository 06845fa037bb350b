/**
 * Long-poll as a transport (contract, W6): answers to frames.
 *
 * The next poll acknowledges. So each answer ends with a `ping`, and the `ack` that comes back is the word to poll
 * again. Without a slot nothing is held open: such a page asks every few seconds.
 */

import { openHttp } from "./http.js";

const SECOND = 1000;

/** An answer does not say how long the server waits for the next poll; this is the default there. */
const TIMEOUT = 10;

/** A page without a slot asks so often, or twice in a ping interval. */
const INTERVAL = 5;

/**
 * @typedef {object} Answer
 * @property {string} client_id
 * @property {string} cursor after its messages
 * @property {boolean} gap
 * @property {number} ping
 * @property {number} expires_in
 * @property {{id: string, data: string}[]} messages
 */

/**
 * @param {import("./websocket.js").Request} request
 * @param {import("./http.js").World} world
 * @returns {import("./websocket.js").Transport}
 */
export function openLongPoll(request, world) {
  /** @type {(value?: any) => void} */
  let goOn = () => {};

  const transport = openHttp(request, world, async (http) => {
    /** @type {Answer | undefined} */
    let first;
    let used = http.token;
    for (let wait = 0; !http.over; ) {
      const { token } = http;
      const since = world.now();
      const answer = await poll(wait);
      if (http.over) return;
      const acknowledged = new Promise((resolve) => (goOn = resolve));
      if (answer) {
        translate(answer, first, token !== used);
        first ??= answer;
        used = token;
      }
      if (!first) return; // whoever answers does not speak this wire
      give({ type: "ping" });
      await acknowledged;
      // A page that has a slot keeps it; one that has none tries for one when somebody looks at it.
      const held = (http.release || world.visible()) && (await http.hold(interrupt));
      const hasty = wait > 0 && !answer?.messages.length && world.now() - since < SECOND;
      if (!held || hasty) await pause(hasty ? 1 : Math.min(INTERVAL, first.ping / 2));
      wait = held ? first.ping : 0;
    }
  });

  /**
   * @param {number} wait
   * @returns {Promise<Answer | null>} null if there is nothing to say
   */
  async function poll(wait) {
    try {
      const response = await transport.get("application/json", { wait: String(wait) });
      return response.status === 204 ? null : await response.json();
    } catch (error) {
      if (transport.over || !transport.asking.signal.aborted) throw error;
      return null; // it was interrupted
    }
  }

  /**
   * @param {Answer} answer
   * @param {Answer | undefined} first
   * @param {boolean} renewed whether it is the first one to a fresh token
   */
  function translate({ client_id, cursor, gap, ping, expires_in, messages }, first, renewed) {
    const start = messages.length ? transport.after : cursor; // theirs is the one after the messages
    if (!first) give({ type: "open", client_id, cursor: start, gap, ping, timeout: TIMEOUT, expires_in });
    else if (gap) give({ type: "gap", cursor: start });
    for (const { id, data } of messages) give(`${id} ${data}`);
    if (renewed) give({ type: "token", expires_in });
    else if (first && expires_in <= Math.min(first.expires_in / 10, 60)) give({ type: "expiring", expires_in });
  }

  /** @param {object | string} frame */
  function give(frame) {
    if (!transport.over) transport.onmessage?.({ data: typeof frame === "string" ? frame : JSON.stringify(frame) });
  }

  /** @param {number} seconds and up to a quarter less, so that pages do not ask all at once */
  function pause(seconds) {
    const delay = seconds * SECOND * (1 - world.random() / 4);
    return new Promise((resolve) => world.setTimeout(/** @type {() => void} */ (resolve), delay));
  }

  /** The poll under way has to make room for another one. */
  function interrupt() {
    transport.asking.abort();
  }

  const { send } = transport;
  transport.send = (text) => {
    const { type, id, token } = JSON.parse(text);
    if (type === "ack") {
      transport.after = id;
      goOn();
    } else if (type === "token") {
      transport.token = token;
      interrupt(); // the old one may end before the poll does
    } else {
      send(text);
    }
  };
  return transport;
}
