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
  /** @type {Map<string, import("./http.js").FrameUp>} What waits to go up, by type: of each the latest counts. */
  const waiting = new Map();
  let posting = false;

  return openHttp(
    request,
    world,
    async (http) => {
      if (!(await http.hold())) return; // polling is for pages without a slot
      const { body } = await http.ask("text/event-stream");
      const reader = /** @type {ReadableStream<Uint8Array>} */ (body).getReader();
      const decoder = new TextDecoder(); // which passes over a byte order mark
      const read = eventStream(({ event, id, data }) => {
        const value = JSON.parse(data);
        if (event !== "close") http.give(event ? data : `${id} ${value}`);
        else http.finish(value.code, value.retry >= 0 ? `retry=${value.retry}` : value.reason);
      });
      for (;;) {
        const { done, value } = await reader.read();
        if (done) return;
        read(decoder.decode(value, { stream: true }));
      }
    },
    // One after the other, so that they arrive in order.
    async (frame, http) => {
      waiting.set(frame.type, frame);
      if (posting) return;
      posting = true;
      for (const [type, next] of waiting) {
        waiting.delete(type);
        if (next.token) http.token = next.token;
        try {
          await http.submit(next);
        } catch {
          // The next connection brings the token. Acknowledgements are many.
          if (next.token) http.finish(ABNORMAL_CLOSURE, "");
        }
      }
      posting = false;
    },
  );
}
