/**
 * The script of `/_ah/channel/jsapi`: the Channel API of App Engine, and the same API for today's pages.
 *
 * ```html
 * <script src="https://push.example.com/_ah/channel/jsapi"></script>
 * <script>
 *   const socket = new goog.appengine.Channel(token).open({
 *     onopen() { console.log("connected"); },
 *     onmessage({ data }) { console.log("got", data); },
 *     onerror({ code, description }) { console.log("finished:", code, description); },
 *     onclose() { console.log("closed"); },
 *   });
 * </script>
 * ```
 *
 * It connects to the server that it came from, unless the option `url` or `goog.appengine.Socket.BASE_URL` says
 * otherwise. It adds `goog.appengine` to a `goog` that is there, such as Closure Library's, and leaves no other global.
 *
 * @module
 */

import { DEFAULT_BASE, folderOf } from "./address.js";
import { channelIn } from "./channel.js";
import { browser } from "./environment.js";
import { Socket } from "./socket.js";

// The document knows the script only while it runs.
const script = /** @type {HTMLScriptElement | null} */ (document.currentScript);
const home = folderOf(script?.src);

const ScriptSocket = Object.assign(Socket, {
  /** Programs of the old API set it to reach another server; it is read at `open()`. */
  BASE_URL: DEFAULT_BASE,
  /** Programs of the old API set it; here it means nothing. */
  POLLING_TIMEOUT_MS: 500,
});

const base = () => (ScriptSocket.BASE_URL === DEFAULT_BASE ? home : ScriptSocket.BASE_URL);
const Channel = channelIn(browser(base));

/** @type {{goog?: {appengine?: {Channel?: typeof Channel, Socket?: typeof ScriptSocket}}}} */
const page = /** @type {any} */ (window);
const appengine = ((page.goog ??= {}).appengine ??= {});
if (!appengine.Channel) Object.assign(appengine, { Channel, Socket: ScriptSocket });
