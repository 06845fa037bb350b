import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { ENDINGS } from "../src/codes.js";
import { ack, fresh, leave, parse } from "../src/frames.js";
import { CLOSES, FRAMES } from "./spec.js";

describe("Frames down (W2)", () => {
  for (const { name, id, data, text } of FRAMES.messages) {
    it(`reads the message "${name}"`, () => assert.deepEqual(parse(text), { type: "message", id, data }));
  }

  for (const { name, text, frame } of FRAMES.down) {
    it(`reads the frame "${name}"`, () => assert.deepEqual(parse(text), frame));
  }

  it("knows nothing of what is neither a message nor a frame", () => {
    for (const text of ["", " ", "hello", " hello", "{", "{}", '{"data":"x"}', new ArrayBuffer(3), new Blob(), null]) {
      assert.equal(parse(text).type, undefined, String(text));
    }
  });
});

describe("Frames up (W3)", () => {
  for (const { name, text, frame } of FRAMES.up) {
    /** @type {Record<string, () => object>} */
    const write = { ack: () => ack(frame.id), leave: () => leave(frame.id), token: () => fresh(frame.token) };
    it(`writes the frame "${name}"`, () => assert.equal(JSON.stringify(write[frame.type]()), text));
  }
});

describe("Close codes (W8)", () => {
  it("end the socket with an error if they are 44xx, and only then", () => {
    for (const { code, ends, onerror } of CLOSES) {
      assert.equal(ends, code >= 4400 && code <= 4499, `${code}`);
      assert.deepEqual(ENDINGS[code], onerror ?? undefined, `${code}`);
    }
  });
});
