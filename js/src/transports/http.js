/**
 * What SSE and long-poll have in common (contract, W3 and W5): requests with the token in a header, frames that go up
 * by POST, refusals as problems, and a slot, since browsers open but six connections of HTTP/1.1 to a server.
 */

import { requestAddress, withQuery } from "../address.js";
import { posted } from "../frames.js";
import { ABNORMAL_CLOSURE } from "./websocket.js";

/** @typedef {import("./websocket.js").Transport} Transport */
/** @typedef {import("./websocket.js").Request} Request */
/** @typedef {import("../environment.js").Environment} Environment */
/** @typedef {Pick<Environment, "fetch" | "slot" | "setTimeout" | "now" | "random" | "visible">} World */
/** @typedef {ReturnType<typeof openHttp>} Http */

/**
 * @param {Request} request
 * @param {World} world
 * @param {(http: Http) => Promise<void>} run is all that happens; its return is the end of the connection
 */
export function openHttp({ address, token, page, after }, { fetch, slot, setTimeout }, run) {
  const url = requestAddress(address);
  /** @type {Map<string, string>} What waits to go up, by type: of each the latest counts. */
  const waiting = new Map();
  let posting = false;

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

    /**
     * Makes sure that there is a slot.
     *
     * @param {() => void} lost
     */
    async hold(lost) {
      if (http.release) return true;
      const release = await slot(url, () => {
        http.release = null;
        lost();
      });
      if (http.over) release?.();
      else http.release = release;
      return Boolean(http.release);
    },

    /**
     * Asks for frames. Any answer but the expected one is the end of the connection, and throws.
     *
     * @param {string} type
     * @param {Record<string, string>} query
     */
    async get(type, query) {
      http.asking = new AbortController();
      const response = await request(withQuery(url, { page, after: http.after, ...query }), {
        headers: { Accept: type, Authorization: `Bearer ${http.token}` },
        cache: "no-store",
        signal: http.asking.signal,
      });
      if (response.status !== 204 && !(response.status === 200 && isOf(response, type))) await refuse(response);
      return response;
    },

    /** @param {string} text */
    send(text) {
      const { type } = JSON.parse(text);
      if (type === "leave") {
        post(text).catch(() => {});
      } else {
        waiting.set(type, text);
        drain();
      }
    },

    /**
     * The connection has come to its end by itself.
     *
     * @param {number} code
     * @param {string} reason
     */
    end(code, reason) {
      if (http.over) return;
      http.close();
      http.onclose?.({ code, reason });
    },

    close() {
      http.over = true;
      http.asking.abort();
      http.release?.();
      http.release = null;
    },
  };

  /** One after the other, so that they arrive in order. */
  async function drain() {
    if (posting) return;
    posting = true;
    for (const [type, text] of waiting) {
      waiting.delete(type);
      if (type === "token") http.token = JSON.parse(text).token;
      try {
        const response = await post(text);
        if (!response.ok) await refuse(response);
      } catch {
        // The next connection brings the token. Acknowledgements are many.
        if (type === "token") http.end(ABNORMAL_CLOSURE, "");
      }
    }
    posting = false;
  }

  /** @param {string} text */
  function post(text) {
    return request(url, {
      method: "POST",
      headers: { "Content-Type": "text/plain" },
      body: posted(http.token, page, text),
      keepalive: true, // what a page says as it goes is not to end with it
    });
  }

  /**
   * @param {string} address
   * @param {RequestInit} options
   */
  function request(address, options) {
    return fetch(address, { ...options, credentials: "omit", redirect: "error" });
  }

  /**
   * What the server itself says has a close code in it (contract, W8). Proxies and login pages do not know that.
   *
   * @param {Response} response
   * @returns {Promise<never>}
   */
  async function refuse(response) {
    if (isOf(response, "application/problem+json")) {
      const { close_code } = await response.json();
      const seconds = Number(response.headers.get("Retry-After"));
      if (typeof close_code === "number") http.end(close_code, seconds > 0 ? `retry=${seconds * 1000}` : "");
    }
    throw new Error();
  }

  // In a task of its own: nothing may be called in the one that opened it.
  setTimeout(async () => {
    try {
      if (!http.over) await run(http);
    } catch {
      // No network, no such server, or an answer from somebody else.
    }
    http.end(ABNORMAL_CLOSURE, "");
  }, 0);

  return http;
}

/**
 * @param {Response} response
 * @param {string} type
 */
function isOf(response, type) {
  return response.headers.get("Content-Type")?.split(";")[0].trim().toLowerCase() === type;
}
