/**
 * The frames of the wire (contract, W2 and W3), as values. Pure.
 *
 * A message is `<id> <data>`; every other frame is a JSON object, so the first character tells them apart.
 */

/** @typedef {{type: "message", id: string, data: string}} Message What was sent to the page, with its id. */
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
 * @param {any} text
 * @returns {Message | Frame | {type?: undefined}} without a type if it is no frame
 */
export function parse(text) {
  try {
    if (text[0] === "{") return JSON.parse(text);
    const [, id, data] = text.match(/^([^ ]+) (.*)/s);
    return { type: "message", id, data };
  } catch {
    return {}; // a binary frame, say
  }
}

/**
 * Says that everything up to `id` was handed to `onmessage`.
 *
 * @param {string} id
 */
export function ack(id) {
  return { type: "ack", id };
}

/**
 * Says the same, and that the page goes.
 *
 * @param {string} id
 */
export function leave(id) {
  return { type: "leave", id };
}

/**
 * Hands in a fresh token.
 *
 * @param {string} token
 */
export function fresh(token) {
  return { type: "token", token };
}
