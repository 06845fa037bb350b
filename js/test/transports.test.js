import assert from "node:assert/strict";
import { beforeEach, describe, it } from "node:test";

import { openLongPoll } from "../src/transports/longpoll.js";
import { openSse } from "../src/transports/sse.js";
import { openWebSocket } from "../src/transports/websocket.js";
import { FakeEnvironment, openFrame, settle } from "./fakes.js";

const TOKEN = "YW5u.1-0.r.c2ln";
const FRESH = "YW5u.2-0.r.c2ln";
const ADDRESS = "wss://push.example.com/_ah/channel/connect";

/** @type {FakeEnvironment} */
let environment;
/** @type {any[]} What the transport has told. */
let told;
/** @type {import("../src/transports/websocket.js").Transport} */
let transport;

beforeEach(() => {
  environment = new FakeEnvironment();
  told = [];
});

/**
 * @param {(request: any, environment: any) => import("../src/transports/websocket.js").Transport} make
 * @param {string} [after]
 */
async function open(make, after = "") {
  const before = environment.requests.length;
  transport = make({ address: ADDRESS, token: TOKEN, page: "p1", after }, environment);
  transport.onmessage = ({ data }) => {
    const text = String(data);
    told.push(text[0] === "{" ? JSON.parse(text) : text);
  };
  transport.onclose = ({ code, reason }) => void told.push([code, reason]);
  assert.equal(environment.requests.length, before, "nothing happens in the task that opens it");
  await environment.pass();
}

/** What was told since the last time. */
function news() {
  return told.splice(0);
}

/** @param {object} [values] */
function answer(values) {
  return { client_id: "ann", cursor: "1-0", gap: false, ping: 25, expires_in: 7200, messages: [], ...values };
}

describe("A WebSocket", () => {
  /** @returns {any} */
  function opened() {
    transport = openWebSocket({ address: ADDRESS, token: TOKEN, page: "p1", after: "" }, environment);
    transport.onclose = ({ code, reason }) => void told.push([code, reason]);
    return environment.connection;
  }

  it("that was accepted by somebody who does not speak this wire is closed", () => {
    for (const protocol of ["", "chat"]) {
      const socket = opened();
      socket.accept(protocol);
      assert.ok(socket.closed);
    }
  });

  it("that was accepted by the server has not", () => {
    const socket = opened();
    socket.accept("pushline.v1");
    assert.deepEqual(news(), []);
    assert.equal(socket.closed, null);
  });
});

