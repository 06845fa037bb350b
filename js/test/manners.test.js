import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { ENDINGS } from "../src/codes.js";
import { createManners } from "../src/manners.js";

const SECOND = 1000;
/** @type {any} */
const REPLACED = ENDINGS[4409];
/** @type {any} */
const INVALID = ENDINGS[4401];

describe("Manners (J6)", () => {
  it("let everybody in at first", () => {
    assert.ok(createManners({ save() {} }).moment("a") <= 0);
  });

  it("let a page that was replaced wait for its user, and longer each time", () => {
    const manners = createManners({ save() {} });
    let now = 0;
    /** @type {number[]} */
    const pauses = [];
    for (let fight = 1; fight <= 9; fight++) {
      manners.ended(REPLACED, now);
      assert.equal(manners.moment("a"), Infinity);
      manners.returned();
      pauses.push((manners.moment("b") - now) / SECOND);
      now = manners.moment("a");
      manners.lasted(59 * SECOND);
    }
    assert.deepEqual(pauses, [5, 10, 20, 40, 80, 160, 320, 600, 600]);
    manners.lasted(60 * SECOND);
    manners.ended(REPLACED, now);
    manners.returned();
    assert.equal(manners.moment("a"), now + 5 * SECOND);
  });

  it("keep the pause over a reload, but not the wait for the user: a reload may be that", () => {
    let kept = "{}";
    const load = () =>
      createManners({
        ...JSON.parse(kept),
        save() {
          kept = JSON.stringify(this);
        },
      });
    load().ended(REPLACED, 1000);
    assert.equal(load().moment("a"), 6000);
    load().ended(REPLACED, 6000);
    assert.equal(load().moment("a"), 16_000);
  });

  it("let a refused token wait, and longer each time", () => {
    const manners = createManners({ save() {} });
    manners.refuse("a", INVALID);
    assert.equal(manners.verdict("a"), INVALID);
    assert.equal(manners.verdict("b"), undefined);
    /** @type {number[]} */
    const pauses = [];
    for (let end = 1; end <= 8; end++) {
      manners.ended(INVALID, 0);
      pauses.push(manners.moment("a") / SECOND);
    }
    assert.deepEqual(pauses, [1, 2, 4, 8, 16, 32, 60, 60]);
  });

  it("let a fresh token in after one error, and wait after more in a row", () => {
    const manners = createManners({ save() {} });
    manners.ended(INVALID, 5000);
    assert.ok(manners.moment("fresh") <= 0);
    manners.ended(INVALID, 5000);
    assert.equal(manners.moment("fresh"), 6000);
    manners.lasted(9999);
    assert.equal(manners.moment("fresh"), 6000);
    manners.lasted(10_000);
    assert.ok(manners.moment("fresh") <= 0);
  });

  it("remember no more tokens than is good", () => {
    const manners = createManners({ save() {} });
    for (let token = 0; token < 1000; token++) manners.refuse(`${token}`, INVALID);
    assert.equal(manners.verdict("0"), undefined);
    assert.equal(manners.verdict("999"), INVALID);
  });
});
