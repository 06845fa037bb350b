import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { CLOSES } from "../src/codes.js";
import { ConnectionMachine, ReadyState } from "../src/connection.js";
import { openFrame } from "./fakes.js";

const TOKEN = "YW5u.1-0.r.c2ln";
const NO_CONNECTION = ["onerror", { code: 503, description: "No+connection." }];
const HOUR = 3600_000;

/** A machine with its time: each verb does one thing to it and returns what it wants done, briefly. */
class Machine {
  now = 0;

  /** @param {{token?: any, giveUpAfter?: number, random?: () => number}} [options] */
  constructor(options) {
    const defaults = { token: TOKEN, page: "p", giveUpAfter: undefined, random: () => 1 };
    this.machine = new ConnectionMachine({ ...defaults, ...options });
  }

  open() {
    this.machine.open(this.now);
    return this.effects();
  }

  /** @param {unknown} frame */
  receive(frame) {
    this.machine.receive(typeof frame === "string" ? frame : JSON.stringify(frame), this.now);
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
   */
  closed(code = 1006, reason = "") {
    this.machine.closed(code, reason, this.now);
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

  /** @param {number} milliseconds */
  tickAfter(milliseconds) {
    this.now += milliseconds;
    this.machine.tick(this.now);
    return this.effects();
  }

  /** Lets time pass up to the next deadline. */
  tick() {
    return this.tickAfter(Math.max(this.machine.deadline - this.now, 0));
  }

  /** Fails the attempt under way, and waits for the next one. Returns the pause. */
  fail() {
    const pause = this.closed().pop()[1].delay;
    this.tickAfter(pause);
    return pause;
  }

  get wait() {
    return this.machine.deadline - this.now;
  }

  /** @returns {any[]} */
  effects() {
    const effects = [];
    for (let effect = this.machine.next(); effect; effect = this.machine.next()) {
      if (effect.type === "tell") effects.push(effect.event ? [effect.handler, effect.event] : effect.handler);
      else if (effect.type === "send") effects.push(JSON.parse(effect.text));
      else if (effect.type === "connect") effects.push(["connect", effect.after]);
      else if (effect.type === "disconnect") effects.push(["disconnect", effect.code]);
      else effects.push(effect.type);
    }
    return effects;
  }
}

describe("Opening", () => {
  it("connects at once, without a cursor", () => {
    const machine = new ConnectionMachine({ token: TOKEN, page: "p1", giveUpAfter: undefined, random: () => 1 });
    machine.open(0);
    assert.deepEqual(machine.next(), { type: "connect", token: TOKEN, page: "p1", after: "" });
    assert.equal(machine.next(), undefined);
    assert.equal(machine.readyState, ReadyState.CONNECTING);
  });

  it("is done with the open frame", () => {
    const machine = new Machine();
    machine.open();
    assert.deepEqual(machine.receive(openFrame()), ["onopen"]);
    assert.equal(machine.machine.readyState, ReadyState.OPEN);
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
      assert.equal(machine.machine.readyState, ReadyState.CLOSED);
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
    machine.machine.receive("2-0 hello", machine.now);
    machine.machine.closed(1006, "", machine.now);
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
  const resuming = Object.entries(CLOSES).filter(([, { ends }]) => !ends);
  for (const code of [...resuming.map(([code]) => Number(code)), 1005, 1006, 1012, 4399, 4500, 4999]) {
    it(`follows the code ${code}, and resumes`, () => {
      const machine = new Machine();
      machine.opened({ cursor: "5-0" });
      assert.deepEqual(machine.closed(code), [["onreconnecting", { attempt: 1, delay: 500 }]]);
      assert.equal(machine.machine.readyState, ReadyState.OPEN);
      assert.deepEqual(machine.tick(), [["connect", "5-0"]]);
      assert.deepEqual(machine.receive(openFrame({ cursor: "5-0" })), ["onreconnect"]);
    });
  }

  it("follows a failure to open, and then begins anew", () => {
    const machine = new Machine();
    machine.open();
    assert.deepEqual(machine.closed(), [["onreconnecting", { attempt: 1, delay: 500 }]]);
    assert.equal(machine.machine.readyState, ReadyState.CONNECTING);
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
  for (const [code, { ends, onerror }] of Object.entries(CLOSES)) {
    if (!ends) continue;
    it(`comes with the code ${code}: one onerror, one onclose`, () => {
      const machine = new Machine();
      machine.opened();
      assert.deepEqual(machine.closed(Number(code)), ["end", ["onerror", onerror], "onclose"]);
      assert.equal(machine.machine.readyState, ReadyState.CLOSED);
      assert.equal(machine.machine.deadline, Infinity);
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
  it("acknowledges what is due, says goodbye, and tells onclose at the next tick", () => {
    const machine = new Machine();
    machine.opened();
    machine.receive("2-0 a");
    assert.deepEqual(machine.close(), [{ type: "ack", id: "2-0" }, ["disconnect", 1000]]);
    assert.equal(machine.machine.readyState, ReadyState.CLOSED);
    assert.ok(machine.wait <= 0);
    assert.deepEqual(machine.tick(), ["end", "onclose"]);
  });

  it("sends nothing when nothing is due", () => {
    const machine = new Machine();
    machine.opened();
    assert.deepEqual(machine.close(), [["disconnect", 1000]]);
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
    machine.machine.receive(JSON.stringify(openFrame({ gap: true })), 0);
    assert.deepEqual(machine.machine.next(), { type: "tell", handler: "onopen", event: undefined });
    assert.deepEqual(machine.close(), [["disconnect", 1000]]);
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
