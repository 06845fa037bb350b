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

const PING = '{"type":"ping"}';

/** A page without a slot asks so often, or twice in a ping interval. */
const INTERVAL = 5;

/** @typedef {import("./http.js").Http} Http */
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
  let goOn;

  return openHttp(
    request,
    world,
    async (http) => {
      /** @type {Answer | undefined} */
      let first;
      let used = http.token;
      for (let wait = 0; !http.over; ) {
        const { token } = http;
        const since = world.now();
        const answer = await poll(http, wait);
        const acknowledged = new Promise((resolve) => (goOn = resolve));
        if (answer) {
          translate(http, answer, first, token !== used);
          first ??= answer;
          used = token;
        }
        if (!first) return; // whoever answers does not speak this wire
        http.give(PING);
        await acknowledged;
        // A page that has a slot keeps it; one that has none tries for one when somebody looks at it.
        const held = (http.release || world.visible()) && (await http.hold());
        const hasty = wait && !answer?.messages.length && world.now() - since < SECOND;
        if (!held || hasty) await pause(hasty ? 1 : Math.min(INTERVAL, first.ping / 2));
        wait = held ? first.ping : 0;
      }
    },
    ({ id, token }, http) => {
      if (token) {
        http.token = token;
        http.asking.abort(); // the old one may end before the poll does
      } else {
        http.after = /** @type {string} */ (id);
        goOn();
      }
    },
  );

  /** @param {number} seconds and up to a quarter less, so that pages do not ask all at once */
  function pause(seconds) {
    const delay = seconds * SECOND * (1 - world.random() / 4);
    return new Promise((resolve) => world.setTimeout(/** @type {() => void} */ (resolve), delay));
  }
}

/**
 * @param {Http} http
 * @param {number} wait
 * @returns {Promise<Answer | null>} null if there is nothing to say, or somebody else wants to poll now
 */
async function poll(http, wait) {
  try {
    const response = await http.ask("application/json", { wait: `${wait}` });
    return response.status === 204 ? null : await response.json();
  } catch (error) {
    if (!http.asking.signal.aborted) throw error;
    return null;
  }
}

/**
 * @param {Http} http
 * @param {Answer} answer
 * @param {Answer | undefined} first
 * @param {boolean} renewed whether it is the first one to a fresh token
 */
function translate(http, { messages, ...values }, first, renewed) {
  const { gap, expires_in } = values;
  const cursor = messages.length ? http.after : values.cursor; // theirs is the one after the messages
  const give = (/** @type {object} */ frame) => http.give(JSON.stringify(frame));
  if (!first) give({ ...values, type: "open", cursor, timeout: TIMEOUT });
  else if (gap) give({ type: "gap", cursor });
  for (const { id, data } of messages) http.give(`${id} ${data}`);
  if (renewed) give({ type: "token", expires_in });
  else if (first && expires_in <= Math.min(first.expires_in / 10, 60)) give({ type: "expiring", expires_in });
}
