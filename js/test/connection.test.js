import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { createMachine, ReadyState } from "../src/connection.js";
import { createLadder } from "../src/ladder.js";
import { createManners } from "../src/manners.js";
import { createRefresh } from "../src/refresh.js";
import { openFrame } from "./fakes.js";
import { CLOSES } from "./spec.js";

const TOKEN = "YW5u.1-0.r.c2ln";
const NO_CONNECTION = ["onerror", { code: 503, description: "No+connection." }];
const HOUR = 3600_000;

/** @typedef {import("../src/ladder.js").TransportName} TransportName */
/** @type {{token: string, random: () => number, refreshes: boolean, rungs: TransportName[]}} */
const DEFAULTS = { token: TOKEN, random: () => 1, refreshes: false, rungs: ["websocket"] };

/** @type {TransportName[]} */
const RUNGS = ["websocket", "sse", "longpoll"];
const FRESH = "YW5u.2-0.r.c2ln";
const TIMED_OUT = ["onerror", { code: 401, description: "Token+timed+out." }];
const MINUTE = 60_000;

/** A machine with its time: each verb does one thing to it and returns what it wants done, briefly. */
class Machine {
  now = 0;

  connection = 0; // the latest one
  /** @type {string[]} What was connected with, one after the other. */
  transports = [];
  /** @type {string[]} */
  tokens = [];
  online = true;

  /**
   * @param {object} [options]
   * @param {any} [options.token]
   * @param {number} [options.giveUpAfter]
   * @param {() => number} [options.random]
   * @param {boolean} [options.refreshes]
   * @param {import("../src/ladder.js").TransportName[]} [options.rungs]
   * @param {ReturnType<typeof createManners>} [options.manners]
   * @param {import("../src/memory.js").Memory} [options.memory]
   */
  constructor(options = {}) {
    const { token, random, refreshes, rungs } = { ...DEFAULTS, ...options };
    const memory = options.memory ?? { save() {} };
    this.machine = createMachine({
      token,
      page: "p",
      giveUpAfter: options.giveUpAfter,
      refresh: createRefresh(refreshes),
      ladder: createLadder(rungs, memory),
      manners: options.manners ?? createManners(memory),
    }, { random, online: () => this.online });
  }

  open() {
    this.machine.open(this.now);
    return this.effects();
  }

  /**
   * @param {unknown} frame
   * @param {number} [connection]
   */
  receive(frame, connection = this.connection) {
    this.machine.receive(this.now, connection, typeof frame === "string" ? frame : JSON.stringify(frame));
    return this.effects();
  }

  /** @param {object} [values] of the open frame */
  opened(values) {
    this.open();
    return this.receive(openFrame(values));
  }

  /**
   * @param {number} [code]
   * @param {string} [reason]
   * @param {number} [connection]
   */
  closed(code = 1006, reason = "", connection = this.connection) {
    this.machine.closed(this.now, connection, code, reason);
    return this.effects();
  }

  close() {
    this.machine.close();
    return this.effects();
  }

  leaving() {
    this.machine.leaving();
    return this.effects();
  }

  gone() {
    this.machine.gone();
    return this.effects();
  }

  shown() {
    this.machine.shown(this.now);
    return this.effects();
  }

  wake() {
    this.machine.wake(this.now);
    return this.effects();
  }

  /** @param {unknown} token */
  refreshed(token) {
    this.machine.refreshed(this.now, token);
    return this.effects();
  }

  /** @param {number} milliseconds */
  tickAfter(milliseconds) {
    this.now += milliseconds;
    this.machine.tick(this.now);
    return this.effects();
  }

  /** Lets time pass up to the next deadline. */
  tick() {
    return this.tickAfter(Math.max(this.machine.deadline() - this.now, 0));
  }

  /** Fails the attempt under way, and waits for the next one. Returns the pause. */
  fail() {
    const pause = this.closed().pop()[1].delay;
    this.tickAfter(pause);
    return pause;
  }

  get wait() {
    return this.machine.deadline() - this.now;
  }

  /** @returns {any[]} */
  effects() {
    const effects = [];
    for (let effect = this.machine.next(); effect; effect = this.machine.next()) {
      if (effect[0] === "tell") {
        const [, handler, event] = effect;
        effects.push(event ? [handler, event] : handler);
      } else if (effect[0] === "send") {
        const [, , frame] = effect;
        effects.push(frame);
      } else if (effect[0] === "connect") {
        const [, connection, transport, { token, after }] = effect;
        this.connection = connection;
        this.transports.push(transport);
        this.tokens.push(token);
        effects.push(["connect", after]);
      } else if (effect[0] === "disconnect") {
        const [, , code] = effect;
        effects.push(["disconnect", code]);
      } else if (effect[0] === "post") {
        effects.push(effect);
      } else {
        effects.push(effect[0]);
      }
    }
    return effects;
  }
}

