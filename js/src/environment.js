/**
 * All that the client takes from the browser. It is handed down from the entries (index.js, jsapi.js) as one value, so
 * that the rest can run where time, chance and network are those of a test.
 */

import { steadyClock } from "./clock.js";

/**
 * @typedef {object} Environment
 * @property {() => number} now milliseconds since some moment; see {@link steadyClock}
 * @property {(callback: () => void, delay: number) => any} setTimeout
 * @property {(timer: any) => void} clearTimeout
 * @property {() => number} random as Math.random
 * @property {() => string} pageId a new random id
 * @property {new (address: string, protocols: string[]) => import("./transports/websocket.js").Transport} WebSocket
 * @property {() => string} base where to connect when the program does not say it
 * @property {() => string | undefined} pageAddress what addresses are relative to
 * @property {(wake: () => void, leaving: () => void) => () => void} watch
 *   calls `wake` when the page may have slept and `leaving` when it may be about to go; the result ends that
 * @property {(error: unknown) => void} report tells of an error that a handler threw
 * @property {(text: string) => void} warn
 */

/**
 * @param {() => string} base
 * @returns {Environment}
 */
export function browser(base) {
  return {
    now: steadyClock(Date.now, () => performance.now()),
    setTimeout: (callback, delay) => setTimeout(callback, delay),
    clearTimeout: (timer) => clearTimeout(timer),
    random: Math.random,
    pageId,
    // Looked up at each connection: the page may have put its own in place, and not every program has one.
    get WebSocket() {
      return /** @type {any} */ (globalThis.WebSocket);
    },
    base,
    pageAddress,
    watch,
    report,
    warn: (text) => console.warn(text),
  };
}

/** 128 random bits. Not `crypto.randomUUID()`, which pages from http: do not have. */
function pageId() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** A page that is no resource of its own (`about:srcdoc`, `blob:`) has the base address of the page that made it. */
function pageAddress() {
  if (typeof document === "undefined") return undefined;
  return location.protocol.startsWith("http") ? location.href : document.baseURI;
}

/** @type {Environment["watch"]} */
function watch(wake, leaving) {
  if (typeof document === "undefined") return () => {};
  /** @type {[EventTarget, string, () => void][]} */
  const listeners = [
    [document, "visibilitychange", wake],
    [window, "online", wake],
    [window, "pageshow", wake],
    [window, "beforeunload", leaving],
  ];
  for (const [target, event, listener] of listeners) target.addEventListener(event, listener);
  return () => {
    for (const [target, event, listener] of listeners) target.removeEventListener(event, listener);
  };
}

/** @param {unknown} error */
function report(error) {
  if (typeof reportError === "function") return reportError(error);
  setTimeout(() => {
    throw error;
  }, 0);
}
