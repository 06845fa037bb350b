import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { beforeEach, describe, it } from "node:test";
import { createContext, runInContext } from "node:vm";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { buildSync } from "esbuild";

import { bundle } from "../bundle.js";
import * as pushline from "../src/index.js";
import { FakeRequest, FakeWebSocket, openFrame } from "./fakes.js";

/** What is tested is what the server serves, with all its short names. */
const { code: jsapi } = await bundle("jsapi.js", "iife", "jsapi.js");

/** A browser's window with one page in it. */
class Page {
  /** @type {FakeWebSocket[]} */
  connections = [];
  /** @type {FakeRequest[]} */
  requests = [];
  /** @type {{address: string, body: string}[]} */
  beacons = [];
  /** @type {Record<string, any>} */
  window;

  constructor() {
    const { connections, requests, beacons } = this;
    /** @type {any} */
    const target = new EventTarget();
    this.window = {
      URL,
      console,
      crypto,
      performance,
      setTimeout,
      clearTimeout,
      queueMicrotask,
      AbortController,
      ReadableStream,
      TextDecoder,
      URLSearchParams,
      navigator: {
        sendBeacon: (/** @type {string} */ address, /** @type {string} */ body) => beacons.push({ address, body }) > 0,
      },
      fetch(/** @type {string} */ address, /** @type {RequestInit} */ request) {
        const made = new FakeRequest(address, request);
        requests.push(made);
        return made.answer;
      },
      location: new URL("https://app.example.com/room"),
      document: new EventTarget(),
      addEventListener: target.addEventListener.bind(target),
      removeEventListener: target.removeEventListener.bind(target),
      dispatchEvent: target.dispatchEvent.bind(target),
      WebSocket: class extends FakeWebSocket {
        /**
         * @param {string} address
         * @param {string[]} protocols
         */
        constructor(address, protocols) {
          super(address, protocols);
          connections.push(this);
        }
      },
    };
    this.window.window = this.window;
    createContext(this.window);
  }

  /**
   * @param {string} [src] the script's own address, if it has one
   * @param {string} [code]
   */
  load(src, code = jsapi) {
    this.window.document.currentScript = src === undefined ? null : { src };
    runInContext(code, this.window);
    this.window.document.currentScript = null;
  }

  get appengine() {
    return this.window.goog.appengine;
  }

  /**
   * A request, once it is made.
   *
   * @param {number} index
   */
  async request(index) {
    while (!this.requests[index]) await new Promise((resolve) => setTimeout(resolve, 1));
    return this.requests[index];
  }

  /** Opens a socket, closes it, and returns the address that it was for. */
  address() {
    new this.appengine.Channel("token").open().close();
    const { origin, pathname, protocol, host } = /** @type {FakeWebSocket} */ (this.connections.pop()).url;
    return origin === "null" ? `${protocol}//${host}${pathname}` : `${origin}${pathname}`;
  }
}

/** @type {Page} */
let page;

beforeEach(() => {
  page = new Page();
});

