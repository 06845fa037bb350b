import assert from "node:assert/strict";
import { beforeEach, describe, it } from "node:test";
import { createContext, runInContext } from "node:vm";
import { fileURLToPath } from "node:url";
import { buildSync } from "esbuild";

import * as pushline from "../src/index.js";
import { FakeWebSocket } from "./fakes.js";

/**
 * An entry as one script, as the server serves it.
 *
 * @param {string} entry
 * @param {import("esbuild").BuildOptions} [options]
 */
function bundle(entry, options) {
  const entryPoints = [fileURLToPath(new URL(`../src/${entry}`, import.meta.url))];
  const { outputFiles } = buildSync({ bundle: true, write: false, format: "iife", entryPoints, ...options });
  return /** @type {import("esbuild").OutputFile[]} */ (outputFiles)[0].text;
}

const jsapi = bundle("jsapi.js");

/** A browser's window with one page in it. */
class Page {
  /** @type {FakeWebSocket[]} */
  connections = [];
  /** @type {Record<string, any>} */
  window;

  constructor() {
    const { connections } = this;
    /** @type {any} */
    const target = new EventTarget();
    this.window = {
      URL,
      console,
      crypto,
      performance,
      setTimeout,
      clearTimeout,
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

  it("reports what a handler throws", () => {
    page.window.setTimeout = () => {};
    /** @type {unknown[]} */
    const reported = [];
    page.window.reportError = (/** @type {unknown} */ error) => reported.push(error);
    assert.deepEqual([openAndThrow()], reported);
  });

  it("throws it in a task of its own where browsers cannot report", () => {
    /** @type {{task: () => void, delay: number}[]} */
    const tasks = [];
    /** @type {(task: () => void, delay: number) => void} */
    const setTimeout = (task, delay) => void tasks.push({ task, delay });
    page.window.setTimeout = setTimeout;
    const error = openAndThrow();
    const [{ task }] = tasks.filter(({ delay }) => delay === 0);
    assert.throws(task, error);
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

describe("The module", () => {
  it("exports Channel and Socket, and nothing else", () => {
    assert.deepEqual(Object.keys(pushline), ["Channel", "Socket"]);
  });

  /** @param {string} address as if it had been loaded from there */
  function loadFrom(address) {
    const define = { "import.meta.url": JSON.stringify(address) };
    const code = bundle("index.js", { define, globalName: "pushline" });
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
