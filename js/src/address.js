/** Where to connect (contract, J1). Pure. */

/** The folder of everything that a page touches on a server (contract, section 3), on the page's own origin. */
export const DEFAULT_BASE = "/_ah/channel/";

/**
 * The folder of a script's own address, for a script that has one to connect to.
 *
 * @param {string | undefined} script
 */
export function folderOf(script) {
  return /^https?:[^?#]*\//.exec(/** @type {string} */ (script))?.[0] ?? DEFAULT_BASE;
}

/**
 * The WebSocket address below `base`: an origin (`https://push.example.com`), or a folder with or without its last
 * slash, absolute or relative to the page.
 *
 * @param {string} base
 * @param {string | undefined} page the page's own address
 */
export function connectAddress(base, page) {
  const { origin, pathname } = new URL(base, page);
  const folder = pathname === "/" ? DEFAULT_BASE : pathname;
  return origin.replace(/^http/, "ws") + folder.replace(/\/?$/, "/connect");
}

/**
 * The same for requests.
 *
 * @param {string} address
 */
export function requestAddress(address) {
  return address.replace(/^ws/, "http");
}

/**
 * Where a connection begins: with the page's id, and the cursor if there is one.
 *
 * @param {string} address
 * @param {{page: string, after: string} & Record<string, string>} query
 */
export function withQuery(address, { after, ...query }) {
  return `${address}?${new URLSearchParams(after ? { ...query, after } : query)}`;
}
