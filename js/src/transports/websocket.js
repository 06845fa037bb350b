/**
 * WebSocket as a transport (contract, W1).
 *
 * A transport is whatever has the shape of a WebSocket: `onmessage({data})` for each frame, `onclose({code, reason})`
 * once, `send(text)` and `close(code)`. Making one never throws, and nothing is called in the task that made it.
 */

import { withQuery } from "../address.js";

/**
 * @typedef {object} Transport
 * @property {((event: {data: unknown}) => void) | null} onmessage
 * @property {((event: {code: number, reason: string}) => void) | null} onclose
 * @property {(text: string) => void} send
 * @property {(code?: number) => void} close
 */
/**
 * @typedef {object} Request What every transport is made from.
 * @property {string} address
 * @property {string} token
 * @property {string} page
 * @property {string} after the cursor to resume from, if there is one
 */

/** The code of browsers for a connection that ended without one. */
export const ABNORMAL_CLOSURE = 1006;

const VERSION = "pushline.v1";

/**
 * @param {Request} request
 * @param {Pick<import("../environment.js").Environment, "WebSocket" | "setTimeout">} environment
 * @returns {Transport}
 */
export function openWebSocket({ address, token, page, after }, { WebSocket, setTimeout }) {
  try {
    const socket = new WebSocket(withQuery(address, { page, after }), [VERSION, `pushline.token.${token}`]);
    socket.onopen = () => {
      // Whoever answered does not speak this wire. Firefox opens all the same.
      if (socket.protocol !== VERSION) socket.close();
    };
    return socket;
  } catch (error) {
    // An https page that wants a ws: address, say. The text of the error may quote the token, its name does not.
    const reason = /** @type {Error} */ (error).name;
    /** @type {Transport} */
    const transport = { onmessage: null, onclose: null, send() {}, close() {} };
    setTimeout(() => transport.onclose?.({ code: ABNORMAL_CLOSURE, reason }), 0);
    return transport;
  }
}