describe("Opening", () => {
  it("connects at once, without a cursor", () => {
    const { machine } = new Machine();
    machine.open(0);
    assert.deepEqual(machine.next(), ["connect", 1, "websocket", { token: TOKEN, page: "p", after: "" }]);
    assert.equal(machine.next(), undefined);
    assert.equal(machine.readyState(), ReadyState.CONNECTING);
  });

  it("is done with the open frame", () => {
    const machine = new Machine();
    machine.open();
    assert.deepEqual(machine.receive(openFrame()), ["onopen"]);
    assert.equal(machine.machine.readyState(), ReadyState.OPEN);
  });

  it("tells of a gap after onopen", () => {
    assert.deepEqual(new Machine().opened({ gap: true }), ["onopen", "ongap"]);
  });

  it("hands nothing on before the open frame", () => {
    const machine = new Machine();
    machine.open();
    for (const frame of ["2-0 early", { type: "ping" }, { type: "gap", cursor: "2-0" }, "nonsense"]) {
      assert.deepEqual(machine.receive(frame), []);
    }
  });

  it("fails when the open frame has not come within four seconds", () => {
    const machine = new Machine();
    machine.open();
    assert.equal(machine.wait, 4000);
    assert.deepEqual(machine.tickAfter(3999), []);
    assert.deepEqual(machine.tickAfter(1), [
      ["disconnect", undefined],
      ["onreconnecting", { attempt: 1, delay: 500 }],
    ]);
  });

  for (const token of ["", "a b", "a,b", "ü", "a".repeat(1025), undefined, null, 7, {}, "a\n"]) {
    it(`refuses the token ${String(token).slice(0, 10)} as an event, without a request`, () => {
      const machine = new Machine({ token });
      assert.deepEqual(machine.open(), []);
      assert.ok(machine.wait <= 0);
      assert.deepEqual(machine.tick(), ["end", ["onerror", { code: 401, description: "Invalid+token." }], "onclose"]);
      assert.equal(machine.machine.readyState(), ReadyState.CLOSED);
    });
  }

  it("takes a token of 1,024 characters", () => {
    assert.deepEqual(new Machine({ token: "a".repeat(1024) }).open(), [["connect", ""]]);
  });
});

describe("Messages", () => {
  it("are handed on as they came", () => {
    const machine = new Machine();
    machine.opened();
    assert.deepEqual(machine.receive('2-0 {"type":"ping"}'), [["onmessage", { data: '{"type":"ping"}' }]]);
  });

  it("move the cursor before they are handed on", () => {
    const machine = new Machine();
    machine.opened();
    machine.machine.receive(machine.now, machine.connection, "2-0 hello");
    machine.machine.closed(machine.now, machine.connection, 1006, "");
    machine.effects();
    assert.deepEqual(machine.tick(), [["connect", "2-0"]]);
  });

  it("that are missing are told of, and the cursor is that of the gap", () => {
    const machine = new Machine();
    machine.opened();
    assert.deepEqual(machine.receive({ type: "gap", cursor: "8-0" }), ["ongap"]);
    machine.closed();
    assert.deepEqual(machine.tick(), [["connect", "8-0"]]);
  });

  it("stand between frames that nobody knows", () => {
    const machine = new Machine();
    machine.opened();
    for (const frame of [{ type: "hint" }, { type: "later", id: "5-0", data: "x" }, "nonsense", "{"]) {
      assert.deepEqual(machine.receive(frame), []);
    }
    assert.deepEqual(machine.receive("2-0 a"), [["onmessage", { data: "a" }]]);
  });
});

describe("Acknowledging (W4)", () => {
  it("answers a ping at once with the cursor", () => {
    const machine = new Machine();
    machine.opened({ cursor: "1-0" });
    assert.deepEqual(machine.receive({ type: "ping" }), [{ type: "ack", id: "1-0" }]);
    machine.receive("2-0 a");
    assert.deepEqual(machine.receive({ type: "ping" }), [{ type: "ack", id: "2-0" }]);
  });

  it("says within five seconds what was handed on, several at once", () => {
    const machine = new Machine();
    machine.opened();
    machine.receive("2-0 a");
    machine.tickAfter(3000);
    machine.receive("3-0 b");
    assert.ok(machine.wait < 2000);
    assert.deepEqual(machine.tick(), [{ type: "ack", id: "3-0" }]);
    assert.ok(machine.wait > 5000, "nothing is due any more");
  });

  it("says it once", () => {
    const machine = new Machine();
    machine.opened();
    machine.receive("2-0 a");
    machine.receive({ type: "ping" });
    assert.deepEqual(machine.tickAfter(5000), []);
  });

  it("says it when the page may be leaving, if anything is due", () => {
    const machine = new Machine();
    machine.opened();
    assert.deepEqual(machine.leaving(), []);
    machine.receive("2-0 a");
    assert.deepEqual(machine.leaving(), [{ type: "ack", id: "2-0" }]);
    assert.deepEqual(machine.leaving(), []);
  });

  it("leaves it to the cursor of the next connection when this one is lost", () => {
    const machine = new Machine();
    machine.opened();
    machine.receive("2-0 a");
    machine.closed();
    assert.deepEqual(machine.leaving(), []);
    assert.deepEqual(machine.tick(), [["connect", "2-0"]]);
    machine.receive(openFrame({ cursor: "2-0" }));
    assert.deepEqual(machine.tickAfter(5000), []);
  });
});

describe("Silence (W4)", () => {
  it("of ping and timeout together ends a connection", () => {
    const machine = new Machine();
    machine.opened({ ping: 20, timeout: 5 });
    assert.equal(machine.wait, 25_000);
    assert.deepEqual(machine.tickAfter(24_999), []);
    assert.deepEqual(machine.tickAfter(1), [
      ["disconnect", undefined],
      ["onreconnecting", { attempt: 1, delay: 500 }],
    ]);
  });

  it("is broken by whatever comes", () => {
    const machine = new Machine();
    machine.opened();
    for (const frame of [{ type: "hint" }, "nonsense", { type: "ping" }]) {
      machine.tickAfter(34_000);
      machine.receive(frame);
    }
    assert.deepEqual(machine.tickAfter(34_000), []);
  });

  it("found by a late timer gets a moment more, for what is queued behind the timer", () => {
    const machine = new Machine();
    machine.opened();
    assert.deepEqual(machine.tickAfter(60_000), []);
    assert.equal(machine.wait, 1000);
    assert.deepEqual(machine.receive({ type: "ping" }), [{ type: "ack", id: "1-0" }]);
    assert.deepEqual(machine.tickAfter(1000), []);
  });

  it("gets that moment once", () => {
    const machine = new Machine();
    machine.opened();
    machine.tickAfter(2 * HOUR);
    assert.deepEqual(machine.tickAfter(HOUR)[0], ["disconnect", undefined]);
  });

  it("gets that moment while opening, too", () => {
    const machine = new Machine();
    machine.open();
    assert.deepEqual(machine.tickAfter(10_000), []);
    assert.deepEqual(machine.receive(openFrame()), ["onopen"]);
  });
});