describe("Every request of SSE and long-poll (W5, W6)", () => {
  for (const [name, make, accept] of /** @type {[string, any, string][]} */ ([
    ["SSE", openSse, "text/event-stream"],
    ["long-poll", openLongPoll, "application/json"],
  ])) {
    it(`has the token in a header and never in the address: ${name}`, async () => {
      await open(make, "5-0");
      const { url, method, headers, request, query } = environment.request;
      assert.equal(url.origin + url.pathname, "https://push.example.com/_ah/channel/connect");
      assert.equal(query.page, "p1");
      assert.equal(query.after, "5-0");
      assert.equal(method, "GET");
      assert.equal(headers.get("Authorization"), `Bearer ${TOKEN}`);
      assert.equal(headers.get("Accept"), accept);
      assert.deepEqual(
        [request.cache, request.credentials, request.redirect],
        ["no-store", "omit", "error"],
      );
    });

    it(`has no cursor when there is none: ${name}`, async () => {
      await open(make);
      assert.equal("after" in environment.request.query, false);
    });

    it(`that is refused by the server is closed with its code: ${name}`, async () => {
      await open(make);
      await environment.request.refuse(401, 4408);
      assert.deepEqual(news(), [[4408, ""]]);
    });

    it(`that is to come back later says when: ${name}`, async () => {
      await open(make);
      await environment.request.refuse(503, 4503, { "Retry-After": "7" });
      assert.deepEqual(news(), [[4503, "retry=7000"]]);
    });

    it(`that is to come back does so in its own time where no time is named: ${name}`, async () => {
      for (const header of ["0", "soon", ""]) {
        await open(make);
        await environment.request.refuse(503, 1001, { "Retry-After": header });
        assert.deepEqual(news(), [[1001, ""]]);
      }
    });

    /** @type {[string, number, Record<string, string>, string][]} */
    const others = [
      ["a login page", 200, { "Content-Type": "text/html; charset=utf-8" }, "<html>"],
      ["an answer without a type", 200, {}, "?"],
      ["a proxy", 502, { "Content-Type": "text/html", "Retry-After": "9" }, "<html>"],
      ["another server", 404, { "Content-Type": "application/problem+json" }, '{"status":404}'],
      ["a problem that is none", 503, { "Content-Type": "application/problem+json" }, "{"],
    ];
    for (const [who, status, headers, body] of others) {
      it(`that is answered by ${who} has failed: ${name}`, async () => {
        await open(make);
        await environment.request.respond(status, headers, body);
        assert.deepEqual(news(), [[1006, ""]]);
      });
    }

    it(`that the network does not carry has failed: ${name}`, async () => {
      await open(make);
      await environment.request.fail();
      assert.deepEqual(news(), [[1006, ""]]);
    });

    it(`ends with close(), and nothing is told: ${name}`, async () => {
      await open(make);
      transport.close();
      await environment.pass(60_000);
      assert.equal(environment.request.aborted, true);
      assert.equal(environment.requests.length, 1);
      assert.equal(environment.freeSlots, 4);
      assert.deepEqual(news(), []);
    });

    it(`gives a slot back that it gets after close(): ${name}`, async () => {
      transport = make({ address: ADDRESS, token: TOKEN, page: "p1", after: "" }, environment);
      environment.turn();
      transport.close();
      await settle();
      assert.equal(environment.freeSlots, 4);
    });

    it(`is not made when close() came before: ${name}`, async () => {
      transport = make({ address: ADDRESS, token: TOKEN, page: "p1", after: "" }, environment);
      transport.close();
      await environment.pass();
      assert.deepEqual(environment.requests, []);
    });
  }
});

