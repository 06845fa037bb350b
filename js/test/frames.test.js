import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { describe, it } from "node:test";

import { CLOSES } from "../src/codes.js";
import { ack, fresh, leave, parse, posted } from "../src/frames.js";

/** @param {string} name */
const spec = (name) => JSON.parse(readFileSync(new URL(`../../spec/${name}`, import.meta.url), "utf8"));
const frames = spec("frames.json");

describe("Frames down (W2)", () => {
  for (const { name, id, data, text } of frames.messages) {
    it(`reads the message "${name}"`, () => assert.deepEqual(parse(text), { id, data }));
  }

  for (const { name, text, frame } of frames.down) {
    it(`reads the frame "${name}"`, () => assert.deepEqual(parse(text), frame));
  }

  it("knows nothing of what is neither a message nor a frame", () => {
    const nothing = ["", " ", "hello", " hello", "{", "{}", '{"type":1}', '{"data":"x"}', new ArrayBuffer(3), null];
    for (const text of nothing) {
      assert.equal(parse(text), null, String(text));
    }
  });
});

describe("Frames up (W3)", () => {
  for (const { name, text, frame } of frames.up) {
    /** @type {Record<string, () => string>} */
    const write = { ack: () => ack(frame.id), leave: () => leave(frame.id), token: () => fresh(frame.token) };
    it(`writes the frame "${name}"`, () => assert.equal(write[frame.type](), text));
  }

  it("have the token and the page with them when they are posted", () => {
    assert.deepEqual(JSON.parse(posted("t", "p", ack("1-0"))), { token: "t", page: "p", type: "ack", id: "1-0" });
  });

  it("speak for themselves when they are fresh tokens", () => {
    assert.deepEqual(JSON.parse(posted("old", "p", fresh("new"))), { token: "new", page: "p", type: "token" });
  });
});

describe("Close codes (W8)", () => {
  it("are those of spec/codes.json", () => {
    /** @type {Record<number, object>} */
    const expected = {};
    for (const { code, name, ends, onerror } of spec("codes.json").closes) expected[code] = { name, ends, onerror };
    assert.deepEqual(CLOSES, expected);
  });

  it("end the socket with an error if they are 44xx, and only then", () => {
    for (const [code, { ends, onerror }] of Object.entries(CLOSES)) {
      assert.equal(ends, code.startsWith("44"), code);
      assert.equal(onerror !== null, ends, code);
    }
  });
});