describe("Reconnecting (J3)", () => {
  const resuming = CLOSES.filter(({ ends }) => !ends);
  for (const code of [...resuming.map(({ code }) => code), 1005, 1006, 1012, 4399, 4500, 4999]) {
    it(`follows the code ${code}, and resumes`, () => {
      const machine = new Machine();
      machine.opened({ cursor: "5-0" });
      assert.deepEqual(machine.closed(code), [["onreconnecting", { attempt: 1, delay: 500 }]]);
      assert.equal(machine.machine.readyState(), ReadyState.OPEN);
      assert.deepEqual(machine.tick(), [["connect", "5-0"]]);
      assert.deepEqual(machine.receive(openFrame({ cursor: "5-0" })), ["onreconnect"]);
    });
  }

  it("follows a failure to open, and then begins anew", () => {
    const machine = new Machine();
    machine.open();
    assert.deepEqual(machine.closed(), [["onreconnecting", { attempt: 1, delay: 500 }]]);
    assert.equal(machine.machine.readyState(), ReadyState.CONNECTING);
    assert.deepEqual(machine.tick(), [["connect", ""]]);
    assert.deepEqual(machine.receive(openFrame()), ["onopen"]);
  });

  it("tells of a gap after onreconnect, and goes on from the cursor that it was given", () => {
    const machine = new Machine();
    machine.opened({ cursor: "5-0" });
    machine.closed();
    machine.tick();
    assert.deepEqual(machine.receive(openFrame({ cursor: "3-0", gap: true })), ["onreconnect", "ongap"]);
    machine.closed();
    assert.deepEqual(machine.tick(), [["connect", "3-0"]]);
  });

  it("waits as long as the server asks", () => {
    const machine = new Machine();
    machine.opened();
    assert.deepEqual(machine.closed(1001, "retry=12345"), [["onreconnecting", { attempt: 1, delay: 12345 }]]);
    assert.deepEqual(machine.tickAfter(12344), []);
    assert.deepEqual(machine.tickAfter(1), [["connect", "1-0"]]);
    assert.deepEqual(machine.closed(4503, "retry=0"), [["onreconnecting", { attempt: 2, delay: 0 }]]);
  });

  it("does not wait longer by itself for the times that the server has asked it to wait", () => {
    const machine = new Machine();
    machine.opened();
    for (const attempt of [1, 2]) {
      assert.deepEqual(machine.closed(1001, "retry=10"), [["onreconnecting", { attempt, delay: 10 }]]);
      machine.tickAfter(10);
    }
    assert.deepEqual(machine.closed(), [["onreconnecting", { attempt: 3, delay: 500 }]]);
  });

  it("waits as ever for a reason of another form", () => {
    for (const reason of ["retry=", "retry=soon", "retry=-5", "retry=1.5", "later"]) {
      const machine = new Machine();
      machine.opened();
      assert.deepEqual(machine.closed(1001, reason), [["onreconnecting", { attempt: 1, delay: 500 }]], reason);
    }
  });

  it("waits twice as long each time, up to half a minute", () => {
    const machine = new Machine();
    machine.open();
    const pauses = Array.from({ length: 9 }, () => machine.fail());
    assert.deepEqual(pauses, [500, 1000, 2000, 4000, 8000, 16_000, 30_000, 30_000, 30_000]);
  });

  it("waits any part of that", () => {
    const machine = new Machine({ random: () => 0.25 });
    machine.open();
    assert.deepEqual(
      Array.from({ length: 8 }, () => machine.fail()),
      [125, 250, 500, 1000, 2000, 4000, 7500, 7500],
    );
    const eager = new Machine({ random: () => 0 });
    eager.open();
    assert.deepEqual([eager.fail(), eager.fail()], [0, 0]);
  });

  it("begins with short pauses again after a connection that lasted", () => {
    const machine = new Machine();
    machine.open();
    for (let attempt = 1; attempt <= 5; attempt++) machine.fail();
    machine.receive(openFrame());
    machine.tickAfter(10_000);
    assert.equal(machine.fail(), 500);
  });

  it("goes on with long pauses after a connection that did not last", () => {
    const machine = new Machine();
    machine.open();
    for (let attempt = 1; attempt <= 5; attempt++) machine.fail();
    machine.receive(openFrame());
    machine.tickAfter(9999);
    assert.equal(machine.fail(), 16_000);
  });
});

describe("The end of a socket (W8)", () => {
  for (const { code, ends, onerror } of CLOSES) {
    if (!ends) continue;
    it(`comes with the code ${code}: one onerror, one onclose`, () => {
      const machine = new Machine();
      machine.opened();
      assert.deepEqual(machine.closed(code), ["end", ["onerror", onerror], "onclose"]);
      assert.equal(machine.machine.readyState(), ReadyState.CLOSED);
      assert.equal(machine.machine.deadline(), Infinity);
    });
  }

  it("comes with any 44xx, whether it is known or not", () => {
    for (const code of [4402, 4450, 4499]) {
      const machine = new Machine();
      machine.open();
      const error = { code: 400, description: "Protocol+error." };
      assert.deepEqual(machine.closed(code), ["end", ["onerror", error], "onclose"]);
    }
  });

  it("is final", () => {
    const machine = new Machine();
    machine.opened();
    machine.closed(4408);
    assert.deepEqual(machine.receive("2-0 a"), []);
    assert.deepEqual(machine.closed(), []);
    assert.deepEqual(machine.tickAfter(HOUR), []);
    assert.deepEqual(machine.leaving(), []);
    assert.deepEqual(machine.close(), []);
  });
});

