/**
 * All that the client takes from the browser. It is handed down from the entries (index.js, jsapi.js) as one value, so
 * that the rest can run where time, chance and network are those of a test.
 */

import { steadyClock } from "./clock.js";
import { takeSlot } from "./slots.js";

// A program without a page has none of these.
const { document, location, navigator, window } = globalThis;

/**
 * @typedef {"wake" | "returned" | "shown" | "leaving" | "gone"} News What becomes of the page: it may have slept or be
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
 * @property {(server: string, lost: () => void) => Promise<(() => void) | null>} slot see {@link takeSlot}
 * @property {() => Pick<Storage, "getItem" | "setItem">} storage may throw
 * @property {Record<string, ReturnType<typeof import("./manners.js").createManners>>} servers what the page has learnt
 *   about each, by address
 * @property {() => boolean} online true may be wrong
 * @property {() => boolean} visible
 * @property {() => string} base where to connect when the program does not say it
 * @property {() => string | undefined} pageAddress what addresses are relative to
 * @property {<Event>(events: Record<News, Event>, hear: (event: Event) => void) => () => void} watch what becomes of the
 *   page, by the event that goes with it; the result ends that
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
    slot,
    storage: () => sessionStorage,
    servers: {},
    online: () => navigator?.onLine !== false,
    visible,
    base,
    pageAddress,
    watch,
    report,
    warn: console.warn,
  };
}

/** @type {Environment["beacon"]} */
function beacon(address, body) {
  // A text goes as text/plain, which needs no preflight: there would be no time for it.
  if (navigator.sendBeacon?.(address, body)) return;
  fetch(address, { method: "POST", body, keepalive: true, credentials: "omit" }).catch(() => {});
}

/** @type {Environment["slot"]} */
function slot(server, lost) {
  return takeSlot(server, lost, {
    locks: navigator?.locks,
    visible,
    watchVisibility: (changed) => listen({ visibilitychange: changed }),
  });
}

function visible() {
  return document?.visibilityState !== "hidden";
}

/** 128 random bits. Not `crypto.randomUUID()`, which pages from http: do not have. */
function pageId() {
  return crypto.getRandomValues(new Uint32Array(4)).join("-");
}

/** A page that is no resource of its own (`about:srcdoc`, `blob:`) has the base address of the page that made it. */
function pageAddress() {
  return location?.protocol.startsWith("http") ? location.href : document?.baseURI;
}

/** @type {Environment["watch"]} */
function watch(events, hear) {
  return listen({
    visibilitychange: () => visible() && hear(events.returned),
    focus: () => hear(events.returned),
    online: () => hear(events.wake),
    pageshow: () => hear(events.shown),
    beforeunload: () => hear(events.leaving),
    pagehide: () => hear(events.gone),
  });
}

/**
 * Events of the window, and of the document, whose events it hears too. What is no page has none.
 *
 * @param {Record<string, () => unknown>} listeners
 * @returns {() => void} ends it
 */
function listen(listeners) {
  const end = new AbortController();
  for (const event in listeners) window?.addEventListener?.(event, listeners[event], { signal: end.signal });
  return () => end.abort();
}

/** @param {unknown} error */
function report(error) {
  queueMicrotask(() => {
    throw error;
  });
}
