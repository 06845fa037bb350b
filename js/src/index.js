/**
 * Receives what a web application pushes to this page, in order and exactly once.
 *
 * ```js
 * import { Channel } from "pushline";
 *
 * // The token comes from your application, which got it from `create_channel`.
 * const socket = new Channel(token, { url: "https://push.example.com" }).open({
 *   onopen() { console.log("connected"); },
 *   onmessage({ data }) { console.log("got", data); },
 *   onerror({ code, description }) { console.log("finished:", code, description); },
 *   onclose() { console.log("closed"); },
 * });
 *
 * socket.close();
 * ```
 *
 * The socket reconnects by itself and resumes where it was. Without `url` it connects to the server that the module
 * came from, or else to the page's own origin.
 *
 * @module
 */

import { DEFAULT_BASE, folderOf } from "./address.js";
import { channelIn } from "./channel.js";
import { browser } from "./environment.js";

export { Socket } from "./socket.js";

/** Bundled or copied somewhere else, the module's address says nothing about the server. */
function base() {
  const folder = folderOf(import.meta.url);
  return folder.endsWith(DEFAULT_BASE) ? folder : DEFAULT_BASE;
}

/** @typedef {import("./socket.js").Handlers} Handlers */
/** @typedef {import("./socket.js").Options} Options */
/** @typedef {InstanceType<typeof Channel>} Channel */

export const Channel = channelIn(browser(base));