describe("Closing (J2)", () => {
  it("takes leave, acknowledging what came, and tells onclose at the next tick", () => {
    const machine = new Machine();
    machine.opened();
    machine.receive("2-0 a");
    assert.deepEqual(machine.close(), [{ type: "leave", id: "2-0" }, ["disconnect", 1000]]);
    assert.equal(machine.machine.readyState(), ReadyState.CLOSED);
    assert.ok(machine.wait <= 0);
    assert.deepEqual(machine.tick(), ["end", "onclose"]);
  });

  it("may come while connecting", () => {
    const machine = new Machine();
    machine.open();
    assert.deepEqual(machine.close(), [["disconnect", 1000]]);
    assert.deepEqual(machine.receive(openFrame()), []);
    assert.deepEqual(machine.closed(), []);
    assert.deepEqual(machine.tick(), ["end", "onclose"]);
  });

  it("may come while waiting", () => {
    const machine = new Machine();
    machine.opened();
    machine.closed();
    assert.deepEqual(machine.close(), []);
    assert.deepEqual(machine.tick(), ["end", "onclose"]);
    assert.deepEqual(machine.tickAfter(HOUR), []);
  });

  it("leaves no other event, not even of a token of another shape", () => {
    const machine = new Machine({ token: "a b" });
    machine.open();
    machine.close();
    assert.deepEqual(machine.tick(), ["end", "onclose"]);
  });

  it("twice is closing once", () => {
    const machine = new Machine();
    machine.opened();
    machine.close();
    assert.deepEqual(machine.close(), []);
    assert.deepEqual(machine.tick(), ["end", "onclose"]);
    assert.deepEqual(machine.close(), []);
    assert.deepEqual(machine.tickAfter(1), []);
  });

  it("takes back the events that were still to be told", () => {
    const machine = new Machine();
    machine.open();
    machine.machine.receive(0, machine.connection, JSON.stringify(openFrame({ gap: true })));
    assert.deepEqual(machine.machine.next(), ["tell", "onopen", undefined]);
    assert.deepEqual(machine.close(), [{ type: "leave", id: "1-0" }, ["disconnect", 1000]]);
  });
});

describe("Giving up (J3)", () => {
  /** @param {Machine} machine */
  function failUntilTheEnd(machine) {
    for (;;) {
      const effects = machine.tick();
      if (effects.includes("end")) return effects;
      if (effects.some(([type]) => type === "connect")) {
        const after = machine.closed();
        if (after.includes("end")) return after;
      }
    }
  }

  it("comes after a day for a socket that never opened", () => {
    const machine = new Machine();
    machine.open();
    machine.closed();
    assert.deepEqual(failUntilTheEnd(machine), ["end", NO_CONNECTION, "onclose"]);
    assert.equal(machine.now, 24 * HOUR);
  });

  it("comes when the token expires for one that did", () => {
    const machine = new Machine();
    machine.opened({ expires_in: 600 });
    machine.tickAfter(20_000);
    machine.closed();
    assert.deepEqual(failUntilTheEnd(machine), ["end", NO_CONNECTION, "onclose"]);
    assert.equal(machine.now, 600_000);
  });

  it("comes when the program says, counted from the loss", () => {
    const machine = new Machine({ giveUpAfter: 60_000 });
    machine.opened({ expires_in: 30 });
    machine.tickAfter(10_000);
    machine.closed();
    assert.deepEqual(failUntilTheEnd(machine), ["end", NO_CONNECTION, "onclose"]);
    assert.equal(machine.now, 70_000);
  });

  it("comes with the first failure if the program says 0", () => {
    const machine = new Machine({ giveUpAfter: 0 });
    machine.open();
    assert.deepEqual(machine.closed(), ["end", NO_CONNECTION, "onclose"]);
  });

  it("never comes if the program says Infinity", () => {
    const machine = new Machine({ giveUpAfter: Infinity });
    machine.open();
    machine.closed();
    machine.now += 1000 * HOUR;
    assert.deepEqual(machine.tick(), [["connect", ""]]);
    assert.deepEqual(machine.closed().at(-1), ["onreconnecting", { attempt: 2, delay: 1000 }]);
  });

  it("counts anew after each connection", () => {
    const machine = new Machine({ giveUpAfter: 1000 });
    machine.opened();
    for (let loss = 1; loss <= 3; loss++) {
      machine.tickAfter(20_000);
      machine.closed();
      assert.deepEqual(machine.tick(), [["connect", "1-0"]]);
      machine.receive(openFrame());
    }
  });

  it("does not come without an attempt: one that slept through its token's end hears it from the server", () => {
    const machine = new Machine();
    machine.opened({ expires_in: 600 });
    machine.tickAfter(3 * HOUR);
    assert.deepEqual(machine.tick()[0], ["disconnect", undefined]);
    assert.deepEqual(machine.tick(), [["connect", "1-0"]]);
    const error = { code: 401, description: "Token+timed+out." };
    assert.deepEqual(machine.closed(4408), ["end", ["onerror", error], "onclose"]);
  });
});

