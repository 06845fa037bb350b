import assert from "node:assert/strict";
import { beforeEach, describe, it } from "node:test";

import { steadyClock } from "../src/clock.js";

describe("The clock", () => {
  let wall = 0;
  let monotonic = 0;
  /** @type {() => number} */
  let clock;

  beforeEach(() => {
    [wall, monotonic] = [1_700_000_000_000, 50];
    clock = steadyClock(
      () => wall,
      () => monotonic,
    );
  });

  /** @param {{wall: number, monotonic: number}} passed */
  function elapsed(passed) {
    const before = clock();
    wall += passed.wall;
    monotonic += passed.monotonic;
    return clock() - before;
  }

  it("goes on while the computer sleeps, even if the monotonic one does not", () => {
    assert.equal(elapsed({ wall: 3_600_000, monotonic: 5 }), 3_600_000);
    assert.equal(elapsed({ wall: 3_600_000, monotonic: 3_600_000 }), 3_600_000);
  });

  it("does not run backwards when the time is set back", () => {
    assert.equal(elapsed({ wall: -3_600_000, monotonic: 7 }), 7);
    assert.equal(elapsed({ wall: 8, monotonic: 8 }), 8);
  });

  it("does not add up the inexactness of the two, however often it is read", () => {
    const before = clock();
    for (let read = 0; read < 1000; read++) {
      monotonic += 0.3;
      wall = 1_700_000_000_000 + Math.floor(monotonic);
      clock();
    }
    assert.ok(Math.abs(clock() - before - 300) < 1);
  });
});
