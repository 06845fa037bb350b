/**
 * What SSE and long-poll have in common (contract, W3 and W5): requests with the token in a header, frames that go up
 * by POST, refusals as problems, and a slot, since browsers open but six connections of HTTP/1.1 to a server.
 */

import { requestAddress, withQuery } from "../address.js";
import { ABNORMAL_CLOSURE } from "./websocket.js";

/** @typedef {import("./websocket.js").Transport} Transport */
/** @typedef {import("./websocket.js").Request} Request */
/** @typedef {import("../environment.js").Environment} Environment */
/** @typedef {Pick<Environment, "fetch" | "slot" | "setTimeout" | "now" | "random" | "visible">} World */
/** @typedef {ReturnType<typeof openHttp>} Http */
/** @typedef {{type: string, id?: string, token?: string}} FrameUp */

/**
 * @param {Request} request
 * @param {World} world
 * @param {(http: Http) => Promise<void>} run is all that happens; its return is the end of the connection
 * @param {(frame: FrameUp, http: Http) => void} up takes what is to go up, but for a leave
 */
export function openHttp({ address, token, page, after }, { fetch, slot, setTimeout }, run, up) {
  const url = requestAddress(address);

  const http = {
    /** @type {Transport["onmessage"]} */
    onmessage: null,
    /** @type {Transport["onclose"]} */
    onclose: null,
    token,
    /** The cursor. */
    after,
    over: false,
    /** The request under way. */
    asking: new AbortController(),
    /** @type {(() => void) | null} Gives the slot back, if there is one. */
    release: null,

    /** Makes sure that there is a slot. When it is lost the request under way ends. */
    async hold() {
      if (!http.release) {
        const release = await slot(url, () => {
          http.release = null;
          http.asking.abort();
        });
        if (http.over) release?.();
        else http.release = release;
      }
      return http.release;
    },

    /**
     * Asks for frames.
     *
     * @param {string} type
     * @param {Record<string, string>} [query]
     */
    ask(type, query) {
      http.asking = new AbortController();
      return request(withQuery(url, { page, after: http.after, ...query }), {
        headers: { Accept: type, Authorization: `Bearer ${http.token}` },
        cache: "no-store",
        signal: http.asking.signal,
      });
    },

    /** @param {FrameUp} frame */
    submit(frame) {
      // A text goes as text/plain, which needs no preflight. What a page says as it goes is not to end with it.
      const body = JSON.stringify({ token: http.token, page, ...frame });
      return request(url, { method: "POST", body, keepalive: true });
    },

    /** @param {string} text of a frame that has come */
    give(text) {
      if (!http.over) http.onmessage?.({ data: text });
    },

    /** @param {string} text */
    send(text) {
      const frame = JSON.parse(text);
      if (frame.type === "leave") http.submit(frame).catch(() => {});
      else up(frame, http);
    },

    /**
     * The connection has come to its end by itself.
     *
     * @param {number} code
     * @param {string} reason
     */
    finish(code, reason) {
      if (http.over) return;
      http.close();
      http.onclose?.({ code, reason });
    },

    close() {
      http.over = true;
      http.asking.abort();
      http.release?.();
    },
  };

  /**
   * A refusal is the end of the connection, and throws.
   *
   * @param {string} address
   * @param {RequestInit} options
   */
  async function request(address, options) {
    const response = await fetch(address, { ...options, credentials: "omit", redirect: "error" });
    if (response.ok) return response;
    // What the server itself says has a close code in it (contract, W8). Proxies and login pages do not know that.
    const { close_code } = await response.json();
    const seconds = Number(response.headers.get("Retry-After"));
    if (close_code > 0) http.finish(close_code, seconds > 0 ? `retry=${seconds * 1000}` : "");
    throw new Error();
  }

  // In a task of its own: nothing may be called in the one that opened it.
  setTimeout(async () => {
    try {
      if (!http.over) await run(http);
    } catch {
      // No network, no such server, or an answer from somebody else.
    }
    http.finish(ABNORMAL_CLOSURE, "");
  }, 0);

  return http;
}