describe("Warning (J3)", () => {
  it("comes at the third failure in a row, and only there", () => {
    const machine = new Machine();
    machine.open();
    /** @type {boolean[]} */
    const warned = [];
    for (let attempt = 1; attempt <= 5; attempt++) {
      warned.push(machine.closed().includes("warn"));
      machine.tick();
    }
    assert.deepEqual(warned, [false, false, true, false, false]);
  });

  it("does not come while connections open in between", () => {
    const machine = new Machine();
    machine.opened();
    for (let attempt = 1; attempt <= 9; attempt++) {
      assert.ok(!machine.closed().includes("warn"));
      machine.tick();
      if (attempt % 3 === 0) machine.receive(openFrame());
    }
  });

  it("comes once in the life of a socket", () => {
    const machine = new Machine();
    machine.open();
    for (let attempt = 1; attempt <= 3; attempt++) machine.fail();
    machine.receive(openFrame());
    for (let attempt = 1; attempt <= 5; attempt++) {
      assert.ok(!machine.closed().includes("warn"));
      machine.tick();
    }
  });
});

describe("Going down the ladder (J4)", () => {
  it("takes place within one attempt, and the page is told nothing", () => {
    const machine = new Machine({ rungs: RUNGS });
    machine.open();
    assert.deepEqual(machine.closed(1006), [["connect", ""]]);
    assert.deepEqual(machine.tickAfter(4000), [
      ["disconnect", undefined],
      ["connect", ""],
    ]);
    assert.deepEqual(machine.receive(openFrame()), ["onopen"]);
    assert.deepEqual(machine.transports, RUNGS);
  });

  it("gives each transport four seconds", () => {
    const machine = new Machine({ rungs: RUNGS });
    machine.open();
    machine.tickAfter(4000);
    assert.equal(machine.wait, 4000);
  });

  it("to its end is a failed attempt: a pause, and the next one begins at the top", () => {
    const machine = new Machine({ rungs: RUNGS });
    machine.open();
    machine.closed();
    machine.closed();
    assert.deepEqual(machine.closed(), [["onreconnecting", { attempt: 1, delay: 500 }]]);
    assert.deepEqual(machine.tick(), [["connect", ""]]);
    assert.deepEqual(machine.transports, [...RUNGS, "websocket"]);
  });

  it("begins only where nothing has opened: a connection that is lost is tried again as it was", () => {
    const machine = new Machine({ rungs: RUNGS });
    machine.opened();
    machine.closed();
    machine.tick();
    assert.deepEqual(machine.transports, ["websocket", "websocket"]);
  });

  /** @type {[number, string][]} */
  const said = [
    [1001, "retry=700"],
    [1001, ""],
    [1006, "retry=700"],
    [1011, ""],
    [4503, "retry=700"],
    [4503, ""],
    [4513, ""],
    [4999, ""],
  ];
  for (const [code, reason] of said) {
    it(`does not follow what the server itself says: ${code} ${reason}`, () => {
      const machine = new Machine({ rungs: RUNGS });
      machine.open();
      const delay = reason ? 700 : 500;
      assert.deepEqual(machine.closed(code, reason), [["onreconnecting", { attempt: 1, delay }]]);
      assert.deepEqual(machine.tick(), [["connect", ""]]);
      assert.deepEqual(machine.transports, ["websocket", "websocket"]);
    });
  }

  it("does not follow a refusal, either", () => {
    const machine = new Machine({ rungs: RUNGS });
    machine.open();
    assert.deepEqual(machine.closed(4403)[0], "end");
  });

  it("tells the developer why the best transport has failed", () => {
    const { machine } = new Machine({ rungs: ["websocket", "sse"] });
    machine.open(0);
    /** @type {any} */
    let warning;
    for (let attempt = 1, connection = 0; attempt <= 3; attempt++) {
      machine.closed(0, ++connection, 1006, "SecurityError");
      machine.closed(0, ++connection, 1006, "");
      for (let effect = machine.next(); effect; effect = machine.next()) if (effect[0] === "warn") warning = effect;
      machine.tick(attempt * MINUTE);
    }
    assert.deepEqual(warning, ["warn", { code: 1006, reason: "SecurityError", retry: NaN }]);
  });
});

