import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { eventStream } from "../src/eventstream.js";

/** @param {...string} pieces */
function read(...pieces) {
  /** @type {unknown[]} */
  const events = [];
  const take = eventStream((event) => void events.push(event));
  for (const piece of pieces) take(piece);
  return events;
}

describe("An event stream", () => {
  const TEXT = ': hello\n\nevent: open\ndata: {"a":1}\n\nid: 2-0\ndata: "grüße 🎲"\n\nid:3-0\ndata:x\ndata:  y\n\n: bye\n';
  const EVENTS = [
    { event: "open", data: '{"a":1}' },
    { id: "2-0", data: '"grüße 🎲"' },
    { id: "3-0", data: "x\n y" },
  ];

  for (const [name, end] of [
    ["LF", "\n"],
    ["CR LF", "\r\n"],
    ["CR", "\r"],
  ]) {
    it(`may end its lines in ${name}, and come in any pieces`, () => {
      const text = TEXT.replaceAll("\n", end);
      assert.deepEqual(read(text), EVENTS);
      assert.deepEqual(read(...text), EVENTS, "character by character");
      for (let cut = 0; cut <= text.length; cut++) {
        assert.deepEqual(read(text.slice(0, cut), "", text.slice(cut)), EVENTS, `cut at ${cut}`);
      }
    });
  }

  it("hands an event on as soon as its empty line is there", () => {
    assert.equal(read("data: a\n\n").length, 1);
    assert.equal(read("data: a\r\n\r\n").length, 1);
  });

  it("may have comments, unknown fields and fields without a value", () => {
    assert.deepEqual(read(": ping\n\nretry: 5\nfuture\ndata\nid\n\n"), [
      { retry: "5", future: "", data: "", id: "" },
    ]);
  });

  it("that ends within an event has not sent it", () => {
    assert.deepEqual(read("data: a\n"), []);
  });

  it("without data has no event", () => {
    assert.deepEqual(read("event: open\nid: 1-0\n\n\n\n"), []);
  });
});
