import assert from "node:assert/strict";
import { beforeEach, describe, it } from "node:test";

import { channelIn } from "../src/channel.js";
import { ReadyState } from "../src/connection.js";
import { Socket } from "../src/socket.js";
import { FakeEnvironment, openFrame, recorder, settle } from "./fakes.js";

const TOKEN = "YW5u.1-0.r.c2ln";
const FRESH = "YW5u.2-0.r.c2ln";

/** @type {FakeEnvironment} */
let environment;
/** @type {unknown[][]} */
let calls;
/** @type {Record<string, (event?: unknown) => void>} */
let handlers;
/** @type {import("../src/ladder.js").TransportName[] | undefined} What programs allow. */
let transports;

beforeEach(() => {
  transports = ["websocket"];
  environment = new FakeEnvironment();
  ({ calls, handlers } = recorder());
});

/**
 * @param {import("../src/socket.js").Handlers} [given]
 * @param {import("../src/socket.js").Options} [options]
 * @param {any} [token]
 */
function open(given = handlers, options = {}, token = TOKEN) {
  return new (channelIn(environment))(token, { transports, ...options }).open(given);
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
    const channel = new (channelIn(environment))(TOKEN);
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
    assert.deepEqual(environment.connection.sent, [{ type: "leave", id: "1-0" }]);
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
    assert.deepEqual(environment.connection.sent, [{ type: "leave", id: "2-0" }]);
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
    assert.match(environment.warnings[0], /wss:\/\/app\.example\.com\/_ah\/channel\/connect: /);
    assert.ok(!environment.warnings[0].includes(TOKEN));
  });

  it("says what the browser does not allow", () => {
    environment.refusal = new DOMException(`bad subprotocol pushline.token.${TOKEN}`, "SecurityError");
    open();
    environment.advance(5000);
    assert.match(environment.warnings[0], /a page from https:/);
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

describe("Transports (J4)", () => {
  beforeEach(() => {
    transports = undefined;
  });

  const answer = { client_id: "ann", cursor: "1-0", gap: false, ping: 25, expires_in: 7200, messages: [] };

  it("are tried one after the other, with one page id, until one opens", async () => {
    open();
    environment.connection.drop(1006);
    await environment.pass();
    assert.equal(environment.request.headers.get("Accept"), "text/event-stream");
    assert.equal(environment.request.query.page, "page1");
    await environment.pass(4000);
    assert.equal(environment.requests[0].aborted, true);
    assert.equal(environment.request.headers.get("Accept"), "application/json");
    await environment.request.json(answer);
    assert.deepEqual(calls, [["onopen"]]);
  });

  it("of a page that is buffered on the way fall to long-poll though its headers came", async () => {
    open();
    environment.connection.drop(1006);
    await environment.pass();
    await environment.request.stream();
    await environment.pass(4000);
    await environment.request.json({ ...answer, cursor: "2-0", messages: [{ id: "2-0", data: "a" }] });
    assert.deepEqual(calls, [["onopen"], ["onmessage", { data: "a" }]]);
  });

  it("that a page has come to are remembered by the next page and its sockets", async () => {
    open();
    environment.connection.drop(1006);
    await environment.pass();
    await environment.request.stream();
    await environment.request.event(openFrame());
    open();
    await environment.pass();
    assert.equal(environment.connections.length, 1);
    assert.equal(environment.requests.length, 2);
    environment.servers = {};
    open();
    await environment.pass();
    assert.equal(environment.connections.length, 1);
    assert.equal(environment.requests.length, 3);
    open(handlers, { url: "https://other.example.com" });
    assert.equal(environment.connections.length, 2, "another server is another matter");
  });

  it("give way to better ones without a word", async () => {
    open();
    environment.connection.drop(1006);
    await environment.pass();
    const stream = environment.request;
    await stream.stream();
    await stream.event(openFrame());
    for (let ping = 1; ping <= 3; ping++) {
      await environment.pass(20_000);
      await stream.event({ type: "ping" });
    }
    assert.equal(environment.connections.length, 2);
    environment.connection.serveOpen();
    environment.connection.serve("2-0 a");
    assert.equal(stream.aborted, true);
    assert.deepEqual(calls, [["onopen"], ["onmessage", { data: "a" }]]);
    assert.equal(environment.freeSlots, 4);
  });

  it("that the program does not want are not used, nor those that the browser has not", async () => {
    open(handlers, { transports: ["longpoll", "sse"] });
    await environment.pass();
    assert.equal(environment.request.headers.get("Accept"), "application/json");
    assert.equal(environment.connections.length, 0);
    environment.WebSocket = /** @type {any} */ (undefined);
    open();
    await environment.pass();
    assert.equal(environment.request.headers.get("Accept"), "text/event-stream");
  });

  it("of which the program allows none that there is are used as if it had said nothing", () => {
    for (const transports of [[], ["pigeon"], null]) open(handlers, { transports: /** @type {any} */ (transports) });
    assert.equal(environment.connections.length, 3);
  });

  it("of seven pages hold four requests open, not more", async () => {
    for (let page = 1; page <= 7; page++) open(handlers, { transports: ["sse", "longpoll"] });
    await environment.pass();
    assert.equal(environment.requests.length, 7);
    const held = environment.requests.filter(({ query }) => query.wait === undefined);
    const brief = environment.requests.filter(({ query }) => query.wait === "0");
    assert.deepEqual([held.length, brief.length], [4, 3]);
    for (const stream of held) {
      await stream.stream();
      await stream.event(openFrame());
    }
    for (let poll = 1; poll <= 5; poll++) {
      for (const request of environment.requests.slice(-3)) await request.json(answer);
      await environment.pass(5000);
      for (const stream of held) await stream.event({ type: "ping" });
    }
    assert.ok(environment.requests.slice(7).every(({ method, query }) => method === "POST" || query.wait === "0"));
    assert.equal(calls.filter(([name]) => name === "onopen").length, 7);
  });
});

describe("refreshToken (J5)", () => {
  it("gives a token that goes up on the connection", async () => {
    open(handlers, { refreshToken: async () => FRESH });
    environment.connection.serveOpen();
    environment.connection.serve({ type: "expiring", expires_in: 60 });
    await settle();
    assert.deepEqual(environment.connection.sent, [{ type: "token", token: FRESH }]);
    assert.equal(environment.connections.length, 1);
    environment.connection.drop(1006);
    environment.advance(500);
    assert.deepEqual(environment.connection.protocols, ["pushline.v1", `pushline.token.${FRESH}`]);
  });

  it("is called again after it threw, and the developer is told", async () => {
    let called = 0;
    open(handlers, {
      refreshToken() {
        called += 1;
        if (called === 1) throw new Error("mine");
        return FRESH;
      },
    });
    environment.connection.serveOpen();
    environment.connection.serve({ type: "expiring", expires_in: 60 });
    await settle();
    assert.match(environment.warnings[0], /refreshToken.*mine/);
    await environment.pass(1000);
    assert.equal(called, 2);
    assert.deepEqual(environment.connection.sent, [{ type: "token", token: FRESH }]);
  });

  it("is not waited for by a socket that was closed", async () => {
    const socket = open(handlers, { refreshToken: async () => FRESH });
    environment.connection.serveOpen();
    environment.connection.serve({ type: "expiring", expires_in: 60 });
    socket.close();
    await environment.pass(60_000);
    assert.deepEqual(environment.connection.sent, [{ type: "leave", id: "1-0" }]);
  });
});

describe("A page that goes (W3)", () => {
  it("takes leave by a beacon, and lets go of the connection, so that it can be kept", () => {
    opened();
    environment.connection.serve("2-0 a");
    environment.tell("gone");
    const body = { token: TOKEN, page: "page1", type: "leave", id: "2-0" };
    assert.deepEqual(environment.beacons, [{ address: "https://app.example.com/_ah/channel/connect", body }]);
    assert.deepEqual(environment.connection.closed, { code: 1000 });
    environment.connection.drop(1000);
    environment.advance(3600_000);
    assert.equal(environment.connections.length, 1);
  });

  it("goes on where it was when it is shown again, and the socket is the same", () => {
    const socket = opened();
    environment.connection.serve("2-0 a");
    environment.tell("gone");
    environment.tell("shown");
    assert.equal(environment.connection.url.searchParams.get("after"), "2-0");
    assert.equal(environment.connection.url.searchParams.get("page"), "page1");
    environment.connection.serveOpen({ cursor: "2-0" });
    environment.connection.serve("3-0 b");
    assert.equal(socket.readyState, ReadyState.OPEN);
    assert.deepEqual(
      calls.map(([name]) => name),
      ["onmessage", "onreconnecting", "onreconnect", "onmessage"],
    );
  });

  it("hears no onclose for it, unless it was replaced", () => {
    opened();
    environment.tell("gone");
    environment.tell("shown");
    environment.connection.drop(4409);
    assert.deepEqual(calls.slice(1), [["onerror", { code: 409, description: "Replaced." }], ["onclose"]]);
  });

  it("takes every socket along, and a closed one is none", () => {
    opened().close();
    opened();
    environment.tell("gone");
    assert.equal(environment.beacons.length, 1);
  });
});

describe("Programs that open a new socket in onclose (J6)", () => {
  /** A program that does so for ever. @returns {import("../src/socket.js").Handlers} */
  function stubborn() {
    return {
      ...handlers,
      onclose() {
        handlers.onclose();
        open(stubborn());
      },
    };
  }

  it("do not fight for the place", () => {
    open(stubborn());
    environment.connection.serveOpen();
    environment.connection.drop(4409);
    environment.advance(3600_000);
    assert.equal(environment.connections.length, 1);
    environment.tell("returned");
    assert.equal(environment.connections.length, 2);
    environment.connection.drop(4409);
    environment.tell("returned");
    environment.advance(9999);
    assert.equal(environment.connections.length, 2);
    environment.advance(1);
    assert.equal(environment.connections.length, 3);
  });

  it("do not storm the server with a refused token", () => {
    open(stubborn());
    environment.connection.drop(4401);
    environment.advance(3600_000);
    assert.equal(environment.connections.length, 1);
    assert.ok(calls.length > 10 && calls.length < 200, `${calls.length} events in an hour`);
  });

  it("do not run hot over a token of another shape", () => {
    const again = () => void open({ ...handlers, onclose: again }, {}, "no token");
    again();
    environment.advance(60_000);
    assert.ok(calls.length < 20, `${calls.length} events in a minute`);
  });
});