describe("A better transport (J4)", () => {
  /** A socket that has come down to SSE, at the moment at which a WebSocket is tried again. */
  function trying() {
    const machine = new Machine({ rungs: ["websocket", "sse"] });
    machine.open();
    machine.closed();
    machine.receive(openFrame());
    for (let second = 20; second < 60; second += 20) {
      assert.deepEqual(machine.tickAfter(20_000), []);
      machine.receive({ type: "ping" });
    }
    machine.receive("2-0 before");
    machine.tickAfter(19_999);
    const lower = machine.connection;
    assert.deepEqual(machine.tickAfter(1), [["connect", "2-0"]]);
    assert.equal(machine.transports.at(-1), "websocket");
    return { machine, lower, higher: machine.connection };
  }

  it("is tried a minute later, beside the connection, and takes its place when it opens", () => {
    const { machine, lower } = trying();
    assert.deepEqual(machine.receive("3-0 meanwhile", lower), [["onmessage", { data: "meanwhile" }]]);
    assert.deepEqual(machine.receive(openFrame({ cursor: "2-0" })), [["disconnect", undefined]]);
    assert.deepEqual(machine.receive("4-0 too late", lower), []);
    assert.deepEqual(machine.receive("3-0 meanwhile"), [], "once is enough");
    assert.deepEqual(machine.receive("4-0 after"), [["onmessage", { data: "after" }]]);
    machine.tickAfter(10_000);
    machine.closed();
    machine.tick();
    assert.equal(machine.transports.at(-1), "websocket");
  });

  it("that does not open leaves the connection as it was, and is tried again after twice the time", () => {
    const { machine, lower, higher } = trying();
    assert.deepEqual(machine.tickAfter(4000), [["disconnect", undefined]]);
    assert.deepEqual(machine.receive(openFrame(), higher), []);
    assert.deepEqual(machine.receive("3-0 a", lower), [["onmessage", { data: "a" }]]);
    const since = machine.now;
    while (machine.connection === higher) {
      machine.tickAfter(Math.min(machine.wait, 20_000));
      machine.receive({ type: "ping" }, lower);
    }
    assert.equal(machine.now - since, 2 * MINUTE);
  });

  it("that the server refuses leaves it as it was, too", () => {
    for (const code of [1006, 4503, 4409]) {
      const { machine, lower } = trying();
      assert.deepEqual(machine.closed(code, "retry=5"), []);
      assert.deepEqual(machine.receive("3-0 a", lower), [["onmessage", { data: "a" }]]);
    }
  });

  it("is not asked for what was acknowledged meanwhile: acknowledgements wait", () => {
    const { machine, lower, higher } = trying();
    machine.receive("3-0 a", lower);
    assert.deepEqual(machine.receive({ type: "ping" }, lower), []);
    assert.deepEqual(machine.closed(1006, "", higher), [{ type: "ack", id: "3-0" }]);
  });

  it("is tried between two polls, and the next one waits for its end: it would take the place back", () => {
    const machine = new Machine({ rungs: ["websocket", "longpoll"] });
    machine.open();
    machine.closed();
    machine.receive(openFrame());
    for (let second = 0; second < 60; second += 20) {
      assert.deepEqual(machine.receive({ type: "ping" }), [{ type: "ack", id: "1-0" }]);
      assert.deepEqual(machine.tickAfter(20_000), [], "a poll is out");
    }
    const lower = machine.connection;
    assert.deepEqual(machine.receive({ type: "ping" }), [["connect", "1-0"]]);
    assert.equal(machine.transports.at(-1), "websocket");
    assert.deepEqual(machine.closed(1006, "", machine.connection), [{ type: "ack", id: "1-0" }], "it polls on");
    assert.deepEqual(machine.receive("2-0 a", lower), [["onmessage", { data: "a" }]]);
  });

  it("becomes the attempt when the connection is lost meanwhile, as it is when the server lets it take over", () => {
    for (const code of [1000, 1006]) {
      const { machine, lower, higher } = trying();
      assert.deepEqual(machine.closed(code, "", lower), []);
      assert.deepEqual(machine.receive(openFrame({ cursor: "2-0" }), higher), []);
      assert.deepEqual(machine.receive("3-0 a"), [["onmessage", { data: "a" }]]);
    }
  });

  it("that fails after that leads on to the connection's own transport", () => {
    const { machine, lower } = trying();
    machine.closed(1000, "", lower);
    assert.deepEqual(machine.closed(), [["connect", "2-0"]]);
    assert.equal(machine.transports.at(-1), "sse");
  });

  it("is given up with the socket", () => {
    const { machine } = trying();
    assert.deepEqual(machine.close(), [
      { type: "leave", id: "2-0" },
      ["disconnect", 1000],
      ["disconnect", 1000],
    ]);
  });

  it("is given up when the server sends the page away", () => {
    const { machine, lower } = trying();
    assert.deepEqual(machine.closed(1001, "retry=9", lower), [
      ["disconnect", undefined],
      ["onreconnecting", { attempt: 1, delay: 9 }],
    ]);
  });
});

