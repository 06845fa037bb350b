import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { advice } from "../src/advice.js";

describe("Advice on the console", () => {
  const ADDRESS = "wss://push.example.com/_ah/channel/connect";
  /** @type {[string, number, string, RegExp][]} */
  const cases = [
    ["a silent way", 0, "", /: no answer in time/],
    ["a page that may not", 1006, "SecurityError", /: a page from https:/],
    ["a refused connection", 1006, "", /: is the server up.* connect-src/],
    ["a code", 4503, "", /: closed with code 4503\./],
  ];
  for (const [name, code, reason, text] of cases) {
    it(`names the address and the likely cause: ${name}`, () => {
      const advised = advice(ADDRESS, { code, reason, retry: NaN });
      assert.match(advised, text);
      assert.ok(advised.includes(ADDRESS));
    });
  }
});