describe("SSE (W5)", () => {
  async function streaming() {
    await open(openSse);
    const { request } = environment;
    await request.stream();
    return request;
  }

  it("brings frames and messages as WebSockets do", async () => {
    const stream = await streaming();
    await stream.event(openFrame());
    await stream.push('id: 2-0\ndata: "a\\r\\n\\u0000 b"\n\n');
    await stream.event({ type: "ping" });
    assert.deepEqual(news(), [openFrame(), "2-0 a\r\n\0 b", { type: "ping" }]);
  });

  it("does so wherever the stream is cut, after a byte order mark, with comments", async () => {
    const opening = `event: open\r\ndata: ${JSON.stringify(openFrame())}\r\n\r\n`;
    const text = `\ufeff: hi\r\n\r\n${opening}id: 2-0\ndata: "grüße 🎲"\n\n`;
    const bytes = new TextEncoder().encode(text);
    for (let cut = 0; cut <= bytes.length; cut++) {
      environment = new FakeEnvironment();
      const stream = await streaming();
      if (cut > 0) await stream.push(bytes.slice(0, cut));
      if (cut < bytes.length) await stream.push(bytes.slice(cut));
      assert.deepEqual(news(), [openFrame(), "2-0 grüße 🎲"], `cut at ${cut}`);
    }
    const stream = await streaming();
    for (const byte of bytes) await stream.push(Uint8Array.of(byte));
    assert.deepEqual(news(), [openFrame(), "2-0 grüße 🎲"]);
  });

  it("is closed as the server says", async () => {
    const stream = await streaming();
    await stream.push('event: close\ndata: {"code":1001,"reason":"","retry":1234}\n\nid: 9-0\ndata: "late"\n\n');
    assert.deepEqual(news(), [[1001, "retry=1234"]]);
    assert.equal(stream.aborted, true);
    const other = await streaming();
    await other.push('event: close\ndata: {"code":4409,"reason":"replaced"}\n\n');
    assert.deepEqual(news(), [[4409, "replaced"]]);
  });

  it("comes back when the stream just ends, or is no stream of this wire", async () => {
    const stream = await streaming();
    await stream.finish();
    assert.deepEqual(news(), [[1006, ""]]);
    const other = await streaming();
    await other.push("data: {\n\n");
    assert.deepEqual(news(), [[1006, ""]]);
  });

  it("hands on nothing more once it is closed by a handler", async () => {
    const stream = await streaming();
    transport.onmessage = ({ data }) => {
      told.push(data);
      transport.close();
    };
    await stream.push('id: 2-0\ndata: "a"\n\nid: 3-0\ndata: "b"\n\n');
    assert.deepEqual(news(), ["2-0 a"]);
  });

  it("sends frames up by POST, without a preflight", async () => {
    await streaming();
    transport.send('{"type":"ack","id":"2-0"}');
    const { method, url, body, headers, request } = environment.request;
    assert.equal(method, "POST");
    assert.equal(url.href, "https://push.example.com/_ah/channel/connect");
    assert.deepEqual(body, { token: TOKEN, page: "p1", type: "ack", id: "2-0" });
    assert.deepEqual([...headers], [], "text/plain is what a text has");
    assert.equal(request.credentials, "omit");
  });

  it("sends one at a time, and of several acknowledgements the last", async () => {
    await streaming();
    for (const id of ["2-0", "3-0", "4-0"]) transport.send(`{"type":"ack","id":"${id}"}`);
    assert.equal(environment.requests.length, 2);
    await environment.request.respond(204, {});
    assert.equal(environment.request.body.id, "4-0");
    await environment.request.respond(204, {});
    assert.equal(environment.requests.length, 3);
  });

  it("goes on acknowledging after an acknowledgement was lost", async () => {
    await streaming();
    transport.send('{"type":"ack","id":"2-0"}');
    await environment.request.fail();
    transport.send('{"type":"ack","id":"3-0"}');
    assert.equal(environment.request.body.id, "3-0");
    assert.deepEqual(news(), []);
  });

  it("is closed when the server refuses what was sent", async () => {
    await streaming();
    transport.send('{"type":"ack","id":"2-0"}');
    await environment.request.refuse(409, 4409);
    assert.deepEqual(news(), [[4409, ""]]);
  });

  it("hands in a fresh token, and uses it from there on", async () => {
    await streaming();
    transport.send(`{"type":"token","token":"${FRESH}"}`);
    assert.deepEqual(environment.request.body, { token: FRESH, page: "p1", type: "token" });
    await environment.request.respond(204, {});
    transport.send('{"type":"ack","id":"2-0"}');
    assert.equal(environment.request.body.token, FRESH);
  });

  it("comes back to hand in a token that was lost", async () => {
    await streaming();
    transport.send(`{"type":"token","token":"${FRESH}"}`);
    await environment.request.respond(502, {}, "");
    assert.deepEqual(news(), [[1006, ""]]);
  });

  it("takes leave with a request that outlives the page", async () => {
    await streaming();
    transport.send('{"type":"leave","id":"2-0"}');
    transport.close(1000);
    const { body, request, aborted } = environment.request;
    assert.deepEqual(body, { token: TOKEN, page: "p1", type: "leave", id: "2-0" });
    assert.equal(request.keepalive, true);
    assert.equal(aborted, false);
  });

  it("is not for pages without a slot", async () => {
    environment.freeSlots = 0;
    await open(openSse);
    assert.deepEqual(news(), [[1006, ""]]);
    assert.deepEqual(environment.requests, []);
  });

  it("ends when its slot is lost, to be opened again in another way", async () => {
    const stream = await streaming();
    environment.slotHolders[0]();
    await settle();
    assert.deepEqual(news(), [[1006, ""]]);
    assert.equal(stream.aborted, true);
  });

  it("gives its slot back", async () => {
    const stream = await streaming();
    assert.equal(environment.freeSlots, 3);
    await stream.finish();
    assert.equal(environment.freeSlots, 4);
  });
});

