/** Server-sent events as a transport (contract, W5), by `fetch`: an `EventSource` cannot send a token in a header. */

import { eventStream } from "../eventstream.js";
import { openHttp } from "./http.js";
import { ABNORMAL_CLOSURE } from "./websocket.js";

/**
 * @param {import("./websocket.js").Request} request
 * @param {import("./http.js").World} world
 * @returns {import("./websocket.js").Transport}
 */
export function openSse(request, world) {
  return openHttp(request, world, async (http) => {
    // Polling is for pages without a slot.
    if (!(await http.hold(() => http.end(ABNORMAL_CLOSURE, "retry=0")))) return;
    const { body } = await http.get("text/event-stream", {});
    const reader = /** @type {ReadableStream<Uint8Array>} */ (body).getReader();
    const decoder = new TextDecoder(); // which passes over a byte order mark
    const read = eventStream(({ event, id, data }) => {
      if (http.over) return;
      const value = JSON.parse(data);
      if (event === "close") http.end(value.code, value.retry === undefined ? value.reason : `retry=${value.retry}`);
      else http.onmessage?.({ data: event ? data : `${id} ${value}` });
    });
    while (!http.over) {
      const { done, value } = await reader.read();
      if (done) return;
      read(decoder.decode(value, { stream: true }));
    }
  });
}