describe("The script", () => {
  it("adds the one global goog, with all the names of the old API", () => {
    const before = Object.keys(page.window);
    page.load("https://push.example.com/_ah/channel/jsapi");
    assert.deepEqual(
      Object.keys(page.window).filter((name) => !before.includes(name)),
      ["goog"],
    );
    assert.deepEqual(Object.keys(page.window.goog), ["appengine"]);
    const { Channel, Socket } = page.appengine;
    assert.equal(typeof Channel.prototype.open, "function");
    assert.equal(typeof Socket.prototype.close, "function");
    assert.equal(Socket.prototype.send(), false);
    assert.deepEqual({ ...Socket.ReadyState }, { CONNECTING: 0, OPEN: 1, CLOSING: 2, CLOSED: 3 });
    assert.equal(Socket.BASE_URL, "/_ah/channel/");
    assert.equal(typeof Socket.POLLING_TIMEOUT_MS, "number");
  });

  it("extends a goog that is there", () => {
    const goog = { require() {}, appengine: { other: 1 } };
    page.window.goog = goog;
    page.load();
    assert.equal(page.window.goog, goog);
    assert.deepEqual(Object.keys(goog), ["require", "appengine"]);
    assert.deepEqual(Object.keys(goog.appengine), ["other", "Channel", "Socket"]);
  });

  it("loaded twice changes nothing", () => {
    page.load("https://push.example.com/_ah/channel/jsapi");
    const { Channel, Socket } = page.appengine;
    Socket.BASE_URL = "/mine/";
    page.load("https://other.example.com/_ah/channel/jsapi");
    assert.equal(page.appengine.Channel, Channel);
    assert.equal(page.appengine.Socket, Socket);
    assert.equal(Socket.BASE_URL, "/mine/");
  });

  it("gives sockets that are goog.appengine.Sockets", () => {
    page.load();
    const socket = new page.appengine.Channel("token").open();
    assert.ok(socket instanceof page.appengine.Socket);
    socket.close();
  });

  it("connects to the server that it came from", () => {
    page.load("https://push.example.com/_ah/channel/jsapi");
    assert.equal(page.address(), "wss://push.example.com/_ah/channel/connect");
  });

  it("connects to the page's own origin when it came from nowhere", () => {
    page.load();
    assert.equal(page.address(), "wss://app.example.com/_ah/channel/connect");
  });

  it("connects below BASE_URL when that was changed, read at open()", () => {
    page.load("https://push.example.com/_ah/channel/jsapi");
    page.appengine.Socket.BASE_URL = "http://localhost:8080/_ah/channel";
    assert.equal(page.address(), "ws://localhost:8080/_ah/channel/connect");
    page.appengine.Socket.BASE_URL = "/push/";
    assert.equal(page.address(), "wss://app.example.com/push/connect");
    page.appengine.Socket.BASE_URL = "/_ah/channel/";
    assert.equal(page.address(), "wss://push.example.com/_ah/channel/connect");
  });

  it("prefers the option url to BASE_URL", () => {
    page.load();
    page.appengine.Socket.BASE_URL = "/push/";
    new page.appengine.Channel("token", { url: "https://push.example.com" }).open().close();
    assert.equal(page.connections[0].url.host, "push.example.com");
  });

  it("hears a handler that is set in the same task as open(), and acknowledges before the page unloads", () => {
    page.load();
    const socket = new page.appengine.Channel("token").open();
    /** @type {unknown[]} */
    const got = [];
    socket.onmessage = (/** @type {{data: string}} */ message) => got.push(message.data);
    page.connections[0].serveOpen();
    page.connections[0].serve("2-0 hello");
    page.window.dispatchEvent(new Event("beforeunload"));
    assert.deepEqual(got, ["hello"]);
    assert.deepEqual(page.connections[0].sent, [{ type: "ack", id: "2-0" }]);
    socket.close();
  });

  /** Opens a socket whose `onopen` throws what is returned. */
  function openAndThrow() {
    const error = new Error("mine");
    page.load();
    new page.appengine.Channel("token").open({
      onopen() {
        throw error;
      },
    });
    page.connections[0].serveOpen();
    return error;
  }

  it("reports what a handler throws, as an error that nobody has caught", () => {
    /** @type {(() => void)[]} */
    const tasks = [];
    page.window.setTimeout = () => {};
    page.window.queueMicrotask = (/** @type {() => void} */ task) => tasks.push(task);
    const error = openAndThrow();
    assert.equal(tasks.length, 1);
    assert.throws(tasks[0], error);
  });

  it("lets onclose come in a later task", async () => {
    page.load();
    /** @type {string[]} */
    const order = [];
    await new Promise((resolve) => {
      const socket = new page.appengine.Channel("token").open({
        onclose() {
          order.push("onclose");
          resolve(undefined);
        },
      });
      socket.close();
      order.push("close() returned");
    });
    assert.deepEqual(order, ["close() returned", "onclose"]);
  });
});