describe("A fresh token (J5)", () => {
  /** A socket near the end of its token. */
  function expiring() {
    const machine = new Machine({ refreshes: true });
    machine.opened({ expires_in: 600 });
    for (let second = 0; second < 540; second += 20) {
      machine.tickAfter(20_000);
      machine.receive({ type: "ping" });
    }
    assert.deepEqual(machine.receive({ type: "expiring", expires_in: 60 }), ["refresh"]);
    return machine;
  }

  it("is asked for when the token expires soon, goes up, and no connection is lost for it", () => {
    const machine = expiring();
    assert.deepEqual(machine.refreshed(FRESH), [{ type: "token", token: FRESH }]);
    assert.deepEqual(machine.receive({ type: "token", expires_in: 7200 }), []);
    machine.closed();
    assert.deepEqual(machine.tick(), [["connect", "1-0"]]);
    assert.equal(machine.tokens.at(-1), FRESH);
  });

  it("is asked for one call at a time, and not again while it is on its way up", () => {
    const machine = expiring();
    assert.deepEqual(machine.receive({ type: "expiring", expires_in: 50 }), []);
    machine.refreshed(FRESH);
    assert.deepEqual(machine.receive({ type: "expiring", expires_in: 40 }), []);
  });

  it("is not asked for any sooner after a failure because the server says it again", () => {
    const machine = expiring();
    machine.refreshed(undefined);
    assert.deepEqual(machine.receive({ type: "expiring", expires_in: 59 }), []);
    assert.deepEqual(machine.tickAfter(1000), ["refresh"]);
  });

  it("is none when it is the one that is there: the program is asked again", () => {
    const machine = expiring();
    assert.deepEqual(machine.refreshed(TOKEN), []);
    assert.deepEqual(machine.tickAfter(1000), ["refresh"]);
  });

  it("is asked for again with growing pauses until the end, then the server is heard", () => {
    const machine = expiring();
    /** @type {number[]} */
    const asked = [];
    machine.refreshed(undefined);
    while (machine.now < 700_000) {
      const effects = machine.tickAfter(1000);
      machine.receive({ type: "ping" });
      if (!effects.includes("refresh")) continue;
      asked.push(600_000 - machine.now);
      assert.deepEqual(machine.refreshed("not a token"), []);
    }
    assert.deepEqual(asked, [59_000, 57_000, 53_000, 45_000, 29_000]);
  });

  it("is asked for without a word of the server, when the page has slept through that", () => {
    const machine = new Machine({ refreshes: true });
    machine.opened({ expires_in: 7200 });
    machine.closed();
    machine.now += 2 * HOUR;
    assert.deepEqual(machine.wake(), ["refresh"]);
    assert.deepEqual(machine.refreshed(FRESH), [["connect", "1-0"]], "the first connection has it");
    assert.equal(machine.tokens.at(-1), FRESH);
  });

  it("is asked for after a sleep even if the connection seems to be open", () => {
    const machine = new Machine({ refreshes: true });
    machine.opened({ expires_in: 600 });
    machine.now += HOUR;
    assert.deepEqual(machine.wake(), ["refresh"]);
    assert.deepEqual(machine.closed(4408), [["onreconnecting", { attempt: 1, delay: 0 }]]);
    assert.deepEqual(machine.refreshed(FRESH), [["connect", "1-0"]]);
    assert.deepEqual(machine.receive(openFrame()), ["onreconnect"]);
  });

  it("that does not come in time is done without: the server decides", () => {
    for (const fail of [
      (/** @type {Machine} */ machine) => machine.refreshed(undefined),
      (/** @type {Machine} */ machine) => machine.tickAfter(10_000),
    ]) {
      const machine = new Machine({ refreshes: true });
      machine.opened({ expires_in: 600 });
      machine.closed();
      machine.now += HOUR;
      machine.wake();
      assert.deepEqual(fail(machine), [["connect", "1-0"]]);
      assert.equal(machine.tokens.at(-1), TOKEN);
    }
  });

  it("is asked for once when the server says that the token has expired", () => {
    const machine = new Machine({ refreshes: true });
    machine.open();
    assert.deepEqual(machine.closed(4408), ["refresh"]);
    assert.deepEqual(machine.refreshed(FRESH), [["connect", ""]]);
    assert.deepEqual(machine.receive(openFrame()), ["onopen"]);
  });

  it("that cannot be had ends the socket then", () => {
    for (const answer of [undefined, "a b", TOKEN]) {
      const machine = new Machine({ refreshes: true });
      machine.open();
      machine.closed(4408);
      assert.deepEqual(machine.refreshed(answer), ["end", TIMED_OUT, "onclose"]);
    }
  });

  it("that never comes ends the socket then", () => {
    const machine = new Machine({ refreshes: true });
    machine.open();
    machine.closed(4408);
    assert.deepEqual(machine.tickAfter(10_000), ["end", TIMED_OUT, "onclose"]);
    assert.deepEqual(machine.refreshed(FRESH), []);
  });

  it("that has expired, too, ends it: nothing goes round in circles", () => {
    const machine = new Machine({ refreshes: true });
    machine.open();
    machine.closed(4408);
    machine.refreshed(FRESH);
    assert.deepEqual(machine.closed(4408), ["end", TIMED_OUT, "onclose"]);
  });

  it("that was refused before is not tried", () => {
    const manners = createManners({ save() {} });
    manners.refuse(FRESH, { code: 401, description: "Invalid+token." });
    const machine = new Machine({ refreshes: true, manners });
    machine.open();
    machine.closed(4408);
    assert.deepEqual(machine.refreshed(FRESH), ["end", TIMED_OUT, "onclose"]);
  });

  it("does not help a token that was revoked", () => {
    for (const code of [4401, 4410]) {
      const machine = new Machine({ refreshes: true });
      machine.opened();
      assert.deepEqual(machine.closed(code)[0], "end");
    }
  });

  it("that was on its way when the old one expired is not taken for refused", () => {
    const machine = expiring();
    machine.refreshed(FRESH);
    assert.deepEqual(machine.closed(4408), [
      ["onreconnecting", { attempt: 1, delay: 0 }],
      ["connect", "1-0"],
    ]);
    assert.equal(machine.tokens.at(-1), FRESH);
  });

  it("that comes while the page connects goes up as soon as there is a connection", () => {
    const machine = expiring();
    machine.closed();
    machine.tick();
    machine.refreshed(FRESH);
    assert.deepEqual(machine.receive(openFrame()), ["onreconnect", { type: "token", token: FRESH }]);
  });

  it("keeps a socket from giving up at the end of the old one", () => {
    const machine = new Machine({ refreshes: true });
    machine.opened({ expires_in: 600 });
    machine.closed();
    machine.tickAfter(HOUR);
    machine.refreshed(undefined);
    assert.deepEqual(machine.closed(1006)[0][0], "onreconnecting");
  });

  it("is nobody's business where the program gives none", () => {
    const machine = new Machine();
    machine.opened({ expires_in: 60 });
    assert.deepEqual(machine.receive({ type: "expiring", expires_in: 6 }), []);
    machine.tickAfter(30_000);
    machine.receive({ type: "ping" });
    assert.deepEqual(machine.tickAfter(30_000), []);
    assert.deepEqual(machine.closed(4408), ["end", TIMED_OUT, "onclose"]);
  });
});

