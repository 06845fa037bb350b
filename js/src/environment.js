/**
 * All that the client takes from the browser. It is handed down from the entries (index.js, jsapi.js) as one value, so
 * that the rest can run where time, chance and network are those of a test.
 */

import { steadyClock } from "./clock.js";
import { takeSlot } from "./slots.js";

/**
 * @typedef {"wake" | "return" | "shown" | "leaving" | "gone"} News What becomes of the page: it may have slept or be
 *   connected again; its user has come back to it; it is shown, perhaps out of the back/forward cache; it may be about
 *   to go; it goes.
 */

/** @typedef {import("./transports/websocket.js").Transport & {onopen: (() => void) | null, protocol: string}} Socket */
/**
 * @typedef {object} Environment
 * @property {() => number} now milliseconds since some moment; see {@link steadyClock}
 * @property {(callback: () => void, delay: number) => any} setTimeout
 * @property {(timer: any) => void} clearTimeout
 * @property {() => number} random as Math.random
 * @property {() => string} pageId a new random id
 * @property {new (address: string, protocols: string[]) => Socket} WebSocket
 * @property {(address: string, request?: RequestInit) => Promise<Response>} fetch
 * @property {(address: string, body: string) => void} beacon posts a text even though the page goes
 * @property {(transport: import("./ladder.js").TransportName) => boolean} can whether the browser has what it takes
 * @property {(server: string, lost: () => void) => Promise<(() => void) | null>} slot see {@link takeSlot}
 * @property {() => Pick<Storage, "getItem" | "setItem">} storage may throw
 * @property {Map<string, import("./socket.js").Server>} servers what the page has learnt about each, by address
 * @property {() => boolean} online
 * @property {() => boolean} visible
 * @property {() => string} base where to connect when the program does not say it
 * @property {() => string | undefined} pageAddress what addresses are relative to
 * @property {(hear: (news: News) => void) => () => void} watch the result ends it
 * @property {(error: unknown) => void} report tells of an error that a handler threw
 * @property {(text: string) => void} warn
 */

/**
 * @param {() => string} base
 * @returns {Environment}
 */
export function browser(base) {
  return {
    // Nearly the time of day, so that what is remembered over a reload can say until when.
    now: steadyClock(Date.now, () => performance.timeOrigin + performance.now()),
    setTimeout: (callback, delay) => setTimeout(callback, delay),
    clearTimeout: (timer) => clearTimeout(timer),
    random: Math.random,
    pageId,
    // Looked up at each connection: the page may have put its own in place, and not every program has one.
    get WebSocket() {
      return /** @type {any} */ (globalThis.WebSocket);
    },
    fetch: (address, request) => fetch(address, request),
    beacon,
    can,
    slot,
    storage: () => sessionStorage,
    servers: new Map(),
    online: () => globalThis.navigator?.onLine !== false,
    visible,
    base,
    pageAddress,
    watch,
    report,
    warn: (text) => console.warn(text),
  };
}

/** @type {Environment["can"]} */
function can(transport) {
  // The compiler believes that every browser has them all.
  const { WebSocket, fetch, ReadableStream } = /** @type {any} */ (globalThis);
  return Boolean(transport === "websocket" ? WebSocket : fetch && (transport === "longpoll" || ReadableStream));
}

/** @type {Environment["beacon"]} */
function beacon(address, body) {
  // `text/plain` needs no preflight, for which there is no time.
  if (navigator.sendBeacon?.(address, new Blob([body], { type: "text/plain" }))) return;
  if (can("longpoll")) fetch(address, { method: "POST", body, keepalive: true, credentials: "omit" }).catch(() => {});
}

/** @type {Environment["slot"]} */
function slot(server, lost) {
  return takeSlot(server, lost, {
    locks: globalThis.navigator?.locks,
    visible,
    watchVisibility: (changed) => listen([[document, "visibilitychange", changed]]),
  });
}

function visible() {
  return globalThis.document?.visibilityState !== "hidden";
}

/** 128 random bits. Not `crypto.randomUUID()`, which pages from http: do not have. */
function pageId() {
  return crypto.getRandomValues(new Uint32Array(4)).join("-");
}

/** A page that is no resource of its own (`about:srcdoc`, `blob:`) has the base address of the page that made it. */
function pageAddress() {
  const { document, location } = globalThis;
  return location?.protocol.startsWith("http") ? location.href : document?.baseURI;
}

/** @type {Environment["watch"]} */
function watch(hear) {
  const { document, window } = globalThis;
  if (!document) return () => {};
  return listen([
    [document, "visibilitychange", () => visible() && hear("return")],
    [window, "focus", () => hear("return")],
    [window, "online", () => hear("wake")],
    [window, "pageshow", () => hear("shown")],
    [window, "beforeunload", () => hear("leaving")],
    [window, "pagehide", () => hear("gone")],
  ]);
}

/** @param {[EventTarget, string, () => unknown][]} listeners */
function listen(listeners) {
  for (const [target, event, listener] of listeners) target.addEventListener(event, listener);
  return () => {
    for (const [target, event, listener] of listeners) target.removeEventListener(event, listener);
  };
}

/** @param {unknown} error */
function report(error) {
  const { reportError } = globalThis;
  if (reportError) return reportError(error);
  setTimeout(() => {
    throw error;
  }, 0);
}