describe("Long-poll (W6)", () => {
  /** Answers as the machine does: a ping by an acknowledgement of what was handed on last. */
  function acknowledging() {
    let cursor = "";
    const { onmessage } = transport;
    transport.onmessage = (event) => {
      onmessage?.(event);
      const frame = told.at(-1);
      if (typeof frame === "string") cursor = frame.split(" ")[0];
      else if (frame.cursor !== undefined) cursor = frame.cursor;
      else if (frame.type === "ping") transport.send(JSON.stringify({ type: "ack", id: cursor }));
    };
  }

  /** @param {string} [after] */
  async function polling(after) {
    await open(openLongPoll, after);
    acknowledging();
  }

  it("asks at first without waiting, then as long as the ping interval, from the cursor on", async () => {
    await polling();
    assert.deepEqual(environment.request.query, { page: "p1", wait: "0" });
    await environment.request.json(answer({ cursor: "1-0" }));
    assert.deepEqual(environment.request.query, { page: "p1", after: "1-0", wait: "25" });
    await environment.request.json(answer({ cursor: "3-0", messages: [{ id: "3-0", data: "a" }] }));
    assert.deepEqual(environment.request.query, { page: "p1", after: "3-0", wait: "25" });
    assert.equal(environment.requests.length, 3);
  });

  it("makes frames of the answers: open first, then messages, and a ping for each", async () => {
    await polling();
    await environment.request.json(answer());
    assert.deepEqual(news(), [openFrame({ timeout: 10 }), { type: "ping" }]);
    const messages = [
      { id: "2-0", data: "a b" },
      { id: "3-0", data: "{" },
    ];
    await environment.request.json(answer({ cursor: "3-0", messages }));
    assert.deepEqual(news(), ["2-0 a b", "3-0 {", { type: "ping" }]);
    await environment.request.json(answer({ cursor: "9-0", gap: true }));
    assert.deepEqual(news(), [{ type: "gap", cursor: "9-0" }, { type: "ping" }]);
  });

  it("opens before the messages of its first answer: what was not handed on is not acknowledged", async () => {
    await polling("5-0");
    await environment.request.json(answer({ gap: true, cursor: "7-0", messages: [{ id: "7-0", data: "a" }] }));
    assert.deepEqual(news(), [openFrame({ gap: true, cursor: "5-0" }), "7-0 a", { type: "ping" }]);
  });

  it("polls on only when it is told to: the next poll acknowledges", async () => {
    await open(openLongPoll);
    await environment.request.json(answer());
    assert.equal(environment.requests.length, 1);
    transport.send('{"type":"ack","id":"1-0"}');
    await settle();
    assert.equal(environment.requests.length, 2);
    assert.equal(environment.request.method, "GET");
  });

  it("takes an empty answer for what it is", async () => {
    await polling();
    await environment.request.json(answer());
    news();
    environment.time += 25_000;
    await environment.request.respond(204, {});
    assert.deepEqual(news(), [{ type: "ping" }]);
    assert.equal(environment.requests.length, 3);
    assert.equal(environment.request.query.after, "1-0");
  });

  it("is not hurried by empty answers that come at once", async () => {
    await polling();
    await environment.request.json(answer());
    await environment.request.json(answer());
    assert.equal(environment.requests.length, 2);
    await environment.pass(1000);
    assert.equal(environment.requests.length, 3);
  });

  it("does not mistake whoever answers with nothing for the server", async () => {
    await polling();
    await environment.request.respond(204, {});
    assert.deepEqual(news(), [[1006, ""]]);
  });

  it("says when the token ends soon", async () => {
    await polling();
    await environment.request.json(answer({ expires_in: 300 }));
    news();
    environment.time += 25_000;
    await environment.request.json(answer({ expires_in: 31 }));
    assert.deepEqual(news(), [{ type: "ping" }]);
    environment.time += 25_000;
    await environment.request.json(answer({ expires_in: 30 }));
    assert.deepEqual(news(), [{ type: "expiring", expires_in: 30 }, { type: "ping" }]);
  });

  it("uses a fresh token at once, and tells when it was accepted", async () => {
    await polling();
    await environment.request.json(answer());
    const before = environment.request;
    news();
    environment.time += 5000;
    transport.send(`{"type":"token","token":"${FRESH}"}`);
    await settle();
    assert.equal(before.aborted, true);
    assert.equal(environment.request.headers.get("Authorization"), `Bearer ${FRESH}`);
    assert.equal(environment.request.method, "GET");
    environment.time += 5000;
    await environment.request.json(answer({ expires_in: 3600 }));
    assert.deepEqual(news(), [{ type: "ping" }, { type: "token", expires_in: 3600 }, { type: "ping" }]);
    environment.time += 25_000;
    await environment.request.json(answer());
    assert.deepEqual(news(), [{ type: "ping" }]);
  });

  it("takes leave by POST", async () => {
    await polling();
    await environment.request.json(answer());
    transport.send('{"type":"leave","id":"1-0"}');
    assert.deepEqual(environment.request.body, { token: TOKEN, page: "p1", type: "leave", id: "1-0" });
  });

  it("ends when a poll fails", async () => {
    await polling();
    await environment.request.json(answer());
    news();
    await environment.request.fail();
    assert.deepEqual(news(), [[1006, ""]]);
  });

  it("hands on nothing more once it is closed by a handler", async () => {
    await polling();
    transport.onmessage = ({ data }) => {
      told.push(data);
      transport.close();
    };
    await environment.request.json(answer({ messages: [{ id: "2-0", data: "a" }] }));
    assert.equal(news().length, 1);
    await environment.pass(60_000);
    assert.equal(environment.requests.length, 1);
  });

  it("without a slot holds nothing open, and asks every five seconds or so", async () => {
    environment.freeSlots = 0;
    environment.random = () => 0.4;
    await polling();
    for (let poll = 1; poll <= 4; poll++) {
      assert.equal(environment.request.query.wait, "0");
      await environment.request.json(answer());
      assert.equal(environment.requests.length, poll);
      await environment.pass(4499);
      assert.equal(environment.requests.length, poll);
      await environment.pass(1);
    }
  });

  it("without a slot asks twice in a short ping interval", async () => {
    environment.freeSlots = 0;
    environment.random = () => 0;
    await polling();
    await environment.request.json(answer({ ping: 4 }));
    await environment.pass(2000);
    assert.equal(environment.requests.length, 2);
  });

  it("takes a slot that becomes free when somebody looks at the page", async () => {
    environment.freeSlots = 0;
    await polling();
    await environment.request.json(answer());
    environment.freeSlots = 1;
    environment.isVisible = false;
    await environment.pass(5000);
    await environment.request.json(answer());
    assert.equal(environment.freeSlots, 1);
    environment.isVisible = true;
    await environment.pass(5000);
    await environment.request.json(answer());
    assert.equal(environment.freeSlots, 0);
    assert.equal(environment.request.query.wait, "25");
  });

  it("that has lost its slot holds nothing open any more", async () => {
    await polling();
    await environment.request.json(answer());
    const held = environment.request;
    environment.freeSlots = 0;
    environment.slotHolders[0]();
    await settle();
    assert.equal(held.aborted, true);
    await environment.pass(5000);
    assert.equal(environment.request.query.wait, "0");
    assert.deepEqual(news().filter(Array.isArray), []);
  });
});
