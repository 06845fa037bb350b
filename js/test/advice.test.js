import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { advice } from "../src/advice.js";

describe("Advice on the console", () => {
  const ADDRESS = "wss://push.example.com/_ah/channel/connect";
  /** @type {[string, {code: number, reason: string}, RegExp][]} */
  const cases = [
    ["a silent way", { code: 0, reason: "" }, /No answer came in time/],
    ["a page that may not", { code: 1006, reason: "SecurityError" }, /https: and wss: only/],
    ["a refused connection", { code: 1006, reason: "" }, /running .* connect-src/],
    ["a known code", { code: 4503, reason: "retry=1000" }, /closed it with code 4503 \(too_many\)\./],
    ["an unknown code", { code: 1012, reason: "" }, /closed it with code 1012\./],
  ];
  for (const [name, loss, text] of cases) {
    it(`names the address and the likely cause: ${name}`, () => {
      assert.match(advice(ADDRESS, loss), text);
      assert.ok(advice(ADDRESS, loss).includes(ADDRESS));
    });
  }
});