describe("The page's life", () => {
  /** @param {import("../src/socket.js").Handlers} [handlers] */
  function opened(handlers = {}) {
    page.load();
    const socket = new page.appengine.Channel("token").open(handlers);
    page.connections[0].serveOpen();
    return socket;
  }

  /** @param {string} state */
  function becomes(state) {
    page.window.document.visibilityState = state;
    page.window.dispatchEvent(new Event("visibilitychange")); // to where it bubbles
  }

  it("ends in a beacon of plain text, which needs no preflight", () => {
    opened();
    page.window.dispatchEvent(new Event("pagehide"));
    const [{ address, body }] = page.beacons;
    assert.equal(address, "https://app.example.com/_ah/channel/connect");
    const { page: id, ...leave } = JSON.parse(body);
    assert.deepEqual(leave, { token: "token", type: "leave", id: "1-0" });
    assert.equal(id, page.connections[0].url.searchParams.get("page"));
    assert.deepEqual(page.connections[0].closed, { code: 1000 });
  });

  for (const [name, sendBeacon] of /** @type {[string, any][]} */ ([
    ["there are no beacons", undefined],
    ["the beacon is refused", () => false],
  ])) {
    it(`ends in a request that outlives it where ${name}`, () => {
      page.window.navigator.sendBeacon = sendBeacon;
      opened();
      page.window.dispatchEvent(new Event("pagehide"));
      const [{ method, body, request }] = page.requests;
      assert.equal(method, "POST");
      assert.equal(body.type, "leave");
      assert.equal(request.keepalive, true);
      assert.equal(request.headers, undefined, "text/plain is what a string has");
    });
  }

  it("may begin again", () => {
    const socket = opened();
    page.window.dispatchEvent(new Event("pagehide"));
    page.window.dispatchEvent(new Event("pageshow"));
    assert.equal(page.connections.length, 2);
    assert.equal(page.connections[1].url.searchParams.get("after"), "1-0");
    socket.close();
  });

  for (const [name, back] of /** @type {[string, () => unknown][]} */ ([
    ["the focus", () => page.window.dispatchEvent(new Event("focus"))],
    ["the page in view", () => becomes("visible")],
  ])) {
    it(`has its user back with ${name}: then a page that was replaced opens again`, () => {
      let moment = 0;
      page.window.performance = { timeOrigin: 0, now: () => moment };
      opened();
      page.connections[0].drop(4409);
      const again = new page.appengine.Channel("token").open();
      becomes("hidden");
      assert.equal(page.connections.length, 1);
      moment = 5000;
      back();
      assert.equal(page.connections.length, 2);
      again.close();
    });
  }

  it("leads to SSE where there are no WebSockets, and is told of by the next page", async () => {
    /** @type {Map<string, string>} */
    const kept = new Map();
    const storage = {
      getItem: (/** @type {string} */ key) => kept.get(key) ?? null,
      setItem: (/** @type {string} */ key, /** @type {string} */ value) => void kept.set(key, value),
    };
    page.window.sessionStorage = storage;
    page.load();
    /** @type {string[]} */
    const names = [];
    const socket = new page.appengine.Channel("token").open({ onopen: () => names.push("onopen") });
    page.connections[0].drop(1006);
    const stream = await page.request(0);
    await stream.stream();
    await stream.event(openFrame());
    assert.deepEqual(names, ["onopen"]);
    socket.close();
    page = new Page();
    page.window.sessionStorage = storage;
    page.load();
    const next = new page.appengine.Channel("token").open();
    await page.request(0);
    assert.deepEqual([page.connections.length, page.requests.length], [0, 1]);
    next.close();
  });

  it("goes by long-poll where there is no WebSocket and streams cannot be read", async () => {
    page.window.WebSocket = undefined;
    page.load();
    const socket = new page.appengine.Channel("token").open();
    const stream = await page.request(0);
    assert.equal(stream.headers.get("Accept"), "text/event-stream");
    await stream.respond(200, { "Content-Type": "text/event-stream" }, null);
    const poll = await page.request(1);
    assert.equal(poll.headers.get("Accept"), "application/json");
    socket.close();
  });

  it("has its connection looked after when there is a network again", () => {
    let moment = 0;
    page.window.performance = { timeOrigin: 0, now: () => moment };
    const socket = opened();
    for (moment of [40_000, 42_000]) page.window.dispatchEvent(new Event("online"));
    assert.deepEqual(page.connections[0].closed, { code: undefined }, "nothing came for 35 seconds");
    socket.close();
  });
});

describe("What the server serves", () => {
  for (const name of ["jsapi.js", "pushline.mjs"]) {
    it(`is small: ${name}`, () => {
      const script = readFileSync(new URL(`../../src/pushline/static/${name}`, import.meta.url));
      const { length } = gzipSync(script, { level: 9 });
      assert.ok(length <= 6000, `${length} bytes`);
    });
  }
});

describe("The module", () => {
  it("exports Channel and Socket, and nothing else", () => {
    assert.deepEqual(Object.keys(pushline), ["Channel", "Socket"]);
  });

  /** @param {string} address as if it had been loaded from there */
  function loadFrom(address) {
    const define = { "import.meta.url": JSON.stringify(address) };
    const entryPoints = [fileURLToPath(new URL("../src/index.js", import.meta.url))];
    const { outputFiles } = buildSync({
      bundle: true,
      write: false,
      format: "iife",
      globalName: "pushline",
      entryPoints,
      define,
    });
    const [{ text: code }] = outputFiles;
    page.load(undefined, `${code}; window.goog = { appengine: pushline };`);
    return page.address();
  }

  it("connects to the server that it came from", () => {
    const address = loadFrom("https://push.example.com/_ah/channel/pushline.mjs");
    assert.equal(address, "wss://push.example.com/_ah/channel/connect");
  });

  it("connects to the page's own origin when it was bundled", () => {
    for (const address of ["https://cdn.example.com/assets/app.js", "file:///src/node_modules/pushline/src/index.js"]) {
      assert.equal(loadFrom(address), "wss://app.example.com/_ah/channel/connect");
    }
  });

  it("can be imported by a program without a window", () => {
    assert.ok(new pushline.Channel("token", { url: "http://localhost:8080" }));
  });
});
