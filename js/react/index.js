/**
 * A channel as a hook of React.
 *
 * ```jsx
 * import { useChannel } from "pushline/react";
 *
 * function Board({ token }) {
 *   const [moves, setMoves] = useState([]);
 *   const { status } = useChannel(token, { onmessage: ({ data }) => setMoves((before) => [...before, data]) });
 *   return <p>{status}: {moves.join(", ")}</p>;
 * }
 * ```
 *
 * @module
 */

import { useEffect, useInsertionEffect, useRef, useState } from "react";
import { Channel } from "../src/index.js";

/** @typedef {import("../src/index.js").Handlers} Handlers */
/** @typedef {import("../src/index.js").Options} Options */
/** @typedef {{code: number, description: string}} SocketError */
/**
 * @typedef {object} Connection
 * @property {"connecting" | "open" | "reconnecting" | "closed"} status of the socket; "connecting" without a token
 * @property {SocketError | null} error why the socket is finished, if it was not closed by the component's end
 */

/** @type {Connection} */
const CONNECTING = { status: "connecting", error: null };
/** @type {Connection} */
const OPEN = { status: "open", error: null };
/** @type {Connection} */
const RECONNECTING = { status: "reconnecting", error: null };

/**
 * Opens a socket for as long as the component is there, and renders again when its status changes. Messages go to the
 * handler: what they mean for the state is the program's to say.
 *
 * The handlers and `refreshToken` are always those of the latest render. The other options are read when the socket is
 * opened: once for each `token` and `url`. Under `StrictMode` one socket is opened, not two.
 *
 * @param {string | null | undefined} token no socket is opened before there is one
 * @param {Handlers} [handlers]
 * @param {Options} [options]
 * @returns {Connection}
 */
export function useChannel(token, handlers = {}, options = {}) {
  const [connection, setConnection] = useState(CONNECTING);
  const latest = useRef({ handlers, options });
  // In the commit, before a message can come, and silent where pages are rendered on a server.
  useInsertionEffect(() => {
    latest.current = { handlers, options };
  });
  const { url } = options;

  useEffect(() => {
    setConnection(CONNECTING);
    if (!token) return;
    /** @type {import("../src/index.js").Socket | undefined} */
    let socket;
    let over = false;

    /**
     * A handler that says what becomes of the connection, if anything, and calls the program's.
     *
     * @param {keyof Handlers} name
     * @param {(event: any, before: Connection) => Connection} [next]
     */
    const handler = (name, next) =>
      /** @this {import("../src/index.js").Socket} @param {any} [event] */
      function (event) {
        if (over) return;
        if (next) setConnection((before) => next(event, before));
        /** @type {any} */ (latest.current.handlers)[name]?.call(this, event);
      };

    // StrictMode mounts, unmounts and mounts again within one task: by then it is known whether this is to stay.
    queueMicrotask(() => {
      if (over) return;
      const { options } = latest.current;
      const refreshToken = options.refreshToken && (() => latest.current.options.refreshToken?.() ?? token);
      socket = new Channel(token, { ...options, refreshToken }).open({
        onopen: handler("onopen", () => OPEN),
        onmessage: handler("onmessage"),
        onreconnecting: handler("onreconnecting", () => RECONNECTING),
        onreconnect: handler("onreconnect", () => OPEN),
        ongap: handler("ongap"),
        onerror: handler("onerror", (error) => ({ status: "closed", error })),
        onclose: handler("onclose", (_, { error }) => ({ status: "closed", error })),
      });
    });
    return () => {
      over = true;
      socket?.close();
    };
  }, [token, url]);

  return connection;
}
