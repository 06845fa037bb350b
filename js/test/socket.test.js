import assert from "node:assert/strict";
import { beforeEach, describe, it } from "node:test";

import { Channel } from "../src/channel.js";
import { ReadyState } from "../src/connection.js";
import { Socket } from "../src/socket.js";
import { FakeEnvironment, recorder } from "./fakes.js";

const TOKEN = "YW5u.1-0.r.c2ln";

/** @type {FakeEnvironment} */
let environment;
/** @type {unknown[][]} */
let calls;
/** @type {Record<string, (event?: unknown) => void>} */
let handlers;

beforeEach(() => {
  environment = new FakeEnvironment();
  ({ calls, handlers } = recorder());
});

/**
 * @param {import("../src/socket.js").Handlers} [given]
 * @param {import("../src/socket.js").Options} [options]
 * @param {any} [token]
 */
function open(given = handlers, options = {}, token = TOKEN) {
  return new Channel(token, options, environment).open(given);
}

/** @param {import("../src/socket.js").Handlers} [given] */
function opened(given) {
  const socket = open(given);
  environment.connection.serveOpen();
  calls.length = 0;
  return socket;
}

describe("The request (W1)", () => {
  it("has the token in a subprotocol and never in the address", () => {
    open();
    assert.deepEqual(environment.connection.protocols, ["pushline.v1", `pushline.token.${TOKEN}`]);
    assert.equal(environment.connection.url.href, "wss://app.example.com/_ah/channel/connect?page=page1");
  });

  it("has a page id that is the socket's own, the same on each connection, and a cursor when it resumes", () => {
    open();
    open();
    const [first, second] = environment.connections;
    assert.notEqual(first.url.searchParams.get("page"), second.url.searchParams.get("page"));
    first.serveOpen({ cursor: "7-0" });
    first.drop(1006);
    environment.advance(500);
    assert.deepEqual(Object.fromEntries(environment.connection.url.searchParams), { page: "page1", after: "7-0" });
  });

  it("goes to the url that the program gives", () => {
    open({}, { url: "https://push.example.com" });
    assert.equal(environment.connection.url.host, "push.example.com");
  });

  it("reads the base at each open()", () => {
    const channel = new Channel(TOKEN, {}, environment);
    environment.base = () => "http://localhost:8080/a";
    channel.open();
    environment.base = () => "http://localhost:8080/b/";
    channel.open();
    assert.deepEqual(
      environment.connections.map(({ url }) => url.pathname),
      ["/a/connect", "/b/connect"],
    );
  });

  it("to no address at all is a mistake of the program, and thrown", () => {
    assert.throws(() => open({}, { url: "https://" }), TypeError);
  });
});

describe("Events", () => {
  it("come in order, on the socket", () => {
    const socket = open();
    environment.connection.serveOpen();
    environment.connection.serve("2-0 hello");
    environment.connection.drop(4408);
    assert.deepEqual(calls, [
      ["onopen"],
      ["onmessage", { data: "hello" }],
      ["onerror", { code: 401, description: "Token+timed+out." }],
      ["onclose"],
    ]);
    assert.equal(socket.readyState, ReadyState.CLOSED);
    assert.deepEqual(environment.timers, new Map());
  });

  it("find the socket in `this`", () => {
    /** @type {unknown[]} */
    const seen = [];
    const socket = open({
      onopen() {
        seen.push(this);
      },
    });
    environment.connection.serveOpen();
    assert.deepEqual(seen, [socket]);
  });

  it("go to the handlers that are set on the socket after open()", () => {
    const socket = open({ onmessage: () => assert.fail("replaced") });
    socket.onopen = handlers.onopen;
    socket.onmessage = handlers.onmessage;
    environment.connection.serveOpen();
    environment.connection.serve("2-0 a");
    assert.deepEqual(calls, [["onopen"], ["onmessage", { data: "a" }]]);
  });

  it("do not go to what is set on the handler object later", () => {
    const given = { ...handlers };
    open(given);
    given.onopen = () => assert.fail("too late");
    environment.connection.serveOpen();
    assert.deepEqual(calls, [["onopen"]]);
  });

  it("without a handler are nothing", () => {
    const socket = open(undefined);
    socket.onmessage = null;
    environment.connection.serveOpen();
    environment.connection.serve("2-0 a");
    environment.connection.drop(4409);
    assert.deepEqual(environment.reported, []);
  });

  it("whose handler throws are reported, and stop nothing", () => {
    const error = new Error("mine");
    open({
      ...handlers,
      onmessage() {
        throw error;
      },
      onerror() {
        throw error;
      },
    });
    environment.connection.serveOpen();
    environment.connection.serve("2-0 a");
    environment.connection.serve("3-0 b");
    environment.connection.serve({ type: "ping" });
    environment.connection.drop(4401);
    assert.deepEqual(environment.reported, [error, error, error]);
    assert.deepEqual(environment.connection.sent, [{ type: "ack", id: "3-0" }]);
    assert.deepEqual(calls, [["onopen"], ["onclose"]]);
  });

  it("never come within open()", () => {
    environment.refusal = new DOMException("insecure", "SecurityError");
    open();
    open(handlers, {}, "no token");
    assert.deepEqual(calls, []);
    environment.turn();
    assert.deepEqual(calls, [
      ["onreconnecting", { attempt: 1, delay: 500 }],
      ["onerror", { code: 401, description: "Invalid+token." }],
      ["onclose"],
    ]);
  });

  it("of a token of another shape go to handlers that are set after open(), and nothing is requested", () => {
    const socket = open({}, {}, null);
    Object.assign(socket, handlers);
    environment.turn();
    assert.deepEqual(calls, [["onerror", { code: 401, description: "Invalid+token." }], ["onclose"]]);
    assert.deepEqual(environment.connections, []);
  });
});

