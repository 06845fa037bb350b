/** What the developer is told on the console when no connection comes about (contract, J3). Pure. */

import { CLOSES } from "./codes.js";

/**
 * @param {string} address
 * @param {import("./connection.js").Loss} loss why the last attempt failed
 */
export function advice(address, loss) {
  return `Pushline: three attempts to connect to ${address} have failed. ${cause(loss)} It goes on trying.`;
}

/** @param {import("./connection.js").Loss} loss */
function cause({ code, reason }) {
  if (code === 0) return "No answer came in time: something on the way may hold connections back.";
  if (reason === "SecurityError") return "A page from https: may connect to https: and wss: only.";
  if (code === 1006) return "Is the server running and the address right? Does the page's CSP allow it in connect-src?";
  const known = CLOSES[code];
  return `The server closed it with code ${code}${known ? ` (${known.name})` : ""}.`;
}
