import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { takeSlot } from "../src/slots.js";
import { settle } from "./fakes.js";

/** The locks of a browser, as far as they are used here. */
class FakeLocks {
  /** @type {Set<string>} */
  held = new Set();

  /** @type {any} */
  request = async (/** @type {string} */ name, /** @type {any} */ options, /** @type {any} */ callback) => {
    assert.deepEqual(options, { ifAvailable: true });
    if (this.held.has(name)) return callback(null);
    this.held.add(name);
    await callback({ name });
    this.held.delete(name);
  };
}

const nobody = { visible: () => assert.fail("not asked"), watchVisibility: () => assert.fail("not asked") };

describe("Slots (J4)", () => {
  it("are four for each server, for all pages together", async () => {
    const locks = new FakeLocks();
    const take = (/** @type {string} */ server) => takeSlot(server, () => {}, { locks, ...nobody });
    const taken = await Promise.all([1, 2, 3, 4, 5, 6, 7].map(() => take("https://a")));
    assert.equal(taken.filter(Boolean).length, 4);
    assert.ok(await take("https://b"));
    taken.find(Boolean)?.();
    await settle();
    assert.ok(await take("https://a"));
    assert.equal(await take("https://a"), null);
  });

  for (const [name, locks] of /** @type {[string, any][]} */ ([
    ["there are no locks", undefined],
    ["the browser does not give any", { request: () => Promise.reject(new DOMException("", "SecurityError")) }],
  ])) {
    it(`are for visible pages where ${name}, and lost with that`, async () => {
      let visible = false;
      let lost = 0;
      /** @type {Set<() => void>} */
      const watchers = new Set();
      const watchVisibility = (/** @type {() => void} */ changed) => {
        watchers.add(changed);
        return () => void watchers.delete(changed);
      };
      const take = () => takeSlot("https://a", () => void lost++, { locks, visible: () => visible, watchVisibility });
      assert.equal(await take(), null);
      visible = true;
      const release = await take();
      await take();
      release?.();
      assert.equal(watchers.size, 1);
      for (const changed of watchers) changed();
      assert.equal(lost, 0);
      visible = false;
      for (const changed of watchers) changed();
      assert.equal(lost, 1);
      assert.equal(watchers.size, 0);
    });
  }
});