describe("close()", () => {
  it("is at once, and onclose comes in a later task", () => {
    const socket = opened();
    socket.close();
    assert.equal(socket.readyState, ReadyState.CLOSED);
    assert.deepEqual(environment.connection.closed, { code: 1000 });
    assert.deepEqual(environment.connection.sent, []);
    assert.deepEqual(calls, []);
    environment.turn();
    assert.deepEqual(calls, [["onclose"]]);
  });

  it("while connecting ends the attempt", () => {
    const socket = open();
    socket.close();
    environment.connection.serveOpen();
    environment.connection.drop(1006);
    environment.advance(60_000);
    assert.deepEqual(calls, [["onclose"]]);
    assert.equal(environment.connections.length, 1);
  });

  it("of an attempt that the browser refused leaves onclose alone", () => {
    environment.refusal = new Error();
    open().close();
    environment.advance(60_000);
    assert.deepEqual(calls, [["onclose"]]);
  });

  it("is followed by nothing but one onclose", () => {
    const socket = opened();
    socket.close();
    socket.close();
    environment.connection.serve("2-0 late");
    environment.connection.drop(4409);
    environment.wake();
    environment.advance(3600_000);
    assert.deepEqual(calls, [["onclose"]]);
    assert.equal(environment.watchers.size, 0);
    assert.equal(environment.timers.size, 0);
  });

  it("within onmessage acknowledges that message", () => {
    const socket = opened({
      ...handlers,
      onmessage() {
        this.close();
      },
    });
    environment.connection.serve("2-0 the last");
    assert.deepEqual(environment.connection.sent, [{ type: "ack", id: "2-0" }]);
    assert.equal(socket.readyState, ReadyState.CLOSED);
    environment.turn();
    assert.deepEqual(calls, [["onclose"]]);
  });

  it("within onopen keeps back the gap that belongs to it", () => {
    open({
      ...handlers,
      onopen() {
        this.close();
      },
    });
    environment.connection.serveOpen({ gap: true });
    environment.turn();
    assert.deepEqual(calls, [["onclose"]]);
  });

  it("within onerror makes no second onclose", () => {
    open({
      ...handlers,
      onerror() {
        this.close();
      },
    });
    environment.connection.drop(4403);
    environment.advance(1000);
    assert.deepEqual(calls, [["onclose"]]);
  });

  it("within onclose and onreconnecting is no matter", () => {
    open({
      onclose() {
        this.close();
        handlers.onclose();
      },
      onreconnecting() {
        this.close();
      },
    });
    environment.connection.drop(1006);
    environment.advance(60_000);
    assert.deepEqual(calls, [["onclose"]]);
  });
});

