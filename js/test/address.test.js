import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { connectAddress, folderOf } from "../src/address.js";

const PAGE = "https://app.example.com/rooms/1?x=2#top";

describe("Where to connect (J1)", () => {
  /** @type {[string, string, string][]} */
  const cases = [
    ["the default folder of the page's origin", "/_ah/channel/", "wss://app.example.com/_ah/channel/connect"],
    ["an origin", "https://push.example.com", "wss://push.example.com/_ah/channel/connect"],
    ["an origin with a slash", "https://push.example.com/", "wss://push.example.com/_ah/channel/connect"],
    ["an origin without TLS", "http://localhost:8080", "ws://localhost:8080/_ah/channel/connect"],
    ["an origin of WebSockets", "wss://push.example.com", "wss://push.example.com/_ah/channel/connect"],
    ["a folder", "https://example.com/push/", "wss://example.com/push/connect"],
    ["a folder without its slash", "https://example.com/push", "wss://example.com/push/connect"],
    ["a folder of the page's origin", "/push", "wss://app.example.com/push/connect"],
    ["a folder relative to the page", "push/", "wss://app.example.com/rooms/push/connect"],
    ["another host of the page's scheme", "//push.example.com/a/", "wss://push.example.com/a/connect"],
    ["an address with query and fragment", "https://example.com/a/?b=c#d", "wss://example.com/a/connect"],
  ];
  for (const [name, base, address] of cases) {
    it(`takes ${name}`, () => assert.equal(connectAddress(base, PAGE), address));
  }

  it("takes an absolute address without a page", () => {
    assert.equal(connectAddress("http://[::1]:8080", undefined), "ws://[::1]:8080/_ah/channel/connect");
  });
});

describe("The folder of a script", () => {
  it("is where the script lies", () => {
    assert.equal(folderOf("https://push.example.com/_ah/channel/jsapi?v=1"), "https://push.example.com/_ah/channel/");
    assert.equal(folderOf("http://localhost:8080/push/jsapi"), "http://localhost:8080/push/");
  });

  it("is the default for a script that no server has sent", () => {
    for (const script of [undefined, "", "file:///home/ann/jsapi.js", "blob:https://example.com/1b2f", "data:,x"]) {
      assert.equal(folderOf(script), "/_ah/channel/");
    }
  });
});
