/**
 * The frames of the wire (contract, W2 and W3): texts to values and back. Pure.
 *
 * A message is `<id> <data>`; every other frame is a JSON object, so the first character tells them apart.
 */

/** @typedef {{type?: undefined, id: string, data: string}} Message What was sent to the page, with its id. */
/**
 * @typedef {object} Open The first frame of a connection; its times are in seconds.
 * @property {"open"} type
 * @property {string} client_id
 * @property {string} cursor
 * @property {boolean} gap
 * @property {number} ping
 * @property {number} timeout
 * @property {number} expires_in
 */
/** @typedef {{type: "gap", cursor: string}} Gap */
/** @typedef {{type: "ping"}} Ping */
/** @typedef {{type: "expiring", expires_in: number}} Expiring The token ends in so many seconds. */
/** @typedef {{type: "token", expires_in: number}} TokenTaken The fresh token is good for so many seconds. */
/**
 * @typedef {Open | Gap | Ping | Expiring | TokenTaken} Frame
 *   The frames that a page acts on; it may get others and ignores them.
 */

/**
 * Reads what came over a connection.
 *
 * @param {unknown} text
 * @returns {Message | Frame | null} null for what this version of the wire does not know
 */
export function parse(text) {
  if (typeof text !== "string") return null; // a binary frame
  if (text[0] === "{") {
    try {
      const frame = JSON.parse(text);
      return typeof frame.type === "string" ? frame : null;
    } catch {
      return null;
    }
  }
  const space = text.indexOf(" ");
  return space > 0 ? { id: text.slice(0, space), data: text.slice(space + 1) } : null;
}

/**
 * Says that everything up to `id` was handed to `onmessage`.
 *
 * @param {string} id
 */
export function ack(id) {
  return JSON.stringify({ type: "ack", id });
}

/**
 * Says the same, and that the page goes.
 *
 * @param {string} id
 */
export function leave(id) {
  return JSON.stringify({ type: "leave", id });
}

/**
 * Hands in a fresh token.
 *
 * @param {string} token
 */
export function fresh(token) {
  return JSON.stringify({ type: "token", token });
}

/**
 * The body by which a frame goes up where the connection itself goes down only. A fresh token speaks for itself: it
 * takes the place of the other.
 *
 * @param {string} token
 * @param {string} page
 * @param {string} frame
 */
export function posted(token, page, frame) {
  return JSON.stringify({ token, page, ...JSON.parse(frame) });
}
