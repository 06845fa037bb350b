import assert from "node:assert/strict";
import { beforeEach, describe, it } from "node:test";

import { createLadder, TRANSPORTS } from "../src/ladder.js";
import { recall } from "../src/memory.js";

const MINUTE = 60_000;
const SERVER = "wss://push.example.com/connect";

/** @type {Map<string, string>} */
let kept;

beforeEach(() => {
  kept = new Map();
});

/** A ladder of a page that was loaded just now. */
function reload(rungs = TRANSPORTS, now = 0) {
  const storage = {
    getItem: (/** @type {string} */ key) => kept.get(key) ?? null,
    setItem: (/** @type {string} */ key, /** @type {string} */ value) => void kept.set(key, value),
  };
  return createLadder(
    rungs,
    recall(
      () => storage,
      SERVER,
      () => now,
    ),
  );
}

describe("The ladder (J4)", () => {
  it("begins at the top, goes down, and has an end", () => {
    const ladder = reload();
    assert.deepEqual([ladder.begin(0), ladder.down(), ladder.down(), ladder.down()], [...TRANSPORTS, undefined]);
    assert.equal(ladder.begin(0), "websocket");
  });

  it("of other rungs has those", () => {
    const ladder = reload(/** @type {any} */ (["longpoll", "websocket"]));
    assert.deepEqual([ladder.begin(0), ladder.down(), ladder.down()], ["longpoll", "websocket", undefined]);
  });

  it("has nothing to try above the top", () => {
    const ladder = reload();
    ladder.begin(0);
    ladder.opened(0);
    assert.equal(ladder.trialAt(), Infinity);
  });

  it("remembers what opened, also over a reload, until the better ones are to be tried again", () => {
    const ladder = reload();
    ladder.begin(1000);
    ladder.down();
    ladder.opened(1000);
    assert.equal(ladder.trialAt(), 1000 + MINUTE);
    assert.equal(ladder.begin(1000 + MINUTE - 1), "sse");
    assert.equal(reload().begin(1000 + MINUTE - 1), "sse");
    assert.equal(reload().begin(1000 + MINUTE), "websocket");
  });

  it("does not put the trial off when it begins at what it remembers", () => {
    const before = reload();
    before.begin(0);
    before.down();
    before.opened(0);
    const ladder = reload();
    ladder.begin(30_000);
    ladder.opened(30_000);
    assert.equal(ladder.trialAt(), MINUTE);
  });

  it("tries the better ones after growing times, up to half an hour or so", () => {
    const ladder = reload();
    ladder.begin(0);
    ladder.down();
    ladder.opened(0);
    const waits = [ladder.trialAt()];
    for (let trial = 1; trial <= 7; trial++) {
      const now = ladder.trialAt();
      ladder.postpone(now);
      waits.push(ladder.trialAt() - now);
    }
    assert.deepEqual(
      waits.map((wait) => wait / MINUTE),
      [1, 2, 4, 8, 16, 32, 32, 32],
    );
  });

  it("counts a trial that several sockets made once", () => {
    const ladder = reload();
    ladder.begin(0);
    ladder.down();
    ladder.opened(0);
    for (let socket = 1; socket <= 5; socket++) ladder.postpone(MINUTE);
    assert.equal(ladder.trialAt(), 3 * MINUTE);
  });

  it("tries all better ones, one after the other", () => {
    const ladder = reload();
    ladder.begin(0);
    ladder.down();
    ladder.down();
    ladder.opened(0);
    assert.deepEqual([ladder.trial(), ladder.trial(), ladder.trial()], ["websocket", "sse", "websocket"]);
  });

  it("forgets the worse when the best opens", () => {
    const ladder = reload();
    ladder.begin(0);
    ladder.down();
    ladder.opened(0);
    ladder.take("websocket");
    ladder.opened(MINUTE);
    assert.equal(ladder.trialAt(), Infinity);
    assert.equal(reload().begin(0), "websocket");
  });

  it("begins at the top when what it remembers does not open any more", () => {
    const ladder = reload();
    ladder.begin(0);
    ladder.down();
    ladder.opened(0);
    assert.equal(ladder.begin(1), "sse");
    assert.equal(ladder.down(), "longpoll");
    assert.equal(ladder.down(), undefined);
    assert.equal(ladder.begin(2), "websocket");
  });

  it("goes without a memory where the browser allows none", () => {
    const ladder = createLadder(
      TRANSPORTS,
      recall(
        () => {
          throw new DOMException("", "SecurityError");
        },
        SERVER,
        () => 0,
      ),
    );
    ladder.begin(0);
    ladder.down();
    ladder.opened(0);
    assert.equal(ladder.begin(1), "sse");
  });

  it("does not trust what was remembered at a moment that is still to come", () => {
    const ladder = reload(TRANSPORTS, 5000);
    ladder.begin(5000);
    ladder.down();
    ladder.opened(5000);
    assert.equal(reload(TRANSPORTS, 5000).begin(5000), "sse");
    assert.equal(reload(TRANSPORTS, 4999).begin(4999), "websocket");
  });

  it("reads a memory that makes no sense as none", () => {
    for (const text of ["{", '"x"', "null", "[]", '{"savedAt":0,"transport":"pigeon","trialAt":1e300}']) {
      kept.set(`pushline ${SERVER}`, text);
      assert.equal(reload().begin(0), "websocket");
    }
  });
});