describe("Connections", () => {
  it("that were given up have nothing more to say", () => {
    opened();
    const old = environment.connection;
    environment.advance(35_000 + 500);
    assert.equal(environment.connections.length, 2);
    assert.deepEqual(old.closed, { code: undefined });
    old.serve("2-0 twice");
    old.serve({ type: "gap", cursor: "9-0" });
    old.drop(4409);
    environment.connection.serveOpen();
    environment.connection.serve("2-0 once");
    assert.deepEqual(calls.slice(1), [["onreconnect"], ["onmessage", { data: "once" }]]);
  });

  it("hand each message on once, whatever happens in between", () => {
    opened();
    environment.connection.serve("2-0 a");
    environment.connection.drop(1006);
    environment.advance(500);
    assert.equal(environment.connection.url.searchParams.get("after"), "2-0");
    environment.connection.serveOpen({ cursor: "2-0" });
    environment.connection.serve("3-0 b");
    const messages = calls.filter(([name]) => name === "onmessage").map(([, message]) => message);
    assert.deepEqual(messages, [{ data: "a" }, { data: "b" }]);
  });

  it("are acknowledged on by timer, and before the page leaves", () => {
    opened();
    environment.connection.serve("2-0 a");
    environment.connection.serve("3-0 b");
    environment.advance(5000);
    environment.connection.serve("4-0 c");
    environment.leave();
    assert.deepEqual(environment.connection.sent, [
      { type: "ack", id: "3-0" },
      { type: "ack", id: "4-0" },
    ]);
  });

  it("hold one timer, which is not set again with each message", () => {
    opened();
    environment.connection.serve("2-0 a");
    const before = [...environment.timers.keys()];
    for (let id = 3; id < 10; id++) environment.connection.serve(`${id}-0 more`);
    assert.equal(before.length, 1);
    assert.deepEqual([...environment.timers.keys()], before);
  });

  it("are looked after when the page wakes up, without waiting for a timer", () => {
    opened();
    environment.connection.drop(1006);
    environment.sleep(3600_000);
    environment.wake();
    assert.equal(environment.connections.length, 2);
  });

  it("wait for a pause longer than timers can", () => {
    opened();
    environment.connection.drop(1001, "retry=3000000000");
    assert.ok([...environment.timers.values()].every(({ at }) => at - environment.time < 2 ** 31));
    environment.advance(1000);
    assert.equal(environment.connections.length, 1);
  });

  it("of several sockets have nothing to do with each other", () => {
    const other = recorder();
    open();
    open(other.handlers);
    const [first, second] = environment.connections;
    second.serveOpen();
    first.drop(4401);
    second.serve("2-0 for the other");
    assert.deepEqual(other.calls, [["onopen"], ["onmessage", { data: "for the other" }]]);
    assert.deepEqual(
      calls.map(([name]) => name),
      ["onerror", "onclose"],
    );
  });
});

describe("The warning", () => {
  it("comes once, with the address and without the token", () => {
    open();
    for (let attempt = 1; attempt <= 6; attempt++) {
      environment.connection.drop(1006);
      environment.advance(30_000);
    }
    assert.equal(environment.warnings.length, 1);
    assert.match(environment.warnings[0], /wss:\/\/app\.example\.com\/_ah\/channel\/connect have failed\./);
    assert.ok(!environment.warnings[0].includes(TOKEN));
  });

  it("says what the browser does not allow", () => {
    environment.refusal = new DOMException(`bad subprotocol pushline.token.${TOKEN}`, "SecurityError");
    open();
    environment.advance(5000);
    assert.match(environment.warnings[0], /The browser does not allow it/);
    assert.ok(!environment.warnings[0].includes(TOKEN));
  });
});

describe("The old names", () => {
  it("are there: ReadyState and send", () => {
    assert.deepEqual(Socket.ReadyState, { CONNECTING: 0, OPEN: 1, CLOSING: 2, CLOSED: 3 });
    const socket = open();
    assert.ok(socket instanceof Socket);
    assert.equal(socket.readyState, Socket.ReadyState.CONNECTING);
    environment.connection.serveOpen();
    assert.equal(socket.readyState, Socket.ReadyState.OPEN);
    assert.equal(Object.hasOwn(Socket.prototype, "send"), true);
    assert.equal(socket.send(), false);
  });
});