describe("Leaving, and coming back (W3, W4)", () => {
  const left = (/** @type {string} */ id) => ["post", { token: TOKEN, page: "p", type: "leave", id }];

  it("says so by a post, and lets go of the connection", () => {
    const machine = new Machine();
    machine.opened();
    machine.receive("2-0 a");
    assert.deepEqual(machine.gone(), [left("2-0"), ["disconnect", 1000]]);
    assert.equal(machine.machine.deadline(), Infinity);
    assert.equal(machine.machine.readyState(), ReadyState.OPEN);
  });

  it("goes on at once from where it was when the page is shown again", () => {
    const machine = new Machine();
    machine.opened();
    machine.receive("2-0 a");
    machine.gone();
    machine.now += HOUR;
    assert.deepEqual(machine.shown(), [
      ["onreconnecting", { attempt: 1, delay: 0 }],
      ["connect", "2-0"],
    ]);
    assert.deepEqual(machine.receive(openFrame({ cursor: "2-0" })), ["onreconnect"]);
  });

  it("hears from the server when another page has taken the place meanwhile", () => {
    const machine = new Machine();
    machine.opened();
    machine.gone();
    machine.shown();
    const error = { code: 409, description: "Replaced." };
    assert.deepEqual(machine.closed(4409), ["end", ["onerror", error], "onclose"]);
  });

  it("may come before anything was open", () => {
    const machine = new Machine();
    machine.open();
    assert.deepEqual(machine.gone(), [left(""), ["disconnect", 1000]]);
    assert.deepEqual(machine.shown(), [["connect", ""]]);
    assert.deepEqual(machine.receive(openFrame()), ["onopen"]);
  });

  it("may come in a pause", () => {
    const machine = new Machine();
    machine.opened();
    machine.closed();
    assert.deepEqual(machine.gone(), [left("1-0")]);
    assert.deepEqual(machine.tickAfter(MINUTE), []);
    assert.deepEqual(machine.shown().at(-1), ["connect", "1-0"]);
  });

  it("does not count as a time without a connection", () => {
    const machine = new Machine({ giveUpAfter: 1000 });
    machine.opened();
    machine.gone();
    machine.now += HOUR;
    machine.shown();
    assert.deepEqual(machine.closed()[0][0], "onreconnecting");
  });

  it("lets a page that is not shown again rest", () => {
    const machine = new Machine();
    machine.opened();
    machine.gone();
    assert.deepEqual(machine.wake(), []);
    assert.deepEqual(machine.gone(), []);
  });

  it("is nothing to a socket that has ended", () => {
    const machine = new Machine();
    machine.opened();
    machine.close();
    assert.deepEqual(machine.gone(), []);
    assert.deepEqual(machine.shown(), ["end", "onclose"]);
    assert.deepEqual(machine.gone(), []);
  });
});

describe("Waking up (J3)", () => {
  it("is a reason to try at once, more or less", () => {
    const machine = new Machine({ random: () => 0.5 });
    machine.open();
    for (let attempt = 1; attempt <= 8; attempt++) machine.fail();
    machine.closed();
    assert.equal(machine.wait, 15_000);
    assert.deepEqual(machine.wake(), []);
    assert.equal(machine.wait, 250);
  });

  it("is none to come before the server has said", () => {
    const machine = new Machine();
    machine.opened();
    machine.closed(1001, "retry=20000");
    machine.wake();
    assert.equal(machine.wait, 20_000);
  });

  it("without a network is tried now and then, and not warned of", () => {
    const machine = new Machine();
    machine.opened();
    machine.online = false;
    for (let attempt = 1; attempt <= 5; attempt++) {
      assert.deepEqual(machine.closed(), [["onreconnecting", { attempt, delay: 30_000 }]]);
      assert.deepEqual(machine.tick(), [["connect", "1-0"]]);
    }
  });
});

describe("After a refusal (J6)", () => {
  /** Opens a socket as a program does that opens a new one in `onclose`. */
  function another(/** @type {Machine} */ before, manners = createManners({ save() {} }), token = TOKEN) {
    const machine = new Machine({ manners, token });
    machine.now = before.now;
    return machine;
  }

  it("of the place, a page waits until its user comes back, and five seconds at least", () => {
    const manners = createManners({ save() {} });
    const first = new Machine({ manners });
    first.opened();
    first.closed(4409);
    const second = another(first, manners);
    assert.deepEqual(second.open(), []);
    assert.equal(second.machine.readyState(), ReadyState.CONNECTING);
    assert.deepEqual(second.tickAfter(HOUR), []);
    manners.returned();
    assert.deepEqual(second.wake(), [["connect", ""]]);
  });

  it("of the token, it is told the same again, after growing pauses and without a question", () => {
    const manners = createManners({ save() {} });
    let machine = new Machine({ manners });
    machine.open();
    machine.closed(4401);
    for (const pause of [1000, 2000, 4000]) {
      machine = another(machine, manners);
      assert.deepEqual(machine.open(), []);
      assert.equal(machine.wait, pause);
      const error = { code: 401, description: "Invalid+token." };
      assert.deepEqual(machine.tick(), ["end", ["onerror", error], "onclose"]);
    }
  });

  it("of the token, a fresh one is tried at once", () => {
    const manners = createManners({ save() {} });
    const machine = new Machine({ manners });
    machine.opened();
    machine.closed(4408);
    assert.deepEqual(another(machine, manners, FRESH).open(), [["connect", ""]]);
  });

  it("is no matter any more after a connection that lasted", () => {
    const manners = createManners({ save() {} });
    for (let error = 1; error <= 5; error++) manners.ended({ code: 503, description: "No+connection." }, 0);
    const machine = new Machine({ manners });
    machine.now = MINUTE;
    machine.opened();
    machine.tickAfter(10_000);
    machine.closed(4408);
    assert.deepEqual(another(machine, manners, FRESH).open(), [["connect", ""]]);
  });

  it("may be closed while it waits", () => {
    const manners = createManners({ save() {} });
    const first = new Machine({ manners });
    first.opened();
    first.closed(4409);
    const second = another(first, manners);
    second.open();
    assert.deepEqual(second.close(), []);
    assert.deepEqual(second.tick(), ["end", "onclose"]);
  });
});
